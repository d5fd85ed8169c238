import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Chunk } from '../../ostree/chunking/chunk.ts';
import { contentOfCommit } from '../../ostree/encapsulate/commit-content.ts';
import type { EncapsulateProgress, Repository } from '../../ostree/index.ts';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { repositoryOf, requirePeerImports, skopeo, toLayout } from './encapsulate-fixture.ts';
import { blobPath, readLayout } from './import-fixture.ts';
import { EVERYTHING, MINI, MINI_METADATA, type FileSpec } from './ostree-fixture.ts';

/** A chunk for each directory at the top of /usr, one for everything else, and one for packages to come. */
function chunksOf(repository: Repository, commit: string): Chunk[] {
  const groups = new Map<string, string[]>();
  for (const [object, paths] of contentOfCommit(repository, commit)) {
    const name = /^usr\/(\w+)\//.exec(paths[0] ?? '')?.[1] ?? 'rest';
    groups.set(name, [...(groups.get(name) ?? []), object]);
  }
  const chunks = [...groups].map(([name, objects]) => ({ name: `the ${name}`, components: [name, 'a-part'], objects }));
  return [...chunks, { name: 'Reserved for new packages', components: [], objects: [] }];
}

/** The objects of MINI that the reference image has in the layers of two packages. */
const BASH = [
  '1934aaf1b1432ff7ed7d087a9a58e95058b1f21b3c5ce101b5c1102aa778d0ba',
  '23a2e97d21d960ac7a4e39a8721b1baff7b213e00e5e5641334f50506012fcff',
];
const IPUTILS = ['6cf207314077ef2b4fc3643e8c08fb27d3726f69c441fef02c6e297f6b910474'];

