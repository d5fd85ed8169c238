/** Whether the name in a signature is the one that was meant: `signedIdentity` of containers-policy.json(5). */
import { RegistryError } from '../../errors.ts';
import { formatRegistryName, parseRegistryName, type RegistryName } from '../../registry-name.ts';
import type { SignedIdentity } from './policy-document.ts';

/**
 * @param intended by which the image is fetched; absent for images that have no such name (`oci:`, `dir:`).
 * @param signed the docker reference in the signature.
 */
export function matchesIdentity(rule: SignedIdentity, intended: RegistryName | undefined, signed: string): boolean {
  const name = parseNormalized(signed);
  if (name === undefined) return false;
  switch (rule.type) {
    case 'exactReference':
      return isSameReference(parseNormalized(rule.dockerReference), name);
    case 'exactRepository':
      return isSameRepository(parseNormalized(rule.dockerRepository), name);
    case 'matchRepository':
      return isSameRepository(intended, name);
    case 'matchExact':
      return isSameReference(intended && withDefaultTag(intended), name);
    case 'matchRepoDigestOrExact':
      return isSameOrByDigest(intended, name);
    case 'remapIdentity':
      return isSameOrByDigest(intended && remapped(intended, rule.prefix, rule.signedPrefix), name);
  }
}

/** Both have a tag or a digest, and are equal to the letter. */
function isSameReference(left: RegistryName | undefined, right: RegistryName): boolean {
  if (left === undefined || isNameOnly(left) || isNameOnly(right)) return false;
  return formatRegistryName(left) === formatRegistryName(right);
}

function isSameRepository(left: RegistryName | undefined, right: RegistryName): boolean {
  return left !== undefined && left.host === right.host && left.repository === right.repository;
}

/** An image that is asked for by digest is the one that was signed, whatever tag it had then. */
function isSameOrByDigest(intended: RegistryName | undefined, signed: RegistryName): boolean {
  if (intended === undefined || isNameOnly(signed)) return false;
  return intended.digest !== undefined && intended.tag === undefined
    ? isSameRepository(intended, signed)
    : isSameReference(withDefaultTag(intended), signed);
}

function isNameOnly({ tag, digest }: RegistryName): boolean {
  return tag === undefined && digest === undefined;
}

function withDefaultTag(name: RegistryName): RegistryName {
  return isNameOnly(name) ? { ...name, tag: 'latest' } : name;
}

/** The name with its beginning replaced where it is, or is below, `prefix`; any other stays. */
function remapped(name: RegistryName, prefix: string, signedPrefix: string): RegistryName | undefined {
  const repository = `${name.host}/${name.repository}`;
  if (repository !== prefix && !repository.startsWith(`${prefix}/`)) return name;
  const text = formatRegistryName(name);
  return parseNormalized(`${signedPrefix}${text.slice(prefix.length)}`);
}

/** As the docker tools complete a name: `busybox` is `docker.io/library/busybox`. Undefined for what is no name. */
function parseNormalized(text: string): RegistryName | undefined {
  const [first = ''] = text.split('/', 1);
  const hasHost = text.includes('/') && (first === 'localhost' || /[.:A-Z]/.test(first));
  const full = hasHost ? text.replace(/^index\.docker\.io\//, 'docker.io/') : `docker.io/${text}`;
  const completed = /^docker\.io\/[^/]+$/.test(full) ? full.replace('docker.io/', 'docker.io/library/') : full;
  try {
    return parseRegistryName(completed);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}
