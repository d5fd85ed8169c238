/** Where an image is really fetched from, by the rules of containers-registries.conf(5): a pure decision. */
import { printable, RegistryError } from './errors.ts';
import type { RegistriesConfiguration, RegistryConfiguration } from './registries-conf.ts';
import { formatRegistryName, parseRegistryName, parseRepositoryName, type RegistryName } from './registry-name.ts';

export interface PullSource {
  readonly name: RegistryName;
  /** Unverified TLS, and plain HTTP where TLS is not spoken, are allowed. */
  readonly insecure: boolean;
  readonly isMirror: boolean;
}

/**
 * The places to try, in order; the last is the primary location.
 * @throws RegistryError `Blocked`, `InvalidConfiguration`
 */
export function pullSources(
  name: RegistryName,
  configuration: RegistriesConfiguration | undefined,
): readonly PullSource[] {
  const registry = registryOf(name, configuration);
  if (registry === undefined) return [{ name, insecure: false, isMirror: false }];
  refuseBlocked(name, registry);
  const isByDigest = name.digest !== undefined;
  const mirrors = registry.mirrors
    .filter(({ use }) => use === 'all' || (use === 'digest-only') === isByDigest)
    .map(({ location, insecure }) => ({ name: rewrite(name, registry, location), insecure, isMirror: true }));
  const primary = registry.location === undefined ? name : rewrite(name, registry, registry.location);
  return [...mirrors, { name: primary, insecure: registry.insecure, isMirror: false }];
}

/**
 * The places that a caller names beside what the machine says: asked by digest only, for a mirror may lag behind a tag. They
 * are not rewritten, but what the machine forbids stays forbidden.
 * @param onBlocked told of a mirror that is left out, with the reason.
 * @throws RegistryError `InvalidReference` for what is not `host[:port]/name`.
 */
export function mirrorSources(
  name: RegistryName,
  mirrors: readonly string[],
  configuration: RegistriesConfiguration | undefined,
  onBlocked: (mirror: string, error: RegistryError) => void,
): readonly PullSource[] {
  const { digest } = name;
  if (digest === undefined) return [];
  return mirrors.flatMap((mirror) => {
    const place = { ...parseRepositoryName(mirror), digest };
    const registry = registryOf(place, configuration);
    if (registry?.blocked === true) {
      onBlocked(mirror, blockedError(place, registry));
      return [];
    }
    return [{ name: place, insecure: registry?.insecure ?? false, isMirror: true }];
  });
}

/**
 * Whether the registry that an image is pushed to may be insecure: pushes are neither rewritten nor mirrored.
 * @throws RegistryError `Blocked`
 */
export function isPushInsecure(name: RegistryName, configuration: RegistriesConfiguration | undefined): boolean {
  const registry = registryOf(name, configuration);
  if (registry !== undefined) refuseBlocked(name, registry);
  return registry?.insecure ?? false;
}

/** The table with the longest matching prefix. */
function registryOf(
  name: RegistryName,
  configuration: RegistriesConfiguration | undefined,
): RegistryConfiguration | undefined {
  const text = formatRegistryName(name);
  let best: RegistryConfiguration | undefined;
  for (const registry of configuration?.registries ?? []) {
    if (matchedLength(text, registry.prefix) === undefined) continue;
    if (best === undefined || registry.prefix.length > best.prefix.length) best = registry;
  }
  return best;
}

/**
 * How much of an image's name a prefix covers. `example.com` covers `example.com:5000/os`, too: so does the library that
 * everybody else uses, and a blocked registry must not be reachable by naming its port.
 */
export function matchedLength(text: string, prefix: string): number | undefined {
  if (prefix.startsWith('*.')) {
    const host = /^[^/:@]*/.exec(text)?.[0] ?? '';
    return host.endsWith(prefix.slice(1)) ? host.length : undefined;
  }
  if (!text.startsWith(prefix)) return undefined;
  const end = prefix.length;
  return end === text.length || /[:/@]/.test(text.charAt(end)) ? end : undefined;
}

function rewrite(name: RegistryName, registry: RegistryConfiguration, location: string): RegistryName {
  const text = formatRegistryName(name);
  const rewritten = `${location}${text.slice(matchedLength(text, registry.prefix) ?? 0)}`;
  try {
    return parseRegistryName(rewritten);
  } catch (error) {
    throw new RegistryError(
      'InvalidConfiguration',
      `${registry.path} makes ${printable(rewritten)} of ${text}, which is no image name: correct the [[registry]] with prefix ${printable(registry.prefix)}.`,
      error,
    );
  }
}

function refuseBlocked(name: RegistryName, registry: RegistryConfiguration): void {
  if (registry.blocked) throw blockedError(name, registry);
}

function blockedError(name: RegistryName, { prefix, path }: RegistryConfiguration): RegistryError {
  return new RegistryError(
    'Blocked',
    `${formatRegistryName(name)} may not be used on this machine: ${path} blocks ${printable(prefix)}. Name another image, or ask whoever set blocked = true.`,
  );
}
