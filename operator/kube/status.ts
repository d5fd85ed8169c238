/** Reads the API server's `metav1.Status` answers, which arrive as JSON text or as the object of an ERROR watch event. */
import { KubeError, type KubeErrorCode, type StatusCause } from '../errors.ts';

interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly causes?: readonly { readonly reason?: string; readonly message?: string }[];
    readonly retryAfterSeconds?: number;
  };
}

/**
 * Turns the body of a failed answer into an error. A body that is not a Status (a proxy's page, or API priority and
 * fairness, which says when to come back in the header `Retry-After`) is quoted, shortened.
 */
export function errorFromResponse(status: number, body: string, request: string, retryAfter?: unknown): KubeError {
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === 'object' && parsed !== null && 'kind' in parsed && parsed.kind === 'Status')
      return errorFromStatus(parsed, status, request);
  } catch {
    // Not JSON: quoted below.
  }
  const quoted = body.trim().slice(0, 200);
  return new KubeError(codeOf(status, undefined), `${request}: HTTP ${status}${quoted === '' ? '' : `: ${quoted}`}`, {
    status,
    ...(typeof retryAfter === 'string' && /^\d+$/.test(retryAfter) ? { retryAfterSeconds: Number(retryAfter) } : {}),
  });
}

/** Turns a `metav1.Status` object into an error. `status` is the HTTP status for when the object has no `code`. */
export function errorFromStatus(object: unknown, status: number, request: string): KubeError {
  // Only fields of the right type are believed: a proxy may answer with anything.
  const answer = (typeof object === 'object' && object !== null ? object : {}) as Status;
  const code = typeof answer.code === 'number' ? answer.code : status;
  const causes: StatusCause[] = (answer.details?.causes ?? []).map((cause) => ({
    reason: cause.reason ?? '',
    message: cause.message ?? '',
  }));
  return new KubeError(
    codeOf(code, answer.reason),
    answer.message === undefined || answer.message === '' ? `${request}: HTTP ${code}` : answer.message,
    {
      status: code,
      causes,
      ...(answer.reason === undefined ? {} : { reason: answer.reason }),
      ...(answer.details?.retryAfterSeconds === undefined
        ? {}
        : { retryAfterSeconds: answer.details.retryAfterSeconds }),
    },
  );
}

function codeOf(status: number, reason: string | undefined): KubeErrorCode {
  if (reason === 'AlreadyExists') return 'AlreadyExists';
  if (reason === 'Expired' || reason === 'Gone') return 'Gone';
  switch (status) {
    case 400:
    case 422:
      return 'Invalid';
    case 401:
      return 'Unauthorized';
    case 403:
      return 'Forbidden';
    case 404:
      return 'NotFound';
    case 409:
      return 'Conflict';
    case 410:
      return 'Gone';
    case 429:
      return 'TooManyRequests';
    case 504:
      return 'Timeout';
    default:
      return status >= 500 ? 'Unavailable' : 'Unexpected';
  }
}
