/**
 * The deployment that boots next, once more with other kernel arguments: the same commit with the same origin. libostree can
 * also edit an entry in place, but then there is no way back to the arguments of before.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { KernelArguments } from '../../api/index.ts';
import { decodeVariant } from '../../ostree/index.ts';
import { AgentError } from '../errors.ts';
import { readIfPresent, writeAtomically } from './atomic-file.ts';
import type { CommandRunner } from './command.ts';
import { type ListedDeployment, originPath } from './deployments.ts';
import { argumentsOf, changedArguments } from './kernel-arguments.ts';
import { withoutTransientState } from './origin-file.ts';
import { type OstreeTool, STAGED_FILE } from './ostree-tool.ts';

const ORIGIN_FILE = 'run/treeline/origin';

export interface DeployedSysroot {
  readonly tool: OstreeTool;
  readonly run: CommandRunner;
  /** Where `run` sees the sysroot; empty on a booted host. */
  readonly root: string;
  /** Where this process sees it. */
  readonly sysroot: string;
}

/** What the kernel is started with next. Throws AgentError `SysrootUnusable` when there is no deployment, or no entry of it. */
export async function nextBootArguments(where: DeployedSysroot): Promise<readonly string[]> {
  return argumentsOfFirst(await where.tool.list(), where);
}

/**
 * Changes what the kernel is started with next, and nothing else: staged on a booted host, deployed at once otherwise.
 * Returns all arguments, and whether anything has changed. Throws AgentError.
 */
export async function changeBootArguments(
  where: DeployedSysroot,
  change: KernelArguments,
): Promise<{ readonly kernelArguments: readonly string[]; readonly changed: boolean }> {
  const { tool, root, sysroot } = where;
  const listed = await tool.list();
  const present = await argumentsOfFirst(listed, where);
  const kernelArguments = changedArguments(present, change);
  if (kernelArguments.join(' ') === present.join(' ')) return { kernelArguments, changed: false };
  const first = firstOf(listed, sysroot);
  const { checksum, stateroot } = first;
  const origin = (await readIfPresent(originPath(sysroot, first))) ?? '[origin]\n';
  const originFile = join(sysroot, ORIGIN_FILE);
  await mkdir(dirname(originFile), { recursive: true, mode: 0o700 });
  await writeAtomically(originFile, withoutTransientState(origin));
  try {
    const stage = listed.some(({ booted }) => booted) ? 'unlocked' : undefined;
    await tool.deploy({ checksum, stateroot, originFile: join(root, '/', ORIGIN_FILE), kernelArguments, stage });
  } finally {
    await rm(originFile, { force: true });
  }
  return { kernelArguments, changed: true };
}

function firstOf([first]: readonly ListedDeployment[], sysroot: string): ListedDeployment {
  if (first !== undefined) return first;
  throw new AgentError('SysrootUnusable', `${sysroot} has no deployments; make one with \`treeline rebase\`.`);
}

async function argumentsOfFirst(
  listed: readonly ListedDeployment[],
  where: DeployedSysroot,
): Promise<readonly string[]> {
  const first = firstOf(listed, where.sysroot);
  if (!first.staged) return argumentsOf(first, where.sysroot, where);
  const given = stagedArguments(await readFile(join(where.sysroot, STAGED_FILE)));
  if (given !== undefined) return given;
  // Staged without arguments of its own, it takes over those of what runs.
  const booted = listed.find((one) => one.booted) ?? first;
  return argumentsOf(booted, where.sysroot, where);
}

/** The arguments in libostree's note about what is staged, if it has any there. */
function stagedArguments(bytes: Buffer): readonly string[] | undefined {
  const entries = decodeVariant('a{sv}', bytes) as readonly (readonly [string, { readonly value: unknown }])[];
  const found = entries.find(([key]) => key === 'kargs')?.[1].value;
  return Array.isArray(found) ? found.map(String).filter((one) => !one.startsWith('ostree=')) : undefined;
}
