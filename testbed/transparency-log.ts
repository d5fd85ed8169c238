/** A Rekor of one entry at a time, in code: its promises, its proofs, and the trusted root that believes it. */
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign } from 'node:crypto';
import { canonicalJson } from '../registry/canonical-json.ts';
import type { BundleSignature, SimpleSignature } from '../registry/signatures/attached-signature.ts';
import { type KeyKind, newKeyPair } from './signing-keys.ts';

const HOST = 'rekor.localhost';

export class StandInLog {
  /** PEM. */
  readonly publicKey: string;
  readonly #key: KeyObject;
  readonly #der: Buffer;

  constructor(kind: KeyKind = 'ECDSA P-256') {
    const pair = newKeyPair(kind);
    this.publicKey = pair.publicKey;
    this.#key = createPrivateKey(pair.privateKey);
    this.#der = createPublicKey(pair.publicKey).export({ format: 'der', type: 'spki' });
  }

  /** `trusted_root.json` with this log and nothing else. */
  trustedRoot(): string {
    const publicKey = {
      rawBytes: this.#der.toString('base64'),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: { start: '2020-01-01T00:00:00Z' },
    };
    const tlogs = [
      {
        baseUrl: `https://${HOST}`,
        hashAlgorithm: 'SHA2_256',
        publicKey,
        logId: { keyId: this.#id().toString('base64') },
      },
    ];
    return JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1', tlogs });
  }

  /**
   * The promise to have entered a signature at a time, as cosign puts it beside one.
   * @param signer PEM of the public key or certificate that made it.
   * @param change of the entry, for promises of something else.
   */
  promise({ payload, signature }: SimpleSignature, signer: string, at = new Date(), change: object = {}): string {
    const data = { hash: { algorithm: 'sha256', value: hash('sha256', payload, 'hex') } };
    const publicKey = { content: Buffer.from(signer).toString('base64') };
    const spec = { data, signature: { content: signature.toString('base64'), publicKey } };
    const entry = { apiVersion: '0.0.1', kind: 'hashedrekord', spec, ...change };
    const [Payload, SignedEntryTimestamp] = this.#promised(Buffer.from(canonicalJson(entry)), at);
    return JSON.stringify({ SignedEntryTimestamp, Payload });
  }

  /**
   * The bundle with an entry of this log: the promise, and the proof that it is in the tree.
   * @param signer PEM of the public key that made it.
   */
  entered({ bundle, ...where }: BundleSignature, signer: string): BundleSignature {
    const parsed = JSON.parse(bundle.toString()) as {
      verificationMaterial: object;
      dsseEnvelope: { payload: string; signatures: { sig: string }[] };
    };
    const { dsseEnvelope, verificationMaterial } = parsed;
    const sha256 = (bytes: Buffer) => ({ algorithm: 'sha256', value: hash('sha256', bytes, 'hex') });
    const signature = dsseEnvelope.signatures[0]?.sig ?? '';
    const spec = {
      envelopeHash: sha256(Buffer.from(JSON.stringify(dsseEnvelope))),
      payloadHash: sha256(Buffer.from(dsseEnvelope.payload, 'base64')),
      signatures: [{ signature, verifier: Buffer.from(signer).toString('base64') }],
    };
    const body = Buffer.from(canonicalJson({ apiVersion: '0.0.1', kind: 'dsse', spec }));
    const [{ integratedTime }, signedEntryTimestamp] = this.#promised(body, new Date());
    const root = hash('sha256', Buffer.concat([Buffer.from([0]), body]), 'buffer');
    const entry = {
      logIndex: '0',
      logId: { keyId: this.#id().toString('base64') },
      kindVersion: { kind: 'dsse', version: '0.0.1' },
      integratedTime: String(integratedTime),
      inclusionPromise: { signedEntryTimestamp },
      inclusionProof: {
        logIndex: '0',
        rootHash: root.toString('base64'),
        treeSize: '1',
        hashes: [],
        checkpoint: { envelope: this.#checkpoint(root) },
      },
      canonicalizedBody: body.toString('base64'),
    };
    const material = { ...verificationMaterial, tlogEntries: [entry] };
    return { ...where, bundle: Buffer.from(JSON.stringify({ ...parsed, verificationMaterial: material })) };
  }

  #id(): Buffer {
    return hash('sha256', this.#der, 'buffer');
  }

  #promised(body: Buffer, at: Date) {
    const payload = {
      body: body.toString('base64'),
      integratedTime: Math.floor(at.getTime() / 1000),
      logIndex: 0,
      logID: this.#id().toString('hex'),
    };
    return [payload, sign('sha256', Buffer.from(canonicalJson(payload)), this.#key).toString('base64')] as const;
  }

  /** A signed note about a tree of one leaf. */
  #checkpoint(root: Buffer): string {
    const note = `${HOST} - 1\n1\n${root.toString('base64')}\n`;
    const signature = Buffer.concat([this.#id().subarray(0, 4), sign('sha256', Buffer.from(note), this.#key)]);
    return `${note}\n\u2014 ${HOST} ${signature.toString('base64')}\n`;
  }
}
