/**
 * What the tests of interrupted imports share: an image with every kind of layer, a registry that counts, and the judgement
 * afterwards. That `ostree fsck` is clean and that the content checksum is right is said by the host's ostree, not by us.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { pullImage, type PulledImage, Repository } from '../../ostree/index.ts';
import { BLOB_REF_PREFIX, IMAGE_REF_PREFIX } from '../../ostree/import/store-refs.ts';
import { unescapeRefPath } from '../../ostree/repository/ref-name.ts';
import { openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import type { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { checkRepository } from '../../testbed/repository-check.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { derive, encapsulate, makeSystem, PLATFORM } from '../interop/import-fixture.ts';

/** The name under which the registry serves the image. */
export const IMAGE = 'os';

/** How many moments a kind of fault is tried at, unless `npm run faults -- --moments N` says otherwise. */
export function momentsOf(usual: number): number {
  return Number(process.env['TREELINE_FAULT_MOMENTS'] ?? usual);
}

/** Of one kind of fault in CI; whoever asks for a number of moments has the time for them. */
export const TIMEOUT_MS = process.env['TREELINE_FAULT_MOMENTS'] === undefined ? 900_000 : 0;

export const SEED = Number(process.env['TREELINE_SEED'] ?? Date.now() % 1_000_000);

/** Mulberry32: a seed gives the same moments again. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * An image of three chunks, a base layer and two derived layers: some 800 files, 13 MB. One chunk is large enough for what
 * has arrived of it to be kept. Returns its OCI layout.
 */
export async function makeFaultImage(folder: string): Promise<string> {
  const text = (bytes: number): string => randomBytes(bytes / 2).toString('hex');
  const small = Array.from({ length: 700 }, (_, index) => {
    return [`usr/lib/many/${index % 30}/${index}`, `content of file ${index}`] as const;
  });
  const large = Array.from({ length: 6 }, (_, index) => [`usr/lib/large/${index}`, text(1_600_000)] as const);
  const base = await encapsulate(
    await makeSystem(folder, [
      ...small,
      ...large,
      ['usr/bin/heavy', text(1_500_000), 0o755],
      ['usr/lib/modules/6.1.0/module.ko', text(1_500_000)],
    ]),
    folder,
    true,
  );
  const application = new Archive();
  for (let index = 0; index < 60; index++)
    application.file(`usr/share/app/${index}`, text(index % 10 === 0 ? 100_000 : 100));
  const changes = new Archive().file('usr/share/new', 'new').file('etc/app.conf', 'changed').file('usr/bin/.wh.sh', '');
  return await derive(base, join(folder, 'image'), [application.finish(), changes.finish()]);
}

export function referenceAt(registry: LayoutRegistry): string {
  return `ostree-unverified-registry:${registry.host}/${IMAGE}:latest`;
}

/** Imports in this process. */
export async function pullFrom(registry: LayoutRegistry, repository: string): Promise<PulledImage> {
  const reference = parseOstreeImageReference(referenceAt(registry));
  await using source = openImageSource(reference.image, { plainHttpHosts: [registry.host] });
  return await pullImage({ repository: Repository.open(repository), source, reference, platform: PLATFORM });
}

/** The content checksum of a commit: equal for equal trees, whatever the commit says about itself. */
export async function contentChecksum(repository: string, commit: string): Promise<string> {
  const shown = await runCommand('ostree', [`--repo=${repository}`, 'show', commit]);
  const checksum = /ContentChecksum:\s+([0-9a-f]{64})/.exec(shown)?.[1];
  assert.ok(checksum, `ostree shows a content checksum: ${shown}`);
  return checksum;
}

