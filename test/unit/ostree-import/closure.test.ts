import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { findLackingFiles, requireFiles, verifyClosure } from '../../../ostree/import/closure.ts';
import { type Dirtree, encodeDirtree } from '../../../ostree/objects/dirtree.ts';
import type { ObjectType } from '../../../ostree/objects/object-name.ts';
import { PackedDirtree } from '../../../ostree/objects/packed-dirtree.ts';

const checksum = (text: string): string => createHash('sha256').update(text).digest('hex');
const DIRMETA = checksum('dirmeta');

/** A tree of `directories` directories, each with `files` files; nothing of it lacks but what is told. */
function makeTree(directories: number, files: number) {
  const trees = new Map<string, Dirtree>();
  const lacking = new Set<string>();
  const children = Array.from({ length: directories }, (_, index) => {
    const dirtree = checksum(`tree ${index}`);
    const entries = Array.from({ length: files }, (_, at) => ({ name: `${at}`, checksum: checksum(`${index} ${at}`) }));
    trees.set(dirtree, { files: entries, directories: [] });
    return { name: `${index}`, dirtree, dirmeta: DIRMETA };
  });
  const root = { dirtree: checksum('root'), dirmeta: DIRMETA };
  trees.set(root.dirtree, { files: [], directories: children });
  const hasObject = (type: ObjectType, object: string): boolean => !lacking.has(`${object}.${type}`);
  const source = {
    hasObject,
    hasObjectOf: (type: ObjectType, bytes: Buffer, at: number) => hasObject(type, bytes.toString('hex', at, at + 32)),
    readDirtree: (object: string) =>
      new PackedDirtree(encodeDirtree(trees.get(object) ?? assert.fail(`there is no directory ${object}`))),
  };
  return { root, source, lacking };
}

describe('the proof that a tree is complete', () => {
  it('is found for a tree of which all is there', async () => {
    const { root, source } = makeTree(100, 3);
    await verifyClosure(source, root);
    assert.equal((await findLackingFiles(source, root, 10))?.length, 0);
  });

  for (const [what, object] of [
    ['a file', `${checksum('70 2')}.file`],
    ['a directory', `${checksum('tree 70')}.dirtree`],
    ["a directory's metadata", `${DIRMETA}.dirmeta`],
  ] as const) {
    it(`fails for ${what} that lacks, with its name`, async () => {
      const { root, source, lacking } = makeTree(100, 3);
      lacking.add(object);
      await assert.rejects(verifyClosure(source, root), new RegExp(`lacks the object ${object}`));
    });
  }

  it('can be begun before the last files have come, and then looks only for those', async () => {
    const { root, source, lacking } = makeTree(100, 3);
    const late = [checksum('3 0'), checksum('99 2')];
    for (const file of late) lacking.add(`${file}.file`);
    const found = (await findLackingFiles(source, root, 2)) ?? assert.fail('two are not too many');
    assert.equal(found.length, 2 * 32);
    assert.throws(() => requireFiles(source, found), /lacks the object/);
    lacking.delete(`${late[0]}.file`);
    assert.throws(() => requireFiles(source, found), new RegExp(`lacks the object ${late[1]}.file`));
    lacking.clear();
    requireFiles(source, found);
  });

  it('begun early does not remember more files than it may', async () => {
    const { root, source, lacking } = makeTree(10, 3);
    for (let at = 0; at < 3; at++) lacking.add(`${checksum(`5 ${at}`)}.file`);
    assert.equal(await findLackingFiles(source, root, 2), undefined);
  });

  it('begun early does not wait for directories: they come with the commit', async () => {
    const { root, source, lacking } = makeTree(10, 3);
    lacking.add(`${checksum('tree 5')}.dirtree`);
    await assert.rejects(findLackingFiles(source, root, 10), /lacks the object .*\.dirtree/);
  });
});
