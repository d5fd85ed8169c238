/**
 * Everything that takes long to make is kept outside the tree, under names that contain a hash of what it was made
 * from, so that a checkout can be thrown away and two checkouts with different pins do not disturb each other.
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** `$TREELINE_CACHE_DIR`, else `treeline` in the XDG cache directory. `tools/bootstrap.mjs` follows the same rule. */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  const own = environment['TREELINE_CACHE_DIR'];
  if (own !== undefined && own !== '') return resolve(own);
  const shared = environment['XDG_CACHE_HOME'];
  return join(shared !== undefined && shared !== '' ? shared : join(homedir(), '.cache'), 'treeline');
}

/** A folder below the cache directory, made if it is not there yet. */
export async function ensureCacheFolder(...names: readonly string[]): Promise<string> {
  const path = join(cacheDirectory(), ...names);
  await mkdir(path, { recursive: true });
  return path;
}

/** 16 hex digits that change when any of the inputs changes. */
export function cacheKey(inputs: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const input of inputs)
    hash
      .update(String(Buffer.byteLength(input)))
      .update('\0')
      .update(input);
  return hash.digest('hex').slice(0, 16);
}
