/** What people are told of nodes that have failed for their target, or rest after a failed attempt. */
import type { Fault } from '../../api/index.ts';
import type { Census } from './census.ts';
import type { Obstacle } from './obstacle.ts';

/** One obstacle per failed node, with its own words and what to do. */
export function failureBlockers({ failures, retrying }: Census): readonly Obstacle[] {
  const failed = failures.map(({ member }) => member);
  const resting = retrying.filter(({ facts }) => facts.failure === undefined);
  return [...failed, ...resting].flatMap(({ node, os, facts }): Obstacle[] => {
    const rollout = os?.status?.rollout;
    if (os === undefined || rollout === undefined) return [];
    const kind = facts.failure;
    const base = { node: node.name, since: new Date(rollout.phaseTime) };
    const said = `${node.name}: ${rollout.message ?? ''}`;
    switch (kind) {
      case 'Unhealthy':
      case 'RebootOverdue':
        return [{ ...base, type: kind, message: said }];
      case 'StagingFailed':
        return [{ ...base, type: kind, message: `${said} ${remedy(rollout.fault)}` }];
      case 'BootRefused':
      case 'RolledBack': {
        const retry = `Roll out another image, or delete NodeOS ${os.metadata.name} to try this one again.`;
        return [{ ...base, type: kind, message: `${said} ${retry}` }];
      }
      case undefined: {
        if (rollout.phase === 'Blocked') return [];
        const type = rollout.phase === 'AwaitingGate' ? 'BootRefused' : 'StagingFailed';
        return [{ ...base, type, message: said }];
      }
    }
  });
}

function remedy(fault: Fault | undefined): string {
  switch (fault) {
    case 'Image':
      return 'Push a corrected image and roll that out.';
    case 'Registry':
      return 'See the registry, the way to it, and the pull Secret.';
    case 'Node':
      return "See the free space of the node and its agent's log.";
    case undefined:
      return 'See the registry, the pull Secret and the free space of the node.';
  }
}
