/** What the tests of the repository core stand on: a scratch directory, the real ostree(1), and trees made by code. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { variant, type VariantDictionary } from '../../ostree/gvariant/value.ts';
import { encodeCommit } from '../../ostree/objects/commit.ts';
import { encodeDirectoryMetadata } from '../../ostree/objects/dirmeta.ts';
import { SYMLINK_MODE } from '../../ostree/objects/file-header.ts';
import { canonicalXattrs, NO_XATTRS, type Xattr } from '../../ostree/objects/xattrs.ts';
import type { Transaction } from '../../ostree/repository/transaction.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';

/** A new directory that is gone at the end of the scope. */
export function scratchDirectory(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'treeline-ostree-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs ostree(1) on a repository and returns what it prints. Throws with its words if it fails. */
export function ostree(repository: string, ...parameters: readonly string[]): string {
  return execFileSync('ostree', [`--repo=${repository}`, ...parameters], {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 2 ** 26,
  });
}

export interface FileSpec {
  readonly content?: string | Buffer;
  /** Makes it a symbolic link. */
  readonly target?: string;
  /** Makes it a directory. */
  readonly directory?: true;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly xattrs?: readonly Xattr[];
}

/** An SELinux label as policies write it, with its trailing NUL. */
export function label(type: string): readonly Xattr[] {
  return [{ name: 'security.selinux', value: Buffer.from(`system_u:object_r:${type}:s0\0`) }];
}

const DEFAULT_MODES = { file: 0o644, directory: 0o755 } as const;

/** Writes a tree and a commit of it; directories that are only named by their files get mode 0755 and no attributes. */
export function writeTree(
  transaction: Transaction,
  tree: Readonly<Record<string, FileSpec>>,
  commit: { readonly metadata?: VariantDictionary; readonly timestamp?: number; readonly subject?: string } = {},
): string {
  const dirmeta = (spec: FileSpec): string =>
    transaction.writeMetadata(
      'dirmeta',
      encodeDirectoryMetadata({
        uid: spec.uid ?? 0,
        gid: spec.gid ?? 0,
        mode: 0o040000 | (spec.mode ?? DEFAULT_MODES.directory),
        xattrs: canonicalXattrs(spec.xattrs ?? []),
      }),
    );
  const plain = dirmeta({});
  const root = TreeDirectory.empty(tree['.'] === undefined ? plain : dirmeta(tree['.']));
  for (const [path, spec] of Object.entries(tree)) {
    if (path === '.') continue;
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    let parent = root;
    for (const segment of segments) parent = parent.ensureDirectory(segment, plain);
    if (spec.directory === true) parent.ensureDirectory(name, plain).dirmeta = dirmeta(spec);
    else parent.setFile(name, writeFile(transaction, spec));
  }
  const reference = root.write(transaction);
  return transaction.writeMetadata(
    'commit',
    encodeCommit({
      metadata: commit.metadata ?? [],
      subject: commit.subject ?? '',
      body: '',
      timestamp: commit.timestamp ?? 872_879_442,
      ...reference,
    }),
  );
}

function writeFile(transaction: Transaction, spec: FileSpec): string {
  const { uid = 0, gid = 0, target } = spec;
  const xattrs = spec.xattrs === undefined ? NO_XATTRS : canonicalXattrs(spec.xattrs);
  if (target !== undefined) {
    return transaction.writeSymlink({ uid, gid, mode: SYMLINK_MODE, symlinkTarget: target, xattrs });
  }
  const mode = 0o100000 | (spec.mode ?? DEFAULT_MODES.file);
  return transaction.writeFile({ uid, gid, mode, symlinkTarget: '', xattrs }, Buffer.from(spec.content ?? ''));
}

const PING_CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex');
/** cap_setuid is bit 7: a byte that is not valid UTF-8 on its own. */
const SETUID_CAPABILITY = Buffer.from('0100000280000000000000000000000000000000', 'hex');

/** One of everything that an operating system may contain. */
export const EVERYTHING: Readonly<Record<string, FileSpec>> = {
  'usr/bin/sh': { target: 'bash' },
  'usr/bin/bash': { content: 'the-bash\n', mode: 0o755 },
  'usr/bin/su': { content: 'setuid\n', mode: 0o4755 },
  'usr/bin/newuidmap': { content: 'caps\n', mode: 0o755, xattrs: [capability(SETUID_CAPABILITY)] },
  'usr/bin/empty': {},
  'usr/bin/empty-too': {},
  'usr/lib/same-content': { content: 'dup\n' },
  'usr/lib/same-content-again': { content: 'dup\n' },
  'usr/lib/of-somebody': { content: 'dup\n', uid: 12_345, gid: 54_321, mode: 0o600 },
  'usr/lib/größe-名前-\u{1f332}': { content: 'non-ASCII name\n' },
  'usr/lib/binary-attribute': { content: 'x', xattrs: [{ name: 'user.binary', value: Buffer.from([0, 255, 10, 61]) }] },
  'usr/lib/large': { content: Buffer.alloc(1_500_000, 'large ') },
  [`usr/lib/${'deep/'.repeat(30)}${'long-name-'.repeat(12)}`]: { content: 'long\n' },
  'usr/lib/long-link': { target: `../${'x'.repeat(300)}` },
  'usr/share/private': { directory: true, mode: 0o2750, uid: 7, gid: 8 },
  'usr/etc/a.conf': { content: 'conf\n' },
  sysroot: { directory: true },
  var: { directory: true },
};

function capability(value: Buffer): Xattr {
  return { name: 'security.capability', value };
}

/** A small system with labels, of which every checksum is known from images that other tools made. */
export const MINI: Readonly<Record<string, FileSpec>> = {
  '.': { xattrs: label('root_t') },
  ostree: { target: 'sysroot/ostree', xattrs: label('root_t') },
  sysroot: { directory: true, xattrs: label('root_t') },
  usr: { directory: true, xattrs: label('usr_t') },
  'usr/bin': { directory: true, xattrs: label('bin_t') },
  'usr/bin/bash': { content: 'the-bash\n', mode: 0o755, xattrs: label('shell_exec_t') },
  'usr/bin/empty': { xattrs: label('bin_t') },
  'usr/bin/ping': { content: 'ping\n', mode: 0o755, xattrs: [capability(PING_CAPABILITY), ...label('ping_exec_t')] },
  'usr/bin/sh': { target: 'bash', xattrs: label('bin_t') },
  'usr/etc': { directory: true, xattrs: label('etc_t') },
  'usr/etc/a.conf': { content: 'conf\n', xattrs: label('etc_t') },
  'usr/lib': { directory: true, xattrs: label('lib_t') },
  'usr/lib/x': { content: 'dup\n', xattrs: label('lib_t') },
  'usr/lib/y': { content: 'dup\n', xattrs: label('lib_t') },
  var: { directory: true, xattrs: label('var_t') },
};

export const MINI_METADATA: VariantDictionary = [
  ['ostree.bootable', variant.boolean(true)],
  ['ostree.linux', variant.string('6.1.0-test')],
  ['version', variant.string('42.1')],
];
export const MINI_COMMIT = '22a20ae0ddc07da9318fd8e210ac87e28403d54efeb9279fa574ffb016e4f851';
