import assert from 'node:assert/strict';
import { ObjectLayer } from '../../../ostree/import/object-layer.ts';
import type { ObjectSink } from '../../../ostree/import/object-sink.ts';

/** Has everything. */
const SINK: ObjectSink = {
  has: () => true,
  writeMetadata: () => assert.fail('no metadata'),
  writeFile: () => assert.fail('no file'),
  writeSymlink: () => assert.fail('no link'),
  beginFile: () => assert.fail('no large file'),
};
const ENTRY = { linkPath: '', mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: new Map() } as const;

describe('a layer of objects', () => {
  for (const share of [
    { index: 0, of: 1 },
    { index: 1, of: 2 },
  ]) {
    it(`has a limit, whether its objects are here already or are for others (share ${share.index} of ${share.of})`, () => {
      const layer = new ObjectLayer(SINK, 'chunk', share, 100);
      const add = (index: number): void => {
        const checksum = index.toString(16).padStart(64, '0');
        const path = `sysroot/ostree/repo/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}`;
        layer.entry({ ...ENTRY, type: 'file', size: 0, path: `${path}.file-xattrs-link` });
        layer.entryEnd();
        layer.entry({ ...ENTRY, type: 'file', size: 2 ** 20, path: `${path}.file` });
        layer.entryEnd();
      };
      for (let index = 0; index < 100; index++) add(index);
      assert.throws(() => add(100), {
        name: 'ImportError',
        code: 'InvalidLayer',
        message: 'the layer has more than 100 objects',
      });
    });
  }
});
