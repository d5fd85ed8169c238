/** Tags that are made of a digest: what is attached to an image where there is no referrers API. */
import { hexOf } from '../digest.ts';

/** Of cosign's tag scheme: signatures, attestations, bills of materials. */
const COSIGN_SUFFIXES = ['.sig', '.att', '.sbom'] as const;
const ATTACHMENT_TAG = /^sha256-[0-9a-f]{64}(?:\..+)?$/;

/** The tag that stands in for the referrers API (OCI distribution spec 1.1, "Referrers Tag Schema"). */
export function referrersTag(digest: string): string {
  return `sha256-${hexOf(digest)}`;
}

/** Under which cosign looks for what is about `digest`. */
export function cosignTags(digest: string): readonly string[] {
  return COSIGN_SUFFIXES.map((suffix) => `${referrersTag(digest)}${suffix}`);
}

/** Whether a tag is of either kind: it goes with the image that it speaks of. */
export function isAttachmentTag(tag: string): boolean {
  return ATTACHMENT_TAG.test(tag);
}
