/** Refs on disk: files under `refs/` that hold one checksum and a newline. ostree-refs(1). */
import {
  type Dirent,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { assertChecksum, isChecksum } from '../objects/object-name.ts';
import { syncDirectory } from '../posix/sync.ts';
import { assertRefName } from './ref-name.ts';

/** `refs/heads/<name>`, or `refs/remotes/<remote>/<name>` for `remote:name`. */
function refPath(repository: string, refspec: string): string {
  const [first = '', second] = refspec.split(':', 2);
  assertRefName(second ?? first);
  if (second === undefined) return join(repository, 'refs/heads', first);
  assertRefName(first);
  return join(repository, 'refs/remotes', first, second);
}

/** The checksum that a ref holds, or undefined if there is no such ref. Throws CorruptObject if it holds anything else. */
export function readRef(repository: string, name: string): string | undefined {
  const path = refPath(repository, name);
  const checksum = readChecksum(path);
  if (checksum === null) throw invalidRef(repository, path);
  return checksum;
}

/** The same, for those to whom a ref that holds anything else is as good as none. */
export function findRef(repository: string, name: string): string | undefined {
  return readChecksum(refPath(repository, name)) ?? undefined;
}

/** What a file in `refs` holds: null if that is no checksum, undefined if there is no such file, or not any more. */
function readChecksum(path: string): string | null | undefined {
  try {
    const text = readFileSync(path, 'latin1').trimEnd();
    return isChecksum(text) ? text : null;
  } catch (error) {
    if (['ENOENT', 'EISDIR', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw ioError(`read the ref ${path}`, error);
  }
}

function invalidRef(repository: string, path: string): OstreeError {
  return new OstreeError(
    'CorruptObject',
    `the ref ${path} holds no checksum, so that nobody knows what it needs; ` +
      `\`treeline fsck --repo ${repository} --repair\` deletes it if it is of the container store, others delete by hand`,
  );
}

/**
 * All local refs whose name is `prefix` or lies under it, sorted by name. `onInvalid` gets those that hold no checksum.
 *
 * @throws {OstreeError} without it, `CorruptObject` for one of them: who deletes must not guess what they mean
 */
export function listRefs(
  repository: string,
  prefix = '',
  onInvalid?: (name: string) => void,
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const visit = (name: string): void => {
    let entries;
    try {
      entries = readdirSync(join(repository, 'refs/heads', name), { withFileTypes: true });
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === 'ENOENT') return;
      if (code !== 'ENOTDIR') throw ioError(`list the refs of ${repository}`, error);
      addRef(name);
      return;
    }
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const child = name === '' ? entry.name : `${name}/${entry.name}`;
      if (entry.isDirectory()) visit(child);
      else if (entry.isFile()) addRef(child);
    }
  };
  const addRef = (name: string): void => {
    // A ref that vanishes while we look, or a temporary file of another tool, is no ref.
    if (!isRefName(name)) return;
    const path = join(repository, 'refs/heads', name);
    const checksum = readChecksum(path);
    if (checksum === null && onInvalid === undefined) throw invalidRef(repository, path);
    if (checksum === null) onInvalid?.(name);
    else if (checksum !== undefined) found.set(name, checksum);
  };
  if (prefix !== '') assertRefName(prefix);
  visit(prefix);
  return found;
}

function isRefName(name: string): boolean {
  try {
    assertRefName(name);
    return true;
  } catch (error) {
    if (error instanceof OstreeError) return false;
    throw error;
  }
}

/** A ref that is written out and only has to be given its name. */
export interface StagedRef {
  /** Points the ref at its checksum, atomically; durable once the directories on the way to it are. */
  publish(): void;
  /** Makes the name durable. */
  sync(): Promise<void>;
}

/**
 * Writes a ref under a temporary name. To survive a power cut, its content has to reach the disk before `publish`.
 *
 * @param staging a directory of the caller's own, on the repository's file system, that is deleted if it is killed
 */
export function stageRef(
  repository: string,
  staging: string,
  name: string,
  checksum: string,
  flush: boolean,
): StagedRef {
  assertChecksum(checksum);
  const path = refPath(repository, name);
  const temporary = join(staging, `ref-${randomBytes(8).toString('hex')}`);
  const attempt = <Result>(act: () => Result): Result => {
    try {
      return act();
    } catch (error) {
      throw refError(name, error);
    }
  };
  const firstMade = attempt(() => {
    writeFileSync(temporary, `${checksum}\n`, { flag: 'wx', mode: 0o644, flush });
    return mkdirSync(dirname(path), { recursive: true });
  });
  return {
    publish: () => attempt(() => renameSync(temporary, path)),
    sync: async () => {
      await syncDirectory(dirname(path));
      await syncParents(dirname(path), firstMade);
    },
  };
}

/** Points a ref at a checksum, atomically and, unless `durable` is false, surviving a power cut. `staging` as above. */
export async function writeRef(
  repository: string,
  staging: string,
  name: string,
  checksum: string,
  durable = true,
): Promise<void> {
  const ref = stageRef(repository, staging, name, checksum, durable);
  ref.publish();
  if (durable) await ref.sync();
}

function refError(name: string, error: unknown): OstreeError {
  const code = systemErrorCode(error);
  if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'EISDIR' || code === 'ENOTEMPTY') {
    return new OstreeError('InvalidRef', `The ref ${name} collides with another ref of which one is a directory`, {
      cause: error,
    });
  }
  return ioError(`write the ref ${name}`, error);
}

/** A directory that was made is found again only if its parent remembers it. */
async function syncParents(directory: string, firstMade: string | undefined): Promise<void> {
  if (firstMade === undefined) return;
  for (let made = directory; made.length >= firstMade.length; made = dirname(made)) await syncDirectory(dirname(made));
}

/** Deletes a ref, for good unless `durable` is false: what it kept may be deleted next. Returns whether it was there. */
export async function removeRef(repository: string, name: string, durable = true): Promise<boolean> {
  const found = deleteRef(repository, name);
  if (found && durable) await syncDirectory(dirname(refPath(repository, name)));
  return found;
}

/** Deletes a ref. Returns whether it was there. */
export function deleteRef(repository: string, name: string): boolean {
  try {
    rmSync(refPath(repository, name));
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return false;
    throw ioError(`delete the ref ${name}`, error);
  }
}

/** libostree's daemons notice a change of refs by the modification time of the repository's directory. */
export function announceChange(repository: string, now: Date): void {
  utimesSync(repository, now, now);
}

/**
 * Every ref below `refs/`, by its path there: `heads/…`, `remotes/REMOTE/…`, `mirrors/COLLECTION/…`. `onInvalid` gets the
 * paths of those that hold no checksum.
 *
 * @throws {OstreeError} without it, `CorruptObject` for one of them, as `listRefs`
 */
export function listAllRefs(repository: string, onInvalid?: (path: string) => void): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const visit = (path: string): void => {
    for (const entry of readdirIfThere(join(repository, 'refs', path))) {
      const child = path === '' ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(child);
      else {
        const checksum = readChecksum(join(repository, 'refs', child));
        if (typeof checksum === 'string') found.set(child, checksum);
        // A temporary file of another tool is no ref.
        if (checksum !== null || !isRefName(child)) continue;
        if (onInvalid === undefined) throw invalidRef(repository, join(repository, 'refs', child));
        onInvalid(child);
      }
    }
  };
  visit('');
  return found;
}

function readdirIfThere(path: string): readonly Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw ioError(`list the refs in ${path}`, error);
  }
}
