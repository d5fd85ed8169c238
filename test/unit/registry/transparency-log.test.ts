import assert from 'node:assert/strict';
import type {
  AttachedSignature,
  BundleSignature,
  SimpleSignature,
} from '../../../registry/signatures/attached-signature.ts';
import {
  parsePolicyFile,
  parsePublicKey,
  parseSignaturePolicy,
  type SignaturePolicyText,
} from '../../../registry/signatures/index.ts';
import { judgeSignatures } from '../../../registry/signatures/judge.ts';
import { bundleSignature, signStatement, simpleSignature } from '../../../testbed/signed-image.ts';
import { KEY_KINDS, newKeyPair } from '../../../testbed/signing-keys.ts';
import { StandInLog } from '../../../testbed/transparency-log.ts';
import { refuses } from './refused-signature.ts';

const IMAGE = { repository: 'registry.example/os', digest: `sha256:${'1'.repeat(64)}` };
const NAMED = { dockerReference: IMAGE.repository, digest: IMAGE.digest };

describe('an authority whose signatures must be in a transparency log', () => {
  const log = new StandInLog();
  const pair = newKeyPair();
  const plain = simpleSignature(pair.privateKey, NAMED);
  const bundle = bundleSignature(pair.privateKey, signStatement(IMAGE.digest));
  const logged = (one: SimpleSignature): AttachedSignature => ({
    ...one,
    rekorBundle: log.promise(one, pair.publicKey),
  });

  const text = (more: object = {}): SignaturePolicyText => ({
    authorities: [
      { name: 'release', publicKeys: [pair.publicKey], transparencyLog: { trustedRoot: log.trustedRoot() }, ...more },
    ],
  });
  const judge = (attached: AttachedSignature, policy = text()) =>
    judgeSignatures(parseSignaturePolicy(policy, 'the test'), IMAGE, [attached]);

  for (const kind of KEY_KINDS) {
    it(`takes those with ${kind} that it has seen, in both formats, and no other`, () => {
      const key = newKeyPair(kind);
      const publicKeys = [key.publicKey];
      const simple = simpleSignature(key.privateKey, NAMED);
      const newer = bundleSignature(key.privateKey, signStatement(IMAGE.digest));
      for (const [unseen, seen] of [
        [simple, { ...simple, rekorBundle: log.promise(simple, key.publicKey) }],
        [newer, log.entered(newer, key.publicKey)],
      ] as const) {
        assert.equal(judge(seen, text({ publicKeys })).length, 1);
        refuses(() => judge(unseen, text({ publicKeys })), /transparency log/);
        assert.equal(
          judge(unseen, text({ publicKeys, transparencyLog: undefined })).length,
          1,
          'where no log is asked for',
        );
      }
    });
  }

  it('does not take the word of another log, or the entry of another signature', () => {
    const stranger = new StandInLog();
    const byStranger = text({ transparencyLog: { trustedRoot: stranger.trustedRoot() } });
    for (const seen of [logged(plain), log.entered(bundle, pair.publicKey)])
      refuses(() => judge(seen, byStranger), /no transparency log that is believed has seen it/);
    // An ECDSA signature is another one each time that it is made.
    const again = simpleSignature(pair.privateKey, NAMED);
    refuses(
      () => judge({ ...plain, rekorBundle: log.promise(again, pair.publicKey) }),
      /has seen it \(signature mismatch\)/,
    );
    const entries = (one: BundleSignature) =>
      (JSON.parse(one.bundle.toString()) as { verificationMaterial: object }).verificationMaterial;
    const other = log.entered(bundleSignature(pair.privateKey, signStatement(IMAGE.digest)), pair.publicKey);
    const swapped = { ...(JSON.parse(bundle.bundle.toString()) as object), verificationMaterial: entries(other) };
    refuses(() => judge({ ...bundle, bundle: Buffer.from(JSON.stringify(swapped)) }), /signature mismatch/);
  });

  it('does not believe an entry once a bit of it is another', () => {
    const seen = log.entered(bundle, pair.publicKey);
    const { verificationMaterial, ...rest } = JSON.parse(seen.bundle.toString()) as {
      verificationMaterial: { tlogEntries: Record<string, unknown>[] };
    };
    const [entry = {}] = verificationMaterial.tlogEntries;
    const changed = (change: Record<string, unknown>): AttachedSignature => {
      const material = { ...verificationMaterial, tlogEntries: [{ ...entry, ...change }] };
      return { ...seen, bundle: Buffer.from(JSON.stringify({ ...rest, verificationMaterial: material })) };
    };
    assert.equal(judge(changed({})).length, 1);
    const flipped = (base64: unknown, at: number) => {
      const bytes = Buffer.from(String(base64), 'base64');
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes.toString('base64');
    };
    const { signedEntryTimestamp } = entry['inclusionPromise'] as { signedEntryTimestamp: string };
    const proof = entry['inclusionProof'] as { rootHash: string; checkpoint: { envelope: string } };
    for (let at = 0; at < Buffer.from(signedEntryTimestamp, 'base64').length; at++)
      refuses(
        () => judge(changed({ inclusionPromise: { signedEntryTimestamp: flipped(signedEntryTimestamp, at) } })),
        /has seen it/,
      );
    const body = entry['canonicalizedBody'];
    for (let at = 0; at < Buffer.from(String(body), 'base64').length; at++)
      refuses(() => judge(changed({ canonicalizedBody: flipped(body, at) })), /has seen it/);
    const { envelope } = proof.checkpoint;
    const forged = { ...proof, checkpoint: { envelope: envelope.replace(/\n1\n/, '\n2\n') } };
    refuses(() => judge(changed({ inclusionProof: forged })), /has seen it/);
    refuses(
      () => judge(changed({ inclusionPromise: undefined, inclusionProof: undefined })),
      /transparency log|malformed/,
    );
    assert.equal(judge(changed({ inclusionPromise: undefined })).length, 1, 'the proof is enough without the promise');
  });

  it('is told that its key is denied before anything about the log', () => {
    const { fingerprint } = parsePublicKey(pair.publicKey, '');
    refuses(() => judge(plain, { ...text(), deniedKeys: [fingerprint] }), /is denied/, 'SignatureRevoked');
  });

  it('needs a root that names a log, and keys', () => {
    const invalid = (more: object, message: RegExp) =>
      refuses(() => judge(plain, text(more)), message, 'InvalidSignaturePolicy');
    const empty = JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' });
    invalid({ transparencyLog: { trustedRoot: empty } }, /names no transparency log/);
    invalid({ transparencyLog: { trustedRoot: '{' } }, /cannot be read/);
    const damaged = log.trustedRoot().replace(/"rawBytes":"[^"]+"/, '"rawBytes":"AAAA"');
    invalid({ transparencyLog: { trustedRoot: damaged } }, /cannot be used/);
    const keyless = { issuer: 'i', subject: 's', trustedRoot: empty };
    invalid({ publicKeys: undefined, keyless }, /both keyless and transparencyLog/);
  });

  it('can stand in the policy file of a cluster or a host', () => {
    const file = parsePolicyFile(JSON.stringify(text()), 'policy.yaml');
    assert.equal(file.authorities[0]?.transparencyLog?.trustedRoot, log.trustedRoot());
    refuses(
      () => parsePolicyFile(JSON.stringify(text({ transparencyLog: {} })), 'policy.yaml'),
      /transparencyLog/,
      'InvalidSignaturePolicy',
    );
  });
});
