/** The side of the pull, facing unpackers that do as they should and others that have been taken over. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { ConfinedProcess } from '../../../confinement/confined-process.ts';
import { chunksOf, type LayerBlob } from '../../../ostree/import/layer-tar.ts';
import { EntryReader } from '../../../ostree/import/unpacker/entry-stream.ts';
import { Unpackers } from '../../../ostree/import/unpacker/unpackers.ts';
import { Archive } from '../../../testbed/tar-archive.ts';

const WORKER = fileURLToPath(new URL('../../../ostree/import/unpacker/unpack-worker.ts', import.meta.url));
const TAR = new Archive().file('usr/a', 'a').file('usr/b', 'b'.repeat(300_000)).finish();
const DIFF_ID = `sha256:${createHash('sha256').update(TAR).digest('hex')}`;
/** Unpackers that are silent for so long are given up here. */
const SHORT = { patienceMs: 700, holeBytes: 0 };

/** Runs what is given without confinement, so that it needs no privilege to be tested. */
class Started {
  readonly all: ConfinedProcess[] = [];
  readonly #parameters: readonly string[];

  constructor(parameters: readonly string[] = [WORKER]) {
    this.#parameters = parameters;
  }

  readonly start = (): ConfinedProcess => {
    const started = spawn(process.execPath, this.#parameters, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.all.push(started);
    return started;
  };
}

function blob(bytes: Buffer, fields: Partial<LayerBlob> = {}): LayerBlob {
  return { digest: 'sha256:1', compression: 'gzip', maxTarBytes: 10_000_000, bytes: chunks(bytes), ...fields };
}

async function* chunks(bytes: Buffer, error?: Error): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 1000) yield await Promise.resolve(bytes.subarray(at, at + 1000));
  if (error !== undefined) throw error;
}

/** Names and sizes of the entries. */
async function entries(unpackers: Unpackers, layer: LayerBlob, abandoned = () => false): Promise<readonly string[]> {
  const seen: string[] = [];
  const reader = new EntryReader({
    entry: ({ path, size }) => seen.push(`${path} ${size}`),
    data: () => undefined,
    entryEnd: () => undefined,
  });
  for await (const chunk of chunksOf(unpackers.open(layer, abandoned))) reader.write(chunk);
  reader.end();
  return seen;
}

const EXPECTED = ['usr/a 1', 'usr/b 300000'];

