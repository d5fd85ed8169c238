/** Chooses the kind of host; everything else sees only the `Host` interface. */
import { join } from 'node:path';
import { BootcDeployer } from './bootc-deployer.ts';
import { commandRunner } from './command.ts';
import type { ReadImageFacts } from './deployments.ts';
import type { Host } from './host.ts';
import { hostRunner, OstreeAdminHost } from './ostree-admin.ts';
import { OstreeTool } from './ostree-tool.ts';
import { RpmOstreeDeployer } from './rpm-ostree-deployer.ts';
import { SandboxHost } from './sandbox.ts';

/** Booted hosts by the tool that deploys on them, and the sandbox. */
export const HOST_KINDS = ['ostree-admin', 'bootc', 'rpm-ostree', 'sandbox'] as const;
export type HostKind = (typeof HOST_KINDS)[number];

export interface CreateHostOptions {
  /** `/`, the host's root as a pod sees it, or for a sandbox the sysroot on disk. */
  readonly sysroot: string;
  /** Sandbox only: the directory that plays `/run`; by default `run/treeline` in the sysroot. */
  readonly runDirectory?: string;
  readonly readImageFacts: ReadImageFacts;
  /** rpm-ostree only: finds the commit of the image in a deployment's, on which packages may be layered. */
  readonly imageCommitOf?: (checksum: string) => string;
  readonly agentVersion?: string;
  /** Public key that it reports. */
  readonly credentialsKey?: string;
}

/** The `ostree` that a host is managed with. */
export function hostTool(kind: HostKind, sysroot: string): OstreeTool {
  return kind === 'sandbox' ? new OstreeTool(commandRunner(), sysroot) : new OstreeTool(hostRunner(sysroot));
}

/** Touches nothing yet. */
export function createHost(kind: HostKind, options: CreateHostOptions): Host {
  const { runDirectory, imageCommitOf = (checksum) => checksum, ...common } = options;
  switch (kind) {
    case 'ostree-admin':
      return new OstreeAdminHost(common);
    case 'bootc':
      return new OstreeAdminHost({ ...common, deployer: (run, tool) => new BootcDeployer(run, tool) });
    case 'rpm-ostree':
      return new OstreeAdminHost({ ...common, deployer: (run) => new RpmOstreeDeployer(run, imageCommitOf) });
    case 'sandbox':
      return new SandboxHost({ ...common, runDirectory: runDirectory ?? join(options.sysroot, 'run/treeline') });
  }
}
