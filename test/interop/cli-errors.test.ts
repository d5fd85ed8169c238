import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, readdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { Bench, type Said, say, writeAuthFile } from './cli-bench.ts';

const USERS = { fleet: 'right' };
/** A file that does not compress, and a disk that has room for half of it. */
const BIG_BYTES = 24 * 1024 * 1024;
const SMALL_DISK = '12m';

/** One line, one sentence, the program's name in front, no stack, no second thought. */
function assertSentence({ status, stdout, stderr }: Said, expected: RegExp): void {
  const lines = stderr
    .trimEnd()
    .split('\n')
    .filter((line) => !/^(Resolving|Pulling|Importing): /.test(line));
  assert.equal(status, 1, stderr);
  assert.equal(stdout, '');
  assert.equal(lines.length, 1, stderr);
  assert.match(lines[0] ?? '', /^treeline: \S.*[.!?]$/);
  assert.match(lines[0] ?? '', expected);
}

describe('what a new user gets wrong', () => {
  let bench: Bench;
  let login: readonly string[] = [];
  before(async () => {
    bench = await Bench.start(USERS);
    login = await writeAuthFile(join(bench.folder, 'right.json'), bench.registry.host, USERS);
    await publishBigImage();
  });
  after(() => bench[Symbol.asyncDispose]());

  async function repository(name: string): Promise<string> {
    const path = join(bench.folder, name);
    await mkdir(path, { recursive: true });
    await runCommand('ostree', ['init', `--repo=${path}`, '--mode=bare']);
    return path;
  }

  async function publishBigImage(): Promise<void> {
    const tree = join(bench.folder, 'big-tree');
    await mkdir(tree);
    await writeFile(join(tree, 'big'), randomBytes(BIG_BYTES));
    const commit = ['commit', `--repo=${bench.source}`, '--branch=big', '--tree=ref=small/1', `--tree=dir=${tree}`];
    await runCommand('ostree', commit);
    const target = bench.image('big');
    const argv = ['encapsulate', '--compression-fast', '--repo', bench.source, ...bench.plain, ...login, 'big', target];
    const { status, stderr } = await say(argv);
    assert.equal(status, 0, stderr);
  }

  /** Whatever failed, the repository is clean and the right command completes it. */
  async function assertUnharmed(repo: string): Promise<void> {
    await runCommand('ostree', ['fsck', '--quiet', `--repo=${repo}`]);
    const again = await say(['image', 'pull', '--repo', repo, ...bench.plain, ...login, bench.image('1')]);
    assert.equal(again.status, 0, again.stderr);
  }

  const pull = (repo: string, image: string, ...flags: readonly string[]) =>
    say(['image', 'pull', '--repo', repo, ...bench.plain, ...flags, image]);

  it('is told that the registry wants credentials', async () => {
    const said = await pull(await repository('anonymous'), bench.image('1'));
    assertSentence(said, /credentials|log in|unauthori[sz]ed/i);
  });

  it('is told that the credentials are wrong, without seeing them', async () => {
    const wrong = await writeAuthFile(join(bench.folder, 'wrong.json'), bench.registry.host, { fleet: 'wr0ng-pass' });
    const said = await pull(await repository('wrong'), bench.image('1'), ...wrong);
    assertSentence(said, new RegExp(bench.registry.host));
    assert.ok(!said.stderr.includes('wr0ng-pass'));
  });

  it('is told that there is no such tag', async () => {
    const said = await pull(await repository('tag'), bench.image('no-such-tag'), ...login);
    assertSentence(said, /no-such-tag/);
  });

  it('is told that the registry does not answer, and how often it was asked', async () => {
    const port = await unusedPort();
    const said = await say([
      'image',
      'pull',
      `--repo=${await repository('down')}`,
      `--plain-http=127.0.0.1:${port}`,
      `127.0.0.1:${port}/os:1`,
    ]);
    assertSentence(said, new RegExp(`127\\.0\\.0\\.1:${port}.*(attempt|tries|tried|times)`));
  });

  it('is told that the registry is not spoken to in plain HTTP unless wanted', async () => {
    const said = await say(['image', 'pull', '--repo', await repository('tls'), ...login, bench.image('1')]);
    assertSentence(said, new RegExp(bench.registry.host));
  });

  it('is told that an image is an ordinary one, not an operating system', async () => {
    const ordinary = join(bench.folder, 'ordinary');
    await runCommand('umoci', ['init', '--layout', ordinary]);
    await runCommand('umoci', ['new', '--image', `${ordinary}:latest`]);
    const sysroot = await bench.sysroot();
    const said = await say(['rebase', '--sysroot', sysroot, `oci:${ordinary}:latest`]);
    assertSentence(said, /does not have the ostree\.bootable label; choose an image whose commit is marked bootable/);
    await assertUnharmed(join(sysroot, 'ostree/repo'));
  });

  it('is told that the image is for another architecture', async () => {
    const target = bench.image('other-cpu');
    const made = await say([
      'encapsulate',
      '--repo',
      bench.source,
      ...bench.plain,
      ...login,
      '--architecture=s390x',
      'small/1',
      target,
    ]);
    assert.equal(made.status, 0, made.stderr);
    const sysroot = await bench.sysroot();
    const said = await say(['rebase', '--sysroot', sysroot, ...bench.plain, ...login, target]);
    assertSentence(said, /s390x/);
  });

  it('is told that the disk is full; what is there stays clean', async () => {
    const disk = join(bench.folder, 'small-disk');
    await mkdir(disk);
    await runCommand('mount', ['-t', 'tmpfs', '-o', `size=${SMALL_DISK}`, 'tmpfs', disk]);
    try {
      await runCommand('ostree', ['init', `--repo=${disk}/repo`, '--mode=bare']);
      await runCommand('ostree', ['config', `--repo=${disk}/repo`, 'set', 'core.min-free-space-size', '1MB']);
      // Once foreseen, from the size of the layers; once met on the way, because somebody else fills the disk.
      assertSentence(await pull(join(disk, 'repo'), bench.image('big'), ...login), /free/i);
      await runCommand('ostree', ['config', `--repo=${disk}/repo`, 'set', 'core.min-free-space-size', '0MB']);
      await writeFile(join(disk, 'ballast'), Buffer.alloc(11 * 1024 * 1024));
      assertSentence(await pull(join(disk, 'repo'), bench.image('big'), ...login), /free|space|full/i);
      await runCommand('rm', [join(disk, 'ballast')]);
      await assertUnharmed(join(disk, 'repo'));
    } finally {
      await runCommand('umount', [disk]);
    }
  });

  it('is told that the repository is read-only', async () => {
    const repo = await repository('read-only');
    await runCommand('mount', ['--bind', '-o', 'ro', repo, repo]);
    try {
      assertSentence(await pull(repo, bench.image('1'), ...login), /read-only/);
    } finally {
      await runCommand('umount', [repo]);
    }
    await assertUnharmed(repo);
  });

  it('is told that there is no repository', async () => {
    assertSentence(
      await pull(join(bench.folder, 'nowhere'), bench.image('1'), ...login),
      /nowhere is not an OSTree repository/,
    );
  });

  it('is told that this machine was not booted from OSTree', async () => {
    assertSentence(
      await say(['status']),
      /not booted from an OSTree deployment; name a sysroot on disk with --sysroot DIR/,
    );
  });

  it('is told that there is no such stateroot, before anything is fetched', async () => {
    const sysroot = await bench.sysroot();
    const said = await say([
      'rebase',
      '--sysroot',
      sysroot,
      '--os',
      'nope',
      ...bench.plain,
      ...login,
      bench.image('1'),
    ]);
    assertSentence(said, /has no stateroot nope; make it with `ostree admin os-init/);
    assert.ok(!said.stderr.includes('Pulling'));
  });

  it('is told that there is nothing to roll back to, nor to upgrade', async () => {
    const sysroot = await bench.sysroot();
    assertSentence(await say(['rollback', '--sysroot', sysroot]), /only one deployment|no deployment/);
    assertSentence(await say(['upgrade', '--sysroot', sysroot]), /does not follow a container image yet/);
  });

  it('is told that a reference is no reference', async () => {
    const repo = await repository('reference');
    for (const image of ['host.example/UPPER', 'ostree-nonsense:docker://a/b', 'docker:a/b', '']) {
      const said = await pull(repo, image);
      assert.equal(said.status, 1, said.stderr);
      assert.match(said.stderr, /^treeline: .*\n$/);
    }
  });

  it('is told that the machine’s policy does not accept an image, instead of getting it unchecked', async () => {
    const image = `ostree-image-signed:docker://${bench.image('1')}`;
    const reject = [{ type: 'reject' }];
    const anything = [{ type: 'insecureAcceptAnything' }];
    const signed = [{ type: 'sigstoreSigned', keyPath: '/none' }];
    const ours = (requirements: object) => ({
      default: reject,
      transports: { docker: { [bench.registry.host]: requirements } },
    });
    const rows: readonly (readonly [policy: object, message: RegExp | undefined])[] = [
      [{ default: reject }, /policy\.json rejects docker:\/\//],
      [{ default: anything }, /accepts anything by default, and .* must be signed/],
      [ours(signed), /The key \/none of the signature policy cannot be read/],
      [{ ...ours(anything), more: 1 }, /policy\.json is not valid/],
      [ours(anything), undefined],
    ];
    for (const [at, [policy, message]] of rows.entries()) {
      const repo = await repository(`signed${at}`);
      const file = join(bench.folder, 'policy.json');
      await writeFile(file, JSON.stringify(policy));
      const environment = { CONTAINERS_POLICY_JSON: file };
      const said = await say(['image', 'pull', '--repo', repo, ...bench.plain, ...login, image], { environment });
      if (message === undefined) assert.equal(said.status, 0, said.stderr);
      else {
        assertSentence(said, message);
        assert.deepEqual(await readdir(join(repo, 'refs/heads')), []);
      }
    }
  });

  it('is told that a remote is not configured, before anything is fetched', async () => {
    const repo = await repository('remote');
    const said = await pull(repo, `ostree-remote-image:fedora:docker://${bench.image('1')}`, ...login);
    assertSentence(said, /ostree remote fedora is not configured here/);
    assert.deepEqual(await readdir(join(repo, 'refs/heads')), []);
  });

  it('is told that root is needed, before anything is fetched', async () => {
    const sysroot = await bench.sysroot();
    const nobody = 65_534;
    await chown(sysroot, nobody, nobody);
    const said = await say(['rebase', '--sysroot', sysroot, ...bench.plain, bench.image('1')], {
      program: ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', TREELINE],
    });
    assertSentence(said, /needs root; run this with sudo/);
  });

  it('gets the same as JSON, with a code for programs', async () => {
    const { status, stdout, stderr } = await pull(
      await repository('json'),
      bench.image('none'),
      ...login,
      '-o',
      'json',
    );
    assert.deepEqual([status, stdout], [1, '']);
    const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
    assert.equal(error.code, 'ImageNotFound');
  });

  it('can interrupt a pull and go on later', async () => {
    const repo = await repository('interrupted');
    const argv = ['image', 'pull', '--repo', repo, ...bench.plain, ...login, bench.image('big')];
    const child = spawn(TREELINE, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      if (text.includes('Pulling:')) child.kill('SIGINT');
    });
    const [status] = (await once(child, 'close')) as [number | null];
    assert.equal(status, 130, stderr);
    assert.match(stderr, /^treeline: Interrupted; what was fetched so far is kept\.$/m);
    await assertUnharmed(repo);
  });
});

async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
