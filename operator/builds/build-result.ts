/** How a build ended: what its pod said last, and what the Job says of it. */

import type { ObjectMeta } from '../../api/index.ts';

/** Of a Job, what a build depends on. */
export interface BuildJob {
  readonly metadata: ObjectMeta;
  /** Absent: it runs. */
  readonly ended?: { readonly succeeded: boolean; readonly reason: string; readonly message: string };
}

export type BuildResult =
  | { readonly kind: 'Succeeded'; readonly digest: string }
  | { readonly kind: 'Failed'; readonly reason: string; readonly message: string };

/** The API's limits on what a record of `status.history` holds. */
const MAX_MESSAGE_CHARS = 4096;
const REASON = /^[A-Za-z][A-Za-z0-9]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Cuts a Job of batch/v1 down. */
export function trimJob(raw: unknown): BuildJob {
  const { metadata, status } = raw as {
    readonly metadata: BuildJob['metadata'];
    readonly status?: {
      readonly conditions?: readonly {
        readonly type: string;
        readonly status: string;
        readonly reason?: string;
        readonly message?: string;
      }[];
    };
  };
  const end = status?.conditions?.find(({ type, status }) => /^(Complete|Failed)$/.test(type) && status === 'True');
  const { name, uid, resourceVersion } = metadata;
  return {
    metadata: { name, uid, resourceVersion },
    ...(end && {
      ended: { succeeded: end.type === 'Complete', reason: end.reason ?? end.type, message: end.message ?? '' },
    }),
  };
}

/**
 * What came of a Job that has ended. `lastWords` is the termination message of its pod, which anybody who may write pods can
 * have written: nothing of it is believed that the Job does not bear out.
 */
export function resultOf(ended: NonNullable<BuildJob['ended']>, lastWords: string | undefined): BuildResult {
  const said = parse(lastWords);
  if (ended.succeeded) {
    const digest = said['manifestDigest'];
    if (typeof digest === 'string' && DIGEST.test(digest)) return { kind: 'Succeeded', digest };
    return failed('NoResult', 'The pod of the build ended well and did not say which image it made; look at its log.');
  }
  const error = said['error'];
  if (typeof error === 'object' && error !== null && 'code' in error && 'message' in error) {
    return failed(String(error.code), String(error.message));
  }
  if (ended.reason === 'DeadlineExceeded') {
    return failed(
      'DeadlineExceeded',
      'The build took longer than spec.timeoutSeconds; give it more, or make it smaller.',
    );
  }
  return failed(
    ended.reason,
    `${ended.message === '' ? 'The pod of the build failed' : ended.message}; look at its log.`,
  );
}

function failed(reason: string, message: string): BuildResult {
  return {
    kind: 'Failed',
    reason: REASON.test(reason) ? reason : 'BuildFailed',
    message: message.slice(0, MAX_MESSAGE_CHARS),
  };
}

function parse(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text ?? '');
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // A container that was killed leaves nothing, or half of it.
    return {};
  }
}
