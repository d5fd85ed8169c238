/** The end of all faults in the simulated cluster: from here on a rollout has to end, or say why it does not. */
import type { OSImage } from '../../../api/index.ts';
import { leaveLeasesAlone } from './lease-stand-in.ts';
import { leaveNodesAlone } from './lifecycle-stand-in.ts';
import { NO_FAULTS } from './rates.ts';
import { giveLocksBack } from './reboot-lock-stand-in.ts';
import { hasLabels } from './selection.ts';
import type { World } from './world.ts';

/** Everything that was broken is whole again, and nothing breaks any more. */
export function heal(world: World): void {
  world.rates = NO_FAULTS;
  world.registryDown = false;
  world.badDigests.clear();
  world.fatalDigests.clear();
  leaveLeasesAlone(world);
  leaveNodesAlone(world);
  world.asking = false;
  giveLocksBack(world);
  for (const node of world.nodes.values()) {
    node.brokenUntil = world.time;
    delete node.mute;
    delete node.labels['treeline.dev/exclude'];
    delete node.labels['other'];
    if (node.cordoned && node.cordonedBy === undefined) node.cordoned = false;
  }
  for (const name of world.images.keys()) {
    world.edit(name, (spec) => ({
      ...spec,
      image: { ...spec.image, downgradePolicy: 'Allow' },
      staging: stagingWithPlaces(spec.staging),
      rollout: {
        ...spec.rollout,
        steps: passable(world, spec.rollout.steps),
        maxUnavailable:
          Number.parseInt(String(spec.rollout.maxUnavailable), 10) === 0 ? 1 : spec.rollout.maxUnavailable,
        paused: false,
        pauseRequests: [],
      },
    }));
  }
}

/** Nobody approves any more, and a step without a node would hold the fleet for ever. */
function passable(world: World, steps: OSImage['spec']['rollout']['steps']): OSImage['spec']['rollout']['steps'] {
  const nodes = [...world.nodes.values()];
  return steps
    .filter(({ nodeSelector }) => nodes.some((node) => hasLabels(nodeSelector, node.labels)))
    .map((step) => ({ ...step, approval: 'Automatic' }));
}

function stagingWithPlaces(staging: OSImage['spec']['staging']): OSImage['spec']['staging'] {
  return Number.parseInt(String(staging.maxConcurrent), 10) === 0 ? { ...staging, maxConcurrent: 1 } : staging;
}
