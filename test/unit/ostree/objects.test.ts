import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { variant } from '../../../ostree/gvariant/value.ts';
import { decodeCommit, encodeCommit, metadataChecksum, treeChecksum } from '../../../ostree/objects/commit.ts';
import { decodeDirectoryMetadata, encodeDirectoryMetadata } from '../../../ostree/objects/dirmeta.ts';
import { decodeDirtree, encodeDirtree } from '../../../ostree/objects/dirtree.ts';
import {
  assertFileHeader,
  contentChecksum,
  decodeArchiveFileHeader,
  encodeFileHeader,
  frameHeader,
  SYMLINK_MODE,
  type FileHeader,
} from '../../../ostree/objects/file-header.ts';
import { canonicalXattrs, decodeXattrs, encodeXattrs, NO_XATTRS } from '../../../ostree/objects/xattrs.ts';

const OWNED_BY_ROOT = { uid: 0, gid: 0, symlinkTarget: '', xattrs: NO_XATTRS };
const LABEL = [{ name: 'security.selinux', value: Buffer.from('system_u:object_r:usr_t:s0\0') }];
const hex = (bytes: Buffer): string => bytes.toString('hex');

function regular(mode: number): FileHeader {
  return { ...OWNED_BY_ROOT, mode: 0o100000 | mode };
}

function symlink(symlinkTarget: string): FileHeader {
  return { ...OWNED_BY_ROOT, mode: SYMLINK_MODE, symlinkTarget };
}

const PLAIN_DIRMETA = encodeDirectoryMetadata({ uid: 0, gid: 0, mode: 0o40755, xattrs: NO_XATTRS });
const EMPTY_DIRTREE = encodeDirtree({ files: [], directories: [] });

