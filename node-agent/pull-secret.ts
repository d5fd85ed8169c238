/** Reads the one Secret that an order names. The agent's role lists those in use, by name. */
import * as z from 'zod';
import { type Credentials, parseDockerConfig } from '../registry/index.ts';
import { AgentError, messageOf } from './errors.ts';
import type { KubeClient } from './kube/kube-client.ts';

const KEY = '.dockerconfigjson';
const secretSchema = z.looseObject({ data: z.looseObject({ [KEY]: z.string() }) });

/** Throws AgentError `PullSecretInvalid` when it is missing or malformed, `KubernetesFailed` when the API does not answer. */
export async function readPullSecret(
  client: KubeClient,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<Credentials> {
  const secret = await getSecret(client, namespace, name, signal);
  const parsed = secretSchema.safeParse(secret);
  if (!parsed.success) {
    throw invalid(
      `Secret ${namespace}/${name} has no key ${KEY}; make it with \`kubectl create secret docker-registry\`.`,
    );
  }
  try {
    return parseDockerConfig(Buffer.from(parsed.data.data[KEY] ?? '', 'base64').toString('utf8'));
  } catch (cause) {
    throw invalid(`Secret ${namespace}/${name} is not a docker config: ${messageOf(cause)}`, cause);
  }
}

async function getSecret(client: KubeClient, namespace: string, name: string, signal: AbortSignal): Promise<unknown> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets/${encodeURIComponent(name)}`;
  try {
    return await client.request({ method: 'GET', path, signal });
  } catch (error) {
    if (!(error instanceof AgentError) || (error.status !== 404 && error.status !== 403)) throw error;
    throw invalid(
      error.status === 404
        ? `There is no Secret ${namespace}/${name}; create it or correct spec.image.pullSecretRef.`
        : `The agent may not read Secret ${namespace}/${name} yet; the operator grants it when an OSImage names it.`,
      error,
    );
  }
}

function invalid(message: string, cause?: unknown): AgentError {
  return new AgentError('PullSecretInvalid', message, cause === undefined ? {} : { cause });
}
