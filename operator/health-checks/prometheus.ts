/**
 * Asks a Prometheus which alerts fire (its HTTP API, "Alerts"). The URL comes from an OSImage, so little is trusted: the answer
 * is bounded and never quoted, redirects are not followed, and a token goes only where its Secret says that it belongs.
 */
import { Agent, request, type Dispatcher } from 'undici';
import { PROMETHEUS_SECRET_TYPE, type AlertPolicy } from '../../api/index.ts';
import { isKubeError, messageOf } from '../errors.ts';
import type { Secret } from '../kube/objects.ts';
import { firingAlerts } from './prometheus-answer.ts';

const TIMEOUT_MS = 10_000;
/** Thousands of alerts with long annotations. */
const MAX_BYTES = 8 * 1024 * 1024;

/** Names of the alerts that fire and count, sorted; or why that cannot be told, in sentences that say what to do. */
export type AlertsRead = { readonly firing: readonly string[] } | { readonly unreachable: string };

export interface PrometheusOptions {
  /** Reads a Secret of the operator's namespace; throws `KubeError`. */
  readonly readSecret: (name: string) => Promise<Secret>;
  /** Replaces the connections: a MockAgent in tests. */
  readonly dispatcher?: Dispatcher;
}

interface Credentials {
  readonly token?: string;
  readonly certificates?: string;
}

/** Reads the alerts that `policy` is about. Never throws, but for `signal`. */
export async function readAlerts(
  policy: AlertPolicy,
  { readSecret, dispatcher }: PrometheusOptions,
  signal: AbortSignal,
): Promise<AlertsRead> {
  try {
    const credentials = await credentialsFor(policy, readSecret);
    if ('unreachable' in credentials) return credentials;
    return await ask(policy, credentials, dispatcher, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return unreachable(policy, `does not answer: ${reason(error)}.`);
  }
}

async function ask(
  policy: AlertPolicy,
  { token, certificates }: Credentials,
  given: Dispatcher | undefined,
  signal: AbortSignal,
): Promise<AlertsRead> {
  const agent = given ?? new Agent({ connect: certificates === undefined ? {} : { ca: certificates } });
  try {
    const { statusCode, body } = await request(`${policy.prometheusURL.replace(/\/$/, '')}/api/v1/alerts`, {
      dispatcher: agent,
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      headers: { accept: 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    });
    const text = await bounded(body);
    if (text === undefined) return unreachable(policy, `answers with more than ${MAX_BYTES} bytes.`);
    if (statusCode === 401 || statusCode === 403)
      return unreachable(policy, `refuses the operator (HTTP ${statusCode}); see spec.health.alerts.secretRef.`);
    if (statusCode >= 300 && statusCode < 400)
      return unreachable(policy, `redirects (HTTP ${statusCode}), which is not followed; name the last URL.`);
    if (statusCode !== 200) return unreachable(policy, `answers with HTTP ${statusCode}.`);
    const firing = firingAlerts(policy, text);
    if (firing === undefined) return unreachable(policy, 'does not answer like a Prometheus; see the URL.');
    return { firing };
  } finally {
    if (given === undefined) void agent.destroy();
  }
}

async function credentialsFor(
  policy: AlertPolicy,
  readSecret: PrometheusOptions['readSecret'],
): Promise<Credentials | { readonly unreachable: string }> {
  const name = policy.secretRef?.name;
  if (name === undefined) return {};
  const where = `Secret ${name} of spec.health.alerts.secretRef`;
  let secret;
  try {
    secret = await readSecret(name);
  } catch (error) {
    if (isKubeError(error, 'NotFound')) return { unreachable: `The ${where} is not in the operator's namespace.` };
    throw error;
  }
  const field = (key: string) => {
    const value = secret.data?.[key];
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8').trim();
  };
  // Else whoever may write an OSImage could have any Secret sent to any place.
  if (secret.type !== PROMETHEUS_SECRET_TYPE || field('url') !== policy.prometheusURL)
    return {
      unreachable: `The ${where} is not for ${policy.prometheusURL}: it must be of type ${PROMETHEUS_SECRET_TYPE}, with that very URL under the key url.`,
    };
  const token = field('token');
  const certificates = field('ca.crt');
  if (token !== undefined && !policy.prometheusURL.startsWith('https://'))
    return { unreachable: `The token of ${where} is only sent over https.` };
  return { ...(token !== undefined && { token }), ...(certificates !== undefined && { certificates }) };
}

/** Undefined, with the connection given up, when the answer is too long. */
async function bounded(body: AsyncIterable<Buffer>): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function unreachable({ prometheusURL }: AlertPolicy, why: string): AlertsRead {
  return { unreachable: `${prometheusURL} ${why}` };
}

/** One code where there is one: the text of connection errors differs from one try to the next. */
function reason(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `nothing in ${TIMEOUT_MS / 1000} s`;
  const { code } = Object(error) as { readonly code?: unknown };
  return typeof code === 'string' ? code : messageOf(error).slice(0, 200);
}
