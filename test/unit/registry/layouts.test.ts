import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  digestOf,
  type ImageReference,
  openImageDestination,
  openImageSource,
  parseImageReference,
  RegistryError,
  type Transport,
} from '../../../registry/index.ts';
import { AMD64, collect, sampleImage, type SampleImage } from './sample-image.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'treeline-layout-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function write(reference: ImageReference, image: SampleImage): Promise<string> {
  await using destination = openImageDestination(reference);
  for (const descriptor of [image.manifest.config, ...image.manifest.layers]) {
    await destination.putBlob(descriptor, () => pieces(image.blobs.get(descriptor.digest) ?? Buffer.alloc(0)));
    assert.equal(await destination.hasBlob(descriptor), true);
  }
  return await destination.putManifest(image.manifest);
}

async function* pieces(bytes: Buffer): AsyncIterable<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += 1000) {
    yield await Promise.resolve(bytes.subarray(offset, offset + 1000));
  }
}

async function failure(promise: Promise<unknown>): Promise<RegistryError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, String(error));
  return error;
}

const image = sampleImage({ layer: randomBytes(600_001), labels: { version: '1' } });
const other = sampleImage({ layer: Buffer.alloc(512), labels: { version: '2' } });

for (const transport of ['oci', 'oci-archive'] satisfies Transport[]) {
  describe(`${transport}:`, () => {
    const at = (ref = ''): ImageReference => parseImageReference(`${transport}:${join(directory, 'image')}${ref}`);

    it('gives back what was written, byte for byte', async () => {
      for (const ref of ['', ':v1']) {
        assert.equal(await write(at(ref), image), image.digest);
        await using source = openImageSource(at(ref));
        const resolved = await source.resolve(AMD64);
        assert.equal(resolved.digest, image.digest);
        assert.deepEqual(resolved.manifest, image.manifest);
        const layer = await collect(source.openBlob(image.layer));
        assert.ok(layer.equals(image.blobs.get(image.layer.digest) ?? Buffer.alloc(0)));
      }
    });

    it('names what it holds when asked for something else', async () => {
      await write(at(':v1'), image);
      await using source = openImageSource(at(':v2'));
      const error = await failure(source.resolve(AMD64));
      assert.equal(error.code, 'NotFound');
      assert.match(error.message, /names no image in its index\.json \(which holds v1\)/);
      await using absent = openImageSource(parseImageReference(`${transport}:${directory}/absent`));
      assert.match((await failure(absent.resolve(AMD64))).message, /absent.* does not exist: check the path/);
    });

    it('refuses content that is not what its digest says, and leaves nothing of it', async () => {
      await using destination = openImageDestination(at());
      const put = destination.putBlob(image.layer, () => pieces(randomBytes(600_001)));
      assert.equal((await failure(put)).code, 'DigestMismatch');
      assert.equal(await destination.hasBlob(image.layer), false);
      await destination.putBlob(image.layer, () => pieces(image.blobs.get(image.layer.digest) ?? Buffer.alloc(0)));
      assert.equal((await failure(destination.putManifest(image.manifest))).code.length > 0, true);
      await destination[Symbol.asyncDispose]();
      const left = await readdir(directory, { recursive: true });
      assert.deepEqual(
        left.filter((name) => name.includes('.partial')),
        [],
      );
    });

    it('reports a place whose folder is missing or takes no files, instead of trying for ever', async () => {
      for (const place of [join(directory, 'missing', 'image'), '/proc/image']) {
        const error = await failure(write(parseImageReference(`${transport}:${place}`), image));
        assert.equal(error.code, 'WriteFailed');
      }
    });

    it('reports a place that cannot be written', async () => {
      await writeFile(join(directory, 'file'), '');
      const error = await failure(write(parseImageReference(`${transport}:${directory}/file/x`), image));
      assert.equal(error.code, 'WriteFailed');
      assert.match(error.message, /cannot be written .*: check the path and its permissions\.$/);
    });
  });
}

describe('an OCI layout directory', () => {
  const at = (ref = ''): ImageReference => ({ transport: 'oci', name: `${directory}/layout${ref}` });
  const readIndex = async () => JSON.parse(await readFile(join(directory, 'layout/index.json'), 'utf8'));

  it('keeps other tags, replaces its own, and holds one image only without a tag', async () => {
    await write(at(':v1'), image);
    await write(at(':v2'), other);
    await write(at(':v1'), other);
    const refs = (await readIndex()).manifests.map((entry: { digest: string; annotations: Record<string, string> }) => [
      entry.annotations['org.opencontainers.image.ref.name'],
      entry.digest,
    ]);
    assert.deepEqual(refs, [
      ['v2', other.digest],
      ['v1', other.digest],
    ]);
    await write(at(), image);
    const { manifests } = await readIndex();
    assert.equal(manifests.length, 1);
    assert.deepEqual(manifests[0].platform, { architecture: 'amd64', os: 'linux' });
    assert.equal(await readFile(join(directory, 'layout/oci-layout'), 'utf8'), '{"imageLayoutVersion":"1.0.0"}');
  });

  it('with several images wants to know which', async () => {
    await write(at(':v1'), image);
    await write(at(':v2'), other);
    await using source = openImageSource(at());
    assert.match((await failure(source.resolve(AMD64))).message, /holds v1, v2: append :REF/);
  });

  it('with damaged blobs is found out', async () => {
    await write(at(), image);
    const hex = image.layer.digest.slice('sha256:'.length);
    const path = join(directory, 'layout/blobs/sha256', hex);
    await using source = openImageSource(at());
    await writeFile(path, randomBytes(600_001));
    assert.equal((await failure(collect(source.openBlob(image.layer)))).code, 'DigestMismatch');
    await writeFile(path, randomBytes(10));
    assert.equal((await failure(collect(source.openBlob(image.layer)))).code, 'SizeMismatch');
    await writeFile(join(directory, 'layout/index.json'), '{"schemaVersion":2,"manifests":7}');
    assert.equal((await failure(source.resolve(AMD64))).code, 'InvalidManifest');
  });
});

