/** The calls that the operator makes, and no others: its ClusterRole in `manifests/` allows exactly these. */
import {
  API_VERSION,
  OPERATOR_FIELD_MANAGER,
  type NodeOS,
  type NodeOSSpec,
  type OSImage,
  type OSImageStatus,
} from '../../api/index.ts';
import type { Connection } from './connection.ts';
import type { Lease, LeaseSpec, LeaseStore } from './leader-election.ts';
import { trimNode, trimNodeOS, trimOSImage } from './objects.ts';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret } from './objects.ts';

export const OS_IMAGES_PATH = `/apis/${API_VERSION}/osimages`;
export const NODE_OSES_PATH = `/apis/${API_VERSION}/nodeoses`;
export const NODES_PATH = '/api/v1/nodes';
/** The API server requires events about cluster-scoped objects to be in this namespace. */
const EVENTS_PATH = '/apis/events.k8s.io/v1/namespaces/default/events';

const ADMISSION_PATH = '/apis/admissionregistration.k8s.io/v1';

const MERGE_PATCH = 'application/merge-patch+json';
const STRATEGIC_MERGE_PATCH = 'application/strategic-merge-patch+json';
const MANAGER = { fieldManager: OPERATOR_FIELD_MANAGER };
const PAGE_SIZE = 500;

export class KubeApi {
  readonly #connection: Connection;
  readonly #namespace: string;

  /** `namespace` is the operator's own: its Lease and the pull Secrets are there. */
  constructor(connection: Connection, namespace: string) {
    this.#connection = connection;
    this.#namespace = namespace;
  }

