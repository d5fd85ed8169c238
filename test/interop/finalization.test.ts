/** What is written down when a finalisation fails, as a shell writes it in the last moments of a boot. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  afterFinalizationScript,
  prepareFinalization,
  readFinalizationFailure,
} from '../../node-agent/host/finalization.ts';
import { placeFile } from './placed-file.ts';

describe('the end of a boot in which something was to be finalised', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-finalization-'));
    await file('proc/sys/kernel/random/boot_id', 'boot-1\n');
    for (const name of ['boot', 'sysroot']) await mkdir(join(root, name));
    await prepareFinalization(root, async () => '', false);
  });
  afterEach(() => rm(root, { recursive: true }));

  const file = (name: string, text: string) => placeFile(root, name, text);

  function end(SERVICE_RESULT: string): void {
    const env = { PATH: `${root}/bin:${process.env['PATH']}`, SERVICE_RESULT };
    const { status, stderr } = spawnSync('sh', ['-c', afterFinalizationScript(root)], { env, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }

  it('leaves nothing behind when it went well', async () => {
    end('success');
    assert.equal(await readFinalizationFailure(root), undefined);
  });

  it('has /boot written to its place when it went well, for boot loaders that read no journals, where it is a file system', async () => {
    await chmod(await file('bin/mountpoint', `#!/bin/sh\n[ -e ${root}/apart ]\n`), 0o755);
    await chmod(await file('bin/fsfreeze', `#!/bin/sh\necho "$@" >> ${root}/calls\n`), 0o755);
    end('success');
    assert.ok(!existsSync(join(root, 'calls')), 'that would freeze everything');
    await file('apart', '');
    end('exit-code');
    assert.ok(!existsSync(join(root, 'calls')));
    end('success');
    assert.equal(await readFile(join(root, 'calls'), 'utf8'), `--freeze ${root}/boot\n--unfreeze ${root}/boot\n`);
  });

  it('leaves what libostree has said, and the boot, behind', async () => {
    const stamp = await file('boot/ostree/finalize-failure.stamp', 'error: Installing kernel: No space left on device');
    await utimes(stamp, new Date(), new Date(Date.now() + 2000));
    end('exit-code');
    const failure = await readFinalizationFailure(root);
    assert.equal(failure?.bootID, 'boot-1');
    assert.match(failure.message, /^error: Installing kernel: No space left on device; \/boot is full: /);
  });

  it('does not take for its own what was said at the end of another boot', async () => {
    const stamp = await file('boot/ostree/finalize-failure.stamp', 'error: long ago');
    await utimes(stamp, new Date(0), new Date(0));
    end('timeout');
    assert.equal((await readFinalizationFailure(root))?.message, 'ostree admin finalize-staged failed (timeout)');
  });
});
