import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { CompressionPool } from '../../ostree/encapsulate/compression/compression-pool.ts';
import { ZstdChunkedEncoder } from '../../ostree/encapsulate/compression/zstd-chunked/encoder.ts';
import { contentOfCommit } from '../../ostree/encapsulate/commit-content.ts';
import type { Repository } from '../../ostree/index.ts';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import { repositoryOf, requirePeerImports, skopeo, toLayout } from './encapsulate-fixture.ts';
import { blobPath, readLayout } from './import-fixture.ts';
import { EVERYTHING, MINI_METADATA } from './ostree-fixture.ts';
import { currentWriter } from './partial-fixture.ts';

/** With a file of several frames in it. */
const TREE = {
  ...EVERYTHING,
  'usr/lib/larger': {
    content: Buffer.concat(Array.from({ length: 90_000 }, (_, at) => createHash('sha256').update(`${at}`).digest())),
  },
};

const chunksOf = (repository: Repository, commit: string) => {
  const objects = [...contentOfCommit(repository, commit).keys()];
  return [0, 1].map((half) => ({
    name: `half ${half}`,
    components: [`half-${half}`],
    objects: objects.filter((_, at) => at % 2 === half),
  }));
};

/** What is embedded in a layer at the place that an annotation names. */
function embedded(blob: Buffer, annotations: Readonly<Record<string, string>>, what: string): Buffer {
  const [offset = 0, length = 0, uncompressed] = (annotations[`io.github.containers.zstd-chunked.${what}`] ?? '')
    .split(':')
    .map(Number);
  const text = zstdDecompressSync(blob.subarray(offset, offset + length));
  assert.equal(text.length, uncompressed);
  return text;
}

