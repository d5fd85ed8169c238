/** How each rule of derived layers is tested: the peer and we import the same image, and `ostree` compares the commits. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Archive } from '../../testbed/tar-archive.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  type LayerCompression,
} from './import-fixture.ts';

/** A fresh modification time: what a build gives to the files that it writes. */
export const MTIME = 1_700_000_000;
/** A name in the object store of the base, as overlay diffs show it. */
export const OBJECT = `sysroot/ostree/repo/objects/ab/${'c'.repeat(62)}.file`;

export interface DerivedCase {
  readonly name: string;
  readonly layers: readonly Archive[];
  readonly compression?: LayerCompression;
  /** Paths of the merged tree that must, or must not, be there: what makes the case mean something. */
  readonly present?: readonly string[];
  readonly absent?: readonly string[];
}

/** One test for each case: the content checksum of our merge commit is that of the peer's. */
export function describeAsThePeer(title: string, cases: readonly DerivedCase[]): void {
  describe(title, () => {
    let folder: string;
    let base: string;
    let ours: string;
    let theirs: string;

    before(async () => {
      folder = await makeFolder();
      base = await encapsulate(await makeSystem(folder), folder, false);
      ours = join(folder, 'ours');
      theirs = join(folder, 'theirs');
    });

    after(async () => {
      await rm(folder, { recursive: true });
    });

    for (const [index, { name, layers, compression, present = [], absent = [] }] of cases.entries()) {
      it(`is what the peer makes of ${name}`, async () => {
        const layout = join(folder, `case-${index}`);
        const tars = layers.map((layer) => layer.finish());
        await derive(base, layout, tars, compression);
        const { mergeCommit } = await pull(ours, layout, { directoryMetadata: 'base' });
        const content = await contentOf(ours, mergeCommit);
        assert.equal(content, await contentOf(theirs, await pullWithPeer(theirs, layout)));
        for (const path of present) assert.ok(hasPath(content, path), `${path} is in the tree`);
        for (const path of absent) assert.ok(!hasPath(content, path), `${path} is not in the tree`);
      });
    }

    it('and ostree fsck finds nothing wrong with any of it', async () => {
      await fsck(ours);
    });
  });
}

export function hasPath(content: string, path: string): boolean {
  return content.includes(` ${path}\n`) || content.includes(` ${path} ->`);
}
