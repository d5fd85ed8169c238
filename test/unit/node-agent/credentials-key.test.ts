/** The key of a node is made once, kept from everybody else, and replaced when it can no longer be trusted. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import { CREDENTIALS_KEY_FILE, loadCredentialsKey } from '../../../node-agent/credentials-key.ts';
import type { CredentialsKey } from '../../../sealing/sealed-credentials.ts';

const RANDOM = (count: number) => randomBytes(count);

describe("a node's key for pull credentials", () => {
  let sysroot: string;
  let path: string;
  let said: string[];

  beforeEach(async () => {
    sysroot = await mkdtemp(join(tmpdir(), 'treeline-key-'));
    path = join(sysroot, CREDENTIALS_KEY_FILE);
    said = [];
  });
  afterEach(() => rm(sysroot, { recursive: true, force: true }));

  const load = (nodeName = 'worker-1', random: typeof RANDOM = RANDOM) =>
    loadCredentialsKey({
      sysroot,
      nodeName,
      randomBytes: random,
      log: pino({ level: 'info' }, { write: (line) => void said.push(line) }),
    });
  const words = (): string => said.map((line) => JSON.stringify(JSON.parse(line))).join('\n');

  it('is made at the first start, readable by root alone, and is the same at every other', async () => {
    const first = await load();
    const { mode } = await stat(path);
    assert.equal(mode & 0o7777, 0o600);
    assert.equal((await stat(dirname(path))).mode & 0o7777, 0o700);
    assert.match(words(), /a new key for pull credentials was made/);
    said = [];
    assert.equal((await load()).publicKey, first.publicKey);
    assert.deepEqual(said, []);
  });

  it('never stands in a log', async () => {
    const seeds: Buffer[] = [];
    await load('worker-1', (count) => {
      const bytes = randomBytes(count);
      seeds.push(bytes);
      return bytes;
    });
    await writeFile(path, (await readFile(path, 'utf8')).replace('"}', '",}'));
    await load();
    assert.equal(seeds.length, 1);
    for (const seed of seeds)
      for (const form of ['base64', 'hex', 'base64url'] as const)
        assert.ok(!words().includes(seed.toString(form).slice(0, 8)));
  });

  const BROKEN: readonly (readonly [string, (path: string) => Promise<unknown>, RegExp])[] = [
    ['is empty, as after a power cut', (file) => truncate(file), /it is not JSON/],
    ['is cut short', (file) => truncate(file, 20), /it is not JSON/],
    ['holds something else', (file) => writeFile(file, '{"node":"worker-1","seed":"AAAA"}'), /seed/],
    ['holds another form', (file) => writeFile(file, '[]'), /expected object/],
    ['is huge', (file) => truncate(file, 10_000_000), /it has 10000000 bytes/],
    ['could be read by others', (file) => chmod(file, 0o644), /others than its owner may have read it/],
    ['could be read by a group', (file) => chmod(file, 0o640), /others than its owner/],
    ['belongs to another user', (file) => chown(file, 1234, 1234), /it belongs to user 1234/],
  ];
  for (const [what, damage, reason] of BROKEN) {
    it(`is replaced when its file ${what}, with a line that says why`, async () => {
      const before = await load();
      await damage(path);
      said = [];
      const after = await load();
      assert.notEqual(after.publicKey, before.publicKey);
      assert.match(words(), /cannot be used: a new one takes its place/);
      assert.match(words(), reason);
      assert.equal((await stat(path)).mode & 0o7777, 0o600);
      assert.equal((await load()).publicKey, after.publicKey);
    });
  }

  it('is not shared with the machine that a disk was copied from', async () => {
    const before = await load('worker-1');
    const after = await load('worker-2');
    assert.notEqual(after.publicKey, before.publicKey);
    assert.match(words(), /it was made for node worker-1, and this is worker-2/);
  });

  it('is replaced when a folder is in its place, or kept for this process where it cannot be', async () => {
    await mkdir(path, { recursive: true });
    const key = await load();
    assert.match(words(), /cannot be kept: the next start makes another/);
    assert.match(key.publicKey, /^[A-Za-z0-9+/]{43}=$/);
  });

  it('is the old one or the new one whatever a crash has left beside it', async () => {
    const before = await load();
    await writeFile(`${path}.new`, 'half', { mode: 0o644 });
    assert.equal((await load()).publicKey, before.publicKey);
    await rm(path);
    const after: CredentialsKey = await load();
    assert.equal((await stat(path)).mode & 0o7777, 0o600);
    assert.deepEqual(await readdir(dirname(path)), ['credentials-key']);
    assert.equal((await load()).publicKey, after.publicKey);
  });
});
