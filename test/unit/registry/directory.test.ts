import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalJson, MEDIA_TYPE, openImageSource, RegistryError } from '../../../registry/index.ts';
import { AMD64, collect, sampleImage } from './sample-image.ts';

let directory = '';
beforeEach(async () => {
  // A colon belongs to the path: this transport knows no tags.
  directory = await mkdtemp(join(tmpdir(), 'treeline:dir-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const image = sampleImage({ compressed: true });
const hex = (digest: string): string => digest.slice('sha256:'.length);

async function writeImage(): Promise<void> {
  await writeFile(join(directory, 'version'), 'Directory Transport Version: 1.1\n');
  await writeFile(join(directory, 'manifest.json'), image.manifestBytes);
  for (const [digest, bytes] of image.blobs) await writeFile(join(directory, hex(digest)), bytes);
}

const open = () => openImageSource({ transport: 'dir', name: directory });

function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (error instanceof RegistryError ? error.code : String(error)),
  );
}

describe('dir:', () => {
  it('gives back what is in it, whole or in part', async () => {
    await writeImage();
    await using source = open();
    const resolved = await source.resolve(AMD64);
    assert.equal(resolved.digest, image.digest);
    const bytes = image.blobs.get(image.layer.digest)!;
    assert.ok((await collect(source.openBlob(image.layer))).equals(bytes));
    assert.ok((await collect(source.openRange(image.layer, 2, 5))).equals(bytes.subarray(2, 7)));
  });

  it('leads from an index to the manifest of the platform', async () => {
    await writeImage();
    const entry = { mediaType: MEDIA_TYPE.manifest, digest: image.digest, size: image.manifestBytes.length };
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [{ ...entry, platform: AMD64 }] };
    await writeFile(join(directory, 'manifest.json'), canonicalJson(index));
    {
      await using source = open();
      assert.equal(await code(source.resolve(AMD64)), 'NotFound');
    }
    await writeFile(join(directory, `${hex(image.digest)}.manifest.json`), image.manifestBytes);
    {
      await using source = open();
      assert.equal((await source.resolve(AMD64)).digest, image.digest);
    }
    await writeFile(join(directory, `${hex(image.digest)}.manifest.json`), `${image.manifestBytes.toString()} `);
    await using source = open();
    assert.equal(await code(source.resolve(AMD64)), 'SizeMismatch');
  });

  it('with damaged or missing files is refused', async () => {
    await using source = open();
    assert.equal(await code(source.resolve(AMD64)), 'NotFound');
    await writeImage();
    await writeFile(join(directory, hex(image.layer.digest)), Buffer.alloc(image.layer.size));
    assert.equal(await code(collect(source.openBlob(image.layer))), 'DigestMismatch');
    await writeFile(join(directory, hex(image.layer.digest)), 'short');
    assert.equal(await code(collect(source.openBlob(image.layer))), 'SizeMismatch');
  });
});
