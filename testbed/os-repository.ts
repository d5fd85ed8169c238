/** An operating system as the testbed makes it: two versions of one tree in an OSTree repository of its own. */
import { runCommand } from '../tools/setup/command.ts';

export interface OSRepository {
  /** Path of the OSTree repository. */
  readonly path: string;
  /** Name of the system: the last part of its image's name, and its stateroot on a node. */
  readonly name: string;
  /** Branches that hold the versions. */
  readonly branches: { readonly 1: string; readonly 2: string };
}

/** One time stamp for all commits: the same tree gives the same commit on every machine. */
const COMMIT_TIMESTAMP = '2026-01-01T00:00:00Z';

/** An empty repository of mode `bare`, as hosts have; needs root, because it keeps owners and attributes. */
export async function initialiseRepository(path: string): Promise<void> {
  await runCommand('ostree', ['init', `--repo=${path}`, '--mode=bare']);
  // Made anew when lost: not worth waiting for the disk.
  await runCommand('ostree', ['config', `--repo=${path}`, 'set', 'core.fsync', 'false']);
}

/** Commits a directory as a bootable tree. `--bootable` finds the kernel and fails when there is none (ostree-commit(1)). */
export async function commitTree(repository: string, branch: string, tree: string, version: string): Promise<void> {
  await runCommand('ostree', [
    'commit',
    `--repo=${repository}`,
    `--branch=${branch}`,
    `--tree=dir=${tree}`,
    `--subject=Version ${version}`,
    `--add-metadata-string=version=${version}`,
    `--timestamp=${COMMIT_TIMESTAMP}`,
    '--bootable',
  ]);
}
