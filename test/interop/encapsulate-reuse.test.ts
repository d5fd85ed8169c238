import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import type { Chunk } from '../../ostree/chunking/chunk.ts';
import { contentOfCommit } from '../../ostree/encapsulate/commit-content.ts';
import { type Compression, type EncapsulatedImage, type EncapsulateOptions, encapsulate } from '../../ostree/index.ts';
import { openImageDestination, openImageSource, parseImageReference } from '../../registry/index.ts';
import { startRegistry } from '../../testbed/registry.ts';
import { PLATFORM, repositoryOf, skopeo, toLayout } from './encapsulate-fixture.ts';
import { blobPath, readLayout } from './import-fixture.ts';
import type { FileSpec } from './ostree-fixture.ts';

const COMPRESSIONS: readonly Compression[] = ['default', 'fast', 'zstd', 'zstd:chunked'];

/** Of packages by name, what is in each. */
type Packages = Readonly<Record<string, string>>;

function systemOf(packages: Packages): Readonly<Record<string, FileSpec>> {
  const files = Object.entries(packages).map(([name, content]): [string, FileSpec] => [
    `usr/lib/${name}/content`,
    { content: `${content} of ${name} `.repeat(2000) },
  ]);
  return { ...Object.fromEntries(files), 'usr/bin/sh': { content: 'sh' } };
}

/** One for each package, and one for the rest. */
function chunksOf({ repository, commit }: Awaited<ReturnType<typeof repositoryOf>>): Chunk[] {
  const groups = new Map<string, string[]>();
  for (const [object, [path = '']] of contentOfCommit(repository, commit)) {
    const name = /^usr\/lib\/(\w+)\//.exec(path)?.[1] ?? 'rest';
    groups.set(name, [...(groups.get(name) ?? []), object]);
  }
  return [...groups].map(([name, objects]) => ({ name, components: [name], objects }));
}

type Options = Partial<Pick<EncapsulateOptions, 'compression' | 'destination' | 'formatVersion'>>;

/** Writes the system into the layout; with `previous`, another layout, its layers are taken over. */
async function write(
  packages: Packages,
  layout: string,
  previous?: string,
  options: Options = {},
): Promise<EncapsulatedImage> {
  using source = await repositoryOf(systemOf(packages));
  const chunks = chunksOf(source);
  if (previous === undefined) return await toLayout(source.repository, layout, { chunks, ...options });
  await using earlier = openImageSource({ transport: 'oci', name: `${previous}:v1` });
  const image = await earlier.resolve(PLATFORM);
  return await toLayout(source.repository, layout, { chunks, ...options, earlier: { image, source: earlier } });
}

const reusedOf = ({ layers }: EncapsulatedImage) => layers.filter(({ reused }) => reused).map(({ name }) => name);

const BEFORE: Packages = { bash: '5.1', kernel: '6.1', perl: '5.36' };
const AFTER: Packages = { ...BEFORE, kernel: '6.2', curl: '8.0' };

