/**
 * What can keep the nodes of an OSImage from beginning to fetch it. As with the gates of slots, a gate that is closed is the
 * sentence that people read. Nodes that have their place already finish.
 */
import { fleetDowngrade } from './downgrade.ts';
import type { Obstacle } from './obstacle.ts';
import type { GateView } from './slot-gates.ts';
import { mayStageNow } from './time/time-gates.ts';

type StagingGate = (view: GateView) => Obstacle | undefined;

/** In the order in which people are told. */
const STAGING_GATES: readonly StagingGate[] = [fleetDowngrade, outOfTime, noPlaces];

/** Every gate of staging that is closed to nodes that wait for a place; places are granted only when there is none. */
export function closedToStaging(view: GateView): readonly Obstacle[] {
  // Nobody is kept from anything.
  if (view.census.awaitingPlace.length === 0) return [];
  return STAGING_GATES.map((gate) => gate(view)).filter((obstacle) => obstacle !== undefined);
}

function outOfTime({ image, now }: GateView): Obstacle | undefined {
  return mayStageNow(image.object, now);
}

function noPlaces({ image }: GateView): Obstacle | undefined {
  const { maxConcurrent } = image.object.spec.staging;
  if (Number.parseInt(String(maxConcurrent), 10) !== 0) return undefined;
  const message =
    'spec.staging.maxConcurrent is 0, so no node begins to fetch the image; set it to 1 or more to go on.';
  return { type: 'StagingClosed', message };
}
