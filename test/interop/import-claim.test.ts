/** What a pull brings becomes part of the repository only when it is written down that it is needed. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Repository } from '../../ostree/index.ts';
import { pullGuardRef } from '../../ostree/import/store-refs.ts';
import { tryLock } from '../../ostree/posix/file-lock.ts';
import { openImageSource, parseImageReference } from '../../registry/index.ts';
import { startLayoutServer } from '../../testbed/layout-server.ts';
import { encapsulate, fsck, makeFolder, makeSystem, PLATFORM, refsOf } from './import-fixture.ts';
import { pullFrom } from './partial-fixture.ts';

describe('a pull whose guard is not written yet', () => {
  for (const chunked of [false, true]) {
    it(`fetches ${chunked ? 'layers' : 'a single layer'} meanwhile, and nothing of it is in the repository before`, async () => {
      const folder = await makeFolder();
      const layout = await encapsulate(await makeSystem(folder), folder, chunked);
      await using source = openImageSource(parseImageReference(`oci:${layout}`), {});
      const { digest, manifest } = await source.resolve(PLATFORM);
      const path = join(folder, 'repository');
      Repository.create(path, 'bare');
      // As a clean-up holds it that is just looking whether somebody stands behind this guard.
      const lock = openSync(join(path, 'tmp', `treeline-${basename(pullGuardRef(digest))}.lock`), 'w+');
      assert.ok(tryLock(lock, 'exclusive'));
      await using server = await startLayoutServer(layout);
      const pulling = pullFrom(server.host, path);
      const sent = new Map<string, number>();
      while (!manifest.layers.every((layer) => (sent.get(layer.digest) ?? 0) >= layer.size)) {
        for (const [blob, bytes] of server.takeCount()) sent.set(blob, (sent.get(blob) ?? 0) + bytes);
        await sleep(20);
      }
      await sleep(500);
      assert.equal((await refsOf(path, 'ostree')).size, 0);
      assert.deepEqual(readdirSync(join(path, 'objects')), []);
      closeSync(lock);
      await pulling;
      await fsck(path);
      assert.ok((await refsOf(path, 'ostree')).size > manifest.layers.length);
      await rm(folder, { recursive: true });
    });
  }
});
