/** What a command reads of a cluster, with the rights of whoever calls it; it writes nothing. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PooledConnection, loadKubeConfig, type Connection } from '../operator/kube/connection.ts';
import { NODES_PATH, NODE_OSES_PATH, OS_IMAGES_PATH } from '../operator/kube/kube-api.ts';
import type { RecordedObjects } from '../operator/recorded-snapshot.ts';

const PAGE_SIZE = 500;
/** Lists of five hundred large objects take longer than a write. */
const LIST_TIMEOUT_MS = 60_000;

interface Page {
  readonly metadata: { readonly continue?: string };
  readonly items: readonly unknown[];
}

/**
 * The kubeconfig that is meant: `given`, the first file in `KUBECONFIG`, `~/.kube/config`; undefined for the
 * ServiceAccount of a pod.
 */
export function kubeconfigPath(given: string | undefined, environment: NodeJS.ProcessEnv): string | undefined {
  if (given !== undefined) return given;
  const [named] = (environment['KUBECONFIG'] ?? '').split(':').filter((path) => path !== '');
  if (named !== undefined) return named;
  const usual = join(environment['HOME'] ?? '/', '.kube', 'config');
  return existsSync(usual) ? usual : undefined;
}

/** Reads every OSImage, Node and NodeOS. Throws `OperatorError` for a kubeconfig and `KubeError` for an API that do not serve. */
export async function readCluster(kubeconfig: string | undefined, signal: AbortSignal): Promise<RecordedObjects> {
  const connection = new PooledConnection(loadKubeConfig(kubeconfig), { userAgent: 'treeline' });
  try {
    const [images, nodes, nodeOSes] = await Promise.all(
      [OS_IMAGES_PATH, NODES_PATH, NODE_OSES_PATH].map((path) => list(connection, path, signal)),
    );
    return { images: images ?? [], nodes: nodes ?? [], nodeOSes: nodeOSes ?? [] };
  } finally {
    await connection.close();
  }
}

async function list(connection: Connection, path: string, signal: AbortSignal): Promise<readonly unknown[]> {
  const items: unknown[] = [];
  let next: string | undefined;
  do {
    const query = { limit: PAGE_SIZE, continue: next };
    const page = (await connection.call('GET', path, { query, signal, timeoutMs: LIST_TIMEOUT_MS })) as Page;
    items.push(...page.items);
    next = page.metadata.continue === '' ? undefined : page.metadata.continue;
  } while (next !== undefined);
  return items;
}
