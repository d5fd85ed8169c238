import assert from 'node:assert/strict';
import { zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { ImportError } from '../../../ostree/import/errors.ts';
import { readTarSplit, type TarSplitPiece } from '../../../ostree/import/zstd-chunked/tar-split.ts';
import { type TableOfContents, TocReader } from '../../../ostree/import/zstd-chunked/toc.ts';
import { PartialFetchUnusable } from '../../../ostree/import/zstd-chunked/unusable.ts';
import { Archive } from '../../../testbed/tar-archive.ts';
import { encodeZstdChunked, type Toc } from '../../../testbed/zstd-chunked.ts';

const DATA_END = 10_000;
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 1 }),
  fc.integer({ min: -1, max: DATA_END + 1 }),
  fc.constantFrom('reg', 'dir', 'chunk', 'usr/a', `sha256:${'a'.repeat(64)}`, 1e300, Number.MAX_SAFE_INTEGER),
);
const plausible = {
  type: fc.oneof({ weight: 5, arbitrary: fc.constantFrom('reg', 'chunk', 'dir') }, { weight: 1, arbitrary: anything }),
  name: fc.oneof({ weight: 5, arbitrary: fc.constantFrom('a', 'b') }, { weight: 1, arbitrary: anything }),
  size: fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 0, max: 99 }) }, { weight: 1, arbitrary: anything }),
  digest: fc.oneof(
    { weight: 5, arbitrary: fc.constant(`sha256:${'b'.repeat(64)}`) },
    { weight: 1, arbitrary: anything },
  ),
  offset: fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 1, max: DATA_END }) }, { weight: 1, arbitrary: anything }),
  endOffset: fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 1, max: DATA_END }) },
    { weight: 1, arbitrary: anything },
  ),
};
const entry = fc.oneof(
  { weight: 9, arbitrary: fc.record(plausible, { requiredKeys: [] }) },
  { weight: 1, arbitrary: anything },
);
const toc = fc.record({
  version: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: anything }),
  entries: fc.oneof({ weight: 9, arbitrary: fc.array(entry, { maxLength: 4 }) }, { weight: 1, arbitrary: anything }),
  tarSplitDigest: anything,
});

/** Reads it in pieces of that many bytes. */
function parseToc(json: Buffer, dataEnd: number, pieceBytes = 7): TableOfContents {
  const reader = new TocReader(dataEnd);
  for (let at = 0; at < json.length; at += pieceBytes) reader.write(json.subarray(at, at + pieceBytes));
  return reader.finish();
}

