/** References that name an ostree remote: the commit in the image must be signed by it, as the peer and libostree judge. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GpgHome } from '../../testbed/gpg-home.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { say } from './cli-bench.ts';
import { derive, encapsulate, makeFolder, makeSystem, run } from './import-fixture.ts';

describe('an image of an ostree remote', () => {
  let folder: string;
  let peer: string;
  let ours: GpgHome;
  let stranger: GpgHome;
  const layouts = new Map<string, string>();
  let repositories = 0;

  before(async () => {
    folder = await makeFolder();
    peer = await ensurePeer(() => undefined);
    ours = await GpgHome.make(join(folder, 'gpg'));
    stranger = await GpgHome.make(join(folder, 'stranger'));
    const repository = await makeSystem(folder);
    const keep = async (name: string) => {
      const layout = await encapsulate(repository, folder, false);
      await run('cp', '-a', layout, join(folder, name));
      await rm(layout, { recursive: true });
      layouts.set(name, join(folder, name));
    };
    await keep('unsigned');
    const sign = (by: GpgHome) =>
      run('ostree', `--repo=${repository}`, 'gpg-sign', `--gpg-homedir=${by.home}`, 'os', by.identity);
    await sign(stranger);
    await keep('foreign');
    await sign(ours);
    await keep('signed');
    const more = new Archive().file('usr/share/new', 'new').finish();
    layouts.set('derived', await derive(join(folder, 'signed'), join(folder, 'derived'), [more]));
  });
  after(async () => {
    await ours[Symbol.asyncDispose]();
    await stranger[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function repositoryWith(...remote: readonly string[]): Promise<string> {
    const path = join(folder, `repo${++repositories}`);
    await run('ostree', `--repo=${path}`, 'init', '--mode=bare');
    if (remote.length > 0)
      await run('ostree', `--repo=${path}`, 'remote', 'add', ...remote, 'vendor', 'https://ostree.invalid');
    return path;
  }
  const trusting = () => repositoryWith(`--gpg-import=${ours.keyFile}`);
  const reference = (name: string) => `ostree-remote-image:vendor:oci:${layouts.get(name) ?? ''}:base`;
  const pull = (repository: string, name: string, ...flags: readonly string[]) =>
    say(['image', 'pull', '--repo', repository, ...flags, reference(name)]);
  const peerPulls = (repository: string, name: string): Promise<boolean> =>
    promisify(execFile)(peer, ['container', 'image', 'pull', '--quiet', repository, reference(name)]).then(
      () => true,
      () => false,
    );

  it('is imported when its commit is signed by the remote, as the peer does', async () => {
    const said = await pull(await trusting(), 'signed');
    assert.equal(said.status, 0, said.stderr);
    assert.match(said.stderr, /is signed as the ostree remote vendor asks; layers on top of it are not covered/);
    assert.equal(await peerPulls(await trusting(), 'signed'), true);
  });

  for (const [name, message] of [
    ['unsigned', /has no GPG signature, and the ostree remote vendor asks for one/],
    ['foreign', /has no GPG signature that the ostree remote vendor accepts/],
  ] as const) {
    it(`is not imported when it is ${name}, and the peer does not import it either`, async () => {
      const repository = await trusting();
      const said = await pull(repository, name);
      assert.equal(said.status, 1);
      assert.match(said.stderr, message);
      const refs = (await run('ostree', `--repo=${repository}`, 'refs')).split('\n');
      assert.deepEqual(
        refs.filter((ref) => /^ostree\/container\/(image|blob)\//.test(ref)),
        [],
      );
      assert.equal(await peerPulls(await trusting(), name), false);
    });
  }

  it('is judged anew when it is there already, or its layers are', async () => {
    const repository = await trusting();
    const plain = `ostree-unverified-image:oci:${layouts.get('unsigned') ?? ''}:base`;
    assert.equal((await say(['image', 'pull', '--repo', repository, plain])).status, 0);
    const said = await pull(repository, 'unsigned');
    assert.equal(said.status, 1, said.stdout);
    assert.match(said.stderr, /has no GPG signature/);
  });

  it('is refused with layers that nobody has signed, unless they are allowed', async () => {
    const repository = await trusting();
    const said = await pull(repository, 'derived');
    assert.equal(said.status, 1);
    assert.match(said.stderr, /has 1 layer on top of its commit, which the commit's signature does not cover/);
    const allowed = await pull(repository, 'derived', '--allow-unsigned-layers');
    assert.equal(allowed.status, 0, allowed.stderr);
  });

  it('is refused when the remote is not there, or vouches for nothing', async () => {
    const none = await pull(await repositoryWith(), 'signed');
    assert.match(none.stderr, /ostree remote vendor is not configured here/);
    const careless = await pull(await repositoryWith('--no-gpg-verify'), 'signed');
    assert.match(careless.stderr, /asks for no signature/);
    assert.deepEqual([none.status, careless.status], [1, 1]);
  });
});
