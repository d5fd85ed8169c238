/**
 * An image reference with the signature policy that the ostree-container tools put before it, as it stands in origin
 * files (`container-image-reference=`). Several spellings mean the same, so compare parsed values, never strings.
 */
import {
  formatImageReference,
  type ImageReference,
  invalid,
  isTransportToken,
  parseImageReference,
  refuseControlCharacters,
} from './image-reference.ts';
import type { RegistriesConfiguration } from './registries-conf.ts';
import { formatRegistryName } from './registry-name.ts';
import { parseFullName } from './short-name.ts';

export type SignatureSource =
  /** No requirement of our own. */
  | { readonly kind: 'insecure' }
  /** containers-policy.json(5) must ask for a signature. */
  | { readonly kind: 'container-policy' }
  /** The commit inside must be signed by a key of this ostree remote. */
  | { readonly kind: 'ostree-remote'; readonly remote: string };

export interface OstreeImageReference {
  readonly signature: SignatureSource;
  readonly image: ImageReference;
}

const INSECURE: SignatureSource = { kind: 'insecure' };
const SCHEMES = [
  'ostree-image-signed',
  'ostree-unverified-image',
  'ostree-unverified-registry',
  'ostree-remote-image',
  'ostree-remote-registry',
];
const FORMS = SCHEMES.map((scheme) => `${scheme}:`).join(', ');

/**
 * Parses the five forms of the ostree-container tools.
 * @throws RegistryError `InvalidReference`
 */
export function parseOstreeImageReference(text: string): OstreeImageReference {
  refuseControlCharacters(text);
  const [scheme, rest] = splitOnce(text) ?? [];
  if (scheme === undefined || rest === undefined) throw invalid(text, `has no ':'; it must start with one of ${FORMS}`);
  switch (scheme) {
    case 'ostree-image-signed':
      return { signature: { kind: 'container-policy' }, image: parseImageReference(rest) };
    case 'ostree-unverified-image':
      return { signature: INSECURE, image: parseImageReference(rest) };
    case 'ostree-unverified-registry':
      return { signature: INSECURE, image: registryImage(text, rest) };
    case 'ostree-remote-image':
    case 'ostree-remote-registry': {
      const [remote, name] = splitOnce(rest) ?? [];
      if (remote === undefined || name === undefined) {
        throw invalid(text, `lacks the second ':'; write ${scheme}:REMOTE:IMAGE`);
      }
      if (remote === '') throw invalid(text, `names no ostree remote; write ${scheme}:REMOTE:IMAGE`);
      const image = scheme === 'ostree-remote-image' ? parseImageReference(name) : registryImage(text, name);
      return { signature: { kind: 'ostree-remote', remote }, image };
    }
    default:
      throw invalid(text, `has the unknown scheme '${scheme}'; it must start with one of ${FORMS}`);
  }
}

/**
 * Parses what a person types: any ostree form, any transport form (`docker://…`, `oci:…`), or a bare
 * `host[:port]/name[:tag][@digest]`. The last two carry no signature requirement.
 * @param registries for the refusal of a name without a host, which then says what it could mean.
 * @throws RegistryError `InvalidReference`
 */
export function parseAnyImageReference(text: string, registries?: RegistriesConfiguration): OstreeImageReference {
  const token = text.slice(0, Math.max(0, text.indexOf(':')));
  const parsed = SCHEMES.includes(token)
    ? parseOstreeImageReference(text)
    : isTransportToken(token)
      ? { signature: INSECURE, image: parseImageReference(text) }
      : undefined;
  if (parsed === undefined) {
    refuseControlCharacters(text);
    const name = formatRegistryName(parseFullName(text, registries));
    return { signature: INSECURE, image: { transport: 'registry', name } };
  }
  if (registries !== undefined && parsed.image.transport === 'registry') parseFullName(parsed.image.name, registries);
  return parsed;
}

/** The normal form: an insecure registry image prints as `ostree-unverified-registry:NAME`, as host tools expect. */
export function formatOstreeImageReference(reference: OstreeImageReference): string {
  const { signature, image } = reference;
  switch (signature.kind) {
    case 'insecure':
      return image.transport === 'registry'
        ? `ostree-unverified-registry:${image.name}`
        : `ostree-unverified-image:${formatImageReference(image)}`;
    case 'container-policy':
      return `ostree-image-signed:${formatImageReference(image)}`;
    case 'ostree-remote':
    default:
      return `ostree-remote-image:${signature.remote}:${formatImageReference(image)}`;
  }
}

function registryImage(text: string, name: string): ImageReference {
  if (name === '') throw invalid(text, 'names no image; append HOST/NAME:TAG');
  return { transport: 'registry', name };
}

function splitOnce(text: string): readonly [string, string] | undefined {
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : [text.slice(0, colon), text.slice(colon + 1)];
}
