import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  type ImportProgress,
  listImages,
  pruneImages,
  pullImage,
  readStoredImage,
  Repository,
  setGuardRef,
} from '../../ostree/index.ts';
import { blobRef } from '../../ostree/import/store-refs.ts';
import { type ImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import {
  addBlob,
  blobPath,
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  PLATFORM,
  pull,
  pullWithPeer,
  readLayout,
  referenceTo,
  refsOf,
  run,
  sha256,
  writeImage,
} from './import-fixture.ts';

describe('the store of images in a repository', () => {
  let folder: string;
  let base: string;
  let derived: string;
  let path: string;

  beforeEach(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, true);
    derived = await derive(base, join(folder, 'derived'), [new Archive().file('usr/share/new', 'new').finish()]);
    path = join(folder, 'repo');
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('fetches only what an image adds to those that are there', async () => {
    const first = await pull(path, base);
    assert.equal(first.layersFetched, 5);
    const seen: ImportProgress[] = [];
    const second = await pull(path, derived, { onProgress: (progress) => seen.push(progress) });
    assert.equal(second.layersFetched, 1);
    const { manifest } = await readLayout(derived);
    assert.equal(second.bytesFetched, manifest.layers.at(-1)!.size);
    assert.deepEqual(seen.at(-1), {
      stage: 'Importing',
      layersDone: 6,
      layersTotal: 6,
      bytesDone: second.bytesFetched,
      bytesTotal: second.bytesFetched,
    });
  });

  it('knows a layer again by its diff-id when it was compressed differently', async () => {
    await pull(path, derived);
    const recompressed = join(folder, 'recompressed');
    await cp(derived, recompressed, { recursive: true });
    const { manifest, config } = await readLayout(recompressed);
    for (const layer of manifest.layers) {
      const bytes = gzipSync(gunzipSync(await readFile(blobPath(recompressed, layer.digest))), { level: 1 });
      Object.assign(layer, { digest: sha256(bytes), size: bytes.length });
      await writeFile(blobPath(recompressed, layer.digest), bytes);
    }
    await writeImage(recompressed, manifest, config);
    const { layersFetched, alreadyPresent, mergeCommit } = await pull(path, recompressed);
    assert.deepEqual([layersFetched, alreadyPresent], [0, false]);
    assert.equal(readStoredImage(Repository.open(path), mergeCommit).version, '42.1');
  });

  it('says of an image what the registry says, also when only the compression of its layers has changed', async () => {
    const theirs = join(folder, 'theirs');
    const [before] = [await pull(path, derived), await pullWithPeer(theirs, derived)];
    const { manifest, config } = await readLayout(derived);
    const bytes = gzipSync(gunzipSync(await readFile(blobPath(derived, manifest.layers[0]!.digest))), { level: 1 });
    manifest.layers[0] = { ...manifest.layers[0]!, ...(await addBlob(derived, bytes)) };
    const digest = await writeImage(derived, manifest, config);
    const after = await pull(path, derived);
    assert.equal((await readLayout(derived)).manifest.config.digest, manifest.config.digest, 'the config is the same');
    assert.deepEqual([after.layersFetched, after.alreadyPresent, after.manifestDigest], [0, false, digest]);
    const repository = Repository.open(path);
    assert.equal(readStoredImage(repository, after.mergeCommit).manifestDigest, digest);
    assert.notEqual(
      repository.readRef(blobRef(manifest.layers[0].digest)),
      undefined,
      'the layer has a ref by the digest in the manifest',
    );
    assert.equal(await contentOf(path, after.mergeCommit), await contentOf(path, before.mergeCommit));
    // The difference: the peer takes an image with the same config for the same image.
    await run(await ensurePeer(() => {}), 'container', 'image', 'pull', '--quiet', theirs, referenceTo(derived));
    const [theirImage] = listImages(Repository.open(theirs));
    assert.equal(theirImage?.manifestDigest, before.manifestDigest);
  });

  for (const [role, position] of [
    ['base', 0],
    ['derived layer', -1],
  ] as const) {
    it(`does not take the base of an image for the ${role} of another because its config claims that layer's diff-id`, async () => {
      const wanted = (await readLayout(derived)).config.rootfs.diff_ids.at(position)!;
      const otherFolder = join(folder, 'other');
      await mkdir(otherFolder);
      const system = await makeSystem(otherFolder, [['usr/bin/backdoor', 'not wanted']]);
      const claiming = await encapsulate(system, otherFolder, false);
      const { manifest, config } = await readLayout(claiming);
      config.rootfs.diff_ids[0] = wanted;
      config.config.Labels['ostree.final-diffid'] = wanted;
      await writeImage(claiming, manifest, config);
      await pull(path, claiming);

      const { mergeCommit } = await pull(path, derived);
      assert.equal(mergeCommit, (await pull(join(folder, 'fresh'), derived)).mergeCommit);
    });
  }

  it('fetches the chunks of an image again when another image’s config falsely claimed to hold one', async () => {
    const otherFolder = join(folder, 'other-chunks');
    await mkdir(otherFolder);
    const chunked = await encapsulate(await makeSystem(otherFolder), otherFolder, true);
    const wanted = (await readLayout(chunked)).config.rootfs.diff_ids[1]!;
    const claimingFolder = join(folder, 'claiming-chunks');
    await mkdir(claimingFolder);
    const system = await makeSystem(claimingFolder, [['usr/bin/other', 'not wanted']]);
    const claiming = await encapsulate(system, claimingFolder, true);
    const { manifest, config } = await readLayout(claiming);
    config.rootfs.diff_ids[2] = wanted;
    assert.notEqual(config.config.Labels['ostree.final-diffid'], wanted);
    await writeImage(claiming, manifest, config);
    const store = join(folder, 'claimed');
    await pull(store, claiming);
    const { mergeCommit } = await pull(store, chunked);
    assert.equal(mergeCommit, (await pull(join(folder, 'unclaimed'), chunked)).mergeCommit);
    await fsck(store);
  });

  it('needs no network for a reference that names the digest it has', async () => {
    const { manifestDigest, mergeCommit } = await pull(path, base);
    const repository = Repository.open(path);
    const name = `registry.invalid/os@${manifestDigest}`;
    const reference = parseOstreeImageReference(`ostree-unverified-registry:${name}`);
    await repository.setRef(
      `ostree/container/image/docker_3A__2F__2F_registry_2E_invalid/os_40_${manifestDigest.replace(':', '_3A_')}`,
      mergeCommit,
    );
    const source: ImageSource = {
      resolve: () => Promise.reject(new Error('asked the network')),
      openBlob: () => {
        throw new Error('asked the network');
      },
      openRange: () => {
        throw new Error('asked the network');
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const again = await pullImage({ repository, source, reference, platform: PLATFORM });
    assert.deepEqual([again.alreadyPresent, again.mergeCommit], [true, mergeCommit]);
  });

  it('drops layers only when no image and no guard needs them', async () => {
    const old = await pull(path, derived);
    const repository = Repository.open(path);
    await setGuardRef(repository, 'pending', old.mergeCommit);
    // The reference moves on to an image without the derived layer.
    await rm(derived, { recursive: true });
    await cp(base, derived, { recursive: true });
    await pull(path, derived);
    assert.equal((await refsOf(path, 'ostree/container/blob')).size, 6);
    assert.equal(readStoredImage(repository, old.mergeCommit).manifestDigest, old.manifestDigest);
    await setGuardRef(repository, 'pending', undefined);
    await pull(path, base);
    assert.equal((await refsOf(path, 'ostree/container/blob')).size, 5);
    await fsck(path);
  });

  it('lists its images, and prunes those that no deployment names', async () => {
    const kept = await pull(path, base);
    const dropped = await pull(path, derived);
    const repository = Repository.open(path);
    const { image } = parseOstreeImageReference(referenceTo(base));
    assert.deepEqual(
      listImages(repository).map(({ reference, version }) => [reference.name, version]),
      [base, derived].map((layout) => [`${layout}:base`, '42.1']),
    );
    const pruned = await pruneImages(repository, { sysroot: folder, alsoKeep: [image], extent: 'objects' });
    assert.deepEqual([pruned.images, pruned.layers], [[`oci:${derived}:base`], 1]);
    assert.deepEqual(
      listImages(repository).map(({ mergeCommit }) => mergeCommit),
      [kept.mergeCommit],
    );
    assert.ok(!repository.hasObject('commit', dropped.mergeCommit), 'what no ref needs is gone');
    await fsck(path);
  });

  it('refuses to call an ordinary commit an image', async () => {
    const { mergeCommit } = await pull(path, base);
    const repository = Repository.open(path);
    const { baseCommit } = readStoredImage(repository, mergeCommit);
    assert.throws(() => readStoredImage(repository, baseCommit), { name: 'ImportError', code: 'NotImageCommit' });
  });
});
