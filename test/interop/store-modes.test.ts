import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chownSync, lstatSync, readFileSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inflateRawSync } from 'node:zlib';
import { listImages, Repository } from '../../ostree/index.ts';
import { ArchiveEncoder } from '../../ostree/repository/archive-file.ts';
import { listLooseObjects, OBJECT_PREFIXES } from '../../ostree/repository/loose-objects.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { treeline } from '../unit/cli/run.ts';
import { contentOf, derive, encapsulate, fsck, makeFolder, makeSystem, refsOf, run } from './import-fixture.ts';

/** Several times as large as what is compressed at once, and not just repetition. */
const LARGE = Array.from({ length: 400_000 }, (_, at) => `${at * at}`).join(' ');
const NOBODY = 65_534;

describe('repositories of other modes', () => {
  let folder: string;
  let layout: string;
  let inBare: string;
  let mergeCommit: string;

  before(async () => {
    folder = await makeFolder();
    // Of anybody's to read, for the test that is nobody.
    await chmod(folder, 0o755);
    const base = await encapsulate(await makeSystem(folder, [['usr/lib/large', LARGE]]), folder, true);
    layout = await derive(base, join(folder, 'derived'), [
      new Archive().file('usr/share/new', 'new').file('usr/share/none', '').symlink('usr/share/link', 'new').finish(),
    ]);
    inBare = await pullInto('bare');
    ({ mergeCommit } = listImages(Repository.open(inBare))[0]!);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function pullInto(mode: string): Promise<string> {
    const path = join(folder, mode);
    await run('ostree', `--repo=${path}`, 'init', `--mode=${mode}`);
    const said = await treeline(['image', 'pull', path, `oci:${layout}:base`]);
    assert.equal(said.status, 0, said.stderr);
    return path;
  }

  for (const mode of ['bare-user', 'archive']) {
    it(`hold the same commits: ${mode}`, async () => {
      const path = await pullInto(mode);
      assert.deepEqual(await refsOf(path, 'ostree/container'), await refsOf(inBare, 'ostree/container'));
      assert.equal(await contentOf(path, mergeCommit), await contentOf(inBare, mergeCommit));
      await fsck(path);
      assert.equal((await treeline(['fsck', '--repo', path])).status, 0);
    });
  }

  it('whose configuration asks for what we cannot give are refused before anything is written', async () => {
    for (const [key, value, message] of [
      ['ex-integrity.fsverity', 'yes', /wants every file sealed by fs-verity .*nothing was written/],
      ['core.parent', inBare, /has some of its objects in .*core\.parent/],
    ] as const) {
      const path = join(folder, key);
      await run('ostree', `--repo=${path}`, 'init', '--mode=bare');
      await run('ostree', 'config', `--repo=${path}`, 'set', key, value);
      const said = await treeline(['image', 'pull', path, `oci:${layout}:base`]);
      assert.equal(said.status, 1);
      assert.match(said.stderr, message);
      const places = ['objects', 'refs', 'state'].map((name) => join(path, name));
      assert.equal(await run('find', ...places, '-not', '-type', 'd'), '');
    }
    const sealed = await treeline(['image', 'list', '--repo', join(folder, 'ex-integrity.fsverity')]);
    assert.equal(sealed.status, 0, sealed.stderr);
  });

  it('hold files as libostree writes them into an archive', async () => {
    const theirs = join(folder, 'theirs');
    await run('ostree', `--repo=${theirs}`, 'init', '--mode=archive');
    await run('ostree', `--repo=${theirs}`, 'pull-local', '--disable-fsync', inBare, mergeCommit);
    const ours = join(folder, 'archive');
    let compared = 0;
    for (const { checksum, extension } of OBJECT_PREFIXES.flatMap((prefix) => listLooseObjects(theirs, prefix))) {
      if (extension !== 'filez') continue;
      const [a, b] = [theirs, ours].map((path) => Repository.open(path).objectPath('file', checksum));
      assert.equal(lstatSync(b!).mode, lstatSync(a!).mode);
      const [parsed, expected] = [parseFilez(readFileSync(b!)), parseFilez(readFileSync(a!))];
      assert.deepEqual(parsed, expected, checksum);
      compared++;
    }
    assert.ok(compared > 15, `${compared} files`);
  });

  it('can be pulled from with `ostree`, back into a bare one', async () => {
    const again = join(folder, 'again');
    await run('ostree', `--repo=${again}`, 'init', '--mode=bare');
    await run('ostree', `--repo=${again}`, 'pull-local', join(folder, 'archive'), mergeCommit);
    assert.equal(await contentOf(again, mergeCommit), await contentOf(inBare, mergeCommit));
    await fsck(again);
  });

  it('are repaired, and copied between', async () => {
    const repository = Repository.open(join(folder, 'archive'));
    const [victim] = OBJECT_PREFIXES.flatMap((prefix) => listLooseObjects(repository.path, prefix)).filter(
      ({ extension, checksum }) =>
        extension === 'filez' && lstatSync(repository.objectPath('file', checksum)).size > 1000,
    );
    await run('truncate', '--size=500', repository.objectPath('file', victim!.checksum));
    assert.equal((await treeline(['fsck', '--repo', repository.path])).status, 1);
    const repaired = await treeline(['fsck', '--repo', repository.path, '--repair']);
    assert.equal(repaired.status, 0, repaired.stdout + repaired.stderr);
    await fsck(repository.path);

    const copy = join(folder, 'copy');
    await run('ostree', `--repo=${copy}`, 'init', '--mode=bare');
    const said = await treeline([
      'image',
      'copy',
      '--src-repo',
      repository.path,
      '--dest-repo',
      copy,
      `oci:${layout}:base`,
    ]);
    assert.equal(said.status, 0, said.stderr);
    assert.equal(await contentOf(copy, mergeCommit), await contentOf(inBare, mergeCommit));
    await fsck(copy);
  });

  async function pullAsNobody(mode: string): Promise<{ path: string; status: number; stderr: string }> {
    const home = join(folder, `nobody-${mode}`);
    await mkdir(home);
    chownSync(home, NOBODY, NOBODY);
    const path = join(home, 'repo');
    const be = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
    await run(be[0]!, ...be.slice(1), 'ostree', `--repo=${path}`, 'init', `--mode=${mode}`);
    const argv = [...be.slice(1), TREELINE, 'image', 'pull', path, `oci:${layout}:base`];
    const env = { ...process.env, HOME: home, NODE_COMPILE_CACHE: '' };
    return await promisify(execFile)(be[0]!, argv, { env }).then(
      () => ({ path, status: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => ({ path, status: error.code, stderr: error.stderr }),
    );
  }

  for (const mode of ['bare-user', 'archive']) {
    it(`give a user without rights what they give root: ${mode}`, async () => {
      const { path, status, stderr } = await pullAsNobody(mode);
      assert.equal(status, 0, stderr);
      assert.deepEqual(await refsOf(path, 'ostree/container'), await refsOf(inBare, 'ostree/container'));
      await fsck(path);
    });
  }

  it('are what a user without rights is told to use instead of bare', async () => {
    const { path, status, stderr } = await pullAsNobody('bare');
    assert.equal(status, 1);
    assert.match(stderr, /gives files their owner .* bare-user or archive/);
    assert.equal((await refsOf(path, 'ostree/container/image')).size, 0);
    await fsck(path);
  });
});

/** The header, and the content uncompressed: zlibs differ in how they say the same. */
function parseFilez(bytes: Buffer): { header: string; content: string } {
  const end = 8 + bytes.readUInt32BE(0);
  const payload = bytes.subarray(end);
  return {
    header: bytes.toString('hex', 0, end),
    content: payload.length === 0 ? 'none' : inflateRawSync(payload).toString('latin1'),
  };
}

describe('a file of an archive', () => {
  const header = { uid: 0, gid: 0, mode: 0o100755, symlinkTarget: '', xattrs: [] };

  it('is byte for byte what libostree makes of it', () => {
    const encoder = new ArchiveEncoder(header, 6);
    const bytes = Buffer.concat([encoder.start(), ...encoder.push(Buffer.from('hello\n')), ...encoder.finish()]);
    const expected = `0000001a000000000000000000000006${'0'.repeat(16)}000081ed000000000019cb48cdc9c9e70200`;
    assert.equal(bytes.toString('hex'), expected);
  });

  it('has the same content however it arrives, at any size', () => {
    for (const size of [0, 1, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 2 ** 21, 2_500_000]) {
      const content = Buffer.from(LARGE.repeat(2)).subarray(0, size);
      const outputs = [size + 1, 65_537].map((step) => {
        const encoder = new ArchiveEncoder(header, size);
        const pieces: Buffer[] = [];
        for (let at = 0; at < size; at += step) pieces.push(...encoder.push(content.subarray(at, at + step)));
        return Buffer.concat([...pieces, ...encoder.finish()]);
      });
      assert.ok(inflateRawSync(outputs[0]!).equals(content), `${size} bytes`);
      assert.ok(outputs[0]!.equals(outputs[1]!), `${size} bytes`);
    }
  });
});
