/** A statement in a signed envelope (DSSE v1, https://github.com/secure-systems-lab/dsse): what attestations travel in. */
import { signBytes, type SigningKey } from './signing-key.ts';

export const ENVELOPE_MEDIA_TYPE = 'application/vnd.dsse.envelope.v1+json';

/** The bytes that a DSSE signature is over: its "pre-authentication encoding". */
export function envelopeBytes(payloadType: string, payload: Buffer): Buffer {
  const header = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(header), payload]);
}

/** The envelope as JSON. */
export function signEnvelope(key: SigningKey, payloadType: string, payload: Buffer): Buffer {
  const sig = signBytes(key, envelopeBytes(payloadType, payload)).toString('base64');
  const envelope = { payloadType, payload: payload.toString('base64'), signatures: [{ keyid: '', sig }] };
  return Buffer.from(JSON.stringify(envelope));
}
