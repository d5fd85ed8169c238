import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { arrange, type Arranged } from '../../../ostree/compose/layout.ts';
import {
  type DirectoryNode,
  emptyDirectory,
  ensureDirectory,
  find,
  link,
  textFile,
  walk,
} from '../../../ostree/compose/tree-node.ts';

/** A tree of files with the given text; a name that ends in a slash is an empty directory, `-> x` a link. */
function tree(files: Readonly<Record<string, string>>): DirectoryNode {
  const root = emptyDirectory();
  for (const [path, text] of Object.entries(files)) {
    if (path.endsWith('/')) {
      ensureDirectory(root, path.slice(0, -1));
      continue;
    }
    const slash = path.lastIndexOf('/');
    const parent = slash < 0 ? root : ensureDirectory(root, path.slice(0, slash));
    parent?.entries.set(path.slice(slash + 1), text.startsWith('-> ') ? link(text.slice(3)) : textFile(text));
  }
  return root;
}

function arranged(files: Readonly<Record<string, string>>): {
  readonly root: DirectoryNode;
  readonly result: Arranged;
} {
  const root = tree(files);
  return { root, result: arrange(root, { bootable: false }) };
}

function paths(root: DirectoryNode): string[] {
  return [...walk(root)].map(({ path, node }) => (node.kind === 'symlink' ? `${path} -> ${node.target}` : path));
}

/** The texts of all files, by path. */
function contents(root: DirectoryNode): Map<string, string> {
  const found = new Map<string, string>();
  for (const { path, node } of walk(root)) {
    if (node.kind === 'file' && node.content.kind === 'bytes') found.set(path, node.content.bytes.toString());
  }
  return found;
}

/** All that is declared to systemd-tmpfiles. */
function declared(root: DirectoryNode): string {
  const files = [...contents(root)].filter(([path]) =>
    /^usr\/lib\/tmpfiles\.d\/zz-treeline-[0-9a-f]{8}\.conf$/.test(path),
  );
  return files.map(([, text]) => text).join('');
}

const EMPTY = ['boot', 'dev', 'proc', 'run', 'sys', 'sysroot', 'tmp', 'var'];

