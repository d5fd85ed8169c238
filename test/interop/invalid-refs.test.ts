/** Refs that hold no checksum, as a full disk or an editor leaves them: what goes on all the same, and what does not. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { listImages, pruneImages, pruneLayers, readStoredImage, Repository } from '../../ostree/index.ts';
import { pruneObjects } from '../../ostree/repository/prune.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { treeline } from '../unit/cli/run.ts';
import { pullToDeploy } from './deploying.ts';
import { contentOf, derive, encapsulate, fsck, makeFolder, makeSystem, pull, run } from './import-fixture.ts';

const OTHER = 'ostree/container/image/docker_3A__2F__2F_quay_2E_io/example/os_3A_stable';

describe('a ref that holds no checksum', () => {
  let folder: string;
  let base: string;
  let derived: string;
  let path: string;
  let repository: Repository;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, true);
    derived = await derive(base, join(folder, 'derived'), [new Archive().file('usr/share/new', 'new').finish()]);
  });

  beforeEach(async () => {
    path = join(folder, 'host/ostree/repo');
    await mkdir(dirname(path), { recursive: true });
    await pull(path, base);
    repository = Repository.open(path);
  });

  afterEach(() => rm(join(folder, 'host'), { recursive: true }));
  after(() => rm(folder, { recursive: true }));

  async function spoil(ref: string, content = 'garbage\n'): Promise<string> {
    const file = join(path, 'refs/heads', ref);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    return file;
  }

  const refOf = (prefix: string) => [...repository.listRefs(`ostree/container/${prefix}`).keys()][0]!;
  const everything = () => run('find', path, '!', '-path', `${path}/tmp*`, '!', '-type', 'd', '-printf', '%P %s\n');

  for (const content of ['garbage\n', '']) {
    it(`of another image is in the way of no pull, which says which one it is and what helps (${JSON.stringify(content)})`, async () => {
      const file = await spoil(OTHER, content);
      const warnings: string[] = [];
      const { layersFetched, mergeCommit } = await pull(path, derived, { onWarning: (said) => warnings.push(said) });
      assert.equal(layersFetched, 1, 'those of the image that can be read are not fetched again');
      assert.equal(readStoredImage(repository, mergeCommit).version, '42.1');
      assert.equal(warnings.length, 1, warnings.join('\n'));
      assert.ok(warnings[0]?.includes(file), warnings.join());
      assert.ok(warnings[0]?.includes(`treeline fsck --repo ${path} --repair`), warnings.join());
      assert.equal(await readFile(file, 'utf8'), content, 'it is not ours to judge');
    });
  }

  it('of the image itself has it pulled anew, and is told of', async () => {
    const ref = refOf('image');
    await spoil(ref);
    const warnings: string[] = [];
    const { alreadyPresent, mergeCommit } = await pull(path, base, { onWarning: (said) => warnings.push(said) });
    assert.deepEqual([alreadyPresent, repository.readRef(ref)], [false, mergeCommit]);
    assert.match(warnings.join('\n'), /counts as absent: the ref .* holds no checksum/);
    await fsck(path);
  });

  it('of a layer has that layer fetched again', async () => {
    const ref = refOf('blob');
    const commit = repository.readRef(ref);
    await spoil(ref);
    await spoil(refOf('image'));
    const { layersFetched, mergeCommit } = await pull(path, base);
    assert.deepEqual([layersFetched, repository.readRef(ref)], [1, commit]);
    assert.match(await contentOf(path, mergeCommit), /content/);
  });

  it('of a guard keeps no command from deploying', async () => {
    await spoil('ostree/container/baseimage/treeline/deploy-0123456789abcdef');
    let deployed = 0;
    await pullToDeploy(path, base, async () => {
      deployed = await Promise.resolve(1);
    });
    assert.equal(deployed, 1);
    assert.equal(repository.listRefs('ostree/container/baseimage').size, 0, 'what keeps nothing is dropped');
  });

  for (const [whose, ref] of [
    ['an image', OTHER],
    ['a layer', 'ostree/container/blob/sha256_3A_00'],
    ['a guard', 'ostree/container/baseimage/treeline/pending'],
    ['another tool', 'fedora/stable'],
  ] as const) {
    it(`of ${whose} keeps clean-up from deleting anything`, async () => {
      await pull(path, derived);
      repository.deleteRefs([refOf('blob'), refOf('image')]);
      const file = await spoil(ref);
      const before = await everything();
      const options = { sysroot: join(folder, 'host') };
      const failure = { name: 'OstreeError', code: 'CorruptObject', message: new RegExp(`${file} holds no checksum`) };
      for (const extent of ['images', 'layers', 'objects'] as const) {
        await assert.rejects(pruneImages(repository, { ...options, extent }), failure);
      }
      await assert.rejects(pruneLayers(repository), failure);
      await assert.rejects(pruneObjects(repository), failure);
      assert.equal(await everything(), before);
    });
  }

  it('of an image or a guard of ours is deleted by the repair that the message names; then clean-up goes on', async () => {
    await spoil(OTHER);
    await spoil('ostree/container/baseimage/treeline/pending');
    const repaired = await treeline(['fsck', '--repo', path, '--repair']);
    assert.equal(repaired.status, 0, repaired.stdout);
    assert.equal(listImages(repository).length, 1);
    const { images } = await pruneImages(repository, { sysroot: join(folder, 'host'), extent: 'objects' });
    assert.equal(images.length, 1);
  });

  it('is told of by `image list`, beside the images that can be read', async () => {
    await spoil(OTHER);
    const problems: string[] = [];
    assert.equal(listImages(repository, (problem) => problems.push(problem)).length, 1);
    assert.deepEqual(problems, [`image ref ${OTHER} holds no checksum`]);
  });
});
