/** Sigstore bundles that sign a container image: a DSSE envelope around an in-toto statement whose subject is its digest. */
import { type Bundle, bundleFromJSON } from '@sigstore/bundle';
import * as z from 'zod';
import { reasonOf } from '../errors.ts';
import { NotThisSignature } from './errors.ts';
import { parseStrictJson } from './strict-json.ts';
import { envelopeBytes } from './envelope.ts';

const STATEMENT_TYPES: readonly string[] = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'];
/** The one predicate that means "I sign this image"; provenance and the like are statements about it, not signatures. */
const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
const IN_TOTO = 'application/vnd.in-toto+json';

const STATEMENT = z.looseObject({
  _type: z.string().refine((type) => STATEMENT_TYPES.includes(type), 'is no in-toto statement'),
  predicateType: z.string(),
  subject: z
    .array(z.looseObject({ digest: z.record(z.string(), z.string()), name: z.string().optional() }))
    .min(1)
    .max(64),
});

export interface SignedEnvelope {
  readonly bundle: Bundle;
  readonly payload: Buffer;
  readonly signature: Buffer;
  /** What the signature is made over (DSSE, "Pre-Authentication Encoding"). */
  readonly signedBytes: Buffer;
}

/**
 * Opens a bundle with exactly one signature over an in-toto statement.
 * @throws NotThisSignature
 */
export function parseBundle(json: Buffer): SignedEnvelope {
  let bundle: Bundle;
  try {
    bundle = bundleFromJSON(parseStrictJson(json));
  } catch (error) {
    throw new NotThisSignature(`its bundle is malformed (${reasonOf(error)})`, { cause: error });
  }
  if (bundle.content.$case !== 'dsseEnvelope')
    throw new NotThisSignature('its bundle signs a bare message, not a statement about an image');
  const { payloadType, payload, signatures } = bundle.content.dsseEnvelope;
  const [only] = signatures;
  if (signatures.length !== 1 || only === undefined)
    throw new NotThisSignature('its envelope has not exactly one signature');
  if (payloadType !== IN_TOTO)
    throw new NotThisSignature(
      `its envelope holds ${JSON.stringify(payloadType.slice(0, 80))}, not an in-toto statement`,
    );
  return { bundle, payload, signature: only.sig, signedBytes: envelopeBytes(payloadType, payload) };
}

/**
 * The digests that a verified statement signs, as `sha256:<hex>`.
 * @throws NotThisSignature
 */
export function signedDigests(payload: Buffer): readonly string[] {
  let value: unknown;
  try {
    value = parseStrictJson(payload);
  } catch (error) {
    throw new NotThisSignature(`its statement is malformed (${reasonOf(error)})`, { cause: error });
  }
  const parsed = STATEMENT.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new NotThisSignature(`its statement is malformed (${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''})`);
  }
  if (parsed.data.predicateType !== SIGN_PREDICATE) {
    throw new NotThisSignature(
      `it states ${JSON.stringify(parsed.data.predicateType.slice(0, 120))} about the image, which is not a signature of it`,
    );
  }
  return parsed.data.subject.flatMap(({ digest }) =>
    digest['sha256'] === undefined ? [] : [`sha256:${digest['sha256']}`],
  );
}
