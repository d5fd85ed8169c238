/** The keys of an ostree remote, from the files of a machine and of its repository. Source: ostree-repo-config(5). */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readGpgKeys, SignatureError } from '../../registry/signatures/index.ts';
import { keyFileBoolean, type KeyFile, parseKeyFile } from '../repository/key-file.ts';
import type { RemoteKeys } from './commit-signature.ts';

/** DER of an Ed25519 public key, but the key itself (RFC 8410). */
const ED25519_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * Reads `[remote "NAME"]` of the repository's config or of a file below `/etc/ostree/remotes.d`, and the keys that it asks for.
 * @param root where absolute paths start.
 * @throws SignatureError `InvalidSignaturePolicy` when there is no such remote, or it asks for no signature; `InvalidKey`
 */
export async function readRemoteKeys(name: string, repository: string, root: string): Promise<RemoteKeys> {
  const group = `remote "${name}"`;
  const files = [join(repository, 'config'), ...(await listed(join(root, 'etc/ostree/remotes.d'), /\.conf$/))];
  const parsed = await Promise.all(
    files.map(async (file) => parseKeyFile((await optional(file))?.toString('utf8') ?? '')),
  );
  const config = parsed.find((file) => file.has(group));
  if (config === undefined)
    throw invalid(name, 'is not configured here: add it with "ostree remote add", or use another reference');
  const gpg = keyFileBoolean(config, group, 'gpg-verify', true);
  const sign = config.get(group)?.get('sign-verify') ?? 'false';
  const ed25519 = sign === 'true' || sign.split(';').includes('ed25519');
  if (!ed25519 && sign !== 'false')
    throw invalid(name, `asks for signatures of kind ${sign}, which Treeline cannot judge`);
  if (!gpg && !ed25519)
    throw invalid(
      name,
      'asks for no signature (gpg-verify and sign-verify are false), so that it can vouch for nothing',
    );
  return {
    name,
    ...(gpg && { gpg: await readGpgKeys(await gpgFiles(name, config, group, repository, root)) }),
    ...(ed25519 && { ed25519: await ed25519Keys(name, config, group, root) }),
  };
}

/** Those of the remote itself; only if it has none, those that are trusted for every remote. */
async function gpgFiles(name: string, config: KeyFile, group: string, repository: string, root: string) {
  const own = [join(repository, `${name}.trustedkeys.gpg`)];
  for (const path of (config.get(group)?.get('gpgkeypath') ?? '').split(/[;,]/).filter((one) => one !== '')) {
    const at = join(root, path);
    own.push(...((await isDirectory(at)) ? await listed(at, /\.(gpg|asc)$/) : [at]));
  }
  const mine = await existing(own);
  const found =
    mine.length > 0 ? mine : await existing(await listed(join(root, 'usr/share/ostree/trusted.gpg.d'), /\.(gpg|asc)$/));
  if (found.length === 0)
    throw invalid(name, 'asks for a GPG signature and has no key: import one with "ostree remote gpg-import"');
  return found;
}

async function ed25519Keys(name: string, config: KeyFile, group: string, root: string): Promise<readonly KeyObject[]> {
  const remote = config.get(group);
  const texts = [remote?.get('verification-ed25519-key') ?? ''];
  const file = remote?.get('verification-ed25519-file');
  if (file !== undefined) {
    const content = await optional(join(root, file));
    if (content === undefined) throw invalid(name, `names the key file ${file}, which is not there`);
    texts.push(...content.toString('utf8').split('\n'));
  }
  const keys = texts.map((text) => text.trim()).filter((text) => text !== '');
  if (keys.length === 0) throw invalid(name, 'asks for an Ed25519 signature and has no key (verification-ed25519-key)');
  return keys.map((text) => {
    const raw = Buffer.from(text, 'base64');
    if (raw.length !== 32)
      throw new SignatureError(
        'InvalidKey',
        `The ostree remote ${name} has an Ed25519 key that is not 32 bytes in base64: correct it.`,
      );
    return createPublicKey({ key: Buffer.concat([ED25519_PREFIX, raw]), format: 'der', type: 'spki' });
  });
}

async function existing(paths: readonly string[]): Promise<readonly { where: string; bytes: Buffer }[]> {
  const files = await Promise.all(paths.map(async (where) => ({ where, bytes: await optional(where) })));
  return files.flatMap(({ where, bytes }) => (bytes === undefined ? [] : [{ where, bytes }]));
}

async function listed(directory: string, names: RegExp): Promise<readonly string[]> {
  return (await missingAs(readdir(directory), []))
    .filter((name) => names.test(name))
    .sort()
    .map((name) => join(directory, name));
}

async function optional(path: string): Promise<Buffer | undefined> {
  return await missingAs<Buffer | undefined>(readFile(path), undefined);
}

async function isDirectory(path: string): Promise<boolean> {
  return await missingAs(
    stat(path).then((found) => found.isDirectory()),
    false,
  );
}

async function missingAs<T>(reading: Promise<T>, fallback: T): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR'))
      return fallback;
    throw cause;
  }
}

function invalid(name: string, problem: string): SignatureError {
  return new SignatureError('InvalidSignaturePolicy', `The ostree remote ${name} ${problem}.`);
}
