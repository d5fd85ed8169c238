/**
 * What a tree is when directories are as a container of the image has them. `tar` tells which directories a layer has an
 * entry for, `umoci` how they are in the container, `ostree` the content checksum; we are asked nothing.
 */
import { lstat, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { contentOf, run } from './import-fixture.ts';

export interface ContainerTree {
  /** A repository with a commit that has the right files. */
  readonly repository: string;
  readonly commit: string;
  /** A repository whose branch `os` is what the layers lie on. */
  readonly base: string;
  /** OCI layout of the image. */
  readonly layout: string;
  /** Its derived layers, uncompressed. */
  readonly tars: readonly Buffer[];
  /** For files that are gone at the end. */
  readonly folder: string;
}

/**
 * The content of `commit`, but that each directory below the root for which a layer has an entry is what it is in a
 * container; and that one which a layer only makes opaque is what it is below it. The same content if there are none.
 */
export async function asContainersSeeDirectories(tree: ContainerTree): Promise<string> {
  const folder = await mkdtemp(join(tree.folder, 'container-'));
  const { entries, opaque } = await directoriesOf(tree.tars, folder);
  if (entries.size + opaque.size === 0) return await contentOf(tree.repository, tree.commit);
  const [checkout, base] = [join(folder, 'tree'), join(folder, 'base')];
  await run('ostree', `--repo=${tree.repository}`, 'checkout', '--force-copy', tree.commit, checkout);
  await run('ostree', `--repo=${tree.base}`, 'checkout', '--force-copy', 'os', base);
  await run('umoci', 'unpack', '--image', `${tree.layout}:base`, join(folder, 'bundle'));
  const container = join(folder, 'bundle', 'rootfs');
  for (const name of new Set([...opaque, ...entries])) {
    const place = name.replace(/^etc(?=\/|$)/, 'usr/etc');
    const [from, to] = [entries.has(name) ? join(container, name) : join(base, place), join(checkout, place)];
    // Dropped here, or not a directory any more; or named like a whiteout, which umoci takes for one.
    if ((await isDirectory(from)) && (await isDirectory(to))) await takeMetadata(from, to);
  }
  const judge = join(folder, 'repo');
  await run('ostree', `--repo=${judge}`, 'init', '--mode=bare');
  const commit = await run('ostree', `--repo=${judge}`, 'commit', '--orphan', `--tree=dir=${checkout}`);
  const content = await contentOf(judge, commit.trim());
  await rm(folder, { recursive: true });
  return content;
}

interface LayerDirectories {
  /** Paths without slashes at either end; not the root's. */
  readonly entries: Set<string>;
  readonly opaque: Set<string>;
}

async function directoriesOf(tars: readonly Buffer[], folder: string): Promise<LayerDirectories> {
  const found: LayerDirectories = { entries: new Set(), opaque: new Set() };
  const path = join(folder, 'layer.tar');
  for (const tar of tars) {
    await writeFile(path, tar);
    const form = ['--list', '--verbose', '--quoting-style=literal', '--absolute-names'];
    for (const line of (await run('tar', ...form, '--file', path)).split('\n')) {
      // Kind and mode, owner, size, date, time, name.
      const [, kind, name = ''] = /^(.)\S+ +\S+ +\d+ +\S+ +\S+ +[./]*(.*?)\/*$/.exec(line) ?? [];
      if (kind === 'd' && name !== '') found.entries.add(name);
      if (kind === '-' && name.endsWith('/.wh..wh..opq')) found.opaque.add(dirname(name));
    }
  }
  return found;
}

async function isDirectory(path: string): Promise<boolean> {
  return await lstat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function takeMetadata(from: string, to: string): Promise<void> {
  const { uid, gid, mode } = await stat(from);
  await run('chown', `${uid}:${gid}`, to);
  await run('chmod', (mode & 0o7777).toString(8).padStart(5, '0'), to);
  for (const name of await xattrNames(to)) await run('setfattr', '--remove', name, to);
  for (const name of await xattrNames(from)) {
    const dump = await run('getfattr', '--absolute-names', '--encoding=hex', '--name', name, from);
    await run('setfattr', '--name', name, '--value', /=(0x[0-9a-f]+)$/m.exec(dump)?.[1] ?? '', to);
  }
}

async function xattrNames(path: string): Promise<readonly string[]> {
  const dump = await run('getfattr', '--absolute-names', '--match=-', path);
  return dump.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}
