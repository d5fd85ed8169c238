/** One OSImage of a cluster, read and changed with the rights of whoever calls the command. */
import type { OSImage } from '../api/index.ts';
import { isKubeError } from '../operator/errors.ts';
import { PooledConnection, loadKubeConfig } from '../operator/kube/connection.ts';
import { OS_IMAGES_PATH } from '../operator/kube/kube-api.ts';
import { trimOSImage } from '../operator/kube/objects.ts';
import { kubeconfigPath } from './cluster.ts';
import { CliError } from './errors.ts';

/** The operator writes its status all the while, and each write makes a change that was read before it one of the past. */
const ATTEMPTS = 10;

export const KUBECONFIG_FLAG = {
  type: 'string',
  value: 'FILE',
  description: "Where the API is. Default: $KUBECONFIG, then ~/.kube/config, then the pod's service account.",
} as const;

/** What is to become of an OSImage. */
export interface Change<T> {
  /** Of `spec`, as a merge patch (RFC 7386); absent: nothing is to be written. */
  readonly spec?: object;
  readonly result: T;
}

/**
 * Reads the OSImage `name`, writes what `change` makes of it, and returns its result; again from the start, ten times at most,
 * when somebody has written it meanwhile. Throws `CliError` `NotFound`, or what `change` throws.
 */
export async function changeOSImage<T>(
  name: string,
  kubeconfig: string | undefined,
  { environment, signal }: { readonly environment: NodeJS.ProcessEnv; readonly signal: AbortSignal },
  change: (image: OSImage) => Change<T>,
): Promise<T> {
  const connection = new PooledConnection(loadKubeConfig(kubeconfigPath(kubeconfig, environment)), {
    userAgent: 'treeline',
  });
  const path = `${OS_IMAGES_PATH}/${encodeURIComponent(name)}`;
  try {
    for (let attempt = 1; ; attempt++) {
      const image = trimOSImage(await connection.call('GET', path, { signal }));
      const { spec, result } = change(image);
      if (spec === undefined) return result;
      const { uid, resourceVersion } = image.metadata;
      const body = { metadata: { uid, resourceVersion }, spec };
      try {
        const contentType = 'application/merge-patch+json';
        await connection.call('PATCH', path, { body, contentType, query: { fieldManager: 'treeline' }, signal });
        return result;
      } catch (error) {
        if (!isKubeError(error, 'Conflict') || attempt === ATTEMPTS) throw error;
      }
    }
  } catch (error) {
    if (!isKubeError(error, 'NotFound')) throw error;
    throw new CliError('NotFound', `There is no OSImage ${name}; \`kubectl get osimages\` lists them.`, {
      cause: error,
    });
  } finally {
    await connection.close();
  }
}
