import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as fc from 'fast-check';
import { pruneImages, Repository } from '../../ostree/index.ts';
import { variant } from '../../ostree/gvariant/value.ts';
import { guardPull } from '../../ostree/import/pull-guard.ts';
import { mergeCommit } from '../../ostree/import/merge-commit.ts';
import { blobRef, imageRef } from '../../ostree/import/store-refs.ts';
import { encodeCommit, encodeDictionary } from '../../ostree/objects/commit.ts';
import { looseObjectPath } from '../../ostree/objects/object-name.ts';
import { pruneObjects } from '../../ostree/repository/prune.ts';
import { listLooseObjects, OBJECT_PREFIXES } from '../../ostree/repository/loose-objects.ts';
import { type ImageManifest, MEDIA_TYPE, parseImageReference } from '../../registry/index.ts';
import { ostree, scratchDirectory, writeTree } from './ostree-fixture.ts';

/** A sysroot on disk with its repository; nothing in it has to survive a power cut. */
function makeSysroot(path: string, ...config: readonly string[]): Repository {
  const repo = join(path, 'ostree/repo');
  Repository.create(repo, 'bare');
  writeFileSync(
    join(repo, 'config'),
    ['[core]', 'repo_version=1', 'mode=bare', 'fsync=false', ...config, ''].join('\n'),
  );
  return Repository.open(repo);
}

function digest(seed: number): string {
  return `sha256:${seed.toString(16).padStart(64, '0')}`;
}

function manifestOf(layers: readonly number[]): ImageManifest {
  const descriptor = (mediaType: string, seed: number) => ({ mediaType, digest: digest(seed), size: 1 });
  return {
    schemaVersion: 2,
    config: descriptor(MEDIA_TYPE.config, 0),
    layers: layers.map((seed) => descriptor(MEDIA_TYPE.layerGzip, seed)),
  };
}

/** Some files out of a few, so that commits share objects. */
function treeOf(files: readonly number[]): Record<string, { content: string }> {
  return Object.fromEntries(files.map((seed) => [`usr/d${seed % 3}/f${seed}`, { content: `content ${seed >> 1}` }]));
}

async function writeCommit(
  repository: Repository,
  files: readonly number[],
  layers?: readonly number[],
): Promise<string> {
  await using transaction = await repository.beginTransaction();
  const plain = writeTree(transaction, treeOf(files), { timestamp: files.length });
  await transaction.commit();
  if (layers === undefined) return plain;
  await using second = await repository.beginTransaction();
  const image = {
    manifestDigest: digest(9000 + layers.length),
    manifest: manifestOf(layers),
    config: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers' as const, diff_ids: [] } },
  };
  const { parent: _none, ...commit } = mergeCommit(image, '', repository.readCommit(plain), new Date(0));
  const checksum = second.writeMetadata('commit', encodeCommit(commit));
  await second.commit();
  return checksum;
}

function deploy(sysroot: string, commit: string, serial: number, origin?: string): void {
  const path = join(sysroot, `ostree/deploy/os/deploy/${commit}.${serial}`);
  mkdirSync(path, { recursive: true });
  if (origin !== undefined) writeFileSync(`${path}.origin`, `[origin]\ncontainer-image-reference=${origin}\n`);
}

function stage(sysroot: string, commit: string): void {
  const path = join(sysroot, 'run/ostree/staged-deployment');
  mkdirSync(dirname(path), { recursive: true });
  const target = variant.dictionary([
    ['name', variant.string(`${commit}.0`)],
    ['osname', variant.string('os')],
  ]);
  writeFileSync(path, encodeDictionary([['target', target]]));
}

function objectsIn(repository: Repository): Set<string> {
  const all = OBJECT_PREFIXES.flatMap((prefix) => listLooseObjects(repository.path, prefix));
  return new Set(all.map(({ checksum, extension }) => `${checksum}.${extension}`));
}

/** What `ostree` thinks that a commit consists of. */
function objectsOf(repository: Repository, commit: string): string[] {
  const lines = ostree(repository.path, 'ls', '-R', '-C', commit).split('\n').filter(Boolean);
  return [
    `${commit}.commit`,
    ...lines.flatMap((line) => {
      const [first = '', second = ''] = line.match(/[0-9a-f]{64}/g) ?? [];
      return line.startsWith('d') ? [`${first}.dirtree`, `${second}.dirmeta`] : [`${first}.file`];
    }),
  ];
}

const FILES = fc.uniqueArray(fc.nat(15), { minLength: 1, maxLength: 6 });
const LAYERS = fc.uniqueArray(fc.nat(7), { minLength: 1, maxLength: 4 });
/** What keeps a commit, if anything does. */
const HOLDER = fc.constantFrom(
  'nothing' as const,
  'branch' as const,
  'remote' as const,
  'rpmostree' as const,
  'baseimage' as const,
  'deployment' as const,
  'staged' as const,
  'image' as const,
  'deployed image' as const,
);
type Holder = typeof HOLDER extends fc.Arbitrary<infer Name> ? Name : never;

