import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { authFileCandidates, loadCredentials } from '../../../cli/credentials.ts';

describe('registry credentials', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-credentials-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function write(path: string, user: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    const auth = Buffer.from(`${user}:secret`).toString('base64');
    await writeFile(path, JSON.stringify({ auths: { 'registry.example': { auth } } }));
  }

  const userOf = (credentials: Awaited<ReturnType<typeof loadCredentials>>) => {
    const credential = credentials?.get('registry.example');
    return credential?.kind === 'basic' ? credential.username : undefined;
  };

  it('are looked for in the order of the ostree-container tools', () => {
    assert.deepEqual(authFileCandidates({}, 0), [
      '/run/ostree/auth.json',
      '/etc/ostree/auth.json',
      '/usr/lib/ostree/auth.json',
    ]);
    assert.deepEqual(authFileCandidates({ XDG_RUNTIME_DIR: '/run/user/1', HOME: '/users/a' }, 1), [
      '/run/user/1/ostree/auth.json',
      '/users/a/.config/ostree/auth.json',
    ]);
  });

  it('come from the first file that exists, not from a mixture', async () => {
    const candidates = authFileCandidates({}, 0, folder);
    assert.equal(await loadCredentials(undefined, candidates), undefined);
    await write(join(folder, 'usr/lib/ostree/auth.json'), 'last');
    assert.equal(userOf(await loadCredentials(undefined, candidates)), 'last');
    await write(join(folder, 'run/ostree/auth.json'), 'first');
    assert.equal(userOf(await loadCredentials(undefined, candidates)), 'first');
  });

  it('come from --authfile alone when it is given, which must then exist', async () => {
    const candidates = authFileCandidates({}, 0, folder);
    await write(join(folder, 'run/ostree/auth.json'), 'first');
    await write(join(folder, 'mine.json'), 'mine');
    assert.equal(userOf(await loadCredentials(join(folder, 'mine.json'), candidates)), 'mine');
    await assert.rejects(loadCredentials(join(folder, 'absent.json'), candidates), {
      code: 'FileUnreadable',
      message: /absent\.json cannot be used/,
    });
  });

  it('are never quoted in the error about a broken file', async () => {
    const path = join(folder, 'broken.json');
    await writeFile(path, '{"auths": {"a": {"auth": "c2VjcmV0"');
    await assert.rejects(loadCredentials(path, []), (error: Error) => !error.message.includes('c2VjcmV0'));
  });
});
