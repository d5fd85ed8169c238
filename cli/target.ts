/**
 * The host that a command acts on: the booted machine (changes are staged for the next boot), a sandbox, or an unbooted
 * sysroot on disk (changes are deployed at once).
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { Deployment, KernelArguments } from '../api/index.ts';
import {
  argumentsOf,
  commandRunner,
  createHost,
  describeDeployment,
  formatOrigin,
  type Host,
  imageArguments,
  imageFactsReader,
  nextArguments,
  nextBootArguments,
  OstreeTool,
  rollBack,
  soleStateroot,
} from '../node-agent/index.ts';
import { Repository } from '../ostree/index.ts';
import type { Flags, FlagValues } from './command.ts';
import { CliError } from './errors.ts';
import { VERSION } from './version.ts';

export const TARGET_FLAGS = {
  sysroot: {
    type: 'string',
    value: 'DIR',
    default: '/',
    description: 'The sysroot to act on; `/` is the booted host.',
  },
  sandbox: {
    type: 'boolean',
    description: 'Treat an unbooted sysroot as a booted host: its default deployment counts as booted. For tests.',
  },
} as const satisfies Flags;

export interface ShownDeployment extends Deployment {
  readonly stateroot: string;
  readonly serial: number;
  readonly booted: boolean;
  readonly staged: boolean;
}

export interface NewDeployment {
  readonly checksum: string;
  readonly digest: string;
  /** Display form of the reference, for the origin file. */
  readonly reference: string;
  readonly stateroot?: string;
  /** All that its kernel is started with; absent: what the deployment before is, changed as the two images differ. */
  readonly kernelArguments?: readonly string[];
}

export interface Target {
  readonly kind: 'booted' | 'sandbox' | 'unbooted';
  readonly sysroot: string;
  /** The `ostree` that manages it. */
  readonly tool: OstreeTool;
  /** In boot order; what is staged comes first. */
  deployments(): Promise<ShownDeployment[]>;
  /** Stages or deploys, so that it is what boots next. */
  apply(deployment: NewDeployment): Promise<'Staged' | 'Deployed'>;
  /** What the kernel is started with next. */
  kernelArguments(): Promise<readonly string[]>;
  rollback(): Promise<void>;
  /** Throws CliError `Usage` for an unbooted sysroot. */
  reboot(): Promise<void>;
}

/**
 * Throws OstreeError `NotARepository` when there is no sysroot, CliError `NoDeployment` when it lacks the stateroot that
 * the caller wants to deploy into.
 */
export function openTarget(flags: FlagValues<typeof TARGET_FLAGS>, stateroot?: string): Target {
  const { sysroot, sandbox } = flags;
  const booted = sysroot === '/' && existsSync('/run/ostree-booted');
  if (sysroot === '/' && !booted) {
    throw new CliError(
      'NoDeployment',
      'This machine was not booted from an OSTree deployment; name a sysroot on disk with --sysroot DIR.',
    );
  }
  // The clearest of all errors about a path that is no sysroot.
  Repository.open(join(sysroot, 'ostree/repo'));
  if (stateroot !== undefined && (sandbox || booted)) {
    throw new CliError('Usage', 'A booted host is always deployed into its own stateroot; leave --os out.');
  }
  if (stateroot !== undefined) requireStateroot(sysroot, stateroot);
  return sandbox || booted ? hostTarget(sysroot, booted) : new UnbootedTarget(sysroot);
}

/** Throws CliError `NoDeployment` when an unbooted sysroot lacks the stateroot. */
export function requireStateroot(sysroot: string, stateroot: string): void {
  if (existsSync(join(sysroot, 'ostree/deploy', stateroot, 'var'))) return;
  throw new CliError(
    'NoDeployment',
    `${sysroot} has no stateroot ${stateroot}; make it with \`ostree admin os-init --sysroot=${sysroot} ${stateroot}\`.`,
  );
}

/** `ostree admin` wants root, and says so only after the image was pulled. Throws CliError `NotRoot`. */
export function requireRoot(): void {
  if (process.geteuid?.() !== 0) {
    throw new CliError('NotRoot', 'Changing the deployments of a host needs root; run this with sudo.');
  }
}

function hostTarget(sysroot: string, booted: boolean): Target {
  const readImageFacts = imageFactsReader(sysroot);
  const host = createHost(booted ? 'ostree-admin' : 'sandbox', { sysroot, readImageFacts, agentVersion: VERSION });
  const tool = new OstreeTool(commandRunner(), booted ? undefined : sysroot);
  return {
    kind: booted ? 'booted' : 'sandbox',
    sysroot,
    tool,
    deployments: async () => {
      const shown = await shownDeployments(tool, sysroot);
      return booted ? withLock(shown, host) : withSandbox(shown, host);
    },
    apply: async ({ checksum, digest, reference, kernelArguments }) => {
      const change = kernelArguments && (await changeTo(kernelArguments, tool, sysroot, booted));
      await host.stage({ checksum, origin: reference, kernelArguments: change });
      await host.unlock(digest);
      return 'Staged';
    },
    kernelArguments: () => nextBootArguments({ tool, run: commandRunner(), root: booted ? '' : sysroot, sysroot }),
    rollback: () => host.rollback(),
    reboot: () => host.reboot('treeline'),
  };
}

