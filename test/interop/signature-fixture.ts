/** A registry with unsigned images, and the other signers and verifiers as functions. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  digestOf,
  openImageDestination,
  parseAnyImageReference,
  parseRegistryName,
  type RegistryOptions,
} from '../../registry/index.ts';
import {
  parseSignaturePolicy,
  type SignaturePolicyText,
  type Verification,
  verifyImage,
} from '../../registry/signatures/index.ts';
import { ANNOTATION, BUNDLE_MEDIA_TYPE, type SimpleSignature } from '../../registry/signatures/attached-signature.ts';
import { tagOfDigest } from '../../registry/signatures/lookup.ts';
import { SIMPLE_SIGNING_MEDIA_TYPE } from '../../registry/signatures/simple-signing.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { newKeyPair, type KeyKind } from '../../testbed/signing-keys.ts';
import { ensureContainersPolicy, ensureCosign } from '../../tools/setup/index.ts';
import { sampleImage } from '../unit/registry/sample-image.ts';

const run = promisify(execFile);
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const PASSWORD = 'correct horse';

/** One key in the forms that the tools want. */
export interface KeyFiles {
  /** PKCS#8. */
  readonly plain: string;
  /** cosign's own, encrypted with `COSIGN_PASSWORD`. */
  readonly sealed: string;
  readonly public: string;
  readonly publicPem: string;
}

export class SignatureBench implements AsyncDisposable {
  readonly folder: string;
  readonly registry: TestRegistry;
  readonly options: RegistryOptions;
  /** For our own commands and for cosign: no home but this one, the password of every key. */
  readonly environment: NodeJS.ProcessEnv;
  readonly #cosign: string;
  /** The library of podman and skopeo as a program: policy, registries.d, image. */
  readonly policyJudge: string;
  #names = 0;

  private constructor(folder: string, registry: TestRegistry, cosign: string, policyJudge: string) {
    this.folder = folder;
    this.registry = registry;
    this.options = { plainHttpHosts: [registry.host] };
    this.#cosign = cosign;
    this.policyJudge = policyJudge;
    this.environment = { ...process.env, HOME: folder, COSIGN_PASSWORD: PASSWORD, SIGSTORE_NO_CACHE: 'true' };
  }

  static async start(): Promise<SignatureBench> {
    const cosign = await ensureCosign(() => undefined);
    const policyJudge = await ensureContainersPolicy(() => undefined);
    const folder = await mkdtemp(join(tmpdir(), 'treeline-signatures-'));
    const registry = await startRegistry({ storage: join(folder, 'registry') });
    return new SignatureBench(folder, registry, cosign, policyJudge);
  }

