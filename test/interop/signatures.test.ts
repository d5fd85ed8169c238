/** Signatures against the other tools that make and check them: cosign, and the policy library of podman and skopeo. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SignatureError, type SignatureErrorCode } from '../../registry/signatures/index.ts';
import { bundleSignature, signStatement, simpleSignature } from '../../testbed/signed-image.ts';
import { KEY_KINDS } from '../../testbed/signing-keys.ts';
import { StandInLog } from '../../testbed/transparency-log.ts';
import { say } from './cli-bench.ts';
import { SignatureBench } from './signature-fixture.ts';

async function refuses(promise: Promise<unknown>, code: SignatureErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof SignatureError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

describe('signatures of images', () => {
  let bench: SignatureBench;
  before(async () => {
    bench = await SignatureBench.start();
  });
  after(() => bench[Symbol.asyncDispose]());

  const trust = (...publicKeys: readonly string[]) => ({ authorities: [{ name: 'release', publicKeys }] });
  const sign = async (image: string, ...flags: readonly string[]) => {
    const said = await say(['sign', `--plain-http=${bench.registry.host}`, ...flags, image], {
      environment: bench.environment,
    });
    assert.equal(said.status, 0, said.stderr);
    return said.stdout;
  };

  for (const kind of KEY_KINDS) {
    for (const format of ['simple-signing', 'bundle'] as const) {
      it(`that cosign made with ${kind} in the format ${format} count, and those of another key do not`, async () => {
        const [key, other, image] = [await bench.key(kind), await bench.key(kind), await bench.push()];
        await refuses(
          bench.verify(image, trust(key.publicPem)),
          'SignatureMissing',
          /has no signature \(looked at tag sha256-/,
        );
        await bench.cosignSign(`${image.name}@${image.digest}`, key.sealed, format);
        const { signers, signedDigest } = await bench.verify(image, trust(other.publicPem, key.publicPem));
        assert.equal(signedDigest, image.digest);
        assert.deepEqual(
          signers.map(({ authority, format: how }) => [authority, how]),
          [['release', format]],
        );
        await refuses(bench.verify(image, trust(other.publicPem)), 'SignatureRefused', /not made by the key/);
      });
    }

    it(`that we make with ${kind} are good for cosign, from an openssl key and from an encrypted one of cosign`, async () => {
      const [key, other] = [await bench.key(kind), await bench.key(kind)];
      for (const file of [key.plain, key.sealed]) {
        const image = await bench.push();
        assert.match(await sign(`${image.name}:1`, '--key', file), /^Signed sha256:/);
        const name = `${image.name}@${image.digest}`;
        const [claim] = (await bench.cosignVerify(name, key.public)) as { critical: { image: object } }[];
        assert.deepEqual(claim?.critical.image, { 'docker-manifest-digest': image.digest });
        await assert.rejects(bench.cosignVerify(name, other.public));
        await bench.verify(image, trust(key.publicPem));
        assert.match(await sign(`${image.name}:1`, '--key', file), /^Already signed sha256:/);
      }
    });
  }

  it('that we make satisfy a policy of podman and skopeo, and those of another key do not', async () => {
    const [key, other, image] = [await bench.key(), await bench.key(), await bench.push()];
    await sign(`${image.name}:1`, '--key', key.sealed);
    const policy = (keyPath: string) => ({
      default: [{ type: 'sigstoreSigned', keyPath, signedIdentity: { type: 'matchRepository' } }],
    });
    await bench.policyAllows(`${image.name}:1`, policy(key.public));
    await assert.rejects(bench.policyAllows(`${image.name}:1`, policy(other.public)), /signature/);
  });

  for (const format of ['simple-signing', 'bundle'] as const) {
    it(`in the format ${format} are in a transparency log for us when they are for cosign`, async () => {
      const [key, image, unlogged] = [await bench.key(), await bench.push(), await bench.push()];
      const [log, stranger] = [new StandInLog(), new StandInLog()];
      const privateKey = await readFile(key.plain, 'utf8');
      if (format === 'bundle') {
        const made = ({ digest }: { digest: string }) => bundleSignature(privateKey, signStatement(digest));
        await bench.attachBundle(image, log.entered(made(image), key.publicPem).bundle);
        await bench.attachBundle(unlogged, made(unlogged).bundle);
      } else {
        const made = ({ name, digest }: { name: string; digest: string }) =>
          simpleSignature(privateKey, { dockerReference: name, digest });
        const signature = made(image);
        await bench.attach(image, { ...signature, rekorBundle: log.promise(signature, key.publicPem) });
        await bench.attach(unlogged, made(unlogged));
      }
      const rows = [
        [image, log, true],
        [image, stranger, false],
        [unlogged, log, false],
      ] as const;
      for (const [{ name, digest }, believed, accepted] of rows) {
        const root = join(bench.folder, 'log-root.json');
        await writeFile(root, believed.trustedRoot());
        const named = `${name}@${digest}`;
        const flags = ['--trusted-root', root, '--allow-http-registry', '--insecure-ignore-sct'];
        const theirs = bench.cosign('verify', '--key', key.public, ...flags, named).then(
          () => true,
          () => false,
        );
        const ours = await say(
          ['verify', `--plain-http=${bench.registry.host}`, '--key', key.public, '--transparency-log', root, named],
          { environment: bench.environment },
        );
        assert.deepEqual({ ours: ours.status === 0, cosign: await theirs }, { ours: accepted, cosign: accepted });
        if (!accepted) assert.match(ours.stderr, /transparency log/);
      }
    });
  }

  it('are added to those that are there, by us and by cosign', async () => {
    const [ours, theirs, image] = [await bench.key(), await bench.key(), await bench.push()];
    const name = `${image.name}@${image.digest}`;
    const both = {
      match: 'All' as const,
      authorities: [
        { name: 'builder', publicKeys: [ours.publicPem] },
        { name: 'security', publicKeys: [theirs.publicPem] },
      ],
    };
    await sign(`${image.name}:1`, '--key', ours.plain);
    await refuses(bench.verify(image, both), 'SignatureRefused', /none that counts for security/);
    await bench.cosignSign(name, theirs.sealed, 'simple-signing');
    const { signers } = await bench.verify(image, both);
    assert.deepEqual(
      signers.map(({ authority }) => authority),
      ['builder', 'security'],
    );
    await bench.cosignVerify(name, ours.public);
    await bench.cosignVerify(name, theirs.public);
  });

  it('are found as referrers with a payload, as cosign attached them for a time', async () => {
    const [key, image] = [await bench.key(), await bench.push()];
    bench.environment['COSIGN_EXPERIMENTAL'] = '1';
    const flags = ['--registry-referrers-mode=oci-1-1'];
    await bench.cosignSign(`${image.name}@${image.digest}`, key.sealed, 'simple-signing', ...flags);
    delete bench.environment['COSIGN_EXPERIMENTAL'];
    const { signers } = await bench.verify(image, trust(key.publicPem));
    assert.equal(signers[0]?.format, 'simple-signing');
  });

  it('count for the repository that they name only, unless another one is asked for', async () => {
    const [key, image] = [await bench.key(), await bench.push('team/os')];
    await sign(`${image.name}:1`, '--key', key.plain, '--sign-as', 'quay.io/team/os');
    await refuses(
      bench.verify(image, trust(key.publicPem)),
      'SignatureRefused',
      /signs the name quay\.io\/team\/os, not/,
    );
    const authority = { name: 'release', publicKeys: [key.publicPem], signedRepository: 'quay.io/team/os' };
    await bench.verify(image, { authorities: [authority] });
  });

  it('do not count once their key or the image is denied', async () => {
    const [key, image] = [await bench.key(), await bench.push()];
    await sign(`${image.name}:1`, '--key', key.plain);
    const { signers } = await bench.verify(image, trust(key.publicPem));
    const deniedKeys = [signers[0]?.key ?? ''];
    await refuses(
      bench.verify(image, { ...trust(key.publicPem), deniedKeys }),
      'SignatureRevoked',
      /its key sha256:.* is denied/,
    );
    const deniedDigests = [image.digest];
    await refuses(
      bench.verify(image, { ...trust(key.publicPem), deniedDigests }),
      'SignatureRevoked',
      /denied by the signature policy/,
    );
  });

  it('are judged by a command, which says by whom, or what is wrong', async () => {
    const [key, other, image] = [await bench.key(), await bench.key(), await bench.push()];
    const verify = (...flags: readonly string[]) =>
      say(['verify', `--plain-http=${bench.registry.host}`, ...flags, `${image.name}:1`], {
        environment: bench.environment,
      });
    const missing = await verify('--key', key.public);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /has no signature .* sign it with the key of .*cosign\.pub/);
    await sign(`${image.name}:1`, '--key', key.plain);
    const good = await verify('--key', other.public, '--key', key.public, '--output', 'json');
    assert.equal(good.status, 0, good.stderr);
    const { digest, signers } = JSON.parse(good.stdout) as { digest: string; signers: { authority: string }[] };
    assert.deepEqual([digest, signers.map(({ authority }) => authority)], [image.digest, [key.public]]);
    assert.equal((await verify('--key', other.public, '--key', key.public, '--all')).status, 1);
    assert.equal((await verify('--key', key.plain)).status, 1, 'a private key is no public key');
  });

  it('cannot be made with a wrong password, and nothing of the key is said', async () => {
    const [key, image] = [await bench.key(), await bench.push()];
    const environment = { ...bench.environment, COSIGN_PASSWORD: 'wrong' };
    const said = await say(['sign', `--plain-http=${bench.registry.host}`, '--key', key.sealed, `${image.name}:1`], {
      environment,
    });
    assert.equal(said.status, 1);
    assert.match(said.stderr, /The password does not open the private key/);
  });
});
