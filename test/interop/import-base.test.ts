import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readStoredImage, Repository } from '../../ostree/index.ts';
import {
  contentOf,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  readLayout,
  refsOf,
  run,
} from './import-fixture.ts';

for (const chunked of [false, true]) {
  describe(`our import of ${chunked ? 'a chunked' : 'a single-layer'} image that the peer made`, () => {
    let folder: string;
    let layout: string;
    let ours: string;
    let theirs: string;
    let mergeCommit: string;
    let peerCommit: string;

    before(async () => {
      folder = await makeFolder();
      layout = await encapsulate(await makeSystem(folder), folder, chunked);
      ours = join(folder, 'ours');
      theirs = join(folder, 'theirs');
      ({ mergeCommit } = await pull(ours, layout, { requireBootable: true }));
      peerCommit = await pullWithPeer(theirs, layout);
    });

    after(async () => {
      await rm(folder, { recursive: true });
    });

    it('has as many layers as it should', async () => {
      assert.equal((await readLayout(layout)).manifest.layers.length, chunked ? 5 : 1);
    });

    it('has the same content as the peer’s, and as what was encapsulated', async () => {
      const content = await contentOf(ours, mergeCommit);
      assert.equal(content, await contentOf(theirs, peerCommit));
      assert.equal(content, await contentOf(join(folder, 'source'), 'os'));
    });

    it('leaves a repository that ostree fsck calls clean', async () => {
      await fsck(ours);
    });

    it('stores each layer as the same commit under the same ref', async () => {
      assert.deepEqual(await refsOf(ours, 'ostree/container/blob'), await refsOf(theirs, 'ostree/container/blob'));
    });

    it('gives the image the same ref', async () => {
      const names = [...(await refsOf(ours, 'ostree/container/image')).keys()];
      assert.deepEqual(names, [...(await refsOf(theirs, 'ostree/container/image')).keys()]);
      assert.equal((await refsOf(ours, 'ostree/container/image')).get(names[0]!), mergeCommit);
    });

    it('says the same about the image in the merge commit', async () => {
      // The released peer writes its hash maps in random order, so what can be compared is meaning, not bytes.
      for (const key of ['ostree.manifest', 'ostree.container.image-config']) {
        const [own, other] = await Promise.all([metadata(ours, mergeCommit, key), metadata(theirs, peerCommit, key)]);
        assert.deepEqual(JSON.parse(own), JSON.parse(other));
      }
      for (const key of ['ostree.manifest-digest', 'ostree.importer.version']) {
        assert.equal(await metadata(ours, mergeCommit, key), await metadata(theirs, peerCommit, key));
      }
      const date = /^Date:.*$/m;
      const [own, other] = await Promise.all([show(ours, mergeCommit), show(theirs, peerCommit)]);
      assert.deepEqual(date.exec(own)?.[0], date.exec(other)?.[0]);
    });

    it('is found by the peer, which then has nothing to fetch', async () => {
      assert.equal(await pullWithPeer(ours, layout), mergeCommit);
    });

    it('finds what the peer imported, and then has nothing to fetch', async () => {
      const again = await pull(theirs, layout);
      assert.deepEqual([again.alreadyPresent, again.mergeCommit, again.bytesFetched], [true, peerCommit, 0]);
      assert.equal(readStoredImage(Repository.open(theirs), peerCommit).version, '42.1');
    });

    it('makes the same merge commit every time', async () => {
      const { mergeCommit: second } = await pull(join(folder, 'second'), layout);
      assert.equal(second, mergeCommit);
    });

    it('keeps the commit that was encapsulated under the ref of the base layer', async () => {
      const { baseCommit } = readStoredImage(Repository.open(ours), mergeCommit);
      assert.equal(
        await run('ostree', `--repo=${ours}`, 'show', '--print-metadata-key=version', baseCommit),
        "'42.1'\n",
      );
    });
  });
}

async function metadata(repository: string, commit: string, key: string): Promise<string> {
  const text = await run('ostree', `--repo=${repository}`, 'show', `--print-metadata-key=${key}`, commit);
  // A GVariant string in text form: quoted by ' unless it contains one; JSON of ours contains none.
  return text.trim().slice(1, -1);
}

async function show(repository: string, commit: string): Promise<string> {
  return await run('ostree', `--repo=${repository}`, 'show', commit);
}