// The checksums in this file are those that ostree(1) computes for the same content.
describe('OSTree objects', () => {
  it('gives directory metadata the bytes and checksums that libostree gives it', () => {
    assert.equal(hex(PLAIN_DIRMETA), '0000000000000000000041ed');
    assert.equal(metadataChecksum(PLAIN_DIRMETA), '446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488');
    const labelled = encodeDirectoryMetadata({ uid: 0, gid: 0, mode: 0o40755, xattrs: LABEL });
    assert.equal(metadataChecksum(labelled), '9c359a8bcc95143dcc1db8f6e3897d4e53e2562aa9ac41b1d5a0c1dfb2f6c468');
    assert.deepEqual(decodeDirectoryMetadata(labelled), { uid: 0, gid: 0, mode: 0o40755, xattrs: LABEL });
  });

  it('gives directories the bytes and checksums that libostree gives them', () => {
    assert.equal(metadataChecksum(EMPTY_DIRTREE), '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
    const one = '11'.repeat(32);
    const [two, three] = ['22'.repeat(32), '33'.repeat(32)];
    const file = encodeDirtree({ files: [{ name: 'a', checksum: one }], directories: [] });
    assert.equal(hex(file), `6100${one}022324`);
    const directory = encodeDirtree({ files: [], directories: [{ name: 'd', dirtree: two, dirmeta: three }] });
    assert.equal(hex(directory), `6400${two}${three}22024400`);
    assert.deepEqual(decodeDirtree(directory).directories, [{ name: 'd', dirtree: two, dirmeta: three }]);
  });

  it('gives files and symbolic links the checksums that libostree gives them', () => {
    const table: readonly [header: FileHeader, content: string, checksum: string][] = [
      [regular(0o755), 'hello\n', 'd6f58149fd47ec2be3fafef4fe767915f195e7ae67b9a0c090b842b156cd07f3'],
      [regular(0o644), '', 'cc700d46f407c6c5ab2d5dde474366a928b7398277e61162e7f8ec06f469f07e'],
      [regular(0o644), 'conf\n', '2919f821f42130022597d3a84d929c3c60fd4ddace1c7d67117713b0b0fae3c5'],
      [symlink('hello'), '', '73baaba0102e9154b8522687d33eedb8ed1bc78eadb82428b2616144ec502934'],
    ];
    for (const [header, content, checksum] of table) {
      assert.equal(contentChecksum(header, Buffer.from(content)), checksum);
    }
    assert.equal(
      hex(frameHeader(encodeFileHeader(regular(0o755)))),
      '00000012000000000000000000000000000081ed000000000011',
    );
    assert.equal(
      hex(frameHeader(encodeFileHeader(symlink('hello')))),
      ['00000017000000000000000000000000', '0000a1ff00000000', '68656c6c6f0016'].join(''),
    );
  });

  it('gives a whole tree with its commit the checksums that libostree gives it', () => {
    const dirmeta = metadataChecksum(PLAIN_DIRMETA);
    const directory = (name: string, bytes: Buffer) => ({ name, dirtree: metadataChecksum(bytes), dirmeta });
    const bin = encodeDirtree({
      files: [
        { name: 'hi', checksum: contentChecksum(symlink('hello'), Buffer.alloc(0)) },
        { name: 'empty', checksum: contentChecksum(regular(0o644), Buffer.alloc(0)) },
        { name: 'hello', checksum: contentChecksum(regular(0o755), Buffer.from('hello\n')) },
      ],
      directories: [],
    });
    const configuration = { name: 'a.conf', checksum: contentChecksum(regular(0o644), Buffer.from('conf\n')) };
    const etc = encodeDirtree({ files: [configuration], directories: [] });
    const usr = encodeDirtree({ files: [], directories: [directory('etc', etc), directory('bin', bin)] });
    const root = encodeDirtree({ files: [], directories: [directory('usr', usr)] });
    const commit = encodeCommit({
      metadata: [['version', variant.string('1.0')]],
      subject: 'subj',
      body: '',
      timestamp: 1704164645,
      dirtree: metadataChecksum(root),
      dirmeta,
    });
    assert.match(metadataChecksum(bin), /^350a187b/);
    assert.match(metadataChecksum(etc), /^07fd0de4/);
    assert.match(metadataChecksum(usr), /^cb4bcd2c/);
    assert.match(metadataChecksum(root), /^b8eb68bf/);
    assert.equal(metadataChecksum(commit), '0be49dfa96f21eb448b448a274b35ede7868c1408aaff3935ebd2f2515d63a86');
  });

  it('keeps nested metadata, parents and order in commits', () => {
    const commit = {
      metadata: [
        [
          'k',
          variant.dictionary([
            [
              'target',
              variant.dictionary([
                ['name', variant.string('abc.0')],
                ['osname', variant.string('default')],
              ]),
            ],
            ['kargs', variant.strings(['rw', 'quiet'])],
            ['locked', variant.boolean(true)],
          ]),
        ],
        ['a', variant.bytes(Buffer.from([1, 2]))],
      ],
      parent: '44'.repeat(32),
      subject: 'Ünï',
      body: 'two\nlines',
      timestamp: 5,
      dirtree: metadataChecksum(EMPTY_DIRTREE),
      dirmeta: metadataChecksum(PLAIN_DIRMETA),
    } as const;
    assert.deepEqual(decodeCommit(encodeCommit(commit)), commit);
  });

  it('identifies equal trees as `ostree show` does', () => {
    const root = { dirtree: metadataChecksum(EMPTY_DIRTREE), dirmeta: metadataChecksum(PLAIN_DIRMETA) };
    const other = { ...root, dirmeta: '00'.repeat(32) };
    assert.notEqual(treeChecksum(root), treeChecksum(other));
    assert.match(treeChecksum(root), /^[0-9a-f]{64}$/);
  });

  it('writes the header of an archived file as libostree does, and reads it back', () => {
    const bytes = encodeFileHeader(regular(0o755), 6);
    assert.equal(hex(bytes), ['0000000000000006', '00000000000000000000', '81ed00000000', '0019'].join(''));
    assert.deepEqual(decodeArchiveFileHeader(bytes), { header: regular(0o755), size: 6 });
  });

  it('reads back any extended attributes, also those that are not text', () => {
    const list = fc
      .uniqueArray(
        fc.record({
          name: fc.string({ minLength: 1, unit: 'grapheme-ascii' }),
          value: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        }),
        { selector: ({ name }) => name },
      )
      .map((records) => canonicalXattrs(records.map(({ name, value }) => ({ name, value }))));
    fc.assert(fc.property(list, (xattrs) => assert.deepEqual(decodeXattrs(encodeXattrs(xattrs)), xattrs)));
  });

  it('never crashes on bytes that claim to be extended attributes, and accepts one form only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (input) => {
        const bytes = Buffer.from(input);
        try {
          assert.ok(encodeXattrs(decodeXattrs(bytes)).equals(bytes));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'InvalidData');
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('writes the extended attributes of a link as reference images carry them', () => {
    const xattrs = [{ name: 'security.selinux', value: Buffer.from('system_u:object_r:bin_t:s0\0') }];
    assert.equal(
      hex(encodeXattrs(xattrs)),
      ['73656375726974792e73656c696e757800', '73797374656d5f753a6f626a6563745f723a62696e5f743a733000', '112d'].join(''),
    );
  });

  it('sorts extended attributes, drops those without a value and refuses duplicates', () => {
    const [b, a, none] = ['user.b', 'user.a', 'user.none'].map((name) => ({
      name,
      value: Buffer.from(name === 'user.none' ? '' : 'x'),
    }));
    assert.ok(a !== undefined && b !== undefined && none !== undefined);
    assert.deepEqual(canonicalXattrs([b, none, a]), [a, b]);
    assert.throws(() => canonicalXattrs([a, b, a]), { code: 'InvalidData', message: /user\.a is given twice/ });
  });

  it('refuses directories with impossible, repeated or unsorted names', () => {
    const checksum = '00'.repeat(32);
    const encode = (...names: string[]): Buffer =>
      encodeDirtree({ files: names.map((name) => ({ name, checksum })), directories: [] });
    for (const name of ['', '.', '..', 'a/b', 'a\0b']) assert.throws(() => encode(name), { code: 'InvalidData' }, name);
    assert.throws(() => encode('a', 'a'), { code: 'InvalidData' });
    const both = {
      files: [{ name: 'a', checksum }],
      directories: [{ name: 'a', dirtree: checksum, dirmeta: checksum }],
    };
    assert.throws(() => encodeDirtree(both), { code: 'InvalidData' });
    const unsorted = encode('a', 'b');
    unsorted.write('c', 0);
    assert.throws(() => decodeDirtree(unsorted), { code: 'InvalidData' });
  });

  it('sorts names by their UTF-8 bytes, not as JavaScript does', () => {
    const checksum = '00'.repeat(32);
    const names = ['\u{1f600}', '\uff5e', 'z', 'Z'];
    const { files } = decodeDirtree(
      encodeDirtree({ files: names.map((name) => ({ name, checksum })), directories: [] }),
    );
    assert.deepEqual(
      files.map(({ name }) => name),
      ['Z', 'z', '\uff5e', '\u{1f600}'],
    );
  });

  it('refuses headers of anything but regular files and canonical symbolic links', () => {
    const refused: readonly FileHeader[] = [
      { ...OWNED_BY_ROOT, mode: 0o020644 },
      { ...OWNED_BY_ROOT, mode: 0o644 },
      { ...symlink('x'), mode: 0o120755 },
      symlink(''),
      symlink('a\0b'),
      { ...regular(0o644), symlinkTarget: 'x' },
    ];
    for (const header of refused) assert.throws(() => assertFileHeader(header), { code: 'InvalidData' });
  });
});