/** What makes those of the running deployment `wanted`; the ones that stay keep their order. */
async function changeTo(
  wanted: readonly string[],
  tool: OstreeTool,
  sysroot: string,
  booted: boolean,
): Promise<KernelArguments> {
  const listed = await tool.list();
  const running = listed.find((one) => one.booted) ?? listed[0];
  const where = { run: commandRunner(), root: booted ? '' : sysroot };
  const present = running === undefined ? [] : await argumentsOf(running, sysroot, where);
  return { append: [...wanted], delete: present.filter((one) => !wanted.includes(one)) };
}

class UnbootedTarget implements Target {
  readonly kind = 'unbooted';
  readonly sysroot: string;
  readonly tool: OstreeTool;

  constructor(sysroot: string) {
    this.sysroot = sysroot;
    this.tool = new OstreeTool(commandRunner(), sysroot);
  }

  async deployments(): Promise<ShownDeployment[]> {
    return shownDeployments(this.tool, this.sysroot);
  }

  async apply({ checksum, reference, stateroot, kernelArguments }: NewDeployment): Promise<'Deployed'> {
    const directory = await mkdtemp(join(tmpdir(), 'treeline-'));
    try {
      const originFile = join(directory, 'origin');
      await writeFile(originFile, formatOrigin(reference));
      const listed = await this.tool.list();
      const into = stateroot ?? listed[0]?.stateroot ?? (await soleStateroot(this.sysroot));
      await this.tool.deploy({
        checksum,
        kernelArguments: kernelArguments ?? (await this.#argumentsOfNext(checksum, listed, into)),
        stateroot: into,
        originFile,
      });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
    return 'Deployed';
  }

  /** A stateroot's first deployment has all that its image asks for: later ones only get what changes between images. */
  async #argumentsOfNext(
    checksum: string,
    listed: Awaited<ReturnType<OstreeTool['list']>>,
    stateroot: string,
  ): Promise<readonly string[] | undefined> {
    const { tool, sysroot } = this;
    const from = listed.find((one) => one.stateroot === stateroot);
    if (from !== undefined) {
      return nextArguments({ tool, run: commandRunner(), root: sysroot, sysroot, from, checksum });
    }
    const asked = await imageArguments(tool, join(sysroot, 'ostree/repo'), checksum);
    return asked.length === 0 ? undefined : asked;
  }

  kernelArguments(): Promise<readonly string[]> {
    const { tool, sysroot } = this;
    return nextBootArguments({ tool, run: commandRunner(), root: sysroot, sysroot });
  }

  async rollback(): Promise<void> {
    await rollBack(this.tool, this.sysroot);
  }

  async reboot(): Promise<void> {
    throw new CliError('Usage', `${this.sysroot} is not booted, so it cannot be rebooted; leave --reboot out.`);
  }
}

async function shownDeployments(tool: OstreeTool, sysroot: string): Promise<ShownDeployment[]> {
  const readImageFacts = imageFactsReader(sysroot);
  const listed = await tool.list();
  return Promise.all(
    listed.map(async (one) => ({
      stateroot: one.stateroot,
      serial: one.serial,
      booted: one.booted,
      staged: one.staged,
      ...(one.staged ? { locked: one.locked } : {}),
      ...(await describeDeployment(sysroot, one, readImageFacts)),
    })),
  );
}

/** Before 2023.8, libostree's own list does not tell whether what is staged is locked. */
async function withLock(shown: readonly ShownDeployment[], host: Host): Promise<ShownDeployment[]> {
  if (!shown.some(({ staged }) => staged)) return [...shown];
  const { staged } = await host.status();
  return shown.map((one) => (one.staged ? { ...one, locked: staged?.locked === true } : one));
}

/** libostree knows nothing of what a sandbox calls booted and staged. */
async function withSandbox(shown: readonly ShownDeployment[], host: Host): Promise<ShownDeployment[]> {
  const { staged } = await host.status();
  const [front, ...others] = shown;
  if (front === undefined) return [];
  return [
    ...(staged === undefined
      ? []
      : [{ ...staged, stateroot: front.stateroot, serial: 0, booted: false, staged: true }]),
    { ...front, booted: true },
    ...others,
  ];
}
