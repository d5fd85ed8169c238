/**
 * What this machine says about registries: registries.conf, credentials, certificates, proxies. Which files, in which
 * order, is in docs/reference/registries.md; the root directory, the environment and the user come from the caller.
 */
import { readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Credentials, parseDockerConfig } from './credentials.ts';
import { reasonOf, RegistryError } from './errors.ts';
import type { RegistryOptions } from './options.ts';
import { proxySettings } from './proxy.ts';
import { type ConfigurationText, parseRegistriesConf, type RegistriesConfiguration } from './registries-conf.ts';

export interface Machine {
  /** Where absolute paths start: `/`, or where the host's root is mounted. */
  readonly root: string;
  readonly environment: NodeJS.ProcessEnv;
  /** 0 reads the system's files only, anybody else their own too. */
  readonly uid: number;
}

export interface HostConfigurationOptions {
  /** Read instead of the machine's credentials. */
  readonly authfile?: string;
  /** No credentials at all. */
  readonly anonymous?: boolean;
}

/**
 * The machine's part of `RegistryOptions`.
 * @throws RegistryError `InvalidConfiguration`, `InvalidCredentials` naming the file.
 */
export async function readHostConfiguration(
  machine: Machine,
  options: HostConfigurationOptions = {},
): Promise<
  Pick<RegistryOptions, 'registries' | 'fallbackCredentials' | 'certificateDirectories' | 'proxies' | 'environment'>
> {
  const credentials = options.anonymous === true ? undefined : await readCredentials(machine, options.authfile);
  return {
    registries: await readRegistriesConf(machine),
    ...(credentials === undefined ? {} : { fallbackCredentials: credentials }),
    certificateDirectories: certificateDirectories(machine),
    proxies: proxySettings(machine.environment),
    environment: machine.environment,
  };
}

/**
 * Reads registries.conf and its drop-ins; without any, names mean what they say.
 * @throws RegistryError `InvalidConfiguration`
 */
export async function readRegistriesConf(machine: Machine): Promise<RegistriesConfiguration> {
  const { root, environment, uid } = machine;
  const system = join(root, 'etc/containers');
  const user = uid === 0 ? undefined : join(homeOf(environment), '.config/containers');
  const named = environment['CONTAINERS_REGISTRIES_CONF'];
  const isNamed = named !== undefined && named !== '';
  const own = user === undefined || isNamed ? undefined : await readOptional(join(user, 'registries.conf'));
  const main = isNamed
    ? { path: named, text: await readRequired(named) }
    : (own ?? (await readOptional(join(system, 'registries.conf'))));
  const directories = [
    // A user with a registries.conf of their own has nothing to do with the system's.
    ...(own === undefined ? [join(system, 'registries.conf.d')] : []),
    ...(user === undefined ? [] : [join(user, 'registries.conf.d')]),
  ];
  const dropIns = (await Promise.all(directories.map(readDropIns))).flat();
  return parseRegistriesConf([...(main === undefined ? [] : [main]), ...dropIns]);
}

/** The files that credentials may be in, in their order; the first that exists is the only one. */
export function authFiles({ root, environment, uid }: Machine): readonly string[] {
  if (uid === 0) {
    return ['run/ostree/auth.json', 'etc/ostree/auth.json', 'usr/lib/ostree/auth.json'].map((path) => join(root, path));
  }
  const runtime = environment['XDG_RUNTIME_DIR'];
  return [
    ...(runtime === undefined || runtime === '' ? [] : [join(runtime, 'ostree/auth.json')]),
    join(homeOf(environment), '.config/ostree/auth.json'),
  ];
}

async function readCredentials(machine: Machine, authfile: string | undefined): Promise<Credentials | undefined> {
  if (authfile !== undefined) return parseCredentials(authfile, await readRequired(authfile));
  for (const path of authFiles(machine)) {
    const file = await readOptional(path);
    if (file !== undefined) return parseCredentials(path, file.text);
  }
  return undefined;
}

function parseCredentials(path: string, text: string): Credentials {
  try {
    return parseDockerConfig(text, true);
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    throw new RegistryError(error.code, `The credentials in ${path} cannot be used: ${error.message}`, error);
  }
}

function certificateDirectories({ root, environment, uid }: Machine): readonly string[] {
  return [
    ...(uid === 0 ? [] : [join(homeOf(environment), '.config/containers/certs.d')]),
    join(root, 'etc/containers/certs.d'),
    join(root, 'etc/docker/certs.d'),
  ];
}

async function readDropIns(directory: string): Promise<readonly ConfigurationText[]> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw unreadable(directory, error);
  }
  const paths = names.filter((name) => name.endsWith('.conf')).sort();
  const files = await Promise.all(paths.map((name) => readOptional(join(directory, name))));
  return files.filter((file) => file !== undefined);
}

async function readOptional(path: string): Promise<ConfigurationText | undefined> {
  try {
    return { path, text: await readFile(path, 'utf8') };
  } catch (error) {
    // A directory of that name is not a file of it, either.
    if (isMissing(error)) return undefined;
    throw unreadable(path, error);
  }
}

async function readRequired(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}

export function homeOf(environment: NodeJS.ProcessEnv): string {
  const home = environment['HOME'];
  return home === undefined || home === '' ? homedir() : home;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(String(error.code));
}

function unreadable(path: string, error: unknown): RegistryError {
  return new RegistryError(
    'InvalidConfiguration',
    `${path} cannot be read (${reasonOf(error)}): check the path and its permissions.`,
    error,
  );
}
