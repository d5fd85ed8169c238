/** The program that a kernel starts before the init of an initramfs, started as process 1 by this machine's kernel. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { initramfsDeadline } from '../../node-agent/host/initramfs-deadline.ts';

/** A root of this machine's programs, entered as process 1: a reset ends its process namespace, see reboot(2). */
const ENTER = `mount --rbind /usr "$1/usr"
for name in bin lib lib64; do ln -s "usr/$name" "$1/$name"; done
exec chroot "$1" /treeline-init one two`;
/** Nobody waits so long, unless nothing ends it. */
const HANGS = 'sleep 120';

/** Of an archive as kernels unpack it; all its numbers are of eight hexadecimal digits, behind a magic one of six. */
function firstFile(archive: Buffer): { name: string; mode: number; content: Buffer } {
  const field = (at: number) => Number.parseInt(archive.toString('latin1', 6 + 8 * at, 14 + 8 * at), 16);
  assert.equal(archive.toString('latin1', 0, 6), '070701');
  const [head, nameBytes] = [110, field(11)];
  const start = Math.ceil((head + nameBytes) / 4) * 4;
  const content = archive.subarray(start, start + field(6));
  return { name: archive.toString('utf8', head, head + nameBytes - 1), mode: field(1) & 0o777, content };
}

describe('the deadline of an initramfs', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-deadline-'));
    await mkdir(join(root, 'usr'));
  });
  afterEach(() => rm(root, { recursive: true }));

  async function boot(seconds: number, init: string) {
    const { name, mode, content } = firstFile(initramfsDeadline(seconds));
    await writeFile(join(root, name), content, { mode });
    await writeFile(join(root, 'init'), `#!/bin/sh\n${init}\n`, { mode: 0o755 });
    const namespaces = ['--pid', '--fork', '--kill-child', '--mount', '--propagation', 'private'];
    return spawnSync('unshare', [...namespaces, 'sh', '-c', ENTER, 'sh', root], { encoding: 'utf8' });
  }

  it('passes: the machine is reset while its init still runs', async () => {
    const { signal, stdout } = await boot(1, `echo "$$ $0 $*"; ${HANGS}`);
    assert.equal(stdout, '1 /init one two\n', 'the init is process 1, called as the kernel calls it');
    assert.equal(signal, 'SIGHUP');
  });

  it('means nothing once the initramfs has been deleted', async () => {
    const { status, stdout } = await boot(1, 'rm /treeline-init; sleep 3; echo up');
    assert.deepEqual([status, stdout], [0, 'up\n']);
  });

  it('takes no time from an init that ends before', async () => {
    const { status } = await boot(3600, 'exit 7');
    assert.equal(status, 7);
  });
});
