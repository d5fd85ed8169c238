/**
 * Which nodes must be given the credentials of their OSImage's pull Secret, and from which they must be taken: a pure
 * function of what the API says. What is sealed differs each time, so that what a NodeOS holds is judged by the Secret's
 * version and the node's key, never by its bytes.
 */
import type { NodeOS, OSImage } from '../../api/index.ts';

export type SecretState =
  | { readonly state: 'Read'; readonly version: string; readonly config: string }
  /** Missing, or not what a pull Secret is: nobody may have what it held before. */
  | { readonly state: 'Unusable' };

export type DueCredentials =
  | { readonly kind: 'Seal'; readonly nodeOS: NodeOS; readonly secretName: string; readonly key: string }
  | { readonly kind: 'Remove'; readonly nodeOS: NodeOS };

/** Names of the Secrets that OSImages name. */
export function pullSecretNames(images: readonly OSImage[]): ReadonlySet<string> {
  return new Set(images.flatMap((image) => image.spec.image.pullSecretRef?.name ?? []));
}

/** `secrets` by name; one that is not in it is not known yet, and what was sealed of it stays. */
export function dueCredentials(
  images: readonly OSImage[],
  nodeOSes: readonly NodeOS[],
  secrets: ReadonlyMap<string, SecretState>,
): readonly DueCredentials[] {
  const named = new Map(images.map((image) => [image.metadata.name, image.spec.image.pullSecretRef?.name]));
  return nodeOSes.flatMap((nodeOS): DueCredentials[] => {
    const { metadata, spec, status } = nodeOS;
    if (metadata.deletionTimestamp !== undefined) return [];
    const held = spec.pullCredentials;
    const remove: DueCredentials[] = held === undefined ? [] : [{ kind: 'Remove', nodeOS }];
    const secretName = named.get(spec.imageName);
    const key = status?.host?.credentialsKey;
    if (secretName === undefined || key === undefined) return remove;
    const secret = secrets.get(secretName);
    if (secret === undefined) return [];
    if (secret.state === 'Unusable') return remove;
    const isCurrent = held?.secretName === secretName && held.secretVersion === secret.version && held.key === key;
    return isCurrent ? [] : [{ kind: 'Seal', nodeOS, secretName, key }];
  });
}
