/** The script that has syslinux try a deployment once, as a shell runs it, on a host of stubs: a real one is in test/vm. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BOOT_ONCE_FILE, bootOnceScript, DEADLINE_FILE } from '../../node-agent/host/boot-once.ts';
import { describeFallback, readFallback, writeTrial } from '../../node-agent/host/trial.ts';
import { placeFile } from './placed-file.ts';

const OLD = 'a'.repeat(64);
const NEW = 'b'.repeat(64);
/** As libostree 2022.7 writes it. */
const FINALISED = `TIMEOUT 1
PROMPT 0

DEFAULT Debian GNU/Linux 12 (bookworm) 2 (ostree:0)
LABEL Debian GNU/Linux 12 (bookworm) 2 (ostree:0)
\tKERNEL /ostree/os-x/vmlinuz
\tINITRD /ostree/os-x/initramfs.img
\tAPPEND root=UUID=1 rw initramfs.panic ostree=/ostree/boot.0/os/x/0
LABEL Debian GNU/Linux 12 (bookworm) 1 (ostree:1)
\tKERNEL /ostree/os-y/vmlinuz
\tINITRD /ostree/os-y/initramfs.img
\tAPPEND root=UUID=1 rw ostree=/ostree/boot.0/os/y/0`;
/** What libostree writes for these entries with the next deployment, whatever else is in the file. */
const DEFAULT_OF_LIBOSTREE = /^DEFAULT .*\(ostree/m;

describe('booting once with syslinux', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-boot-once-'));
    await file('boot/loader/syslinux.cfg', FINALISED);
    await file('boot/syslinux/ldlinux.sys', '');
    await file(BOOT_ONCE_FILE, bootOnceScript(root));
    await writeTrial(root, { target: NEW, previous: OLD, stateroot: 'os', deadlineSeconds: 600, units: [] });
    await deployed('x', `${NEW}.0`);
    await deployed('y', `${OLD}.1`);
    for (const name of ['extlinux', 'fsfreeze', 'sync']) await stub(name, ':');
  });
  afterEach(() => rm(root, { recursive: true }));

  const file = (name: string, text: string) => placeFile(root, name, text);

  async function deployed(kernel: string, deployment: string): Promise<void> {
    await mkdir(join(root, 'sysroot/ostree/deploy/os/deploy', deployment), { recursive: true });
    await mkdir(join(root, 'sysroot/ostree/boot.0/os', kernel), { recursive: true });
    await symlink(`../../../deploy/os/deploy/${deployment}`, join(root, 'sysroot/ostree/boot.0/os', kernel, '0'));
  }

  /** A command that notes how it was called and what the boot loader would read then, and does as told. */
  async function stub(name: string, text: string): Promise<void> {
    const body = `#!/bin/sh\necho "${name} $* | $(grep ^DEFAULT "$ROOT/boot/loader/syslinux.cfg")" >> "$ROOT/calls"\n${text}\n`;
    await chmod(await file(`bin/${name}`, body), 0o755);
  }

  function script(command: string): number | null {
    const env = { PATH: `${root}/bin:${process.env['PATH']}`, ROOT: root };
    return spawnSync('sh', [join(root, BOOT_ONCE_FILE), command], { env }).status;
  }

  const configuration = () => readFile(join(root, 'boot/loader/syslinux.cfg'), 'utf8');
  const calls = async () => (await readFile(join(root, 'calls'), 'utf8')).replaceAll(root, '').split('\n');

  /** Lines of a label's entry. */
  function entry(text: string, label: string): readonly string[] {
    const lines = text.split('\n');
    const at = lines.indexOf(`LABEL ${label}`);
    return lines.slice(at + 1, at + 4).map((line) => line.trim());
  }

  it('is for hosts with extlinux and a configuration that has a default', async () => {
    assert.equal(script('check'), 0);
    await file('boot/loader/syslinux.cfg', 'TIMEOUT 1\n');
    assert.notEqual(script('check'), 0);
    await rm(join(root, 'boot/syslinux/ldlinux.sys'));
    assert.notEqual(script('check'), 0);
  });

  it('has the new entry tried once, with a reboot if it panics, and then the old one for good', async () => {
    assert.equal(script('arm'), 0);
    assert.equal(script('armed'), 0);
    const text = await configuration();
    assert.match(text, /^DEFAULT treeline-previous\(ostree\)$/m);
    assert.match(text, DEFAULT_OF_LIBOSTREE);
    assert.deepEqual(entry(text, 'treeline-trial(ostree)'), [
      'KERNEL /ostree/os-x/vmlinuz',
      'INITRD /ostree/os-x/initramfs.img',
      'APPEND root=UUID=1 rw initramfs.panic ostree=/ostree/boot.0/os/x/0 panic=10',
    ]);
    assert.deepEqual(entry(text, 'treeline-previous(ostree)'), [
      'KERNEL /ostree/os-y/vmlinuz',
      'INITRD /ostree/os-y/initramfs.img',
      'APPEND root=UUID=1 rw ostree=/ostree/boot.0/os/y/0',
    ]);
    const record = await readFallback(root);
    assert.deepEqual(record, { target: NEW, reason: 'BootFailed' });
    assert.match(describeFallback({ target: NEW, reason: 'BootFailed' }), /booted it once/);
  });

  it('can be cut off anywhere: only when it is sure that the new one is tried is the old one the default', async () => {
    script('arm');
    const once = (await calls()).filter((call) => call.startsWith('extlinux'));
    assert.deepEqual(once, [
      'extlinux --once=treeline-trial(ostree) /boot/syslinux | DEFAULT Debian GNU/Linux 12 (bookworm) 2 (ostree:0)',
    ]);
    await file('boot/loader/syslinux.cfg', FINALISED);
    await stub('extlinux', 'exit 1');
    assert.notEqual(script('arm'), 0);
    assert.match(await configuration(), /^DEFAULT Debian/m);
  });

  it('gives the initramfs of the new one alone a deadline, in an initramfs more', async () => {
    await file(DEADLINE_FILE, 'deadline');
    assert.equal(script('arm'), 0);
    const text = await configuration();
    assert.deepEqual(entry(text, 'treeline-trial(ostree)'), [
      'KERNEL /ostree/os-x/vmlinuz',
      'INITRD /ostree/os-x/initramfs.img,/syslinux/treeline-deadline.img',
      'APPEND root=UUID=1 rw initramfs.panic ostree=/ostree/boot.0/os/x/0 rdinit=/treeline-init panic=10',
    ]);
    assert.equal(await readFile(join(root, 'boot/syslinux/treeline-deadline.img'), 'utf8'), 'deadline');
    assert.equal(text.match(/treeline-init/g)?.length, 1);
    script('accept');
    await assert.rejects(readFile(join(root, 'boot/syslinux/treeline-deadline.img')), { code: 'ENOENT' });
  });

  it('names it as the boot loader does where /boot is no file system of its own', async () => {
    await file(DEADLINE_FILE, 'deadline');
    await file('boot/loader/syslinux.cfg', FINALISED.replaceAll(' /ostree/os-', ' /boot/ostree/os-'));
    script('arm');
    const [, initrd] = entry(await configuration(), 'treeline-trial(ostree)');
    assert.equal(initrd, 'INITRD /boot/ostree/os-x/initramfs.img,/boot/syslinux/treeline-deadline.img');
  });

  it('leaves alone what has no initramfs, or is started by another program of it', async () => {
    await file(DEADLINE_FILE, 'deadline');
    for (const other of [
      FINALISED.replace('initramfs.panic', 'rdinit=/other'),
      FINALISED.replaceAll(/\tINITRD .*\n/g, ''),
    ]) {
      await file('boot/loader/syslinux.cfg', other);
      assert.equal(script('arm'), 0);
      assert.doesNotMatch(await configuration(), /treeline-(init|deadline)/);
    }
  });

  it('keeps what the image says of panics', async () => {
    await file('boot/loader/syslinux.cfg', FINALISED.replace('initramfs.panic', 'panic=3'));
    script('arm');
    assert.doesNotMatch(await configuration(), /panic=10/);
  });

  it('does nothing when what was staged was not finalised', async () => {
    const before = FINALISED.replace('boot.0/os/x/0', 'boot.0/os/z/0');
    await file('boot/loader/syslinux.cfg', before);
    assert.equal(script('arm'), 0);
    assert.equal(await configuration(), before);
    assert.equal(await readFallback(root), undefined);
  });

  it('makes the new one the default when it has proven itself, twice if need be, with nothing of ours left', async () => {
    script('arm');
    script('arm');
    assert.equal(script('accept'), 0);
    assert.equal((await configuration()).trimEnd(), FINALISED);
    assert.notEqual(script('armed'), 0);
    const last = (await calls()).filter((call) => call.startsWith('extlinux')).at(-1);
    assert.match(last ?? '', /^extlinux --clear-once \/boot\/syslinux \| DEFAULT Debian/);
    assert.equal(script('accept'), 0);
    assert.equal((await configuration()).trimEnd(), FINALISED);
  });
});
