/** One rollout of the demo: applies an OSImage with kubectl and resolves when every node runs what it names. */
import { API_VERSION } from '../api/index.ts';
import type { OSVersion } from '../testbed/os-publication.ts';
import type { DemoFleet } from './demo-fleet.ts';
import type { FleetObjects, FleetView } from './fleet-view.ts';

export const IMAGE_NAME = 'fleet';
export const MAX_UNAVAILABLE = 1;

/** A rollout in which nothing at all has changed for so long is stuck; a reboot takes seconds here. */
export const STUCK_AFTER_MS = 180_000;

/** The manifest that a person would write. JSON is YAML, but people read YAML. */
export function manifest(reference: string): string {
  return `apiVersion: ${API_VERSION}
kind: OSImage
metadata:
  name: ${IMAGE_NAME}
spec:
  nodeSelector: {}
  image:
    reference: ${reference}
  rollout:
    maxUnavailable: ${MAX_UNAVAILABLE}
`;
}

export async function applyVersion(fleet: DemoFleet, version: OSVersion): Promise<void> {
  const input = manifest(fleet.versions[version].reference);
  await fleet.controlPlane.kubectl(['apply', '-f', '-'], { input });
}

/** True when the operator says Ready for this target, every agent reports it booted, and no node is cordoned any more. */
export function isComplete(objects: FleetObjects, view: FleetView, digest: string): boolean {
  const { image, nodeOSes, nodes } = objects;
  const ready = image?.status?.conditions?.find(({ type }) => type === 'Ready');
  return (
    image?.status?.target?.digest === digest &&
    image.status.observedGeneration === image.metadata.generation &&
    ready?.status === 'True' &&
    [...nodes.keys()].every((name) => nodeOSes.get(name)?.status?.host?.booted?.digest === digest) &&
    view.nodes.every(({ state }) => state === 'Ready')
  );
}
