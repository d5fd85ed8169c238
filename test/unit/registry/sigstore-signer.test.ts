/** `test/interop/policy-certificates` holds the same code against podman's library; here is what that does not show. */
import assert from 'node:assert/strict';
import type { SimpleSignature } from '../../../registry/signatures/attached-signature.ts';
import { readCertificate } from '../../../registry/signatures/certificate.ts';
import { requireChain } from '../../../registry/signatures/certificate-chain.ts';
import { parseContainersPolicy } from '../../../registry/signatures/containers/policy-document.ts';
import { readSigstoreSigner, signerOf } from '../../../registry/signatures/containers/sigstore-signer.ts';
import { NotThisSignature, SignatureError } from '../../../registry/signatures/errors.ts';
import { liftedBundle } from '../../../registry/signatures/lifted-bundle.ts';
import { CODE_SIGNING, newCertificate, type TestCertificate, utf8String } from '../../../testbed/certificates.ts';
import { simpleSignature } from '../../../testbed/signed-image.ts';
import { newKeyPair } from '../../../testbed/signing-keys.ts';
import { StandInLog } from '../../../testbed/transparency-log.ts';

const EMAIL = 'release@example.com';
const ISSUER = 'https://issuer.example';
const PAYLOAD = { dockerReference: 'a.example/os', digest: `sha256:${'1'.repeat(64)}` };
const base64 = (text: string) => Buffer.from(text).toString('base64');

const NO_CERTIFICATE = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