  async getNode(name: string): Promise<Node> {
    return trimNode(await this.#connection.call('GET', item(NODES_PATH, name)));
  }

  async getNodeOS(name: string): Promise<NodeOS> {
    return trimNodeOS(await this.#connection.call('GET', item(NODE_OSES_PATH, name)));
  }

  async getOSImage(name: string): Promise<OSImage> {
    return trimOSImage(await this.#connection.call('GET', item(OS_IMAGES_PATH, name)));
  }

  /** JSON merge patch (RFC 7386); with `metadata.resourceVersion` in it the API server answers 409 unless it is current. */
  async mergePatchNode(name: string, patch: unknown): Promise<Node> {
    const path = item(NODES_PATH, name);
    return trimNode(
      await this.#connection.call('PATCH', path, { body: patch, contentType: MERGE_PATCH, query: MANAGER }),
    );
  }

  /** Strategic merge patch, which takes conditions by their type; 409 unless `metadata.resourceVersion` is current. */
  async patchNodeStatus(name: string, patch: unknown): Promise<Node> {
    const path = `${item(NODES_PATH, name)}/status`;
    return trimNode(
      await this.#connection.call('PATCH', path, { body: patch, contentType: STRATEGIC_MERGE_PATCH, query: MANAGER }),
    );
  }

  async createNodeOS(
    metadata: { readonly name: string; readonly [field: string]: unknown },
    spec: NodeOSSpec,
  ): Promise<NodeOS> {
    const body = { apiVersion: API_VERSION, kind: 'NodeOS', metadata, spec };
    return trimNodeOS(await this.#connection.call('POST', NODE_OSES_PATH, { body, query: MANAGER }));
  }

  /** Writes everything but `status`; 409 unless `metadata.resourceVersion` is current. */
  async replaceNodeOS(object: NodeOS): Promise<NodeOS> {
    const body = { ...object, apiVersion: API_VERSION, kind: 'NodeOS' };
    const path = item(NODE_OSES_PATH, object.metadata.name);
    return trimNodeOS(await this.#connection.call('PUT', path, { body, query: MANAGER }));
  }

  /** JSON merge patch (RFC 7386) of everything but `status`; with `metadata.uid` in it, 422 for another object of that name. */
  async mergePatchNodeOS(name: string, patch: unknown): Promise<NodeOS> {
    const path = item(NODE_OSES_PATH, name);
    return trimNodeOS(
      await this.#connection.call('PATCH', path, { body: patch, contentType: MERGE_PATCH, query: MANAGER }),
    );
  }

  async mergePatchNodeOSStatus(name: string, patch: unknown): Promise<NodeOS> {
    const path = `${item(NODE_OSES_PATH, name)}/status`;
    return trimNodeOS(
      await this.#connection.call('PATCH', path, { body: patch, contentType: MERGE_PATCH, query: MANAGER }),
    );
  }

  /** 409 if there is a NodeOS of that name with another UID. */
  async deleteNodeOS(name: string, uid: string): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid } };
    await this.#connection.call('DELETE', item(NODE_OSES_PATH, name), { body });
  }

  /** Replaces the whole status, which is the operator's alone; 409 unless `metadata.resourceVersion` is current. */
  async replaceOSImageStatus(object: OSImage, status: OSImageStatus): Promise<OSImage> {
    const body = { ...object, apiVersion: API_VERSION, kind: 'OSImage', status };
    const path = `${item(OS_IMAGES_PATH, object.metadata.name)}/status`;
    return trimOSImage(await this.#connection.call('PUT', path, { body, query: MANAGER }));
  }

  /** Pods bound to one node, of all namespaces. Never those of the whole cluster. */
  async listPodsOnNode(node: string, signal?: AbortSignal): Promise<Pod[]> {
    const pods: Pod[] = [];
    let next: string | undefined;
    do {
      const page = (await this.#connection.call('GET', '/api/v1/pods', {
        query: { fieldSelector: `spec.nodeName=${node}`, limit: PAGE_SIZE, continue: next },
        ...(signal === undefined ? {} : { signal }),
      })) as { readonly metadata: { readonly continue?: string }; readonly items: readonly Pod[] };
      pods.push(...page.items);
      next = page.metadata.continue === '' ? undefined : page.metadata.continue;
    } while (next !== undefined);
    return pods;
  }

  /** Asks the Eviction API to let the pod go; throws the API server's refusal. */
  async evict(pod: Pod, gracePeriodSeconds?: number, signal?: AbortSignal): Promise<void> {
    await this.#evict(pod, deleteOptions(pod, gracePeriodSeconds), {}, signal);
  }

  /** Asks whether the pod could be evicted, and changes nothing; throws as `evict` would. */
  async tryEvict(pod: Pod, signal?: AbortSignal): Promise<void> {
    await this.#evict(pod, deleteOptions(pod, undefined), { dryRun: 'All' }, signal);
  }

  /** Deletes the pod past its disruption budgets; `Forbidden` without the optional role that allows it. */
  async deletePod(pod: Pod, gracePeriodSeconds?: number, signal?: AbortSignal): Promise<void> {
    await this.#connection.call('DELETE', podPath(pod), {
      body: { apiVersion: 'v1', kind: 'DeleteOptions', ...deleteOptions(pod, gracePeriodSeconds) },
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async getClaim(namespace: string, name: string, signal?: AbortSignal): Promise<PersistentVolumeClaim> {
    const path = item(`/api/v1/namespaces/${namespace}/persistentvolumeclaims`, name);
    return (await this.#connection.call('GET', path, signal === undefined ? {} : { signal })) as PersistentVolumeClaim;
  }

  async getVolume(name: string, signal?: AbortSignal): Promise<PersistentVolume> {
    const path = item('/api/v1/persistentvolumes', name);
    return (await this.#connection.call('GET', path, signal === undefined ? {} : { signal })) as PersistentVolume;
  }

  async getSecret(name: string): Promise<Secret> {
    return (await this.#connection.call('GET', item(this.#own('api/v1', 'secrets'), name))) as Secret;
  }

  async getAdmissionPolicy(name: string, signal: AbortSignal): Promise<object> {
    return (await this.#connection.call('GET', item(`${ADMISSION_PATH}/validatingadmissionpolicies`, name), {
      signal,
    })) as object;
  }

  async getAdmissionPolicyBinding(name: string, signal: AbortSignal): Promise<object> {
    return (await this.#connection.call('GET', item(`${ADMISSION_PATH}/validatingadmissionpolicybindings`, name), {
      signal,
    })) as object;
  }

  async createEvent(event: unknown): Promise<void> {
    await this.#connection.call('POST', EVENTS_PATH, { body: event, query: MANAGER });
  }

  async mergePatchEvent(name: string, patch: unknown): Promise<void> {
    await this.#connection.call('PATCH', item(EVENTS_PATH, name), {
      body: patch,
      contentType: MERGE_PATCH,
      query: MANAGER,
    });
  }

  /** The Lease `name` in the operator's namespace. */
  leaseStore(name: string): LeaseStore {
    const collection = this.#own('apis/coordination.k8s.io/v1', 'leases');
    const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
    // Shorter than the renew deadline, so that one lost answer does not cost the leadership.
    const options = (signal: AbortSignal | undefined) => ({
      timeoutMs: 4000,
      ...(signal === undefined ? {} : { signal }),
    });
    return {
      get: async (signal) => (await this.#connection.call('GET', item(collection, name), options(signal))) as Lease,
      create: async (spec: LeaseSpec, signal) =>
        (await this.#connection.call('POST', collection, {
          ...options(signal),
          body: { ...kind, metadata: { name }, spec },
          query: MANAGER,
        })) as Lease,
      update: async (lease, signal) =>
        (await this.#connection.call('PUT', item(collection, name), {
          ...options(signal),
          body: { ...lease, ...kind },
          query: MANAGER,
        })) as Lease,
    };
  }

  async #evict(
    pod: Pod,
    deleteOptions: object,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { namespace, name } = pod.metadata;
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { namespace, name }, deleteOptions };
    await this.#connection.call('POST', `${podPath(pod)}/eviction`, { body, query, ...(signal && { signal }) });
  }

  #own(api: string, resource: string): string {
    return `/${api}/namespaces/${this.#namespace}/${resource}`;
  }
}

function podPath({ metadata }: Pod): string {
  return item(`/api/v1/namespaces/${metadata.namespace}/pods`, metadata.name);
}

/** A StatefulSet makes a pod of the same name: that one is not meant. */
function deleteOptions({ metadata: { uid } }: Pod, gracePeriodSeconds: number | undefined): object {
  return { preconditions: { uid }, ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }) };
}

function item(collection: string, name: string): string {
  return `${collection}/${encodeURIComponent(name)}`;
}
