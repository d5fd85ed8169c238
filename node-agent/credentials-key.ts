/**
 * The key for which the operator seals this node's pull credentials. It lies in `/var` of the host, so that a pull that was
 * cut off, or a new operating system, needs nobody to seal them anew; it is worth no more than the pull Secret of the node's
 * order, and a lost one is simply replaced.
 */
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import * as z from 'zod';
import { CredentialsKey, SEED_BYTES } from '../sealing/sealed-credentials.ts';
import { messageOf } from './errors.ts';

/** Below the host's root. */
export const CREDENTIALS_KEY_FILE = 'var/lib/treeline/credentials-key';

const READABLE_BY_OTHERS = 0o077;
const MAX_BYTES = 4096;

const fileSchema = z.strictObject({ node: z.string(), seed: z.base64().length(Math.ceil(SEED_BYTES / 3) * 4) });

export interface CredentialsKeyOptions {
  readonly sysroot: string;
  readonly nodeName: string;
  /** That many random bytes. */
  readonly randomBytes: (count: number) => Buffer<ArrayBuffer>;
  readonly log: Logger;
}

/**
 * The key of this node: the one in its file, or a new one that is now in it. Never throws: where the file cannot be
 * written, the key lasts as long as this process.
 */
export async function loadCredentialsKey(options: CredentialsKeyOptions): Promise<CredentialsKey> {
  const { sysroot, nodeName, randomBytes, log } = options;
  const path = join(sysroot, CREDENTIALS_KEY_FILE);
  try {
    return await CredentialsKey.from(await readSeed(path, nodeName));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn(
        { path, error: messageOf(error) },
        'the key for pull credentials cannot be used: a new one takes its place',
      );
  }
  const seed = randomBytes(SEED_BYTES);
  const key = await CredentialsKey.from(seed);
  try {
    await writeSeed(path, nodeName, seed);
    log.info({ path, publicKey: key.publicKey }, 'a new key for pull credentials was made');
  } catch (error) {
    log.warn(
      { path, error: messageOf(error) },
      'the key for pull credentials cannot be kept: the next start makes another',
    );
  }
  return key;
}

async function readSeed(path: string, nodeName: string): Promise<Buffer<ArrayBuffer>> {
  await using file = await open(path);
  const { mode, uid, size } = await file.stat();
  if ((mode & READABLE_BY_OTHERS) !== 0) throw new Error('others than its owner may have read it');
  if (uid !== process.geteuid?.()) throw new Error(`it belongs to user ${uid}`);
  if (size > MAX_BYTES) throw new Error(`it has ${size} bytes`);
  const { node, seed } = fileSchema.parse(parseJson(await file.readFile('utf8')));
  // A disk that was copied to another machine: two nodes with one key could read each other's credentials.
  if (node !== nodeName) throw new Error(`it was made for node ${node}, and this is ${nodeName}`);
  return Buffer.from(seed, 'base64');
}

/** Parsers quote what they cannot read. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
}

/** The file is the old or the new one at every instant, also after a power cut. */
async function writeSeed(path: string, node: string, seed: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.new`;
  {
    await using file = await open(next, 'w', 0o600);
    // One that a crash has left keeps its mode otherwise.
    await file.chmod(0o600);
    await file.writeFile(JSON.stringify({ node, seed: seed.toString('base64') }));
    await file.sync();
  }
  await rename(next, path);
  await using folder = await open(dirname(path));
  await folder.sync();
}