describe('who signed, by a policy of the host', () => {
  const log = new StandInLog();
  const key = newKeyPair();
  const root = newCertificate({ subject: 'root', authority: true });
  const leaf = newCertificate({
    subject: 'leaf',
    issuer: root,
    usages: [CODE_SIGNING],
    emails: [EMAIL],
    more: [{ oid: '1.3.6.1.4.1.57264.1.8', value: utf8String(ISSUER) }],
  });
  const byLeaf: SimpleSignature = { ...simpleSignature(leaf.privateKey, PAYLOAD), certificate: leaf.pem };
  const logged = { ...byLeaf, rekorBundle: log.promise(byLeaf, leaf.pem) };
  const plain = simpleSignature(key.privateKey, PAYLOAD);
  const rekorPublicKeyData = base64(log.publicKey);

  const signer = async (members: object) => {
    const policy = parseContainersPolicy(
      Buffer.from(JSON.stringify({ default: [{ type: 'sigstoreSigned', ...members }] })),
      'policy.json',
    );
    const [requirement] = policy.default;
    assert.ok(requirement?.type === 'sigstoreSigned');
    return readSigstoreSigner(
      { path: 'policy.json', readKey: () => Promise.reject(new Error('no files')) },
      requirement,
    );
  };
  const keyed = () => signer({ keyData: base64(key.publicKey), rekorPublicKeyData });
  const fulcio = (change = {}) =>
    signer({
      fulcio: { caData: base64(root.pem), oidcIssuer: ISSUER, subjectEmail: EMAIL, ...change },
      rekorPublicKeyData,
    });
  const pki = (change = {}) => signer({ pki: { caRootsData: base64(root.pem), subjectEmail: EMAIL, ...change } });

  it('is named: by the fingerprint of a key, or as whom a certificate was given to', async () => {
    const entered = { ...plain, rekorBundle: log.promise(plain, key.publicKey) };
    assert.match(signerOf(entered, await keyed(), new Date()), /^sha256:[0-9a-f]{64}$/);
    assert.equal(signerOf(logged, await fulcio(), new Date()), `${EMAIL} (${ISSUER})`);
    assert.equal(signerOf(byLeaf, await pki(), new Date()), EMAIL);
  });

  it('says what is wrong with a signature that does not count', async () => {
    const restricted = (oid: string, critical: boolean) =>
      newCertificate({
        subject: 'leaf',
        issuer: root,
        emails: [EMAIL],
        more: [{ oid, critical, value: utf8String('x') }],
      });
    const by = (certificate: TestCertificate): SimpleSignature => ({
      ...simpleSignature(certificate.privateKey, PAYLOAD),
      certificate: certificate.pem,
    });
    const rows: readonly (readonly [SimpleSignature, Awaited<ReturnType<typeof signer>>, RegExp])[] = [
      [plain, await keyed(), /no entry of a transparency log/],
      [{ ...plain, rekorBundle: '{"Payload":' }, await keyed(), /entry of a transparency log is malformed/],
      [{ ...plain, rekorBundle: logged.rekorBundle }, await keyed(), /is about another signature/],
      [{ ...logged, certificate: root.pem }, await fulcio(), /is about another key or certificate/],
      [plain, await fulcio(), /no certificate: it was made with a key/],
      [{ ...byLeaf, certificate: 'x' }, await pki(), /certificates cannot be read \(holds no PEM block\)/],
      [{ ...byLeaf, certificate: key.publicKey }, await pki(), /something else than certificates/],
      [{ ...byLeaf, chain: leaf.pem.repeat(17) }, await pki(), /\(holds 17 certificates, more than 16\)/],
      // Counted first: none of these could be parsed.
      [{ ...byLeaf, chain: NO_CERTIFICATE.repeat(100_000) }, await pki(), /holds 100000 certificates, more than 16/],
      [{ ...logged, chain: NO_CERTIFICATE.repeat(100_000) }, await fulcio(), /holds 100000 certificates, more than 16/],
      [{ ...byLeaf, certificate: leaf.pem + NO_CERTIFICATE }, await pki(), /holds 2 certificates, more than 1\)/],
      [logged, await fulcio({ oidcIssuer: 'https://b' }), /known to https:\/\/issuer\.example, not to https:\/\/b/],
      [logged, await fulcio({ subjectEmail: 'x@y' }), /its signer is release@example\.com, not x@y/],
      [byLeaf, await pki({ subjectHostname: 'a.example' }), /not for the host a\.example/],
      [by(newCertificate({ subject: 'x', emails: [EMAIL] })), await pki(), /issued by CN=x, is of no authority/],
      [by(newCertificate({ subject: 'x', issuer: root })), await pki(), /its signer is nobody with an e-mail address/],
      [by(restricted('1.2.3.4', true)), await pki(), /restricted by the extension 1\.2\.3\.4/],
      [{ ...byLeaf, payload: Buffer.from('{}') }, await pki(), /not made with its certificate, or what was signed/],
    ];
    for (const [signature, who, message] of rows)
      assert.throws(
        () => signerOf(signature, who, new Date()),
        (error) => error instanceof NotThisSignature && message.test(error.message),
        String(message),
      );
    assert.equal(
      signerOf(by(restricted('1.2.3.4', false)), await pki(), new Date()),
      EMAIL,
      'what is not critical may be',
    );
  });

  it('has a chain that is counted before it is parsed, also on its way to sigstore’s library', () => {
    const lifted = (count: number) => () =>
      liftedBundle({ ...logged, chain: NO_CERTIFICATE.repeat(count) }, 'certificate');
    assert.throws(lifted(100_000), /its chain holds 100000 certificates, more than 16/);
    assert.throws(lifted(16), (error) => error instanceof NotThisSignature && !/more than/.test(error.message));
  });

  it('is not believed once a byte of the promise of the log, or of the certificate, is another', async () => {
    const who = await fulcio();
    const flipped = (text: string, at: number) => {
      const bytes = Buffer.from(text, 'base64');
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes.toString('base64');
    };
    const promise = JSON.parse(logged.rekorBundle) as {
      SignedEntryTimestamp: string;
      Payload: Record<string, unknown>;
    };
    const refuses = (rekorBundle: object, what: string) =>
      assert.throws(
        () => signerOf({ ...logged, rekorBundle: JSON.stringify(rekorBundle) }, who, new Date()),
        NotThisSignature,
        what,
      );
    for (let at = 0; at < Buffer.from(promise.SignedEntryTimestamp, 'base64').length; at++)
      refuses(
        { ...promise, SignedEntryTimestamp: flipped(promise.SignedEntryTimestamp, at) },
        `byte ${at} of the promise`,
      );
    const body = String(promise.Payload['body']);
    for (let at = 0; at < Buffer.from(body, 'base64').length; at++)
      refuses({ ...promise, Payload: { ...promise.Payload, body: flipped(body, at) } }, `byte ${at} of the entry`);
    for (const change of [{ integratedTime: 1 }, { logIndex: 8 }, { logID: '0'.repeat(64) }, { more: 1 }])
      refuses({ ...promise, Payload: { ...promise.Payload, ...change } }, JSON.stringify(change));
    // By the promise alone it would be another certificate; here the chain has to notice.
    const der = leaf.der.toString('base64');
    const pem = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
    const house = await pki();
    assert.equal(signerOf({ ...byLeaf, certificate: pem(der) }, house, new Date()), EMAIL);
    for (let at = 0; at < leaf.der.length; at++)
      assert.throws(
        () => signerOf({ ...byLeaf, certificate: pem(flipped(der, at)) }, house, new Date()),
        NotThisSignature,
        `byte ${at} of the certificate`,
      );
  });

  it('cannot be told by files that hold something else', async () => {
    const invalid = async (members: object, message: RegExp) =>
      assert.rejects(
        signer(members),
        (error) => error instanceof SignatureError && error.code === 'InvalidKey' && message.test(error.message),
      );
    const rsa = base64(newKeyPair('RSA 2048').publicKey);
    await invalid({ keyData: base64(key.publicKey), rekorPublicKeyData: rsa }, /RSA 2048: give that of a Rekor/);
    await invalid(
      { pki: { caRootsData: base64('x'), subjectEmail: EMAIL } },
      /caRootsData.*cannot be read \(holds no PEM/,
    );
    await invalid(
      { pki: { caRootsData: base64(`${root.pem}${key.publicKey}`), subjectEmail: EMAIL } },
      /holds something else than certificates/,
    );
  });
});

