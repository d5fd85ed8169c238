import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseImageArguments } from '../../../node-agent/host/image-arguments.ts';
import { nextArguments } from '../../../node-agent/host/kernel-arguments.ts';
import { OstreeTool } from '../../../node-agent/host/ostree-tool.ts';

const FOLDER = '/usr/lib/bootc/kargs.d';
const OLD = 'a'.repeat(64);
const NEW = 'b'.repeat(64);

describe('kernel arguments that an image asks for', () => {
  it('are those of all its files, by name, for this architecture', () => {
    const files = [
      ['20-console.toml', 'kargs = ["console=ttyS0,115200"]\nmatch-architectures = ["x86_64", "aarch64"]'],
      ['10-first.toml', 'kargs = ["mitigations=auto,nosmt", "quiet"] # of these'],
      ['30-none.toml', ''],
      ['40-other.toml', 'kargs = ["s390"]\nmatch-architectures = ["s390x"]'],
    ] as const;
    assert.deepEqual(parseImageArguments(files, 'x64'), ['mitigations=auto,nosmt', 'quiet', 'console=ttyS0,115200']);
    assert.deepEqual(parseImageArguments(files, 's390x'), ['mitigations=auto,nosmt', 'quiet', 's390']);
  });

  it('are refused, with the file, when they cannot be understood', () => {
    for (const text of [
      'kargs = "quiet"',
      'kargs = ["two words"]',
      'kargs = ["ostree=/x"]',
      'kargs = [',
      'kargs = [1]',
    ]) {
      assert.throws(() => parseImageArguments([['x.toml', text]], 'x64'), {
        code: 'InvalidKernelArguments',
        message: /kargs\.d\/x\.toml cannot be used: .* Build the image anew\.$/,
      });
    }
  });

  describe('of the next deployment', () => {
    let root = '';
    /** Files below kargs.d, by commit. */
    let images: Record<string, Readonly<Record<string, string>>> = {};
    beforeEach(async () => {
      root = await mkdtemp(join(tmpdir(), 'treeline-arguments-'));
      await mkdir(join(root, 'ostree/deploy/os/deploy', `${OLD}.0`), { recursive: true });
      await mkdir(join(root, 'ostree/boot.0/os/x'), { recursive: true });
      await symlink(`../../../deploy/os/deploy/${OLD}.0`, join(root, 'ostree/boot.0/os/x/0'));
    });
    afterEach(() => rm(root, { recursive: true }));

    const run = async (argv: readonly string[]) => {
      const [program, , command] = argv;
      const [checksum = '', path = ''] = argv.slice(-2);
      if (program === 'sh') return 'options root=UUID=1 rw quiet a=1 ostree=/ostree/boot.0/os/x/0\n';
      const files = images[checksum];
      if (command === 'cat') return files?.[path.slice(FOLDER.length + 1)] ?? '';
      const below = { '/usr/lib': '/usr/lib/bootc', '/usr/lib/bootc': FOLDER }[path];
      const paths = below === undefined ? Object.keys(files ?? {}).map((name) => `${FOLDER}/${name}`) : [below];
      return files === undefined ? '/usr/lib\0/usr/lib/os-release\0' : [path, ...paths].join('\0');
    };

    const next = (change?: { append?: string[]; delete?: string[] }) => {
      const from = {
        stateroot: 'os',
        checksum: OLD,
        serial: 0,
        booted: true,
        staged: false,
        locked: false,
        pinned: false,
      };
      return nextArguments({ tool: new OstreeTool(run), run, root: '', sysroot: root, from, checksum: NEW, change });
    };

    it('are left to libostree when neither the images nor anybody else changes them', async () => {
      images = {};
      assert.equal(await next(), undefined);
      images = { [OLD]: { 'a.toml': 'kargs = ["a=1"]' }, [NEW]: { 'b.toml': 'kargs = ["a=1"]', README: 'x' } };
      assert.equal(await next({ append: [], delete: [] }), undefined);
    });

    it('change by what only one of the two images asks for, and then by what is wanted of the host', async () => {
      images = { [OLD]: { 'a.toml': 'kargs = ["a=1", "gone"]' }, [NEW]: { 'a.toml': 'kargs = ["a=2", "b"]' } };
      assert.deepEqual(await next(), ['root=UUID=1', 'rw', 'quiet', 'a=2', 'b']);
      assert.deepEqual(await next({ append: ['c'], delete: ['b', 'quiet'] }), ['root=UUID=1', 'rw', 'a=2', 'c']);
    });

    it('can be corrected by the next image, and not be spoilt by it', async () => {
      images = { [OLD]: { 'a.toml': 'kargs =' }, [NEW]: { 'a.toml': 'kargs = ["b"]' } };
      assert.deepEqual(await next(), ['root=UUID=1', 'rw', 'quiet', 'a=1', 'b']);
      images = { [NEW]: { 'a.toml': 'kargs =' } };
      await assert.rejects(next(), { code: 'InvalidKernelArguments' });
    });
  });
});
