/** A layer cache as manifests/optional has it, between agents and the registry of their image. */
import assert from 'node:assert/strict';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, parseAllDocuments } from 'yaml';
import { pullImage, Repository } from '../../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { encapsulate, fsck, makeFolder, makeSystem, PLATFORM, readLayout, run, sha256 } from './import-fixture.ts';

const MANIFEST = join(import.meta.dirname, '..', '..', 'manifests', 'optional', 'layer-cache.yaml');

interface Manifest {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
}

describe('the layer cache of manifests/optional', () => {
  let folder: string;
  let origin: TestRegistry;
  let cache: TestRegistry;
  let digest: string;
  /** Of all blobs. */
  let digests: readonly string[];

  before(async () => {
    folder = await makeFolder();
    const layout = await encapsulate(await makeSystem(folder), folder, true);
    origin = await startRegistry({ storage: join(folder, 'origin') });
    const image = `docker://${origin.host}/team/os:v1`;
    await run('skopeo', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:base`, image);
    digest = sha256(Buffer.from(await run('skopeo', 'inspect', '--raw', '--tls-verify=false', image)));
    const { manifest } = await readLayout(layout);
    digests = [manifest.config, ...manifest.layers].map((blob) => blob.digest);
    const documents = parseAllDocuments(await readFile(MANIFEST, 'utf8')).map((one) => one.toJS() as Manifest);
    const text = documents.find(({ kind }) => kind === 'ConfigMap')?.data?.['config.yml'] ?? '';
    // The test's registry has the same section, with the address of its own origin.
    assert.deepEqual((parse(text) as Record<string, unknown>)['proxy'], { remoteurl: 'https://registry.example.com' });
    cache = await startRegistry({ storage: join(folder, 'cache'), cacheOf: origin.url });
  });
  after(async () => {
    await origin.stop();
    await cache.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function pull(
    name: string,
  ): Promise<{ readonly served: readonly string[]; readonly warnings: readonly string[] }> {
    const [served, warnings]: [string[], string[]] = [[], []];
    const reference = parseOstreeImageReference(`ostree-unverified-registry:${origin.host}/team/os@${digest}`);
    await using source = openImageSource(reference.image, {
      mirrors: [`${cache.host}/team/os`],
      plainHttpHosts: [origin.host, cache.host],
      retry: { baseDelayMs: 1 },
      onServed: (place) => served.push(place),
      onWarning: (message) => warnings.push(message),
    });
    const path = join(folder, name);
    await pullImage({ repository: Repository.create(path, 'bare'), source, reference, platform: PLATFORM });
    await fsck(path);
    return { served, warnings };
  }

  async function isKept(name: string): Promise<boolean> {
    const hex = name.slice('sha256:'.length);
    const path = join(folder, 'cache/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
    return (await stat(path).catch(() => undefined)) !== undefined;
  }

  it('gives the image to the first agent, and to the next ones while the registry is down', async () => {
    const expected = { served: [`${cache.host}/team/os@${digest}`], warnings: [] };
    assert.deepEqual(await pull('first'), expected);
    // It keeps a layer a moment after it has passed it on.
    for (const name of digests) while (!(await isKept(name))) await delay(50);
    await origin.kill();
    assert.deepEqual(await pull('second'), expected);
  });

  it('is passed over when it is down itself', async () => {
    origin = await startRegistry({ storage: join(folder, 'origin'), port: origin.port });
    await cache.kill();
    const { served, warnings } = await pull('third');
    assert.deepEqual(served, [`${origin.host}/team/os@${digest}`]);
    assert.equal(warnings.length, 1);
  });
});
