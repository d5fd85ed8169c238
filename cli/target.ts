/**
 * The host that a command acts on: the booted machine (changes are staged for the next boot), a sandbox, or an unbooted
 * sysroot on disk (changes are deployed at once).
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { Deployment } from '../api/index.ts';
import {
  commandRunner,
  createHost,
  describeDeployment,
  formatOrigin,
  type Host,
  imageFactsReader,
  nextArguments,
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
  if (stateroot !== undefined) requireStateroot(sysroot, stateroot, sandbox || booted);
  return sandbox || booted ? hostTarget(sysroot, booted) : new UnbootedTarget(sysroot);
}

function requireStateroot(sysroot: string, stateroot: string, booted: boolean): void {
  if (booted) {
    throw new CliError('Usage', 'A booted host is always deployed into its own stateroot; leave --os out.');
  }
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
    apply: async ({ checksum, digest, reference }) => {
      await host.stage({ checksum, origin: reference });
      await host.unlock(digest);
      return 'Staged';
    },
    rollback: () => host.rollback(),
    reboot: () => host.reboot('treeline'),
  };
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

  async apply({ checksum, reference, stateroot }: NewDeployment): Promise<'Deployed'> {
    const directory = await mkdtemp(join(tmpdir(), 'treeline-'));
    try {
      const originFile = join(directory, 'origin');
      await writeFile(originFile, formatOrigin(reference));
      const [front] = await this.tool.list();
      const { sysroot } = this;
      const next = { tool: this.tool, run: commandRunner(), root: sysroot, sysroot, checksum };
      await this.tool.deploy({
        checksum,
        kernelArguments: front && (await nextArguments({ ...next, from: front })),
        stateroot: stateroot ?? front?.stateroot ?? (await soleStateroot(this.sysroot)),
        originFile,
      });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
    return 'Deployed';
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
