/** What is sealed for one node, no other can open; and it is HPKE as RFC 9180 has it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { CredentialsKey, seal, type SealedFor, SealingError } from '../../../sealing/sealed-credentials.ts';
import {
  AES_128_GCM,
  AES_256_GCM,
  deriveByTheBook,
  openByTheBook,
  privateKeyOf,
  rawPublicKeyOf,
  sealByTheBook,
} from './rfc9180.ts';

const FOR: SealedFor = {
  nodeUID: '0d0a9c1e-6f4b-4a3e-9a53-1f6f3a8f2c11',
  namespace: 'treeline-system',
  secretName: 'registry',
  secretVersion: 'a/1',
};
const INFO = Buffer.from('treeline.dev/pull-credentials/v1');
const aadOf = ({ nodeUID, namespace, secretName, secretVersion }: SealedFor): Buffer =>
  Buffer.from(JSON.stringify([nodeUID, namespace, secretName, secretVersion]));
const CONFIG = Buffer.from('{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}');
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

const isNotOpened = (error: unknown): boolean => {
  assert.ok(error instanceof SealingError);
  assert.equal(error.code, 'NotOpened');
  return true;
};

const sealedFors = fc.record({
  nodeUID: fc.string({ minLength: 1, maxLength: 64 }),
  namespace: fc.string({ minLength: 1, maxLength: 63 }),
  secretName: fc.string({ minLength: 1, maxLength: 253 }),
  secretVersion: fc.string({ minLength: 1, maxLength: 128 }),
});
const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
const configs = fc.uint8Array({ maxLength: 40_000, size: 'max' });

describe('sealed credentials', () => {
  let key: CredentialsKey;
  let sealed: string;

  before(async () => {
    key = await CredentialsKey.from(randomBytes(32));
    sealed = await seal(key.publicKey, CONFIG, FOR);
  });

  it('open again, whatever they are, with the key that they were sealed for, and differ each time', async () => {
    await fc.assert(
      fc.asyncProperty(seeds, configs, sealedFors, async (seed, config, sealedFor) => {
        const own = await CredentialsKey.from(Buffer.from(seed));
        const [one, other] = [
          await seal(own.publicKey, Buffer.from(config), sealedFor),
          await seal(own.publicKey, Buffer.from(config), sealedFor),
        ];
        assert.notEqual(one, other);
        assert.deepEqual(await own.open(one, sealedFor), Buffer.from(config));
      }),
      { numRuns: 50 },
    );
  });

  it('open for no other key, node, namespace, Secret or version, in whatever way their names are cut', async () => {
    const other = await CredentialsKey.from(randomBytes(32));
    await assert.rejects(other.open(sealed, FOR), isNotOpened);
    await fc.assert(
      fc.asyncProperty(sealedFors, sealedFors, async (one, two) => {
        fc.pre(JSON.stringify(Object.values(one)) !== JSON.stringify(Object.values(two)));
        await assert.rejects(key.open(await seal(key.publicKey, CONFIG, one), two), isNotOpened);
      }),
      { numRuns: 50 },
    );
    for (const field of ['nodeUID', 'namespace', 'secretName', 'secretVersion'] as const)
      await assert.rejects(key.open(sealed, { ...FOR, [field]: `${FOR[field]}x` }), isNotOpened);
    // The same letters, cut elsewhere.
    const cut = { ...FOR, namespace: 'treeline-syste', secretName: 'mregistry' };
    await assert.rejects(key.open(sealed, cut), isNotOpened);
  });

  it('do not open when a single bit of them is another', async () => {
    const bytes = Buffer.from(sealed, 'base64');
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ (1 << (index % 8));
      // X25519 disregards the highest bit of a public key (RFC 7748, section 5); HPKE binds the bytes all the same.
      await assert.rejects(key.open(changed.toString('base64'), FOR), isNotOpened, `byte ${index}`);
    }
  });

  it('do not open when they are cut short, or no base64', async () => {
    const bytes = Buffer.from(sealed, 'base64');
    for (const text of ['', 'AAAA', bytes.subarray(0, 47).toString('base64'), bytes.subarray(0, -1).toString('base64')])
      await assert.rejects(key.open(text, FOR), isNotOpened);
    for (const text of [` ${sealed}`, `${sealed}\n`, sealed.replaceAll('+', '-').slice(0, -4), '=', 'é'.repeat(80)])
      await assert.rejects(key.open(`${text}!`, FOR), isNotOpened);
  });

  it('are not made for what is no key, or one whose secret everybody knows', async () => {
    const keys = ['', 'AAAA', 'x'.repeat(44), 'y'.repeat(1_000_000), `${'A'.repeat(43)}=`, `AQ${'A'.repeat(41)}=`];
    // Points of order 8, and p-1, p, p+1 of RFC 7748's field: what they give is zero.
    const small = [
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    ].map((point) => hex(point).toString('base64'));
    for (const publicKey of [...keys, ...small]) {
      await assert.rejects(seal(publicKey, CONFIG, FOR), (error) => {
        assert.ok(error instanceof SealingError);
        assert.equal(error.code, 'InvalidKey');
        return true;
      });
    }
  });

  it('have the same public key for the same seed, and another for another', async () => {
    const seed = randomBytes(32);
    const [one, two] = [await CredentialsKey.from(seed), await CredentialsKey.from(seed)];
    assert.equal(one.publicKey, two.publicKey);
    assert.match(one.publicKey, /^[A-Za-z0-9+/]{43}=$/);
    assert.notEqual(one.publicKey, key.publicKey);
  });

  describe('beside an implementation by the text of RFC 9180', () => {
    // Appendix A.1.1, base mode with AES-128-GCM: recipient, ephemeral key, first message.
    const A1 = {
      ikmR: '6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037',
      skRm: '4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8',
      skEm: '52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736',
      pkRm: '3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d',
      info: '4f6465206f6e2061204772656369616e2055726e',
      pt: '4265617574792069732074727574682c20747275746820626561757479',
      aad: '436f756e742d30',
      enc: '37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431',
      ct: 'f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a',
    };

    it('the judge itself gives what the RFC prints', () => {
      const [info, aad, plain] = [hex(A1.info), hex(A1.aad), hex(A1.pt)];
      assert.deepEqual(rawPublicKeyOf(deriveByTheBook(hex(A1.ikmR))), hex(A1.pkRm));
      const made = sealByTheBook(privateKeyOf(hex(A1.skEm)), hex(A1.pkRm), info, aad, plain, AES_128_GCM);
      assert.equal(made.toString('hex'), A1.enc + A1.ct);
      assert.deepEqual(openByTheBook(privateKeyOf(hex(A1.skRm)), made, info, aad, AES_128_GCM), plain);
    });

    it('each opens what the other seals, with the key of the same seed', async () => {
      await fc.assert(
        fc.asyncProperty(seeds, seeds, configs, sealedFors, async (seed, ephemeral, config, sealedFor) => {
          const [own, judge] = [await CredentialsKey.from(Buffer.from(seed)), deriveByTheBook(Buffer.from(seed))];
          assert.equal(own.publicKey, rawPublicKeyOf(judge).toString('base64'));
          const [plain, aad] = [Buffer.from(config), aadOf(sealedFor)];
          const ours = Buffer.from(await seal(own.publicKey, plain, sealedFor), 'base64');
          assert.deepEqual(openByTheBook(judge, ours, INFO, aad, AES_256_GCM), plain);
          const recipient = rawPublicKeyOf(judge);
          const theirs = sealByTheBook(privateKeyOf(Buffer.from(ephemeral)), recipient, INFO, aad, plain, AES_256_GCM);
          assert.deepEqual(await own.open(theirs.toString('base64'), sealedFor), plain);
        }),
        { numRuns: 50 },
      );
    });
  });
});
