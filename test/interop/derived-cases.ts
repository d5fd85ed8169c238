/**
 * How each rule of derived layers is tested: the peer and we import the same image, and `ostree` compares the commits. As
 * directories go by default the peer cannot say, since it loses what layers make of them; containers of the image can.
 */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Archive } from '../../testbed/tar-archive.ts';
import { asContainersSeeDirectories } from './container-directories.ts';
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

/**
 * Two tests for each case: the content checksum of our merge commit is that of the peer's, and by default, but for
 * directories that a layer has an entry for, too.
 *
 * @param prepareRoot `prepare-root.conf` of the base
 */
export function describeAsThePeer(title: string, cases: readonly DerivedCase[], prepareRoot?: string): void {
  describe(title, () => {
    let folder: string;
    let system: string;
    let base: string;
    let ours: string;
    let byDefault: string;
    let theirs: string;

    before(async () => {
      folder = await makeFolder();
      const extra = prepareRoot === undefined ? [] : [['usr/lib/ostree/prepare-root.conf', prepareRoot] as const];
      system = await makeSystem(folder, extra);
      base = await encapsulate(system, folder, false);
      ours = join(folder, 'ours');
      byDefault = join(folder, 'by-default');
      theirs = join(folder, 'theirs');
    });

    after(async () => {
      await rm(folder, { recursive: true });
    });

    for (const [index, { name, layers, compression, present = [], absent = [] }] of cases.entries()) {
      const tars = layers.map((layer) => layer.finish());
      const layout = (): string => join(folder, `case-${index}`);
      let peers: string;

      it(`is what the peer makes of ${name}`, async () => {
        await derive(base, layout(), tars, compression);
        const { mergeCommit } = await pull(ours, layout(), { directoryMetadata: 'base' });
        const content = await contentOf(ours, mergeCommit);
        peers = await pullWithPeer(theirs, layout());
        assert.equal(content, await contentOf(theirs, peers));
        for (const path of present) assert.ok(hasPath(content, path), `${path} is in the tree`);
        for (const path of absent) assert.ok(!hasPath(content, path), `${path} is not in the tree`);
      });

      it(`is by default, with directories as in a container, what the peer makes of ${name}`, async () => {
        const { mergeCommit } = await pull(byDefault, layout());
        const judged = { repository: theirs, commit: peers, base: system, layout: layout(), tars, folder };
        assert.equal(await contentOf(byDefault, mergeCommit), await asContainersSeeDirectories(judged));
      });
    }

    it('and ostree fsck finds nothing wrong with any of it', async () => {
      await fsck(ours);
      await fsck(byDefault);
    });
  });
}

export function hasPath(content: string, path: string): boolean {
  return content.includes(` ${path}\n`) || content.includes(` ${path} ->`);
}
