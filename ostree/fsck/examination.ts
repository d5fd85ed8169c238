/**
 * Looks for everything that can be wrong with a repository: objects against their names, commits against what they refer
 * to, refs, images and their layers. Changes nothing. Source of the rules about commits: ostree-fsck(1).
 */
import type { ImageReference } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import { imageRef, PULL_GUARD_PREFIX } from '../import/store-refs.ts';
import { noImage } from '../import/stored-image.ts';
import { reachableObjects } from '../repository/reachability.ts';
import type { LooseObject } from '../repository/loose-objects.ts';
import type { Repository } from '../repository/repository.ts';
import { type DeploymentRoot, deploymentsOf } from '../store/deployment-roots.ts';
import { ClosureCheck } from './closure-check.ts';
import type { DamagedObject } from './fsck-worker.ts';
import { type ImageStanding, readImages } from './image-standing.ts';
import { type ScanProgress, scanObjects } from './object-scan.ts';
import type { Problem } from './problem.ts';

export interface ExaminationOptions {
  readonly repository: Repository;
  /** Look only at this image, and at what it needs. */
  readonly image?: ImageReference;
  readonly onProgress?: (progress: ScanProgress) => void;
  readonly signal?: AbortSignal;
}

export interface Examination {
  readonly objects: number;
  /** Content that was read. */
  readonly bytes: number;
  readonly commits: number;
  /** Commits that are marked as partial: what they lack is no problem unless a ref or a deployment needs them. */
  readonly partialCommits: number;
  readonly problems: readonly Problem[];
  readonly damaged: readonly DamagedObject[];
  readonly closure: ClosureCheck;
  /** Commits that lack something, partial or not. */
  readonly incomplete: readonly string[];
  readonly images: readonly ImageStanding[];
}

/**
 * Holds the repository's lock, shared: others may write meanwhile, but not delete.
 *
 * @throws {OstreeError} `RefNotFound` when `image` is not stored, `Io` when the disk fails.
 */
export async function examine(options: ExaminationOptions): Promise<Examination> {
  const { repository, image, onProgress, signal } = options;
  using _lock = await repository.lock('shared', { signal });
  const wanted = image === undefined ? undefined : objectsOfImage(repository, image);
  const scanned = await scanObjects(repository.path, (object) => wanted?.(object) ?? true, onProgress, signal);
  const problems = new Map<string, Problem>();
  const found = (problem: Problem): void => void problems.set(`${problem.kind} ${problem.subject}`, problem);
  const names = new Set(scanned.damaged.map(({ checksum, extension }) => `${checksum}.${typeName(extension)}`));
  const closure = new ClosureCheck(repository, names);
  const incomplete = scanned.commits.filter((commit) => !closure.isComplete(commit));
  reportObjects(repository, scanned.damaged, closure, incomplete, found);
  const deployments = readDeployments(repository, found);
  const images = readImages(repository, deployments, found).filter(
    (standing) => image === undefined || standing.holder === imageRef(image),
  );
  if (image === undefined) reportRefs(repository, deployments, names, found);
  reportImages(images, found);
  return {
    objects: scanned.objects,
    bytes: scanned.bytes,
    commits: scanned.commits.length,
    partialCommits: scanned.commits.filter((commit) => repository.isPartial(commit)).length,
    problems: [...problems.values()],
    damaged: scanned.damaged,
    closure,
    incomplete,
    images,
  };
}

function readDeployments(repository: Repository, found: (problem: Problem) => void): readonly DeploymentRoot[] {
  try {
    return deploymentsOf(repository.path);
  } catch (error) {
    if (!(error instanceof OstreeError) || error.code !== 'InvalidData') throw error;
    found({ kind: 'UnreadableDeployment', subject: 'deployments', message: error.message });
    return [];
  }
}

/** In an archive, files have another extension than elsewhere. */
function typeName(extension: string): string {
  return extension === 'filez' ? 'file' : extension;
}

