/** `treeline image deploy` beside the command that it takes its flags from, on two sysroots, judged by `ostree admin`. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeSmallOSImage } from '../../testbed/small-os-image.ts';
import { removeWithSysroots } from '../../testbed/sysroot.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { say, type Said } from './cli-bench.ts';
import { contentOf, derive, fsck, refsOf, run } from './import-fixture.ts';

const KERNEL_ARGUMENTS = ['--karg', 'root=LABEL=root', '--karg', 'rw', '--karg=console=ttyS0'] as const;

describe('treeline image deploy', () => {
  let folder = '';
  let count = 0;
  let images: Readonly<Record<1 | 2, string>>;
  let withArguments = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-deploy-test-'));
    const { path, branches } = await makeSmallOSImage(folder);
    const write = async (branch: string, name: string) => {
      const image = join(folder, name);
      const said = await say(['encapsulate', '--repo', path, branch, `oci:${image}:base`]);
      assert.equal(said.status, 0, said.stderr);
      return image;
    };
    images = { 1: await write(branches[1], 'image-1'), 2: await write(branches[2], 'image-2') };
    const kargs = new Archive().file('usr/lib/bootc/kargs.d/10-console.toml', 'kargs = ["quiet", "hvc=0"]\n').finish();
    withArguments = await derive(images[1], join(folder, 'with-arguments'), [kargs]);
  });
  after(() => removeWithSysroots(folder));

  async function sysroot(...stateroots: readonly string[]): Promise<string> {
    const path = join(folder, `sysroot-${(count += 1)}`);
    await mkdir(path);
    await run('ostree', 'admin', 'init-fs', '--modern', path);
    await run('ostree', 'config', `--repo=${path}/ostree/repo`, 'set', 'core.min-free-space-size', '100MB');
    for (const name of stateroots) await run('ostree', 'admin', 'os-init', `--sysroot=${path}`, name);
    return path;
  }

  const imgref = (image: string) => ['--imgref', `ostree-unverified-image:oci:${image}:base`];
  const ours = (path: string, ...flags: readonly string[]): Promise<Said> =>
    say(['image', 'deploy', '--sysroot', path, ...flags]);
  async function deployed(path: string, ...flags: readonly string[]): Promise<string> {
    const said = await ours(path, ...flags);
    assert.equal(said.status, 0, said.stderr);
    return said.stdout;
  }
  async function theirs(path: string, ...flags: readonly string[]): Promise<void> {
    const peer = await ensurePeer(() => {});
    await run(peer, 'container', 'image', 'deploy', '--sysroot', path, ...flags);
  }

  /** What libostree lists, in boot order. */
  async function listed(path: string): Promise<readonly (readonly [stateroot: string, commit: string])[]> {
    const text = await run('ostree', 'admin', 'status', `--sysroot=${path}`);
    return [...text.matchAll(/^[* ] (\S+) ([0-9a-f]{64})\.\d+/gm)].map(([, name = '', commit = '']) => [name, commit]);
  }

  /** Boot entries in boot order. A boot loader's directory alternates with each deployment: its number says nothing. */
  async function entries(path: string): Promise<readonly string[]> {
    const names = (await readdir(join(path, 'boot/loader/entries'))).sort().reverse();
    const texts = names.map(
      async (name) => `${name}\n${await readFile(join(path, 'boot/loader/entries', name), 'utf8')}`,
    );
    return (await Promise.all(texts)).map((text) =>
      text.replace(/ostree=\/ostree\/boot\.\d\//, 'ostree=/ostree/boot.N/'),
    );
  }

  const argumentsOf = (entry: string | undefined) => /^options (.*?) ?ostree=/m.exec(entry ?? '')?.[1];

  /** All that a host would see of it but the commits, which say when they were made. */
  async function pictureOf(path: string) {
    const deployments = await listed(path);
    const seen = deployments.map(async ([stateroot, commit]) => {
      const directory = join(path, 'ostree/deploy', stateroot, 'deploy');
      const origins = (await readdir(directory)).filter((name) => name === `${commit}.0.origin`);
      return {
        stateroot,
        content: await contentOf(join(path, 'ostree/repo'), commit),
        origins: await Promise.all(origins.map((name) => readFile(join(directory, name), 'utf8'))),
        etc: await run('sh', '-c', `cd ${directory}/${commit}.0/etc && find . -type f | sort | xargs sha256sum`),
      };
    });
    const refs = await refsOf(join(path, 'ostree/repo'), 'ostree/container');
    return {
      deployments: await Promise.all(seen),
      entries: await entries(path),
      refs: [...refs.keys()],
    };
  }

  const TARGET = 'ostree-image-signed:docker://registry.example.com/os:stable';
  const ways: readonly (readonly [what: string, flags: (image: string) => readonly string[]])[] = [
    ['by a whole reference, with kernel arguments', (image) => [...imgref(image), ...KERNEL_ARGUMENTS]],
    ['by a name and a transport', (image) => ['--image', `${image}:base`, '--transport', 'oci']],
    ['following another image', (image) => [...imgref(image), '--target-imgref', TARGET, '--karg', 'rw']],
    ['with the flag that does nothing', (image) => [...imgref(image), '--no-signature-verification']],
  ];
  for (const [what, flags] of ways) {
    it(`leaves a sysroot as the reference tool does, and so the next update: ${what}`, async () => {
      const [mine, other] = [await sysroot('default'), await sysroot('default')];
      await deployed(mine, ...flags(images[1]));
      await theirs(other, ...flags(images[1]));
      assert.deepEqual(await pictureOf(mine), await pictureOf(other));
      await deployed(mine, ...imgref(images[2]));
      await theirs(other, ...imgref(images[2]));
      const picture = await pictureOf(mine);
      assert.deepEqual(picture, await pictureOf(other));
      assert.equal(picture.deployments.length, 2);
      await fsck(join(mine, 'ostree/repo'));
    });
  }

  it('goes on where the reference tool began, and the other way round', async () => {
    const [mine, other] = [await sysroot('default'), await sysroot('default')];
    await theirs(mine, ...imgref(images[1]), ...KERNEL_ARGUMENTS);
    await deployed(mine, ...imgref(images[2]));
    await deployed(other, ...imgref(images[1]), ...KERNEL_ARGUMENTS);
    await theirs(other, ...imgref(images[2]));
    assert.deepEqual(await pictureOf(mine), await pictureOf(other));
  });

  it('writes the commit that ostree lists to the file of --write-commitid-to, also when nothing has changed', async () => {
    const path = await sysroot('other', 'default');
    for (const name of ['first', 'second']) {
      const file = join(folder, `${name}.commit`);
      await deployed(path, ...imgref(images[1]), '--stateroot', 'other', '--write-commitid-to', file);
      assert.deepEqual(await listed(path), [['other', await readFile(file, 'utf8')]]);
    }
  });

  it('says what it did in one JSON document', async () => {
    const path = await sysroot('default');
    const flags = [...imgref(images[1]), '--karg', 'rw', '-o', 'json'];
    const said = await ours(path, ...flags);
    assert.equal(said.stderr, '');
    const { action, mergeCommit, image } = JSON.parse(said.stdout) as Record<string, unknown>;
    assert.deepEqual([action, image], ['Deployed', `ostree-unverified-image:oci:${images[1]}:base`]);
    assert.deepEqual(await listed(path), [['default', mergeCommit]]);
    const again = JSON.parse(await deployed(path, ...flags)) as Record<string, unknown>;
    assert.deepEqual([again['action'], again['mergeCommit']], ['None', mergeCommit]);
  });

  it('makes what --karg says all the arguments, and deploys the same image for their sake alone', async () => {
    const path = await sysroot('default');
    await deployed(path, ...imgref(images[1]), '--karg', 'a', '--karg', 'b=1');
    const once = await entries(path);
    assert.match(await deployed(path, ...imgref(images[1]), '--karg', 'a', '--karg', 'b=1'), /nothing was changed/);
    assert.deepEqual(await entries(path), once);
    await deployed(path, ...imgref(images[1]), '--karg', 'c');
    assert.deepEqual((await entries(path)).map(argumentsOf), ['c', 'a b=1']);
    await deployed(path, ...imgref(images[2]));
    assert.deepEqual((await entries(path)).map(argumentsOf), ['c', 'c'], 'the next one takes them over');
  });

  it('puts what the image asks for itself before --karg, from the first deployment on', async () => {
    const [one, other] = [await sysroot('default'), await sysroot('default')];
    await deployed(one, ...imgref(withArguments));
    assert.equal(argumentsOf((await entries(one))[0]), 'quiet hvc=0');
    await deployed(one, ...imgref(images[2]));
    assert.equal(argumentsOf((await entries(one))[0]), '', 'what only the first asked for goes with it');
    await deployed(other, ...imgref(withArguments), '--karg', 'rw');
    assert.equal(argumentsOf((await entries(other))[0]), 'quiet hvc=0 rw');
  });

  it('keeps the deployments of stateroots apart', async () => {
    const path = await sysroot('default', 'other');
    await deployed(path, ...imgref(withArguments), '--karg', 'of=default');
    await deployed(path, ...imgref(images[2]), '--stateroot', 'other');
    assert.deepEqual(
      (await listed(path)).map(([name]) => name),
      ['other', 'default'],
    );
    assert.equal(argumentsOf((await entries(path))[0]), '');
  });

  it('stores the image under no name with --no-imgref: the deployment keeps it through a clean-up', async () => {
    const path = await sysroot('default');
    const repo = join(path, 'ostree/repo');
    await deployed(path, ...imgref(withArguments), '--no-imgref');
    assert.equal((await say(['image', 'list', '--quiet', '--repo', repo])).stdout, '');
    assert.deepEqual([...(await refsOf(repo, 'ostree/container/baseimage')).keys()], [], 'no guard is left');
    const peer = await ensurePeer(() => {});
    assert.equal(await run(peer, 'container', 'image', 'prune-layers', '--repo', repo), 'Removed layers: 0\n');
    await run('ostree', 'admin', 'cleanup', `--sysroot=${path}`);
    await fsck(repo);
    const [[, commit] = []] = await listed(path);
    const [origin = ''] = (await readdir(join(path, 'ostree/deploy/default/deploy'))).filter((name) =>
      name.endsWith('.origin'),
    );
    assert.equal(origin, `${commit}.0.origin`);
    const pulled = JSON.parse(
      (await say(['image', 'pull', '--repo', repo, '-o', 'json', `oci:${withArguments}:base`])).stdout,
    ) as { layersFetched: number };
    assert.equal(pulled.layersFetched, 0, 'its layers are there');
  });

  it('finds the image again under the name that is followed', async () => {
    const path = await sysroot('default');
    const target = `ostree-unverified-image:oci:${join(folder, 'followed')}:base`;
    await run('cp', '--recursive', images[1], join(folder, 'followed'));
    await deployed(path, ...imgref(images[1]), '--target-imgref', target);
    const upgraded = JSON.parse((await say(['upgrade', '--sysroot', path, '-o', 'json'])).stdout) as Record<
      string,
      unknown
    >;
    assert.deepEqual([upgraded['action'], upgraded['alreadyPresent']], ['None', true]);
  });

  it('stages on a host that has been booted, with the arguments of --karg and no others', async () => {
    const path = await sysroot('default');
    await deployed(path, ...imgref(withArguments), '--karg', 'a', '--karg', 'rw');
    const sandbox = ['--sandbox', '--stateroot', 'default'];
    assert.match(await deployed(path, ...imgref(images[2]), ...sandbox, '--karg', 'rw', '--karg', 'b'), /^Staged /);
    assert.equal((await listed(path)).length, 1);
    const booted = await say(['rebase', '--sysroot', path, '--sandbox', '--reboot', `oci:${images[2]}:base`]);
    assert.equal(booted.status, 0, booted.stderr);
    assert.equal(argumentsOf((await entries(path))[0]), 'rw b');
    const other = await ours(path, ...imgref(images[1]), '--sandbox', '--stateroot', 'other');
    assert.deepEqual([other.status, other.stdout], [2, '']);
    assert.match(other.stderr, /always deployed into its own stateroot, default; leave --stateroot other out/);
  });

  it('asks for the signature that it is told to ask for, which the reference tool leaves out', async () => {
    const path = await sysroot('default');
    const named = ['--transport', 'oci', '--image', `${images[1]}:base`];
    const unknown = await ours(path, ...named, '--ostree-remote', 'nobody');
    assert.equal(unknown.status, 1);
    assert.match(unknown.stderr, /nobody/);
    const unsigned = await ours(path, ...named, '--enforce-container-sigpolicy');
    assert.equal(unsigned.status, 1);
    assert.match(unsigned.stderr, /polic/);
    assert.deepEqual(await listed(path), []);
  });

  it('says what is missing before anything is fetched', async () => {
    const path = await sysroot('small');
    const said = await ours(path, ...imgref('/nowhere'));
    assert.deepEqual([said.status, said.stdout], [1, '']);
    assert.match(said.stderr, /has no stateroot default; make it with `ostree admin os-init --sysroot=\S+ default`/);
    const none = await ours(join(folder, 'none'), ...imgref(images[1]));
    assert.match(none.stderr, /is not an OSTree repository/);
  });
});
