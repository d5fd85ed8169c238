/**
 * Docker schema 2 images in OCI form. The config is written anew with the members that OCI knows, in the order and the
 * spelling of Go's encoder, because that is what the containers/image library (skopeo, podman) makes of it: the
 * manifest that lands in an OSTree commit is then the same, whoever imported it.
 */
import { digestOf } from './digest.ts';
import { parseConfig, parseJsonObject } from './document.ts';
import { ociMediaType } from './media-type.ts';
import { type Descriptor, type ImageConfig, type ImageManifest, MEDIA_TYPE } from './oci.ts';

/** Scalar members of OCI's image config, in the order of the Go struct of image-spec v1; config, rootfs, history follow. */
const TOP_MEMBERS = ['created', 'author', 'architecture', 'variant', 'os'];
const CONFIG_MEMBERS = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
];
const ROOTFS_MEMBERS = ['type', 'diff_ids'];
const HISTORY_MEMBERS = ['created', 'created_by', 'author', 'comment', 'empty_layer'];

/** Whether this manifest has to be converted. */
export function isDockerManifest(manifest: ImageManifest): boolean {
  return manifest.mediaType === MEDIA_TYPE.dockerManifest || manifest.config.mediaType === MEDIA_TYPE.dockerConfig;
}

/**
 * @param configBytes the docker config, already verified against the docker manifest.
 * @throws RegistryError `InvalidConfig`
 */
export function convertDockerImage(
  manifest: ImageManifest,
  configBytes: Buffer,
  label: string,
): { readonly manifest: ImageManifest; readonly config: ImageConfig } {
  const bytes = Buffer.from(ociConfigText(parseJsonObject(configBytes, 'InvalidConfig', `The config of ${label}`)));
  const config: Descriptor = { mediaType: MEDIA_TYPE.config, digest: digestOf(bytes), size: bytes.length };
  return {
    manifest: {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.manifest,
      config,
      layers: manifest.layers.map((layer) => ({ ...layer, mediaType: ociMediaType(layer.mediaType) })),
      ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
    },
    config: parseConfig(bytes, label),
  };
}

function ociConfigText(docker: Readonly<Record<string, unknown>>): string {
  const history = docker['history'];
  const config = docker['config'];
  return goJson({
    ...pick(docker, TOP_MEMBERS),
    // Not optional in the Go struct: empty when docker had none.
    config: isObject(config) ? pick(config, CONFIG_MEMBERS) : {},
    ...(isObject(docker['rootfs']) ? { rootfs: pick(docker['rootfs'], ROOTFS_MEMBERS) } : {}),
    ...(Array.isArray(history)
      ? { history: history.map((entry) => (isObject(entry) ? pick(entry, HISTORY_MEMBERS) : entry)) }
      : {}),
  });
}

/** The listed members that are present and not empty (Go's `omitempty`), in the listed order. */
function pick(source: Readonly<Record<string, unknown>>, members: readonly string[]): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const member of members) {
    const value = source[member];
    if (!isEmpty(value)) result[member] = isObject(value) && isMap(member) ? sorted(value) : value;
  }
  return result;
}

function isMap(member: string): boolean {
  return member === 'Labels' || member === 'ExposedPorts' || member === 'Volumes';
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

/** Go writes maps by key. */
function sorted(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
}

/** encoding/json escapes what could hurt in HTML. */
function goJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
