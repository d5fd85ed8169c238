/**
 * Where registry credentials come from when no `--authfile` names one: the same files, in the same order, as the
 * ostree-container tools read. The first file that exists wins; files are not merged.
 */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Credentials, parseDockerConfig } from '../registry/index.ts';
import { CliError, sentenceOf } from './errors.ts';

/** Files that are looked at, in order. `root` is where absolute paths start, for tests. */
export function authFileCandidates(environment: NodeJS.ProcessEnv, uid: number, root = '/'): string[] {
  if (uid === 0) {
    return ['run/ostree/auth.json', 'etc/ostree/auth.json', 'usr/lib/ostree/auth.json'].map((path) => join(root, path));
  }
  const runtime = environment['XDG_RUNTIME_DIR'];
  return [
    ...(runtime === undefined ? [] : [join(runtime, 'ostree/auth.json')]),
    join(environment['HOME'] ?? homedir(), '.config/ostree/auth.json'),
  ];
}

/** Credentials from `authfile`, or from the first candidate that exists, or none. Throws CliError `FileUnreadable`. */
export async function loadCredentials(
  authfile: string | undefined,
  candidates: readonly string[],
): Promise<Credentials | undefined> {
  if (authfile !== undefined) return read(authfile, false);
  for (const path of candidates) {
    const found = await read(path, true);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function read(path: string, optional: boolean): Promise<Credentials | undefined> {
  try {
    return parseDockerConfig(await readFile(path, 'utf8'));
  } catch (cause) {
    if (optional && cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new CliError('FileUnreadable', `The credentials in ${path} cannot be used: ${sentenceOf(cause)}`, { cause });
  }
}