describe('an OCI archive', () => {
  const at = (ref = ''): ImageReference => ({ transport: 'oci-archive', name: `${directory}/a.tar${ref}` });

  it('appears only when it is whole, and the same image gives the same bytes', async () => {
    await using destination = openImageDestination(at());
    await destination.putBlob(image.layer, () => pieces(image.blobs.get(image.layer.digest) ?? Buffer.alloc(0)));
    assert.ok(!(await readdir(directory)).includes('a.tar'));
    await destination[Symbol.asyncDispose]();
    assert.deepEqual(await readdir(directory), []);
    await write(at(), image);
    const first = digestOf(await readFile(join(directory, 'a.tar')));
    await write(at(), image);
    assert.equal(digestOf(await readFile(join(directory, 'a.tar'))), first);
  });

  it('shows no trace of a blob that failed half-way', async () => {
    await write(at(), other);
    const clean = digestOf(await readFile(join(directory, 'a.tar')));
    await using destination = openImageDestination(at());
    await failure(destination.putBlob(image.layer, () => pieces(randomBytes(600_001))));
    for (const blob of [other.manifest.config, ...other.manifest.layers]) {
      await destination.putBlob(blob, () => pieces(other.blobs.get(blob.digest) ?? Buffer.alloc(0)));
    }
    await destination.putManifest(other.manifest);
    assert.equal(digestOf(await readFile(join(directory, 'a.tar'))), clean);
  });

  it('takes blobs that are offered at the same time', async () => {
    await using destination = openImageDestination(at());
    const blobs = [image.manifest.config, ...image.manifest.layers];
    await Promise.all(
      blobs.map((blob) => destination.putBlob(blob, () => pieces(image.blobs.get(blob.digest) ?? Buffer.alloc(0)))),
    );
    await destination.putManifest(image.manifest);
    await using source = openImageSource(at());
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
  });

  it('that is compressed, cut off, or no tar at all is refused by name', async () => {
    await write(at(), image);
    const whole = await readFile(join(directory, 'a.tar'));
    const table: readonly [Buffer, RegExp][] = [
      [Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), randomBytes(600)]), /is compressed; decompress it with gunzip/],
      [randomBytes(2048), /is no tar file, or a damaged one/],
      [whole.subarray(0, 100_000), /has no index\.json|ends before its last byte/],
      [Buffer.alloc(0), /has no index\.json/],
    ];
    for (const [bytes, message] of table) {
      await writeFile(join(directory, 'a.tar'), bytes);
      await using source = openImageSource(at());
      assert.match((await failure(source.resolve(AMD64))).message, message);
    }
  });
});

describe('a dir:', () => {
  const at = (): ImageReference => ({ transport: 'dir', name: `${directory}/image` });

  it('gives back what was written, and marks itself for other tools', async () => {
    assert.equal(await write(at(), image), image.digest);
    await using source = openImageSource(at());
    const resolved = await source.resolve(AMD64);
    assert.equal(resolved.digest, image.digest);
    const [layer] = image.manifest.layers;
    assert.ok(layer);
    assert.deepEqual(await collect(source.openBlob(layer)), image.blobs.get(layer.digest));
    assert.equal(await readFile(`${directory}/image/version`, 'utf8'), 'Directory Transport Version: 1.1\n');
  });

  it('holds one image: another one takes its place, blobs and all', async () => {
    await write(at(), image);
    await write(at(), other);
    const names = [other.manifest.config, ...other.manifest.layers].map(({ digest }) => digest.slice('sha256:'.length));
    assert.deepEqual((await readdir(`${directory}/image`)).sort(), [...names, 'manifest.json', 'version'].sort());
  });

  it('is not made of a directory with other files in it', async () => {
    await writeFile(`${directory}/precious`, '');
    const error = await failure(write({ transport: 'dir', name: directory }, image));
    assert.match(error.message, /something other than an image in it: choose an empty one\.$/);
    assert.deepEqual(await readdir(directory), ['precious']);
  });
});

describe('a place that skopeo has to write', () => {
  it('says so where there is none, and leaves nothing behind', async () => {
    const reference = parseImageReference('containers-storage:localhost/os:v1');
    const scratchDirectory = join(directory, 'scratch');
    const missing = async (): Promise<void> => {
      await using destination = openImageDestination(reference, { scratchDirectory, environment: { PATH: directory } });
      for (const descriptor of [image.manifest.config, ...image.manifest.layers]) {
        await destination.putBlob(descriptor, () => pieces(image.blobs.get(descriptor.digest) ?? Buffer.alloc(0)));
      }
      await destination.putManifest(image.manifest);
    };
    const error = await failure(missing());
    assert.equal(error.code, 'ToolMissing');
    assert.match(error.message, /^containers-storage:localhost\/os:v1 is written with skopeo, which is not installed/);
    assert.deepEqual(await readdir(scratchDirectory), []);
  });
});

it('a layout without a path is refused', () => {
  assert.throws(() => openImageSource(parseImageReference('oci::v1')), /must be oci:PATH or oci:PATH:REF/);
});
