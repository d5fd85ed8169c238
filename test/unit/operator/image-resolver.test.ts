/** When a tag is looked up, what stays true while the registry is away, and what a moved tag means. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { osImageSpecSchema, type OSImage } from '../../../api/index.ts';
import {
  isPinned,
  lookUpImage,
  type LookupRequest,
  type LookupResult,
} from '../../../operator/image-resolution/image-lookup.ts';
import { ImageResolver } from '../../../operator/image-resolution/image-resolver.ts';
import { RegistryError, type PlatformImage, type RegistryOptions, type ResolvedTag } from '../../../registry/index.ts';
import { parsePolicyFile, SignatureError } from '../../../registry/signatures/index.ts';
import type { VerificationRequest } from '../../../registry/signatures/verify.ts';
import { newKeyPair } from '../../../testbed/signing-keys.ts';
import { FakeClock } from './fake-clock.ts';

const logger = pino({ level: 'silent' });
const digest = (fill: string) => `sha256:${fill.repeat(64)}`;
const TAG = 'registry.example/os:stable';

function osImage(reference = TAG, status?: OSImage['status'], secret?: string): OSImage {
  return {
    metadata: { name: 'fleet', uid: 'u1', resourceVersion: '1' },
    spec: osImageSpecSchema.parse({
      nodeSelector: {},
      image: { reference, ...(secret === undefined ? {} : { pullSecretRef: { name: secret } }) },
    }),
    ...(status === undefined ? {} : { status }),
  };
}

describe('the image resolver', () => {
  let clock: FakeClock;
  let asked: LookupRequest[];
  let answer: (request: LookupRequest) => LookupResult;
  let resolver: ImageResolver;
  let changes: number;

  beforeEach(() => {
    clock = new FakeClock();
    asked = [];
    changes = 0;
    answer = () => ({
      digest: digest('a'),
      repository: 'ostree-unverified-registry:registry.example/os',
      platforms: { amd64: digest('b') },
    });
    resolver = new ImageResolver({
      lookUp: async (request) => {
        asked.push(request);
        return answer(request);
      },
      onChange: () => (changes += 1),
      clock,
      logger,
    });
  });
  afterEach(() => resolver.stop());

  const follow = async (image: OSImage) => {
    resolver.follow([image]);
    await clock.advance(0);
    return resolver.resolution(image);
  };
  const digestOf = (image: OSImage) => {
    const resolution = resolver.resolution(image);
    return resolution.state === 'Resolved' ? resolution.image.release.digest : resolution.state;
  };

  it('is pending before the first answer, and then says what the reference means', async () => {
    assert.deepEqual(resolver.resolution(osImage()), { state: 'Pending' });
    const resolution = await follow(osImage());
    assert.deepEqual(resolution, {
      state: 'Resolved',
      image: {
        release: { digest: digest('a'), reference: TAG, resolvedTime: '2026-01-01T00:00:00Z' },
        repository: 'ostree-unverified-registry:registry.example/os',
        platforms: { amd64: digest('b') },
      },
    });
  });

  it('looks a tag up at its poll interval and at most a tenth later, and changes nothing while it means the same', async () => {
    const image = osImage();
    await follow(image);
    await clock.advance(299_000);
    resolver.follow([image]);
    assert.equal(asked.length, 1);
    await clock.advance(31_000);
    assert.equal(asked.length, 2);
    assert.equal(changes, 1, 'the same answer is no news, not even by its time');
  });

  it('looks a digest up once', async () => {
    const pinned = `registry.example/os@${digest('a')}`;
    assert.ok(isPinned(pinned) && !isPinned(TAG));
    await follow(osImage(pinned));
    await clock.advance(24 * 3600_000);
    assert.equal(asked.length, 1);
  });

  describe('with signatures', () => {
    const unsigned = () => {
      throw new SignatureError('SignatureMissing', 'it has no signature');
    };
    const failed = { state: 'Failed', reason: 'SignatureMissing', message: 'it has no signature', unverified: true };
    const signed = (reference = TAG, status?: OSImage['status'], keys = ['k']): OSImage => {
      const image = osImage(reference, status);
      const authorities = [{ name: 'release', publicKeys: keys }];
      const verification = { match: 'Any' as const, authorities, deniedDigests: [], deniedKeys: [] };
      return { ...image, spec: { ...image.spec, image: { ...image.spec.image, verification } } };
    };

    it('looks again and again also at a digest, and takes its answer back when it no longer counts', async () => {
      const pinned = signed(`registry.example/os@${digest('a')}`);
      await follow(pinned);
      assert.equal(digestOf(pinned), digest('a'));
      assert.equal(asked[0]?.verification?.authorities[0]?.name, 'release');
      answer = unsigned;
      await clock.advance(331_000);
      assert.deepEqual(resolver.resolution(pinned), failed);
      answer = () => ({
        digest: digest('a'),
        repository: 'r',
        platforms: {},
        signers: [{ authority: 'release', key: 'x' }],
      });
      await clock.advance(10_000);
      const again = resolver.resolution(pinned);
      assert.deepEqual(again.state === 'Resolved' && again.image.release.signers, [{ authority: 'release', key: 'x' }]);
    });

    it('keeps its answer while the registry is away', async () => {
      await follow(signed());
      answer = () => {
        throw new RegistryError('Unreachable', 'away');
      };
      await clock.advance(331_000);
      assert.equal(digestOf(signed()), digest('a'));
    });

    it('does not take what was verified by another policy for verified by this one', async () => {
      await follow(signed());
      answer = unsigned;
      const other = signed(TAG, undefined, ['another key']);
      resolver.follow([other]);
      assert.equal(digestOf(other), 'Pending');
      await clock.advance(0);
      assert.deepEqual(resolver.resolution(other), failed);
    });

    it('verifies the target too once the tag means something else, for as long as it is the target', async () => {
      const status = { target: { digest: digest('a'), reference: TAG } };
      await follow(signed());
      answer = ({ digest: wanted }) => ({ digest: wanted ?? digest('b'), repository: 'r', platforms: {} });
      await clock.advance(331_000);
      await follow(signed(TAG, status));
      assert.equal(resolver.target(signed(TAG, status))?.release.digest, digest('a'));
      answer = (request) =>
        request.digest === undefined ? { digest: digest('b'), repository: 'r', platforms: {} } : unsigned();
      await clock.advance(331_000);
      assert.equal(resolver.target(signed(TAG, status)), undefined);
      assert.deepEqual(resolver.unverifiedTarget(signed(TAG, status)), {
        reason: failed.reason,
        message: failed.message,
      });
      assert.equal(digestOf(signed(TAG, status)), digest('b'));
    });
  });

  it('looks up at once when the reference changes, and never mistakes the old answer for the new', async () => {
    await follow(osImage());
    answer = () => {
      throw new RegistryError('NotFound', 'no such tag');
    };
    const next = osImage('registry.example/os:next');
    resolver.follow([next]);
    assert.equal(digestOf(next), 'Pending');
    await clock.advance(0);
    assert.deepEqual(resolver.resolution(next), { state: 'Failed', reason: 'NotFound', message: 'no such tag' });
  });

  it('tries a failed look-up again, ever more slowly, and takes the answer when it comes', async () => {
    const works = answer;
    answer = () => {
      throw new RegistryError('Unreachable', 'the registry is away');
    };
    const image = osImage();
    await follow(image);
    await clock.advance(600_000);
    assert.ok(asked.length >= 8 && asked.length <= 16, `${asked.length} tries in ten minutes`);
    answer = works;
    await clock.advance(120_000);
    assert.equal(digestOf(image), digest('a'));
  });

  it('asks again at once when a mirror is added, and tells every look-up of the mirrors', async () => {
    const works = answer;
    answer = (request) => {
      if (request.mirrors !== undefined) return works(request);
      throw new RegistryError('Unreachable', 'the registry is away');
    };
    await follow(osImage());
    const image = osImage();
    const mirrors = ['mirror.example/os'];
    const mirrored = { ...image, spec: { ...image.spec, image: { ...image.spec.image, mirrors } } };
    await follow(mirrored);
    assert.equal(digestOf(mirrored), digest('a'));
    answer = () => ({ digest: digest('c'), repository: 'r', platforms: {} });
    await follow({ ...mirrored, status: { target: { digest: digest('e'), reference: TAG } } });
    assert.deepEqual(asked.at(-1), { reference: TAG, digest: digest('e'), mirrors });
  });

  it('keeps its last answer while the registry is away', async () => {
    const image = osImage();
    await follow(image);
    answer = () => {
      throw new RegistryError('Unreachable', 'the registry is away');
    };
    await clock.advance(700_000);
    assert.ok(asked.length > 2);
    assert.equal(digestOf(image), digest('a'));
  });

  it('still knows what the target means when the tag moves on', async () => {
    const image = osImage(TAG, { target: { digest: digest('a'), reference: TAG } });
    await follow(image);
    answer = () => ({ digest: digest('c'), repository: 'r', platforms: { amd64: digest('d') } });
    await clock.advance(331_000);
    await follow(image);
    assert.equal(digestOf(image), digest('c'));
    assert.deepEqual(resolver.target(image)?.platforms, { amd64: digest('b') });
    assert.ok(
      asked.every((request) => request.digest === undefined),
      'what is known is not asked again',
    );
  });

  it('looks the target up by its digest after a restart, when the tag means something else or cannot be resolved', async () => {
    const works = answer;
    for (const tag of ['moved', 'gone']) {
      answer = (request) => {
        if (request.digest !== undefined) return works(request);
        if (tag === 'gone') throw new RegistryError('NotFound', 'no such tag');
        return { digest: digest('c'), repository: 'r', platforms: { amd64: digest('d') } };
      };
      const image = osImage(TAG, { target: { digest: digest('a'), reference: TAG, version: '1' } });
      await follow(image);
      await follow(image);
      assert.deepEqual(asked.at(-1), { reference: TAG, digest: digest('a') });
      assert.deepEqual(resolver.target(image)?.platforms, { amd64: digest('b') });
      assert.equal(resolver.target(image)?.release.version, '1');
      await resolver.stop();
    }
  });

  it('looks up what the fleet went back to under the reference that it was rolled out with', async () => {
    const before = { digest: digest('a'), reference: 'registry.example/os:1' };
    const quarantined = {
      digest: digest('c'),
      reference: TAG,
      reason: 'RolledBack',
      failures: 1,
      message: '',
      time: '',
    };
    const status = { target: before, current: before, quarantinedDigests: [quarantined] };
    const works = answer;
    answer = (request) =>
      request.digest === undefined ? { digest: digest('c'), repository: 'r', platforms: {} } : works(request);
    const image = osImage(TAG, status);
    await follow(image);
    await follow(image);
    assert.deepEqual(asked.at(-1), before);
    assert.deepEqual(resolver.target(image)?.platforms, { amd64: digest('b') });
  });

  it('need not ask what the spec named until it was changed, for the fleet may have to go back to that', async () => {
    const before = { digest: digest('a'), reference: 'registry.example/os:1' };
    await follow(osImage(before.reference, { target: before }));
    answer = () => ({ digest: digest('c'), repository: 'r', platforms: {} });
    await follow(osImage(TAG, { target: before, current: before }));
    assert.equal(asked.length, 2);
    assert.deepEqual(resolver.target(osImage(TAG, { target: before }))?.platforms, { amd64: digest('b') });
  });

  it('forgets an OSImage that is gone, and asks no more', async () => {
    await follow(osImage());
    resolver.follow([]);
    await clock.advance(3600_000);
    assert.equal(asked.length, 1);
    assert.deepEqual(resolver.resolution(osImage()), { state: 'Pending' });
  });
});

describe('looking an image up', () => {
  const platform = (fill: string, image: Partial<PlatformImage> = {}): PlatformImage => ({
    digest: digest(fill),
    config: { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } },
    isOstreeContainer: true,
    isBootable: true,
    ...image,
  });
  const key = newKeyPair().publicKey;
  const verification = osImageSpecSchema.shape.image.shape.verification.unwrap().parse({
    authorities: [{ name: 'release', publicKeys: [key] }],
  });
  let verified: VerificationRequest[] = [];
  const verifyImage = async (asked: VerificationRequest) => {
    verified.push(asked);
    return {
      signedDigest: asked.digest,
      signers: [{ authority: 'release', key: digest('9'), format: 'bundle' as const }],
    };
  };
  beforeEach(() => (verified = []));
  const lookUp = (images: Record<string, PlatformImage>, request: Partial<LookupRequest> = {}, floor?: string) => {
    let name = '';
    let mirrors: readonly string[] | undefined;
    const resolveTag = async (
      image: { readonly name: string },
      options: RegistryOptions = {},
    ): Promise<ResolvedTag> => {
      ({ name } = image);
      ({ mirrors } = options);
      return { digest: digest('f'), platforms: {}, images };
    };
    const readSecret = async () => ({ metadata: { uid: 's', resourceVersion: '1' }, data: {} });
    const found = lookUpImage(
      {
        resolveTag,
        verifyImage,
        readSecret,
        registry: {},
        ...(floor && { floor: async () => parsePolicyFile(floor, 'floor.yaml') }),
      },
      { reference: TAG, ...request },
      AbortSignal.timeout(1000),
    );
    return found.then((result) => ({ ...result, name, mirrors }));
  };

  it('keeps the architectures that a host can boot, and says which repository orders name', async () => {
    const found = await lookUp({
      amd64: platform('a', { version: 'v'.repeat(300) }),
      arm64: platform('b', { isBootable: false }),
    });
    assert.deepEqual(found.platforms, { amd64: digest('a') });
    assert.equal(found.repository, 'ostree-unverified-registry:registry.example/os');
    assert.equal(found.version?.length, 256);
    assert.equal(found.name, TAG);
  });

  it('orders an image that hosts must find signed in that form', async () => {
    const found = await lookUp({ amd64: platform('a') }, { reference: `ostree-image-signed:docker://${TAG}` });
    assert.equal(found.repository, 'ostree-image-signed:docker://registry.example/os');
  });

  it('asks by digest when told one', async () => {
    assert.equal(
      (await lookUp({ amd64: platform('a') }, { digest: digest('e') })).name,
      `registry.example/os@${digest('e')}`,
    );
  });

  it('says which mirrors have it', async () => {
    const mirrors = ['mirror.example/os'];
    assert.deepEqual((await lookUp({ amd64: platform('a') }, { digest: digest('e'), mirrors })).mirrors, mirrors);
  });

  it('refuses an ordinary image, one that cannot be booted, and remotes of one host, each with a sentence', async () => {
    await assert.rejects(
      lookUp({ amd64: platform('a', { isOstreeContainer: false }) }),
      /ordinary container image, not an OSTree one/,
    );
    await assert.rejects(lookUp({ amd64: platform('a', { isBootable: false }) }), /not bootable/);
    await assert.rejects(lookUp({}), /has no Linux image/);
    await assert.rejects(lookUp({}, { reference: `ostree-remote-registry:r:${TAG}` }), /cannot be rolled out/);
  });

  it('has every image verified that a node may be given, by what the OSImage and the cluster ask for', async () => {
    const images = { amd64: platform('a'), arm64: platform('b'), s390x: platform('c', { isBootable: false }) };
    assert.deepEqual(await lookUp(images).then(({ signers }) => signers), undefined);
    assert.equal(verified.length, 0, 'nobody must have signed');
    const found = await lookUp(images, { verification }, `deniedKeys: ['${digest('7')}']\n`);
    assert.deepEqual(found.signers, [{ authority: 'release', key: digest('9') }]);
    assert.deepEqual(
      found.verification?.map(({ source }) => source),
      ['OSImage', 'Cluster'],
    );
    assert.deepEqual(
      verified.map((one) => [one.digest, one.index]),
      [
        [digest('a'), digest('f')],
        [digest('b'), digest('f')],
      ],
    );
    assert.deepEqual(
      verified[0]?.policies.map((one) => one.authorities.length),
      [1, 0],
    );
    await lookUp(images, { verification: { ...verification, policy: 'None' } });
    assert.equal(verified.length, 2, 'policy None asks for nothing');
  });

  it('says what is wrong with a pull Secret', async () => {
    await assert.rejects(
      lookUp({}, { pullSecret: 'pull' }),
      /pull Secret treeline-system\/pull has no key \.dockerconfigjson/,
    );
  });
});
