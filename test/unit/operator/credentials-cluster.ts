/** What tests of pull credentials stand on: OSImages, nodes, Secrets, and a stand-in for the API server that has them. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { nodeOSSpecSchema, type NodeOS, type OSImage } from '../../../api/index.ts';
import { KubeError } from '../../../operator/errors.ts';
import { ObjectCache } from '../../../operator/kube/object-cache.ts';
import type { Secret } from '../../../operator/kube/objects.ts';
import { CredentialsLoop } from '../../../operator/pull-credentials/credentials-loop.ts';
import { imageOf } from '../rollout/fixtures.ts';
import { FakeClock } from './fake-clock.ts';

export const NAMESPACE = 'treeline-system';
export const configOf = (password: string): string =>
  JSON.stringify({ auths: { 'registry.example': { auth: Buffer.from(`ann:${password}`).toString('base64') } } });

export function imageNaming(secret: string | undefined, name = 'fleet'): OSImage {
  const { object } = imageOf({ name });
  const { pullSecretRef: _, ...image } = object.spec.image;
  return {
    ...object,
    metadata: { ...object.metadata, name, uid: `uid-${name}`, resourceVersion: '1' },
    spec: { ...object.spec, image: { ...image, ...(secret !== undefined && { pullSecretRef: { name: secret } }) } },
  };
}

export function nodeOS(name: string, key: string | undefined, imageName = 'fleet'): NodeOS {
  return {
    metadata: { name, uid: `nos-${name}`, resourceVersion: '1' },
    spec: { imageName, nodeUID: `node-${name}` },
    status: { host: { bootID: 'b', ...(key !== undefined && { credentialsKey: key }) } },
  };
}

/** The API server as far as the loop asks it. */
export class Cluster {
  readonly images = new ObjectCache<OSImage>();
  readonly nodeOSes = new ObjectCache<NodeOS>();
  readonly secrets = new Map<string, Secret | KubeError>();
  readonly clock = new FakeClock();
  readonly writes: string[] = [];
  readonly unusable: string[] = [];
  reads = 0;
  mayAct = true;
  /** After so many writes the operator is dead. */
  writesToLive = Infinity;
  failing: KubeError | undefined;
  onWrite: () => void = () => undefined;
  /** Its CRD is of an older version. */
  prunes = false;
  /** Writes that are under way, and the most that ever were. */
  atOnce = 0;
  mostAtOnce = 0;
  #version = 10;

  setSecret(name: string, config: string): void {
    const data = { '.dockerconfigjson': Buffer.from(config).toString('base64') };
    this.secrets.set(name, { metadata: { uid: `uid-${name}`, resourceVersion: String(++this.#version) }, data });
  }

  set(object: NodeOS): void {
    this.nodeOSes.observe({ ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } });
  }

  setImages(...images: OSImage[]): void {
    const resourceVersion = String(++this.#version);
    this.images.replace(
      images.map((image) => ({ ...image, metadata: { ...image.metadata, resourceVersion } })),
      resourceVersion,
    );
  }

  loop(): CredentialsLoop {
    return new CredentialsLoop({
      api: {
        getSecret: async (name) => {
          this.reads += 1;
          const secret = this.secrets.get(name) ?? new KubeError('NotFound', `secrets "${name}" not found`);
          if (secret instanceof KubeError) throw secret;
          return secret;
        },
        mergePatchNodeOS: (name, patch) =>
          this.#patch(name, patch as { spec: Pick<NodeOS['spec'], 'pullCredentials'> }),
      },
      images: this.images,
      nodeOSes: this.nodeOSes,
      namespace: NAMESPACE,
      mayAct: () => this.mayAct && this.writesToLive > 0,
      onUnusable: (image, message) => this.unusable.push(`${image.metadata.name}: ${message}`),
      clock: this.clock,
      logger: pino({ level: 'silent' }),
    });
  }

  async #patch(name: string, patch: { spec: { pullCredentials?: unknown } }): Promise<NodeOS> {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    await new Promise((resolve) => setImmediate(resolve));
    this.atOnce -= 1;
    this.onWrite();
    if (this.failing !== undefined) throw this.failing;
    if (this.writesToLive-- <= 0) throw new KubeError('Unreachable', 'dead');
    const held = this.nodeOSes.get(name);
    if (held === undefined) throw new KubeError('NotFound', `no ${name}`);
    const { pullCredentials: _, ...spec } = held.spec;
    const given = patch.spec.pullCredentials;
    const isKept = given !== null && !this.prunes;
    const next = nodeOSSpecSchema.parse({ ...spec, ...(isKept && { pullCredentials: given }) });
    this.writes.push(`${given === null ? 'remove' : 'seal'} ${name}`);
    return { ...held, metadata: { ...held.metadata, resourceVersion: String(++this.#version) }, spec: next };
  }
}

/** Sealing is done by threads, whose time no test owns. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 6000; attempt++) {
    if (holds()) return;
    await delay(5);
  }
  assert.fail(`not in time: ${what}`);
}
