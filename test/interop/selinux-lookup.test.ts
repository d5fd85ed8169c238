import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseFileContexts } from '../../ostree/selinux/file-contexts.ts';
import { FileLabels } from '../../ostree/selinux/file-labels.ts';
import { parsePattern } from '../../ostree/selinux/pattern-syntax.ts';
import { ensureSelinuxPolicy, type SelinuxPolicy } from '../../tools/setup/index.ts';
import { makeFolder } from './import-fixture.ts';
import { randomFrom, sample } from './pattern-sample.ts';

const exec = promisify(execFile);

/** matchpathcon's names of file types, and their modes. */
const FILE_TYPES = {
  file: 0o100644,
  dir: 0o040755,
  lnk_file: 0o120777,
  chr_file: 0o020644,
  blk_file: 0o060644,
  pipe: 0o010644,
  sock_file: 0o140755,
} as const;
type FileType = keyof typeof FILE_TYPES;

const PATHS_PER_CALL = 1500;

describe('labels are those of libselinux', () => {
  let policy: SelinuxPolicy;
  let folder: string;

  before(async function () {
    this.timeout(600_000);
    policy = await ensureSelinuxPolicy(() => {});
    folder = await makeFolder();
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  /** What libselinux says, with the file's siblings `.homedirs`, `.local`, `.subs` and `.subs_dist`. */
  async function judged(file: string, paths: readonly string[], type: FileType): Promise<readonly string[]> {
    const labels: string[] = [];
    for (let at = 0; at < paths.length; at += PATHS_PER_CALL) {
      const some = paths.slice(at, at + PATHS_PER_CALL);
      const { stdout } = await exec(policy.matchpathcon, ['-n', '-N', '-m', type, '-f', file, ...some], {
        maxBuffer: 64 * 1024 * 1024,
      });
      labels.push(...stdout.trimEnd().split('\n'));
    }
    return labels;
  }

  async function assertSame(labels: FileLabels, file: string, paths: readonly string[], type: FileType): Promise<void> {
    const theirs = await judged(file, paths, type);
    const ours = paths.map((path) => labels.lookup(path, FILE_TYPES[type]) ?? '<<none>>');
    const differing = paths.flatMap((path, index) =>
      ours[index] === theirs[index] ? [] : [`${type} ${path}: ${ours[index]} instead of ${theirs[index]}`],
    );
    assert.deepEqual(differing.slice(0, 10), []);
    assert.equal(ours.length, theirs.length);
  }

  function readPolicy(): { labels: FileLabels; file: string } {
    const text = (name: string): string => readFileSync(join(policy.contexts, name), 'latin1');
    const labels = new FileLabels({
      fileContexts: text('file_contexts'),
      homedirs: text('file_contexts.homedirs'),
      subsDist: text('file_contexts.subs_dist'),
    });
    return { labels, file: join(policy.contexts, 'file_contexts') };
  }

  it('for paths made from every expression of a real policy, as they are and slightly off, and every file type', async () => {
    const { labels, file } = readPolicy();
    const random = randomFrom(1);
    const specs = ['file_contexts', 'file_contexts.homedirs'].flatMap((name) =>
      parseFileContexts(readFileSync(join(policy.contexts, name), 'latin1'), name),
    );
    assert.ok(specs.length > 5000, 'it is a real policy');
    const paths = specs.flatMap(({ pattern }) => {
      const path = sample(parsePattern(pattern), random);
      const cut = Math.floor(random() * path.length);
      return [path, `${path.slice(0, cut)}x${path.slice(cut)}`];
    });
    const usable = paths.map((path) => (path.startsWith('/') ? path : `/${path}`));
    for (const type of ['file', 'dir', 'lnk_file'] as const) await assertSame(labels, file, usable, type);
    const some = usable.filter((_path, index) => index % 5 === 0);
    for (const type of ['chr_file', 'blk_file', 'pipe', 'sock_file'] as const) {
      await assertSame(labels, file, some, type);
    }
  });

  it('for the files of this machine', async () => {
    const { labels, file } = readPolicy();
    const { stdout } = await exec('find', ['/usr', '/etc', '/var/lib', '-xdev', '-maxdepth', '5', '-print0'], {
      maxBuffer: 64 * 1024 * 1024,
    });
    const paths = stdout.split('\0').filter((path) => path !== '');
    await assertSame(labels, file, paths.slice(0, 6000), 'file');
  });

  it('for substitutions, local changes, precedence and the dialect of expressions', async () => {
    const file = join(folder, 'file_contexts');
    const texts = {
      fileContexts: FILE_CONTEXTS,
      homedirs: '/home/[^/]+/.+ u:r:home:s0\n/both u:r:homedirs:s0\n/both/x.* u:r:homedirs:s0\n',
      local: '/both u:r:local:s0\n/both/x.* u:r:local:s0\n/first.* u:r:local:s0\n',
      subs: '/sub/a /opt\n/sub/a/b /first\n# /sub/c /opt\n  /sub/d   /var  more\n/lonely\n',
      subsDist: '/opt/x /first\n/root-sub /\n/usr/etc /etc\n/usr/etc/special /first\n',
    };
    await writeFile(file, texts.fileContexts);
    await writeFile(`${file}.homedirs`, texts.homedirs);
    await writeFile(`${file}.local`, texts.local);
    await writeFile(`${file}.subs`, texts.subs);
    await writeFile(`${file}.subs_dist`, texts.subsDist);
    const labels = new FileLabels(texts);
    for (const type of Object.keys(FILE_TYPES) as FileType[]) await assertSame(labels, file, PATHS, type);
    assert.equal(await readFile(file, 'utf8'), FILE_CONTEXTS);
  });
});

const FILE_CONTEXTS = `
/.* u:r:default:s0
/ -d u:r:root:s0
# /commented u:r:no:s0
  /indented	--	u:r:indented:s0
/etc(/.*)? u:r:etc:s0
/etc/special -l u:r:link:s0
/etc/special -- u:r:file:s0
/etc/special -c u:r:char:s0
/etc/special -b u:r:block:s0
/etc/special -p u:r:pipe:s0
/etc/special -s u:r:socket:s0
/exact u:r:exact:s0
/exact.* u:r:expression:s0
/twice/.* u:r:one:s0
/twice/.* u:r:two:s0
/twice/x u:r:three:s0
/twice/x u:r:four:s0
/var(/.*)? u:r:var:s0
/var/none(/.*)? <<none>>
/var/none/but/.* u:r:but:s0
/var/none/dir -d <<none>>
/first.* u:r:first:s0
/opt(/.*)? u:r:opt:s0
/both u:r:base:s0
/both/x.* u:r:base:s0
/alt/a|/alt/b/c u:r:alternative:s0
/group/(a|b|)c u:r:group:s0
/group/(?:x|y)+z u:r:group:s0
/group/(?<name>n)(?P<other>m) u:r:group:s0
/count/a{2} u:r:count:s0
/count/b{2,} u:r:count:s0
/count/c{2,3} u:r:count:s0
/count/d{x u:r:count:s0
/count/(ab){2}c{0} u:r:count:s0
/lazy/a+?b*? u:r:lazy:s0
/class/[abc] u:r:class:s0
/class/[^abc]d u:r:class:s0
/class/[]x]e u:r:class:s0
/class/[^]x]f u:r:class:s0
/class/[a-]g u:r:class:s0
/class/[-a]h u:r:class:s0
/class/[[:alpha:]_]i u:r:class:s0
/class/[[:^digit:]]j u:r:class:s0
/class/[\\d\\-]k u:r:class:s0
/class/[\\]\\\\]l u:r:class:s0
/class/[a-c0-9]m u:r:class:s0
/escape/\\d\\D u:r:escape:s0
/escape/\\w\\W1 u:r:escape:s0
/escape/\\x41\\x{42} u:r:escape:s0
/escape/\\.\\*\\+\\?\\(\\)\\[\\{\\|\\^\\$ u:r:escape:s0
/escape/dot\\.txt u:r:escape:s0
/escape/sp\\sace u:r:escape:s0
/nothing/\\h u:r:escape:s0
/dot/. u:r:dot:s0
/dot/.. u:r:two:s0
/stem/?x u:r:stem:s0
/stem* u:r:stem:s0
/deep/(.*/)?bin(/.*)? u:r:deep:s0
/deep/.*/lib[^/]*\\.so(\\.[^/]*)* -- u:r:lib:s0
/^odd u:r:odd:s0
/end$ u:r:end:s0
`;

const PATHS = [
  ...String.raw`
    / // /x /commented /indented /etc /etc/ /etc/special /etc//special /etc/a/b /exact /exactly /exact/x /twice/x
    /twice/y /both /both/x /both/xy /home/u /home/u/f /var /var/x /var/none /var/none/x /var/none/but/x
    /var/none/dir /first /firstly /opt/y /sub /sub/a /sub/a/c /sub/a/b /sub/a/b/c /sub/ab /sub/c /sub/d/none/x
    /lonely /opt/x /sub/a/x /sub/a/x/y /root-sub /root-sub/etc /root-sub/exact /usr/etc /usr/etc/special
    /usr/etc/x /usr/etcetera /alt/a /alt/ab /alt/x/alt/b/c /alt/b/c /group/ac /group/bc /group/c /group/cc
    /group/xyz /group/z /group/nm /count/aa /count/a /count/aaa /count/bbbb /count/cc /count/ccc /count/cccc
    /count/d{x /count/ababc /count/abab /lazy/aab /lazy/b /class/a /class/d /class/xd /class/ad /class/]e
    /class/xe /class/]f /class/yf /class/-g /class/ag /class/-h /class/zi /class/_i /class/1i /class/aj /class/1j
    /class/1k /class/-k /class/]l /class/bm /class/dm /class/5m /escape/1a /escape/a1 /escape/a-1 /escape/AB
    /escape/.*+?()[{|^$ /escape/dot.txt /escape/dotxtxt /dot/a /dot/ä /dot/ab /dot/日 /stem/x /stem /stemx /stemmm
    /ste /deep/bin /deep/a/b/bin/x /deep/binx /deep/a/libx.so /deep/a/libx.so.1.2 /deep/liby.so /odd /^odd /end
  `
    .trim()
    .split(/\s+/),
  '/class/\\l',
  '/escape/sp ace',
  '/nothing/\t',
  '/dot/\n',
  '/exact\n',
  '/twice/x\n',
  '/etc/special\n',
  '/a\n',
  `/${'long/'.repeat(300)}x`,
];
