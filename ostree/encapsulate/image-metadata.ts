/**
 * The config and manifest of an encapsulated commit. What they say comes from the commit alone: no clock, no host name,
 * so that the same commit always becomes the same image.
 *
 * Source: ostree-container format, labels and annotations.
 */
import type { Descriptor, ImageConfig, ImageManifest, Platform } from '../../registry/index.ts';
import { MEDIA_TYPE } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import { lookupBoolean, lookupString, lookupStrings } from '../gvariant/value.ts';
import type { Commit } from '../objects/commit.ts';
import type { ContainerConfig } from './container-config.ts';

export interface ImageMetadataOptions {
  readonly platform: Platform;
  /** Labels beside those that the commit brings along; they win over them. */
  readonly labels?: Readonly<Record<string, string>>;
  /** String keys of the commit's metadata that become labels; it is an error if one is missing. */
  readonly copyMeta?: readonly string[];
  /** The same, without the error. */
  readonly copyMetaOptional?: readonly string[];
  /** What runs when the image is run as a container; by default the commit's `ostree.container-cmd`. */
  readonly cmd?: readonly string[];
  /** What the rest of the container configuration is; labels and command above win over those in it. */
  readonly config?: ContainerConfig | undefined;
  /** When the image says that it was made, in the form of RFC 3339; by default the time of the commit, never now. */
  readonly created?: string | undefined;
}

export interface LayerSummary {
  readonly descriptor: Descriptor;
  /** Digest of the uncompressed tar. */
  readonly diffId: string;
  /** What the history says of it; the first layer, which holds the commit, has the commit's subject. */
  readonly createdBy?: string;
}

/** Labels of the config, and equally annotations of the manifest. Throws InvalidData if `copyMeta` asks for what is not there. */
export function imageLabels(
  checksum: string,
  commit: Commit,
  diffId: string,
  options: Omit<ImageMetadataOptions, 'platform'>,
): Readonly<Record<string, string>> {
  const labels: Record<string, string> = { 'ostree.commit': checksum };
  const bootable = lookupBoolean(commit.metadata, 'ostree.bootable');
  if (bootable !== undefined) {
    labels['ostree.bootable'] = String(bootable);
    labels['containers.bootc'] = '1';
  }
  const copied = [
    ['ostree.linux', 'ostree.linux'],
    ['version', 'org.opencontainers.image.version'],
    ...(options.copyMetaOptional ?? []).map((key) => [key, key]),
  ] as const;
  for (const [key = '', label = ''] of copied) {
    const value = lookupString(commit.metadata, key);
    if (value !== undefined) labels[label] = value;
  }
  for (const key of options.copyMeta ?? []) {
    const value = lookupString(commit.metadata, key);
    if (value === undefined) {
      throw new OstreeError(
        'InvalidData',
        `The commit ${checksum} has no text under the metadata key ${key}; leave the key out, or make it optional`,
      );
    }
    labels[key] = value;
  }
  return { ...labels, ...options.labels, 'ostree.final-diffid': diffId };
}

/** The config of the image. */
export function imageConfig(
  checksum: string,
  commit: Commit,
  layers: readonly LayerSummary[],
  labels: Readonly<Record<string, string>>,
  options: ImageMetadataOptions,
): ImageConfig {
  const created = options.created ?? formatTime(checksum, commit.timestamp);
  const cmd = options.cmd ?? lookupStrings(commit.metadata, 'ostree.container-cmd');
  const subject = commit.subject === '' ? `ostree export of commit ${checksum}` : commit.subject;
  return {
    architecture: options.platform.architecture,
    os: options.platform.os,
    created,
    config: {
      ...options.config,
      ...(cmd !== undefined && { Cmd: cmd }),
      Labels: { ...options.config?.Labels, ...labels },
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ createdBy = subject }) => ({ created, created_by: createdBy })),
  };
}

/** The manifest of the image. */
export function imageManifest(
  config: Descriptor,
  layers: readonly LayerSummary[],
  annotations: Readonly<Record<string, string>>,
): ImageManifest {
  const descriptors = layers.map(({ descriptor }) => descriptor);
  return { schemaVersion: 2, mediaType: MEDIA_TYPE.manifest, config, layers: descriptors, annotations };
}

function formatTime(checksum: string, seconds: number): string {
  const time = new Date(seconds * 1000);
  if (Number.isNaN(time.getTime())) {
    throw new OstreeError('InvalidData', `The commit ${checksum} has an impossible time; commit the tree again`);
  }
  return time.toISOString().replace(/\.\d+Z$/, 'Z');
}
