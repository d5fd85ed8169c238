import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Archive } from '../../testbed/tar-archive.ts';
import { treeline } from '../unit/cli/run.ts';
import { ensureSelinuxPolicy, type SelinuxPolicy } from '../../tools/setup/index.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  readLayout,
  refsOf,
  run,
  writeImage,
} from './import-fixture.ts';

const MTIME = 1_700_000_000;
const OBJECT = `sysroot/ostree/repo/objects/ab/${'c'.repeat(62)}.file`;
const CONTEXTS = 'etc/selinux/default/contexts/files';
const OLD_LABEL = 'old_u:object_r:old_t:s0\0';

interface Case {
  readonly name: string;
  readonly layers: readonly Archive[];
  /** Paths of the merged tree and the type that their label must have: what makes the case mean something. */
  readonly types: Readonly<Record<string, string>>;
}

const CASES: readonly Case[] = [
  {
    name: 'files, links and directories that a layer adds in every part of the system',
    layers: [
      new Archive()
        .file('usr/bin/bash5', 'shell', { mode: 0o755 })
        .file('usr/lib64/libnew.so.1', 'library')
        .symlink('usr/lib64/libnew.so', 'libnew.so.1')
        .directory('usr/share/man', { mode: 0o755 })
        .file('usr/share/man/man1/x.1', 'manual')
        .file('usr/sbin/sshd', 'server', { mode: 0o755 })
        .file('usr/share/big', 'large enough to be streamed. '.repeat(20_000))
        .file('etc/shadow', 'secret', { mode: 0o600 })
        .file('etc/motd', 'hello'),
    ],
    types: {
      '/usr/lib64/libnew.so.1': 'lib_t',
      '/usr/sbin/sshd': 'sshd_exec_t',
      '/usr/share/man/man1/x.1': 'man_t',
      '/usr/etc/motd': 'etc_t',
      '/usr/share/big': 'usr_t',
    },
  },
  {
    name: 'labels that come with a layer, where the policy has none',
    layers: [
      new Archive()
        .directory('usr/lost+found')
        .file('usr/lost+found/labelled', 'x', { xattrs: { 'security.selinux': OLD_LABEL } })
        .file('usr/lost+found/unlabelled', 'x'),
    ],
    types: { '/usr/lost+found/labelled': 'old_t' },
  },
  {
    name: 'hardlinks whose paths have different labels',
    layers: [
      new Archive()
        .file('usr/share/program', 'linked', { mode: 0o755, mtime: MTIME })
        .hardlink('usr/bin/program', 'usr/share/program', { mtime: MTIME })
        .hardlink('etc/program', 'usr/share/program', { mtime: MTIME }),
    ],
    types: { '/usr/share/program': 'usr_t', '/usr/bin/program': 'bin_t', '/usr/etc/program': 'etc_t' },
  },
  {
    name: 'a base file that a build modified through its hardlink into the object store',
    layers: [
      new Archive()
        .file(OBJECT, 'modified content', { mode: 0o755, mtime: MTIME })
        .hardlink('usr/sbin/sshd', OBJECT, { mtime: MTIME }),
    ],
    types: { '/usr/sbin/sshd': 'sshd_exec_t' },
  },
  {
    name: 'an opaque directory, whiteouts, and directories that no entry describes',
    layers: [
      new Archive().file('usr/share/man/one/x', 'x').file('usr/lib/systemd/system/x.service', 'x'),
      new Archive()
        .directory('usr/share/doc', { mode: 0o700 })
        .file('usr/share/doc/.wh..wh..opq', '')
        .file('usr/share/doc/only', 'only')
        .file('usr/bin/.wh.sudo', '')
        .file('usr/share/man/one/.wh.x', ''),
    ],
    types: { '/usr/share/man/one': 'man_t', '/usr/lib/systemd': 'lib_t' },
  },
  {
    name: 'a policy that a layer changes: files of the base and of lower layers get its labels',
    layers: [
      new Archive().file('usr/bin/local-tool', 'x', { mode: 0o755 }),
      new Archive()
        .file(
          `${CONTEXTS}/file_contexts.local`,
          '/usr/bin/local-.* system_u:object_r:local_exec_t:s0\n' +
            '/usr/share/owned -- system_u:object_r:owned_t:s0\n' +
            '/usr/lib/big system_u:object_r:big_t:s0\n' +
            '/usr/bin/bash -l system_u:object_r:link_t:s0\n',
        )
        .file(`${CONTEXTS}/file_contexts.subs`, '/usr/share/doc /usr/share/man\n'),
    ],
    types: {
      '/usr/bin/local-tool': 'local_exec_t',
      '/usr/share/owned': 'owned_t',
      '/usr/lib/big': 'big_t',
      '/usr/bin/bash': 'link_t',
      '/usr/share/doc/a/readme': 'man_t',
    },
  },
  {
    name: 'SELinux disabled by a layer: labels of the base’s policy',
    layers: [
      new Archive().file('etc/selinux/config', 'SELINUX=disabled\nSELINUXTYPE=default\n').file('usr/bin/x', 'x'),
    ],
    types: { '/usr/bin/x': 'bin_t' },
  },
  {
    name: 'the policy removed by a layer: labels of the base’s policy',
    layers: [new Archive().file('etc/.wh.selinux', '').file('usr/bin/x', 'x')],
    types: { '/usr/bin/x': 'bin_t' },
  },
];

