import assert from 'node:assert/strict';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandRunner, commandRunner } from '../../node-agent/host/command.ts';
import type { StageRequest } from '../../node-agent/host/host.ts';
import { SandboxHost } from '../../node-agent/host/sandbox.ts';
import { dropUnusedImages, imageFactsReader } from '../../node-agent/image-store.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { Bench, say } from './cli-bench.ts';

describe('the sandbox host, on a real sysroot', () => {
  let bench: Bench;
  let sysroot = '';
  let commit2 = '';
  before(async () => {
    bench = await Bench.start();
  });
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    sysroot = await bench.sysroot();
    const rebased = await say(['rebase', '--sysroot', sysroot, ...bench.plain, bench.image('1')]);
    assert.equal(rebased.status, 0, rebased.stderr);
    const repo = join(sysroot, 'ostree/repo');
    const pulled = await say(['image', 'pull', '--repo', repo, ...bench.plain, '-o', 'json', bench.image('2')]);
    commit2 = (JSON.parse(pulled.stdout) as { mergeCommit: string }).mergeCommit;
  });

  /** A fresh process's view of the machine. */
  function host(run?: CommandRunner): SandboxHost {
    return new SandboxHost({
      sysroot,
      runDirectory: join(sysroot, 'run/treeline'),
      readImageFacts: imageFactsReader(sysroot),
      ...(run === undefined ? {} : { run }),
    });
  }

  const stage = () => host().stage({ checksum: commit2, origin: `ostree-unverified-registry:${bench.image('2')}` });
  const state = async () => {
    const { booted, staged, rollback } = await host().status();
    return [booted?.version, staged?.version, staged?.locked, rollback?.version];
  };
  const fsck = () => runCommand('ostree', ['fsck', '--quiet', `--repo=${sysroot}/ostree/repo`]);

  it('does not boot what is staged and locked', async () => {
    await stage();
    assert.deepEqual(await state(), ['1', '2', true, undefined]);
    const { bootID } = await host().status();
    await host().reboot('test');
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    assert.notEqual((await host().status()).bootID, bootID);
  });

  it('is on trial in what it boots when it was armed, until that is ended', async () => {
    await stage();
    await host().arm({ deadlineSeconds: 600, units: [] });
    assert.equal((await host().status()).trial, undefined);
    await host().unlock(bench.digests[2]);
    await host().reboot('test');
    assert.deepEqual((await host().status()).trial, { deadlineSeconds: 600 });
    assert.equal(await host().endTrial(), true);
    assert.equal((await host().status()).trial, undefined);
  });

  it('boots what is staged and unlocked, and keeps the version before it', async () => {
    await stage();
    await assert.rejects(host().unlock(bench.digests[1]), { code: 'OtherDigestStaged' });
    await host().unlock(bench.digests[2]);
    assert.deepEqual(await state(), ['1', '2', false, undefined]);
    await host().reboot('test');
    assert.deepEqual(await state(), ['2', undefined, undefined, '1']);
    const { booted } = await host().status();
    assert.equal(booted?.digest, bench.digests[2]);
    assert.equal(booted?.image, `ostree-unverified-registry:${bench.image('2')}`);
    await host().rollback();
    assert.deepEqual(await state(), ['1', undefined, undefined, '2']);
    await fsck();
  });

  it('loses what is staged in a power cut, and has a new boot ID', async () => {
    await stage();
    await host().unlock(bench.digests[2]);
    const { bootID } = await host().status();
    await rm(join(sysroot, 'run/treeline'), { recursive: true });
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    assert.notEqual((await host().status()).bootID, bootID);
  });

  it('locks again, and discards', async () => {
    await stage();
    await host().unlock(bench.digests[2]);
    await host().lock();
    assert.deepEqual(await state(), ['1', '2', true, undefined]);
    await host().discard();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    await host().lock();
    await host().discard();
  });

  it('refuses to stage what could never be deployed', async () => {
    await assert.rejects(host().stage({ checksum: '0'.repeat(64), origin: 'x' }), { code: 'SysrootUnusable' });
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
  });

  it('changes the kernel arguments of what it boots as it is told, once however often, and keeps all others', async () => {
    const options = async () => {
      const [entry] = await bootEntries(sysroot);
      return entry?.filter((one) => !one.startsWith('ostree='));
    };
    const { booted } = await host().status();
    const first = { checksum: booted?.checksum ?? '', origin: `ostree-unverified-registry:${bench.image('1')}` };
    const second = { checksum: commit2, origin: `ostree-unverified-registry:${bench.image('2')}` };
    const boot = async (request: StageRequest, digest: string) => {
      await host().stage(request);
      await host().unlock(digest);
      await host().reboot('test');
      assert.equal((await host().status()).booted?.digest, digest);
    };
    const before = await options();
    const append = ['console=tty0', 'console=ttyS0,115200', 'mitigations=auto'];
    await boot({ ...second, kernelArguments: { append } }, bench.digests[2]);
    assert.deepEqual(await options(), [...(before ?? []), ...append]);
    const change = { append: ['console=tty0', 'quiet'], delete: ['mitigations=auto', 'never=there'] };
    await boot({ ...first, kernelArguments: change }, bench.digests[1]);
    const changed = [...(before ?? []), 'console=tty0', 'console=ttyS0,115200', 'quiet'];
    assert.deepEqual(await options(), changed);
    await boot(second, bench.digests[2]);
    assert.deepEqual(await options(), changed, 'without a word about them they stay');
    await fsck();
  });

  it('completes a reboot that was cut off before or after any command, exactly once', async () => {
    for (let cut = 0; ; cut += 1) {
      await stage();
      await host().unlock(bench.digests[2]);
      const { bootID } = await host().status();
      const killer = dyingRunner(cut);
      const rebooted = host(killer.run).reboot('test');
      const survived = await Promise.race([rebooted.then(() => true), killer.dead.then(() => false)]);
      const after = await host().status();
      const again = await host().status();
      assert.notEqual(after.bootID, bootID, `cut ${cut}`);
      assert.equal(again.bootID, after.bootID, 'a boot is completed once');
      assert.equal(after.booted?.digest, bench.digests[2]);
      assert.equal(after.staged, undefined);
      await fsck();
      if (survived) break;
      await host().rollback();
      assert.equal((await host().status()).booted?.digest, bench.digests[1]);
    }
  });

  it('keeps the images that are deployed or staged, and drops the others', async () => {
    const repo = join(sysroot, 'ostree/repo');
    const images = async () => {
      const { stdout } = await say(['image', 'list', '--repo', repo, '-o', 'json']);
      return (JSON.parse(stdout) as { images: { version: string }[] }).images.map(({ version }) => version);
    };
    const cleanUp = async () => dropUnusedImages(sysroot, await host().status());
    await stage();
    await cleanUp();
    assert.deepEqual(await images(), ['1', '2']);
    await host().discard();
    await cleanUp();
    assert.deepEqual(await images(), ['1']);
    await assert.rejects(stage(), { code: 'SysrootUnusable' }, 'its objects are gone');
    await fsck();
  });

  it('stays on the old deployment when finalisation fails, and says why', async () => {
    await stage();
    await host().unlock(bench.digests[2]);
    const real = commandRunner();
    const broken: CommandRunner = async (argv) => {
      if (argv.includes('deploy')) throw new Error('ostree admin deploy failed: No space left on device');
      return real(argv);
    };
    await host(broken).reboot('test');
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    assert.match(await readFile(join(sysroot, 'run/treeline/finalize-failure.stamp'), 'utf8'), /No space left/);
  });
});

/** What the kernels of a sysroot are started with, as a boot loader reads it: of the default deployment first. */
async function bootEntries(sysroot: string): Promise<readonly string[][]> {
  const folder = join(sysroot, 'boot/loader/entries');
  const names = (await readdir(folder)).toSorted().reverse();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return texts.map((text) => (/^options (.*)$/m.exec(text)?.[1] ?? '').split(' '));
}

/**
 * Runs commands until `cut` steps are done (a step is the instant before or after a command), then is dead: as in a
 * killed process, no call ever returns, so nothing after it runs and nothing can be caught.
 */
function dyingRunner(cut: number): { readonly run: CommandRunner; readonly dead: Promise<void> } {
  const real = commandRunner();
  const { promise: dead, resolve } = Promise.withResolvers<void>();
  let steps = 0;
  const step = async (): Promise<void> => {
    if (steps++ < cut) return;
    resolve();
    await new Promise(() => {});
  };
  const run: CommandRunner = async (argv) => {
    await step();
    const output = await real(argv);
    await step();
    return output;
  };
  return { run, dead };
}