function objectsOfImage(repository: Repository, image: ImageReference): (object: LooseObject) => boolean {
  const standing = readImages(repository, [], () => undefined).find(({ holder }) => holder === imageRef(image));
  if (standing === undefined) throw noImage(repository, image);
  const layers = standing.layers.flatMap(({ commit }) => commit ?? []);
  const needed = reachableObjects(repository, [standing.mergeCommit, ...layers], 'skip');
  return ({ checksum, extension }) => {
    switch (typeName(extension)) {
      case 'commit':
      case 'commitmeta':
        return needed.commit.has(checksum);
      case 'dirtree':
        return needed.dirtree.has(checksum);
      case 'dirmeta':
        return needed.dirmeta.has(checksum);
      case 'file':
        return needed.file.has(checksum);
      default:
        return false;
    }
  };
}

function reportObjects(
  repository: Repository,
  damaged: readonly DamagedObject[],
  closure: ClosureCheck,
  incomplete: readonly string[],
  found: (problem: Problem) => void,
): void {
  for (const { checksum, extension, damage, shared } of damaged) {
    const subject = `${checksum}.${typeName(extension)}`;
    const gap = closure.gaps.get(subject);
    const where = gap === undefined ? '' : ` (${gap.path} of commit ${gap.commit})`;
    const deployed = shared ? '; a checkout holds the same damaged file: deploy again after the repair' : '';
    found({
      kind: 'CorruptObject',
      subject,
      message: `object ${subject}${where} is corrupt: ${damage}${deployed}`,
      ...(gap !== undefined && { path: gap.path, commit: gap.commit }),
    });
  }
  const corrupt = new Set(damaged.map(({ checksum, extension }) => `${checksum}.${typeName(extension)}`));
  const unmarked = incomplete.filter((commit) => !repository.isPartial(commit));
  const missing = new Set(unmarked.flatMap((commit) => [...closure.lackedBy(commit)]));
  for (const { object, commit, path } of closure.gaps.values()) {
    if (corrupt.has(object) || !missing.has(object)) continue;
    found({
      kind: 'MissingObject',
      subject: object,
      message: `object ${object} (${path} of commit ${commit}) is missing`,
      path,
      commit,
    });
  }
}

function reportRefs(
  repository: Repository,
  deployments: readonly DeploymentRoot[],
  damaged: ReadonlySet<string>,
  found: (problem: Problem) => void,
): void {
  const refs = repository.listAllRefs((path) => {
    found({ kind: 'InvalidRef', subject: shortRef(path), message: `ref ${shortRef(path)} holds no checksum` });
  });
  const holders = [
    ...[...refs].map(([path, commit]) => ({ holder: shortRef(path), commit })),
    ...deployments.map(({ name, commit }) => ({ holder: `deployment ${name}`, commit })),
  ];
  for (const { holder, commit } of holders) {
    if (!repository.hasObject('commit', commit)) {
      found({
        kind: 'DanglingRef',
        subject: holder,
        message: `${holder} names the commit ${commit}, which is not there`,
        commit,
      });
    } else if (repository.isPartial(commit) && !damaged.has(`${commit}.commit`)) {
      // While it is being pulled, an image's own guard is complete.
      if (holder.startsWith(`${PULL_GUARD_PREFIX}/`)) continue;
      found({
        kind: 'IncompleteCommit',
        subject: holder,
        message: `${holder} names the commit ${commit}, which is marked as partial`,
        commit,
      });
    }
  }
}

/** Local refs as everybody knows them; others with where they are. */
function shortRef(path: string): string {
  return path.startsWith('heads/') ? path.slice('heads/'.length) : path;
}

function reportImages(images: readonly ImageStanding[], found: (problem: Problem) => void): void {
  for (const { holder, mergeCommit, layers } of images) {
    for (const { ref, digest, commit } of layers) {
      if (commit !== undefined) continue;
      found({
        kind: 'MissingLayerRef',
        subject: ref,
        message: `layer ${digest} of the image under ${holder} has no ref ${ref}`,
        commit: mergeCommit,
      });
    }
  }
}
