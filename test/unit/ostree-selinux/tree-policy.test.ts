import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { Readable } from 'node:stream';
import { createHash } from 'node:crypto';
import { S_IFREG, SYMLINK_MODE } from '../../../ostree/objects/file-header.ts';
import { encodeXattrs, NO_XATTRS } from '../../../ostree/objects/xattrs.ts';
import type { StoredFile } from '../../../ostree/repository/stored-file.ts';
import { PolicyError } from '../../../ostree/selinux/errors.ts';
import { withLabel } from '../../../ostree/selinux/label-xattr.ts';
import { parsePolicyConfig } from '../../../ostree/selinux/policy-config.ts';
import { labelEpochOf, readTreePolicy } from '../../../ostree/selinux/tree-policy.ts';
import { TreeDirectory } from '../../../ostree/tree/tree-directory.ts';

const CONTEXTS = 'mine/contexts/files/file_contexts';

/** A tree with `usr/etc/selinux` made of these files; a value that begins with `->` is a symbolic link. */
class FakeTree {
  readonly root = TreeDirectory.empty('0'.repeat(64));
  readonly #files = new Map<string, string>();
  opened = 0;

  constructor(files: Readonly<Record<string, string>>, where = 'usr/etc/selinux') {
    for (const [path, content] of Object.entries(files)) {
      const names = `${where}/${path}`.split('/');
      const name = names.pop()!;
      const checksum = createHash('sha256').update(content).digest('hex');
      this.#files.set(checksum, content);
      names.reduce((parent, one) => parent.ensureDirectory(one, '0'.repeat(64)), this.root).setFile(name, checksum);
    }
  }

