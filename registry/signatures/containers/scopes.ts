/** Which part of a policy is about an image: the scopes of containers-policy.json(5), the most specific one first. */
import type { ImageReference, Transport } from '../../image-reference.ts';
import { parseRegistryName, type RegistryName } from '../../registry-name.ts';
import type { ContainersPolicy, Requirement } from './policy-document.ts';

/** Names of transports in `policy.json`, where they differ from ours. */
const TRANSPORT_NAME: Partial<Record<Transport, string>> = { registry: 'docker' };
const PATHS: readonly Transport[] = ['oci', 'oci-archive', 'dir'];

/** The requirements for an image, all of which it must satisfy; those of one scope, never of two. */
export function requirementsFor(policy: ContainersPolicy, image: ImageReference): readonly Requirement[] {
  const transport = policy.transports?.[TRANSPORT_NAME[image.transport] ?? image.transport];
  if (transport === undefined) return policy.default;
  for (const scope of [...scopesOf(image), '']) {
    const requirements = Object.hasOwn(transport, scope) ? transport[scope] : undefined;
    if (requirements !== undefined) return requirements;
  }
  return policy.default;
}

/** Scopes that fit an image, the most specific one first; none for transports that have only the empty one. */
export function scopesOf(image: ImageReference): readonly string[] {
  if (image.transport === 'registry') return registryScopes(parseRegistryName(image.name));
  return PATHS.includes(image.transport) ? pathScopes(image.name) : [];
}

/** `host/a/b:tag`, `host/a/b`, `host/a`, `host`, and wildcards of the host's domains. Without a tag, `latest` is meant. */
export function registryScopes(name: RegistryName): readonly string[] {
  const repository = `${name.host}/${name.repository}`;
  const scopes = [name.digest === undefined ? `${repository}:${name.tag ?? 'latest'}` : `${repository}@${name.digest}`];
  for (let scope = repository; ; scope = scope.slice(0, scope.lastIndexOf('/'))) {
    scopes.push(scope);
    if (!scope.includes('/')) break;
  }
  const domain = name.host.replace(/:\d+$/, '');
  for (let dot = domain.indexOf('.'); dot >= 0; dot = domain.indexOf('.', dot + 1))
    scopes.push(`*${domain.slice(dot)}`);
  return scopes;
}

/** `/a/b:ref`, `/a/b`, `/a`: the root itself is no scope. */
function pathScopes(name: string): readonly string[] {
  const colon = name.indexOf(':');
  const path = colon < 0 ? name : name.slice(0, colon);
  const scopes = colon < 0 ? [] : [name];
  for (let scope = path; scope.length > 1; scope = scope.slice(0, Math.max(1, scope.lastIndexOf('/')))) {
    scopes.push(scope);
    if (!scope.includes('/')) break;
  }
  return scopes;
}
