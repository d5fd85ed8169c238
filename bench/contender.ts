/** Those that race: our `image pull` and the peer's; and our import as the agent has it done, beside itself. */
import { join } from 'node:path';
import { runCommand } from '../tools/setup/command.ts';
import type { Cost } from './measured-process.ts';
import type { ShippedBundle } from './shipped-bundle.ts';

export const CONTENDER_NAMES = ['treeline', 'ostree-ext'] as const;

export interface Contender {
  readonly name: string;
  readonly command: string;
  /** `host` serves plain HTTP; `image` is a name and tag there. */
  parameters(repository: string, host: string, image: string): readonly string[];
  /** Where it has a process that stays: what a pull costs in it. */
  readonly resident?: (repository: string, host: string, image: string) => Promise<Cost>;
}

/** Ours as it ships, with `flags` more. */
export function treelineContender(shipped: ShippedBundle, flags: readonly string[] = []): Contender {
  return {
    name: 'treeline',
    command: process.execPath,
    parameters: (repository, host, image) =>
      [shipped.entry, 'image', 'pull', ...flags, '--plain-http', host, '--repo', repository].concat(
        referenceTo(host, image),
      ),
    resident: async (...parameters) => {
      const program = join(import.meta.dirname, 'resident-pull.ts');
      return JSON.parse(await runCommand(process.execPath, [program, ...parameters])) as Cost;
    },
  };
}

/** `command` is the program that tools/setup built from the pinned crate. */
export function peerContender(command: string): Contender {
  return {
    name: 'ostree-ext',
    command,
    parameters: (repository, host, image) =>
      'container image pull --insecure-skip-tls-verification --quiet'
        .split(' ')
        .concat(repository, referenceTo(host, image)),
  };
}

/** From the manifests of agents. */
const AGENT_FLAG = '--max-semi-space-size=4';

/** Ours in one process, or with the network and the unpacking in processes without privilege, as agents have it. */
export function agentContender(shipped: ShippedBundle, placement: 'confined' | 'in-process'): Contender {
  return {
    name: placement,
    command: process.execPath,
    parameters: (repository, host, image) => [AGENT_FLAG, shipped.agentPull, placement, repository, host, image],
  };
}

/** Node, that does nothing: what no command of ours can be faster than. */
export const BARE_NODE = { name: 'node -e 0', command: process.execPath, parameters: ['-e', '0'] } as const;

function referenceTo(host: string, image: string): string {
  return `ostree-unverified-registry:${host}/${image}`;
}
