/** Keyless signatures, made by a Fulcio and a Rekor of sigstore's own test kit, and judged by cosign too. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { AttachedSignature } from '../../registry/signatures/attached-signature.ts';
import { SignatureError } from '../../registry/signatures/index.ts';
import { judgeSignatures } from '../../registry/signatures/judge.ts';
import { parseSignaturePolicy } from '../../registry/signatures/policy.ts';
import { ensureSigstoreStandIn } from '../../tools/setup/index.ts';
import { say } from './cli-bench.ts';
import { SignatureBench } from './signature-fixture.ts';
import { refuses } from '../unit/registry/refused-signature.ts';

const run = promisify(execFile);
const IDENTITY = 'https://git.example/os/.build/release.yml@refs/tags/v2';
const ISSUER = 'https://issuer.example';

interface Signed {
  readonly name: string;
  readonly digest: string;
  readonly rootFile: string;
  readonly trustedRoot: string;
  readonly bundle: Buffer;
  readonly simple: AttachedSignature & { kind: 'simple-signing' };
}

describe('a keyless signature', () => {
  let bench: SignatureBench;
  let standIn: string;
  let signed: Signed;
  let count = 0;

  before(async () => {
    bench = await SignatureBench.start();
    standIn = await ensureSigstoreStandIn(() => undefined);
    signed = await sign(await bench.push());
  });
  after(() => bench[Symbol.asyncDispose]());

  /** Signs in both formats, by a Fulcio and a Rekor of their own, and attaches nothing. */
  async function sign(image: { name: string; digest: string }, identity = IDENTITY): Promise<Signed> {
    const folder = join(bench.folder, `keyless${++count}`);
    await mkdir(folder);
    await run(standIn, [folder, image.name, image.digest, identity, ISSUER]);
    const text = (file: string) => readFile(join(folder, file), 'utf8');
    const simple = {
      kind: 'simple-signing' as const,
      where: 'tag',
      payload: await readFile(join(folder, 'payload.json')),
      signature: Buffer.from(await text('signature'), 'base64'),
      certificate: await text('certificate.pem'),
      chain: await text('chain.pem'),
      rekorBundle: await text('rekor.json'),
    };
    const rootFile = join(folder, 'trusted-root.json');
    const bundle = await readFile(join(folder, 'bundle.json'));
    return { ...image, rootFile, trustedRoot: await text('trusted-root.json'), bundle, simple };
  }

  const policy = (change: object = {}, trustedRoot = signed.trustedRoot) =>
    parseSignaturePolicy(
      { authorities: [{ name: 'builder', keyless: { issuer: ISSUER, subject: IDENTITY, trustedRoot, ...change } }] },
      'the test',
    );
  const asBundle = (bundle = signed.bundle): AttachedSignature => ({ kind: 'bundle', where: 'referrer', bundle });
  const judge = (attached: AttachedSignature, how = policy()) =>
    judgeSignatures(how, { repository: signed.name, digest: signed.digest }, [attached]);

  it('counts in both formats, by certificate and log alone, and says who it was', () => {
    for (const attached of [asBundle(), signed.simple]) {
      const [signer] = judge(attached);
      assert.deepEqual(signer, { authority: 'builder', key: `${IDENTITY} (${ISSUER})`, format: attached.kind });
      assert.equal(judge(attached, policy({ subject: 'https://git.example/os/*@refs/tags/*' })).length, 1);
    }
  });

  it('does not count for another signer, issuer, root, image or name', async () => {
    const stranger = await sign(await bench.push());
    for (const attached of [asBundle(), signed.simple]) {
      refuses(
        () => judge(attached, policy({ subject: 'https://git.example/os/*@refs/heads/*' })),
        /its signer is https:\/\/git\.example.*, not/,
      );
      refuses(
        () => judge(attached, policy({ issuer: 'https://other.example' })),
        /known to https:\/\/issuer\.example, not to/,
      );
      refuses(
        () => judge(attached, policy({}, stranger.trustedRoot)),
        /certificate, log entry or signature is not good/,
      );
      const other = { repository: signed.name, digest: stranger.digest };
      refuses(() => judgeSignatures(policy(), other, [attached]), /another image/);
    }
    const elsewhere = { repository: 'registry.example/os', digest: signed.digest };
    refuses(() => judgeSignatures(policy(), elsewhere, [signed.simple]), /signs the name/);
  });

  it('does not count without its log entry, with that of another, or once a bit of anything that it proves is another', async () => {
    const another = await sign({ name: signed.name, digest: signed.digest });
    refuses(() => judge({ ...signed.simple, rekorBundle: another.simple.rekorBundle ?? '' }), /is not good/);
    const { rekorBundle: _rekor, ...logless } = signed.simple;
    refuses(() => judge(logless), /no entry of a transparency log/);
    const { certificate: _certificate, ...bare } = signed.simple;
    refuses(() => judge(bare), /no certificate/);
    const parsed = JSON.parse(signed.bundle.toString()) as {
      verificationMaterial: { tlogEntries: Record<string, unknown>[]; certificate: { rawBytes: string } };
      dsseEnvelope: { payload: string; signatures: { sig: string }[] };
    };
    const changed = (change: (bundle: typeof parsed) => void): AttachedSignature => {
      const copy = structuredClone(parsed);
      change(copy);
      return asBundle(Buffer.from(JSON.stringify(copy)));
    };
    const flip = (base64: string, at: number): string => {
      const bytes = Buffer.from(base64, 'base64');
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes.toString('base64');
    };
    const entry = (bundle: typeof parsed) => bundle.verificationMaterial.tlogEntries[0] ?? {};
    const rows: readonly ((bundle: typeof parsed) => void)[] = [
      (bundle) => (bundle.verificationMaterial.tlogEntries = []),
      (bundle) => (entry(bundle)['integratedTime'] = String(Number(entry(bundle)['integratedTime']) + 1)),
      (bundle) => (entry(bundle)['canonicalizedBody'] = flip(String(entry(bundle)['canonicalizedBody']), 20)),
      (bundle) => (entry(bundle)['inclusionPromise'] = { signedEntryTimestamp: 'AAAA' }),
      (bundle) => {
        const { checkpoint } = entry(bundle)['inclusionProof'] as { checkpoint: { envelope: string } };
        checkpoint.envelope = checkpoint.envelope.replace(/\n1\n./, '\n1\n/');
      },
      (bundle) => (bundle.dsseEnvelope.payload = flip(bundle.dsseEnvelope.payload, 30)),
    ];
    for (const row of rows) assert.throws(() => judge(changed(row)), SignatureError, String(row));
    const length = Buffer.from(parsed.verificationMaterial.certificate.rawBytes, 'base64').length;
    for (let at = 0; at < length; at++) {
      const damaged = changed(
        ({ verificationMaterial: { certificate } }) => (certificate.rawBytes = flip(certificate.rawBytes, at)),
      );
      assert.throws(() => judge(damaged), SignatureError, `byte ${at} of the certificate`);
    }
    const signature = Buffer.from(parsed.dsseEnvelope.signatures[0]?.sig ?? '', 'base64').length;
    for (let at = 0; at < signature; at++) {
      const damaged = changed(
        ({ dsseEnvelope: { signatures } }) => signatures[0] && (signatures[0].sig = flip(signatures[0].sig, at)),
      );
      assert.throws(() => judge(damaged), SignatureError, `byte ${at} of the signature`);
    }
  });

  it('is found on a registry, by us and by cosign, which agree on who may have made it', async () => {
    await bench.attachBundle(signed, signed.bundle);
    await bench.attach(signed, signed.simple);
    const image = `${signed.name}@${signed.digest}`;
    const cosign = (identity: string) =>
      bench.cosign(
        'verify',
        '--trusted-root',
        signed.rootFile,
        '--certificate-identity',
        identity,
        '--certificate-oidc-issuer',
        ISSUER,
        '--insecure-ignore-sct',
        '--allow-http-registry',
        image,
      );
    const ours = (identity: string) =>
      say(
        [
          'verify',
          `--plain-http=${bench.registry.host}`,
          '--trusted-root',
          signed.rootFile,
          '--certificate-identity',
          identity,
          '--certificate-oidc-issuer',
          ISSUER,
          image,
        ],
        { environment: bench.environment },
      );
    await cosign(IDENTITY);
    const said = await ours(IDENTITY);
    assert.equal(said.status, 0, said.stderr);
    assert.match(
      said.stdout,
      /Signed: https:\/\/git\.example.* \(https:\/\/git\.example.* \(https:\/\/issuer\.example\)\)/,
    );
    await assert.rejects(cosign('somebody@example.com'));
    const refused = await ours('somebody@example.com');
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /its signer is https:\/\/git\.example.*, not somebody@example\.com/);
  });

  it('cannot be judged by a trusted root that trusts nobody, or does not know when', () => {
    const root = JSON.parse(signed.trustedRoot) as Record<string, unknown>;
    const bad = (change: object, message: RegExp) =>
      refuses(() => policy({}, JSON.stringify({ ...root, ...change })), message, 'InvalidSignaturePolicy');
    bad({ certificateAuthorities: [] }, /names no certificate authority/);
    bad({ tlogs: [] }, /neither a transparency log nor a timestamp authority/);
    bad({ mediaType: 'text/plain' }, /is of type "text\/plain"/);
    bad(
      { tlogs: [{ ...(root['tlogs'] as object[])[0], publicKey: { rawBytes: 'AAAA' } }] },
      /cannot be used|cannot be read/,
    );
    refuses(() => policy({}, '{'), /cannot be read/, 'InvalidSignaturePolicy');
  });
});
