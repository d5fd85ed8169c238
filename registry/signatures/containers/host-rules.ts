/** The signature policy of a machine, from its files. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { homeOf, type Machine } from '../../host-configuration.ts';
import { reasonOf } from '../../errors.ts';
import { SignatureError } from '../errors.ts';
import type { HostRules } from './evaluate.ts';
import { keyReader } from './named-files.ts';
import { parseContainersPolicy } from './policy-document.ts';
import { parseRegistriesD } from './registries-d.ts';

/**
 * Reads `policy.json` and registries.d; the first `policy.json` counts, files of registries.d are joined, and one in a
 * later directory takes the place of one of the same name.
 * @throws SignatureError `InvalidSignaturePolicy`, also when there is no policy.
 */
export async function readHostRules(machine: Machine): Promise<HostRules> {
  const { root } = machine;
  const { path, bytes } = await readPolicy(policyPaths(machine));
  const files = new Map<string, { path: string; text: string }>();
  for (const directory of registriesDirectories(machine)) {
    for (const name of await yamlFiles(directory)) {
      const file = join(directory, name);
      const text = await readOptional(file);
      if (text !== undefined) files.set(name, { path: file, text: text.toString('utf8') });
    }
  }
  return {
    path,
    policy: parseContainersPolicy(bytes, path),
    storage: parseRegistriesD([...files.values()].toSorted((left, right) => (left.path < right.path ? -1 : 1))),
    root,
    readKey: keyReader((file) => readFile(join(root, file))),
  };
}

function policyPaths({ root, environment, uid }: Machine): readonly string[] {
  const named = environment['CONTAINERS_POLICY_JSON'];
  if (named !== undefined && named !== '') return [named];
  const own = uid === 0 ? [] : [join(homeOf(environment), '.config/containers/policy.json')];
  return [...own, join(root, 'etc/containers/policy.json'), join(root, 'usr/share/containers/policy.json')];
}

function registriesDirectories({ root, environment, uid }: Machine): readonly string[] {
  const own = join(homeOf(environment), '.config/containers/registries.d');
  const system = ['usr/share/containers/registries.d', 'etc/containers/registries.d'].map((path) => join(root, path));
  return uid === 0 ? system : [...system, own];
}

async function readPolicy(paths: readonly string[]): Promise<{ path: string; bytes: Buffer }> {
  for (const path of paths) {
    const bytes = await readOptional(path);
    if (bytes !== undefined) return { path, bytes };
  }
  throw new SignatureError(
    'InvalidSignaturePolicy',
    `There is no signature policy (${paths.join(', ')}), and the image must satisfy one: write it, see containers-policy.json(5).`,
  );
}

async function yamlFiles(directory: string): Promise<readonly string[]> {
  try {
    return (await readdir(directory)).filter((name) => name.endsWith('.yaml')).sort();
  } catch (cause) {
    if (isMissing(cause)) return [];
    throw unreadable(directory, cause);
  }
}

async function readOptional(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw unreadable(path, cause);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

function unreadable(path: string, cause: unknown): SignatureError {
  return new SignatureError(
    'InvalidSignaturePolicy',
    `${path} cannot be read (${reasonOf(cause)}); until it can be no image passes.`,
    { cause },
  );
}
