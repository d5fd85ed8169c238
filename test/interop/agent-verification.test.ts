/** An agent judges signatures by itself, before it imports anything: by its order, and by the policy of its host. */
import assert from 'node:assert/strict';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Order } from '../../api/index.ts';
import { imagePuller } from '../../node-agent/image-store.ts';
import { failureOf } from '../../node-agent/failure.ts';
import { Repository } from '../../ostree/index.ts';
import { newKeyPair } from '../../testbed/signing-keys.ts';
import { parseRegistryName } from '../../registry/index.ts';
import { parsePublicKey, parseSigningKey, signImage } from '../../registry/signatures/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { encapsulate, makeFolder, makeSystem, run } from './import-fixture.ts';

describe('an agent whose images must be signed', () => {
  const release = newKeyPair();
  const stranger = newKeyPair();
  const fingerprint = parsePublicKey(release.publicKey, '').fingerprint;
  let folder: string;
  let registry: TestRegistry;
  let digest: string;
  let sysroots = 0;

  before(async () => {
    folder = await makeFolder();
    const layout = await encapsulate(await makeSystem(folder), folder, false);
    registry = await startRegistry({ storage: join(folder, 'registry') });
    for (const name of ['signed', 'unsigned']) {
      const target = `docker://${registry.host}/${name}/os:v1`;
      await run('skopeo', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:base`, target);
    }
    const image = parseRegistryName(`${registry.host}/signed/os:v1`);
    const key = parseSigningKey(release.privateKey, undefined, 'the test');
    ({ digest } = await signImage({ image, key, registry: { plainHttpHosts: [registry.host] } }));
  });
  after(async () => {
    await registry.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const trust = (publicKey: string, more: object = {}) => ({
    match: 'Any' as const,
    authorities: [{ name: 'release', publicKeys: [publicKey] }],
    deniedDigests: [],
    deniedKeys: [],
    ...more,
  });

  /** Pulls into a host of its own; also says how many objects are there afterwards. */
  async function pull(
    name: string,
    order: Partial<Order>,
    hostPolicy?: object,
    containers?: Readonly<Record<string, string>>,
  ) {
    const sysroot = join(folder, `host${++sysroots}`);
    await mkdir(join(sysroot, 'ostree'), { recursive: true });
    Repository.create(join(sysroot, 'ostree/repo'), 'bare');
    if (hostPolicy !== undefined) {
      const file = join(sysroot, 'etc/treeline/signature-policy.yaml');
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, JSON.stringify(hostPolicy));
    }
    for (const [path, text] of Object.entries(containers ?? {})) {
      await mkdir(dirname(join(sysroot, 'etc/containers', path)), { recursive: true });
      await writeFile(join(sysroot, 'etc/containers', path), text);
    }
    const puller = imagePuller({
      sysroot,
      registry: { plainHttpHosts: [registry.host], retry: { attempts: 1 } },
      environment: {},
      readPullCredentials: () => Promise.reject(new Error('no secret')),
      prepare: () => Promise.resolve(),
      retainVar: () => Promise.resolve(true),
      onWarning: () => undefined,
    });
    const image = `ostree-unverified-registry:${registry.host}/${name}/os@${digest}`;
    const given: Order = { id: 'o', image, digest, goal: 'Stage', ...order };
    const outcome = await puller(given, {
      accept: () => undefined,
      onProgress: () => undefined,
      limits: () => undefined,
      signal: new AbortController().signal,
    }).catch((error: unknown) => failureOf(error));
    if ('release' in outcome) await outcome.release();
    const objects = await readdir(join(sysroot, 'ostree/repo/objects'));
    return { ...outcome, objects: objects.length };
  }

  const ordered = (publicKey: string, more: object = {}) => ({
    verification: [{ source: 'OSImage' as const, ...trust(publicKey, more) }],
  });

  it('imports what the ordered authority has signed, and says who it was', async () => {
    const pulled = await pull('signed', ordered(release.publicKey));
    assert.ok('signers' in pulled, JSON.stringify(pulled));
    assert.deepEqual(pulled.signers, [{ authority: 'release', key: fingerprint }]);
  });

  const refused = async (reason: string, ...how: Parameters<typeof pull>) => {
    const outcome = await pull(...how);
    assert.deepEqual('reason' in outcome && [outcome.reason, outcome.fault, outcome.objects], [reason, 'Image', 0]);
  };

  it('imports nothing of what is unsigned, signed by another, or denied', async () => {
    await refused('SignatureMissing', 'unsigned', ordered(release.publicKey));
    await refused('SignatureRefused', 'signed', ordered(stranger.publicKey));
    await refused('SignatureRevoked', 'signed', ordered(release.publicKey, { deniedKeys: [fingerprint] }));
  });

  it('keeps to the policy of its host, when an order demands nothing, or somebody else’s signature', async () => {
    await refused('SignatureMissing', 'unsigned', {}, trust(release.publicKey));
    await refused('SignatureRefused', 'signed', ordered(release.publicKey), trust(stranger.publicKey));
    await refused('SignatureRevoked', 'signed', {}, { deniedDigests: [digest] });
    assert.ok('signers' in (await pull('signed', {}, trust(release.publicKey))));
  });

  it('imports nothing while the policy of its host cannot be understood', async () => {
    const outcome = await pull('signed', {}, { authority: 'release' });
    assert.deepEqual('reason' in outcome && [outcome.reason, outcome.fault], ['InvalidSignaturePolicy', 'Node']);
    assert.equal(outcome.objects, 0);
  });

  it('asks the containers-policy.json of its host, when the reference says so', async () => {
    const image = `ostree-image-signed:docker://${registry.host}/signed/os@${digest}`;
    const policy = (keyPath: string) =>
      JSON.stringify({
        default: [{ type: 'reject' }],
        transports: {
          docker: {
            [registry.host]: [{ type: 'sigstoreSigned', keyPath, signedIdentity: { type: 'matchRepository' } }],
          },
        },
      });
    const files = {
      'registries.d/ours.yaml': 'default-docker: {use-sigstore-attachments: true}\n',
      'release.pub': release.publicKey,
      'stranger.pub': stranger.publicKey,
    };
    const good = await pull('signed', { image }, undefined, {
      ...files,
      'policy.json': policy('/etc/containers/release.pub'),
    });
    assert.ok('signers' in good, JSON.stringify(good));
    assert.deepEqual(good.signers, [{ authority: 'policy.json sigstoreSigned', key: fingerprint }]);
    await refused('SignatureRefused', 'signed', { image }, undefined, {
      ...files,
      'policy.json': policy('/etc/containers/stranger.pub'),
    });
    await refused('SignatureMissing', 'signed', { image }, undefined, {
      ...files,
      'registries.d/ours.yaml': '',
      'policy.json': policy('/etc/containers/release.pub'),
    });
    const bare = await pull('signed', { image });
    assert.deepEqual('reason' in bare && [bare.reason, bare.objects], ['InvalidSignaturePolicy', 0]);
  });
});
