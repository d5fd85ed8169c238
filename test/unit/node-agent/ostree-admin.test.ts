import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { OstreeAdminHost } from '../../../node-agent/host/ostree-admin.ts';
import { readTrial } from '../../../node-agent/host/trial.ts';
import { checksumOf, digestOf } from './fake-host.ts';

const A = digestOf('a');
const B = digestOf('b');
const C = digestOf('c');
const LOCK_FILE = 'run/ostree/staged-deployment-locked';

/** A booted host as far as its `ostree` and its files show it: libostree of some version, in a folder. */
class Machine {
  readonly root: string;
  readonly version: string;
  readonly calls: string[] = [];
  staged: { digest: string; locked: boolean } | undefined;
  bootsOnce = true;
  /** What systemctl says of units. */
  unitStates = '';
  bootEntries = '';
  /** Digests in boot order; the first is booted. */
  deployed = [A, C];

  constructor(root: string, version: string) {
    this.root = root;
    this.version = version;
  }

  get #modern(): boolean {
    return Number(this.version) >= 2023.8;
  }

  run = async (argv: readonly string[]): Promise<string> => {
    const line = argv.join(' ');
    if (line === 'ostree --version') return `libostree:\n Version: '${this.version}'\n`;
    if (line === 'ostree admin status') return this.#status();
    // What is in commits: none has arguments of its own.
    if (line.startsWith('ostree --repo=')) return '';
    if (line.startsWith('sh -c cat')) return this.bootEntries;
    this.calls.push(line);
    if (line.endsWith('boot-once check') && !this.bootsOnce) throw new Error('no such boot loader');
    if (line.startsWith('systemctl show')) return this.unitStates;
    if (line.startsWith('ostree admin deploy')) await this.#deploy(argv);
    if (line === 'ostree admin undeploy 0') this.staged = undefined;
    if (line.startsWith('ostree admin lock-finalization') && this.staged !== undefined) {
      assert.ok(this.#modern, 'the command came with 2023.8');
      this.staged = { ...this.staged, locked: !line.endsWith('--unlock') };
    }
    return '';
  };

  #status(): string {
    const note = this.staged?.locked === true && this.#modern ? 'finalization locked' : 'staged';
    const lines = [
      ...(this.staged === undefined ? [] : [`  os ${checksumOf(this.staged.digest)}.0 (${note})`]),
      ...this.deployed.map((digest, at) => `${at === 0 ? '*' : ' '} os ${checksumOf(digest)}.0`),
    ];
    return `${lines.join('\n')}\n`;
  }

  async #deploy(argv: readonly string[]): Promise<void> {
    const checksum = argv.at(-1) ?? '';
    if (!argv.includes('--stage')) return;
    // Staging drops an old lock; --lock-finalization then makes the new one (ostree-admin-deploy(1)).
    await rm(join(this.root, LOCK_FILE), { force: true });
    this.staged = { digest: `sha256:${checksum}`, locked: argv.includes('--lock-finalization') };
    if (!this.#modern && this.staged.locked) await writeFile(join(this.root, LOCK_FILE), '');
  }
}

