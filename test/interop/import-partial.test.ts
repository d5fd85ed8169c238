import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImportProgress, PulledImage } from '../../ostree/index.ts';
import { type LayoutServerOptions, startLayoutServer } from '../../testbed/layout-server.ts';
import { startRegistry } from '../../testbed/registry.ts';
import { encodeZstdChunked, type Toc } from '../../testbed/zstd-chunked.ts';
import {
  blobPath,
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
  sha256,
  writeImage,
} from './import-fixture.ts';
import {
  applicationLayer,
  changedContent,
  currentWriter,
  type LayerWriter,
  manyFiles,
  ownWriter,
  pullFrom,
  withLayersBy,
} from './partial-fixture.ts';

const ZERO_DIGEST = `sha256:${'0'.repeat(64)}`;

describe('a pull that fetches only files that are lacking', () => {
  let folder: string;
  /** A repository with version 1, to be copied; version 2 differs in one file of many in each of its two layers. */
  let withVersion1: string;
  let version2: string;
  /** What the peer makes of version 2. */
  let expected: string;
  let count = 0;
  const fresh = (name: string): string => join(folder, `${name}-${++count}`);

  before(async () => {
    folder = await makeFolder();
    const [first, second] = await Promise.all(
      ['1', '2'].map(async (version) => {
        const images = fresh('images');
        await mkdir(images);
        const system = await makeSystem(images, manyFiles(version));
        const base = await encapsulate(system, images, false);
        return await derive(base, fresh('version'), [applicationLayer(version)]);
      }),
    );
    version2 = second!;
    withVersion1 = fresh('repository');
    await pull(withVersion1, first!);
    const judge = fresh('peer');
    expected = await contentOf(judge, await pullWithPeer(judge, version2));
  });

  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function repository(): Promise<string> {
    const path = fresh('repository');
    await run('cp', '-a', withVersion1, path);
    return path;
  }

  interface Update {
    readonly path: string;
    readonly pulled: PulledImage;
    readonly warnings: readonly string[];
    /** Bytes that the server sent, by blob. */
    readonly sent: ReadonlyMap<string, number>;
  }

  /** Pulls version 2, from a layout of its own, over version 1. */
  async function update(layout: string, options: LayoutServerOptions = {}): Promise<Update> {
    const path = await repository();
    await using server = await startLayoutServer(layout, options);
    const warnings: string[] = [];
    const pulled = await pullFrom(server.host, path, { onWarning: (message) => warnings.push(message) });
    await fsck(path);
    assert.equal(await contentOf(path, pulled.mergeCommit), expected);
    return { path, pulled, warnings, sent: server.takeCount() };
  }

  const version2By = (write: LayerWriter): Promise<string> => withLayersBy(write, version2, fresh('layout'));

  for (const [name, write] of [
    ['the writer of podman, buildah and skopeo', currentWriter],
    ['our own writer', ownWriter],
  ] as const) {
    it(`saves the bytes of the others when one of many changed, in both kinds of layer, by ${name}`, async () => {
      const layout = await version2By(write);
      const { pulled, warnings, sent } = await update(layout);
      assert.deepEqual(warnings, []);
      const { manifest } = await readLayout(layout);
      let fetched = 0;
      let total = 0;
      for (const { digest, size } of manifest.layers) {
        const count = sent.get(digest) ?? 0;
        // The changed file is about 100,000 of the bytes.
        assert.ok(count > 90_000 && count < size * 0.07, `${count} of ${size} bytes of ${digest}`);
        fetched += count;
        total += size;
      }
      assert.deepEqual([pulled.bytesFetched, pulled.bytesSaved], [fetched, total - fetched]);
      assert.ok(pulled.bytesReused > 5_000_000);
      // As plain zstd, it is the same image to the peer.
      const judge = fresh('peer');
      assert.equal(await contentOf(judge, await pullWithPeer(judge, layout)), expected);
    });
  }

  it('leaves the refs and the image that a whole pull leaves', async () => {
    const layout = await version2By(ownWriter);
    const { path, pulled } = await update(layout);
    const whole = fresh('whole');
    assert.equal((await pull(whole, layout)).mergeCommit, pulled.mergeCommit);
    const refs = await refsOf(path, 'ostree/container/blob');
    for (const [ref, commit] of await refsOf(whole, 'ostree/container/blob')) assert.equal(refs.get(ref), commit);
  });

  it('deletes what a killed pull has left half-written of its marks, and keeps the marks of layers that are there', async () => {
    const layout = await version2By(ownWriter);
    const path = await repository();
    const marks = join(path, 'state/treeline-partial-layers');
    await mkdir(marks);
    await writeFile(join(marks, `${'a'.repeat(64)}.${'b'.repeat(8)}`), 'sha25');
    await using server = await startLayoutServer(layout);
    await pullFrom(server.host, path);
    const { manifest } = await readLayout(layout);
    const layers = manifest.layers.map(({ digest }) => digest.slice('sha256:'.length));
    assert.deepEqual((await readdir(marks)).toSorted(), layers.toSorted());
  });

  it('reads the form of 2022, without a copy of the tar headers, as Debian’s skopeo writes it', async () => {
    const layout = fresh('skopeo');
    const format = ['--dest-compress-format', 'zstd:chunked'];
    await run('skopeo', '--insecure-policy', 'copy', ...format, `oci:${version2}:base`, `oci:${layout}:base`);
    const { pulled, warnings } = await update(layout);
    assert.deepEqual(warnings, []);
    assert.ok(
      pulled.bytesSaved > pulled.bytesFetched * 4,
      `${pulled.bytesSaved} saved, ${pulled.bytesFetched} fetched`,
    );
  });

  it('works with a real registry', async () => {
    const layout = await version2By(ownWriter);
    await using registry = await startRegistry({ storage: fresh('registry') });
    const flags = ['--preserve-digests', '--dest-tls-verify=false'];
    const target = `docker://${registry.host}/os:latest`;
    await run('skopeo', '--insecure-policy', 'copy', ...flags, `oci:${layout}:base`, target);
    const path = await repository();
    const pulled = await pullFrom(registry.host, path);
    assert.equal(await contentOf(path, pulled.mergeCommit), expected);
    assert.ok(pulled.bytesSaved > pulled.bytesFetched * 10);
  });

  it('counts as progress only what has to be fetched', async () => {
    await using server = await startLayoutServer(await version2By(ownWriter));
    let progress = { bytesDone: 0, bytesTotal: 0 };
    const pulled = await pullFrom(server.host, await repository(), { onProgress: (now) => (progress = now) });
    assert.deepEqual([progress.bytesDone, progress.bytesTotal], [pulled.bytesFetched, pulled.bytesFetched]);
  });

  it('goes on where a connection was cut', async () => {
    const { pulled, warnings } = await update(await version2By(ownWriter), { cutAfter: 40_000 });
    assert.deepEqual(warnings, []);
    assert.ok(pulled.bytesSaved > pulled.bytesFetched * 10);
  });

  it('is not stopped by a stored image that is damaged', async () => {
    const path = await repository();
    const [stored] = (await refsOf(path, 'ostree/container/image')).values();
    const listed = await run('ostree', `--repo=${path}`, 'ls', '-d', '-C', stored!, '/usr/app');
    const dirtree = /([0-9a-f]{64}) [0-9a-f]{64} \/usr\/app/.exec(listed)?.[1];
    assert.ok(dirtree !== undefined, listed);
    await rm(join(path, 'objects', dirtree.slice(0, 2), `${dirtree.slice(2)}.dirtree`));
    await using server = await startLayoutServer(await version2By(ownWriter));
    const warnings: string[] = [];
    const pulled = await pullFrom(server.host, path, { onWarning: (message) => warnings.push(message) });
    assert.equal(await contentOf(path, pulled.mergeCommit), expected);
    assert.match(warnings.join('\n'), /is fetched whole: .*dirtree is missing/);
  });

  it('leaves the repository as it was when it is stopped in the middle, and does all of it again', async () => {
    const layout = await version2By(ownWriter);
    const path = await repository();
    const before = await refsOf(path, 'ostree/container/blob');
    await using server = await startLayoutServer(layout);
    const stop = new AbortController();
    // The first layer's table of contents has come, and the beginning of the changed file.
    const onProgress = ({ bytesDone }: ImportProgress): void => {
      if (bytesDone > 60_000) stop.abort(new Error('stopped'));
    };
    await assert.rejects(pullFrom(server.host, path, { signal: stop.signal, onProgress }), /stopped/);
    assert.deepEqual(await refsOf(path, 'ostree/container/blob'), before);
    await fsck(path);
    const pulled = await pullFrom(server.host, path);
    assert.equal(await contentOf(path, pulled.mergeCommit), expected);
    assert.ok(pulled.bytesSaved > pulled.bytesFetched * 10);
  });

  it('fetches the whole, and says why, when the registry serves no parts', async () => {
    const { pulled, warnings } = await update(await version2By(ownWriter), { ranges: false });
    assert.equal(warnings.length, 2);
    assert.match(warnings[0]!, /is fetched whole: its registry does not serve parts/);
    assert.equal(pulled.bytesSaved, 0);
  });

  describe('from a table of contents that lies', () => {
    const lie = (change: (toc: Toc) => void, tarSplit = true): LayerWriter => {
      return (tar) => encodeZstdChunked(tar, { tarSplit, lie: change });
    };
    const isContent = ({ type, name, size = 0 }: Toc['entries'][number]): boolean =>
      type === 'reg' && size > 10_000 && (name.endsWith('.file') || name.startsWith('usr/app/'));
    const LIES: readonly (readonly [what: string, lie: (toc: Toc) => void])[] = [
      [
        'another digest of a file that changed',
        (toc) =>
          toc.entries.filter(isContent).forEach((entry) => {
            if (entry.name.endsWith('/file-8') || !entry.name.startsWith('usr/')) entry.digest = ZERO_DIGEST;
          }),
      ],
      [
        'names in another order',
        (toc) => toc.entries.filter(isContent).forEach((entry, index, all) => (entry.name = all.at(index - 1)!.name)),
      ],
      [
        'the old digest of a file that changed',
        (toc) =>
          toc.entries.filter(isContent).forEach((entry) => {
            if (entry.name.endsWith('/file-8')) entry.digest = sha256(Buffer.from(changedContent('1')));
          }),
      ],
      ['a file less', (toc) => toc.entries.splice(toc.entries.findIndex(isContent), 1)],
      ['ends that cut frames', (toc) => toc.entries.filter(isContent).forEach((entry) => entry.endOffset!--)],
    ];
    for (const [what, change] of LIES) {
      for (const tarSplit of [true, false]) {
        const apart = tarSplit ? '' : ' and no copy of the tar headers';
        it(`with ${what}${apart}, gets the right image all the same`, async () => {
          const { warnings } = await update(await version2By(lie(change, tarSplit)));
          // Between the files it knows, all is fetched: so one that it does not mention comes all the same.
          assert.equal(warnings.length > 0, tarSplit || what !== 'a file less');
          for (const warning of warnings) assert.match(warning, /is fetched whole: /);
        });
      }
    }

    it('is not touched by wrong owners and attributes, which are not taken from there', async () => {
      const change = (toc: Toc): void =>
        toc.entries.forEach((entry) => Object.assign(entry, { uid: 7, mode: 0o4777, xattrs: { 'user.evil': 'AAAA' } }));
      const { warnings, pulled } = await update(await version2By(lie(change)));
      assert.deepEqual(warnings, []);
      assert.ok(pulled.bytesSaved > 0);
    });

    it('with content outside of the layer, refuses it and leaves nothing', async () => {
      const change = (toc: Toc): void => {
        toc.entries.find(isContent)!.endOffset = 1e12;
      };
      const path = await repository();
      const before = await refsOf(path, 'ostree/container/blob');
      await using server = await startLayoutServer(await version2By(lie(change)));
      await assert.rejects(pullFrom(server.host, path), {
        name: 'ImportError',
        code: 'InvalidLayer',
        message: /layer sha256:\S+: its table of contents has the content of ".*" outside of the layer/,
      });
      assert.deepEqual(await refsOf(path, 'ostree/container/blob'), before);
      await fsck(path);
    });
  });

  it('keeps a layer from other images that mean another one by its digest', async () => {
    // A registry that serves, under the digest of an honest layer, parts of another one, to an image made for it.
    const honest = await version2By(ownWriter);
    const forged = await version2By(ownWriter);
    const { manifest, config } = await readLayout(forged);
    const { digest: name, mediaType } = manifest.layers[1]!;
    const tar = applicationLayer('forged');
    const { blob, annotations } = encodeZstdChunked(tar);
    manifest.layers[1] = { mediaType, digest: name, size: blob.length, annotations };
    config.rootfs.diff_ids[1] = sha256(tar);
    await writeImage(forged, manifest, config);

    const path = await repository();
    {
      await using server = await startLayoutServer(forged, { instead: new Map([[name, blob]]) });
      assert.ok((await pullFrom(server.host, path)).bytesSaved > 0, 'the forged image was put together from parts');
    }
    await using server = await startLayoutServer(honest);
    const pulled = await pullFrom(server.host, path);
    assert.equal(await contentOf(path, pulled.mergeCommit), expected);
    assert.equal(server.takeCount().get(name), (await readFile(blobPath(honest, name))).length, 'fetched whole');
    await fsck(path);
    // From now on the ref stands for the layer that its name says.
    assert.equal((await pull(path, honest)).bytesFetched, 0);
  });
});
