/** Puts the operating system of an image on an empty disk, in the order that keeps half an installation from starting. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CommandRunner } from '../../node-agent/host/command.ts';
import { formatOrigin, imageArguments, OstreeTool } from '../../node-agent/index.ts';
import type { PulledImage } from '../../ostree/index.ts';
import { formatOstreeImageReference, type OstreeImageReference } from '../../registry/index.ts';
import type { Output } from '../output.ts';
import { pullFor, type PullRequest } from '../pull.ts';
import { installBootLoader, prepareBootLoader, writeBootCode } from './boot-loader.ts';
import { type DiskLayout, partitionScript } from './disk-layout.ts';
import { makeFileSystems, withMounted } from './file-systems.ts';
import { addBootMount, addRootKeys } from './first-deployment.ts';

export interface Installation {
  readonly disk: string;
  readonly layout: DiskLayout;
  /** What is pulled. */
  readonly pull: Omit<PullRequest, 'repository'>;
  /** What the host follows from then on. */
  readonly target: OstreeImageReference;
  readonly stateroot: string;
  readonly kernelArguments: readonly string[];
  /** Content of authorized_keys(5). */
  readonly rootKeys?: string;
  readonly bootCode: string;
}

export interface Installed {
  readonly pulled: PulledImage;
  readonly bootUUID: string;
  readonly rootUUID: string;
  readonly kernelArguments: readonly string[];
}

/** libostree wants to know how much it must leave free; its default of 3 % is a lot of a large disk. */
const FREE_SPACE = '500MB';

/**
 * Takes an empty disk, and a mount namespace of one's own. After an error the disk does not boot, and is not empty either.
 * Throws AgentError, and what a pull throws.
 */
export async function installImage(
  installation: Installation,
  run: CommandRunner,
  output: Output,
  signal: AbortSignal,
): Promise<Installed> {
  const { disk, layout, target } = installation;
  await withScratchFile('partitions', partitionScript(layout), (script) =>
    run(['sh', '-c', 'exec sfdisk --quiet --no-reread --no-tell-kernel "$1" < "$2"', 'sh', disk, script]),
  );
  const { bootUUID, rootUUID } = await makeFileSystems(disk, layout, run);
  const { pulled, kernelArguments } = await withMounted(disk, layout, run, async (root) => {
    await initialise(root, installation.stateroot, run);
    const repository = join(root, 'ostree', 'repo');
    return await pullFor({ ...installation.pull, repository, storeAs: target.image }, output, signal, async (image) => {
      const ofImage = await imageArguments(new OstreeTool(run), repository, image.mergeCommit);
      const all = [`root=UUID=${rootUUID}`, 'rw', ...ofImage, ...installation.kernelArguments];
      await withScratchFile('origin', formatOrigin(formatOstreeImageReference(target)), (origin) =>
        run([
          'ostree',
          'admin',
          'deploy',
          `--sysroot=${root}`,
          `--os=${installation.stateroot}`,
          ...all.map((one) => `--karg=${one}`),
          `--origin-file=${origin}`,
          image.mergeCommit,
        ]),
      );
      await furnish(root, installation, bootUUID);
      await installBootLoader(root, run);
      return { pulled: image, kernelArguments: all };
    });
  });
  await writeBootCode(disk, installation.bootCode);
  return { pulled, bootUUID, rootUUID, kernelArguments };
}

async function initialise(root: string, stateroot: string, run: CommandRunner): Promise<void> {
  await run(['ostree', 'admin', 'init-fs', '--modern', root]);
  const set = (key: string, value: string) =>
    run(['ostree', 'config', `--repo=${root}/ostree/repo`, 'set', key, value]);
  await set('sysroot.readonly', 'true');
  await set('core.min-free-space-size', FREE_SPACE);
  await prepareBootLoader(root, run);
  await run(['ostree', 'admin', 'os-init', `--sysroot=${root}`, stateroot]);
}

/** The one deployment of the new disk gets what is not in the image. */
async function furnish(root: string, { stateroot, rootKeys }: Installation, bootUUID: string): Promise<void> {
  const folder = join(root, 'ostree', 'deploy', stateroot, 'deploy');
  for (const name of await readdir(folder)) {
    if (name.endsWith('.origin')) continue;
    await addBootMount(join(folder, name), bootUUID);
    if (rootKeys !== undefined) await addRootKeys(join(folder, name), rootKeys);
  }
}

async function withScratchFile(name: string, text: string, use: (path: string) => Promise<unknown>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'treeline-install-'));
  try {
    const path = join(folder, name);
    await writeFile(path, text);
    await use(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}
