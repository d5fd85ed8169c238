/** Signatures, which anybody may attach to an image, and the keys and policies that they are judged by. */
import assert from 'node:assert/strict';
import type { AttachedSignature, SimpleSignature } from '../../registry/signatures/attached-signature.ts';
import { readCertificate } from '../../registry/signatures/certificate.ts';
import {
  parsePolicyFile,
  parsePublicKey,
  parseSignaturePolicy,
  parseSigningKey,
} from '../../registry/signatures/index.ts';
import { parseContainersPolicy } from '../../registry/signatures/containers/policy-document.ts';
import { lookasideBase, parseRegistriesD } from '../../registry/signatures/containers/registries-d.ts';
import { requirementsFor } from '../../registry/signatures/containers/scopes.ts';
import { type SigstoreSigner, signerOf } from '../../registry/signatures/containers/sigstore-signer.ts';
import { NotThisSignature } from '../../registry/signatures/errors.ts';
import { judgeSignatures } from '../../registry/signatures/judge.ts';
import { CODE_SIGNING, newCertificate, type TestCertificate, utf8String } from '../certificates.ts';
import { bundleSignature, signStatement, simpleSignature } from '../signed-image.ts';
import { newKeyPair } from '../signing-keys.ts';
import { StandInLog } from '../transparency-log.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';

const REPOSITORY = 'registry.example/os';
const DIGEST = `sha256:${'1'.repeat(64)}`;
const REFUSED = ['SignatureError'];

function signatureTarget(): FuzzTarget {
  const pair = newKeyPair();
  const policy = parseSignaturePolicy({ authorities: [{ name: 'a', publicKeys: [pair.publicKey] }] }, 'the fuzzer');
  const originals = [
    simpleSignature(pair.privateKey, { dockerReference: REPOSITORY, digest: DIGEST }),
    bundleSignature(pair.privateKey, signStatement(DIGEST)),
  ];
  return {
    name: 'signatures',
    round: (random) => {
      const original = random.pick(originals);
      const damaged: AttachedSignature =
        original.kind === 'bundle'
          ? { ...original, bundle: random.damaged(original.bundle) }
          : random.chance(2)
            ? { ...original, payload: random.damaged(original.payload) }
            : { ...original, signature: random.damaged(original.signature) };
      // Whatever was damaged, it never counts for another image or name.
      for (const image of [
        { repository: REPOSITORY, digest: `sha256:${'2'.repeat(64)}` },
        { repository: `${REPOSITORY}2`, digest: `sha256:${'3'.repeat(64)}` },
      ]) {
        assert.equal(
          attempt(REFUSED, () => judgeSignatures(policy, image, [damaged])),
          undefined,
        );
      }
      attempt(REFUSED, () => judgeSignatures(policy, { repository: REPOSITORY, digest: DIGEST }, [damaged]));
    },
  };
}

function keyTarget(): FuzzTarget {
  const { privateKey, publicKey } = newKeyPair('Ed25519');
  return {
    name: 'signing-keys',
    round: (random) => {
      attempt(REFUSED, () => parsePublicKey(random.damaged(Buffer.from(publicKey)).toString('latin1'), 'the fuzzer'));
      attempt(REFUSED, () =>
        parseSigningKey(random.damaged(Buffer.from(privateKey)).toString('latin1'), 'x', 'the fuzzer'),
      );
    },
  };
}

function policyFileTarget(): FuzzTarget {
  const key = newKeyPair('Ed25519').publicKey.trim().replaceAll('\n', '\n      ');
  const text = `match: All\nauthorities:\n- name: a\n  publicKeys:\n    - |\n      ${key}\ndeniedDigests:\n- ${DIGEST}\n`;
  return {
    name: 'signature-policy-files',
    round: (random) => {
      const damaged = random.damaged(Buffer.from(text)).toString('utf8');
      const policy = attempt(REFUSED, () => parsePolicyFile(damaged, 'the fuzzer'));
      // What passes asks for something.
      if (policy !== undefined)
        assert.ok(policy.authorities.length + policy.deniedDigests.length + policy.deniedKeys.length > 0);
    },
  };
}

