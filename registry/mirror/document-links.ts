/** What a manifest or an index points at: the documents below it, its blobs, and the subject that it speaks of. */
import * as z from 'zod';
import type { Document } from '../content.ts';
import { isDigest } from '../digest.ts';
import { parseIndex, parseJsonObject, parseManifest } from '../document.ts';
import { RegistryError } from '../errors.ts';
import { documentKind } from '../media-type.ts';
import { type Descriptor, MEDIA_TYPE } from '../oci.ts';
import type { TypedDocument } from './repository.ts';

export interface DocumentLinks {
  /** With the media type that the document has by its own word, else by that of its place, else by its shape. */
  readonly document: TypedDocument;
  readonly isIndex: boolean;
  /** Of an index. */
  readonly documents: readonly Descriptor[];
  /** Of a manifest: config and layers, each once, without those that are fetched from elsewhere by their URLs. */
  readonly blobs: readonly Descriptor[];
  /** Digest of what a signature, a bill of materials and the like are about (OCI image spec 1.1, `subject`). */
  readonly subject?: string;
}

const SUBJECT = z.object({ subject: z.object({ digest: z.string().refine(isDigest) }).optional() });

/** @throws RegistryError `InvalidManifest`, `UnsupportedMediaType` */
export function linksOf(document: Document, label: string): DocumentLinks {
  const value = parseJsonObject(document.bytes, 'InvalidManifest', `The manifest of ${label}`);
  const isIndex = documentKind(value, document.mediaType, label) === 'index';
  const inner = value['mediaType'];
  const own = typeof inner === 'string' ? inner : document.mediaType;
  const typed = { ...document, mediaType: own ?? (isIndex ? MEDIA_TYPE.index : MEDIA_TYPE.manifest) };
  const subject = subjectOf(value, label);
  const links = { document: typed, isIndex, ...(subject === undefined ? {} : { subject }) };
  if (isIndex) return { ...links, documents: parseIndex(value, label).manifests, blobs: [] };
  const { config, layers } = parseManifest(value, label);
  const blobs = new Map([config, ...layers].filter((blob) => !isForeign(blob)).map((blob) => [blob.digest, blob]));
  return { ...links, documents: [], blobs: [...blobs.values()] };
}

function subjectOf(value: unknown, label: string): string | undefined {
  const parsed = SUBJECT.safeParse(value);
  if (parsed.success) return parsed.data.subject?.digest;
  throw new RegistryError(
    'InvalidManifest',
    `The manifest of ${label} has a malformed subject: push it again with a current tool.`,
  );
}

/** Layers that a registry need not have: it keeps a URL of somebody else's server. */
function isForeign({ mediaType, urls }: Descriptor): boolean {
  return urls !== undefined && urls.length > 0 && /foreign|nondistributable/.test(mediaType);
}
