import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImportError, OstreeError, Repository } from '../../ostree/index.ts';
import { RegistryError } from '../../registry/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import {
  blobPath,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  readLayout,
  refsOf,
  run,
  writeImage,
} from './import-fixture.ts';

describe('an image that cannot be imported is refused in one sentence, and leaves nothing half-written,', () => {
  let folder: string;
  let base: string;
  let count = 0;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder, [['usr/lib/large', 'x'.repeat(9_000_000)]]), folder, false);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function variant(change: (layout: string) => Promise<void>): Promise<string> {
    const layout = join(folder, `variant-${count++}`);
    await cp(base, layout, { recursive: true });
    await change(layout);
    return layout;
  }

  async function refuses(
    layout: string,
    kind: typeof ImportError | typeof OstreeError | typeof RegistryError,
    code: string,
    message: RegExp,
    path = join(folder, `repo-${count++}`),
  ): Promise<void> {
    await assert.rejects(pull(path, layout, { requireBootable: true }), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
    if ((await readdir(path)).length === 0) return;
    await fsck(path);
    assert.equal((await refsOf(path, 'ostree/container/image')).size, 0);
    const staged = (await readdir(join(path, 'tmp'))).filter((name) => name.startsWith('staging-'));
    assert.deepEqual(staged, []);
  }

  for (const enabled of ['signed', 'verity']) {
    it(`when its initramfs wants a composefs that is ${enabled}, which no import can give: that host would not come back`, async () => {
      const settings = `[composefs]\nenabled = ${enabled}\n`;
      const system = await makeSystem(await makeFolder(), [['usr/lib/ostree/prepare-root.conf', settings]]);
      const layout = await encapsulate(system, join(system, '..'), false);
      const path = join(folder, `repo-${count++}`);
      await assert.rejects(pull(path, layout, { requireBootable: true }), {
        code: 'UnsupportedRoot',
        message: new RegExp(`enabled = ${enabled} .*Build the image with enabled = yes`),
      });
      // Who wants to look at it may.
      assert.equal((await pull(path, layout)).alreadyPresent, true);
      await rm(join(system, '..'), { recursive: true });
    });
  }

  it('when it is in the format of 2021', async () => {
    const layout = await variant(async (path) => {
      const { manifest, config } = await readLayout(path);
      const { 'ostree.final-diffid': diffId, ...labels } = config.config.Labels;
      await writeImage(path, manifest, { ...config, config: { Labels: { ...labels, 'ostree.diffid': diffId! } } });
    });
    await refuses(layout, ImportError, 'NotOstreeImage', /legacy OSTree container format of 2021/);
  });

  it('when it is for another architecture', async () => {
    const layout = await variant(async (path) => {
      const { manifest, config } = await readLayout(path);
      await writeImage(path, manifest, { ...config, architecture: 's390x' });
    });
    await refuses(layout, RegistryError, 'NoPlatform', /offers linux\/s390x/);
  });

  it('when a layer that it calls ordinary is here as part of an OSTree commit, and the other way round', async () => {
    const bare = await variant(async (path) => {
      const { manifest, config } = await readLayout(path);
      const { 'ostree.final-diffid': _none, ...labels } = config.config.Labels;
      await writeImage(path, manifest, { ...config, config: { Labels: labels } });
    });
    for (const [first, second] of [
      [base, bare],
      [bare, base],
    ] as const) {
      const path = join(folder, `kinds-${count++}`);
      await pull(path, first);
      await assert.rejects(pull(path, second), { name: 'ImportError', code: 'InvalidImage', message: /of another/ });
    }
  });

  it('when it is not bootable', async () => {
    const layout = await variant(async (path) => {
      const { manifest, config } = await readLayout(path);
      const { 'ostree.bootable': _one, 'containers.bootc': _other, ...labels } = config.config.Labels;
      await writeImage(path, manifest, { ...config, config: { Labels: labels } });
    });
    await refuses(layout, ImportError, 'NotBootable', /does not have the ostree.bootable label/);
  });

  it('when the label names a layer that is not there', async () => {
    const layout = await variant(async (path) => {
      const { manifest, config } = await readLayout(path);
      config.config.Labels['ostree.final-diffid'] = `sha256:${'0'.repeat(64)}`;
      await writeImage(path, manifest, config);
    });
    await refuses(layout, ImportError, 'InvalidImage', /has no such layer/);
  });

  it('when a diff-id is not that of the layer', async () => {
    const layout = await derive(base, join(folder, 'lie'), [new Archive().file('usr/x', 'x').finish()]);
    const { manifest, config } = await readLayout(layout);
    config.rootfs.diff_ids[1] = `sha256:${'1'.repeat(64)}`;
    await writeImage(layout, manifest, config);
    await refuses(layout, ImportError, 'InvalidLayer', /has diff-id sha256:[0-9a-f]{64}, its image says sha256:1111/);
  });

  it('when a layer holds a device', async () => {
    const layer = new Archive().add('usr/lib/device', { type: '3' }).finish();
    const layout = await derive(base, join(folder, 'device'), [layer]);
    await refuses(layout, ImportError, 'InvalidLayer', /usr\/lib\/device is a character-device/);
  });

  it('when a layer climbs out of the tree', async () => {
    const layer = new Archive().file('usr/../../x', 'x').finish();
    const layout = await derive(base, join(folder, 'climb'), [layer]);
    await refuses(layout, ImportError, 'InvalidLayer', /'\.\.' in its path/);
  });

  it('when a blob is not the one that was asked for, even if it cannot be decompressed', async () => {
    const layout = await variant(async (path) => {
      const { manifest } = await readLayout(path);
      const blob = blobPath(path, manifest.layers[0]!.digest);
      const bytes = await readFile(blob);
      bytes.fill(0xaa, 2000, 3000);
      await writeFile(blob, bytes);
    });
    await refuses(layout, RegistryError, 'DigestMismatch', /sha256:/);
  });

  it('when the repository keeps no owners', async () => {
    const path = join(folder, 'bare-user-only');
    await run('ostree', `--repo=${path}`, 'init', '--mode=bare-user-only');
    assert.throws(() => Repository.open(path), { code: 'UnsupportedMode', message: /cannot keep the owners/ });
  });

  it('when the directory is no repository', async () => {
    const path = join(folder, 'nothing');
    await mkdir(path);
    assert.throws(() => Repository.open(path), { name: 'OstreeError', code: 'NotARepository' });
  });

  it('when the disk is full, or read-only', async () => {
    const mount = join(folder, 'mount');
    await mkdir(mount);
    await run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mount);
    try {
      const path = join(mount, 'repo');
      await refuses(base, OstreeError, 'NoSpace', /free/, path);
      // Without a reserve it is the file system itself that says no.
      await run('ostree', `--repo=${path}`, 'config', 'set', 'core.min-free-space-percent', '0');
      await refuses(base, OstreeError, 'NoSpace', /file system is full|would leave less/, path);
      await run('mount', '-o', 'remount,ro', mount);
      await assert.rejects(pull(path, base), { name: 'OstreeError', code: 'ReadOnly' });
    } finally {
      await run('umount', mount);
    }
  });

  it('when the caller has had enough', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await assert.rejects(pull(join(folder, 'aborted'), base, { signal }), /enough|abort/i);
    await fsck(join(folder, 'aborted'));
  });
});
