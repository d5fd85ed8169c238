/**
 * What is to be done about a build now: a pure function of the object, its Job and the time. One Job at a time; its name
 * stands in the status before it is made, so that whoever comes after a crash makes the same one.
 */
import {
  type BuildRecord,
  type Condition,
  type OSImageBuild,
  type OSImageBuildStatus,
  toTimestamp,
  withCondition,
} from '../../api/index.ts';
import { inputsOf } from './build-inputs.ts';
import { jobNameOf } from './build-job.ts';
import type { BuildJob, BuildResult } from './build-result.ts';

/** Tries in all, over some two hours; what fails so often needs somebody to look at it. */
export const MAX_ATTEMPTS = 6;
const FIRST_DELAY_MS = 60_000;
const MAX_DELAY_MS = 3_600_000;

export interface Step {
  /** What the status has to say. */
  readonly status: OSImageBuildStatus;
  /** To be made once the status is in the API. */
  readonly job?: BuildRecord;
  /** Has ended: `result` is wanted. */
  readonly ended?: BuildJob;
  /** When to look again, though nothing changes. */
  readonly againMs?: number;
}

type Phase = NonNullable<OSImageBuildStatus['phase']>;

/**
 * @param job the one that `status.job` names, if it is there
 * @param result what came of it, if it has ended and that has been looked up
 * @param refusal what the API server said when the Job was to be made, if it did not admit it
 */
export function nextStep(
  build: OSImageBuild,
  job: BuildJob | undefined,
  result: BuildResult | undefined,
  now: Date,
  refusal?: string,
): Step {
  const { spec, status = {} } = build;
  const running = status.history?.[0];
  if (running !== undefined && running.result === undefined) {
    if (job === undefined && refusal !== undefined) {
      const text = `The Job ${running.job} is not admitted, and is tried again until it is: ${refusal}`;
      return { status: told(build, status, 'Pending', ['JobRefused', text], now), job: running };
    }
    if (job?.ended === undefined) {
      const text = `The Job ${running.job} is at work`;
      return {
        status: told(build, status, 'Running', ['Building', text], now),
        ...(job === undefined && { job: running }),
      };
    }
    if (result === undefined) return { status, ended: job };
    return nextStep({ ...build, status: concluded(build, status, running, result, now) }, undefined, undefined, now);
  }
  const inputs = inputsOf(spec);
  const dueMs = rebuildTimeOf(build);
  if (status.inputs === inputs && (dueMs === undefined || dueMs > now.getTime()) && (status.attempts ?? 0) === 0) {
    const nextAttemptTime = dueMs === undefined || spec.suspend ? undefined : toTimestamp(new Date(dueMs));
    return {
      status: told(
        build,
        { ...status, nextAttemptTime },
        'Succeeded',
        ['Built', `${status.image} is what the spec describes`],
        now,
      ),
      ...(dueMs !== undefined && !spec.suspend && { againMs: dueMs - now.getTime() }),
    };
  }
  if (spec.suspend) {
    return {
      status: told(build, status, 'Suspended', ['Suspended', 'spec.suspend keeps the build from being begun'], now),
    };
  }
  const last = status.history?.[0];
  const attempts = last?.inputs === inputs ? (status.attempts ?? 0) : 0;
  if (attempts >= MAX_ATTEMPTS) {
    const text = `It failed ${attempts} times, and is not tried again until spec changes: ${last?.message ?? ''}`;
    return { status: told(build, status, 'Failed', [last?.reason ?? 'BuildFailed', text], now) };
  }
  const waitMs = attempts === 0 ? 0 : Date.parse(status.nextAttemptTime ?? '') - now.getTime();
  if (waitMs > 0) {
    const text = `Attempt ${attempts} of ${MAX_ATTEMPTS} failed, the next one is at ${status.nextAttemptTime}: ${last?.message ?? ''}`;
    return { status: told(build, status, 'Pending', [last?.reason ?? 'BuildFailed', text], now), againMs: waitMs };
  }
  return begun(build, { ...status, attempts }, inputs, now);
}

function begun(build: OSImageBuild, status: OSImageBuildStatus, inputs: string, now: Date): Step {
  const record: BuildRecord = { inputs, job: jobNameOf(build.metadata.name, now), startTime: toTimestamp(now) };
  const history = [record, ...(status.history ?? [])].slice(0, build.spec.historyLimit);
  const next = { ...status, history, job: record.job, nextAttemptTime: undefined };
  const text = `The Job ${record.job} is at work`;
  return { status: told(build, next, 'Running', ['Building', text], now), job: record };
}

/** The status with the end of what ran written down. */
function concluded(
  build: OSImageBuild,
  status: OSImageBuildStatus,
  running: BuildRecord,
  result: BuildResult,
  now: Date,
): OSImageBuildStatus {
  const completionTime = toTimestamp(now);
  const rest = (status.history ?? []).slice(1);
  if (result.kind === 'Succeeded') {
    const { digest } = result;
    return {
      ...status,
      attempts: 0,
      digest,
      image: `${nameWithoutTag(build.spec.destination)}@${digest}`,
      inputs: running.inputs,
      history: [{ ...running, completionTime, result: 'Succeeded', digest }, ...rest],
    };
  }
  const { reason, message } = result;
  const attempts = (status.attempts ?? 0) + 1;
  const delayMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempts - 1));
  return {
    ...status,
    attempts,
    nextAttemptTime: toTimestamp(new Date(now.getTime() + delayMs)),
    history: [{ ...running, completionTime, result: 'Failed', reason, message }, ...rest],
  };
}

/** Counted from when the last one that succeeded began. */
function rebuildTimeOf({ spec, status }: OSImageBuild): number | undefined {
  const last = status?.history?.find(({ result }) => result === 'Succeeded');
  if (spec.rebuildIntervalSeconds === undefined || last === undefined) return undefined;
  return Date.parse(last.startTime) + spec.rebuildIntervalSeconds * 1000;
}

/** The status with phase and conditions. kstatus knows Reconciling and Stalled: both are bad news, and absent means no. */
function told(
  build: OSImageBuild,
  status: OSImageBuildStatus,
  phase: Phase,
  [reason, message]: readonly [reason: string, message: string],
  now: Date,
): OSImageBuildStatus {
  const observedGeneration = build.metadata.generation;
  let conditions: readonly Condition[] = status.conditions ?? [];
  for (const [type, value] of [
    ['Ready', phase === 'Succeeded'],
    ['Reconciling', phase === 'Pending' || phase === 'Running'],
    ['Stalled', phase === 'Failed'],
  ] as const) {
    const next = { type, status: value ? 'True' : 'False', reason, message, observedGeneration } as const;
    conditions = withCondition(conditions, next, now);
  }
  const { nextAttemptTime, ...rest } = status;
  return {
    ...rest,
    ...(nextAttemptTime !== undefined && { nextAttemptTime }),
    ...(observedGeneration !== undefined && { observedGeneration }),
    phase,
    conditions: [...conditions],
  };
}

/** `host:5000/name:tag` without the tag. */
function nameWithoutTag(reference: string): string {
  return reference.replace(/:[^:/]+$/, '');
}
