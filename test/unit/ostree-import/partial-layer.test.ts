import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { ImportError } from '../../../ostree/import/errors.ts';
import type { LocalContent } from '../../../ostree/import/zstd-chunked/local-content.ts';
import { type PartialFetchLimits, preparePartialLayer } from '../../../ostree/import/zstd-chunked/partial-layer.ts';
import type { Payload } from '../../../ostree/import/zstd-chunked/toc.ts';
import { PartialFetchUnusable } from '../../../ostree/import/zstd-chunked/unusable.ts';
import type { Repository } from '../../../ostree/repository/repository.ts';
import { type Descriptor, type ImageSource, RegistryError } from '../../../registry/index.ts';
import { Archive } from '../../../testbed/tar-archive.ts';
import { encodeZstdChunked, type Toc, type ZstdChunkedLayer } from '../../../testbed/zstd-chunked.ts';

const EAGER: PartialFetchLimits = { maxRanges: 1000, minSkippedBytes: 1, minLayerBytes: 0, maxShare: 1000 };
/** Nothing of it is asked for as long as content comes as bytes. */
const NO_REPOSITORY = {} as Repository;

interface BlobSource extends ImageSource {
  readonly requests: { readonly offset: number; readonly length: number }[];
  underWay: number;
  mostUnderWay: number;
}