async function hold(
  repository: Repository,
  sysroot: string,
  commit: string,
  holder: Holder,
  at: number,
): Promise<void> {
  const image = imageRef(parseImageReference(`oci:/image/${at}`));
  switch (holder) {
    case 'nothing':
      return;
    case 'branch':
      return await repository.setRef(`branch/${at}`, commit);
    case 'remote':
      return await repository.setRef(`origin:branch/${at}`, commit);
    case 'rpmostree':
      return await repository.setRef(`rpmostree/base/${at}`, commit);
    case 'baseimage':
      return await repository.setRef(`ostree/container/baseimage/bootc/${at}`, commit);
    case 'deployment':
      return deploy(sysroot, commit, at);
    case 'staged':
      return stage(sysroot, commit);
    case 'image':
      return await repository.setRef(image, commit);
    case 'deployed image':
      // The image may be newer than what was deployed from it.
      await repository.setRef(image, commit);
      return deploy(sysroot, '0'.repeat(64), at, `ostree-unverified-image:oci:/image/${at}`);
  }
}

describe('garbage collection', () => {
  it('keeps all that anything needs, deletes all else, and has nothing to do the second time', async () => {
    const commits = fc.array(
      fc.record({ files: FILES, layers: fc.option(LAYERS, { nil: undefined }), holder: HOLDER }),
      {
        minLength: 1,
        maxLength: 6,
      },
    );
    await fc.assert(
      fc.asyncProperty(commits, fc.array(FILES, { maxLength: 8 }), async (wanted, layers) => {
        using scratch = scratchDirectory();
        const repository = makeSysroot(scratch.path);
        const layerCommits = new Map<number, string>();
        for (const [seed, files] of layers.entries()) {
          layerCommits.set(seed, await writeCommit(repository, files));
          await repository.setRef(blobRef(digest(seed)), layerCommits.get(seed));
        }
        const made: { commit: string; layers: readonly number[] | undefined; holder: Holder }[] = [];
        for (const { files, layers, holder } of wanted) {
          made.push({ commit: await writeCommit(repository, files, layers), layers, holder });
        }
        for (const [at, { commit, holder }] of made.entries()) await hold(repository, scratch.path, commit, holder, at);
        // Only one deployment can be staged: the last.
        const staged = made.findLast(({ holder }) => holder === 'staged');
        const held = new Set(
          made
            .filter((one) => !['nothing', 'image'].includes(one.holder) && (one.holder !== 'staged' || one === staged))
            .map(({ commit }) => commit),
        );
        const needed = made
          .filter(({ commit }) => held.has(commit))
          .flatMap(({ commit, layers = [] }) => [commit, ...layers.flatMap((seed) => layerCommits.get(seed) ?? [])]);
        const expected = new Set(needed.flatMap((commit) => objectsOf(repository, commit)));
        const options = { sysroot: scratch.path, extent: 'objects' as const };
        await pruneImages(repository, options);
        assert.deepEqual([...objectsIn(repository)].sort(), [...expected].sort());
        ostree(repository.path, 'fsck', '--quiet');
        const again = await pruneImages(repository, options);
        assert.deepEqual(again, { images: [], layers: 0, objects: 0, bytes: 0 });
      }),
      { numRuns: 25 },
    );
  });

  it('leaves a ref alone that stands for no image', async () => {
    using scratch = scratchDirectory();
    const repository = makeSysroot(scratch.path);
    const commit = await writeCommit(repository, [1], [2]);
    await repository.setRef('ostree/container/image/by-hand', commit);
    await repository.setRef(imageRef(parseImageReference('oci:/image/1')), commit);
    const { images } = await pruneImages(repository, { sysroot: scratch.path, extent: 'objects' });
    assert.deepEqual(images, ['oci:/image/1']);
    assert.ok(repository.hasObject('commit', commit));
  });

  it('agrees with `ostree prune` on what is unreachable', async () => {
    using scratch = scratchDirectory();
    const repository = makeSysroot(scratch.path);
    await repository.setRef('kept', await writeCommit(repository, [1, 2, 3]));
    await writeCommit(repository, [3, 4, 5, 6]);
    const said = ostree(repository.path, 'prune', '--refs-only', '--depth=0', '--no-prune');
    const { objects } = await pruneObjects(repository);
    assert.match(said, new RegExp(`Would delete: ${objects} objects`));
    assert.match(ostree(repository.path, 'prune', '--refs-only', '--depth=0', '--no-prune'), /No unreachable objects/);
  });

  it('leaves tombstones as `ostree prune` does, and takes what belongs to a commit along', async () => {
    using scratch = scratchDirectory();
    const tombstones: Buffer[] = [];
    for (const [name, prune] of [
      ['ours', (repository: Repository) => pruneObjects(repository)],
      ['theirs', (repository: Repository) => ostree(repository.path, 'prune', '--refs-only', '--depth=0')],
    ] as const) {
      const repository = makeSysroot(join(scratch.path, name), 'tombstone-commits=true');
      await repository.setRef('kept', await writeCommit(repository, [1]));
      const gone = await writeCommit(repository, [2]);
      repository.writeDetachedMetadata(gone, [['key', variant.string('value')]]);
      repository.setPartial(gone, true);
      await prune(repository);
      assert.ok(![...objectsIn(repository)].some((object) => object.endsWith('.commitmeta')), name);
      assert.deepEqual(readdirSync(join(repository.path, 'state')), []);
      tombstones.push(readFileSync(join(repository.path, 'objects', looseObjectPath(gone, 'tombstone-commit'))));
    }
    assert.deepEqual(tombstones[0], tombstones[1]);
  });

  it('drops links to the content of files that are gone, and keeps the others', async () => {
    using scratch = scratchDirectory();
    const repository = makeSysroot(scratch.path);
    const kept = await writeCommit(repository, [1]);
    await repository.setRef('kept', kept);
    const gone = await writeCommit(repository, [15]);
    const links = [kept, gone].map((commit, at) => {
      const file = objectsOf(repository, commit)
        .find((object) => object.endsWith('.file'))!
        .split('.')[0]!;
      const link = join(repository.path, 'objects', looseObjectPath(at.toString().repeat(64), 'payload-link'));
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(`../${looseObjectPath(file, 'file')}`, link);
      return link;
    });
    await pruneObjects(repository);
    assert.deepEqual(
      links.map((link) => lstatSync(link, { throwIfNoEntry: false }) !== undefined),
      [true, false],
    );
  });

  it('keeps the guard of a pull that is under way, and drops that of one that ended', async () => {
    using scratch = scratchDirectory();
    const repository = makeSysroot(scratch.path);
    const layer = await writeCommit(repository, [1, 2]);
    await repository.setRef(blobRef(digest(1)), layer);
    const image = {
      digest: digest(77),
      manifest: manifestOf([1]),
      config: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers' as const, diff_ids: [] } },
    };
    const options = { sysroot: scratch.path, extent: 'objects' as const };
    {
      using _first = await guardPull(repository, image);
      using second = await guardPull(repository, image);
      await second.lift();
      assert.deepEqual(await pruneImages(repository, options), { images: [], layers: 0, objects: 0, bytes: 0 });
      assert.ok(repository.hasObject('commit', layer));
    }
    const { layers } = await pruneImages(repository, options);
    assert.deepEqual([layers, objectsIn(repository).size], [1, 0]);
    assert.deepEqual(readdirSync(join(repository.path, 'tmp')), ['cache']);
  });

  for (const [what, damage] of [
    [
      'an origin that cannot be understood',
      (_: Repository, sysroot: string, commit: string) => deploy(sysroot, commit, 0, 'moon:image'),
    ],
    [
      'a staged deployment that cannot be understood',
      (_: Repository, sysroot: string) => {
        mkdirSync(join(sysroot, 'run/ostree'), { recursive: true });
        writeFileSync(join(sysroot, 'run/ostree/staged-deployment'), 'garbage');
      },
    ],
    [
      'a directory of a commit that is missing',
      (repository: Repository, _: string, commit: string) => {
        const { dirtree } = repository.readCommit(commit);
        writeFileSync(repository.objectPath('dirtree', dirtree), 'garbage');
      },
    ],
  ] as const) {
    it(`deletes nothing when there is ${what}`, async () => {
      using scratch = scratchDirectory();
      const repository = makeSysroot(scratch.path);
      const kept = await writeCommit(repository, [1]);
      await repository.setRef('kept', kept);
      await writeCommit(repository, [2]);
      const before = objectsIn(repository);
      damage(repository, scratch.path, kept);
      await assert.rejects(pruneImages(repository, { sysroot: scratch.path, extent: 'objects' }), {
        name: 'OstreeError',
      });
      assert.deepEqual(objectsIn(repository), before);
    });
  }

  it('may lack what a partial commit lacks', async () => {
    using scratch = scratchDirectory();
    const repository = makeSysroot(scratch.path);
    const partial = await writeCommit(repository, [1, 2]);
    await repository.setRef('partial', partial);
    const { dirtree } = repository.readCommit(partial);
    const [usr] = repository.readDirtree(dirtree).directories;
    await pruneObjects(repository);
    repository.setPartial(partial, true);
    const lost = repository.objectPath('dirtree', usr!.dirtree);
    const bytes = readFileSync(lost);
    writeFileSync(lost, '');
    await assert.rejects(pruneObjects(repository), { code: 'CorruptObject' });
    writeFileSync(lost, bytes);
    assert.equal((await pruneObjects(repository)).objects, 0);
    assert.ok(existsSync(join(repository.path, 'state', `${partial}.commitpartial`)));
  });
});
