/**
 * The directory in which a transaction collects its objects, with the lock that says that it is in use. Locked as libostree
 * does it, and named so that libostree takes ours for those of another boot: it deletes what is left of them, and never goes on
 * with it. Those of its own of this boot it does go on with, so we leave them alone.
 *
 * Source: libostree, repository: `tmp/staging-BOOTID-XXXXXX`.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, systemErrorCode } from '../errors.ts';
import { tryLock } from '../posix/file-lock.ts';

const PREFIX = 'staging-';
/** Where libostree has the identity of the boot. */
const OWN_PREFIX = `${PREFIX}treeline-`;
const LOCK_SUFFIX = '-lock';

export interface StagingDirectory {
  readonly path: string;
  /** Deletes the directory with all that is still in it, and lets go of it. */
  remove(): Promise<void>;
  /** Lets go of it as it is: the next writer deletes it. */
  release(): void;
}

/** Identifies this boot: what an earlier one staged may never have reached the disk. random(4). */
function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/**
 * Makes a new staging directory, and deletes those that nobody uses any more. What a killed writer has staged is not taken
 * over: a name says that an object was complete in memory, not that the disk has it.
 */
export async function acquireStagingDirectory(repository: string): Promise<StagingDirectory> {
  await deleteAbandonedStaging(repository);
  return createStagingDirectory(repository);
}

/** Deletes the staging directories that nobody uses any more, nor will. */
export async function deleteAbandonedStaging(repository: string): Promise<void> {
  const tmp = join(repository, 'tmp');
  try {
    for (const name of abandonable(tmp)) {
      const staging = tryAcquire(join(tmp, name));
      await staging?.remove().catch((error: unknown) => {
        if (!isEmptyButKept(error)) throw error;
      });
    }
  } catch (error) {
    throw ioError(`tidy up ${tmp}`, error);
  }
}

/**
 * Whether the file system refuses to delete a directory of which everything has been deleted: seen on btrfs after a power
 * cut. What stays is tried again by the next writer, and must not be in the way of every pull until then.
 */
function isEmptyButKept(error: unknown): boolean {
  return error instanceof Error && systemErrorCode(error.cause) === 'ENOTEMPTY';
}

/** A staging directory of one's own. */
export function createStagingDirectory(repository: string): StagingDirectory {
  const tmp = join(repository, 'tmp');
  try {
    for (;;) {
      const staging = tryAcquire(mkdtempSync(join(tmp, OWN_PREFIX)));
      if (staging !== undefined) return staging;
    }
  } catch (error) {
    throw ioError(`create a directory in ${tmp}`, error);
  }
}

/**
 * Has `work` write into a directory that goes away afterwards, or with the next writer if this one is killed. What is to
 * stay is renamed out of it by `work`. @throws OstreeError
 */
export function inStagingDirectory(repository: string, work: (directory: string) => void): void {
  const staging = createStagingDirectory(repository);
  try {
    work(staging.path);
  } finally {
    rmSync(staging.path, { recursive: true, force: true });
    rmSync(`${staging.path}${LOCK_SUFFIX}`, { force: true });
    staging.release();
  }
}

/** Our staging directories and those of other boots, in use or not, and those of which a killed writer has deleted all but the lock. */
function abandonable(tmp: string): ReadonlySet<string> {
  const staging = readdirSync(tmp).filter((name) => name.startsWith(PREFIX));
  if (staging.length === 0) return new Set();
  const resumable = `${PREFIX}${readBootId()}-`;
  return new Set(
    staging
      .filter((name) => !name.startsWith(resumable))
      .map((name) => (name.endsWith(LOCK_SUFFIX) ? name.slice(0, -LOCK_SUFFIX.length) : name)),
  );
}

function tryAcquire(path: string): StagingDirectory | undefined {
  const lockPath = `${path}${LOCK_SUFFIX}`;
  const fd = openSync(lockPath, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o660);
  try {
    // Between our look and our lock, the owner may have finished and deleted both.
    if (tryLock(fd, 'exclusive') && fstatSync(fd).nlink > 0) {
      if (existsSync(path)) return held(path, lockPath, fd);
      rmSync(lockPath, { force: true });
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}

function held(path: string, lockPath: string, fd: number): StagingDirectory {
  let open = true;
  const release = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  return {
    path,
    release,
    remove: async () => {
      try {
        await rm(path, { recursive: true, force: true });
        rmSync(lockPath, { force: true });
      } catch (error) {
        throw ioError(`delete ${path}`, error);
      } finally {
        release();
      }
    },
  };
}
