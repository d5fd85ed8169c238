/**
 * Where the Kubernetes API is and how to talk to it: the pod's service account, or a kubeconfig. Only what an agent on
 * a node needs: the full client library costs more memory on every node than the rest of the agent's Kubernetes part.
 */
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { parse as parseYAML } from 'yaml';
import * as z from 'zod';
import { AgentError, messageOf } from '../errors.ts';

export interface KubeConnection {
  /** `https://host:port`, without a trailing slash. */
  readonly server: string;
  /** PEM. */
  readonly certificateAuthority?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly serverName?: string;
  readonly insecure?: boolean;
  /** Read afresh for every request: bound service account tokens are rotated on disk. */
  readonly token?: () => Promise<string>;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

const named = <T extends z.ZodType>(key: string, value: T) =>
  z.array(z.looseObject({ name: z.string(), [key]: value })).default([]);

const clusterSchema = z.looseObject({
  server: z.string(),
  'certificate-authority': z.string().optional(),
  'certificate-authority-data': z.string().optional(),
  'insecure-skip-tls-verify': z.boolean().optional(),
  'tls-server-name': z.string().optional(),
});
const userSchema = z.looseObject({
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  'client-certificate': z.string().optional(),
  'client-certificate-data': z.string().optional(),
  'client-key': z.string().optional(),
  'client-key-data': z.string().optional(),
  exec: z.unknown().optional(),
  'auth-provider': z.unknown().optional(),
});
const contextSchema = z.looseObject({ cluster: z.string(), user: z.string() });
const kubeconfigSchema = z.looseObject({
  'current-context': z.string(),
  clusters: named('cluster', clusterSchema),
  users: named('user', userSchema),
  contexts: named('context', contextSchema),
});

/** Reads a kubeconfig's current context; throws AgentError `KubeConfigInvalid`. */
export async function connectionFromKubeconfig(path: string): Promise<KubeConnection> {
  try {
    const config = kubeconfigSchema.parse(parseYAML(await readFile(path, 'utf8')));
    const context = contextSchema.parse(entry(config.contexts, config['current-context'], 'context'));
    const cluster = clusterSchema.parse(entry(config.clusters, context.cluster, 'cluster'));
    const user = userSchema.parse(entry(config.users, context.user, 'user'));
    if (user.exec !== undefined || user['auth-provider'] !== undefined) {
      throw new Error(`user ${context.user} needs a credential plugin; give the agent a token or a client certificate`);
    }
    const material = (kind: 'certificate-authority' | 'client-certificate' | 'client-key') =>
      pem(path, kind in cluster || `${kind}-data` in cluster ? cluster : user, kind);
    const [certificateAuthority, clientCertificate, clientKey] = await Promise.all([
      material('certificate-authority'),
      material('client-certificate'),
      material('client-key'),
    ]);
    const { token, tokenFile } = user;
    return {
      server: cluster.server.replace(/\/$/, ''),
      ...(certificateAuthority === undefined ? {} : { certificateAuthority }),
      ...(clientCertificate === undefined ? {} : { clientCertificate }),
      ...(clientKey === undefined ? {} : { clientKey }),
      ...(cluster['tls-server-name'] === undefined ? {} : { serverName: cluster['tls-server-name'] }),
      ...(cluster['insecure-skip-tls-verify'] === true ? { insecure: true } : {}),
      ...(tokenFile === undefined
        ? token === undefined
          ? {}
          : { token: async () => token }
        : { token: async () => (await readFile(beside(path, tokenFile), 'utf8')).trim() }),
    };
  } catch (cause) {
    throw new AgentError('KubeConfigInvalid', `Kubeconfig ${path} cannot be used: ${messageOf(cause)}.`, { cause });
  }
}

/** The pod's own service account; throws AgentError `KubeConfigInvalid` outside a cluster. */
export async function connectionInCluster(environment: NodeJS.ProcessEnv): Promise<KubeConnection> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = environment;
  if (host === undefined) {
    throw new AgentError('KubeConfigInvalid', 'This process is not in a pod; give --kubeconfig or set KUBECONFIG.');
  }
  try {
    return {
      server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
      certificateAuthority: await readFile(join(SERVICE_ACCOUNT, 'ca.crt'), 'utf8'),
      token: async () => (await readFile(join(SERVICE_ACCOUNT, 'token'), 'utf8')).trim(),
    };
  } catch (cause) {
    throw new AgentError('KubeConfigInvalid', `The pod has no service account: ${messageOf(cause)}.`, { cause });
  }
}

function entry(list: readonly Record<string, unknown>[], name: string, kind: string): unknown {
  const found = list.find((candidate) => candidate['name'] === name);
  if (found === undefined) throw new Error(`it has no ${kind} named ${name}`);
  return found[kind];
}

async function pem(kubeconfig: string, section: Record<string, unknown>, kind: string): Promise<string | undefined> {
  const data = section[`${kind}-data`];
  if (typeof data === 'string') return Buffer.from(data, 'base64').toString('utf8');
  const file = section[kind];
  return typeof file === 'string' ? readFile(beside(kubeconfig, file), 'utf8') : undefined;
}

/** Relative paths in a kubeconfig count from its own folder. */
function beside(kubeconfig: string, path: string): string {
  return isAbsolute(path) ? path : join(dirname(kubeconfig), path);
}
