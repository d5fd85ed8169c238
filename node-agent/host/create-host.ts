/** Chooses the kind of host; everything else sees only the `Host` interface. */
import { join } from 'node:path';
import type { ReadImageFacts } from './deployments.ts';
import type { Host } from './host.ts';
import { commandRunner } from './command.ts';
import { hostRunner, OstreeAdminHost } from './ostree-admin.ts';
import { OstreeTool } from './ostree-tool.ts';
import { SandboxHost } from './sandbox.ts';

export type HostKind = 'ostree-admin' | 'sandbox';

export interface CreateHostOptions {
  /** `/`, the host's root as a pod sees it, or for a sandbox the sysroot on disk. */
  readonly sysroot: string;
  /** Sandbox only: the directory that plays `/run`; by default `run/treeline` in the sysroot. */
  readonly runDirectory?: string;
  readonly readImageFacts: ReadImageFacts;
  readonly agentVersion?: string;
}

/** The `ostree` that a host is managed with. */
export function hostTool(kind: HostKind, sysroot: string): OstreeTool {
  return kind === 'ostree-admin' ? new OstreeTool(hostRunner(sysroot)) : new OstreeTool(commandRunner(), sysroot);
}

/** Touches nothing yet. */
export function createHost(kind: HostKind, options: CreateHostOptions): Host {
  const { runDirectory, ...common } = options;
  if (kind === 'ostree-admin') return new OstreeAdminHost(common);
  return new SandboxHost({ ...common, runDirectory: runDirectory ?? join(options.sysroot, 'run/treeline') });
}