interface TocEntry {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** Everything that a table says but for where content lies and how it was cut. */
function factsOf(blob: Buffer, annotations: Readonly<Record<string, string>>): readonly unknown[] {
  const toc = JSON.parse(embedded(blob, annotations, 'manifest-position').toString()) as { entries: TocEntry[] };
  const cut = new Set(['offset', 'endOffset', 'chunkSize', 'chunkOffset', 'chunkDigest', 'chunkType']);
  return toc.entries
    .filter(({ type }) => type !== 'chunk')
    .map((entry) => Object.fromEntries(Object.entries(entry).filter(([key]) => !cut.has(key))));
}

/** The lines of a copy of the headers, with segments that follow each other as one. */
function linesOf(blob: Buffer, annotations: Readonly<Record<string, string>>): readonly unknown[] {
  const lines: { type: number; name?: string; size?: number; payload: string | null }[] = [];
  for (const text of embedded(blob, annotations, 'tarsplit-position').toString().trimEnd().split('\n')) {
    const { type, name, size, payload } = JSON.parse(text) as (typeof lines)[number];
    const last = lines.at(-1);
    if (type === 2 && last?.type === 2) {
      const parts = [last.payload, payload].map((part) => Buffer.from(part ?? '', 'base64'));
      last.payload = Buffer.concat(parts).toString('base64');
    } else lines.push({ type, payload, ...(name !== undefined && { name }), ...(size !== undefined && { size }) });
  }
  return lines;
}

describe('layers in zstd', () => {
  let peer: string;
  before(async () => {
    peer = await ensurePeer(sayOnStandardError);
  });

  for (const compression of ['zstd', 'zstd:chunked'] as const) {
    it(`hold the same tar, and are imported by the peer and copied by skopeo (${compression})`, async () => {
      using source = await repositoryOf(TREE, { metadata: MINI_METADATA });
      const chunks = chunksOf(source.repository, source.commit);
      const [gzip, layout] = [join(source.path, 'gzip'), join(source.path, 'image')];
      await toLayout(source.repository, gzip, { chunks });
      await toLayout(source.repository, layout, { chunks, compression });
      const [plain, packed] = [await readLayout(gzip), await readLayout(layout)];
      assert.deepEqual(packed.config, plain.config);
      for (const [at, layer] of packed.manifest.layers.entries()) {
        assert.equal(layer.mediaType, 'application/vnd.oci.image.layer.v1.tar+zstd');
        assert.equal(
          layer.annotations?.['ostree.components'],
          plain.manifest.layers[at]?.annotations?.['ostree.components'],
        );
        const blob = blobPath(layout, layer.digest);
        const tar = execFileSync('zstd', ['-dc', blob], { maxBuffer: 2 ** 26 });
        assert.ok(tar.equals(gunzipSync(await readFile(blobPath(gzip, plain.manifest.layers[at]?.digest ?? '')))));
      }
      requirePeerImports(peer, layout, join(source.path, 'imported'), source.commit);
      skopeo('copy', `oci:${layout}:v1`, `oci:${source.path}/copy:v1`);
    });

    it(`are the same each time, on any number of threads (${compression})`, async () => {
      using source = await repositoryOf(TREE);
      const digests = new Set<string>();
      for (const threads of [1, 2, 5]) {
        const { manifestDigest } = await toLayout(source.repository, join(source.path, `${threads}`), {
          threads,
          compression,
        });
        digests.add(manifestDigest);
      }
      assert.equal(digests.size, 1);
    });
  }

  it('say of their files, and keep of their headers, what the writer of podman and skopeo does', async () => {
    using source = await repositoryOf(TREE, { metadata: MINI_METADATA });
    const [gzip, layout] = [join(source.path, 'gzip'), join(source.path, 'image')];
    const options = { chunks: chunksOf(source.repository, source.commit), formatVersion: 2 as const };
    await toLayout(source.repository, gzip, options);
    await toLayout(source.repository, layout, { ...options, compression: 'zstd:chunked' });
    const [plain, packed] = [await readLayout(gzip), await readLayout(layout)];
    for (const [at, { digest, annotations = {} }] of packed.manifest.layers.entries()) {
      const tar = gunzipSync(await readFile(blobPath(gzip, plain.manifest.layers[at]?.digest ?? '')));
      const theirs = await currentWriter(tar);
      const ours = await readFile(blobPath(layout, digest));
      assert.deepEqual(factsOf(ours, annotations), factsOf(theirs.blob, theirs.annotations));
      assert.deepEqual(linesOf(ours, annotations), linesOf(theirs.blob, theirs.annotations));
      assert.ok(ours.subarray(-8).equals(theirs.blob.subarray(-8)), 'the footer');
      const toc = JSON.parse(embedded(ours, annotations, 'manifest-position').toString()) as {
        entries: { digest?: string; offset: number; endOffset: number }[];
      };
      for (const { digest: content, offset, endOffset } of toc.entries) {
        if (content === undefined) continue;
        // Several frames make up a large file.
        const bytes = execFileSync('zstd', ['-dc'], { input: ours.subarray(offset, endOffset), maxBuffer: 2 ** 26 });
        assert.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, content);
      }
    }
  });

  it('are asked for by a flag, which says what there is', async () => {
    using source = await repositoryOf(TREE, { metadata: MINI_METADATA });
    const argv = ['encapsulate', '--repo', source.repository.path, 'os'];
    const layout = join(source.path, 'image');
    const said = await treeline([...argv, `oci:${layout}:v1`, '--compression', 'zstd:chunked']);
    assert.equal(said.status, 0, said.stderr);
    const { manifest } = await readLayout(layout);
    assert.ok(manifest.layers[0]?.annotations?.['io.github.containers.zstd-chunked.manifest-position']);
    for (const [flags, message] of [
      [['--compression', 'xz'], /takes gzip, zstd or zstd:chunked, not xz/],
      [['--compression', 'zstd', '--compression-fast'], /is about gzip/],
    ] as const) {
      const refused = await treeline([...argv, `oci:${layout}:v2`, ...flags]);
      assert.equal(refused.status, 2, refused.stderr);
      assert.match(refused.stderr, message);
    }
  });

  it('refuse entries that this room does not write', async () => {
    await using pool = new CompressionPool(1);
    const fifo = Buffer.alloc(512 * 3);
    fifo.write('fifo', 0);
    fifo.write('0000644\0', 100);
    fifo.write('0000000\0', 108);
    fifo.write('0000000\0', 116);
    fifo.write('00000000000\0', 124);
    fifo.write('00000000000\0', 136);
    fifo.write('        6', 148);
    fifo.write(
      `${fifo
        .subarray(0, 512)
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    const encode = async (): Promise<void> => {
      for await (const _ of new ZstdChunkedEncoder(pool).encode(
        (async function* () {
          yield await Promise.resolve(fifo);
        })(),
      ));
    };
    await assert.rejects(encode(), /a tar entry of type "6" has no place here/);
  });
});
