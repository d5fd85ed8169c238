import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { Bench, say } from './cli-bench.ts';

/** What libostree itself says of a sysroot, in boot order. */
async function deploymentsOf(sysroot: string): Promise<string[]> {
  const text = await runCommand('ostree', ['admin', 'status', `--sysroot=${sysroot}`]);
  return [...text.matchAll(/^[* ] small ([0-9a-f]{64})\.(\d+)/gm)].map(([, checksum]) => checksum ?? '');
}

/** The file of a deployment, as the booted system would see it. */
async function released(sysroot: string): Promise<string> {
  const entries = await readdir(join(sysroot, 'boot/loader/entries'));
  const texts = await Promise.all(entries.map((name) => readFile(join(sysroot, 'boot/loader/entries', name), 'utf8')));
  const newest = texts.sort((a, b) => versionOf(b) - versionOf(a))[0] ?? '';
  const link = /ostree=(\S+)/.exec(newest)?.[1] ?? '';
  return readFile(join(sysroot, link, 'usr/lib/treeline-testbed-release'), 'utf8');
}

const versionOf = (entry: string) => Number(/^version (\d+)$/m.exec(entry)?.[1]);

describe('treeline on a sysroot, judged by ostree', () => {
  let bench: Bench;
  let sysroot = '';
  before(async () => {
    bench = await Bench.start();
  });
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    sysroot = await bench.sysroot();
  });

  const rebase = (tag: string, ...flags: string[]) =>
    say(['rebase', '--sysroot', sysroot, ...bench.plain, ...flags, bench.image(tag)]);

  it('rebases from version 1 to 2 and rolls back, with origin files that host tools recognise', async () => {
    const first = await rebase('1');
    assert.equal(first.status, 0, first.stderr);
    assert.match(
      first.stdout,
      /^Deployed ostree-unverified-registry:.*\/os:1 \(version 1\), sha256:.* It boots next\.\n$/,
    );
    assert.match(await released(sysroot), /VERSION=1/);

    const second = await rebase('2', '--output', 'json');
    assert.equal(second.stderr, '', 'JSON output is silent otherwise');
    const result = JSON.parse(second.stdout) as { action: string; manifestDigest: string; mergeCommit: string };
    assert.deepEqual([result.action, result.manifestDigest], ['Deployed', bench.digests[2]]);
    const [now, before] = await deploymentsOf(sysroot);
    assert.equal(now, result.mergeCommit);
    assert.match(await released(sysroot), /VERSION=2/);

    const deploy = join(sysroot, 'ostree/deploy/small/deploy');
    assert.equal(
      await readFile(join(deploy, `${now}.0.origin`), 'utf8'),
      `[origin]\ncontainer-image-reference=ostree-unverified-registry:${bench.image('2')}\n`,
    );

    const back = await say(['rollback', '--sysroot', sysroot]);
    assert.equal(back.status, 0, back.stderr);
    assert.deepEqual(await deploymentsOf(sysroot), [before, now]);
    assert.match(await released(sysroot), /VERSION=1/);
    await runCommand('ostree', ['fsck', '--quiet', `--repo=${sysroot}/ostree/repo`]);
  });

  it('shows what ostree shows, and what images they are', async () => {
    await rebase('1');
    await rebase('2');
    const { stdout } = await say(['status', '--sysroot', sysroot, '-o', 'json']);
    const { kind, deployments } = JSON.parse(stdout) as {
      kind: string;
      deployments: { checksum: string; digest: string; version: string; image: string }[];
    };
    assert.equal(kind, 'unbooted');
    assert.deepEqual(
      deployments.map(({ checksum }) => checksum),
      await deploymentsOf(sysroot),
    );
    assert.deepEqual(
      deployments.map(({ digest, version }) => [digest, version]),
      [
        [bench.digests[2], '2'],
        [bench.digests[1], '1'],
      ],
    );
    const text = (await say(['status', '--sysroot', sysroot])).stdout;
    assert.match(text, /^\* ostree-unverified-registry:.*os:2 \(default\)\n {4}Digest: {4}sha256:/);
  });

  it('upgrades when the tag has moved, and says so when it has not', async () => {
    const publish = (version: string) => [
      'encapsulate',
      `--repo=${bench.source}`,
      ...bench.plain,
      `small/${version}`,
      bench.image('moving'),
    ];
    assert.equal((await say(publish('1'))).status, 0);
    assert.equal((await rebase('moving')).status, 0);
    const upgrade = () => say(['upgrade', '--sysroot', sysroot, ...bench.plain]);
    assert.match((await upgrade()).stdout, /has not changed; there is nothing to upgrade to\.\n$/);
    assert.equal((await deploymentsOf(sysroot)).length, 1);
    assert.equal((await say(publish('2'))).status, 0);
    assert.match((await upgrade()).stdout, /^Deployed .*version 2/);
    assert.match(await released(sysroot), /VERSION=2/);
  });

  it('fetches nothing when it is on the image already, and deploys nothing', async () => {
    await rebase('1');
    const again = await rebase('1');
    assert.match(again.stdout, /^The host is on .* already; nothing was changed\.\n$/);
    assert.equal((await deploymentsOf(sysroot)).length, 1);
  });

  it('carries changes under /etc over to the next version', async () => {
    await rebase('1');
    const [first] = await deploymentsOf(sysroot);
    await writeFile(join(sysroot, `ostree/deploy/small/deploy/${first}.0/etc/hostname`), 'mine\n');
    await rebase('2');
    const [second] = await deploymentsOf(sysroot);
    assert.equal(
      await readFile(join(sysroot, `ostree/deploy/small/deploy/${second}.0/etc/hostname`), 'utf8'),
      'mine\n',
    );
  });

  it('keeps what is pinned through the updates that would remove it, until it is unpinned', async () => {
    await rebase('1');
    const [first = ''] = await deploymentsOf(sysroot);
    const pin = (...argv: string[]) => say(['pin', '--sysroot', sysroot, ...argv]);
    assert.match((await pin('0')).stdout, /^Pinned .*os:1 \(version 1\)\.\n$/);
    assert.match((await pin('0')).stdout, /is pinned already; nothing was changed\.\n$/);
    const change = (one: string) => say(['kargs', '--sysroot', sysroot, '--append', one]);
    await rebase('2');
    await change('a=1');
    await change('a=2');
    assert.equal((await deploymentsOf(sysroot)).at(-1), first);
    assert.match(await runCommand('ostree', ['admin', 'status', `--sysroot=${sysroot}`]), /Pinned: yes/);
    assert.match((await say(['status', '--sysroot', sysroot])).stdout, /os:1 \(rollback, pinned\)/);
    const unpinned = JSON.parse((await pin('--unpin', '2', '-o', 'json')).stdout) as {
      action: string;
      deployment: { checksum: string; pinned: boolean };
    };
    assert.deepEqual(
      [unpinned.action, unpinned.deployment.checksum, unpinned.deployment.pinned],
      ['Unpinned', first, false],
    );
    await change('a=3');
    assert.ok(!(await deploymentsOf(sysroot)).includes(first));
    assert.match((await pin('rollback')).stdout, /^Pinned .*os:2/);
    const none = await pin('booted');
    assert.deepEqual(
      [none.status, none.stderr],
      [1, `treeline: ${sysroot} has no deployment booted; \`treeline status\` shows those that it has.\n`],
    );
  });

  it('changes what the kernel is started with, with the way back to the arguments of before', async () => {
    await rebase('1');
    const [commit = ''] = await deploymentsOf(sysroot);
    const of = async (...argv: string[]) => {
      const { stdout } = await say(['kargs', '--sysroot', sysroot, '-o', 'json', ...argv]);
      return JSON.parse(stdout) as { action: string; kernelArguments: string[] };
    };
    assert.deepEqual(await of(), { action: 'None', kernelArguments: [] });
    const added = await of('--append', 'quiet', '--append', 'a=1');
    assert.deepEqual([added.action, added.kernelArguments], ['Deployed', ['quiet', 'a=1']]);
    const changed = await of('--delete', 'quiet', '--append=b=2');
    assert.deepEqual(changed.kernelArguments, ['a=1', 'b=2']);
    assert.equal((await of('--append', 'a=1', '--delete', 'c')).action, 'None');
    assert.equal((await say(['kargs', '--sysroot', sysroot])).stdout, 'a=1 b=2\n');
    assert.deepEqual(await deploymentsOf(sysroot), [commit, commit], 'the same commit');
    const deploy = join(sysroot, 'ostree/deploy/small/deploy');
    assert.equal(
      await readFile(join(deploy, `${commit}.2.origin`), 'utf8'),
      `[origin]\ncontainer-image-reference=ostree-unverified-registry:${bench.image('1')}\n`,
    );
    await say(['rollback', '--sysroot', sysroot]);
    assert.equal((await say(['kargs', '--sysroot', sysroot])).stdout, 'quiet a=1\n');
    await rebase('2');
    assert.equal((await say(['kargs', '--sysroot', sysroot])).stdout, 'quiet a=1\n', 'what comes next takes them over');
  });

  it('lists what it pulled, as ostree refs do', async () => {
    const repo = join(sysroot, 'ostree/repo');
    const pulled = await say(['image', 'pull', '--repo', repo, ...bench.plain, bench.image('1')]);
    assert.equal(pulled.status, 0, pulled.stderr);
    assert.match(pulled.stderr, /^Pulling: 100 %/m, 'plain progress lines without a terminal');
    const listed = JSON.parse((await say(['image', 'list', '--repo', repo, '-o', 'json'])).stdout) as {
      images: { image: string; mergeCommit: string; manifestDigest: string }[];
    };
    const [image] = listed.images;
    assert.deepEqual([image?.image, image?.manifestDigest], [`docker://${bench.image('1')}`, bench.digests[1]]);
    const refs = await runCommand('ostree', ['refs', `--repo=${repo}`, '--list', 'ostree/container/image']);
    const commit = await runCommand('ostree', ['rev-parse', `--repo=${repo}`, refs.trim()]);
    assert.equal(commit.trim(), image?.mergeCommit);
  });

  it('plays a boot in a sandbox: staged until the reboot, then booted, with a new boot ID', async () => {
    await rebase('1');
    const states = async () =>
      (
        JSON.parse((await say(['status', '--sysroot', sysroot, '--sandbox', '-o', 'json'])).stdout) as {
          deployments: { version: string; booted: boolean; staged: boolean; locked?: boolean }[];
        }
      ).deployments.map(({ version, booted, staged }) => ({ version, booted, staged }));
    assert.match((await rebase('2', '--sandbox')).stdout, /^Staged /);
    assert.deepEqual(await states(), [
      { version: '2', booted: false, staged: true },
      { version: '1', booted: true, staged: false },
    ]);
    assert.match(await released(sysroot), /VERSION=1/, 'nothing is deployed before the reboot');
    const bootID = () => readFile(join(sysroot, 'run/treeline/boot-id'), 'utf8');
    const before = await bootID();
    assert.match((await rebase('2', '--sandbox', '--reboot')).stdout, /Rebooting\.\n$/);
    assert.notEqual(await bootID(), before);
    assert.deepEqual(await states(), [
      { version: '2', booted: true, staged: false },
      { version: '1', booted: false, staged: false },
    ]);
    assert.match(await released(sysroot), /VERSION=2/);
  });

  it('writes and reads images in directories and archives', async () => {
    const archive = `oci-archive:${join(bench.folder, 'os.ociarchive')}:1`;
    assert.equal((await say(['encapsulate', '--repo', bench.source, 'small/1', archive])).status, 0);
    assert.equal((await say(['rebase', '--sysroot', sysroot, archive])).status, 0);
    assert.match(await released(sysroot), /VERSION=1/);
    const inspected = await runCommand('skopeo', ['inspect', archive]);
    assert.match(inspected, /"ostree\.bootable": "true"/);
  });
});

describe('bin/treeline', () => {
  it('runs from any directory and through symlinks', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-link-'));
    try {
      await symlink(TREELINE, join(folder, 'first'));
      await symlink('first', join(folder, 'second'));
      const { status, stdout } = await say(['--version'], { cwd: '/', program: [join(folder, 'second')] });
      assert.deepEqual([status, stdout.startsWith('treeline ')], [0, true]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('says what to do when the dependencies are not installed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-bare-'));
    try {
      await runCommand('mkdir', [join(folder, 'bin')]);
      await runCommand('cp', [TREELINE, join(folder, 'bin/treeline')]);
      const { status, stderr } = await say(['--version'], { program: [join(folder, 'bin/treeline')] });
      assert.equal(status, 1);
      assert.match(stderr, /^treeline: the dependencies are not installed; run `npm run setup` in \S+\.\n$/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
