/** The volumes of pods that stay on a node, by the names that the Node's status has for attached volumes. */
import { isKubeError } from '../errors.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../kube/objects.ts';

export interface VolumeReader {
  readonly getClaim: (namespace: string, name: string, signal: AbortSignal) => Promise<PersistentVolumeClaim>;
  readonly getVolume: (name: string, signal: AbortSignal) => Promise<PersistentVolume>;
}

/**
 * Names of the CSI volumes that `pods` use, as `kubernetes.io/csi/DRIVER^HANDLE` (kubernetes,
 * pkg/volume/util, GetUniqueVolumeName). A claim or volume that is gone has no name and is left out.
 */
export async function volumesOf(pods: readonly Pod[], reader: VolumeReader, signal: AbortSignal): Promise<string[]> {
  const names = new Set<string>();
  for (const pod of pods) {
    const { namespace } = pod.metadata;
    for (const claim of claimsOf(pod)) {
      const volume = await unlessGone(() => reader.getClaim(namespace, claim, signal));
      const name = volume?.spec?.volumeName;
      const csi = name === undefined ? undefined : (await unlessGone(() => reader.getVolume(name, signal)))?.spec?.csi;
      if (csi !== undefined) names.add(`kubernetes.io/csi/${csi.driver}^${csi.volumeHandle}`);
    }
  }
  return [...names].sort();
}

/** A generic ephemeral volume has a claim named after pod and volume (Kubernetes, "Ephemeral Volumes"). */
function claimsOf(pod: Pod): readonly string[] {
  return (pod.spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim !== undefined) return [persistentVolumeClaim.claimName];
    return ephemeral === undefined ? [] : [`${pod.metadata.name}-${name}`];
  });
}

async function unlessGone<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isKubeError(error, 'NotFound')) return undefined;
    throw error;
  }
}
