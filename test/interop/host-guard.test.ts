/** The guard's script, as a shell runs it, on a host of stubs: what it does on a real one, test/vm shows. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guardScript } from '../../node-agent/host/host-guard.ts';
import { describeFallback, readFallback, removeTrial, TRIAL_FILE, writeTrial } from '../../node-agent/host/trial.ts';
import { placeFile } from './placed-file.ts';

const OLD = 'a'.repeat(64);
const NEW = 'b'.repeat(64);
const OTHER = 'c'.repeat(64);
const STATUS = `* os ${NEW}.0\n    Version: 3\n  other ${OTHER}.0\n  os ${OLD}.1 (rollback)\n    Version: 2\n`;

describe('the guard of a host', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-guard-'));
    await file('proc/cmdline', 'quiet ostree=/ostree/boot.1/os/x/0 rw\n');
    await file('proc/uptime', '41.50 80.00\n');
    await mkdir(join(root, 'sysroot/ostree/boot.1/os/x'), { recursive: true });
    await mkdir(join(root, 'sysroot/ostree/deploy/os/deploy', `${NEW}.0`), { recursive: true });
    await symlink(`../../../deploy/os/deploy/${NEW}.0`, join(root, 'sysroot/ostree/boot.1/os/x/0'));
    await stub('sleep', ':');
    await stub('sync', ':');
    await stub('mount', ':');
    await stub('systemctl', 'case "$1" in is-failed) [ -e "$ROOT/failed" ] ;; esac');
    await stub('ostree', `case "$2" in status) cat "$ROOT/status" ;; set-default) [ -e "$ROOT/modern" ] ;; esac`);
    await file('status', STATUS);
  });
  afterEach(() => rm(root, { recursive: true }));

  const file = (name: string, text: string) => placeFile(root, name, text);

  /** A command that notes how it was called, then does as told. */
  async function stub(name: string, text: string): Promise<void> {
    await chmod(await file(`bin/${name}`, `#!/bin/sh\necho "${name} $*" >> "$ROOT/calls"\n${text}\n`), 0o755);
  }

  const arm = (target: string, units: readonly string[] = [], deadlineSeconds = 600) =>
    writeTrial(root, { target, previous: OLD, stateroot: 'os', deadlineSeconds, units });

  async function guard(): Promise<{ calls: readonly string[]; said: string }> {
    const child = spawn('sh', ['-c', guardScript(root)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: `${root}/bin:${process.env['PATH']}`, ROOT: root },
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 0, said);
    const calls = (await readFile(join(root, 'calls'), 'utf8').catch(() => '')).split('\n').slice(0, -1);
    return { calls: calls.filter((call) => !/^(sleep|sync|mount|ostree admin status)/.test(call)), said };
  }

  it('does nothing without a trial, and in another deployment than the one on trial', async () => {
    assert.deepEqual((await guard()).calls, []);
    await arm(OTHER, ['broken.service']);
    await file('failed', '');
    assert.deepEqual((await guard()).calls, []);
    assert.equal(await readFallback(root), undefined);
  });

  it('stops looking when the trial is over', async () => {
    await arm(NEW);
    await stub('sleep', 'rm "$ROOT/etc/treeline/host-rollback/trial"');
    assert.deepEqual((await guard()).calls, []);
    await removeTrial(root);
  });

  it('goes back when a unit has failed, with a libostree that can change the boot order', async () => {
    await arm(NEW, ['fine.service', 'broken.service']);
    await file('failed', '');
    await file('modern', '');
    await stub('systemctl', '[ "$1" != is-failed ] || [ "$3" = broken.service ]');
    const { calls } = await guard();
    assert.deepEqual(calls.slice(0, 2), [
      'systemctl is-failed --quiet fine.service',
      'systemctl is-failed --quiet broken.service',
    ]);
    // The third in the boot order, counted from 0, though another stateroot lies in between.
    assert.deepEqual(calls.slice(2), [
      'ostree admin set-default --help',
      'ostree admin set-default 2',
      'systemctl --no-block reboot',
      'systemctl --force --force reboot',
    ]);
    const record = await readFallback(root);
    assert.deepEqual(record, { target: NEW, reason: 'UnitFailed', unit: 'broken.service', uptimeSeconds: 41 });
    assert.equal(
      describeFallback({ target: NEW, reason: 'UnitFailed', unit: 'broken.service', uptimeSeconds: 41 }),
      'the unit broken.service had failed 41 s after the kernel started',
    );
  });

  it('goes back at the deadline, by deploying anew what was before, with a libostree that cannot do otherwise', async () => {
    await arm(NEW, [], 41);
    const { calls } = await guard();
    assert.deepEqual(calls.slice(1, 2), [
      `ostree admin deploy --os=os --origin-file=/ostree/deploy/os/deploy/${OLD}.1.origin ${OLD}`,
    ]);
    assert.deepEqual(await readFallback(root), { target: NEW, reason: 'DeadlinePassed', uptimeSeconds: 41 });
  });

  it('deploys anew with the kernel arguments of before, not with those of what is on trial', async () => {
    await arm(NEW, [], 1);
    const target = `../../../deploy/os/deploy/${OLD}.1`;
    await mkdir(join(root, 'sysroot/ostree/deploy/os/deploy', `${OLD}.1`));
    await symlink(target, join(root, 'sysroot/ostree/boot.1/os/x/1'));
    const entry = (options: string) => `title os\noptions ${options}\nlinux /vmlinuz\n`;
    await file('boot/loader/entries/ostree-2-os.conf', entry('rw trial=1 ostree=/ostree/boot.1/os/x/0'));
    await file(
      'boot/loader/entries/ostree-1-os.conf',
      entry('rw\tquiet glob=/* ostree=/ostree/boot.1/os/x/1 not.ostree=1'),
    );
    const { calls } = await guard();
    assert.deepEqual(calls.slice(1, 2), [
      `ostree admin deploy --os=os --origin-file=/ostree/deploy/os/deploy/${OLD}.1.origin --karg-none ` +
        `--karg-append=rw --karg-append=quiet --karg-append=glob=/* --karg-append=not.ostree=1 ${OLD}`,
    ]);
  });

  it('waits as long as there is time and no unit has failed', async () => {
    await arm(NEW, ['slow.service'], 42);
    await stub('sleep', 'echo "42.00 0" > "$ROOT/proc/uptime"');
    const { calls } = await guard();
    assert.equal(calls.filter((call) => call.startsWith('systemctl is-failed')).length, 2);
    assert.equal((await readFallback(root))?.uptimeSeconds, 42);
  });

  it('tries again when going back fails', async () => {
    await arm(NEW, [], 1);
    await stub(
      'ostree',
      `case "$2" in status) cat "$ROOT/status" ;; set-default) false ;; deploy) [ -e "$ROOT/again" ] || { touch "$ROOT/again"; false; } ;; esac`,
    );
    const { calls, said } = await guard();
    assert.equal(calls.filter((call) => call.startsWith('ostree admin deploy')).length, 2);
    assert.match(said, /going back failed; trying again/);
  });

  it('reads what the agent wrote, and the agent reads nothing from a note that is cut off', async () => {
    await arm(NEW, ['a.service']);
    const text = await readFile(join(root, TRIAL_FILE), 'utf8');
    const { parseTrial } = await import('../../node-agent/host/trial.ts');
    assert.deepEqual(parseTrial(text), {
      target: NEW,
      previous: OLD,
      stateroot: 'os',
      deadlineSeconds: 600,
      units: ['a.service'],
    });
    assert.equal(parseTrial(text.slice(0, 100)), undefined);
  });
});
