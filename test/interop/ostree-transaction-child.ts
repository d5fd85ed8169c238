/**
 * A process that writes into the repository named by its first argument until it kills itself. The second argument
 * says when: before the commit (`staged`), or after so many objects have moved into the repository; with `large` as the
 * third, they wait by prefix, and so many prefixes have.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { encodeCommit } from '../../ostree/objects/commit.ts';
import { Repository } from '../../ostree/repository/repository.ts';
import { EVERYTHING, MINI, writeTree } from './ostree-fixture.ts';

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

const [, , path = '', moment = '', size] = process.argv;
const transaction = await Repository.open(path).beginTransaction({ isLarge: size === 'large' });
const half = transaction.beginFile({ uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] }, 10);
half.write(Buffer.from('half'));
if (moment === 'commit-only') {
  // As when the commit is the first to arrive, and the rest never does.
  const [dirtree, dirmeta] = ['11'.repeat(32), '22'.repeat(32)];
  const commit = { metadata: [], subject: '', body: '', timestamp: 0, dirtree, dirmeta };
  transaction.writeMetadata('commit', encodeCommit(commit));
  die();
}
transaction.setRef('os/everything', writeTree(transaction, EVERYTHING));
transaction.setRef('os/mini', writeTree(transaction, MINI));
if (moment === 'staged') die();
half[Symbol.dispose]();

const rename = fs.renameSync;
let remaining = Number(moment);
fs.renameSync = (from, to) => {
  if (remaining-- === 0) die();
  rename(from, to);
};
syncBuiltinESMExports();
await transaction.commit();
