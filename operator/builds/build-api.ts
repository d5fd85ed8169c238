/** The calls that builds need: `manifests/optional/operator-builds.yaml` allows exactly these. */
import { API_VERSION, OPERATOR_FIELD_MANAGER, type OSImageBuild, type OSImageBuildStatus } from '../../api/index.ts';
import type { Connection } from '../kube/connection.ts';

export const OS_IMAGE_BUILDS_PATH = `/apis/${API_VERSION}/osimagebuilds`;
const MANAGER = { fieldManager: OPERATOR_FIELD_MANAGER };

interface PodList {
  readonly items: readonly {
    readonly status?: {
      readonly containerStatuses?: readonly {
        readonly state?: { readonly terminated?: { readonly message?: string } };
      }[];
    };
  }[];
}

/** Kept whole, to be written back, but for the record of who wrote which field. */
export function trimOSImageBuild(raw: unknown): OSImageBuild {
  const object = raw as OSImageBuild & { metadata: { managedFields?: unknown } };
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Every method throws `KubeError`. */
export class BuildApi {
  readonly #connection: Connection;
  readonly #namespace: string;

  /** `namespace` is that of builds. */
  constructor(connection: Connection, namespace: string) {
    this.#connection = connection;
    this.#namespace = namespace;
  }

  get jobsPath(): string {
    return `/apis/batch/v1/namespaces/${encodeURIComponent(this.#namespace)}/jobs`;
  }

  /** 409 unless `metadata.resourceVersion` is current. */
  async replaceStatus(build: OSImageBuild, status: OSImageBuildStatus): Promise<OSImageBuild> {
    const path = `${OS_IMAGE_BUILDS_PATH}/${encodeURIComponent(build.metadata.name)}/status`;
    const body = { ...build, apiVersion: API_VERSION, kind: 'OSImageBuild', status };
    return trimOSImageBuild(await this.#connection.call('PUT', path, { body, query: MANAGER }));
  }

  async createJob(job: object): Promise<unknown> {
    return await this.#connection.call('POST', this.jobsPath, { body: job, query: MANAGER });
  }

  /** The termination message of the Job's pod; undefined when it left none, or is gone. */
  async lastWords(job: string): Promise<string | undefined> {
    const path = `/api/v1/namespaces/${encodeURIComponent(this.#namespace)}/pods`;
    const query = { labelSelector: `batch.kubernetes.io/job-name=${job}`, limit: 5 };
    const { items } = (await this.#connection.call('GET', path, { query })) as PodList;
    return items
      .flatMap(({ status }) => status?.containerStatuses ?? [])
      .find(({ state }) => state?.terminated?.message !== undefined)?.state?.terminated?.message;
  }
}
