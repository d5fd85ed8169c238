import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { imageCommitOf, Repository } from '../../ostree/index.ts';
import { makeFolder, makeSystem, run } from './import-fixture.ts';

describe('the commit that a deployment runs', () => {
  it('is led back to that of its image, where packages are layered on it, and stands for itself everywhere else', async () => {
    const folder = await makeFolder();
    const path = await makeSystem(folder);
    const repository = Repository.open(path);
    const [[, image] = ['', '']] = repository.listRefs('');
    const commit = async (...metadata: readonly string[]) =>
      run('ostree', 'commit', `--repo=${path}`, '--orphan', `--parent=${image}`, `--tree=ref=${image}`, ...metadata);
    assert.equal(imageCommitOf(repository, image), image);
    const layered = await commit('--add-metadata=rpmostree.clientlayer=true');
    assert.equal(imageCommitOf(repository, layered.trim()), image);
    const older = await commit('--add-metadata-string=rpmostree.spec=packages');
    assert.equal(imageCommitOf(repository, older.trim()), image);
    const child = (await commit('--add-metadata=rpmostree.clientlayer=false')).trim();
    assert.equal(imageCommitOf(repository, child), child);
    await rm(folder, { recursive: true });
  });
});
