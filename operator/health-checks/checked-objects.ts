/**
 * Reads the objects that a check of `spec.health.checks` speaks of. What it may read is up to whoever binds the operator's
 * ServiceAccount; an answer of "forbidden" comes back as the very command that would allow it.
 */
import type { HealthCheck } from '../../api/index.ts';
import { KubeError, messageOf } from '../errors.ts';
import type { CallOptions, Connection } from '../kube/connection.ts';
import { labelQuery } from './label-query.ts';

/** More objects than this make a check slow and its answer unclear; a selector names fewer. */
const MAX_OBJECTS = 500;
/** A list of that many large objects; the answer is held in memory for as long as it is evaluated. */
const MAX_BYTES = 8 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

export type ReadObjects =
  | { readonly objects: readonly unknown[] }
  /** Why they could not be read and what to do, in sentences. */
  | { readonly verdict: 'Forbidden' | 'Unreadable'; readonly message: string };

interface Resource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

type Target = HealthCheck['object'];

export class CheckedObjects {
  readonly #call: Connection['call'];
  readonly #account: string;
  readonly #resources = new Map<string, Resource>();

  /** `namespace` is the operator's own, for the commands that it recommends. */
  constructor(connection: Pick<Connection, 'call'>, namespace: string) {
    this.#call = connection.call.bind(connection);
    this.#account = `${namespace}:treeline-operator`;
  }

  /** Reads what `target` names. Never throws, but for `signal`. */
  async read(target: Target, signal: AbortSignal): Promise<ReadObjects> {
    const { apiVersion, kind, namespace, name, selector } = target;
    try {
      const resource = await this.#resource(apiVersion, kind, signal);
      if (resource === undefined) return unreadable(`The API server serves no ${kind} in ${apiVersion}.`);
      if (resource.namespaced && namespace === undefined && name !== undefined)
        return unreadable(`A ${kind} has a namespace: object.namespace is missing.`);
      const where = resource.namespaced && namespace !== undefined ? `/namespaces/${namespace}` : '';
      const path = `${base(apiVersion)}${where}/${resource.name}`;
      const options: CallOptions = { signal, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES };
      try {
        if (name !== undefined)
          return { objects: [trimmed(await this.#call('GET', `${path}/${encodeURIComponent(name)}`, options))] };
        const labelSelector = selector && labelQuery(selector);
        const query = { limit: MAX_OBJECTS, ...(labelSelector !== undefined && { labelSelector }) };
        const list = (await this.#call('GET', path, { ...options, query })) as {
          readonly items?: readonly object[];
          readonly metadata?: { readonly continue?: string };
        };
        if (list.metadata?.continue !== undefined && list.metadata.continue !== '')
          return unreadable(`There are more than ${MAX_OBJECTS} such objects; name fewer by object.selector.`);
        return { objects: (list.items ?? []).map((item) => trimmed({ apiVersion, kind, ...item })) };
      } catch (error) {
        if (error instanceof KubeError && error.code === 'Forbidden')
          return { verdict: 'Forbidden', message: `${error.message}. ${this.#remedy(target, resource)}` };
        throw error;
      }
    } catch (error) {
      if (signal.aborted) throw error;
      // The kind may have been taken away, or served anew in another form.
      this.#resources.delete(`${apiVersion} ${kind}`);
      if (error instanceof KubeError && error.code === 'NotFound')
        return unreadable(`There is no ${[kind, namespace, name].filter((part) => part !== undefined).join('/')}.`);
      return unreadable(`The API server does not say: ${messageOf(error)}.`);
    }
  }

  async #resource(apiVersion: string, kind: string, signal: AbortSignal): Promise<Resource | undefined> {
    const key = `${apiVersion} ${kind}`;
    const known = this.#resources.get(key);
    if (known !== undefined) return known;
    let list;
    try {
      // Everybody who is authenticated may ask what is served (ClusterRole system:discovery).
      list = (await this.#call('GET', base(apiVersion), { signal, timeoutMs: TIMEOUT_MS })) as {
        readonly resources?: readonly Resource[];
      };
    } catch (error) {
      if (error instanceof KubeError && error.code === 'NotFound') return undefined;
      throw error;
    }
    const found = list.resources?.find((one) => one.kind === kind && !one.name.includes('/'));
    if (found !== undefined) this.#resources.set(key, found);
    return found;
  }

  /** The commands that allow just this, and no more. */
  #remedy({ apiVersion, namespace, name }: Target, { name: plural, namespaced }: Resource): string {
    const [group] = apiVersion.includes('/') ? apiVersion.split('/') : [];
    const resource = group === undefined ? plural : `${plural}.${group}`;
    const verbs = name === undefined ? '--verb=list' : `--verb=get --resource-name=${name}`;
    const role = `treeline-reads-${plural}`;
    const rights = `${role} --resource=${resource} ${verbs}`;
    const subject = `--serviceaccount=${this.#account}`;
    return namespaced && namespace !== undefined
      ? `To allow it: kubectl create role -n ${namespace} ${rights} && kubectl create rolebinding -n ${namespace} ${role} --role=${role} ${subject}`
      : `To allow it: kubectl create clusterrole ${rights} && kubectl create clusterrolebinding ${role} --clusterrole=${role} ${subject}`;
  }
}

function unreadable(message: string): ReadObjects {
  return { verdict: 'Unreadable', message };
}

function base(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** As CEL in Kubernetes sees an object: whole numbers are int. The record of who wrote which field is left out. */
function trimmed(object: unknown): unknown {
  const { metadata, ...rest } = object as { readonly metadata?: Record<string, unknown> };
  const { managedFields: _, ...kept } = metadata ?? {};
  return withIntegers({ ...rest, metadata: kept });
}

function withIntegers(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(withIntegers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withIntegers(part)]));
}