describe('chunked encapsulation', () => {
  it('makes of known packages the layers that the reference tools make of them, to the last byte', async () => {
    using source = await repositoryOf(MINI, { metadata: MINI_METADATA });
    const packaged = [...BASH, ...IPUTILS];
    const rest = [...contentOfCommit(source.repository, source.commit).keys()].filter((one) => !packaged.includes(one));
    const layout = join(source.path, 'image');
    await toLayout(source.repository, layout, {
      chunks: [
        { name: 'everything else', components: ['rest'], objects: rest },
        { name: 'bash', components: ['bash'], objects: BASH.toReversed() },
        { name: 'iputils', components: ['iputils'], objects: IPUTILS },
      ],
    });
    const { config } = await readLayout(layout);
    assert.deepEqual(config.rootfs.diff_ids.slice(2), [
      'sha256:f6c7fb11992ad9ff7c48faa82623bc788dddee1539161c3ef2783165910caa9b',
      'sha256:673014fff8c5582ff71fabffdff76336a8f944b3534cd8130b7f77a07868247f',
    ]);
  });

  it('says in annotations and history what each layer holds, and in the label where the commit ends', async () => {
    using source = await repositoryOf(EVERYTHING, { subject: 'A version' });
    const layout = join(source.path, 'image');
    const chunks = chunksOf(source.repository, source.commit);
    const image = await toLayout(source.repository, layout, { chunks, labels: { mine: 'yes' } });
    const { manifest, config } = await readLayout(layout);
    const compression = ({ digest }: { digest: string }) => ({
      'dev.treeline.compression': `gzip:6:pako-3.0.3:stored ${digest}`,
    });
    assert.deepEqual(
      manifest.layers.map(({ annotations }) => annotations),
      manifest.layers.map((layer, at) => {
        const components = chunks[at - 1]?.components.toSorted().join(',');
        return { ...compression(layer), ...(components !== undefined && { 'ostree.components': components }) };
      }),
    );
    assert.equal(manifest.layers.at(-1)?.annotations?.['ostree.components'], '');
    assert.deepEqual(
      config.history?.map(({ created_by }) => created_by),
      ['A version', ...chunks.map(({ name }) => name)],
    );
    const labels = { mine: 'yes', 'ostree.commit': source.commit, 'ostree.final-diffid': image.diffId };
    assert.deepEqual(config.config.Labels, labels);
    assert.deepEqual(manifest.annotations, labels);
    assert.equal(config.rootfs.diff_ids.at(-1), image.diffId);
    assert.equal(
      image.size,
      manifest.layers.reduce((sum, { size }) => sum + size, 0),
    );
    skopeo('copy', `oci:${layout}:v1`, `oci:${source.path}/copy:v1`);
  });

  it('leaves layers as they are whose chunks are as they were', async () => {
    using before = await repositoryOf(EVERYTHING);
    using after = await repositoryOf({ ...EVERYTHING, 'usr/lib/large': { content: 'smaller now' } });
    const digests: string[][] = [];
    for (const { repository, commit, path } of [before, after]) {
      await toLayout(repository, join(path, 'image'), { chunks: chunksOf(repository, commit) });
      digests.push((await readLayout(join(path, 'image'))).manifest.layers.map(({ digest }) => digest));
    }
    const [old = [], changed = []] = digests;
    assert.equal(changed.length, old.length);
    assert.equal(changed.filter((digest) => !old.includes(digest)).length, 2, 'the commit, and /usr/lib');
  });

  it('reports objects as they are written, whatever the layer', async () => {
    using source = await repositoryOf(EVERYTHING);
    const seen = new Set<number>();
    let last: EncapsulateProgress | undefined;
    const chunks = chunksOf(source.repository, source.commit);
    const { size } = await toLayout(source.repository, join(source.path, 'image'), {
      chunks,
      onProgress: (progress) => {
        seen.add(progress.objectsDone);
        last = progress;
      },
    });
    const total = contentOfCommit(source.repository, source.commit).size;
    assert.deepEqual(
      [...seen],
      Array.from({ length: total + 1 }, (_, index) => index),
    );
    const layers = chunks.length + 1;
    const objects = { objectsDone: total, objectsTotal: total };
    assert.deepEqual(last, { ...objects, layersDone: layers, layersTotal: layers, bytesWritten: size });
  });

  const whole = (chunks: Chunk[]): Chunk => chunks[0] ?? assert.fail();
  const misfits: readonly [what: string, change: (chunks: Chunk[]) => Chunk[], message: RegExp][] = [
    [
      'an object that no chunk has',
      (chunks) => chunks.slice(1),
      /object [0-9a-f]{64} \(.+\) of the commit [0-9a-f]{64} is in none of them/,
    ],
    [
      'an object in two chunks',
      (chunks) => [...chunks, { ...whole(chunks), name: 'again' }],
      /object [0-9a-f]{64} is twice in them: in "the \w+" and in "again"/,
    ],
    [
      'an object that is not of the commit',
      (chunks) => [...chunks, { name: 'alien', components: [], objects: ['0'.repeat(64)] }],
      /object 0{64} of "alien" is not in the commit/,
    ],
    [
      'two empty chunks',
      (chunks) => [...chunks, { name: 'nothing', components: [], objects: [] }],
      /the chunks "Reserved for new packages" and "nothing" are both empty/,
    ],
  ];
  for (const [what, change, message] of misfits) {
    it(`refuses ${what} by name, before anything is written`, async () => {
      using source = await repositoryOf(EVERYTHING);
      const layout = join(source.path, 'image');
      const chunks = change(chunksOf(source.repository, source.commit));
      await assert.rejects(toLayout(source.repository, layout, { chunks }), { code: 'InvalidData', message });
      assert.equal(existsSync(layout), false);
    });
  }

  it('in format version 2 says in each layer whose the directories of its files are', async () => {
    using source = await repositoryOf({
      ...EVERYTHING,
      'usr/share/private/deep/file': { content: 'f', mode: 0o640 },
      'usr/share/private/deep/other': { content: 'g' },
      'usr/etc/x/y.conf': { content: 'y' },
    });
    const layout = join(source.path, 'image');
    const chunks = chunksOf(source.repository, source.commit);
    await toLayout(source.repository, layout, { chunks, formatVersion: 2 });
    const { manifest } = await readLayout(layout);
    const directoriesOf = (name: string): string[] => {
      const { digest } = manifest.layers[1 + chunks.findIndex((chunk) => chunk.name === name)] ?? assert.fail();
      const listing = execFileSync('tar', ['--numeric-owner', '-tvzf', blobPath(layout, digest)], { encoding: 'utf8' });
      const directory = /^(d\S+) (\S+) .* ((?!sysroot)\S+?)\/?$/;
      return listing.split('\n').flatMap((line) => directory.exec(line)?.slice(1).join(' ') ?? []);
    };
    assert.deepEqual(directoriesOf('the share'), [
      'drwxr-xr-x 0/0 usr',
      'drwxr-xr-x 0/0 usr/share',
      'drwxr-s--- 7/8 usr/share/private',
      'drwxr-xr-x 0/0 usr/share/private/deep',
    ]);
    assert.deepEqual(directoriesOf('the etc'), ['drwxr-xr-x 0/0 etc', 'drwxr-xr-x 0/0 etc/x']);
  });
});

describe('the peer, given several layers', function () {
  this.timeout(600_000);
  let peer = '';
  before(async () => {
    peer = await ensurePeer(sayOnStandardError);
  });

  const { var: _shared, ...withoutVar } = EVERYTHING;
  const trees: readonly [what: string, tree: Readonly<Record<string, FileSpec>>][] = [
    ['a system with one of everything', EVERYTHING],
    ['a system with labels', MINI],
    ['a system with files inside /sysroot', { ...withoutVar, 'sysroot/a/file': { content: 'inside\n' } }],
  ];
  for (const [what, tree] of trees) {
    for (const formatVersion of [1, 2] as const) {
      it(`imports ${what} with the same checksum, format version ${formatVersion}`, async () => {
        using source = await repositoryOf(tree, { metadata: MINI_METADATA });
        const layout = join(source.path, 'image');
        const chunks = chunksOf(source.repository, source.commit);
        await toLayout(source.repository, layout, { chunks, formatVersion });
        requirePeerImports(peer, layout, join(source.path, 'imported'), source.commit);
      });
    }
  }
});
