import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf, openImageSource, parseImageReference, RegistryError } from '../../../registry/index.ts';
import { AMD64, collect } from './sample-image.ts';
import { type TarFile, tarOf } from './tar-file.ts';

const first = Buffer.from('the first layer, plain');
const second = Buffer.alloc(300_000, 'second ');
const config = JSON.stringify({
  architecture: 'amd64',
  os: 'linux',
  config: { Labels: { version: '7' } },
  rootfs: { type: 'layers', diff_ids: [digestOf(first), digestOf(second), digestOf(first)] },
});
const entry = {
  Config: 'config.json',
  RepoTags: ['os:v1', 'quay.io/a/os:v2'],
  Layers: ['a/layer.tar', 'b.tar', 'a.tar'],
};
const other = { Config: 'other.json', RepoTags: null, Layers: [] };

let directory = '';
let path = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'treeline-docker-archive-'));
  path = join(directory, 'image.tar');
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function save(manifest: unknown, files: readonly TarFile[] = layers(second)): Promise<void> {
  const text = typeof manifest === 'string' ? manifest : JSON.stringify(manifest);
  await writeFile(path, tarOf([...files, { name: 'manifest.json', content: text }]));
}

function layers(secondBytes: Buffer): TarFile[] {
  return [
    { name: 'a.tar', content: first },
    { name: 'a/layer.tar', link: { to: '../a.tar' } },
    { name: './b.tar', content: secondBytes },
    { name: 'config.json', content: config },
  ];
}

function open(ref = '') {
  return openImageSource(parseImageReference(`docker-archive:${path}${ref}`));
}

async function failure(promise: Promise<unknown>): Promise<RegistryError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, String(error));
  return error;
}

describe('docker-archive:', () => {
  it('has the manifest that containers/image makes of it, whose layers are plain under their diff-ids', async () => {
    await save([entry]);
    await using source = open();
    const { digest, manifest, config: parsed, storedBlobs } = await source.resolve(AMD64);
    const layer = (bytes: Buffer) =>
      `{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":${bytes.length},"digest":"${digestOf(bytes)}"}`;
    const raw =
      `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",` +
      `"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":${config.length},"digest":"${digestOf(config)}"},` +
      `"layers":[${layer(first)},${layer(second)},${layer(first)}]}`;
    assert.equal(digest, digestOf(raw));
    assert.equal(parsed.config?.Labels?.['version'], '7');
    assert.deepEqual(
      manifest.layers.map((one) => one.digest),
      [digestOf(first), digestOf(second), digestOf(first)],
    );
    for (const [bytes, one] of [
      [first, manifest.layers[0]!],
      [second, manifest.layers[1]!],
    ] as const) {
      const stored = storedBlobs?.get(one.digest);
      assert.equal(stored?.mediaType, 'application/vnd.oci.image.layer.v1.tar');
      assert.ok((await collect(source.openBlob(stored))).equals(bytes));
      assert.ok((await collect(source.openRange(stored, 3, 9))).equals(bytes.subarray(3, 12)));
    }
  });

  it('is the same image when its layers are compressed in the archive', async () => {
    await save([entry]);
    await using plain = open();
    const { digest } = await plain.resolve(AMD64);
    for (const compress of [gzipSync, zstdCompressSync]) {
      await save([entry], layers(compress(second)));
      await using source = open();
      const image = await source.resolve(AMD64);
      assert.equal(image.digest, digest);
      const layer = image.manifest.layers[1]!;
      assert.ok((await collect(source.openBlob(layer))).equals(second));
      const error = await failure(collect(source.openRange(layer, 0, 1)));
      assert.equal(error.code, 'RangeUnsupported');
    }
  });

  it('gives the image that the reference means, spelt out or in short, and else says which there are', async () => {
    await save([other, entry]);
    for (const ref of [':os:v1', ':docker.io/library/os:v1', ':quay.io/a/os:v2', ':@1']) {
      await using source = open(ref);
      assert.equal((await source.resolve(AMD64)).config.config?.Labels?.['version'], '7', ref);
    }
    for (const [ref, message] of [
      ['', /holds @0, os:v1: append :NAME:TAG or :@N/],
      [':os', /names no image of its archive \(which holds @0, os:v1\)/],
      [':quay.io/a/os', /names no image/],
      [':@2', /names no image/],
    ] as const) {
      await using source = open(ref);
      const error = await failure(source.resolve(AMD64));
      assert.equal(error.code, 'NotFound');
      assert.match(error.message, message);
    }
    assert.throws(() => open(':'), /must be docker-archive:PATH, /);
    assert.throws(() => open(`:os@${digestOf('x')}`), /has a digest, but such an archive has none/);
  });

  it('that is damaged is named: wrong layer, missing layer, wrong count, no JSON, no archive', async () => {
    await save([entry], layers(Buffer.from('another second layer')));
    {
      await using source = open();
      const { manifest } = await source.resolve(AMD64);
      assert.equal((await failure(collect(source.openBlob(manifest.layers[1]!)))).code, 'DigestMismatch');
      const foreign = { ...manifest.layers[0]!, digest: digestOf('nobody') };
      assert.equal((await failure(collect(source.openBlob(foreign)))).code, 'NotFound');
    }
    const broken = gzipSync(second);
    broken.fill(0, broken.length >> 1);
    for (const [files, manifest, code, message] of [
      [layers(second), [{ ...entry, Layers: ['a.tar'] }], 'InvalidManifest', /lists 1 layers, but its config has 3/],
      [layers(second), [{ ...entry, Layers: ['a.tar', 'no\u001b.tar', 'a.tar'] }], 'NotFound', /has no no \.tar/],
      [
        layers(second),
        'nonsense',
        'InvalidLayout',
        /manifest\.json of docker-archive:.* is malformed \(not valid JSON\)/,
      ],
      [layers(second), [{ Config: 7 }], 'InvalidLayout', /malformed \(0\.Config: /],
      [layers(broken), [entry], 'InvalidLayout', /cannot be decompressed/],
      [
        [{ name: 'a/layer.tar', link: { to: 'layer.tar' } }, ...layers(second).slice(2)],
        [entry],
        'NotFound',
        /has no a\/layer/,
      ],
    ] as const) {
      await save(manifest, files);
      await using source = open();
      const error = await failure(source.resolve(AMD64));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
    }
    await writeFile(path, gzipSync('x'));
    await using source = open();
    assert.match((await failure(source.resolve(AMD64))).message, /is compressed; decompress it with gunzip/);
  });

  it('follows links between members, however they are made, but none that lead in a circle or outside', async () => {
    const links: TarFile[] = [
      { name: 'a.tar', content: first },
      { name: 'x/1', link: { to: '../a.tar', hard: false } },
      { name: 'a/layer.tar', link: { to: 'x/1', hard: true } },
      { name: 'b.tar', content: second },
      { name: 'config.json', content: config },
    ];
    await save([entry], links);
    {
      await using source = open();
      assert.equal((await source.resolve(AMD64)).manifest.layers.length, 3);
    }
    for (const to of ['a/layer.tar', '../../etc/passwd', '/etc/passwd']) {
      await save([entry], [{ name: 'a/layer.tar', link: { to, hard: true } }, ...links.slice(3), links[0]!]);
      await using source = open();
      assert.equal((await failure(source.resolve(AMD64))).code, 'NotFound');
    }
  });
});
