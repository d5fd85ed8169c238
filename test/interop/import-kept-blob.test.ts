import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pullImage, type PulledImage, Repository } from '../../ostree/index.ts';
import { KeptBlobs } from '../../ostree/import/kept-blob.ts';
import { openImageSource, parseAnyImageReference } from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { type SlowRegistry, startSlowRegistry } from '../../testbed/slow-registry.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { contentOf, encapsulate, fsck, makeFolder, makeSystem, PLATFORM, run } from './import-fixture.ts';

const LARGE_BYTES = 24 * 1024 * 1024;
const SLOW = 10_000_000;
/** Of 64 KiB: the blob is then far larger than what is always held in memory. */
const CHUNKS = 1000;

describe('a large blob that was cut off by the end of its pull', () => {
  let folder: string;
  let registry: TestRegistry;
  let slow: SlowRegistry;
  let expected: string;
  let count = 0;

  before(async () => {
    folder = await makeFolder();
    const large = randomBytes(LARGE_BYTES / 2).toString('latin1');
    const layout = await encapsulate(await makeSystem(folder, [['usr/lib/large', large]]), folder, false);
    registry = await startRegistry({ storage: join(folder, 'registry') });
    await run(
      'skopeo',
      'copy',
      '--quiet',
      '--dest-tls-verify=false',
      `oci:${layout}`,
      `docker://${registry.host}/os:1`,
    );
    slow = await startSlowRegistry(registry.host, SLOW);
    const whole = await pull(join(folder, 'whole'), registry.host);
    expected = await contentOf(join(folder, 'whole'), whole.mergeCommit);
  });

  after(async () => {
    await slow?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function pull(path: string, host: string): Promise<PulledImage> {
    const repository = Repository.create(path, 'bare');
    const reference = parseAnyImageReference(`${host}/os:1`);
    await using source = openImageSource(reference.image, { plainHttpHosts: [host] });
    return await pullImage({ repository, source, reference, platform: PLATFORM });
  }

  /** A repository in which a pull was killed when it had kept so many bytes of the layer. */
  async function killedAfter(bytes: number): Promise<string> {
    const path = join(folder, `killed-${count++}`);
    Repository.create(path, 'bare');
    slow.forget();
    const parameters = ['image', 'pull', '--quiet', '--plain-http', slow.host, '--repo', path, `${slow.host}/os:1`];
    const child = spawn(TREELINE, parameters, { stdio: ['ignore', 'ignore', 'inherit'] });
    const closed = once(child, 'close');
    while (keptBytes(path) < bytes) {
      assert.equal(child.exitCode, null, 'the pull goes on until it is killed');
      await sleep(10);
    }
    child.kill('SIGKILL');
    await closed;
    slow.forget();
    return path;
  }

  it('is fetched from where it ended, and nothing of it stays afterwards', async () => {
    const path = await killedAfter(10_000_000);
    const [kept] = keptFiles(path);
    assert.ok(kept, 'what had arrived was kept');
    const { length } = readFileSync(kept);
    await fsck(path);
    const { mergeCommit, bytesFetched } = await pull(path, slow.host);
    const layer = slow.blobs.filter(({ from, sent }) => from > 0 || sent > 100_000);
    assert.deepEqual(
      layer.map(({ from }) => from),
      [length],
    );
    assert.ok(bytesFetched < LARGE_BYTES - length, `${bytesFetched} bytes were fetched`);
    assert.equal(await contentOf(path, mergeCommit), expected);
    assert.deepEqual(keptFiles(path), []);
    await fsck(path);
  });

  it('is fetched from where the second of two killed pulls ended', async () => {
    const path = await killedAfter(7_000_000);
    const [kept = ''] = keptFiles(path);
    const first = readFileSync(kept).length;
    const parameters = ['image', 'pull', '--quiet', '--plain-http', slow.host, '--repo', path, `${slow.host}/os:1`];
    const child = spawn(TREELINE, parameters, { stdio: 'ignore' });
    const closed = once(child, 'close');
    while (keptBytes(path) < first + 3_000_000) {
      assert.equal(child.exitCode, null, 'the pull goes on until it is killed');
      await sleep(10);
    }
    child.kill('SIGKILL');
    await closed;
    slow.forget();
    const second = readFileSync(kept).length;
    const { mergeCommit } = await pull(path, slow.host);
    assert.ok(slow.blobs.some(({ from }) => from === second));
    assert.equal(await contentOf(path, mergeCommit), expected);
  });

  it('is fetched whole when what was kept is damaged', async () => {
    const path = await killedAfter(8_000_000);
    const [kept = ''] = keptFiles(path);
    const bytes = readFileSync(kept);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(kept, bytes);
    slow.bytesPerSecond = Number.POSITIVE_INFINITY;
    const { mergeCommit } = await pull(path, slow.host);
    slow.bytesPerSecond = SLOW;
    assert.ok(slow.blobs.some(({ from, sent }) => from === 0 && sent > LARGE_BYTES / 2));
    assert.equal(await contentOf(path, mergeCommit), expected);
    assert.deepEqual(keptFiles(path), []);
    await fsck(path);
  });
});

describe('a large blob', () => {
  const fast = (): number => 1;
  const slow = (): number => 20;
  /** The first 4 MB are slow. */
  const slowToBegin = (index: number): number => (index < 64 ? slow() : fast() / 10);
  for (const [name, millisecondsOfChunk, millisecondsOfUse, kept] of [
    ['that arrives faster than a disk takes it twice is not kept', fast, 0, 0],
    ['that arrives slowly is kept until its layer is in the repository', slow, 0, 1],
    ['that arrives fast and is used slowly is not kept', fast, 20, 0],
    ['of which only the beginning was slow is not kept for long', slowToBegin, 0, 0],
  ] as const) {
    it(name, async () => {
      const path = await makeFolder();
      const repository = Repository.create(join(path, 'repo'), 'bare');
      const chunk = Buffer.alloc(64 * 1024, 'x');
      const descriptor = { mediaType: 'any', digest: `sha256:${'a'.repeat(64)}`, size: CHUNKS * chunk.length };
      let clock = 0;
      const source = {
        // oxlint-disable-next-line require-await -- a stream that has no need to wait
        async *openBlob() {
          for (let index = 0; index < CHUNKS; index++) {
            clock += millisecondsOfChunk(index);
            yield chunk;
          }
        },
      };
      await using blobs = new KeptBlobs(
        repository,
        () => undefined,
        undefined,
        () => clock,
      );
      let length = 0;
      for await (const part of blobs.read(source, descriptor, {})) {
        length += part.length;
        clock += millisecondsOfUse;
      }
      assert.equal(length, descriptor.size);
      const files = keptFiles(repository.path);
      assert.equal(files.length, kept);
      for (const file of files) assert.equal(readFileSync(file).length, descriptor.size);
      await blobs.committed(descriptor.digest);
      assert.deepEqual(keptFiles(repository.path), []);
      await rm(path, { recursive: true });
    });
  }
});

/** Bytes of the largest part of a blob that is kept. */
function keptBytes(repository: string): number {
  return Math.max(0, ...keptFiles(repository).map((file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0));
}

function keptFiles(repository: string): readonly string[] {
  const kept = join(repository, 'tmp/treeline-blobs');
  return existsSync(kept) ? readdirSync(kept).map((name) => join(kept, name)) : [];
}
