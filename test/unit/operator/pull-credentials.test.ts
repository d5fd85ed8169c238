/** Each node is given what the pull Secret of its OSImage holds, sealed for it alone, once for each version of the Secret. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { nodeOSSpecSchema, PULL_SECRET_BYTES, type NodeOS, type OSImage } from '../../../api/index.ts';
import { KubeError } from '../../../operator/errors.ts';
import { ObjectCache } from '../../../operator/kube/object-cache.ts';
import type { Secret } from '../../../operator/kube/objects.ts';
import { CredentialsLoop } from '../../../operator/pull-credentials/credentials-loop.ts';
import { dueCredentials, type SecretState } from '../../../operator/pull-credentials/due-credentials.ts';
import { parsePullSecret } from '../../../operator/pull-credentials/pull-secret.ts';
import { CredentialsKey } from '../../../sealing/sealed-credentials.ts';
import { imageOf } from '../rollout/fixtures.ts';
import { FakeClock } from './fake-clock.ts';

const NAMESPACE = 'treeline-system';
const REREAD_MS = 66_000;
const configOf = (password: string): string =>
  JSON.stringify({ auths: { 'registry.example': { auth: Buffer.from(`ann:${password}`).toString('base64') } } });

function imageNaming(secret: string | undefined, name = 'fleet'): OSImage {
  const { object } = imageOf({ name });
  const { pullSecretRef: _, ...image } = object.spec.image;
  return {
    ...object,
    metadata: { ...object.metadata, name, uid: `uid-${name}`, resourceVersion: '1' },
    spec: { ...object.spec, image: { ...image, ...(secret !== undefined && { pullSecretRef: { name: secret } }) } },
  };
}

function nodeOS(name: string, key: string | undefined, imageName = 'fleet'): NodeOS {
  return {
    metadata: { name, uid: `nos-${name}`, resourceVersion: '1' },
    spec: { imageName, nodeUID: `node-${name}` },
    status: { host: { bootID: 'b', ...(key !== undefined && { credentialsKey: key }) } },
  };
}

/** The API server as far as the loop asks it. */
class Cluster {
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
async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 6000; attempt++) {
    if (holds()) return;
    await delay(5);
  }
  assert.fail(`not in time: ${what}`);
}

