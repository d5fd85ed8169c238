/** Layers as encapsulators of other years write them: the same content, told differently. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { TarEntry } from '../../ostree/import/tar-header.ts';
import { TarReader } from '../../ostree/import/tar-reader.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import {
  addLayer,
  blobPath,
  contentOf,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  readLayout,
  sha256,
  writeImage,
} from './import-fixture.ts';

interface Member {
  readonly entry: TarEntry;
  readonly content: Buffer;
}

const LINK = /^(.*\/)([0-9a-f]{2})\/([0-9a-f]{62})\.file-xattrs-link$/;
const STORE = 'sysroot/ostree/repo/objects';
const TYPES = { file: '0', hardlink: '1', symlink: '2', directory: '5' } as const;

function membersOf(tar: Buffer): readonly Member[] {
  const members: { entry: TarEntry; content: Buffer }[] = [];
  const reader = new TarReader({
    entry: (entry) => void members.push({ entry, content: Buffer.alloc(0) }),
    data: (bytes) => void (members.at(-1)!.content = Buffer.concat([members.at(-1)!.content, bytes])),
    entryEnd: () => undefined,
  });
  reader.write(tar);
  reader.end();
  return members;
}

function put(archive: Archive, { entry, content }: Member, linkPath = entry.linkPath): void {
  const { mode, uid, gid, mtime, xattrs } = entry;
  const type = TYPES[entry.type as keyof typeof TYPES];
  archive.add(entry.path, { type, linkPath, content, mode, uid, gid, mtime, xattrs: Object.fromEntries(xattrs) });
}

/** 2022 to 2025: each attribute list once, hardlinks to it before the files. */
function withSharedXattrs(members: readonly Member[]): Archive {
  const archive = new Archive();
  const lists = new Map<string, Buffer>();
  for (const { entry, content } of members) {
    if (LINK.test(entry.path) && entry.type === 'file') lists.set(hash(content), content);
  }
  const written = new Set<string>();
  for (const member of members) {
    const { entry, content } = member;
    if (!LINK.test(entry.path) || entry.type !== 'file') {
      put(archive, member);
      continue;
    }
    const checksum = hash(content);
    const path = `${STORE}/${checksum.slice(0, 2)}/${checksum.slice(2)}.file-xattrs`;
    if (!written.has(checksum)) archive.file(path, content);
    written.add(checksum);
    archive.hardlink(entry.path, path);
  }
  return archive;
}

/** Since 2025: the attributes of each file before it. */
function withInlineXattrs(members: readonly Member[]): Archive {
  const archive = new Archive();
  const lists = new Map<string, Buffer>();
  for (const member of members) {
    const { entry, content } = member;
    if (entry.path.endsWith('.file-xattrs')) lists.set(entry.path, content);
    else if (LINK.test(entry.path) && entry.type === 'hardlink') archive.file(entry.path, lists.get(entry.linkPath)!);
    else put(archive, member);
  }
  return archive;
}

/** `--format-version 2`: the parent directories of each path before its first link. */
function withParents(members: readonly Member[]): Archive {
  const archive = new Archive();
  const seen = new Set<string>();
  for (const member of members) {
    const { entry } = member;
    if (entry.type !== 'directory' && !entry.path.startsWith('sysroot/')) {
      const parts = entry.path.split('/').slice(0, -1);
      for (const index of parts.keys()) {
        const parent = parts.slice(0, index + 1).join('/');
        if (!seen.has(parent)) archive.directory(parent, { mode: 0o711, uid: 7 });
        seen.add(parent);
      }
    }
    put(archive, member);
  }
  return archive;
}

function hash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe('an image of another era', () => {
  let folder: string;
  let original: string;
  let expected: string;

  before(async () => {
    folder = await makeFolder();
    original = await encapsulate(await makeSystem(folder), folder, true);
    const repository = join(folder, 'original');
    expected = await contentOf(repository, (await pull(repository, original)).mergeCommit);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function rewritten(name: string, rewrite: (members: readonly Member[]) => Archive): Promise<string> {
    const layout = join(folder, name);
    await cp(original, layout, { recursive: true });
    const { manifest, config } = await readLayout(layout);
    for (const [index, layer] of manifest.layers.entries()) {
      const tar = rewrite(membersOf(gunzipSync(await readFile(blobPath(layout, layer.digest))))).finish();
      manifest.layers[index] = { ...layer, ...(await addLayer(layout, tar, 'gzip')) };
      config.rootfs.diff_ids[index] = sha256(tar);
    }
    config.config.Labels['ostree.final-diffid'] = config.rootfs.diff_ids.at(-1)!;
    await writeImage(layout, manifest, config);
    return layout;
  }

  for (const [name, rewrite] of [
    ['shared attribute lists, 2022 to 2025', withSharedXattrs],
    ['attributes before each file, since 2025', withInlineXattrs],
    ['parent directories in every layer, format version 2', withParents],
  ] as const) {
    it(`has the same content: ${name}`, async () => {
      const layout = await rewritten(rewrite.name, rewrite);
      const ours = join(folder, `ours-${rewrite.name}`);
      const theirs = join(folder, `theirs-${rewrite.name}`);
      assert.equal(await contentOf(ours, (await pull(ours, layout)).mergeCommit), expected);
      assert.equal(await contentOf(theirs, await pullWithPeer(theirs, layout)), expected);
      await fsck(ours);
    });
  }

  it('has the same content when its history has entries without a layer', async () => {
    const layout = join(folder, 'history');
    await cp(original, layout, { recursive: true });
    const { manifest, config } = await readLayout(layout);
    const empty = { created_by: 'ENV x=y', empty_layer: true };
    await writeImage(layout, manifest, { ...config, history: [empty, ...(config.history ?? []), empty] });
    const ours = join(folder, 'ours-history');
    assert.equal(await contentOf(ours, (await pull(ours, layout)).mergeCommit), expected);
  });

  it('has the same content even if its history is cut short: nothing depends on it', async () => {
    const layout = join(folder, 'truncated');
    await cp(original, layout, { recursive: true });
    const { manifest, config } = await readLayout(layout);
    await writeImage(layout, manifest, { ...config, history: (config.history ?? []).slice(0, 1) });
    const ours = join(folder, 'ours-truncated');
    assert.equal(await contentOf(ours, (await pull(ours, layout)).mergeCommit), expected);
  });
});