describe('layers of an earlier image', () => {
  let scratch: Awaited<ReturnType<typeof repositoryOf>>;
  let count = 0;
  const folder = (): string => join(scratch.path, `image-${count++}`);

  before(async () => {
    scratch = await repositoryOf({ 'usr/bin/sh': { content: '' } });
  });
  after(() => scratch[Symbol.dispose]());

  it('give the same image as compressing all of it again, whatever changed and however it is compressed', async () => {
    const packages = fc.dictionary(fc.constantFrom('bash', 'curl', 'kernel', 'perl', 'tar'), fc.constantFrom('1', '2'));
    await fc.assert(
      fc.asyncProperty(
        packages,
        packages,
        fc.constantFrom(...COMPRESSIONS),
        fc.constantFrom(1 as const, 2 as const),
        async (before, after, compression, formatVersion) => {
          const options = { compression, formatVersion };
          const [earlier, anew, reusing] = [folder(), folder(), folder()];
          await write(before, earlier, undefined, options);
          const expected = await write(after, anew, undefined, options);
          const image = await write(after, reusing, earlier, options);
          assert.equal(image.manifestDigest, expected.manifestDigest);
          const unchanged = Object.keys(after).filter((name) => before[name] === after[name]);
          assert.deepEqual(new Set(reusedOf(image)), new Set(['rest', ...unchanged]));
          // All blobs are there, and are what they are called.
          skopeo('copy', '--quiet', `oci:${reusing}:v1`, `dir:${folder()}`);
        },
      ),
      { numRuns: 12 },
    );
  });

  it('are not taken over when they were compressed in another way, or do not say how', async () => {
    const earlier = folder();
    await write(BEFORE, earlier, undefined, { compression: 'fast' });
    const expected = await write(AFTER, folder());
    const image = await write(AFTER, folder(), earlier);
    assert.deepEqual(reusedOf(image), []);
    assert.equal(image.manifestDigest, expected.manifestDigest);

    const silent = folder();
    await write(BEFORE, silent);
    await changeAnnotations(silent, (annotations) => delete annotations['dev.treeline.compression']);
    assert.deepEqual(reusedOf(await write(AFTER, folder(), silent)), []);

    const old = folder();
    await write(BEFORE, old);
    await changeAnnotations(old, (annotations) => {
      const record = annotations['dev.treeline.compression'] ?? assert.fail();
      annotations['dev.treeline.compression'] = record.replace(':stored ', ' ');
    });
    assert.deepEqual(reusedOf(await write(AFTER, folder(), old)), []);
  });

  it('are not taken over when another tool has compressed them anew and kept what they said', async () => {
    const [earlier, changed] = [folder(), folder()];
    await write(BEFORE, earlier);
    const said = (await readLayout(earlier)).manifest.layers.map(({ annotations }) => annotations);
    const plain = folder();
    skopeo('copy', '--quiet', '--dest-decompress', `oci:${earlier}:v1`, `dir:${plain}`);
    skopeo('copy', '--quiet', `dir:${plain}`, `oci:${changed}:v1`);
    const again = (await readLayout(changed)).manifest.layers;
    assert.ok(again.every(({ mediaType }) => mediaType.endsWith('+gzip')));
    let at = 0;
    await changeAnnotations(changed, (annotations) => Object.assign(annotations, said[at++]));
    const expected = await write(AFTER, folder());
    const image = await write(AFTER, folder(), changed);
    assert.equal(image.manifestDigest, expected.manifestDigest);
    assert.deepEqual(reusedOf(image), []);
  });

  it('are compressed again when the earlier image cannot give them any more', async () => {
    const earlier = folder();
    const { layers } = await write(BEFORE, earlier);
    const bash = layers.find(({ name }) => name === 'bash') ?? assert.fail();
    const perl = layers.find(({ name }) => name === 'perl') ?? assert.fail();
    rmSync(blobPath(earlier, bash.digest));
    writeFileSync(blobPath(earlier, perl.digest), 'something else');
    const image = await write(AFTER, folder(), earlier);
    assert.equal(image.manifestDigest, (await write(AFTER, folder())).manifestDigest);
    assert.deepEqual(reusedOf(image), ['rest']);
  });

  it('are neither read nor sent where the destination has them', async () => {
    const earlier = folder();
    await write(BEFORE, earlier);
    await using registry = await startRegistry({ storage: join(scratch.path, 'registry') });
    skopeo('copy', '--quiet', '--dest-tls-verify=false', `oci:${earlier}:v1`, `docker://${registry.host}/os:1`);
    using source = await repositoryOf(systemOf(AFTER));
    const name = parseImageReference(`docker://${registry.host}/os:2`);
    const access = { plainHttpHosts: [registry.host] };
    await using destination = openImageDestination(name, access);
    await using old = openImageSource(parseImageReference(`docker://${registry.host}/os:1`), access);
    let opened = 0;
    let sent = 0;
    const image = await encapsulate({
      repository: source.repository,
      rev: 'os',
      destination,
      platform: PLATFORM,
      chunks: chunksOf(source),
      earlier: {
        image: await old.resolve(PLATFORM),
        source: {
          openBlob: (descriptor, options) => {
            opened++;
            return old.openBlob(descriptor, options);
          },
        },
      },
      onProgress: ({ bytesWritten }) => (sent = bytesWritten),
    });
    assert.deepEqual(new Set(reusedOf(image)), new Set(['bash', 'perl', 'rest']));
    assert.equal(opened, 0);
    const others = image.layers.filter(({ reused }) => !reused);
    assert.equal(
      sent,
      others.reduce((sum, { size }) => sum + size, 0),
    );
    assert.equal(image.manifestDigest, (await write(AFTER, folder())).manifestDigest);
  });
});

/** Changes what the manifest of a layout says of its layers. */
async function changeAnnotations(layout: string, change: (annotations: Record<string, string>) => void): Promise<void> {
  const copy = `${layout}-dir`;
  skopeo('copy', '--quiet', `oci:${layout}:v1`, `dir:${copy}`);
  const { manifest } = await readLayout(layout);
  const layers = manifest.layers.map((layer) => {
    const annotations = { ...layer.annotations };
    change(annotations);
    return { ...layer, annotations };
  });
  writeFileSync(join(copy, 'manifest.json'), JSON.stringify({ ...manifest, layers }));
  rmSync(layout, { recursive: true });
  skopeo('copy', '--quiet', `dir:${copy}`, `oci:${layout}:v1`);
}
