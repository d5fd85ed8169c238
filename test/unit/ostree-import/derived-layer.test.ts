import assert from 'node:assert/strict';
import { DerivedLayer } from '../../../ostree/import/derived-layer.ts';
import type { ObjectSink } from '../../../ostree/import/object-sink.ts';

/** Says that every object has the same checksum. */
const SINK: ObjectSink = {
  has: () => true,
  writeMetadata: () => '0'.repeat(64),
  writeFile: () => '1'.repeat(64),
  writeSymlink: () => '2'.repeat(64),
  beginFile: () => assert.fail('no large file'),
};
const ENTRY = { linkPath: 'x', mode: 0o777, uid: 0, gid: 0, size: 0, mtime: 0, xattrs: new Map() } as const;

describe('a derived layer', () => {
  it('of more entries than memory may hold is refused, also if only parents that it implies are many', () => {
    const layer = new DerivedLayer(SINK, { allowNonUsr: false, retainVar: true }, undefined, 10_000);
    const many = (): void => {
      for (let index = 0; index <= 12; index++) {
        layer.entry({ ...ENTRY, type: 'symlink', path: `usr/${index}/${'d/'.repeat(1000)}link` });
        layer.entryEnd();
      }
    };
    assert.throws(many, {
      name: 'ImportError',
      code: 'InvalidLayer',
      message: /more than 10000 files and directories/,
    });
  });

  it('keeps few of the names that it drops, however many there are, and counts all', () => {
    const layer = new DerivedLayer(SINK, { allowNonUsr: false, retainVar: true });
    for (let index = 0; index < 1000; index++) {
      layer.entry({ ...ENTRY, type: 'file', path: `run/${index}` });
      layer.entryEnd();
    }
    assert.equal(layer.dropped.size, 21);
    assert.equal(
      [...layer.dropped.values()].reduce((sum, count) => sum + count),
      1000,
    );
  });

  it('follows a chain of hardlinks that are all in front of their target, each link once', () => {
    const layer = new DerivedLayer(SINK, { allowNonUsr: false, retainVar: true });
    const links = 20_000;
    const started = performance.now();
    for (let index = 0; index < links; index++) {
      layer.entry({ ...ENTRY, type: 'hardlink', path: `usr/${index}`, linkPath: `usr/${index + 1}` });
      layer.entryEnd();
    }
    layer.entry({ ...ENTRY, type: 'symlink', path: `usr/${links}` });
    layer.entryEnd();
    assert.equal(layer.finish().directoryMarks, 'ii');
    assert.ok(performance.now() - started < 5000, 'not quadratic');
  });
});
