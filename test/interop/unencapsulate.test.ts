/** What of `ostree container` is not about images in a repository: the commit out of one, and which one a name means. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Archive } from '../../testbed/tar-archive.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  readLayout,
  referenceTo,
  refsOf,
  run,
} from './import-fixture.ts';

async function peer(...parameters: readonly string[]): Promise<string> {
  return await run(await ensurePeer(() => {}), 'container', ...parameters);
}

describe('the commit in an image', () => {
  let folder: string;
  let source: string;
  let commit: string;
  let base: string;
  let single: string;
  let derived: string;
  let count = 0;

  before(async () => {
    folder = await makeFolder();
    source = await makeSystem(folder);
    commit = (await run('ostree', 'rev-parse', `--repo=${source}`, 'os')).trim();
    base = await encapsulate(source, folder, true);
    single = await encapsulate(source, folder, false);
    derived = await derive(base, join(folder, 'derived'), [new Archive().file('usr/share/new', 'new').finish()]);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function repository(mode = 'bare'): Promise<string> {
    const path = join(folder, `repo-${(count += 1)}`);
    await run('ostree', `--repo=${path}`, 'init', `--mode=${mode}`);
    return path;
  }

  /** All refs by name, and what the commit of `my/branch` holds. */
  async function pictureOf(repo: string): Promise<unknown> {
    return [await refsOf(repo, 'ostree'), await refsOf(repo, 'my'), await contentOf(repo, 'my/branch')];
  }

  for (const mode of ['bare', 'archive']) {
    it(`comes out as it went in, under the name that it is given, and says so as the peer does: ${mode}`, async () => {
      for (const layout of [base, single]) {
        // The peer cannot write a large file into a repository of mode `archive`.
        const [mine, other] = [await repository(mode), await repository('bare')];
        const flags = ['--write-ref', 'my/branch', referenceTo(layout)];
        const said = await treeline(['unencapsulate', '--repo', mine, ...flags]);
        assert.equal(said.status, 0, said.stderr);
        assert.equal(said.stdout, await peer('unencapsulate', '--quiet', '--repo', other, ...flags));
        assert.equal(said.stdout, `Imported: my/branch => ${commit}\n`);
        assert.deepEqual(await pictureOf(mine), await pictureOf(other));
        await run('ostree', 'prune', '--refs-only', `--repo=${mine}`);
        await fsck(mine);
        assert.equal(await contentOf(mine, 'my/branch'), await contentOf(source, 'os'));
      }
    });
  }

  it('comes out without a name, too', async () => {
    const repo = await repository();
    const said = await treeline(['unencapsulate', '--quiet', '--repo', repo, referenceTo(base)]);
    assert.deepEqual([said.status, said.stdout, said.stderr], [0, `Imported: ${commit}\n`, '']);
    assert.equal(await contentOf(repo, commit), await contentOf(source, 'os'));
    assert.deepEqual([...(await refsOf(repo, 'ostree')).keys()], []);
  });

  it('comes out of a repository that holds the image already, and leaves that there', async () => {
    const repo = await repository();
    const { mergeCommit } = await pull(repo, base);
    const before = await refsOf(repo, 'ostree');
    const said = await treeline([
      'unencapsulate',
      '--repo',
      repo,
      '--write-ref',
      'os',
      '-o',
      'json',
      referenceTo(base),
    ]);
    assert.equal(said.stderr, '');
    const result = JSON.parse(said.stdout) as Record<string, unknown>;
    assert.deepEqual([result['commit'], result['ref']], [commit, 'os']);
    assert.deepEqual(await refsOf(repo, 'ostree'), before);
    assert.notEqual(mergeCommit, commit);
  });

  it('does not come out of an image that is more than a commit: nothing is written', async () => {
    const repo = await repository();
    await assert.rejects(peer('unencapsulate', '--repo', repo, referenceTo(derived)), /non-ostree layers/);
    const said = await treeline(['unencapsulate', '--repo', repo, '--write-ref', 'os', referenceTo(derived)]);
    assert.deepEqual([said.status, said.stdout], [1, '']);
    assert.match(said.stderr, /derived:base has 1 layer on top of its commit, .*`treeline image pull`/);
    assert.equal(await run('ostree', 'refs', `--repo=${repo}`), '');
  });

  it('is not fetched for a name that no ref can have', async () => {
    const repo = await repository();
    const said = await treeline(['unencapsulate', '--repo', repo, '--write-ref', '../x', referenceTo(base)]);
    assert.equal(said.status, 1);
    assert.match(said.stderr, /cannot be the name of an OSTree ref/);
    assert.ok(!said.stderr.includes('Pulling'));
  });
});

describe('treeline image info', () => {
  let folder: string;
  let base: string;
  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, true);
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  it('says which image a reference means in the words of the peer, and more in JSON', async () => {
    const said = await treeline(['image', 'info', referenceTo(base)]);
    assert.equal(said.stdout, await peer('info', referenceTo(base)));
    const { manifest, config } = await readLayout(base);
    const more = JSON.parse((await treeline(['image', 'info', '-o', 'json', referenceTo(base)])).stdout) as Record<
      string,
      unknown
    >;
    assert.deepEqual(
      [more['version'], more['architecture'], more['layers'], more['bytes']],
      ['42.1', config.architecture, manifest.layers.length, manifest.layers.reduce((sum, { size }) => sum + size, 0)],
    );
    assert.ok(said.stdout.endsWith(` digest: ${String(more['manifestDigest'])}\n`));
  });
});
