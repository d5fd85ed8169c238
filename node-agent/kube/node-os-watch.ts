/**
 * Follows one NodeOS: list, watch, and start over whenever the watch ends, for whatever reason. Level-triggered: only
 * the newest object counts, so a lost event costs time and never a decision.
 */
import type { NodeOS } from '../../api/index.ts';
import { API_VERSION } from '../../api/index.ts';
import { AgentError } from '../errors.ts';
import { backOffMs, sleep } from './back-off.ts';
import type { KubeClient } from './kube-client.ts';

/** The API server ends a watch after this long or up to twice it, so that a fleet's watches do not end together. */
const WATCH_SECONDS = 120;
/** A watch without a byte for this long is dead: longer than any watch, which ends in a clean close. */
const QUIET_MS = (2 * WATCH_SECONDS + 30) * 1000;
/** A watch that ends sooner and brought nothing counts as a failure, so that a broken proxy is not asked in a tight loop. */
const SHORTEST_WATCH_MS = 1000;
const BACK_OFF = { firstMs: 500, capMs: 30_000 };

export interface WatchOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly signal: AbortSignal;
  readonly random: () => number;
  /** Called with every version seen; `undefined` when there is no such object. */
  readonly onObject: (object: NodeOS | undefined) => void;
  /** Called for every failed attempt, with the number of failures in a row. */
  readonly onTrouble: (error: unknown, failures: number) => void;
}

const PATH = `/apis/${API_VERSION}/nodeoses`;

interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: NodeOS & { readonly code?: number; readonly message?: string };
}

/** Resolves when `signal` aborts; never throws. */
export async function watchNodeOS(options: WatchOptions): Promise<void> {
  const { signal, random, onTrouble } = options;
  let failures = 0;
  const onEvent = () => (failures = 0);
  while (!signal.aborted) {
    try {
      let resourceVersion = await list(options);
      while (!signal.aborted) resourceVersion = await watch(options, resourceVersion, onEvent);
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      // A watch that expired (410 Gone) is ordinary: list again at once, unless that goes on.
      if (error instanceof AgentError && error.status === 410 && failures === 1) continue;
      onTrouble(error, failures);
      await sleep(backOffMs(BACK_OFF, failures - 1, random), signal);
    }
  }
}

/** Delivers the present object and returns the version from which to watch. */
async function list({ client, nodeName, signal, onObject }: WatchOptions): Promise<string> {
  const query = { fieldSelector: `metadata.name=${nodeName}` };
  const answer = (await client.request({ method: 'GET', path: PATH, query, signal })) as {
    readonly metadata: { readonly resourceVersion: string };
    readonly items: readonly NodeOS[];
  };
  onObject(answer.items[0]);
  return answer.metadata.resourceVersion;
}

/** Delivers changes until the watch ends in peace; returns the version from which to go on. */
async function watch(
  { client, nodeName, signal, random, onObject }: WatchOptions,
  startVersion: string,
  onEvent: () => void,
): Promise<string> {
  let resourceVersion = startVersion;
  const startTime = performance.now();
  const query = {
    fieldSelector: `metadata.name=${nodeName}`,
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion,
    timeoutSeconds: String(Math.round(WATCH_SECONDS * (1 + random()))),
  };
  for await (const line of client.lines({ method: 'GET', path: PATH, query, signal }, QUIET_MS)) {
    const { type, object } = line as WatchEvent;
    if (type === 'ERROR') {
      const message = `The watch of NodeOS ${nodeName} ended: ${object.message ?? 'no reason'}.`;
      throw new AgentError('KubernetesFailed', message, object.code === undefined ? {} : { status: object.code });
    }
    onEvent();
    resourceVersion = object.metadata.resourceVersion;
    if (type === 'DELETED') onObject(undefined);
    else if (type !== 'BOOKMARK') onObject(object);
  }
  if (resourceVersion === startVersion && performance.now() - startTime < SHORTEST_WATCH_MS) {
    throw new AgentError('KubernetesFailed', `The watch of NodeOS ${nodeName} was closed at once.`);
  }
  return resourceVersion;
}
