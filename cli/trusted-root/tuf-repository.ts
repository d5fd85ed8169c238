/** The trusted root of a sigstore from its TUF repository, fetched and verified with the sigstore project's own client. */
import { randomBytes } from 'node:crypto';
import { copyFile, glob, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { initTUF } from '@sigstore/tuf';
import { digestOf } from '../../registry/index.ts';
import { useTrustedRoot } from '../../registry/signatures/index.ts';
import { CliError, sentenceOf } from '../errors.ts';
import { refusalOf, TrustedRootError } from './errors.ts';
import { connected, type MirrorSettings } from './mirror-connection.ts';

const TARGET = 'trusted_root.json';
/** For one file, its body included. */
const REQUEST_TIMEOUT_MS = 15_000;
/** For everything: each new version of root.json is a file of its own, and there may be hundreds. */
const DEADLINE_MS = 300_000;
/** What the client keeps of a repository: the latest of root, timestamp, snapshot and targets. */
const METADATA = '*/*.json';

export interface TufRequest extends Omit<MirrorSettings, 'url'> {
  /** URL without a slash at its end. */
  readonly mirror: string;
  /** Path of the root.json to start from; without one, that of the public sigstore, which the library brings along. */
  readonly root?: string | undefined;
  /** Folder that remembers from one time to the next what a repository said, so that less is noticed. */
  readonly cache: string;
}

/**
 * The text of the repository's trusted_root.json, with line breaks and all as it is there.
 * Throws TrustedRootError, CliError `FileUnreadable`, `FileUnwritable` or `InvalidFile`, and SignatureError when what the
 * repository vouches for is no trusted root that a policy could pin.
 */
export async function fetchTrustedRoot(request: TufRequest): Promise<string> {
  const { mirror, cache } = request;
  const root = request.root === undefined ? undefined : await rootFile(request.root);
  // Metadata that another root.json vouched for must not speak for this one.
  const memory = join(cache, root === undefined ? 'sigstore' : digestOf(root).replace(':', '-'));
  const scratch = await mkdtemp(join(tmpdir(), 'treeline-tuf-'));
  try {
    const remembered = await remembering(memory, async () => {
      await mkdir(memory, { recursive: true });
      return await copyMetadata(memory, scratch);
    });
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(DEADLINE_MS)]);
    try {
      const text = await connected({ ...request, url: new URL(mirror), signal }, async (requests) => {
        try {
          const rootPath = root === undefined ? {} : { rootPath: await placed(root, scratch) };
          const options = { mirrorURL: mirror, cachePath: scratch, timeout: REQUEST_TIMEOUT_MS, ...rootPath };
          return await (await initTUF(options)).getTarget(TARGET);
        } catch (cause) {
          request.signal.throwIfAborted();
          if (requests.failure !== undefined) throw unreachable(mirror, requests.failure, cause);
          if (requests.count > 0) throw refusalOf(cause, mirror);
          throw remembered ? damaged(memory, cause) : invalidRoot(request.root, cause);
        }
      });
      return useTrustedRoot(text, mirror, () => text);
    } finally {
      // Also when it ended badly: the client keeps nothing that was not signed, and an attack must not undo what is known.
      await remembering(memory, async () => await copyMetadata(scratch, memory));
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function rootFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new CliError('FileUnreadable', `${path} cannot be read: ${sentenceOf(cause)}`, { cause });
  }
}

async function placed(root: Buffer, folder: string): Promise<string> {
  const path = join(folder, 'root.json');
  await writeFile(path, root);
  return path;
}

async function remembering<T>(memory: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new CliError(
      'FileUnwritable',
      `What TUF repositories said cannot be kept in ${memory}: ${sentenceOf(cause)} Name another folder with --cache.`,
      { cause },
    );
  }
}

/** Each file in one step, since the client itself writes in place: a kill leaves the old one or the new. */
async function copyMetadata(from: string, to: string): Promise<boolean> {
  let found = false;
  for await (const path of glob(METADATA, { cwd: from })) {
    const target = join(to, path);
    await mkdir(dirname(target), { recursive: true });
    const temporary = `${target}.${randomBytes(6).toString('hex')}`;
    await copyFile(join(from, path), temporary);
    await rename(temporary, target);
    found = true;
  }
  return found;
}

function unreachable(mirror: string, reason: string, cause: unknown): TrustedRootError {
  return new TrustedRootError(
    'MirrorUnreachable',
    `The TUF repository ${mirror} cannot be asked (${reason}): check the URL, the proxy variables and its certificate, or ask another mirror. What is pinned stays as good as it was.`,
    { cause },
  );
}

function invalidRoot(path: string | undefined, cause: unknown): CliError {
  return new CliError(
    'InvalidFile',
    `${path ?? 'The root.json of the library'} is no root.json of a TUF repository, signed by its own keys: ${sentenceOf(cause)}`,
    { cause },
  );
}

function damaged(memory: string, cause: unknown): CliError {
  return new CliError('InvalidFile', `${memory} is damaged: delete it. ${sentenceOf(cause)}`, { cause });
}