  openFile(checksum: string): StoredFile {
    this.opened++;
    const content = Buffer.from(this.#files.get(checksum)!);
    const isLink = content.toString().startsWith('->');
    const symlinkTarget = isLink ? content.toString().slice(2) : '';
    return {
      header: { uid: 0, gid: 0, mode: isLink ? SYMLINK_MODE : S_IFREG | 0o644, symlinkTarget, xattrs: NO_XATTRS },
      size: content.length,
      content: () => Readable.from([]),
      readAll: () => content,
      [Symbol.dispose]: () => undefined,
    };
  }
}

function read(files: Readonly<Record<string, string>>, where?: string) {
  const tree = new FakeTree(files, where);
  return readTreePolicy(tree, tree.root, 0);
}

const CONFIG = 'SELINUX=enforcing\nSELINUXTYPE=mine\n';

describe('the policy of a tree', () => {
  it('is found by its config, with all its files', () => {
    const labels = read({
      config: CONFIG,
      [CONTEXTS]: '/ -d u:r:root:s0\n/x u:r:x:s0\n',
      [`${CONTEXTS}.homedirs`]: '/home/.* u:r:home:s0\n',
      [`${CONTEXTS}.local`]: '/y u:r:y:s0\n',
      [`${CONTEXTS}.subs`]: '/a /x\n',
      [`${CONTEXTS}.subs_dist`]: '/b /y\n',
      [`${CONTEXTS}.bin`]: 'compiled',
    });
    const types = ['/x', '/home/u', '/y', '/a', '/b', '/z'].map((path) => labels?.lookup(path, S_IFREG)?.split(':')[2]);
    assert.deepEqual(types, ['x', 'home', 'y', 'x', 'y', undefined]);
  });

  it('is not there without a config, or when SELinux is disabled', () => {
    assert.equal(read({}), undefined);
    assert.equal(read({ [CONTEXTS]: '/ u:r:t:s0\n' }), undefined);
    assert.equal(read({ config: 'SELINUX=disabled\nSELINUXTYPE=mine\n', [CONTEXTS]: '' }), undefined);
  });

  it('may lie in /etc, which libostree looks at first', () => {
    const labels = read({ config: CONFIG, [CONTEXTS]: '/ u:r:t:s0\n' }, 'etc/selinux');
    assert.equal(labels?.lookup('/', 0o040755), 'u:r:t:s0');
  });

  it('is prepared once for as long as its files are the same', () => {
    const tree = new FakeTree({ config: CONFIG, [CONTEXTS]: '/ u:r:once:s0\n' });
    readTreePolicy(tree, tree.root, 0);
    const { opened } = tree;
    readTreePolicy(tree, tree.root, 1);
    assert.equal(tree.opened, opened + 1, 'the config, to know which policy it is');
  });

  for (const [name, files, words] of [
    ['without a name', { config: 'SELINUX=permissive\n' }, /does not name the policy/],
    ['whose name leads elsewhere', { config: 'SELINUX=enforcing\nSELINUXTYPE=../x\n' }, /names "\.\.\/x"/],
    ['without file contexts', { config: CONFIG }, /mine\/contexts\/files\/file_contexts is missing/],
    ['with compiled file contexts only', { config: CONFIG, [`${CONTEXTS}.bin`]: 'x' }, /file_contexts is missing/],
    ['behind a symbolic link', { config: CONFIG, [CONTEXTS]: '->/etc/passwd' }, /symbolic link/],
  ] as const) {
    it(`${name} is refused`, () => {
      assert.throws(
        () => read(files),
        (error) => {
          assert.ok(error instanceof PolicyError && error.code === 'InvalidPolicy');
          assert.match(error.message, words);
          return true;
        },
      );
    });
  }

  it('is named by the last name in its config, and enabled by any line that says so', () => {
    assert.equal(
      parsePolicyConfig('# SELINUX=enforcing\nSELINUXTYPE=a\nSELINUXTYPE= b \nSELINUX=Permissive # x\n'),
      'b',
    );
    assert.equal(parsePolicyConfig(' SELINUX=enforcing\nSELINUXTYPE=a\n'), undefined);
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parsePolicyConfig(`SELINUX=enforcing\n${text}`);
        } catch (error) {
          assert.ok(error instanceof PolicyError);
        }
      }),
    );
  });

  it('labels by the epoch that the base commit names', () => {
    assert.equal(labelEpochOf([]), 0);
    assert.equal(labelEpochOf([['ostree.selinux-label-epoch', { type: 'u', value: 1 }]]), 1);
    assert.equal(labelEpochOf([['ostree.selinux-label-epoch', { type: 't', value: 1n }]]), 1);
    assert.equal(labelEpochOf([['ostree.selinux-label-epoch', { type: 'u', value: 0 }]]), 0);
  });
});

describe('a label as an extended attribute', () => {
  const names = ['security.capability', 'security.selinux', 'trusted.x', 'user.a', 'user.z'];
  const xattrs = fc
    .uniqueArray(fc.record({ name: fc.constantFrom(...names), value: fc.uint8Array({ minLength: 1 }) }), {
      selector: ({ name }) => name,
    })
    .map((list) => list.map(({ name, value }) => ({ name, value: Buffer.from(value) })));

  it('replaces any other, keeps the rest, and leaves a list alone that has it', () => {
    fc.assert(
      fc.property(xattrs, fc.stringMatching(/^[a-z:_]{1,20}$/), (list, label) => {
        const labelled = withLabel(list, label);
        assert.deepEqual(
          labelled.filter(({ name }) => name !== 'security.selinux'),
          list.filter(({ name }) => name !== 'security.selinux').sort((a, b) => (a.name < b.name ? -1 : 1)),
        );
        assert.deepEqual(
          labelled.filter(({ name }) => name === 'security.selinux').map(({ value }) => value.toString()),
          [`${label}\0`],
        );
        assert.equal(withLabel(labelled, label), labelled);
      }),
    );
  });

  it('is encoded once for all files that have nothing else', () => {
    assert.equal(withLabel(NO_XATTRS, 'u:r:t:s0'), withLabel(NO_XATTRS, 'u:r:t:s0'));
    assert.equal(encodeXattrs(withLabel(NO_XATTRS, 'system_u:object_r:bin_t:s0')).length, 46);
  });
});