describe('the layout of a composed tree', () => {
  it('has every mount point, empty, and the link to the repository, even if the tree had none', () => {
    const { root } = arranged({ 'usr/bin/sh': 'shell' });
    assert.deepEqual(paths(root), [
      'boot',
      'dev',
      'ostree -> sysroot/ostree',
      'proc',
      'run',
      'sys',
      'sysroot',
      'tmp',
      'usr',
      'usr/bin',
      'usr/bin/sh',
      'var',
    ]);
  });

  it('keeps /opt and /usr/local where the image brings files, and makes links of them where not', () => {
    const { root, result } = arranged({ 'opt/vendor/tool': 'x', 'usr/local/bin/': '', 'srv/': '' });
    assert.deepEqual(result.kept, ['opt']);
    assert.equal(find(root, 'opt/vendor/tool')?.kind, 'file');
    assert.deepEqual(find(root, 'usr/local'), link('../var/usrlocal'));
    assert.deepEqual(find(root, 'srv'), link('var/srv'));
  });

  it('takes kernels of every distribution from /boot, and leaves one beside its modules alone', () => {
    for (const initramfs of ['initrd.img-6.1', 'initramfs-6.1.img', 'initrd-6.1']) {
      const root = tree({
        'boot/vmlinuz-6.1': 'from /boot',
        [`boot/${initramfs}`]: 'initramfs',
        'usr/lib/modules/6.1/vmlinuz': "the package's own",
      });
      const result = arrange(root, { bootable: true });
      assert.equal(result.kernel, '6.1');
      assert.equal(contents(root).get('usr/lib/modules/6.1/vmlinuz'), "the package's own");
      assert.equal(contents(root).get('usr/lib/modules/6.1/initramfs.img'), 'initramfs');
    }
  });

  it('writes what tmpfiles.d would misread in a form that it reads', () => {
    const { root } = arranged({ 'var/lib/100%/': '', 'var/lib/a "b"\\c/': '', 'var/lib/line\nbreak/': '' });
    assert.deepEqual(declared(root).trimEnd().split('\n'), [
      'd /var/lib/100%% 0755 0 0 -',
      'd "/var/lib/a \\x22b\\x22\\x5cc" 0755 0 0 -',
      'd "/var/lib/line\\x0abreak" 0755 0 0 -',
    ]);
  });

  it('adds to what the image below it declares', () => {
    const { root } = arranged({ 'var/lib/first/': '' });
    ensureDirectory(root, 'var/lib/second');
    arrange(root, { bootable: false });
    assert.deepEqual(declared(root).trimEnd().split('\n').sort(), [
      'd /var/lib/first 0755 0 0 -',
      'd /var/lib/second 0755 0 0 -',
    ]);
  });

  it('empties a machine-id, so that not every node is the same machine', () => {
    const { root } = arranged({ 'etc/machine-id': '0123456789abcdef0123456789abcdef\n', 'usr/bin/': '' });
    assert.equal(contents(root).get('usr/etc/machine-id'), '');
  });

  it('refuses what would be hidden, lost or shared, with the path in its words', () => {
    for (const [files, words] of [
      [{ 'sysroot/a': '' }, /\/sysroot/],
      [{ 'ostree/repo/config': '' }, /\/ostree/],
      [{ 'etc/a': '', 'usr/etc/b': '' }, /merge them into \/etc/],
      [{ 'etc/ssh/ssh_host_ed25519_key': '', 'usr/bin/': '' }, /ssh_host_ed25519_key/],
      [{ 'usr/lib/sysimage/dpkg/status': '', 'var/lib/dpkg/status': '' }, /package database/],
      [{ dev: 'a file' }, /\/dev/],
      [{ 'home/me/a': '', 'var/home': '-> /elsewhere' }, /var\/home/],
    ] as const) {
      assert.throws(() => arranged(files), words);
    }
  });

  const name = fc.constantFrom('a', 'b', 'c d', 'é', 'cache', 'lib', 'log', 'etc', 'opt', 'local');
  const top = fc.constantFrom(
    'boot',
    'etc',
    'home',
    'opt',
    'proc',
    'root',
    'srv',
    'tmp',
    'usr',
    'usr/local',
    'var',
    'var/lib',
  );
  const path = fc
    .tuple(top, fc.array(name, { minLength: 1, maxLength: 4 }))
    .map(([first, rest]) => [first, ...rest].join('/'))
    .filter((one) => !/^usr\/(etc|lib$)/.test(one));
  /** No two of which one would have to be both a file and a directory. */
  const files = fc
    .uniqueArray(path, { maxLength: 20 })
    .map((all) => all.filter((one) => !all.some((other) => other !== one && other.startsWith(`${one}/`))))
    .map((all) => Object.fromEntries(['usr/bin/sh', ...all].map((one) => [one, `content of ${one}`])));

  it('loses no file without telling', () => {
    fc.assert(
      fc.property(files, (input) => {
        const { root, result } = arranged(input);
        const kept = new Set(contents(root).values());
        for (const [path, text] of Object.entries(input)) {
          const told = result.dropped.some((one) => path === one || path.startsWith(`${one}/`));
          const mounted = /^(proc|tmp)\//.test(path);
          assert.equal(kept.has(text), !told && !mounted, path);
        }
        for (const empty of EMPTY) assert.deepEqual([...(find(root, empty) as DirectoryNode).entries.keys()], []);
      }),
    );
  });

  it('leaves a tree that has it as it is', () => {
    fc.assert(
      fc.property(files, (input) => {
        const { root } = arranged(input);
        const before = [paths(root), contents(root)];
        const again = arrange(root, { bootable: false });
        assert.deepEqual([paths(root), contents(root)], before);
        assert.deepEqual([again.dropped, again.templates], [[], []]);
      }),
    );
  });
});