describe('the parser of tables of contents', () => {
  it('gives content inside of the layer that does not overlap, or refuses the table by name', () => {
    const seen = { usable: 0, unusable: 0, invalid: 0 };
    const check = (json: Buffer): void => {
      try {
        const { payloads, tarSplitDigest } = parseToc(json, DATA_END);
        seen.usable++;
        let position = 1;
        for (const { name, size, digest, offset, end } of payloads) {
          assert.ok(position <= offset && offset < end && end <= DATA_END);
          assert.ok(name !== '' && Number.isSafeInteger(size) && size > 0);
          assert.match(digest, /^[0-9a-f]{64}$/);
          position = end;
        }
        assert.match(tarSplitDigest ?? 'none', /^(none|sha256:[0-9a-f]{64})$/);
      } catch (error) {
        if (error instanceof PartialFetchUnusable) seen.unusable++;
        else if (error instanceof ImportError && error.code === 'InvalidLayer') seen.invalid++;
        else throw error;
        assert.ok(error.message.length < 600);
      }
    };
    fc.assert(
      fc.property(toc, (value) => check(Buffer.from(JSON.stringify(value)))),
      { numRuns: 1000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => check(Buffer.from(bytes))));
    assert.ok(Math.min(seen.usable, seen.unusable, seen.invalid) > 10, JSON.stringify(seen));
  });

  it('understands what JSON.parse understands, in pieces of any size', () => {
    const names = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 });
    const attributes = fc.dictionary(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 }));
    const file = fc.record({ name: names, xattrs: attributes });
    const anyToc = fc.record({
      before: fc.string(),
      files: fc.array(file, { maxLength: 5 }),
      after: fc.constant('[]{},"'),
    });
    fc.assert(
      fc.property(anyToc, fc.integer({ min: 1, max: 50 }), fc.boolean(), ({ before, files, after }, pieces, pretty) => {
        const entries = files.map(({ name, xattrs }, index) => ({
          type: 'reg',
          name,
          size: 1,
          digest: `sha256:${'c'.repeat(64)}`,
          offset: index * 10 + 1,
          endOffset: index * 10 + 9,
          xattrs,
        }));
        const text = JSON.stringify({ before, version: 1, entries, after }, undefined, pretty ? 2 : 0);
        const { payloads } = parseToc(Buffer.from(text), DATA_END, pieces);
        assert.deepEqual(
          payloads.map(({ name }) => name),
          files.map(({ name }) => Buffer.from(name).toString()),
        );
      }),
    );
  });

  it('refuses lists other than that of the entries, and parts that are too large', () => {
    const refused = (text: string): void =>
      assert.throws(() => parseToc(Buffer.from(text), DATA_END, 1000), PartialFetchUnusable);
    refused('{"version":1,"entries":[1]}');
    refused('{"version":1,"entries":[],"more":[{"type":"dir"}]}');
    refused('{"version":1}');
    refused('{"version":1,"entries":[{"type":"dir"');
    refused(`{"version":1,"entries":[],"more":"${'x'.repeat(70_000)}"}`);
    refused(`{"version":1,"entries":[{"type":"dir","name":"${'x'.repeat(3_000_000)}"}]}`);
  });

  it('reads what a writer writes, whatever one byte of it is changed to', () => {
    const tar = new Archive().file('usr/a', 'content').file('usr/b', 'other content').finish();
    let written: Toc | undefined;
    encodeZstdChunked(tar, { lie: (table) => (written = table) });
    const json = Buffer.from(JSON.stringify(written));
    assert.equal(parseToc(json, DATA_END).payloads.length, 2);
    fc.assert(
      fc.property(fc.nat(json.length - 1), fc.nat(255), (at, value) => {
        const changed = Buffer.from(json);
        changed[at] = value;
        try {
          parseToc(changed, DATA_END);
        } catch (error) {
          assert.ok(error instanceof PartialFetchUnusable || error instanceof ImportError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the reader of tar headers kept apart', () => {
  async function read(text: string | Buffer, limit = 1e6): Promise<TarSplitPiece[]> {
    return await readCompressed(zstdCompressSync(text), limit);
  }

  async function readCompressed(compressed: Buffer, limit: number): Promise<TarSplitPiece[]> {
    const pieces: TarSplitPiece[] = [];
    for await (const piece of readTarSplit(compressed, limit)) pieces.push(piece);
    return pieces;
  }

  const unusable = (promise: Promise<unknown>): Promise<void> =>
    assert.rejects(promise, (error) => error instanceof PartialFetchUnusable);

  it('gives bytes and the places of files', async () => {
    const lines = [
      { type: 2, payload: Buffer.from('header').toString('base64') },
      { type: 1, name: 'usr/a', size: 3, payload: 'AAAAAAAAAAA=' },
      { type: 1, name_raw: 'AAE=', payload: null },
    ];
    assert.deepEqual(await read(lines.map((line) => `${JSON.stringify(line)}\n`).join('')), [
      { kind: 'bytes', bytes: Buffer.from('header') },
      { kind: 'file', name: 'usr/a', size: 3 },
      { kind: 'file', size: 0 },
    ]);
  });

  it('refuses what is not in the format', async () => {
    for (const line of [
      '{',
      '1',
      'null',
      '{"type":3}',
      '{"type":1,"size":-1}',
      '{"type":1,"size":1.5}',
      '{"type":2}',
    ]) {
      await unusable(read(`${line}\n`));
    }
    await unusable(read('{"type":1}'));
    await unusable(readCompressed(Buffer.from('not zstd'), 100));
  });

  it('reads no more than was promised, and no line without an end', async () => {
    const line = `${JSON.stringify({ type: 2, payload: 'AAAA' })}\n`;
    assert.equal((await read(line.repeat(10), line.length * 10)).length, 10);
    await unusable(read(line.repeat(10), line.length * 10 - 1));
    await unusable(read(Buffer.alloc(20_000_000), 1e9));
  });
});
