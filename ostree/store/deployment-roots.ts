/**
 * What the deployments of a sysroot need, read without `ostree admin`, so that a container without it knows as well.
 * Everything that may be a deployment counts as one: a checkout that no boot entry names any more is deleted by the next
 * `ostree admin`, and until then it costs nothing to keep what it was made from.
 *
 * Source: libostree, sysroot layout: `ostree/deploy/STATEROOT/deploy/CHECKSUM.SERIAL{,.origin}`,
 * `/run/ostree/staged-deployment`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageReference, parseOstreeImageReference, RegistryError } from '../../registry/index.ts';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { lookup, lookupString, type VariantDictionary } from '../gvariant/value.ts';
import { decodeDictionary } from '../objects/commit.ts';
import { isChecksum } from '../objects/object-name.ts';
import { parseKeyFile } from '../repository/key-file.ts';

export interface DeploymentRoot {
  /** `STATEROOT/CHECKSUM.SERIAL`, or `staged`. */
  readonly name: string;
  readonly commit: string;
  /** Named by its origin file. */
  readonly image?: ImageReference;
}

const DEPLOYMENT = /^([0-9a-f]{64})\.\d+(\.origin)?$/;
const REFERENCE_KEY = 'container-image-reference';

/**
 * @throws {OstreeError} `InvalidData` for an origin or a staged deployment that cannot be understood: what it needs is
 *   unknown then, so nothing may be deleted.
 */
export function readDeploymentRoots(sysroot: string): readonly DeploymentRoot[] {
  const roots = new Map<string, DeploymentRoot>();
  const deploy = join(sysroot, 'ostree/deploy');
  for (const stateroot of list(deploy)) {
    const directory = join(deploy, stateroot, 'deploy');
    for (const entry of list(directory)) {
      const match = DEPLOYMENT.exec(entry);
      if (match?.[1] === undefined) continue;
      const name = `${stateroot}/${entry.replace(/\.origin$/, '')}`;
      const image = match[2] === undefined ? undefined : readOrigin(join(directory, entry));
      roots.set(name, { ...roots.get(name), name, commit: match[1], ...(image !== undefined && { image }) });
    }
  }
  const staged = readStaged(join(sysroot, 'run/ostree/staged-deployment'));
  if (staged !== undefined) roots.set('staged', { name: 'staged', commit: staged });
  return [...roots.values()];
}

/** The deployments of the sysroot to which the repository belongs, if it belongs to one. */
export function deploymentsOf(repositoryPath: string): readonly DeploymentRoot[] {
  return readDeploymentRoots(join(repositoryPath, '../..'));
}

function readOrigin(path: string): ImageReference | undefined {
  const text = readOptional(path)?.toString() ?? '';
  const reference = parseKeyFile(text).get('origin')?.get(REFERENCE_KEY);
  if (reference === undefined) return undefined;
  try {
    return parseOstreeImageReference(reference).image;
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    throw new OstreeError('InvalidData', `${path} names an image that cannot be understood: ${error.message}`, {
      cause: error,
    });
  }
}

function readStaged(path: string): string | undefined {
  const bytes = readOptional(path);
  if (bytes === undefined) return undefined;
  let target: VariantDictionary | undefined;
  try {
    const found = lookup(decodeDictionary(bytes), 'target');
    target = found?.type === 'a{sv}' ? (found.value as unknown as VariantDictionary) : undefined;
  } catch (error) {
    throw notStaged(path, error);
  }
  const checksum = target === undefined ? undefined : lookupString(target, 'name')?.split('.')[0];
  if (checksum === undefined || !isChecksum(checksum)) throw notStaged(path);
  return checksum;
}

function notStaged(path: string, cause?: unknown): OstreeError {
  return new OstreeError('InvalidData', `${path} cannot be understood, so what is staged is unknown`, { cause });
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return [];
    throw ioError(`list ${path}`, error);
  }
}

function readOptional(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw ioError(`read ${path}`, error);
  }
}
