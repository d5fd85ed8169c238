/** What an OSImage has rolled out, newest first. */
import { toTimestamp } from '../../api/index.ts';
import type { OSImageStatus } from '../../api/index.ts';
import type { ImageFleet } from './fleet.ts';
import { quarantineOf } from './quarantine.ts';
import { rolloutState } from './rollout-state.ts';

type Entry = NonNullable<OSImageStatus['history']>[number];
type Counts = NonNullable<OSImageStatus['nodes']>;

/** Works out `status.history` from the durable status and from `counts`, with which alone it changes. */
export function historyOf(fleet: ImageFleet, counts: Counts, now: Date): readonly Entry[] {
  const { target } = fleet.choice;
  const { spec, status } = fleet.image.object;
  const [latest, ...earlier] = status?.history ?? [];
  if (target === undefined) return (status?.history ?? []).slice(0, spec.revisionHistoryLimit);
  const same = latest?.digest === target.digest;
  const past = same
    ? earlier
    : [
        ...(latest ? [ended(latest, quarantineOf(fleet.image.object, latest.digest) !== undefined, now)] : []),
        ...earlier,
      ];
  const entry = current(fleet, counts, same ? latest : undefined, now);
  return [entry, ...past].slice(0, spec.revisionHistoryLimit);
}

function current(fleet: ImageFleet, counts: Counts, before: Entry | undefined, now: Date): Entry {
  // What has succeeded once stays so; a node that joins later is an update of its own.
  if (before?.outcome === 'Succeeded') return before;
  const { target } = fleet.choice;
  const state = rolloutState(fleet);
  const succeeded = (state === 'Complete' || state === 'RolledBack') && fleet.census.ruled.length > 0;
  return {
    digest: target?.digest ?? '',
    ...(target?.version !== undefined && { version: target.version }),
    outcome: succeeded ? 'Succeeded' : state === 'Halted' ? 'Halted' : 'Progressing',
    startTime: before?.startTime ?? toTimestamp(now),
    ...(succeeded && { completionTime: toTimestamp(now) }),
    nodesUpdated: counts.updated,
    nodesFailed: counts.failed,
  };
}

function ended(entry: Entry, quarantined: boolean, now: Date): Entry {
  if (entry.completionTime !== undefined) return entry;
  return { ...entry, outcome: quarantined ? 'RolledBack' : 'Superseded', completionTime: toTimestamp(now) };
}
