import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { TarError, type TarErrorCode } from '../../../ostree/import/errors.ts';
import type { TarEntry } from '../../../ostree/import/tar-header.ts';
import { TarReader } from '../../../ostree/import/tar-reader.ts';
import { Archive, paxBody } from '../../../testbed/tar-archive.ts';

interface Seen {
  readonly entry: TarEntry;
  readonly content: Buffer;
}

function read(archive: Buffer, chunkSize = archive.length): Seen[] {
  const seen: Seen[] = [];
  let pieces: Buffer[] = [];
  let current: TarEntry | undefined;
  const reader = new TarReader({
    entry(entry) {
      assert.equal(current, undefined, 'entries do not overlap');
      current = entry;
      pieces = [];
    },
    data(bytes) {
      pieces.push(Buffer.from(bytes));
    },
    entryEnd() {
      assert.ok(current);
      seen.push({ entry: current, content: Buffer.concat(pieces) });
      current = undefined;
    },
  });
  for (let at = 0; at < archive.length; at += chunkSize) reader.write(archive.subarray(at, at + chunkSize));
  reader.end();
  return seen;
}

function only(archive: Archive): Seen {
  const seen = read(archive.finish());
  assert.equal(seen.length, 1);
  return seen[0]!;
}

function refuses(code: TarErrorCode, archive: Archive, message?: RegExp): void {
  assert.throws(
    () => read(archive.finish()),
    (error) => error instanceof TarError && error.code === code && (message?.test(error.message) ?? true),
  );
}

