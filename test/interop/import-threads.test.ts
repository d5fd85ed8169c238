import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { encapsulate, fsck, makeFolder, makeSystem, readLayout } from './import-fixture.ts';
import { pullFrom } from './partial-fixture.ts';

/** From this size on all threads work on one layer. */
const LARGE_LAYER_BYTES = 48 * 1024 * 1024;

describe('an import of one large layer', () => {
  let folder: string;
  let registry: LayoutRegistry;

  before(async () => {
    folder = await makeFolder();
    const files = Array.from({ length: 150 }, (_, index): [string, string] => [
      `usr/lib/data/file-${index}`,
      createHash('shake256', { outputLength: 375_000 }).update(`file ${index}`).digest('base64'),
    ]);
    const layout = await encapsulate(await makeSystem(folder, files), folder, false);
    const [layer] = (await readLayout(layout)).manifest.layers;
    assert.ok(layer !== undefined && layer.size > LARGE_LAYER_BYTES, `${layer?.size} bytes`);
    registry = await LayoutRegistry.start({ layouts: { os: layout } });
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  it('makes the same commit with one thread as with three that share it', async () => {
    const commits = new Set<string>();
    for (const threads of [1, 3]) {
      const path = join(folder, `by-${threads}`);
      const { mergeCommit } = await pullFrom(registry.host, path, { threads });
      await fsck(path);
      commits.add(mergeCommit);
    }
    assert.equal(commits.size, 1);
  });
});
