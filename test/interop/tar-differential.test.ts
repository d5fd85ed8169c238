import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { attempt } from '../../testbed/fuzz/fuzz.ts';
import { Random } from '../../testbed/fuzz/random.ts';
import { archive, damagedTar, mended, readArchive } from '../../testbed/fuzz/tar-targets.ts';
import { makeFolder } from './import-fixture.ts';

const exec = promisify(execFile);
/** Damaged archives that we accept and GNU tar reads, too. */
const COMPARED = 150;
const LETTERS = new Map([
  ['\u0007', 'a'],
  ['\b', 'b'],
  ['\f', 'f'],
  ['\n', 'n'],
  ['\r', 'r'],
  ['\t', 't'],
  ['\v', 'v'],
]);

/** Names as GNU tar lists them; undefined when it finds something wrong with the archive. */
async function listWithTar(path: string): Promise<readonly string[] | undefined> {
  const parameters = ['--list', '--absolute-names', '--quoting-style=escape', '--file', path];
  const listed = await exec('tar', parameters, { env: { ...process.env, LC_ALL: 'C.UTF-8' } }).catch(() => undefined);
  if (listed === undefined || listed.stderr !== '') return undefined;
  return listed.stdout.split('\n').slice(0, -1);
}

describe('an archive that our tar reader accepts', () => {
  it('holds what GNU tar finds in it, under the same names', async () => {
    const folder = await makeFolder();
    const path = join(folder, 'archive.tar');
    const first = randomInt(2 ** 32);
    let compared = 0;
    for (let seed = first; compared < COMPARED; seed++) {
      const random = new Random(seed);
      const valid = archive(random);
      const bytes = random.chance(3) ? valid : mended(damagedTar(random, valid));
      const ours = attempt(['TarError'], () => readArchive(bytes, bytes.length));
      // Global headers apply to GNU tar's names, and not to ours.
      if (ours === undefined || bytes.includes('PaxHeaders/g')) continue;
      await writeFile(path, bytes);
      const theirs = await listWithTar(path);
      if (theirs === undefined) continue;
      const names = ours.map(({ path: name }) => asListed(name));
      assert.deepEqual(names, theirs.map(withoutSlash), `seed ${seed}`);
      compared++;
    }
    await rm(folder, { recursive: true });
  });
});

/** Without the slashes at the end, which only tell that it is a directory; with GNU tar's escapes. */
function asListed(name: string): string {
  const escaped = name.replaceAll('\\', '\\\\').replaceAll(/\p{Cc}/gu, (character) => {
    const letter = LETTERS.get(character);
    return `\\${letter ?? character.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
  return withoutSlash(escaped);
}

function withoutSlash(name: string): string {
  return name.replace(/\/+$/, '');
}