describe('a chain of certificates', () => {
  const root = newCertificate({ subject: 'root', authority: true });
  const chain = (leaf: TestCertificate, ...between: readonly TestCertificate[]) =>
    requireChain(
      readCertificate(leaf.der),
      { roots: [readCertificate(root.der)], intermediates: between.map(({ der }) => readCertificate(der)) },
      new Date(),
    );

  it('does not lead through names alone, or through an authority that is restricted in a way that is not judged', () => {
    const namesake = newCertificate({ subject: 'root', authority: true });
    assert.throws(() => chain(newCertificate({ subject: 'a', issuer: namesake })), /no authority that is trusted/);
    const constraints = { oid: '2.5.29.30', value: Buffer.from([0x30, 0]) };
    const restricted = newCertificate({ subject: 'm', issuer: root, authority: true, more: [constraints] });
    assert.throws(
      () => chain(newCertificate({ subject: 'a', issuer: restricted }), restricted),
      /the authority CN=m is restricted by the extension 2\.5\.29\.30/,
    );
    const twice = [constraints, constraints];
    assert.throws(
      () => chain(newCertificate({ subject: 'a', issuer: root, more: twice })),
      /2\.5\.29\.30 stands twice/,
    );
  });

  it('takes another way where one is closed, and ends where authorities vouch for each other in circles', () => {
    const past = { from: new Date(0), to: new Date(1000) };
    const old = newCertificate({ subject: 'm', issuer: root, authority: true, ...past });
    const leaf = newCertificate({ subject: 'a', issuer: old });
    assert.throws(() => chain(leaf, old), /the authority CN=m is good from 1970/);
    chain(leaf, old, newCertificate({ subject: 'm', issuer: root, authority: true, keyOf: old }));
    // Sixteen of one name, each of which could be the issuer of each: without a bound, more ways than there is time.
    const circle = newCertificate({ subject: 'c', authority: true });
    const many = Array.from({ length: 16 }, () =>
      newCertificate({ subject: 'c', issuer: circle, authority: true, keyOf: circle }),
    );
    assert.throws(() => chain(newCertificate({ subject: 'a', issuer: circle }), circle, ...many), /no authority/);
  });
});