describe('layers that other processes unpack', () => {
  for (const [compression, bytes] of [
    ['gzip', gzipSync(TAR)],
    ['zstd', zstdCompressSync(TAR)],
    ['none', TAR],
  ] as const) {
    it(`(${compression}) give their entries, with a diff-id to be held against and without`, async () => {
      const started = new Started();
      await using unpackers = new Unpackers(started.start);
      assert.deepEqual(await entries(unpackers, blob(bytes, { compression })), EXPECTED);
      assert.deepEqual(await entries(unpackers, blob(bytes, { compression, diffId: DIFF_ID })), EXPECTED);
    });
  }

  it('come through memory that is given back as soon as it has been copied', async () => {
    const started = new Started();
    await using unpackers = new Unpackers(started.start);
    const pieces: Buffer[] = [];
    const reading = entries(unpackers, blob(gzipSync(TAR)));
    started.all[0]?.stdout.on('data', (piece: Buffer) => pieces.push(piece));
    assert.deepEqual(await reading, EXPECTED);
    const large = pieces.filter((piece, index) => index + 1 < pieces.length && piece.length !== 0);
    assert.ok(pieces.length > 2, `${pieces.length} pieces`);
    assert.deepEqual(
      large.map(({ length }) => length).filter((length) => length >= 16_384),
      [],
    );
  });

  it('are objects of one commit in one process, but each derived layer has a process that has read no other', async () => {
    const started = new Started();
    await using unpackers = new Unpackers(started.start);
    for (let round = 0; round < 3; round++) await entries(unpackers, blob(gzipSync(TAR)));
    assert.equal(started.all.length, 1);
    for (let round = 0; round < 3; round++)
      await entries(unpackers, blob(TAR, { compression: 'none', diffId: DIFF_ID }));
    assert.equal(started.all.length, 4);
    // What only decompresses can change nothing, and is used again: one more, and three that read.
    for (let round = 0; round < 3; round++) await entries(unpackers, blob(gzipSync(TAR), { diffId: DIFF_ID }));
    assert.equal(started.all.length, 8);
  });

  it('are refused when the tar stream is not what the diff-id says, which is judged outside of the process', async () => {
    await using unpackers = new Unpackers(new Started().start);
    await assert.rejects(entries(unpackers, blob(gzipSync(TAR), { diffId: 'sha256:other' })), {
      code: 'InvalidLayer',
      message: /layer sha256:1 has diff-id sha256:[0-9a-f]{64}, its image says sha256:other/,
    });
  });

  it('that cannot be read are refused with the reason', async () => {
    await using unpackers = new Unpackers(new Started().start);
    for (const [bytes, message] of [
      [Buffer.from('no gzip at all'), /^layer sha256:1 cannot be read: /],
      [gzipSync(Buffer.alloc(512, 7)), /^layer sha256:1 cannot be read: tar header /],
      [gzipSync(TAR).subarray(0, 200), /^layer sha256:1 cannot be read: unexpected end/],
    ] as const) {
      await assert.rejects(entries(unpackers, blob(bytes)), { code: 'InvalidLayer', message });
    }
    await assert.rejects(entries(unpackers, blob(gzipSync(TAR), { maxTarBytes: 1000 })), {
      code: 'InvalidLayer',
      message: /expands to more than 1000 bytes/,
    });
  });

  it('whose bytes turn out not to be the promised ones say so, and their process is given nothing more', async () => {
    for (const content of [gzipSync(TAR), Buffer.from('no gzip at all')]) {
      const started = new Started();
      await using unpackers = new Unpackers(started.start);
      const wrong = new Error('another digest');
      await assert.rejects(entries(unpackers, blob(content, { bytes: chunks(content, wrong) })), wrong);
      assert.ok(started.all[0]?.signalCode === 'SIGKILL' || started.all[0]?.exitCode === 0);
      assert.deepEqual(await entries(unpackers, blob(gzipSync(TAR))), EXPECTED);
      assert.equal(started.all.length, 2);
    }
  });

  it('that nobody wants any more are read to their end, and their process is ended', async () => {
    const started = new Started();
    await using unpackers = new Unpackers(started.start);
    let read = 0;
    const counted = (async function* () {
      for await (const chunk of chunks(gzipSync(TAR))) {
        read += chunk.length;
        yield chunk;
      }
    })();
    assert.deepEqual(await entries(unpackers, blob(TAR, { bytes: counted }), () => true), []);
    assert.equal(read, gzipSync(TAR).length);
    assert.equal(started.all[0]?.signalCode, 'SIGKILL');
  });

  const frame = (kind: number, length: number): string =>
    `const f=Buffer.alloc(5);f[0]=${kind};f.writeUInt32LE(${length},1);process.stdout.write(f);`;
  const forever = 'setInterval(()=>undefined,1e6);process.stdin.resume();';
  for (const [what, script, message] of [
    ['ends at once', 'console.error("mount: denied");process.exit(7)', /ended with exit code 7 \(mount: denied\)/],
    ['says nothing', forever, /has neither taken nor given anything .* for 0\.7 s/],
    ['takes nothing', 'setInterval(()=>undefined,1e6)', /has neither taken nor given anything .* for 0\.7 s/],
    [
      'sends garbage',
      `process.stdout.write("HTTP/1.1 200 OK\\r\\n\\r\\n");${forever}`,
      /sent a frame of the unknown kind 72/,
    ],
    ['claims a frame of gigabytes', `${frame(2, 0xf000_0000)}${forever}`, /sent a frame of 4026531840 bytes/],
    ['claims a reason of gigabytes', `${frame(4, 0xf000_0000)}${forever}`, /sent a reason of 4026531840 bytes/],
    ['sends empty frames', `setInterval(()=>{${frame(2, 0)}},1);${forever}`, /sent a frame of 0 bytes/],
    ['stops in the middle of a frame', `${frame(2, 100)}${forever}`, /has neither taken nor given anything/],
    ['is killed', 'process.kill(process.pid,"SIGSEGV")', /ended with SIGSEGV/],
    [
      'writes without end to its standard error',
      `setInterval(()=>console.error("x".repeat(1e5)),1);${forever}`,
      /has neither/,
    ],
  ] as const) {
    it(`end in a named error when the process ${what}`, async () => {
      await using unpackers = new Unpackers(new Started(['-e', script]).start, SHORT);
      await assert.rejects(entries(unpackers, blob(gzipSync(TAR))), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'UnpackerFailed', String(error));
        assert.match(error.message, message);
        assert.ok(error.message.length < 3000);
        return true;
      });
    });
  }

  it('end in a named error when the process gives without end', async () => {
    const script = `const b=Buffer.alloc(5+1048576);b[0]=2;b.writeUInt32LE(1048576,1);
      const go=()=>{while(process.stdout.write(b));process.stdout.once('drain',go)};go();`;
    await using unpackers = new Unpackers(new Started(['-e', script]).start, {
      patienceMs: 30_000,
      holeBytes: 5_000_000,
    });
    const read = unpackers.open(blob(gzipSync(TAR), { maxTarBytes: 1_000_000 }), () => false);
    let given = 0;
    const flood = async (): Promise<void> => {
      for await (const chunk of chunksOf(read)) given += chunk.length;
    };
    await assert.rejects(flood(), { code: 'UnpackerFailed', message: /gave more than a layer of its size has/ });
    assert.ok(given <= 7_000_000, `${given} bytes`);
  });

  it('end in a named error when there is no such program', async () => {
    const start = (): ConfinedProcess => spawn('/nonexistent/setpriv', [], { stdio: ['pipe', 'pipe', 'pipe'] });
    await using unpackers = new Unpackers(start);
    await assert.rejects(entries(unpackers, blob(gzipSync(TAR))), {
      code: 'UnpackerFailed',
      message: /could not be started \(spawn \/nonexistent\/setpriv ENOENT\)/,
    });
  });
});