describe('a booted host', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-machine-'));
    for (const path of ['proc/sys/kernel/random', 'run/ostree', 'ostree/repo/objects']) {
      await mkdir(join(root, path), { recursive: true });
    }
    await writeFile(join(root, 'proc/sys/kernel/random/boot_id'), 'boot-1\n');
  });
  afterEach(() => rm(root, { recursive: true }));

  function machine(version: string) {
    const it = new Machine(root, version);
    const readImageFacts = async (checksum: string) => ({ digest: `sha256:${checksum}` });
    return { machine: it, host: new OstreeAdminHost({ sysroot: root, run: it.run, readImageFacts }) };
  }

  for (const version of ['2022.7', '2023.8', '2026.2']) {
    describe(`with libostree ${version}`, () => {
      it('reports what is booted, staged and kept', async () => {
        const { machine: it, host } = machine(version);
        assert.equal((await host.status()).staged, undefined);
        await host.stage({ checksum: checksumOf(B), origin: 'ostree-unverified-registry:r/os' });
        const { bootID, booted, staged, rollback } = await host.status();
        assert.deepEqual([bootID, booted?.digest, rollback?.digest], ['boot-1', A, C]);
        assert.deepEqual([staged?.digest, staged?.locked], [B, true]);
        assert.ok(
          it.calls[0]?.startsWith(
            'ostree admin deploy --os=os --origin-file=/run/treeline/origin --stage --lock-finalization',
          ),
        );
        assert.equal(
          await readFile(join(root, 'run/treeline/origin'), 'utf8'),
          '[origin]\ncontainer-image-reference=ostree-unverified-registry:r/os\n',
        );
      });

      it('stages once, and locks what somebody has unlocked', async () => {
        const { machine: it, host } = machine(version);
        const request = { checksum: checksumOf(B), origin: 'x' };
        await host.stage(request);
        await host.unlock(B);
        assert.equal((await host.status()).staged?.locked, false);
        await host.stage(request);
        assert.equal((await host.status()).staged?.locked, true);
        assert.equal(it.calls.filter((call) => call.includes(' deploy ')).length, 1);
      });

      it('unlocks only the digest that is staged', async () => {
        const { host } = machine(version);
        await assert.rejects(host.unlock(B), { code: 'OtherDigestStaged' });
        await host.stage({ checksum: checksumOf(B), origin: 'x' });
        await assert.rejects(host.unlock(C), { code: 'OtherDigestStaged' });
        assert.equal((await host.status()).staged?.locked, true);
        await host.unlock(B);
        assert.equal(existsSync(join(root, LOCK_FILE)), false);
      });

      it('discards what is staged, and only that', async () => {
        const { machine: it, host } = machine(version);
        await host.discard();
        assert.deepEqual(it.calls, []);
        await host.stage({ checksum: checksumOf(B), origin: 'x' });
        await host.discard();
        assert.equal(it.calls.at(-1), 'ostree admin undeploy 0');
      });
    });
  }

  it('stages with the kernel arguments of the running deployment, changed as ordered, whatever else is deployed', async () => {
    const { machine: it, host } = machine('2022.7');
    const entries = [
      [C, 'rd.debug'],
      [A, 'root=LABEL=root rw quiet'],
    ] as const;
    it.bootEntries = entries
      .map(([, options], at) => `title os\noptions ${options} ostree=/ostree/boot.1/os/x/${at}\n`)
      .join('');
    await mkdir(join(root, 'ostree/boot.1/os/x'), { recursive: true });
    for (const [at, [digest]] of entries.entries())
      await symlink(`../../../deploy/os/deploy/${checksumOf(digest)}.0`, join(root, `ostree/boot.1/os/x/${at}`));
    const kernelArguments = { append: ['rw', 'console=ttyS0'], delete: ['quiet'] };
    await host.stage({ checksum: checksumOf(B), origin: 'x', kernelArguments });
    const kargs = it.calls[0]?.split(' ').filter((word) => word.startsWith('--karg'));
    assert.deepEqual(kargs, [
      '--karg-none',
      ...['root=LABEL=root', 'rw', 'console=ttyS0'].map((one) => `--karg-append=${one}`),
    ]);
    it.staged = undefined;
    it.bootEntries = '';
    await assert.rejects(host.stage({ checksum: checksumOf(B), origin: 'x', kernelArguments }), {
      code: 'SysrootUnusable',
    });
    assert.equal(it.staged, undefined, 'nothing is staged with arguments that nobody knows');
  });

  it('honours the old form of the lock on a new libostree', async () => {
    const { machine: it, host } = machine('2026.2');
    it.staged = { digest: B, locked: false };
    await writeFile(join(root, LOCK_FILE), '');
    assert.equal((await host.status()).staged?.locked, true);
    await host.unlock(B);
    assert.equal((await host.status()).staged?.locked, false);
  });

  it('rolls back by reordering where libostree can, else by deploying again', async () => {
    const now = machine('2026.2');
    await now.host.rollback();
    assert.deepEqual(now.machine.calls, ['ostree admin set-default 1']);
    const old = machine('2022.7');
    await old.host.rollback();
    assert.deepEqual(old.machine.calls, [
      `ostree admin deploy --os=os --origin-file=/ostree/deploy/os/deploy/${checksumOf(C)}.0.origin ${checksumOf(C)}`,
    ]);
    old.machine.deployed = [A];
    await assert.rejects(old.host.rollback(), { code: 'NothingToRollBackTo' });
  });

  it('refuses to stage where it could not lock', async () => {
    const { machine: it, host } = machine('2021.6');
    await assert.rejects(host.stage({ checksum: checksumOf(B), origin: 'x' }), {
      code: 'HostUnsupported',
      message: /2022\.2/,
    });
    assert.deepEqual(it.calls, []);
  });

  describe('on trial', () => {
    for (const [whose, digest] of [
      ['runs', A],
      ['is staged', B],
    ] as const) {
      it(`is not to be where the /etc of what ${whose} is transient: nothing would bring the host back`, async () => {
        const { machine: it, host } = machine('2026.2');
        it.staged = { digest: B, locked: false };
        const file = `ostree/deploy/os/deploy/${checksumOf(digest)}.0/usr/lib/ostree/prepare-root.conf`;
        await mkdir(dirname(join(root, file)), { recursive: true });
        await writeFile(join(root, file), '[etc]\ntransient = true\n');
        await assert.rejects(host.arm(policy), { code: 'HostUnsupported', message: /hostRollback would not be there/ });
        assert.ok(!existsSync(join(root, 'etc/treeline/host-rollback')));
        await host.arm(undefined);
      });
    }

    const policy = { deadlineSeconds: 300, units: ['a.service', 'b.service'] };
    const boot = (it: Machine) => {
      it.staged = undefined;
      it.deployed = [B, A];
    };

    it('has a guard in /etc that its next boot starts, and a note of what is tried and what was before', async () => {
      const { host } = machine('2026.2');
      await host.stage({ checksum: checksumOf(B), origin: 'x' });
      await host.arm(policy);
      const unit = 'etc/systemd/system/sysinit.target.wants/treeline-host-rollback.service';
      assert.match(
        await readFile(join(root, unit), 'utf8'),
        /ExecStart=\/bin\/sh \/etc\/treeline\/host-rollback\/guard/,
      );
      assert.equal((await stat(join(root, 'etc/treeline/host-rollback/guard'))).mode & 0o777, 0o755);
      assert.deepEqual(await readTrial(root), {
        ...policy,
        target: checksumOf(B),
        previous: checksumOf(A),
        stateroot: 'os',
      });
      assert.equal((await host.status()).trial, undefined, 'what runs is not what is on trial');
    });

    it('says so until all its units are active', async () => {
      const { machine: it, host } = machine('2026.2');
      await host.stage({ checksum: checksumOf(B), origin: 'x' });
      await host.arm(policy);
      boot(it);
      assert.deepEqual((await host.status()).trial, { deadlineSeconds: 300 });
      for (const states of ['active\n\nactivating\n', 'active\n', '']) {
        it.unitStates = states;
        assert.equal(await host.endTrial(), false);
      }
      assert.deepEqual((await host.status()).trial, { deadlineSeconds: 300 });
      it.unitStates = 'active\n\nactive\n';
      assert.equal(await host.endTrial(), true);
      assert.equal(it.calls.at(-1), 'sh /etc/treeline/host-rollback/boot-once accept', 'the boot loader keeps to it');
      assert.equal((await host.status()).trial, undefined);
      assert.equal(await host.endTrial(), true, 'again does no harm');
    });

    it('is booted once, where the boot loader can, and what that may come to is no word against it while it runs', async () => {
      const dropIn = join(root, 'run/systemd/system/ostree-finalize-staged.service.d/treeline.conf');
      const { machine: it, host } = machine('2026.2');
      await host.stage({ checksum: checksumOf(B), origin: 'x' });
      await host.arm(policy);
      assert.match(
        await readFile(dropIn, 'utf8'),
        /ExecStopPost=\/bin\/sh \/etc\/treeline\/host-rollback\/boot-once arm\n/,
      );
      assert.equal(it.calls.at(-1), 'systemctl daemon-reload');
      const record = join(root, 'var/lib/treeline/host-rollback/fallback.json');
      await mkdir(dirname(record), { recursive: true });
      await writeFile(record, JSON.stringify({ target: checksumOf(B), reason: 'BootFailed' }));
      assert.equal((await host.status()).fallback?.reason, 'BootFailed');
      boot(it);
      assert.equal((await host.status()).fallback, undefined);
      it.unitStates = 'active\n\nactive\n';
      await host.endTrial();
      it.deployed = [A, B];
      assert.equal((await host.status()).fallback, undefined, 'it had proven itself');
    });

    it('is not booted once by a boot loader that cannot', async () => {
      const { machine: it, host } = machine('2026.2');
      await host.stage({ checksum: checksumOf(B), origin: 'x' });
      it.bootsOnce = false;
      await host.arm(policy);
      const dropIn = join(root, 'run/systemd/system/ostree-finalize-staged.service.d/treeline.conf');
      assert.doesNotMatch(await readFile(dropIn, 'utf8'), /boot-once/);
    });

    it('is no more when it is armed without a policy', async () => {
      const { machine: it, host } = machine('2026.2');
      await host.stage({ checksum: checksumOf(B), origin: 'x' });
      await host.arm(policy);
      await host.arm(undefined);
      boot(it);
      assert.equal((await host.status()).trial, undefined);
    });

    it('tells what its guard went back from, until something else is tried', async () => {
      const { host } = machine('2026.2');
      await mkdir(join(root, 'var/lib/treeline/host-rollback'), { recursive: true });
      const record = { target: checksumOf(C), reason: 'DeadlinePassed', uptimeSeconds: 301 };
      const file = join(root, 'var/lib/treeline/host-rollback/fallback.json');
      await writeFile(file, JSON.stringify(record));
      assert.deepEqual((await host.status()).fallback, {
        digest: C,
        checksum: checksumOf(C),
        reason: 'DeadlinePassed',
        message: 'it had not proven itself 301 s after the kernel started',
      });
      await writeFile(file, JSON.stringify(record).slice(0, 40));
      assert.equal((await host.status()).fallback, undefined, 'a note that the power cut off is none');
      await writeFile(file, JSON.stringify(record));
      await host.stage({ checksum: checksumOf(B), origin: 'x' });
      await host.arm(policy);
      assert.equal((await host.status()).fallback, undefined);
    });
  });

  it('tells why what was staged was not finalised, until the next boot is tried', async () => {
    const { host } = machine('2026.2');
    const file = join(root, 'var/lib/treeline/host-rollback/finalization-failure');
    await mkdir(dirname(file), { recursive: true });
    for (const [left, said, full] of [
      [1_000_000, 'error: Installing kernel: No space left on device', true],
      [0, 'ostree admin finalize-staged failed (exit-code)', true],
      [1_000_000, 'error: opendir: Input/output error', false],
    ] as const) {
      await writeFile(file, `boot-0\n${left}\n${said}\n`);
      const { finalizationFailure: failure } = await host.status();
      assert.equal(failure?.bootID, 'boot-0');
      assert.ok(failure.message.startsWith(said));
      assert.equal(failure.message.includes('/boot is full'), full);
    }
    await host.stage({ checksum: checksumOf(B), origin: 'x' });
    await host.arm(undefined);
    assert.equal((await host.status()).finalizationFailure, undefined);
  });

  it('reboots through systemd, with the reason', async () => {
    const { machine: it, host } = machine('2026.2');
    await host.reboot('because');
    assert.deepEqual(it.calls, ['systemctl reboot --message=because']);
  });

  it('that was not booted from a deployment is none', async () => {
    const { machine: it, host } = machine('2026.2');
    it.deployed = [];
    await assert.rejects(host.status(), { code: 'HostUnsupported' });
  });
});
