import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import * as fc from 'fast-check';
import type { Chunk } from '../../ostree/chunking/chunk.ts';
import { contentOfCommit } from '../../ostree/encapsulate/commit-content.ts';
import { canonicalXattrs } from '../../ostree/objects/xattrs.ts';
import { pullImage, readStoredImage, Repository } from '../../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { PLATFORM, repositoryOf, toLayout } from './encapsulate-fixture.ts';
import { MINI_METADATA, ostree, type FileSpec } from './ostree-fixture.ts';

const RUNS = Number(process.env['TREELINE_PROPERTY_RUNS'] ?? 25);
const SEED = process.env['TREELINE_PROPERTY_SEED'];
/** The peer starts as a process of its own, and writes slowly. */
const RUNS_WITH_PEER = Math.min(RUNS, 8);

const parameters = (numRuns: number): fc.Parameters<[Case]> =>
  SEED === undefined ? { numRuns, endOnFailure: true } : { numRuns, seed: Number(SEED) };

type Tree = Readonly<Record<string, FileSpec>>;

interface Case {
  readonly tree: Tree;
  readonly formatVersion: 1 | 2;
  /** Each object goes into the chunk at its own number, modulo this; 0 for a single layer. */
  readonly chunks: number;
}

/** Whatever a name may be: UTF-8, long ones too, with control characters, spaces, backslashes and dots in it. */
const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 60 })
  .map((text) => text.replaceAll(/[/\0]/g, '\n'))
  .filter((text) => text.isWellFormed() && text !== '.' && text !== '..');

const xattrs = fc
  .uniqueArray(
    fc.record({
      name: fc.oneof(
        fc.constantFrom('security.capability', 'security.selinux', 'trusted.overlay.opaque', 'user.a=b'),
        fc.string({ minLength: 1, maxLength: 20 }).map((text) => `user.${text}`),
      ),
      value: fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    }),
    { selector: (one) => one.name, maxLength: 4 },
  )
  .map((list) => canonicalXattrs(list));

const id = fc.oneof(fc.constantFrom(0, 0, 1, 65_534), fc.nat(2 ** 31));
const owned = { uid: id, gid: id, xattrs };
const file: fc.Arbitrary<FileSpec> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ ...owned, mode: fc.nat(0o7777), content: fc.string({ maxLength: 2000 }) }) },
  // Without content, and so many of the same that they are one object.
  { weight: 1, arbitrary: fc.record({ mode: fc.constantFrom(0o644, 0o600), content: fc.constantFrom('', 'same') }) },
  { weight: 1, arbitrary: fc.record({ mode: fc.constant(0o644), content: fc.constant('large '.repeat(40_000)) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      ...owned,
      target: fc
        .string({ unit: 'binary', minLength: 1, maxLength: 150 })
        .filter((to) => to.isWellFormed() && !to.includes('\0')),
    }),
  },
);

/** Directories begin with `d`, files with `f`, so that nothing is both. */
const path = fc
  .tuple(fc.constantFrom('', 'usr/', 'usr/etc/', 'sysroot/', 'var/'), fc.array(name, { maxLength: 3 }))
  .map(([top, segments]) => `${top}${segments.map((segment) => `d${segment}/`).join('')}`);

const tree: fc.Arbitrary<Tree> = fc
  .tuple(
    fc.array(
      fc.tuple(
        fc.tuple(path, name).map(([folder, last]) => `${folder}f${last}`),
        file,
      ),
      { minLength: 1, maxLength: 20 },
    ),
    fc.array(
      fc.tuple(
        path.filter((folder) => folder !== '').map((folder) => folder.slice(0, -1)),
        fc.record({ ...owned, directory: fc.constant(true as const), mode: fc.nat(0o7777) }),
      ),
      { maxLength: 6 },
    ),
  )
  .map(([files, directories]) => ({
    // What every system has; a root without /usr is none.
    'usr/bin/sh': { content: 'sh' },
    ...Object.fromEntries(directories),
    ...Object.fromEntries(files),
  }));

const cases: fc.Arbitrary<Case> = fc.record({
  tree,
  formatVersion: fc.constantFrom(1 as const, 2 as const),
  chunks: fc.nat(4),
});

function chunksOf(repository: Repository, commit: string, count: number): readonly Chunk[] | undefined {
  if (count === 0) return undefined;
  const objects = [...contentOfCommit(repository, commit).keys()];
  return Array.from({ length: count }, (_, chunk) => ({
    name: `chunk ${chunk}`,
    components: [`part-${chunk}`],
    objects: objects.filter((_, at) => at % count === chunk),
  })).filter(({ objects }, at) => objects.length > 0 || at === count - 1);
}

/** Writes the image of a case, and has it imported into a new repository; the commit must be the same. */
async function roundTrip(
  { tree, formatVersion, chunks: count }: Case,
  importImage: (layout: string, target: string) => Promise<string>,
): Promise<void> {
  using source = await repositoryOf(tree, { metadata: MINI_METADATA });
  const layout = join(source.path, 'image');
  await toLayout(source.repository, layout, {
    formatVersion,
    chunks: chunksOf(source.repository, source.commit, count),
  });
  const target = join(source.path, 'imported');
  assert.equal(await importImage(layout, target), source.commit);
  assert.match(ostree(target, 'fsck'), /no errors found/);
}

describe('an image of a commit', function () {
  this.timeout(900_000);

  it('gives back the same commit when we import it, whatever is in it', async () => {
    const importImage = async (layout: string, target: string): Promise<string> => {
      const repository = Repository.create(target, 'bare-user');
      const reference = parseOstreeImageReference(`ostree-unverified-image:oci:${layout}:v1`);
      await using image = openImageSource(reference.image, {});
      const { mergeCommit } = await pullImage({ repository, source: image, reference, platform: PLATFORM });
      return readStoredImage(repository, mergeCommit).baseCommit;
    };
    await fc.assert(
      fc.asyncProperty(cases, (one) => roundTrip(one, importImage)),
      parameters(RUNS),
    );
  });

  it('gives back the same commit when the peer imports it', async () => {
    const peer = await ensurePeer(sayOnStandardError);
    const importImage = (layout: string, target: string): Promise<string> => {
      ostree(target, 'init', '--mode=bare-user');
      const reference = `ostree-unverified-image:oci:${layout}:v1`;
      const argv = ['container', 'unencapsulate', '--repo', target, '--write-ref=imported', reference];
      execFileSync(peer, argv, { stdio: 'pipe' });
      return Promise.resolve(ostree(target, 'rev-parse', 'imported').trim());
    };
    await fc.assert(
      fc.asyncProperty(cases, (one) => roundTrip(one, importImage)),
      parameters(RUNS_WITH_PEER),
    );
  });
});
