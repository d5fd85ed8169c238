/**
 * The commands by name, each loaded only when it is called: importing the importer, the operator or the Kubernetes
 * client for `--help` would make every start slow.
 */
import type { Command } from './command.ts';

export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

export const CATALOGUE: readonly Entry[] = [
  {
    name: 'status',
    summary: 'Show the deployments of a host.',
    load: async () => (await import('./commands/status.ts')).status,
  },
  {
    name: 'rebase',
    summary: 'Put a host on the operating system of a container image.',
    load: async () => (await import('./commands/rebase.ts')).rebase,
  },
  {
    name: 'upgrade',
    summary: 'Fetch the newest image under the reference that a host follows.',
    load: async () => (await import('./commands/upgrade.ts')).upgrade,
  },
  {
    name: 'rollback',
    summary: 'Make the previous deployment the default again.',
    load: async () => (await import('./commands/rollback.ts')).rollback,
  },
  {
    name: 'image pull',
    summary: 'Import a container image into an OSTree repository.',
    load: async () => (await import('./commands/image-pull.ts')).imagePull,
  },
  {
    name: 'image list',
    summary: 'List the container images in an OSTree repository.',
    load: async () => (await import('./commands/image-list.ts')).imageList,
  },
  {
    name: 'encapsulate',
    summary: 'Write an OSTree commit as a container image.',
    load: async () => (await import('./commands/encapsulate.ts')).encapsulate,
  },
  {
    name: 'operator',
    summary: 'Run the operator: OSImages become rebase orders.',
    load: async () => (await import('./commands/operator.ts')).operator,
  },
  {
    name: 'agent',
    summary: 'Run the agent of one node: rebase orders are carried out.',
    load: async () => (await import('./commands/agent.ts')).agent,
  },
];