/** Serves parts of one blob in pieces of `pieceBytes`, each in a turn of its own. */
function sourceOf(blob: Buffer, pieceBytes = 1000): BlobSource {
  return {
    requests: [],
    underWay: 0,
    mostUnderWay: 0,
    resolve: () => Promise.reject(new Error('not asked for')),
    openBlob: () => {
      throw new Error('not asked for');
    },
    async *openRange(_descriptor, offset, length, options = {}) {
      this.requests.push({ offset, length });
      this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
      try {
        for (let at = offset; at < offset + length; at += pieceBytes) {
          await new Promise((resolve) => setImmediate(resolve));
          options.signal?.throwIfAborted();
          const piece = Buffer.from(blob.subarray(at, Math.min(at + pieceBytes, offset + length)));
          options.onBytes?.(piece.length);
          yield piece;
        }
      } finally {
        this.underWay--;
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function descriptorOf({ blob, annotations }: ZstdChunkedLayer): Descriptor {
  return {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
    digest: sha256(blob),
    size: blob.length,
    annotations,
  };
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

interface Attempt {
  readonly layer: ZstdChunkedLayer;
  readonly source?: ImageSource;
  /** Content that is here, by name. */
  readonly here?: ReadonlyMap<string, Buffer>;
  readonly limits?: Partial<PartialFetchLimits>;
  readonly signal?: AbortSignal;
}

interface Outcome {
  readonly tar: Buffer;
  readonly arrived: number;
  readonly reused: number;
  readonly bytesToFetch: number;
}

/** The layer's stream as it was put together; undefined when it should be fetched whole. */
async function attempt({ layer, source, here = new Map(), limits, signal }: Attempt): Promise<Outcome | undefined> {
  let arrived = 0;
  let reused = 0;
  const find = ({ name }: Payload): LocalContent | undefined => {
    const bytes = here.get(name);
    return bytes === undefined ? undefined : { kind: 'bytes', bytes };
  };
  const partial = await preparePartialLayer({
    repository: NO_REPOSITORY,
    source: source ?? sourceOf(layer.blob),
    descriptor: descriptorOf(layer),
    finder: () => ({ find }),
    limits: { ...EAGER, ...limits },
    onBytes: (count) => (arrived += count),
    onReused: (count) => (reused += count),
    ...(signal !== undefined && { signal }),
  });
  if (partial === undefined) return undefined;
  const pieces: Buffer[] = [];
  for await (const piece of partial.tar) pieces.push(Buffer.from(piece));
  return { tar: Buffer.concat(pieces), arrived, reused, bytesToFetch: partial.bytesToFetch };
}

/** Not compressible, the same every time. */
function noise(bytes: number, seed: string): Buffer {
  const pieces = Array.from({ length: Math.ceil(bytes / 32) }, (_, index) =>
    createHash('sha256').update(`${seed} ${index}`).digest(),
  );
  return Buffer.concat(pieces).subarray(0, bytes);
}

const FILES: ReadonlyMap<string, Buffer> = new Map(
  Array.from({ length: 40 }, (_, index) => [`usr/file-${index}`, noise(5000 + index * 1000, `${index}`)] as const),
);

function archive(files: ReadonlyMap<string, Buffer>): Buffer {
  const tar = new Archive().directory('usr');
  for (const [name, content] of files) tar.file(name, content);
  return tar.file('usr/empty', '').symlink('usr/link', 'file-1').finish();
}

const TAR = archive(FILES);
const [CHANGED] = [...FILES.keys()].slice(7);
const HERE = new Map([...FILES].filter(([name]) => name !== CHANGED));

async function unusable(promise: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => error instanceof PartialFetchUnusable && message.test(error.message));
}

describe('a layer that is fetched in parts', () => {
  it('is the very stream that the whole blob holds, whatever is here and whatever is asked for', async () => {
    const path = fc.stringMatching(/^[a-z]{1,12}(\/[a-zä ]{1,120})?$/);
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
      fc.integer({ min: 1, max: 90_000 }).map((size) => noise(size, 'large')),
      fc.integer({ min: 1, max: 1_200_000 }).map((size) => Buffer.alloc(size)),
    );
    const file = fc.record({ path, content, here: fc.boolean() });
    const limits = fc.record({
      maxRanges: fc.integer({ min: 1, max: 8 }),
      minSkippedBytes: fc.integer({ min: 0, max: 5000 }),
    });
    const files = fc.uniqueArray(file, { selector: (one) => one.path, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        files,
        limits,
        fc.boolean(),
        fc.integer({ min: 1, max: 5000 }),
        async (all, some, tarSplit, pieces) => {
          const tar = archive(new Map(all.map((one) => [one.path, one.content])));
          const layer = encodeZstdChunked(tar, { tarSplit });
          const here = new Map(all.filter((one) => one.here).map((one) => [one.path, one.content]));
          const source = sourceOf(layer.blob, Math.max(pieces, Math.ceil(layer.blob.length / 100)));
          const outcome = await attempt({ layer, source, here, limits: some });
          assert.ok(outcome);
          assert.ok(outcome.tar.equals(tar));
          assert.equal(outcome.arrived, outcome.bytesToFetch);
          assert.equal(source.underWay, 0);
          // The table, the headers, and the planned ranges.
          assert.ok(source.requests.length <= some.maxRanges + 2);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('costs little more than the one file that is lacking', async () => {
    const layer = encodeZstdChunked(TAR);
    const outcome = await attempt({ layer, here: HERE });
    const lacking = FILES.get(CHANGED!)!.length;
    assert.ok(outcome !== undefined && outcome.tar.equals(TAR));
    assert.equal(
      outcome.reused,
      [...HERE.values()].reduce((sum, { length }) => sum + length, 0),
    );
    assert.ok(outcome.arrived < lacking + 8000, `${outcome.arrived} bytes for ${lacking} of ${layer.blob.length}`);
  });

  it('asks for the next parts before it needs them, but for few at a time', async () => {
    const layer = encodeZstdChunked(TAR);
    const here = new Map([...FILES].filter((_, index) => index % 2 === 0));
    const source = sourceOf(layer.blob, 100_000);
    assert.ok((await attempt({ layer, source, here }))?.tar.equals(TAR));
    assert.ok(source.requests.length > 20);
    assert.equal(source.mostUnderWay, 4);
  });

  it('is fetched whole when it has no table, is small, or when most of it is lacking', async () => {
    const layer = encodeZstdChunked(TAR);
    const source = sourceOf(layer.blob);
    assert.equal(await attempt({ layer: { ...layer, annotations: {} }, source, here: HERE }), undefined);
    assert.equal(
      await attempt({ layer, source, here: HERE, limits: { minLayerBytes: layer.blob.length + 1 } }),
      undefined,
    );
    assert.equal(source.requests.length, 0);
    assert.equal(await attempt({ layer, source, limits: { maxShare: 0.7 } }), undefined);
    assert.equal(source.requests.length, 1, 'only the table was asked for');
  });

  it('says so when the registry serves no parts', async () => {
    const layer = encodeZstdChunked(TAR);
    const source = sourceOf(layer.blob);
    source.openRange = () => {
      throw new RegistryError('RangeUnsupported', 'no parts');
    };
    await unusable(attempt({ layer, source, here: HERE }), /does not serve parts/);
  });

  it('passes on what goes wrong on the way, and leaves no request behind', async () => {
    const layer = encodeZstdChunked(TAR);
    const source = sourceOf(layer.blob);
    const serve = source.openRange.bind(source);
    let left = 6;
    source.openRange = (...parameters) => {
      if (--left === 0) throw new RegistryError('Unreachable', 'gone');
      return serve(...parameters);
    };
    const here = new Map([...FILES].filter((_, index) => index % 2 === 0));
    await assert.rejects(attempt({ layer, source, here }), { code: 'Unreachable' });
    assert.equal(source.underWay, 0);
  });

  it('ends at once when it is aborted', async () => {
    const layer = encodeZstdChunked(TAR);
    const abort = new AbortController();
    const source = sourceOf(layer.blob);
    const serve = source.openRange.bind(source);
    source.openRange = (...parameters) => {
      if (source.requests.length === 3) abort.abort(new Error('enough'));
      return serve(...parameters);
    };
    await assert.rejects(attempt({ layer, source, signal: abort.signal }), /enough/);
    assert.equal(source.underWay, 0);
  });
});

describe('a table of contents that lies', () => {
  const lying = (lie: (toc: Toc) => void, tarSplit = true): ZstdChunkedLayer =>
    encodeZstdChunked(TAR, { lie, tarSplit });
  const entry = (toc: Toc, name = CHANGED): Toc['entries'][number] => {
    const found = toc.entries.find((one) => one.name === name && one.type === 'reg');
    assert.ok(found);
    return found;
  };
  const refused = async (lie: (toc: Toc) => void, message: RegExp): Promise<void> => {
    await assert.rejects(
      attempt({ layer: lying(lie), here: HERE }),
      (error) => error instanceof ImportError && error.code === 'InvalidLayer' && message.test(error.message),
    );
  };

  it('is found out by the digest of each file that is fetched', async () => {
    for (const tarSplit of [true, false]) {
      const digest = lying((toc) => (entry(toc).digest = sha256(Buffer.from('other'))), tarSplit);
      await unusable(attempt({ layer: digest, here: HERE }), /is not what its table/);
    }
    const size = lying((toc) => (entry(toc).size = entry(toc).size! - 1), false);
    await unusable(attempt({ layer: size, here: HERE }), /is not what its table/);
    const offset = lying((toc) => entry(toc).offset!++);
    await unusable(attempt({ layer: offset, here: HERE }), /cannot be decompressed/);
    const end = lying((toc) => entry(toc).endOffset!--);
    await unusable(attempt({ layer: end, here: HERE }), /cannot be decompressed/);
  });

  it('is found out by the copy of the headers', async () => {
    const files = (toc: Toc) => toc.entries.indexOf(entry(toc));
    await unusable(attempt({ layer: lying((toc) => toc.entries.splice(files(toc), 1)), here: HERE }), /does not agree/);
    await unusable(attempt({ layer: lying((toc) => (entry(toc).name = 'usr/other')), here: HERE }), /does not agree/);
    const last = 'usr/file-39';
    await unusable(
      attempt({ layer: lying((toc) => toc.entries.splice(toc.entries.indexOf(entry(toc, last)), 1)), here: HERE }),
      /does not agree/,
    );
  });

  it('gives another stream than the diff-id says, at worst', async () => {
    // Without a copy of the headers a missing file is taken for headers, and a wrong name finds the wrong content.
    const layer = lying((toc) => (entry(toc, 'usr/file-3').name = 'usr/file-4'), false);
    const outcome = await attempt({ layer, here: new Map([...HERE, ['usr/file-4', FILES.get('usr/file-3')!]]) });
    assert.notEqual(outcome?.tar.equals(TAR), true);
  });

  it('is refused by name when no writer could have made it', async () => {
    await refused((toc) => (entry(toc).endOffset = 1e9), /outside of the layer/);
    await refused((toc) => (entry(toc).offset = 0), /outside of the layer/);
    await refused((toc) => toc.entries.push({ ...entry(toc) }), /overlapping/);
    await refused((toc) => (entry(toc).endOffset! += 300), /overlapping/);
  });

  it('is refused when it is larger than it says', async () => {
    const layer = encodeZstdChunked(TAR);
    const key = 'io.github.containers.zstd-chunked.manifest-position';
    const [offset, length] = layer.annotations[key]!.split(':');
    for (const uncompressed of ['100', '1000000']) {
      const annotations = { ...layer.annotations, [key]: `${offset}:${length}:${uncompressed}:1` };
      await assert.rejects(attempt({ layer: { ...layer, annotations }, here: HERE }), ImportError);
    }
  });

  it('is not trusted when it is not the one that the manifest means', async () => {
    const layer = encodeZstdChunked(TAR);
    const key = 'io.github.containers.zstd-chunked.manifest-checksum';
    const annotations = { ...layer.annotations, [key]: sha256(Buffer.from('other')) };
    await unusable(attempt({ layer: { ...layer, annotations }, here: HERE }), /checksum/);
  });

  it('is left alone when it is of a kind that is not known', async () => {
    await unusable(attempt({ layer: lying((toc) => (toc.version = 2)) }), /version 2/);
    await unusable(
      attempt({ layer: lying((toc) => toc.entries.push({ type: 'door', name: 'x' })) }),
      /unknown type "door"/,
    );
    const layer = encodeZstdChunked(TAR);
    const annotated = (key: string, value: string): ZstdChunkedLayer => ({
      ...layer,
      annotations: { ...layer.annotations, [`io.github.containers.zstd-chunked.${key}`]: value },
    });
    await unusable(attempt({ layer: annotated('manifest-position', '100:10:10:2') }), /unknown type 2/);
    for (const position of ['', '1:2:3', '1:2:3:4:5', '-1:2:3:1', '1e3:2:3:1', '99999999999999999:2:3:1']) {
      await unusable(attempt({ layer: annotated('manifest-position', position) }), /cannot be read/);
    }
    await unusable(attempt({ layer: annotated('manifest-position', `${layer.blob.length}:10:10:1`) }), /outside/);
    await unusable(attempt({ layer: annotated('manifest-position', '100:10:9999999999:1') }), /more than/);
    await unusable(attempt({ layer: annotated('tarsplit-position', '100:10') }), /tar headers cannot be read/);
    await unusable(attempt({ layer: annotated('manifest-checksum', 'md5:0') }), /SHA-256/);
  });
});