describe('the tar reader', () => {
  it('gives back what an archive holds, whatever the size of the pieces it arrives in', () => {
    const name = fc.stringMatching(/^[a-zA-Zäß/._-]{1,150}$/).filter((path) => !path.endsWith('/') && path !== '');
    const member = fc.record({
      path: name,
      content: fc.uint8Array({ maxLength: 1500 }),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 0xffff_ffff }),
      mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
      xattr: fc.option(fc.uint8Array({ maxLength: 200 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(member, { maxLength: 6 }), fc.integer({ min: 1, max: 4096 }), (members, chunkSize) => {
        const archive = new Archive();
        for (const { path, content, mode, uid, mtime, xattr } of members) {
          const xattrs = xattr === undefined ? {} : { 'user.test': Buffer.from(xattr) };
          archive.file(path, Buffer.from(content), { mode, uid, mtime, xattrs });
        }
        const seen = read(archive.finish(), chunkSize);
        assert.deepEqual(
          seen.map(({ entry, content }) => ({
            path: entry.path,
            content: new Uint8Array(content),
            mode: entry.mode,
            uid: entry.uid,
            mtime: entry.mtime,
            xattr: entry.xattrs.has('user.test') ? new Uint8Array(entry.xattrs.get('user.test')!) : undefined,
          })),
          members.map((m) => ({ ...m, content: new Uint8Array(m.content), xattr: m.xattr && new Uint8Array(m.xattr) })),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('either reads or refuses any damaged archive, and never crashes or hangs', () => {
    const archive = new Archive()
      .directory('usr')
      .file('usr/a', 'x'.repeat(700), { xattrs: { 'user.a': 'b' } })
      .finish();
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { maxLength: 8 }), (changes) => {
        const damaged = Buffer.from(archive);
        for (const [at, byte] of changes) damaged[at] = byte;
        try {
          read(damaged);
        } catch (error) {
          assert.ok(error instanceof TarError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('keeps extended attributes byte for byte', () => {
    const capability = Buffer.from('010000020000000000000000800000000a3d00ff', 'hex');
    const { entry } = only(
      new Archive().file('usr/bin/newuidmap', '', { xattrs: { 'security.capability': capability } }),
    );
    assert.deepEqual(entry.xattrs.get('security.capability'), capability);
  });

  it('applies PAX path, linkpath, size, ids and time', () => {
    const pax = { path: 'é'.repeat(80), linkpath: 'target', uid: '4000000000', gid: '7', mtime: '-1.5' };
    const { entry } = only(new Archive().symlink('short', 'x', { pax }));
    assert.deepEqual(
      [entry.path, entry.linkPath, entry.uid, entry.gid, entry.mtime],
      ['é'.repeat(80), 'target', 4_000_000_000, 7, -2],
    );
    const sized = only(new Archive().file('a', 'hello', { claimedSize: 0, pax: { size: '5' } }));
    assert.equal(sized.content.toString(), 'hello');
  });

  it('reads GNU long names and long link targets', () => {
    const { entry } = only(new Archive().hardlink('d/'.repeat(300) + 'f', 't/'.repeat(200) + 'g'));
    assert.equal(entry.path, 'd/'.repeat(300) + 'f');
    assert.equal(entry.linkPath, 't/'.repeat(200) + 'g');
  });

  it('joins the ustar prefix with the name', () => {
    const tamper = (header: Buffer): void => {
      header.write('ustar\x0000', 257, 'latin1');
      header.write('some/prefix', 345, 'latin1');
    };
    assert.equal(only(new Archive().file('name', '', { tamper })).entry.path, 'some/prefix/name');
  });

  it('takes a trailing slash as the mark of a directory', () => {
    assert.equal(only(new Archive().add('old/', { type: '\0' })).entry.type, 'directory');
  });

  it('ignores what comes after the end marker', () => {
    const archive = new Archive().file('first', '1').finish();
    const after = new Archive().file('second', '2').finish();
    assert.deepEqual(
      read(Buffer.concat([archive, after, Buffer.from('junk')]), 100).map(({ entry }) => entry.path),
      ['first'],
    );
  });

  it('tolerates a missing end marker, but not an archive that stops inside an entry', () => {
    const whole = new Archive().file('a', 'x'.repeat(600)).unfinished();
    assert.equal(read(whole).length, 1);
    for (const length of [100, 512, 800, 1100]) {
      assert.throws(() => read(whole.subarray(0, length)), { code: 'Truncated' }, `${length} bytes`);
    }
    const dangling = new Archive().raw('x', 'x', paxBody({ path: 'a' })).unfinished();
    assert.throws(() => read(dangling), { code: 'Truncated' });
  });

  it('applies no record of a global header', () => {
    const archive = new Archive().raw('g', 'g', paxBody({ path: 'elsewhere', uid: '5' })).file('here', '');
    assert.deepEqual([only(archive).entry.path, only(archive).entry.uid], ['here', 0]);
  });

  it('refuses what readers disagree about, naming the entry', () => {
    for (const type of ['1', '2', '3', '4', '5', '6']) {
      refuses('Unsupported', new Archive().add('liar', { type, linkPath: 'x', claimedSize: 512 }), /liar/);
    }
    refuses('Unsupported', new Archive().add('odd', { type: 'Z' }), /odd/);
    const pax = paxBody({ path: 'one' });
    refuses('Unsupported', new Archive().raw('x', 'x', pax).raw('x', 'x', pax).file('a', ''), /two extension headers/);
    refuses('Unsupported', new Archive().raw('x', 'x', pax).raw('x', 'x', Buffer.alloc(0)).file('a', ''));
    refuses('Unsupported', new Archive().raw('L', 'L', Buffer.from('other\0')).file('a', '', { pax: { path: 'one' } }));
    refuses('Unsupported', new Archive().raw('L', 'L', Buffer.from('no end')).file('a', ''), /without its NUL/);
  });

  it('refuses malformed headers', () => {
    const set = (offset: number, bytes: string) => (header: Buffer) => void header.write(bytes, offset, 'latin1');
    refuses('CorruptHeader', new Archive().file('a', '', { tamper: set(124, '0000000x000') }));
    refuses('CorruptHeader', new Archive().file('a', '', { tamper: set(124, '\xff'.repeat(12)) }));
    refuses('CorruptHeader', new Archive().file('a', '', { tamper: set(124, '\x80' + '\xff'.repeat(11)) }));
    refuses('CorruptHeader', new Archive().file('', ''));
    refuses('CorruptHeader', new Archive().symlink('a', ''));
    refuses('CorruptHeader', new Archive().bytes(Buffer.alloc(512)).file('a', ''));
    const archive = new Archive().file('a', '').finish();
    archive[0] = 0x62;
    assert.throws(() => read(archive), { code: 'CorruptHeader' });
  });

  it('refuses malformed PAX records', () => {
    const bodies = ['5 a=b', '99 path=x\n', '0 \n', 'path=x\n', ' 7 a=b\n', '6 abc\n', '12 size=-1\n', '11 uid=1x\n'];
    for (const body of bodies) {
      refuses('CorruptHeader', new Archive().raw('x', 'x', Buffer.from(body)).file('a', ''));
    }
  });

  it('takes long names that headers cut off in the middle of a character', () => {
    const long = 'ä'.repeat(120);
    for (const start of ['', 'x']) {
      const path = `${start}${long}`;
      assert.equal(only(new Archive().file(path, 'a')).entry.path, path);
      assert.equal(only(new Archive().symlink('link', path)).entry.linkPath, path);
      const cut = Buffer.from(path).subarray(0, 100);
      assert.equal(only(new Archive().add(cut, { pax: { path } })).entry.path, path);
    }
  });

  it('refuses names that are not UTF-8', () => {
    refuses('NotUtf8', new Archive().add(Buffer.from([0x61, 0xff])));
    refuses('NotUtf8', new Archive().file('a', '', { pax: { path: Buffer.from([0xc3, 0x28]) } }));
    refuses('NotUtf8', new Archive().add(Buffer.alloc(120, 0xfe)));
  });

  it('refuses extension headers beyond any real size before it reads them', () => {
    refuses('TooLarge', new Archive().raw('x', 'x', Buffer.alloc(0), 2 * 1024 * 1024));
    refuses('TooLarge', new Archive().raw('L', 'L', Buffer.alloc(0), 100_000));
  });
});
