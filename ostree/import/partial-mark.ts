/**
 * Remembers which layers were put together from parts, and under which diff-id.
 *
 * A layer's ref says that the repository has the layer of that digest, and other images reuse it by that name. Of a layer
 * that was not fetched whole the digest was not computed: what was verified is the diff-id that its image's config has.
 * So it is the layer of that name only to an image that says the same diff-id.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ioError, systemErrorCode } from '../errors.ts';
import { syncDirectory } from '../posix/sync.ts';
import type { Repository } from '../repository/repository.ts';

/** Beside libostree's own marks of commits; it leaves alone what it does not know there. */
const FOLDER = 'state/treeline-partial-layers';

/** The diff-id under which the layer was put together; undefined when it was not, or was fetched whole since. */
export function readPartialMark(repository: Repository, digest: string): string | undefined {
  try {
    return readFileSync(markPath(repository, digest), 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw ioError(`read the mark of layer ${digest}`, error);
  }
}

/** Durable when it returns: it must be there before the layer's ref can be. */
export async function writePartialMark(
  repository: Repository,
  digest: string,
  diffId: string,
  signal: AbortSignal,
): Promise<void> {
  // Whoever deletes what killed pulls have left half-written must not take this for it.
  using _lock = await repository.lock('shared', { signal });
  const path = markPath(repository, digest);
  const folder = join(repository.path, FOLDER);
  try {
    mkdirSync(folder, { recursive: true });
    // A name of its own: another pull may be marking the same layer.
    const temporary = `${path}.${randomUUID()}`;
    writeFileSync(temporary, diffId, { flush: true });
    renameSync(temporary, path);
    await syncDirectory(folder);
  } catch (error) {
    throw ioError(`mark layer ${digest}`, error);
  }
}

/** To be called when the layer's ref is gone, or is that of a layer which was fetched whole. */
export function clearPartialMark(repository: Repository, digest: string): void {
  try {
    rmSync(markPath(repository, digest), { force: true });
  } catch (error) {
    throw ioError(`remove the mark of layer ${digest}`, error);
  }
}

/** The digests of all layers that are marked. */
export function listPartialMarks(repository: Repository): readonly string[] {
  return namesIn(repository)
    .filter(isMark)
    .map((name) => `sha256:${name}`);
}

/** Deletes marks that killed pulls have left half-written. Only under the repository's exclusive lock: nobody writes one then. */
export function dropUnfinishedMarks(repository: Repository): void {
  for (const name of namesIn(repository)) {
    if (isMark(name)) continue;
    try {
      rmSync(join(repository.path, FOLDER, name), { force: true });
    } catch (error) {
      throw ioError(`delete the unfinished mark ${name}`, error);
    }
  }
}

function namesIn(repository: Repository): readonly string[] {
  try {
    return readdirSync(join(repository.path, FOLDER));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw ioError('list the marks of layers', error);
  }
}

function isMark(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

function markPath(repository: Repository, digest: string): string {
  return join(repository.path, FOLDER, digest.replace(/^sha256:/, '').replaceAll('/', '_'));
}
