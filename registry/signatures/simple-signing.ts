/**
 * The "simple signing" payload: the JSON text that container signatures are made over (containers-signature(5)). It binds
 * a manifest digest to the name that its signer meant.
 */
import * as z from 'zod';
import { isDigest } from '../digest.ts';
import { NotThisSignature } from './errors.ts';
import { parseStrictJson } from './strict-json.ts';

export const SIMPLE_SIGNING_MEDIA_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
/** What `critical.type` says in signatures of sigstore, and in those of GPG. */
export const PAYLOAD_TYPE = {
  sigstore: 'cosign container image signature',
  gpg: 'atomic container signature',
} as const;

/** Hundreds of bytes in practice. */
export const PAYLOAD_MAX_BYTES = 256 * 1024;

export interface SimpleSigningPayload {
  /** The name that was signed: `host/repository`, with a tag in signatures of podman and skopeo. */
  readonly dockerReference: string;
  readonly digest: string;
}

const PAYLOAD = z.strictObject({
  critical: z.strictObject({
    type: z.string(),
    identity: z.strictObject({ 'docker-reference': z.string().min(1).max(1024) }),
    image: z.strictObject({ 'docker-manifest-digest': z.string().refine(isDigest, 'is not a sha256 digest') }),
  }),
  // What else a signer notes is not looked at: it is not part of what is promised.
  optional: z.looseObject({}).nullable(),
});

/**
 * Reads a payload whose signature has been verified.
 * @throws NotThisSignature
 */
export function parseSimpleSigning(bytes: Buffer, type: string): SimpleSigningPayload {
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (error) {
    throw new NotThisSignature(`its payload is malformed (${(error as Error).message})`, { cause: error });
  }
  const parsed = PAYLOAD.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new NotThisSignature(`its payload is malformed (${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''})`);
  }
  const { critical } = parsed.data;
  if (critical.type !== type) {
    throw new NotThisSignature(
      `its payload is of type ${JSON.stringify(critical.type.slice(0, 80))}, not ${JSON.stringify(type)}`,
    );
  }
  return {
    dockerReference: critical.identity['docker-reference'],
    digest: critical.image['docker-manifest-digest'],
  };
}

/** The bytes to sign, in the order of members that cosign writes. */
export function formatSimpleSigning({ dockerReference, digest }: SimpleSigningPayload): Buffer {
  return Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': dockerReference },
        image: { 'docker-manifest-digest': digest },
        type: PAYLOAD_TYPE.sigstore,
      },
      optional: null,
    }),
  );
}
