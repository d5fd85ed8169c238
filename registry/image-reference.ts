/**
 * `TRANSPORT:NAME`, the way containers-transports(5) and the ostree-container tools name an image. The name is not
 * looked into here: what it means is up to its transport (see `registry-name.ts` and `oci-layout.ts`).
 */
import { RegistryError } from './errors.ts';

export const TRANSPORTS = [
  'registry',
  'oci',
  'oci-archive',
  'docker-archive',
  'containers-storage',
  'dir',
  'docker-daemon',
] as const;

export type Transport = (typeof TRANSPORTS)[number];

export interface ImageReference {
  readonly transport: Transport;
  /** Never empty, no control characters. */
  readonly name: string;
}

const TRANSPORT_OF_TOKEN: ReadonlyMap<string, Transport> = new Map<string, Transport>([
  ...TRANSPORTS.map((transport) => [transport, transport] as const),
  ['docker', 'registry'],
]);

/** Whether `token` may stand before the first colon of an image reference. */
export function isTransportToken(token: string): boolean {
  return TRANSPORT_OF_TOKEN.has(token);
}

/**
 * Parses `docker://NAME`, `registry:NAME`, `oci:PATH[:REF]` and the other transports of containers-transports(5).
 * @throws RegistryError `InvalidReference`
 */
export function parseImageReference(text: string): ImageReference {
  refuseControlCharacters(text);
  const colon = text.indexOf(':');
  if (colon < 0) {
    throw invalid(text, `has no ':'; write it as docker://HOST/NAME:TAG, oci:PATH or oci-archive:PATH`);
  }
  const token = text.slice(0, colon);
  let name = text.slice(colon + 1);
  const transport = TRANSPORT_OF_TOKEN.get(token);
  if (transport === undefined) {
    throw invalid(text, `starts with the unknown transport '${token}'; use docker://, oci: or oci-archive:`);
  }
  if (token === 'docker') {
    if (!name.startsWith('//')) throw invalid(text, `lacks '//' after 'docker:'; write docker://HOST/NAME:TAG`);
    name = name.slice(2);
  }
  if (name === '') throw invalid(text, `names nothing after '${token}:'`);
  return { transport, name };
}

/** The display form, which `parseImageReference` reads back: registry images print as `docker://NAME`. */
export function formatImageReference(reference: ImageReference): string {
  return reference.transport === 'registry' ? `docker://${reference.name}` : `${reference.transport}:${reference.name}`;
}

/** A newline in a reference could smuggle keys into an origin file or lines into a log. */
export function refuseControlCharacters(text: string): void {
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(text)) throw invalid(text, 'contains control characters; remove them');
}

export function invalid(text: string, problem: string): RegistryError {
  return new RegistryError('InvalidReference', `Image reference ${JSON.stringify(text)} ${problem}.`);
}