describe('Pull credentials', () => {
  let cluster: Cluster;
  let stop: AbortController;
  let running: Promise<void>[];
  const keys: CredentialsKey[] = [];
  const keyOf = (index: number): CredentialsKey => keys[index] ?? assert.fail();

  before(async () => {
    for (let index = 0; index < 3; index++) keys.push(await CredentialsKey.from(randomBytes(32)));
  });
  beforeEach(() => {
    cluster = new Cluster();
    stop = new AbortController();
    running = [];
  });
  afterEach(async () => {
    stop.abort();
    await Promise.all(running);
  });

  const start = (): AbortController => {
    const own = new AbortController();
    running.push(cluster.loop().run(AbortSignal.any([own.signal, stop.signal])));
    return own;
  };
  const later = async (ms: number): Promise<void> => {
    for (let leftMs = ms; leftMs > 0; leftMs -= 1000) await cluster.clock.advance(Math.min(1000, leftMs));
  };
  const held = (name: string) => cluster.nodeOSes.get(name)?.spec.pullCredentials;
  const openedBy = async (key: CredentialsKey, name: string): Promise<string> => {
    const { secretName, secretVersion, sealed } = held(name) ?? assert.fail('nothing is held');
    const sealedFor = { nodeUID: `node-${name}`, namespace: NAMESPACE, secretName, secretVersion };
    return (await key.open(sealed, sealedFor)).toString();
  };

  it('are sealed for each node that has a key, and for none whose OSImage names no Secret', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'), imageNaming(undefined, 'open'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.set(nodeOS('b', keyOf(1).publicKey));
    cluster.set(nodeOS('no-key', undefined));
    cluster.set(nodeOS('other', keyOf(2).publicKey, 'open'));
    start();
    await eventually('both are sealed', () => cluster.writes.length === 2);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('one'));
    assert.equal(await openedBy(keyOf(1), 'b'), configOf('one'));
    await assert.rejects(openedBy(keyOf(1), 'a'), /sealed for another/);
    assert.deepEqual([held('no-key'), held('other')], [undefined, undefined]);
    cluster.set(nodeOS('no-key', keyOf(2).publicKey));
    await later(1000);
    await eventually('a key that comes later', () => cluster.writes.length === 3);
    assert.equal(await openedBy(keyOf(2), 'no-key'), configOf('one'));
  });

  it('are written once for each of 5,000 nodes and version of the Secret, and not again while nothing changes', async () => {
    const nodes = 5000;
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    const all = Array.from({ length: nodes }, (_, index) => nodeOS(`n${index}`, keyOf(index % 3).publicKey));
    cluster.nodeOSes.replace(all, '2');
    start();
    await eventually('all are sealed', () => cluster.writes.length >= nodes);
    const { reads } = cluster;
    await later(5 * REREAD_MS);
    // What agents report wakes the loop, and changes nothing.
    for (const one of cluster.nodeOSes.values().slice(0, 100))
      cluster.set({ ...one, status: { ...one.status, host: { ...one.status?.host, bootID: 'b2' } } });
    await later(1000);
    assert.equal(cluster.writes.length, nodes);
    assert.ok(cluster.reads > reads && cluster.reads <= reads + 6, `${cluster.reads - reads} reads in five minutes`);
    assert.ok(cluster.mostAtOnce > 1 && cluster.mostAtOnce <= 8, `${cluster.mostAtOnce} writes at once`);
    cluster.setSecret('pull', configOf('two'));
    await later(REREAD_MS);
    await eventually('all are sealed anew', () => cluster.writes.length >= 2 * nodes);
    await later(2 * REREAD_MS);
    assert.equal(cluster.writes.length, 2 * nodes);
    assert.equal(await openedBy(keyOf(0), 'n0'), configOf('two'));
  }).timeout(120_000);

  it('follow the Secret and the key of the node, and go with both', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setSecret('other', configOf('other'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    start();
    await eventually('sealed', () => cluster.writes.length === 1);
    cluster.setSecret('pull', configOf('two'));
    await later(REREAD_MS);
    await eventually('rotated', () => cluster.writes.length === 2);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('two'));

    const change = (key: string | undefined) => {
      const { spec, metadata } = cluster.nodeOSes.get('a') ?? assert.fail();
      cluster.set({ ...nodeOS('a', key), metadata, spec });
    };
    change(keyOf(1).publicKey);
    await later(1000);
    await eventually('another key', () => cluster.writes.length === 3);
    assert.equal(await openedBy(keyOf(1), 'a'), configOf('two'));

    cluster.setImages(imageNaming('other'));
    await later(1000);
    await eventually('another Secret, in one write', () => cluster.writes.length === 4);
    assert.equal(await openedBy(keyOf(1), 'a'), configOf('other'));

    cluster.setImages(imageNaming(undefined));
    await later(1000);
    await eventually('no Secret', () => cluster.writes.length === 5);
    assert.equal(held('a'), undefined);

    cluster.setImages(imageNaming('pull'));
    await later(1000);
    await eventually('a Secret again', () => cluster.writes.length === 6);
    change(undefined);
    await later(1000);
    await eventually('an agent without a key', () => cluster.writes.length === 7);
    assert.deepEqual([held('a'), cluster.writes.at(-1)], [undefined, 'remove a']);
  });

  it('follow at once a Secret that was read for something else, as for the image that a new order is for', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    const loop = cluster.loop();
    running.push(loop.run(stop.signal));
    await eventually('sealed', () => cluster.writes.length === 1);
    const seen = (config: string, name = 'pull') => {
      cluster.setSecret(name, config);
      const secret = cluster.secrets.get(name);
      assert.ok(secret !== undefined && !(secret instanceof KubeError));
      loop.saw(name, secret);
    };
    seen(configOf('two'));
    seen(configOf('nobody names it'), 'unnamed');
    await later(1000);
    await eventually('rotated', () => cluster.writes.length === 2);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('two'));
    seen('no docker config');
    await later(1000);
    await eventually('removed', () => cluster.writes.length === 3);
    assert.equal(held('a'), undefined);
  });

  it('are taken away when the Secret is deleted or broken, which is said once for each OSImage, and come back with it', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'), imageNaming('pull', 'second'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    start();
    await eventually('sealed', () => cluster.writes.length === 1);
    cluster.secrets.delete('pull');
    await later(REREAD_MS);
    await eventually('removed', () => cluster.writes.length === 2);
    await later(10 * REREAD_MS);
    const missing = 'pull Secret treeline-system/pull does not exist: create it';
    assert.deepEqual(cluster.unusable, [`fleet: ${missing}`, `second: ${missing}`]);
    cluster.setSecret('pull', '{"auths": {"registry.example": {"auth": "c2VjcmV0LXdpdGhvdXQtY29sb24="}}}');
    await later(REREAD_MS);
    assert.match(cluster.unusable[2] ?? '', /^fleet: .*credentials/);
    for (const said of cluster.unusable) assert.doesNotMatch(said, /c2VjcmV0|secret-without/);
    assert.equal(held('a'), undefined);
    cluster.setSecret('pull', configOf('two'));
    await later(REREAD_MS);
    await eventually('sealed again', () => cluster.writes.length === 3);
    assert.equal(await openedBy(keyOf(0), 'a'), configOf('two'));
  });

  it('stay as they are while the API server is busy or away', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    start();
    await eventually('sealed', () => cluster.writes.length === 1);
    for (const code of ['Unavailable', 'Timeout', 'Forbidden', 'TooManyRequests', 'Unexpected'] as const) {
      cluster.secrets.set('pull', new KubeError(code, 'not now'));
      await later(2 * REREAD_MS);
    }
    assert.deepEqual(cluster.writes, ['seal a'], JSON.stringify(cluster.nodeOSes.get('a')));
    assert.deepEqual(cluster.unusable, []);
  });

  it('are given to all others when one node lies about its key, and written no more often than it lies', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    // The schema lets them through; nothing can be sealed for them.
    cluster.set(nodeOS('zero', `${'A'.repeat(43)}=`));
    cluster.set(nodeOS('odd', `${'A'.repeat(42)}B=`));
    cluster.set(nodeOS('honest', keyOf(0).publicKey));
    cluster.set(nodeOS('thief', keyOf(0).publicKey));
    start();
    await eventually('the others', () => held('honest') !== undefined && held('thief') !== undefined);
    await later(5 * REREAD_MS);
    assert.equal(held('zero'), undefined);
    assert.ok(cluster.writes.length <= 3, cluster.writes.join());
    assert.equal(await openedBy(keyOf(0), 'honest'), configOf('one'));
    // Whoever names the key of another node cannot open anything, and that node cannot open it as its own.
    const stolen = held('thief') ?? assert.fail();
    const asHonest = { ...stolen, nodeUID: 'node-honest', namespace: NAMESPACE };
    await assert.rejects(keyOf(0).open(stolen.sealed, asHonest), /sealed for another node/);
  });

  it('are tried again when a write fails, with a growing rest, and the others do not wait', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.failing = new KubeError('Unavailable', 'busy');
    start();
    await eventually('it was tried', () => cluster.mostAtOnce > 0);
    await later(2 * REREAD_MS);
    cluster.failing = undefined;
    await later(REREAD_MS);
    await eventually('sealed', () => cluster.writes.length === 1);
  });

  it('are not written again and again where the API server does not keep them', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.prunes = true;
    start();
    await eventually('it was tried', () => cluster.writes.length > 0);
    await later(10 * REREAD_MS);
    assert.ok(cluster.writes.length < 25, `${cluster.writes.length} writes in ten minutes`);
    cluster.prunes = false;
    await later(REREAD_MS);
    await eventually('sealed', () => held('a') !== undefined);
  });

  it('are neither read nor written by a replica that does not lead, and read anew when it leads again', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', keyOf(0).publicKey));
    cluster.mayAct = false;
    start();
    await later(2 * REREAD_MS);
    assert.deepEqual([cluster.reads, cluster.writes], [0, []]);
    cluster.mayAct = true;
    await later(REREAD_MS);
    await eventually('sealed', () => cluster.writes.length === 1);
    // Another replica leads, and has given the node what is newer.
    cluster.mayAct = false;
    cluster.set(cluster.nodeOSes.get('a') ?? assert.fail());
    await later(31_000);
    cluster.setSecret('pull', configOf('two'));
    const { spec, metadata } = cluster.nodeOSes.get('a') ?? assert.fail();
    const newer = { ...(spec.pullCredentials ?? assert.fail()), secretVersion: versionOf(cluster, 'pull') };
    cluster.set({ ...nodeOS('a', keyOf(0).publicKey), metadata, spec: { ...spec, pullCredentials: newer } });
    cluster.mayAct = true;
    await later(31_000);
    assert.equal(cluster.writes.length, 1, 'it did not put back what it knew of before');
  });

  it('are not written once leadership is lost, not even in the middle of a round', async () => {
    cluster.setSecret('pull', configOf('one'));
    cluster.setImages(imageNaming('pull'));
    const all = Array.from({ length: 100 }, (_, index) => nodeOS(`n${index}`, keyOf(0).publicKey));
    cluster.nodeOSes.replace(all, '2');
    cluster.onWrite = () => (cluster.mayAct = false);
    start();
    await eventually('it has begun', () => !cluster.mayAct);
    await later(REREAD_MS);
    // Those that were under way, or sealed and not yet sent.
    assert.ok(cluster.writes.length <= 8, `${cluster.writes.length} writes`);
  });

  it('are complete, and none written twice, at whichever write the operator is killed', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (let fatal = 0; fatal < names.length; fatal++) {
      cluster = new Cluster();
      cluster.setSecret('pull', configOf('one'));
      cluster.setImages(imageNaming('pull'));
      for (const [index, name] of names.entries()) cluster.set(nodeOS(name, keyOf(index % 3).publicKey));
      cluster.writesToLive = fatal;
      const first = start();
      await eventually('killed', () => cluster.writesToLive <= 0);
      first.abort();
      await Promise.all(running);
      assert.equal(cluster.writes.length, fatal);
      cluster.writesToLive = Infinity;
      const second = start();
      await eventually('complete', () => names.every((name) => held(name) !== undefined));
      second.abort();
      assert.deepEqual(
        cluster.writes.toSorted(),
        names.map((name) => `seal ${name}`),
      );
    }
  });

  it('are due exactly where Secret, version and key are not what is held: whatever the state, one round settles it', () => {
    const names = fc.constantFrom('s1', 's2', undefined);
    const versions = fc.constantFrom('1', '2');
    const keyNames = fc.constantFrom('k1', 'k2', undefined);
    const state: fc.Arbitrary<SecretState | undefined> = fc.oneof(
      versions.map((version) => ({ state: 'Read' as const, version, config: '' })),
      fc.constant({ state: 'Unusable' as const }),
      fc.constant(undefined),
    );
    const node = fc.record({
      imageName: fc.constantFrom('i1', 'i2', 'gone'),
      key: keyNames,
      held: fc.option(
        fc.record({
          secretName: fc.constantFrom('s1', 's2'),
          secretVersion: versions,
          key: fc.constantFrom('k1', 'k2'),
        }),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(names, names, state, state, fc.array(node, { maxLength: 6 }), (n1, n2, s1, s2, nodes) => {
        const images = [imageNaming(n1, 'i1'), imageNaming(n2, 'i2')];
        const known: (readonly [string, SecretState | undefined])[] = [
          ['s1', s1],
          ['s2', s2],
        ];
        const secrets = new Map<string, SecretState>(
          known.flatMap(([name, one]) => (one ? [[name, one] as const] : [])),
        );
        const objects = nodes.map(({ imageName, key, held }, index): NodeOS => {
          const base = nodeOS(`n${index}`, key, imageName);
          return held === undefined
            ? base
            : { ...base, spec: { ...base.spec, pullCredentials: { ...held, sealed: 'x' } } };
        });
        const settled = objects.map((object): NodeOS => {
          const due = dueCredentials(images, [object], secrets)[0];
          const { pullCredentials: _, ...spec } = object.spec;
          if (due === undefined) return object;
          if (due.kind === 'Remove') return { ...object, spec };
          const secret = secrets.get(due.secretName);
          assert.ok(secret?.state === 'Read');
          const { secretName, key } = due;
          const pullCredentials = { secretName, secretVersion: secret.version, key, sealed: 'y' };
          return { ...object, spec: { ...spec, pullCredentials } };
        });
        assert.deepEqual(dueCredentials(images, settled, secrets), []);
        for (const { spec, status } of settled) {
          const wanted = spec.imageName === 'i1' ? n1 : spec.imageName === 'i2' ? n2 : undefined;
          const secret = wanted === undefined ? undefined : secrets.get(wanted);
          const key = status?.host?.credentialsKey;
          const { pullCredentials } = spec;
          if (wanted === undefined || key === undefined) assert.equal(pullCredentials, undefined);
          else if (secret?.state === 'Read') {
            assert.equal(pullCredentials?.secretName, wanted);
            assert.equal(pullCredentials.key, key);
            assert.equal(pullCredentials.secretVersion, secret.version);
          } else if (secret?.state === 'Unusable') assert.equal(pullCredentials, undefined);
        }
      }),
    );
  });

  it('of a NodeOS that is being deleted are left alone', () => {
    const base = nodeOS('a', 'k1');
    const deleted = { ...base, metadata: { ...base.metadata, deletionTimestamp: '2026-11-23T12:00:00Z' } };
    const secrets = new Map([['s1', { state: 'Read', version: '1', config: '' } as const]]);
    assert.deepEqual(dueCredentials([imageNaming('s1')], [deleted], secrets), []);
  });
});

