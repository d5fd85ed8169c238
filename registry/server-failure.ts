/** Turns an answer that is neither success nor expected into a RegistryError, quoting what the server says about it. */
import * as z from 'zod';
import { type Answer, drain, header, readBody } from './connection.ts';
import { printable, RegistryError, type RegistryErrorCode } from './errors.ts';
import { parseRetryAfter } from './retry.ts';

const ERROR_BODY_MAX_BYTES = 16 * 1024;

/** The error document of the distribution specification. */
const ERRORS = z.object({
  errors: z.array(z.object({ code: z.string().optional(), message: z.string().optional() })),
});

/**
 * @param who subject of the sentence: `Registry quay.io`.
 * @param now milliseconds since the epoch, for a `Retry-After` date.
 */
export async function serverFailure(answer: Answer, who: string, now: number): Promise<RegistryError> {
  const quote = await quoteOf(answer);
  const said = `${who} answers ${answer.status}${quote === '' ? '' : ` (${quote})`}`;
  const retryAfterMs = parseRetryAfter(header(answer, 'retry-after'), now);
  const [code, next] = classify(answer.status);
  return new RegistryError(code, `${said}: ${next}.`, undefined, retryAfterMs);
}

function classify(status: number): readonly [RegistryErrorCode, string] {
  if (status === 429) return ['RateLimited', 'too many requests; wait, or configure credentials with a higher limit'];
  if (status === 408 || (status >= 500 && status !== 501 && status !== 505)) {
    return ['ServerError', 'look into its log, and try again later'];
  }
  if (status === 403) return ['Forbidden', 'ask whoever runs it for access'];
  return ['UnexpectedResponse', 'check that the address is that of a container registry'];
}

/** The server's own words. */
async function quoteOf(answer: Answer): Promise<string> {
  let body: Buffer | undefined;
  try {
    body = await readBody(answer, ERROR_BODY_MAX_BYTES);
  } catch {
    // The status is what matters; its explanation got lost with the connection.
    await drain(answer);
  }
  if (body === undefined) return '';
  try {
    const first = ERRORS.parse(JSON.parse(body.toString('utf8'))).errors[0];
    const words = [first?.code, first?.message].filter((word) => word !== undefined && word !== '').join(': ');
    return printable(words);
  } catch {
    // Not the specification's document: an HTML page of a proxy tells a person nothing.
    return '';
  }
}
