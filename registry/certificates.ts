/** The certificates for one registry host, see containers-certs.d(5). */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { printable, reasonOf, RegistryError } from './errors.ts';

export interface HostCertificates {
  /** PEM: trusted beside the system's. */
  readonly authorities: readonly string[];
  /** PEM, pairwise: sent to a host that asks for a client certificate. */
  readonly clients: readonly { readonly certificate: string; readonly key: string }[];
}

/**
 * Reads `*.crt` (authorities) and `*.cert` with their `*.key` (client certificates) of `directory`.
 * @returns undefined when there is no such directory.
 * @throws RegistryError `InvalidConfiguration`
 */
export async function readCertificates(directory: string): Promise<HostCertificates | undefined> {
  try {
    const names = (await readdir(directory)).sort();
    const read = (name: string): Promise<string> => readFile(join(directory, name), 'utf8');
    const authorities = await Promise.all(names.filter((name) => name.endsWith('.crt')).map(read));
    const clients = await Promise.all(
      names
        .filter((name) => name.endsWith('.cert'))
        .map(async (name) => {
          const keyName = name.replace(/\.cert$/, '.key');
          if (!names.includes(keyName))
            throw invalid(directory, `has ${printable(name)} without ${printable(keyName)}`);
          return { certificate: await read(name), key: await read(keyName) };
        }),
    );
    const orphan = names.find((name) => name.endsWith('.key') && !names.includes(name.replace(/\.key$/, '.cert')));
    if (orphan !== undefined)
      throw invalid(directory, `has ${printable(orphan)} without ${printable(orphan.replace(/\.key$/, '.cert'))}`);
    return { authorities, clients };
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    if (error instanceof RegistryError) throw error;
    throw invalid(directory, `cannot be read (${reasonOf(error)})`, error);
  }
}

/**
 * Finds the certificates of a host in the first of `parents` that has a directory of its name, in any of its spellings.
 * @throws RegistryError `InvalidConfiguration`
 */
export async function findCertificates(
  parents: readonly string[],
  spellings: readonly string[],
): Promise<HostCertificates | undefined> {
  // A host comes from an image's name or from a redirect; it must not lead out of the directory.
  const names = spellings.filter((name) => /^[^/]+$/.test(name) && !name.startsWith('.'));
  for (const parent of parents) {
    for (const name of names) {
      const found = await readCertificates(join(parent, name));
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function invalid(directory: string, problem: string, cause?: unknown): RegistryError {
  return new RegistryError(
    'InvalidConfiguration',
    `The certificate directory ${directory} ${problem}: correct it, see containers-certs.d(5).`,
    cause,
  );
}
