/** What may be attached to an image as a signature, as it was found: nothing of it is trusted. */

/** cosign's older format: a payload, and in annotations its signature and what came with it. */
export interface SimpleSignature {
  readonly kind: 'simple-signing';
  /** For messages: where it was found. */
  readonly where: string;
  readonly payload: Buffer;
  /** Empty when the annotation is missing or not base64. */
  readonly signature: Buffer;
  /** PEM, of keyless signatures. */
  readonly certificate?: string;
  readonly chain?: string;
  /** JSON: the transparency log's promise. */
  readonly rekorBundle?: string;
}

/** A sigstore bundle, as JSON. */
export interface BundleSignature {
  readonly kind: 'bundle';
  readonly where: string;
  readonly bundle: Buffer;
}

export type AttachedSignature = SimpleSignature | BundleSignature;

/** Longest chain that is read; a real one has one or two. */
export const ATTACHED_CHAIN_MAX = 16;

export const ANNOTATION = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  rekorBundle: 'dev.sigstore.cosign/bundle',
} as const;

export const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
/** 0.1 to 0.3 are one format in three states; later ones are refused until they are known. */
export const BUNDLE_MEDIA_TYPES: ReadonlySet<string> = new Set([
  BUNDLE_MEDIA_TYPE,
  'application/vnd.dev.sigstore.bundle+json;version=0.3',
  'application/vnd.dev.sigstore.bundle+json;version=0.2',
  'application/vnd.dev.sigstore.bundle+json;version=0.1',
]);
