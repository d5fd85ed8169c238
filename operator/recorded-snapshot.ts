/** The planner's picture as somebody else than the running operator can have it: from what is written in the API alone. */
import type { NodeOS, OSImage } from '../api/index.ts';
import { createFleet, takeSnapshot } from './fleet.ts';
import { trimNode, trimNodeOS, trimOSImage } from './kube/objects.ts';
import type { ResolvedImage, Snapshot } from './rollout/snapshot.ts';

/** Lists as the API serves them. */
export interface RecordedObjects {
  readonly images: readonly unknown[];
  readonly nodes: readonly unknown[];
  readonly nodeOSes: readonly unknown[];
}

/**
 * Builds a snapshot. What an image means on each architecture is read from what its nodes are after; what is left
 * on a node that is being drained, from its NodeOS. Nothing is known of dry runs, checks and alerts, nor of what a registry says now.
 */
export function recordedSnapshot({ images, nodes, nodeOSes }: RecordedObjects): Snapshot {
  const fleet = createFleet();
  fleet.images.replace(images.map(trimOSImage), '0');
  fleet.nodes.replace(nodes.map(trimNode), '0');
  fleet.nodeOSes.replace(nodeOSes.map(trimNodeOS), '0');
  const architectures = new Map(
    fleet.nodes.values().map(({ metadata, status }) => [metadata.name, status.architecture]),
  );
  return takeSnapshot(
    fleet,
    {
      resolution: () => ({ state: 'Pending' }),
      target: (image) => recordedTarget(image, fleet.nodeOSes.values(), architectures),
    },
    {
      report: (node) => {
        const podsLeft = fleet.nodeOSes.get(node)?.status?.rollout?.podsLeft;
        return podsLeft === undefined ? undefined : { podsLeft, refusals: [] };
      },
    },
    { report: () => undefined },
    { report: () => new Map() },
    { report: () => new Map() },
  );
}

/** What `status.target` means on each architecture, by the newest phase that a node of it has entered. */
function recordedTarget(
  image: OSImage,
  nodeOSes: readonly NodeOS[],
  architectures: ReadonlyMap<string, string>,
): ResolvedImage | undefined {
  const release = image.status?.target;
  const ruled = nodeOSes
    .filter(({ spec, status }) => spec.imageName === image.metadata.name && status?.rollout?.digest !== undefined)
    .toSorted((left, right) => phaseTime(left) - phaseTime(right));
  if (release === undefined || ruled.length === 0) return undefined;
  const platforms = new Map<string, string>();
  for (const { metadata, status } of ruled) {
    const architecture = architectures.get(metadata.name);
    const digest = status?.rollout?.digest;
    if (architecture !== undefined && digest !== undefined) platforms.set(architecture, digest);
  }
  const ordered = ruled.findLast(({ spec }) => spec.order !== undefined)?.spec.order?.image;
  const repository = (ordered ?? release.reference).replace(/@[^@]*$/, '');
  return { release, repository, platforms: Object.fromEntries(platforms) };
}

function phaseTime({ status }: NodeOS): number {
  return Date.parse(status?.rollout?.phaseTime ?? '') || 0;
}
