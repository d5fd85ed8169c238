/**
 * The agent's part of a NodeOS status as a JSON merge patch (RFC 7386) against what the API has: only what changed, and
 * nothing outside `host`, `progress` and `lastOrder`, which is all that the admission policy lets an agent write.
 */
import { isDeepStrictEqual } from 'node:util';
import type { HostStatus, LastOrder, NodeOSStatus, Progress } from '../api/index.ts';

export interface AgentStatus {
  readonly host?: HostStatus;
  /** `null` when no order is being carried out. */
  readonly progress?: Progress | null;
  /** `null` when there is nothing to answer any more. */
  readonly lastOrder?: LastOrder | null;
}

/** The patch that makes `known` say `wanted`, or nothing when it does already. Fields left out of `wanted` stay. */
export function statusPatch(known: NodeOSStatus | undefined, wanted: AgentStatus): { status: object } | undefined {
  const status: Record<string, unknown> = {};
  for (const key of ['host', 'progress', 'lastOrder'] as const) {
    const change = mergePatch(known?.[key] ?? null, wanted[key]);
    if (change !== undefined) status[key] = change;
  }
  return Object.keys(status).length === 0 ? undefined : { status };
}

/** What to merge into `from` to get `to`: `null` removes, `undefined` means no change. */
function mergePatch(from: unknown, to: unknown): unknown {
  if (to === undefined || isDeepStrictEqual(from, to)) return undefined;
  if (!isRecord(from) || !isRecord(to)) return to;
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(from)) if (!(key in to)) patch[key] = null;
  for (const [key, value] of Object.entries(to)) {
    const change = mergePatch(from[key] ?? null, value);
    if (change !== undefined) patch[key] = change;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