  /** Pushes an image of its own; returns `host/repository` and its digest. */
  async push(repository?: string): Promise<{ readonly name: string; readonly digest: string }> {
    const name = `${this.registry.host}/${repository ?? `os/image${++this.#names}`}`;
    const image = sampleImage({ layer: Buffer.from(`${name} ${++this.#names}`) });
    await using destination = openImageDestination(parseAnyImageReference(`${name}:1`).image, this.options);
    for (const descriptor of [image.manifest.config, ...image.manifest.layers]) {
      await destination.putBlob(descriptor, async function* () {
        yield await Promise.resolve(image.blobs.get(descriptor.digest) ?? Buffer.alloc(0));
      });
    }
    return { name, digest: await destination.putManifest(image.manifest) };
  }

  async key(kind: KeyKind = 'ECDSA P-256'): Promise<KeyFiles> {
    const folder = join(this.folder, `key${++this.#names}`);
    await mkdir(folder);
    const pair = newKeyPair(kind);
    const plain = join(folder, 'plain.pem');
    await writeFile(plain, pair.privateKey);
    await writeFile(join(folder, 'cosign.pub'), pair.publicKey);
    await this.cosign('import-key-pair', '--key', plain, '--output-key-prefix', join(folder, 'sealed'));
    return { plain, sealed: join(folder, 'sealed.key'), public: join(folder, 'cosign.pub'), publicPem: pair.publicKey };
  }

  async cosign(...args: readonly string[]): Promise<string> {
    return (await run(this.#cosign, args, { env: this.environment, cwd: this.folder })).stdout;
  }

  /** Signs with cosign and no transparency log, in the format with a payload or as a bundle. */
  async cosignSign(
    image: string,
    key: string,
    format: 'simple-signing' | 'bundle',
    ...more: readonly string[]
  ): Promise<void> {
    const flags = ['--tlog-upload=false', '--use-signing-config=false', '--allow-http-registry', '--yes', ...more];
    const old = format === 'bundle' ? [] : ['--new-bundle-format=false'];
    await this.cosign('sign', '--key', key, ...flags, ...old, image);
  }

  async cosignVerify(image: string, publicKey: string, ...more: readonly string[]): Promise<unknown> {
    const flags = ['--insecure-ignore-tlog=true', '--allow-http-registry', '--output', 'json', ...more];
    return JSON.parse(await this.cosign('verify', '--key', publicKey, ...flags, image));
  }

  /** Attaches a signature under the tag `.sig`, with all that comes beside it in annotations. */
  async attach({ name, digest }: { name: string; digest: string }, signature: SimpleSignature): Promise<void> {
    const config = await this.putBlob(name, Buffer.from('{}'));
    const annotations = {
      [ANNOTATION.signature]: signature.signature.toString('base64'),
      ...(signature.certificate === undefined ? {} : { [ANNOTATION.certificate]: signature.certificate }),
      ...(signature.chain === undefined ? {} : { [ANNOTATION.chain]: signature.chain }),
      ...(signature.rekorBundle === undefined ? {} : { [ANNOTATION.rekorBundle]: signature.rekorBundle }),
    };
    const payload = await this.putBlob(name, signature.payload);
    const layers = [{ mediaType: SIMPLE_SIGNING_MEDIA_TYPE, ...payload, annotations }];
    const plain = { mediaType: 'application/vnd.oci.image.config.v1+json', ...config };
    const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: plain, layers };
    await this.put(name, `manifests/${tagOfDigest(digest)}.sig`, MANIFEST, Buffer.from(JSON.stringify(manifest)));
  }

  /** Attaches a bundle as a referrer, by the index under the digest's tag, with the annotations that cosign looks at. */
  async attachBundle({ name, digest }: { name: string; digest: string }, bundle: Buffer): Promise<void> {
    const config = { mediaType: 'application/vnd.oci.empty.v1+json', ...(await this.putBlob(name, Buffer.from('{}'))) };
    const layers = [{ mediaType: BUNDLE_MEDIA_TYPE, ...(await this.putBlob(name, bundle)) }];
    const annotations = {
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1',
    };
    const kind = { mediaType: MANIFEST, artifactType: BUNDLE_MEDIA_TYPE, annotations };
    const subject = { mediaType: MANIFEST, digest, size: 1 };
    const referrer = Buffer.from(JSON.stringify({ schemaVersion: 2, ...kind, config, layers, subject }));
    await this.put(name, `manifests/${digestOf(referrer)}`, MANIFEST, referrer);
    const manifests = [{ ...kind, digest: digestOf(referrer), size: referrer.length }];
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
    await this.put(name, `manifests/${tagOfDigest(digest)}`, INDEX, index);
  }

  async put(name: string, path: string, type: string, bytes: Buffer): Promise<void> {
    const [host = '', ...repository] = name.split('/');
    const url = `http://${host}/v2/${repository.join('/')}/${path}`;
    const answer = await fetch(url, { method: 'PUT', headers: { 'content-type': type }, body: new Uint8Array(bytes) });
    assert.equal(answer.status, 201, await answer.text());
  }

  async putBlob(name: string, bytes: Buffer): Promise<{ digest: string; size: number }> {
    const [host = '', ...repository] = name.split('/');
    const begun = await fetch(`http://${host}/v2/${repository.join('/')}/blobs/uploads/`, { method: 'POST' });
    const location = new URL(begun.headers.get('location') ?? '');
    location.searchParams.set('digest', digestOf(bytes));
    const headers = { 'content-type': 'application/octet-stream' };
    assert.equal((await fetch(location, { method: 'PUT', headers, body: new Uint8Array(bytes) })).status, 201);
    return { digest: digestOf(bytes), size: bytes.length };
  }

  /** Asks the library of podman and skopeo whether a policy of containers-policy.json(5) allows an image. */
  async policyAllows(image: string, policy: object): Promise<void> {
    const file = join(this.folder, `policy${++this.#names}.json`);
    await writeFile(file, JSON.stringify(policy));
    const registries = join(this.folder, 'registries.d');
    await mkdir(registries, { recursive: true });
    await writeFile(join(registries, 'default.yaml'), 'default-docker:\n  use-sigstore-attachments: true\n');
    await run(this.policyJudge, [file, registries, `//${image}`], { env: this.environment });
  }

  async verify(
    image: { readonly name: string; readonly digest: string },
    policy: SignaturePolicyText,
    index?: string,
  ): Promise<Verification> {
    const repository = parseRegistryName(image.name);
    return await verifyImage({
      repository,
      digest: image.digest,
      policies: [parseSignaturePolicy(policy, 'the test')],
      registry: this.options,
      ...(index === undefined ? {} : { index }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registry.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
