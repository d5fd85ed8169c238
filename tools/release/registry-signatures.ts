/** What the package registry itself has signed of the packages in the lock file, asked by `npm audit signatures`. */
import { spawnSync } from 'node:child_process';
import * as z from 'zod';

/** Of whoever answers at all; the keys' host is sigstore's TUF repository. */
const TIMEOUT_MS = 300_000;

const PACKAGES = z.array(z.looseObject({ name: z.string(), version: z.string().optional() }));
const ANSWER = z.looseObject({ invalid: PACKAGES, missing: PACKAGES });
const ERROR = z.looseObject({ error: z.looseObject({ summary: z.string() }) });

export type SignatureAudit =
  | { readonly verdict: 'good' }
  /** Packages whose signature is not good, or that have none: not to be released. */
  | { readonly verdict: 'refused'; readonly packages: readonly string[] }
  /** Nobody could be asked. */
  | { readonly verdict: 'unknown'; readonly reason: string };

/** Asks for the packages that are installed in the checkout `root`; never throws. */
export function auditSignatures(root: string): SignatureAudit {
  const audit = ['audit', 'signatures', '--json', '--fetch-retries=1', '--fetch-retry-mintimeout=1000'];
  const { status, stdout, error } = spawnSync('npm', audit, { cwd: root, encoding: 'utf8', timeout: TIMEOUT_MS });
  return judgeAudit(status, stdout ?? '', error);
}

/** What npm's exit status and its JSON mean. */
export function judgeAudit(status: number | null, stdout: string, error?: Error): SignatureAudit {
  const said = parsed(stdout);
  const answer = ANSWER.safeParse(said).data;
  const refused = [...(answer?.invalid ?? []), ...(answer?.missing ?? [])];
  if (refused.length > 0)
    return { verdict: 'refused', packages: refused.map(({ name, version = '' }) => `${name} ${version}`.trim()) };
  if (answer !== undefined && status === 0) return { verdict: 'good' };
  const reason = error?.message ?? ERROR.safeParse(said).data?.error.summary ?? `npm ended with ${status}`;
  return { verdict: 'unknown', reason };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // No answer at all, which is judged as one.
    if (cause instanceof SyntaxError) return undefined;
    throw cause;
  }
}
