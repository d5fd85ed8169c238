/**
 * The deployments of a sysroot, read from `ostree admin status` (which of them is booted or staged, and in what order
 * they boot) and from their origin files. The status text has kept its form since libostree 2012.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Deployment } from '../../api/index.ts';
import { parseOrigin } from './origin-file.ts';

/** One deployment line of `ostree admin status`; the first of the list boots next. */
export interface ListedDeployment {
  readonly stateroot: string;
  readonly checksum: string;
  readonly serial: number;
  readonly booted: boolean;
  readonly staged: boolean;
  /** Staged with a lock that the status text shows (libostree 2023.8 and later). */
  readonly locked: boolean;
}

/** What the image metadata of a merge commit says. */
export interface ImageFacts {
  readonly digest: string;
  readonly version?: string;
  /** When the image says it was created. */
  readonly created?: string;
}

/** Reads image metadata from a commit; `undefined` when the commit was not imported from an image. */
export type ReadImageFacts = (checksum: string) => Promise<ImageFacts | undefined>;

const LINE = /^([* ]) (\S+) ([0-9a-f]{64})\.(\d+)(?: \(([^)]*)\))?/;

/** Parses the output of `ostree admin status` of any libostree since 2012; other lines are skipped. */
export function parseAdminStatus(text: string): ListedDeployment[] {
  const found: ListedDeployment[] = [];
  for (const line of text.split('\n')) {
    const [, mark, stateroot, checksum, serial, note = ''] = LINE.exec(line) ?? [];
    if (stateroot === undefined || checksum === undefined) continue;
    const locked = note.includes('finalization locked');
    found.push({
      stateroot,
      checksum,
      serial: Number(serial),
      booted: mark === '*',
      staged: locked || note.includes('staged'),
      locked,
    });
  }
  return found;
}

/** Where libostree keeps the files of a deployment. */
export function deploymentPath(
  sysroot: string,
  { stateroot, checksum, serial }: Pick<ListedDeployment, 'stateroot' | 'checksum' | 'serial'>,
): string {
  return join(sysroot, 'ostree/deploy', stateroot, 'deploy', `${checksum}.${serial}`);
}

/** Where libostree keeps the origin file of a deployment. */
export function originPath(
  sysroot: string,
  deployment: Pick<ListedDeployment, 'stateroot' | 'checksum' | 'serial'>,
): string {
  return `${deploymentPath(sysroot, deployment)}.origin`;
}

/** Completes a listed deployment with its origin and image metadata, in the form that the NodeOS carries. */
export async function describeDeployment(
  sysroot: string,
  listed: Pick<ListedDeployment, 'stateroot' | 'checksum' | 'serial'>,
  readImageFacts: ReadImageFacts,
): Promise<Deployment> {
  const origin = parseOrigin(await readOptional(originPath(sysroot, listed)));
  return describeCommit(listed.checksum, origin.containerImageReference, origin.pinned, readImageFacts);
}

/** As `describeDeployment`, for a commit that is not (yet) deployed. */
export async function describeCommit(
  checksum: string,
  image: string | undefined,
  pinned: boolean,
  readImageFacts: ReadImageFacts,
): Promise<Deployment> {
  const facts = await readImageFacts(checksum);
  return {
    ...(image === undefined ? {} : { image }),
    ...(facts === undefined ? {} : { digest: facts.digest }),
    ...(facts?.version === undefined ? {} : { version: facts.version }),
    ...(facts?.created === undefined ? {} : { created: facts.created }),
    checksum,
    ...(pinned ? { pinned } : {}),
  };
}

/** A file's text, or nothing when there is no such file: `ostree admin deploy` without an origin file writes none. */
async function readOptional(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