/** Asserts that a fault has left a repository that every tool can work with. */
export async function assertSound(repository: string): Promise<void> {
  const { code, stdout, stderr } = await checkRepository(repository);
  assert.equal(code, 0, `ostree fsck: ${stdout}${stderr}`);
  for (const [ref, commit] of refsIn(repository)) {
    const path = join(repository, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`);
    assert.ok(existsSync(path), `${ref} resolves: it names ${commit}`);
    // What fsck passes over: that a commit lacks objects is allowed until a ref of ours promises that it does not.
    if (ref.startsWith(IMAGE_REF_PREFIX)) assert.ok(!isPartial(repository, commit), `${ref} is complete`);
  }
}

/**
 * Imports again after a fault, and asserts that this completes with the right content, fetches nothing that was
 * complete, and tidies up.
 */
export async function assertCompletes(registry: LayoutRegistry, repository: string, expected: string): Promise<void> {
  const complete = completeBlobs(repository);
  registry.blobsRequested.length = 0;
  const { mergeCommit } = await pullFrom(registry, repository);
  const again = registry.blobsRequested.filter((digest) => complete.has(digest));
  assert.deepEqual(again, [], 'what was complete is not fetched again');
  await assertSound(repository);
  assert.equal(await contentChecksum(repository, mergeCommit), expected);
  const image = [...refsIn(repository)].filter(([ref]) => ref.startsWith(IMAGE_REF_PREFIX));
  assert.deepEqual(
    image.map(([, commit]) => commit),
    [mergeCommit],
  );
  assert.deepEqual(leftovers(repository), [], 'nothing is left over');
}

/** Digests of blobs that a ref promises to be complete. */
export function completeBlobs(repository: string): ReadonlySet<string> {
  const complete = new Set<string>();
  for (const [ref, commit] of refsIn(repository)) {
    if (!ref.startsWith(`${BLOB_REF_PREFIX}/`) || isPartial(repository, commit)) continue;
    complete.add(unescapeRefPath(ref.slice(BLOB_REF_PREFIX.length + 1)));
  }
  return complete;
}

/** Libostree's, and ours for what has arrived of large blobs. They stay, empty. */
const FOLDERS_OF_TMP = ['cache', 'treeline-blobs'];

/** A directory that is empty and that the file system does not delete: seen on btrfs after a power cut, not ours to mend. */
function isStuck(path: string): boolean {
  if (!existsSync(path) || readdirSync(path).length > 0) return false;
  try {
    rmdirSync(path);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOTEMPTY';
  }
}

/** Stays: its marks of layers that were put together from parts are needed as long as the layers are there. */
const PARTIAL_LAYERS = 'treeline-partial-layers';

/** Those that are half-written, or of a layer that is not there. */
function needlessMarks(repository: string): readonly string[] {
  const folder = join(repository, 'state', PARTIAL_LAYERS);
  const layers = completeBlobs(repository);
  return existsSync(folder) ? readdirSync(folder).filter((name) => !layers.has(`sha256:${name}`)) : [];
}

/** Staged objects, temporary files, guards, marks: what only makes sense while an import is under way. */
function leftovers(repository: string): readonly string[] {
  return [
    ...readdirSync(join(repository, 'tmp')).filter(
      (name) => !FOLDERS_OF_TMP.includes(name) && !isStuck(join(repository, 'tmp', name.replace(/-lock$/, ''))),
    ),
    ...FOLDERS_OF_TMP.flatMap((name) =>
      existsSync(join(repository, 'tmp', name)) ? readdirSync(join(repository, 'tmp', name)) : [],
    ),
    ...readdirSync(join(repository, 'state')).filter((name) => name !== PARTIAL_LAYERS),
    ...needlessMarks(repository),
    ...readdirSync(repository).filter((name) => name.startsWith('new-')),
    ...[...refsIn(repository).keys()].filter((ref) => ref.startsWith('ostree/container/baseimage')),
  ];
}

function isPartial(repository: string, commit: string): boolean {
  return existsSync(join(repository, 'state', `${commit}.commitpartial`));
}

/** All local refs, read without any tool's help. */
export function refsIn(repository: string): ReadonlyMap<string, string> {
  const heads = join(repository, 'refs', 'heads');
  const found = new Map<string, string>();
  for (const entry of readdirSync(heads, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(path.slice(heads.length + 1), readFileSync(path, 'latin1').trim());
  }
  return found;
}

export async function initialiseRepository(path: string): Promise<void> {
  await runCommand('ostree', ['init', `--repo=${path}`, '--mode=bare']);
}

/** Runs `attempt`, and puts into the message of what it throws how to have the same moment again. */
export async function atMoment<Result>(moment: string, attempt: () => Promise<Result>): Promise<Result> {
  try {
    return await attempt();
  } catch (error) {
    throw new Error(`seed ${SEED}, ${moment}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