/** The type in the label that `ostree ls -X` shows for a path. */
function typeOf(content: string, path: string): string | undefined {
  const line = content.split('\n').find((one) => one.endsWith(` ${path}`) || one.includes(` ${path} -> `));
  const text = /b'security\.selinux', (?:b'([^']*)'|\[((?:byte )?0x[^\]]*)\])/.exec(line ?? '');
  const label = text?.[1] ?? Buffer.from((text?.[2] ?? '').replace(/byte |0x|, /g, ''), 'hex').toString();
  return label.split(':')[2];
}

describe('an image with derived layers and an SELinux policy', () => {
  let folder: string;
  let policy: SelinuxPolicy;
  let base: string;
  let ours: string;
  let theirs: string;
  let count = 0;

  before(async function () {
    this.timeout(600_000);
    policy = await ensureSelinuxPolicy(() => {});
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder, [], { policy: policy.directory }), folder, false);
    ours = join(folder, 'ours');
    theirs = join(folder, 'theirs');
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function deriveFrom(layout: string, ...layers: readonly Archive[]): Promise<string> {
    return await derive(
      layout,
      join(folder, `case-${count++}`),
      layers.map((layer) => layer.finish()),
    );
  }

  /** The content when `ostree commit` labels the tree of our commit by the policy in it, after some labels were lost. */
  async function judged(commit: string): Promise<string> {
    const path = join(folder, `judge-${count++}`);
    const checkout = join(path, 'checkout');
    await run('ostree', `--repo=${path}`, 'init', '--mode=bare');
    await run('ostree', `--repo=${ours}`, 'checkout', '--force-copy', commit, checkout);
    await run('setfattr', '-h', '-x', 'security.selinux', join(checkout, 'usr/bin/sh'), join(checkout, 'usr/bin'));
    await run(
      'ostree',
      `--repo=${path}`,
      'commit',
      '--branch=x',
      `--tree=dir=${checkout}`,
      `--selinux-policy=${checkout}`,
    );
    return await contentOf(path, 'x');
  }

  for (const { name, layers, types } of CASES) {
    it(`gets the labels that the peer gives: ${name}`, async () => {
      const layout = await deriveFrom(base, ...layers);
      const { mergeCommit } = await pull(ours, layout);
      const content = await contentOf(ours, mergeCommit);
      assert.equal(content, await contentOf(theirs, await pullWithPeer(theirs, layout)));
      for (const [path, type] of Object.entries(types)) assert.equal(typeOf(content, path), type, path);
    });
  }

  it('has nothing in it that ostree fsck complains about', async () => {
    await fsck(ours);
  });

  it('gets the labels that ostree commit --selinux-policy gives the same tree', async () => {
    const layers = CASES.slice(0, 6).flatMap((one) => one.layers);
    const { mergeCommit } = await pull(ours, await deriveFrom(base, ...layers));
    const content = await contentOf(ours, mergeCommit);
    assert.equal(await judged(mergeCommit), content);
    assert.equal(typeOf(content, '/usr/lib/big'), 'big_t');
  });

  it('gets them, too, when it is an ordinary container image, whose policy is in a layer', async () => {
    const empty = join(folder, 'empty');
    await cp(base, empty, { recursive: true });
    const { manifest, config } = await readLayout(empty);
    const labels = { Labels: { 'containers.bootc': '1' } };
    const none = { ...config, config: labels, rootfs: { type: 'layers' as const, diff_ids: [] }, history: [] };
    await writeImage(empty, { ...manifest, layers: [], annotations: {} }, none);
    const contexts = '/.* u:r:any:s0\n/ u:r:root:s0\n/usr/bin/.* -- u:r:bin:s0\n/proc <<none>>\n/mnt u:r:mnt:s0\n';
    const layout = await deriveFrom(
      empty,
      new Archive()
        .directory('./')
        .file('usr/bin/sh', 'x')
        .file('usr/share/big', 'streamed '.repeat(50_000))
        .directory('proc'),
      new Archive()
        .file('etc/selinux/config', 'SELINUX=permissive\nSELINUXTYPE=small\n')
        .file('etc/selinux/small/contexts/files/file_contexts', contexts)
        .file('etc/selinux/small/policy/policy.33', 'libostree wants one'),
    );
    const { mergeCommit } = await pull(ours, layout, { retainVar: true });
    const content = await contentOf(ours, mergeCommit);
    assert.equal(await judged(mergeCommit), content);
    assert.equal(typeOf(content, '/usr/bin/sh'), 'bin');
    assert.equal(typeOf(content, '/proc'), 'mnt');
  });

  it('of a base that was never labelled gets labels for all of it', async () => {
    const unlabelled = join(folder, 'unlabelled');
    const system = await makeSystem(unlabelled, [], { policy: policy.directory, labelled: false });
    const layout = await deriveFrom(await encapsulate(system, unlabelled, true), new Archive().file('usr/bin/x', 'x'));
    const { mergeCommit } = await pull(ours, layout);
    const content = await contentOf(ours, mergeCommit);
    assert.equal(content, await contentOf(theirs, await pullWithPeer(theirs, layout)));
    assert.equal(typeOf(content, '/usr/lib/big'), 'lib_t');
  });

  it('is written once, where the policy is that of its base: nothing is left over', async () => {
    const repository = join(folder, 'once');
    await pull(repository, await deriveFrom(base, ...CASES[0]!.layers));
    const objects = (await run('find', join(repository, 'objects'), '-name', '*.file', '-printf', '%P\n')).trim();
    const written = objects.split('\n').map((path) => path.replace('/', '').replace('.file', ''));
    const refs = [...(await refsOf(repository, 'ostree')).values()];
    const listings = await Promise.all(refs.map(async (commit) => contentOf(repository, commit)));
    const used = new Set(listings.join('\n').match(/\b[0-9a-f]{64}\b/g));
    assert.deepEqual(
      written.filter((checksum) => !used.has(checksum)),
      [],
    );
  });

  it('shares the objects of its layers with the merged tree, and a second pull changes nothing', async () => {
    const layout = await deriveFrom(
      base,
      new Archive().file('usr/bin/shared-tool', 'x', { mode: 0o755 }),
      new Archive().file(`${CONTEXTS}/file_contexts.local`, '/usr/bin/shared-.* system_u:object_r:shared_t:s0\n'),
    );
    const repository = join(folder, 'shared');
    const { mergeCommit } = await pull(repository, layout);
    const merged = await checksumOf(repository, mergeCommit, '/usr/bin/shared-tool');
    const refs = await refsOf(repository, 'ostree/container/blob');
    const layers = await Promise.all(
      [...refs.values()].map(async (commit) => checksumOf(repository, commit, '/usr/bin/shared-tool').catch(() => '')),
    );
    assert.deepEqual(
      layers.filter((checksum) => checksum !== ''),
      [merged],
    );
    // Without its ref the image is merged again, from layers that are there.
    for (const ref of (await refsOf(repository, 'ostree/container/image')).keys()) {
      await run('ostree', `--repo=${repository}`, 'refs', '--delete', ref);
    }
    assert.equal((await pull(repository, layout)).mergeCommit, mergeCommit);
    assert.deepEqual(await refsOf(repository, 'ostree/container/blob'), refs);
    await fsck(repository);
  });

  it('differs from the released peer’s where that writes objects that ostree fsck calls corrupt', async () => {
    // libostree before 2025.2 appends a label to the attributes: after those that sort behind it, and beside an old one.
    const layer = new Archive()
      .file('usr/share/noted', 'x', { xattrs: { 'user.note': 'sorts after security.selinux' } })
      .file('usr/bin/labelled', 'x', { xattrs: { 'security.selinux': OLD_LABEL } });
    const layout = await deriveFrom(base, layer);
    const { mergeCommit } = await pull(ours, layout);
    const content = await contentOf(ours, mergeCommit);
    assert.equal(typeOf(content, '/usr/share/noted'), 'usr_t');
    assert.equal(typeOf(content, '/usr/bin/labelled'), 'bin_t');
    await fsck(ours);
    const corrupt = join(folder, 'corrupt');
    await pullWithPeer(corrupt, layout);
    await assert.rejects(fsck(corrupt), /Corrupted file object/);
  });

  for (const mode of ['bare-user', 'archive']) {
    it(`gets the same labels in a repository of mode ${mode}`, async () => {
      const local = '/usr/(lib/big|bin/sh) system_u:object_r:local_t:s0\n';
      const layer = new Archive().file('usr/bin/x', 'x').file(`${CONTEXTS}/file_contexts.local`, local);
      const layout = await deriveFrom(base, layer);
      const { mergeCommit } = await pull(ours, layout);
      const path = join(folder, mode);
      await run('ostree', `--repo=${path}`, 'init', `--mode=${mode}`);
      const said = await treeline(['image', 'pull', path, `oci:${layout}:base`]);
      assert.equal(said.status, 0, said.stderr);
      assert.equal(await contentOf(path, mergeCommit), await contentOf(ours, mergeCommit));
      await fsck(path);
    });
  }

  it('does not give damaged content a name of its own', async () => {
    const repository = join(folder, 'damaged');
    await pull(repository, base);
    const big = await checksumOf(
      repository,
      [...(await refsOf(repository, 'ostree/container/image')).values()][0]!,
      '/usr/lib/big',
    );
    const object = join(repository, 'objects', big.slice(0, 2), `${big.slice(2)}.file`);
    await writeFile(object, (await readFile(object, 'utf8')).replace('streamed', 'Streamed'));
    const local = '/usr/lib/big system_u:object_r:big_t:s0\n';
    const layout = await deriveFrom(base, new Archive().file(`${CONTEXTS}/file_contexts.local`, local));
    await assert.rejects(
      pull(repository, layout),
      (error: Error & { code?: string }) => error.code === 'CorruptObject',
    );
  });

  for (const [name, contexts, words] of [
    ['that cannot be read', '/x\n', /file_contexts\.local:1 has a path and no context/],
    ['with an expression that could run for ever', '/usr/(a)\\1 u:r:t:s0\n', /local:1: .* uses \\1, which is not/],
    [
      'with an expression that is huge when written out',
      `/usr/${'('.repeat(9)}a${'){99}'.repeat(9)} u:r:t:s0\n`,
      /large/,
    ],
    ['that is too large', '# comment\n'.repeat(450_000), /has 4500000 bytes/],
  ] as const) {
    it(`${name} is refused by name, and leaves nothing`, async () => {
      const layout = await deriveFrom(base, new Archive().file(`${CONTEXTS}/file_contexts.local`, contexts));
      await assert.rejects(pull(ours, layout), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'InvalidPolicy');
        assert.match(error.message, words);
        return true;
      });
      const images = await refsOf(ours, 'ostree/container/image');
      assert.ok(![...images.keys()].some((ref) => ref.includes(`case-${count - 1}`)));
      await fsck(ours);
    });
  }

  it('without derived layers keeps the labels of its base, right or wrong', async () => {
    const unlabelled = join(folder, 'base-only');
    await cp(join(folder, 'unlabelled/chunked'), unlabelled, { recursive: true });
    const { mergeCommit } = await pull(ours, unlabelled);
    assert.doesNotMatch(await contentOf(ours, mergeCommit), /security\.selinux/);
  });
});

async function checksumOf(repository: string, commit: string, path: string): Promise<string> {
  return (await run('ostree', `--repo=${repository}`, 'ls', '-C', commit, path)).split(/ +/)[4] ?? '';
}