function versionOf(cluster: Cluster, name: string): string {
  const secret = cluster.secrets.get(name);
  assert.ok(secret !== undefined && !(secret instanceof KubeError));
  return parsePullSecret(secret, name).version;
}

describe('A pull Secret', () => {
  const secretOf = (config: string): Secret => ({
    metadata: { uid: 'u', resourceVersion: '7' },
    data: { '.dockerconfigjson': Buffer.from(config).toString('base64') },
  });

  it('that every node can be given is as large as the NodeOS has room for, and no larger', async () => {
    const frame = '{"auths":{}, "x": ""}';
    const largest = `{"auths":{}, "x": "${'y'.repeat(PULL_SECRET_BYTES - frame.length)}"}`;
    const { config, version } = parsePullSecret(secretOf(largest), 'ns/pull');
    assert.equal(version, 'u/7');
    const key = await CredentialsKey.from(randomBytes(32));
    const cluster = new Cluster();
    cluster.setSecret('pull', config);
    cluster.setImages(imageNaming('pull'));
    cluster.set(nodeOS('a', key.publicKey));
    const stop = new AbortController();
    const running = cluster.loop().run(stop.signal);
    // The stand-in holds what is written against the schema.
    await eventually('sealed', () => cluster.writes.length === 1);
    stop.abort();
    await running;
    assert.throws(
      () => parsePullSecret(secretOf(largest.replace('y', 'yy')), 'ns/pull'),
      /pull Secret ns\/pull holds 32769 bytes, and nodes are given up to 32768: leave only the registries/,
    );
  });
});
