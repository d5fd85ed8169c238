import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { decodeDirtree, type Dirtree } from '../../../ostree/objects/dirtree.ts';
import { TreeDirectory, type TreeReference } from '../../../ostree/tree/tree-directory.ts';

const META = 'aa'.repeat(32);
const OTHER_META = 'bb'.repeat(32);
const file = (content: string): string => createHash('sha256').update(content).digest('hex');

/** A repository's dirtrees, counting what is read and written. */
class MemoryStore {
  readonly objects = new Map<string, Buffer>();
  reads = 0;
  writes = 0;

  readDirtree(checksum: string): Dirtree {
    this.reads++;
    const bytes = this.objects.get(checksum);
    assert.ok(bytes !== undefined, `no dirtree ${checksum}`);
    return decodeDirtree(bytes);
  }

  writeMetadata(_type: string, bytes: Buffer): string {
    this.writes++;
    const checksum = createHash('sha256').update(bytes).digest('hex');
    this.objects.set(checksum, bytes);
    return checksum;
  }
}

function build(paths: Readonly<Record<string, string>>): TreeDirectory {
  const root = TreeDirectory.empty(META);
  for (const [path, content] of Object.entries(paths)) {
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    let directory = root;
    for (const segment of segments) directory = directory.ensureDirectory(segment, META);
    directory.setFile(name, file(content));
  }
  return root;
}

const listing = (root: TreeDirectory): unknown => Array.from(root.walkFiles());

describe('a tree in memory', () => {
  it('is the same after it has been written and loaded', () => {
    const path = fc.array(fc.constantFrom('a', 'b', 'c', 'ü', 'z'), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(path, { maxLength: 20 }), (paths) => {
        const root = TreeDirectory.empty(META);
        for (const segments of paths) {
          const name = segments.at(-1) ?? '';
          let directory = root;
          for (const segment of segments.slice(0, -1)) directory = directory.ensureDirectory(segment, META);
          directory.setFile(name, file(segments.join('/')));
        }
        const store = new MemoryStore();
        const written = root.write(store);
        const loaded = TreeDirectory.load(store, written);
        assert.deepEqual(listing(loaded), listing(root));
        assert.deepEqual(loaded.write(store), written);
        const rebuilt = TreeDirectory.empty(META);
        for (const [name, directory] of loaded.directories) rebuilt.setDirectory(name, directory);
        for (const [name, checksum] of loaded.files) rebuilt.setFile(name, checksum);
        assert.deepEqual(rebuilt.write(store), written);
      }),
    );
  });

  it('reads only what is looked into and writes only what has changed', () => {
    const store = new MemoryStore();
    const before = build({ 'usr/bin/sh': '1', 'usr/lib/deep/x': '2', 'etc/conf': '3', top: '4' }).write(store);
    const root = TreeDirectory.load(store, before);
    store.reads = 0;
    store.writes = 0;
    assert.deepEqual(root.write(store), before);
    assert.deepEqual([store.reads, store.writes], [0, 0]);
    const bin = root.lookup('usr/bin');
    assert.ok(bin instanceof TreeDirectory);
    bin.setFile('sh', file('new'));
    const after = root.write(store);
    assert.deepEqual([store.reads, store.writes], [3, 3], 'root, usr and usr/bin');
    assert.notEqual(after.dirtree, before.dirtree);
    assert.deepEqual(root.write(store), after);
    assert.equal(store.writes, 3, 'a second write has nothing to do');
    bin.setFile('sh', file('1'));
    assert.deepEqual(root.write(store), before, 'undoing the change gives the old checksum');
  });

  it('writes the parent of a directory whose metadata alone has changed', () => {
    const store = new MemoryStore();
    const before = build({ 'usr/bin/sh': '1' }).write(store);
    const root = TreeDirectory.load(store, before);
    const bin = root.lookup('usr/bin');
    assert.ok(bin instanceof TreeDirectory);
    bin.dirmeta = OTHER_META;
    const after = TreeDirectory.load(store, root.write(store)).lookup('usr/bin');
    assert.ok(after instanceof TreeDirectory);
    assert.equal(after.dirmeta, OTHER_META);
  });

  it('replaces files by directories and directories by files', () => {
    const root = build({ 'a/b': '1', c: '2' });
    root.setFile('a', file('now a file'));
    root.ensureDirectory('c', META).setFile('d', file('3'));
    assert.deepEqual(listing(root), [
      { path: 'a', checksum: file('now a file') },
      { path: 'c/d', checksum: file('3') },
    ]);
  });

  it('removes files and whole directories, and says whether there was something', () => {
    const root = build({ 'a/b/c': '1', d: '2' });
    assert.equal(root.remove('a'), true);
    assert.equal(root.remove('a'), false);
    assert.equal(root.remove('d'), true);
    const store = new MemoryStore();
    const reference: TreeReference = root.write(store);
    assert.equal(reference.dirtree, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
  });

  it('finds by path, and finds nothing below a file', () => {
    const root = build({ 'usr/bin/sh': '1' });
    assert.equal(root.lookup('usr/bin/sh'), file('1'));
    assert.equal(root.lookup('/usr//bin/./sh'), file('1'));
    assert.equal(root.lookup(''), root);
    assert.equal(root.lookup('usr/bin/sh/x'), undefined);
    assert.equal(root.lookup('usr/none/x'), undefined);
  });

  it('refuses names that could leave the directory', () => {
    const root = TreeDirectory.empty(META);
    for (const name of ['..', '.', '', 'a/b']) {
      assert.throws(() => root.setFile(name, file('')), { code: 'InvalidData' });
      assert.throws(() => root.setDirectory(name, TreeDirectory.empty(META)), { code: 'InvalidData' });
    }
  });
});
