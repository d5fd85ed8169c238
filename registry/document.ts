/**
 * Strict reading of manifests, indexes and configs, which come from strangers: every member that Treeline uses is
 * checked, sizes and counts are bounded, and what is unknown is kept as it was.
 */
import * as z from 'zod';
import { isDigest } from './digest.ts';
import { RegistryError, type RegistryErrorCode } from './errors.ts';
import type { ImageConfig, ImageIndex, ImageManifest } from './oci.ts';

/** Far above real images (chunked ones have a few hundred layers), far below what would hurt. */
const LAYERS_MAX = 4096;
const INDEX_ENTRIES_MAX = 1024;
/** Deeper nesting exists only to overflow the stack of a recursive reader. */
const DEPTH_MAX = 64;

const ANNOTATIONS = z.record(z.string(), z.string()).optional();
const DESCRIPTOR = z.looseObject({
  mediaType: z.string().min(1),
  digest: z.string().refine(isDigest, 'must be sha256: and 64 lower-case hex digits'),
  size: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
  annotations: ANNOTATIONS,
  urls: z.array(z.string()).optional(),
});
const INDEX_ENTRY = DESCRIPTOR.extend({
  platform: z.looseObject({ architecture: z.string(), os: z.string(), variant: z.string().optional() }).optional(),
});
const MANIFEST = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  config: DESCRIPTOR,
  layers: z.array(DESCRIPTOR).max(LAYERS_MAX),
  annotations: ANNOTATIONS,
});
const INDEX = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(INDEX_ENTRY).max(INDEX_ENTRIES_MAX),
  annotations: ANNOTATIONS,
});
const HISTORY_ENTRY = z.looseObject({
  created: z.string().nullish(),
  created_by: z.string().optional(),
  comment: z.string().optional(),
  author: z.string().optional(),
  empty_layer: z.boolean().optional(),
});
const CONFIG = z.looseObject({
  architecture: z.string(),
  os: z.string(),
  created: z.string().nullish(),
  config: z.looseObject({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
  rootfs: z.looseObject({
    type: z.literal('layers'),
    diff_ids: z.array(z.string().refine(isDigest, 'must be a sha256 digest')).max(LAYERS_MAX),
  }),
  history: z
    .array(HISTORY_ENTRY)
    .max(LAYERS_MAX * 4)
    .nullish(),
});

/** @throws RegistryError `InvalidManifest` */
export function parseManifest(value: unknown, label: string): ImageManifest {
  check(MANIFEST, value, 'InvalidManifest', `The manifest of ${label}`);
  return value as ImageManifest;
}

/** @throws RegistryError `InvalidManifest` */
export function parseIndex(value: unknown, label: string): ImageIndex {
  check(INDEX, value, 'InvalidManifest', `The image index of ${label}`);
  return value as ImageIndex;
}

/** @throws RegistryError `InvalidConfig` */
export function parseConfig(bytes: Buffer, label: string): ImageConfig {
  const what = `The config of ${label}`;
  const value: unknown = parseJsonObject(bytes, 'InvalidConfig', what);
  check(CONFIG, value, 'InvalidConfig', what);
  return value as ImageConfig;
}

/**
 * Parses JSON that must be an object of bounded depth, in valid UTF-8.
 * @throws RegistryError of the given code.
 */
export function parseJsonObject(bytes: Buffer, code: RegistryErrorCode, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (depthExceeds(text, DEPTH_MAX)) throw new RangeError(`nested deeper than ${DEPTH_MAX} levels`);
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof RangeError ? error.message : 'not valid JSON';
    throw new RegistryError(code, `${what} is malformed (${reason}): push the image again with a current tool.`, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RegistryError(
      code,
      `${what} is malformed (not a JSON object): push the image again with a current tool.`,
    );
  }
  return value as Record<string, unknown>;
}

/** Validates only: callers keep the value itself, so that unknown members and their order stay as they were. */
function check(schema: z.ZodType, value: unknown, code: RegistryErrorCode, what: string): void {
  const result = schema.safeParse(value);
  if (result.success) return;
  const issue = result.error.issues[0];
  const path = issue?.path.map(String).join('.') ?? '';
  throw new RegistryError(
    code,
    `${what} is malformed (${path === '' ? 'top level' : path}: ${issue?.message ?? 'invalid'}): push the image again with a current tool.`,
  );
}

function depthExceeds(text: string, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (inString) {
      if (code === 0x5c) index++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > limit) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}
