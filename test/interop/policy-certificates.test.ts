/**
 * Certificates and transparency logs in a policy of the host (`fulcio`, `pki`, `rekorPublicKey…`): one table, judged by us and
 * by the library of podman and skopeo, which must agree.
 */
import assert from 'node:assert/strict';
import { createPublicKey, hash, X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAnyImageReference } from '../../registry/index.ts';
import type { SimpleSignature } from '../../registry/signatures/attached-signature.ts';
import { evaluatePolicy } from '../../registry/signatures/containers/evaluate.ts';
import { parseContainersPolicy } from '../../registry/signatures/containers/policy-document.ts';
import { parseRegistriesD } from '../../registry/signatures/containers/registries-d.ts';
import { SignatureError } from '../../registry/signatures/index.ts';
import {
  CODE_SIGNING,
  type CertificateWish,
  newCertificate,
  type TestCertificate,
  utf8String,
} from '../../testbed/certificates.ts';
import { simpleSignature } from '../../testbed/signed-image.ts';
import { newKeyPair } from '../../testbed/signing-keys.ts';
import { StandInLog } from '../../testbed/transparency-log.ts';
import { ensureSigstoreStandIn } from '../../tools/setup/index.ts';
import { SignatureBench } from './signature-fixture.ts';

const run = promisify(execFile);
const EMAIL = 'release@example.com';
const ISSUER = 'https://issuer.example';
const HOST = 'builder.example.com';
const OIDC_ISSUER = '1.3.6.1.4.1.57264.1.1';
const OIDC_ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
const SERVER_USAGE = '1.3.6.1.5.5.7.3.1';
const HOUR_MS = 3600_000;
const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS);
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('a certificate or a log in a policy of the host', () => {
  let bench: SignatureBench;
  let image: { name: string; digest: string };

  before(async () => {
    bench = await SignatureBench.start();
    image = await bench.push('team/os');
  });
  after(() => bench[Symbol.asyncDispose]());

  const log = new StandInLog();
  const otherLog = new StandInLog('ECDSA P-384');
  const key = newKeyPair();
  const otherKey = newKeyPair();
  const root = newCertificate({ subject: 'root', authority: true });
  const stranger = newCertificate({ subject: 'root', authority: true });
  const middle = newCertificate({ subject: 'middle', issuer: root, authority: 0 });
  const below = newCertificate({ subject: 'below', issuer: middle, authority: true });
  const expired = newCertificate({ subject: 'expired', issuer: root, authority: true, to: inHours(-0.5) });
  const forServers = newCertificate({ subject: 'for servers', issuer: root, authority: true, usages: [SERVER_USAGE] });
  const powerless = newCertificate({ subject: 'powerless', issuer: root });
  const leafOf = (issuer: TestCertificate, wish: Partial<CertificateWish> = {}) =>
    newCertificate({
      subject: 'leaf',
      issuer,
      usages: [CODE_SIGNING],
      emails: [EMAIL],
      hosts: [HOST],
      more: [{ oid: OIDC_ISSUER, value: Buffer.from(ISSUER) }],
      ...wish,
    });

  const payload = () => ({ dockerReference: image.name, digest: image.digest });
  const byKey = (privateKey = key.privateKey) => simpleSignature(privateKey, payload());
  const logged = (signature: SimpleSignature, signer: string, at = new Date(), change = {}, by = log) => ({
    ...signature,
    rekorBundle: by.promise(signature, signer, at, change),
  });
  const byLeaf = (leaf: TestCertificate, ...chain: readonly TestCertificate[]): SimpleSignature => ({
    ...simpleSignature(leaf.privateKey, payload()),
    certificate: leaf.pem,
    ...(chain.length === 0 ? {} : { chain: chain.map(({ pem }) => pem).join('') }),
  });
  const loggedLeaf = (leaf: TestCertificate, chain: readonly TestCertificate[] = [middle, root], at = new Date()) =>
    logged(byLeaf(leaf, ...chain), leaf.pem, at);

  const signedIdentity = { type: 'matchRepository' };
  const keyed = (more: object = {}) => ({
    type: 'sigstoreSigned',
    keyData: base64(key.publicKey),
    rekorPublicKeyData: base64(log.publicKey),
    signedIdentity,
    ...more,
  });
  const fulcio = (change: object = {}, more: object = {}) => ({
    type: 'sigstoreSigned',
    fulcio: { caData: base64(root.pem), oidcIssuer: ISSUER, subjectEmail: EMAIL, ...change },
    rekorPublicKeyData: base64(log.publicKey),
    signedIdentity,
    ...more,
  });
  const pki = (change: object = {}) => ({
    type: 'sigstoreSigned',
    pki: { caRootsData: base64(root.pem), subjectEmail: EMAIL, ...change },
    signedIdentity,
  });

  async function verdicts(signature: SimpleSignature, requirement: object): Promise<Record<string, string>> {
    await bench.attach(image, signature);
    const policy = { default: [requirement] };
    const said = async (judged: Promise<unknown>) =>
      judged.then(
        () => 'accepts',
        (error: unknown) => {
          if (
            !(error instanceof SignatureError) &&
            !('code' in (error as object) && (error as { code: unknown }).code === 1)
          )
            throw error;
          return 'refuses';
        },
      );
    const ours = async () => {
      const rules = {
        path: 'policy.json',
        policy: parseContainersPolicy(Buffer.from(JSON.stringify(policy)), 'policy.json'),
        storage: parseRegistriesD([{ path: 'a.yaml', text: 'default-docker: {use-sigstore-attachments: true}' }]),
        root: '/',
        readKey: readFile,
      };
      const { image: reference } = parseAnyImageReference(`${image.name}:1`);
      return evaluatePolicy(rules, {
        image: reference,
        digest: image.digest,
        registry: bench.options,
        now: new Date(),
      });
    };
    return {
      us: await said(ours()),
      library: await said(bench.policyAllows(`${image.name}:1`, policy)),
    };
  }

  const rows: readonly (readonly [
    why: string,
    signature: () => SimpleSignature,
    requirement: object,
    accepted: boolean,
  ])[] = [
    ['a key, logged', () => logged(byKey(), key.publicKey), keyed(), true],
    ['a key, not logged', () => byKey(), keyed(), false],
    ['a key, by another log', () => logged(byKey(), key.publicKey, new Date(), {}, otherLog), keyed(), false],
    [
      'a key, by one of two logs',
      () => logged(byKey(), key.publicKey, new Date(), {}, otherLog),
      keyed({
        rekorPublicKeyData: undefined,
        rekorPublicKeyDatas: [base64(log.publicKey), base64(otherLog.publicKey)],
      }),
      true,
    ],
    [
      'one of two keys, logged',
      () => logged(byKey(), key.publicKey),
      keyed({ keyData: undefined, keyDatas: [base64(otherKey.publicKey), base64(key.publicKey)] }),
      true,
    ],
    ['a key, the entry of another key', () => logged(byKey(), otherKey.publicKey), keyed(), false],
    [
      'a key, the entry of another signature',
      () => ({ ...byKey(), rekorBundle: logged(byKey(), key.publicKey).rekorBundle }),
      keyed(),
      false,
    ],
    [
      'a key, the entry of another payload',
      () => {
        const signature = byKey();
        const data = { hash: { algorithm: 'sha256', value: hash('sha256', 'another', 'hex') } };
        const publicKey = { content: base64(key.publicKey) };
        const spec = { data, signature: { content: signature.signature.toString('base64'), publicKey } };
        return logged(signature, key.publicKey, new Date(), { spec });
      },
      keyed(),
      false,
    ],
    [
      'a key, an entry of another kind',
      () => logged(byKey(), key.publicKey, new Date(), { kind: 'dsse' }),
      keyed(),
      false,
    ],
    ['a key, with what the log promised changed', () => later(logged(byKey(), key.publicKey)), keyed(), false],
    ['another key, logged', () => logged(byKey(otherKey.privateKey), otherKey.publicKey), keyed(), false],
    ['Fulcio’s certificate', () => loggedLeaf(leafOf(middle)), fulcio(), true],
    ['Fulcio’s certificate by its root', () => loggedLeaf(leafOf(root), []), fulcio(), true],
    ['Fulcio’s certificate without what stands in between', () => loggedLeaf(leafOf(middle), []), fulcio(), false],
    [
      'Fulcio’s certificate, expired since it signed',
      () => loggedLeaf(leafOf(middle, { to: inHours(-0.5) }), [middle, root], inHours(-0.6)),
      fulcio(),
      true,
    ],
    [
      'Fulcio’s certificate, expired before it signed',
      () => loggedLeaf(leafOf(middle, { to: inHours(-0.5) }), [middle, root], inHours(-0.4)),
      fulcio(),
      false,
    ],
    ['Fulcio’s certificate of another root', () => loggedLeaf(leafOf(stranger), []), fulcio(), false],
    [
      'Fulcio’s certificate by another issuer',
      () => loggedLeaf(leafOf(middle)),
      fulcio({ oidcIssuer: 'https://b' }),
      false,
    ],
    ['Fulcio’s certificate of somebody else', () => loggedLeaf(leafOf(middle)), fulcio({ subjectEmail: 'x@y' }), false],
    [
      'Fulcio’s certificate of two, one of whom is meant',
      () => loggedLeaf(leafOf(middle, { emails: ['other@example.com', EMAIL] })),
      fulcio(),
      true,
    ],
    [
      'Fulcio’s certificate, with the issuer in its newer form',
      () => loggedLeaf(leafOf(middle, { more: [{ oid: OIDC_ISSUER_V2, value: utf8String(ISSUER) }] })),
      fulcio(),
      true,
    ],
    [
      'Fulcio’s certificate, with two issuers that differ',
      () =>
        loggedLeaf(
          leafOf(middle, {
            more: [
              { oid: OIDC_ISSUER, value: Buffer.from(ISSUER) },
              { oid: OIDC_ISSUER_V2, value: utf8String('https://other.example') },
            ],
          }),
        ),
      fulcio(),
      false,
    ],
    ['Fulcio’s certificate without an issuer', () => loggedLeaf(leafOf(middle, { more: [] })), fulcio(), false],
    ['Fulcio’s certificate, not logged', () => byLeaf(leafOf(middle), middle, root), fulcio(), false],
    [
      'Fulcio’s certificate, the entry of another one',
      () => ({ ...byLeaf(leafOf(middle), middle, root), rekorBundle: loggedLeaf(leafOf(middle)).rekorBundle }),
      fulcio(),
      false,
    ],
    ['a key where Fulcio is meant', () => logged(byKey(), key.publicKey), fulcio(), false],
    ['a certificate of the house', () => byLeaf(leafOf(middle), middle, root), pki(), true],
    [
      'a certificate of the house by its host',
      () => byLeaf(leafOf(middle), middle, root),
      pki({ subjectHostname: HOST }),
      true,
    ],
    [
      'a certificate of the house by a wildcard of its host',
      () => byLeaf(leafOf(root, { hosts: ['*.example.com'] })),
      pki({ subjectHostname: HOST }),
      true,
    ],
    [
      'a certificate of the house for another host',
      () => byLeaf(leafOf(root)),
      pki({ subjectHostname: 'a.example.com' }),
      false,
    ],
    [
      'a certificate of the house whose common name is a host',
      () => byLeaf(leafOf(root, { subject: 'c.example.com', hosts: [] })),
      pki({ subjectHostname: 'c.example.com' }),
      false,
    ],
    ['a certificate of the house of somebody else', () => byLeaf(leafOf(root, { emails: ['x@y'] })), pki(), false],
    [
      'a certificate of the house in other letters',
      () => byLeaf(leafOf(root, { emails: [EMAIL.toUpperCase()] })),
      pki(),
      false,
    ],
    [
      'a certificate of the house by what the policy puts in between',
      () => byLeaf(leafOf(middle)),
      pki({ caIntermediatesData: base64(middle.pem) }),
      true,
    ],
    ['a certificate of the house that has expired', () => byLeaf(leafOf(root, { to: inHours(-0.5) })), pki(), false],
    [
      'a certificate of the house that is not yet good',
      () => byLeaf(leafOf(root, { from: inHours(0.5) })),
      pki(),
      false,
    ],
    ['a certificate of an authority that has expired', () => byLeaf(leafOf(expired), expired, root), pki(), false],
    ['a certificate for servers', () => byLeaf(leafOf(root, { usages: [SERVER_USAGE] })), pki(), false],
    ['a certificate for anything', () => byLeaf(leafOf(root, { usages: [] })), pki(), true],
    ['a certificate of an authority for servers', () => byLeaf(leafOf(forServers), forServers, root), pki(), false],
    ['a certificate by one that may not issue any', () => byLeaf(leafOf(powerless), powerless, root), pki(), false],
    [
      'a certificate below more authorities than allowed',
      () => byLeaf(leafOf(below), below, middle, root),
      pki(),
      false,
    ],
    [
      'a certificate with a restriction that nobody knows',
      () => byLeaf(leafOf(root, { more: [{ oid: '1.2.3.4', critical: true, value: utf8String('x') }] })),
      pki(),
      false,
    ],
    ['a certificate signed with SHA-1', () => byLeaf(leafOf(root, { digest: 'sha1' })), pki(), false],
    [
      'a certificate that another one signed with',
      () => ({ ...byLeaf(leafOf(root)), certificate: leafOf(root).pem }),
      pki(),
      false,
    ],
    ['two certificates', () => twice(byLeaf(leafOf(root))), pki(), false],
    [
      'a certificate that is trusted itself',
      () => byLeaf(root),
      pki({ subjectEmail: undefined, subjectHostname: 'x' }),
      false,
    ],
    ['pki without anybody', () => byLeaf(leafOf(root)), pki({ subjectEmail: undefined }), false],
    ['pki with a log', () => byLeaf(leafOf(root)), { ...pki(), rekorPublicKeyData: base64(log.publicKey) }, false],
  ];

  function later(signature: SimpleSignature): SimpleSignature {
    const promise = JSON.parse(signature.rekorBundle ?? '') as { Payload: { integratedTime: number } };
    promise.Payload.integratedTime++;
    return { ...signature, rekorBundle: JSON.stringify(promise) };
  }

  function twice(signature: SimpleSignature): SimpleSignature {
    const { certificate = '' } = signature;
    return { ...signature, certificate: certificate + certificate };
  }

  for (const [what, signature, requirement, accepted] of rows) {
    const verdict = accepted ? 'accepts' : 'refuses';
    it(`${verdict} ${what}, as podman’s library does`, async () => {
      assert.deepEqual(await verdicts(signature(), requirement), { us: verdict, library: verdict });
    });
  }

  it('accepts what the Fulcio and the Rekor of sigstore’s own test kit made, as podman’s library does', async () => {
    const folder = join(bench.folder, 'kit');
    await mkdir(folder);
    await run(await ensureSigstoreStandIn(() => undefined), [folder, image.name, image.digest, EMAIL, ISSUER]);
    const text = (file: string) => readFile(join(folder, file), 'utf8');
    const trusted = JSON.parse(await text('trusted-root.json')) as {
      certificateAuthorities: { certChain: { certificates: { rawBytes: string }[] } }[];
      tlogs: { publicKey: { rawBytes: string } }[];
    };
    const authorities = trusted.certificateAuthorities.flatMap(({ certChain }) => certChain.certificates);
    const pem = new X509Certificate(Buffer.from(authorities.at(-1)?.rawBytes ?? '', 'base64')).toString();
    const logKey = createPublicKey({
      key: Buffer.from(trusted.tlogs[0]?.publicKey.rawBytes ?? '', 'base64'),
      format: 'der',
      type: 'spki',
    }).export({ format: 'pem', type: 'spki' });
    const signature: SimpleSignature = {
      kind: 'simple-signing',
      where: 'tag',
      payload: await readFile(join(folder, 'payload.json')),
      signature: Buffer.from(await text('signature'), 'base64'),
      certificate: await text('certificate.pem'),
      chain: (await text('chain.pem')) + pem,
      rekorBundle: await text('rekor.json'),
    };
    const requirement = fulcio({ caData: base64(pem) }, { rekorPublicKeyData: base64(logKey) });
    assert.deepEqual(await verdicts(signature, requirement), { us: 'accepts', library: 'accepts' });
    const another = fulcio({ caData: base64(pem), subjectEmail: 'x@y' }, { rekorPublicKeyData: base64(logKey) });
    assert.deepEqual(await verdicts(signature, another), { us: 'refuses', library: 'refuses' });
  });
});
