/** The list of what refers to a document, where a registry does not keep one by itself (OCI "Referrers Tag Schema"). */
import { canonicalJson } from '../canonical-json.ts';
import { digestOf } from '../digest.ts';
import { MEDIA_TYPE } from '../oci.ts';
import type { DocumentLinks } from './document-links.ts';
import type { TypedDocument } from './repository.ts';
import type { ReferrerList } from './survey.ts';

/**
 * The list that has what is `there` and what `list` brings; undefined when nothing is new. It is the source's own, byte for
 * byte, unless the destination lists more.
 */
export function mergedList(there: DocumentLinks | undefined, list: ReferrerList): TypedDocument | undefined {
  const known = there?.isIndex === true ? there.documents : [];
  const listed = new Set(known.map(({ digest }) => digest));
  const added = list.entries.filter(({ digest }) => !listed.has(digest));
  if (added.length === 0) return undefined;
  const own = new Set(list.entries.map(({ digest }) => digest));
  if (list.document !== undefined && known.every(({ digest }) => own.has(digest))) return list.document;
  const bytes = Buffer.from(
    canonicalJson({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [...known, ...added] }),
  );
  return { bytes, mediaType: MEDIA_TYPE.index, digest: digestOf(bytes) };
}