const CONTAINERS_POLICY = Buffer.from(
  JSON.stringify({
    default: [{ type: 'reject' }],
    transports: {
      docker: {
        'registry.example': [{ type: 'sigstoreSigned', keyPath: '/k', signedIdentity: { type: 'matchRepository' } }],
        '*.example': [{ type: 'signedBy', keyType: 'GPGKeys', keyData: 'AAAA' }],
        '': [{ type: 'insecureAcceptAnything' }],
      },
    },
  }),
);
const REGISTRIES_D = Buffer.from(
  'default-docker:\n  lookaside: file:///a\ndocker:\n  a.example: {use-sigstore-attachments: true}\n',
);

const containersPolicies: FuzzTarget = {
  name: 'containers-policies',
  round: (random) => {
    const policy = attempt(REFUSED, () => parseContainersPolicy(random.damaged(CONTAINERS_POLICY), 'policy.json'));
    // Some requirement always stands, whatever is asked about.
    if (policy !== undefined)
      assert.ok(requirementsFor(policy, { transport: 'registry', name: 'a.example/os:1' }).length > 0);
    const text = random.damaged(REGISTRIES_D).toString('utf8');
    const storage = attempt(REFUSED, () => parseRegistriesD([{ path: 'a.yaml', text }]));
    const name = { host: 'a.example', repository: 'os' };
    if (storage !== undefined) assert.equal(typeof lookasideBase(storage, name), 'string');
  },
};

function certificateTarget(): FuzzTarget {
  const log = new StandInLog();
  const root = newCertificate({ subject: 'root', authority: true });
  const middle = newCertificate({ subject: 'middle', issuer: root, authority: 0 });
  const leaf = newCertificate({
    subject: 'leaf',
    issuer: middle,
    usages: [CODE_SIGNING],
    emails: ['a@example'],
    more: [{ oid: '1.3.6.1.4.1.57264.1.8', value: utf8String('https://issuer.example') }],
  });
  const now = new Date();
  const plain = simpleSignature(leaf.privateKey, { dockerReference: REPOSITORY, digest: DIGEST });
  const original: SimpleSignature = {
    ...plain,
    certificate: leaf.pem,
    chain: middle.pem + root.pem,
    rekorBundle: log.promise(plain, leaf.pem, now),
  };
  const authorities = { roots: [readCertificate(root.der)], intermediates: [] };
  const logKeys = [parsePublicKey(log.publicKey, 'the fuzzer')];
  const issuer = 'https://issuer.example';
  const signers: readonly SigstoreSigner[] = [
    { by: 'pki', ...authorities, email: 'a@example', logKeys: [] },
    { by: 'fulcio', roots: authorities.roots, issuer, email: 'a@example', logKeys },
  ];
  return {
    name: 'policy-certificates',
    round: (random) => {
      const text = (part: string | undefined) => random.damaged(Buffer.from(part ?? '')).toString('latin1');
      // Of a certificate the bytes below the base64 are damaged too, where its reader is.
      const pem = ({ der }: TestCertificate) =>
        `-----BEGIN CERTIFICATE-----\n${random.damaged(der).toString('base64')}\n-----END CERTIFICATE-----\n`;
      const damaged = random.pick<(one: SimpleSignature) => SimpleSignature>([
        (one) => ({ ...one, certificate: random.chance(2) ? text(one.certificate) : pem(leaf) }),
        (one) => ({ ...one, chain: random.chance(2) ? text(one.chain) : pem(middle) + root.pem }),
        (one) => ({ ...one, rekorBundle: text(one.rekorBundle) }),
        (one) => ({ ...one, payload: random.damaged(one.payload) }),
      ])(original);
      try {
        signerOf(damaged, random.pick(signers), now);
      } catch (error) {
        if (error instanceof NotThisSignature) return;
        throw error;
      }
      // Who is believed to have signed did sign just these bytes.
      assert.ok(damaged.payload.equals(original.payload));
    },
  };
}

export const SIGNATURE_TARGETS = [
  signatureTarget(),
  keyTarget(),
  policyFileTarget(),
  containersPolicies,
  certificateTarget(),
];
