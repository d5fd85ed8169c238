/** cosign's older format, put into the form of the newer one, so that sigstore's library judges both. */
import { hash, X509Certificate } from 'node:crypto';
import { type Bundle, bundleFromJSON } from '@sigstore/bundle';
import * as z from 'zod';
import { printable, reasonOf } from '../errors.ts';
import { ATTACHED_CHAIN_MAX, type SimpleSignature } from './attached-signature.ts';
import { NotThisSignature } from './errors.ts';
import { readLogPromise } from './log-promise.ts';
import { parseStrictJson } from './strict-json.ts';

const ENTRY = z.looseObject({ kind: z.string(), apiVersion: z.string() });

/**
 * A bundle with the certificate that is beside the signature, or with a key that is not named, and with its log entry.
 * @throws NotThisSignature when one of them is missing or malformed.
 */
export function liftedBundle(signature: SimpleSignature, by: 'certificate' | 'key'): Bundle {
  const { certificate, chain = '', payload } = signature;
  if (by === 'certificate' && certificate === undefined)
    throw new NotThisSignature('it has no certificate: it was made with a key');
  const { SignedEntryTimestamp, Payload } = readLogPromise(signature);
  try {
    const { kind, apiVersion } = ENTRY.parse(parseStrictJson(Buffer.from(Payload.body, 'base64')));
    const signer =
      by === 'key' || certificate === undefined
        ? { publicKey: { hint: '' } }
        : {
            x509CertificateChain: {
              certificates: [certificate, ...splitPem(chain)].map((pem) => ({ rawBytes: derOf(pem) })),
            },
          };
    return bundleFromJSON({
      mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
      verificationMaterial: {
        ...signer,
        tlogEntries: [
          {
            logIndex: String(Payload.logIndex),
            logId: { keyId: Buffer.from(Payload.logID, 'hex').toString('base64') },
            kindVersion: { kind, version: apiVersion },
            integratedTime: String(Payload.integratedTime),
            inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
            canonicalizedBody: Payload.body,
          },
        ],
      },
      messageSignature: {
        messageDigest: { algorithm: 'SHA2_256', digest: hash('sha256', payload, 'base64') },
        signature: signature.signature.toString('base64'),
      },
    });
  } catch (cause) {
    throw new NotThisSignature(`its certificate or log entry is malformed (${printable(reasonOf(cause))})`, { cause });
  }
}

/** Counted before any of it is parsed. */
function splitPem(text: string): readonly string[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length > ATTACHED_CHAIN_MAX)
    throw new Error(`its chain holds ${blocks.length} certificates, more than ${ATTACHED_CHAIN_MAX}`);
  return blocks;
}

function derOf(pem: string): string {
  return new X509Certificate(pem).raw.toString('base64');
}
