/**
 * The promise of a Rekor log ("signed entry timestamp") to have entered a signature, as cosign puts it beside one and as
 * podman and skopeo ask for it. Verified by the log's key alone.
 */
import { hash } from 'node:crypto';
import * as z from 'zod';
import { canonicalJson } from '../canonical-json.ts';
import { printable, reasonOf } from '../errors.ts';
import type { SimpleSignature } from './attached-signature.ts';
import { NotThisSignature } from './errors.ts';
import { isSignedBy, type PublicKey } from './public-key.ts';
import { parseStrictJson } from './strict-json.ts';

const PROMISE = z.strictObject({
  SignedEntryTimestamp: z.base64(),
  Payload: z.strictObject({
    body: z.base64(),
    integratedTime: z.number().int().nonnegative(),
    logIndex: z.number().int().nonnegative(),
    logID: z.string().regex(/^[0-9a-f]{64}$/),
  }),
});

const ENTRY = z.looseObject({
  kind: z.literal('hashedrekord'),
  apiVersion: z.literal('0.0.1'),
  spec: z.looseObject({
    data: z.looseObject({
      hash: z.looseObject({ algorithm: z.literal('sha256'), value: z.string().regex(/^[0-9a-f]{64}$/) }),
    }),
    signature: z.looseObject({
      content: z.base64(),
      publicKey: z.looseObject({ content: z.base64() }),
    }),
  }),
});

export type LogPromise = z.infer<typeof PROMISE>;

/**
 * Reads the promise beside a signature; nothing of it is verified.
 * @throws NotThisSignature when there is none, or it is malformed.
 */
export function readLogPromise({ rekorBundle }: SimpleSignature): LogPromise {
  if (rekorBundle === undefined) throw new NotThisSignature('it has no entry of a transparency log');
  return read(PROMISE, rekorBundle);
}

/**
 * When a log entered exactly this signature, made by exactly this key or certificate.
 * @param logKeys of logs that are believed; one of them must have promised.
 * @param signer the key (SubjectPublicKeyInfo) or the certificate, in DER.
 * @throws NotThisSignature
 */
export function openLogPromise(logKeys: readonly PublicKey[], signature: SimpleSignature, signer: Buffer): Date {
  const { SignedEntryTimestamp, Payload } = readLogPromise(signature);
  const promised = Buffer.from(canonicalJson(Payload));
  const promise = Buffer.from(SignedEntryTimestamp, 'base64');
  if (!logKeys.some((key) => isSignedBy(key, promised, promise)))
    throw new NotThisSignature('its entry of a transparency log was not promised by a log that is believed');
  const { spec } = read(ENTRY, Buffer.from(Payload.body, 'base64'));
  const logged: readonly (readonly [what: string, isThis: boolean])[] = [
    ['payload', spec.data.hash.value === hash('sha256', signature.payload, 'hex')],
    ['signature', Buffer.from(spec.signature.content, 'base64').equals(signature.signature)],
    ['key or certificate', derOf(Buffer.from(spec.signature.publicKey.content, 'base64'))?.equals(signer) === true],
  ];
  const other = logged.find(([, isThis]) => !isThis)?.[0];
  if (other !== undefined) throw new NotThisSignature(`its entry of a transparency log is about another ${other}`);
  return new Date(Payload.integratedTime * 1000);
}

function read<T>(form: z.ZodType<T>, json: Buffer | string): T {
  try {
    return form.parse(parseStrictJson(json));
  } catch (cause) {
    throw new NotThisSignature(`its entry of a transparency log is malformed (${printable(reasonOf(cause))})`, {
      cause,
    });
  }
}

/** Of the one PEM block that a text consists of. */
function derOf(pem: Buffer): Buffer | undefined {
  const text = pem.toString('latin1');
  const body = /^\s*-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----\s*$/.exec(text)?.[2];
  return body === undefined ? undefined : Buffer.from(body, 'base64');
}
