/** An image whose `/etc` ends with its boot: what the agent leaves there for that boot would not be there. */
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Order } from '../../api/index.ts';
import { failureOf } from '../../node-agent/failure.ts';
import { imagePuller } from '../../node-agent/image-store.ts';
import { Repository } from '../../ostree/index.ts';
import { encapsulate, makeFolder, makeSystem } from './import-fixture.ts';

describe('an image with a transient /etc', () => {
  let folder = '';
  let layout = '';
  before(async () => {
    folder = await makeFolder();
    const settings = ['usr/lib/ostree/prepare-root.conf', '[etc]\ntransient = true\n'] as const;
    layout = await encapsulate(await makeSystem(folder, [settings]), folder, false);
  });
  after(() => rm(folder, { recursive: true }));

  async function pull(more: Partial<Order>) {
    const sysroot = join(folder, 'host');
    await rm(sysroot, { recursive: true, force: true });
    await mkdir(join(sysroot, 'ostree'), { recursive: true });
    Repository.create(join(sysroot, 'ostree/repo'), 'bare');
    const puller = imagePuller({
      sysroot,
      registry: {},
      environment: process.env,
      readPullCredentials: () => Promise.reject(new Error('no secret')),
      prepare: () => Promise.resolve(),
      retainVar: () => Promise.resolve(true),
      onWarning: () => undefined,
    });
    const image = `ostree-unverified-image:oci:${layout}:base`;
    const order: Order = { id: 'o', image, digest: `sha256:${'0'.repeat(64)}`, goal: 'Stage', ...more };
    const { signal } = new AbortController();
    const how = { accept: () => undefined, onProgress: () => undefined, limits: () => undefined, signal };
    const pulled = await puller(order, how);
    await pulled.release();
  }

  it('is used, and refused as the fault of the image where the host is to go back by itself', async () => {
    await pull({});
    const hostRollback = { deadlineSeconds: 300, units: [] };
    await assert.rejects(pull({ hostRollback }), (error) => {
      const { reason, fault, message } = failureOf(error);
      assert.deepEqual([reason, fault], ['UnsupportedRoot', 'Image']);
      assert.match(message, /\[etc\] transient = true .*Take hostRollback out of the OSImage/);
      return true;
    });
  });
});
