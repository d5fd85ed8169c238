/** One image over every transport: what arrives in the repository is the same, whoever carried it and whoever pulls it. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pullImage, type PulledImage, Repository } from '../../ostree/index.ts';
import { openImageSource, parseOstreeImageReference, type RegistryOptions } from '../../registry/index.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  PLATFORM,
  pullWithPeer,
  readLayout,
  refsOf,
  run,
  sha256,
} from './import-fixture.ts';

describe('an image is the same over every transport', () => {
  let folder: string;
  let layout: string;
  /** What the peer makes of the OCI layout. */
  let content: string;
  let blobRefs: readonly string[];
  let manifestDigest: string;

  before(async () => {
    folder = await makeFolder();
    const base = await encapsulate(await makeSystem(folder), folder, true);
    const tar = join(folder, 'layer.tar');
    await run('tar', '-C', join(import.meta.dirname, '../..'), '-cf', tar, '--transform=s,^,usr/share/,', 'LICENSE');
    layout = await derive(base, join(folder, 'derived'), [await readFile(tar)]);
    const theirs = join(folder, 'theirs');
    content = await contentOf(theirs, await pullWithPeer(theirs, layout));
    blobRefs = [...(await refsOf(theirs, 'ostree/container/blob')).keys()];
    const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
    manifestDigest = index.manifests[0]!.digest;
  });
  after(async () => {
    // The store's layers are owned by themselves: plain `rm` is enough for its vfs driver.
    await rm(folder, { recursive: true, force: true });
  });

  async function pull(image: string, options: RegistryOptions = {}): Promise<{ pulled: PulledImage; path: string }> {
    const path = join(folder, `ours-${image.replaceAll(/[^a-z0-9]/g, '_').slice(-60)}`);
    const reference = parseOstreeImageReference(`ostree-unverified-image:${image}`);
    const scratch = join(folder, 'scratch');
    await using source = openImageSource(reference.image, { scratchDirectory: scratch, ...options });
    const pulled = await pullImage({
      repository: Repository.create(path, 'bare'),
      source,
      reference,
      platform: PLATFORM,
      retainVar: true,
    });
    await fsck(path);
    await source[Symbol.asyncDispose]();
    assert.deepEqual(await readdir(scratch).catch(() => []), [], 'no copy is left behind');
    return { pulled, path };
  }

  /** Digest of the manifest that containers/image sees, which is what the peer records. */
  async function rawDigest(image: string): Promise<string> {
    return sha256(Buffer.from(await run('skopeo', 'inspect', '--raw', image)));
  }

  const blobNames = async (path: string): Promise<string[]> => [
    ...(await refsOf(path, 'ostree/container/blob')).keys(),
  ];

  it('oci:', async () => {
    const { pulled, path } = await pull(`oci:${layout}:base`);
    assert.equal(await contentOf(path, pulled.mergeCommit), content);
    assert.equal(pulled.manifestDigest, manifestDigest);
    assert.deepEqual(await blobNames(path), blobRefs);
  });

  it('dir:, pulled by the peer too', async () => {
    const directory = join(folder, 'directory');
    await run('skopeo', 'copy', '--quiet', `oci:${layout}:base`, `dir:${directory}`);
    const { pulled, path } = await pull(`dir:${directory}`);
    assert.equal(await contentOf(path, pulled.mergeCommit), content);
    assert.equal(pulled.manifestDigest, await rawDigest(`dir:${directory}`));
    const theirs = join(folder, 'theirs-dir');
    await run('ostree', `--repo=${theirs}`, 'init', '--mode=bare');
    const peer = await ensurePeer(() => {});
    const output = await run(
      peer,
      'container',
      'image',
      'pull',
      '--quiet',
      theirs,
      `ostree-unverified-image:dir:${directory}`,
    );
    const commit = /=> ([0-9a-f]{64})/.exec(output)?.[1] ?? '';
    assert.equal(await contentOf(theirs, commit), content);
    assert.deepEqual(
      await refsOf(theirs, 'ostree/container/blob').then((refs) => [...refs.keys()]),
      await blobNames(path),
    );
    const digest = async (repository: string, rev: string): Promise<string> =>
      await run('ostree', `--repo=${repository}`, 'show', rev, '--print-metadata-key=ostree.manifest-digest');
    assert.equal(await digest(path, pulled.mergeCommit), await digest(theirs, commit));
  });

  it('docker-archive:, which the peer takes for compressed and cannot read', async () => {
    const archive = `docker-archive:${join(folder, 'saved.tar')}`;
    await run('skopeo', 'copy', '--quiet', `oci:${layout}:base`, `${archive}:example.com/os:v1`);
    const { pulled, path } = await pull(archive);
    assert.equal(await contentOf(path, pulled.mergeCommit), content);
    assert.equal(pulled.manifestDigest, await rawDigest(archive));
    assert.equal((await pull(`${archive}:example.com/os:v1`)).pulled.manifestDigest, pulled.manifestDigest);
    const theirs = join(folder, 'theirs-archive');
    await run('ostree', `--repo=${theirs}`, 'init', '--mode=bare');
    const peer = await ensurePeer(() => {});
    await assert.rejects(
      run(peer, 'container', 'image', 'pull', '--quiet', theirs, `ostree-unverified-image:${archive}`),
      /invalid gzip header/,
    );
  });

  it('docker-archive: and dir: of what came out of a docker archive, whose manifest says gzip of plain layers', async () => {
    const archive = `docker-archive:${join(folder, 'again.tar')}`;
    const directory = `dir:${join(folder, 'from-archive')}`;
    await run('skopeo', 'copy', '--quiet', `oci:${layout}:base`, `${archive}:os:v1`);
    await run('skopeo', 'copy', '--quiet', archive, directory);
    const { pulled, path } = await pull(directory);
    assert.equal(await contentOf(path, pulled.mergeCommit), content);
    assert.equal(pulled.manifestDigest, await rawDigest(directory));
  });

  it('containers-storage:, by name and by id, as the image that was once pulled into it', async () => {
    const store = `containers-storage:[vfs@${folder}/storage+${folder}/run]`;
    await run('skopeo', 'copy', '--quiet', `oci:${layout}:base`, `${store}localhost/os:v1`);
    const { pulled, path } = await pull(`${store}localhost/os:v1`);
    assert.equal(await contentOf(path, pulled.mergeCommit), content);
    assert.equal(pulled.manifestDigest, manifestDigest);
    assert.deepEqual(await blobNames(path), blobRefs, 'layers go by the digests that the registry has for them');
    const { config } = (await readLayout(layout)).manifest;
    const byId = await pull(`${store}${config.digest}`);
    assert.equal(byId.pulled.manifestDigest, manifestDigest);
    await assert.rejects(
      pull(`${store}localhost/absent:v1`),
      /`skopeo inspect --raw …` ends with status 1 \(.*does not resolve to an image ID/,
    );
  });

  it('containers-storage: through podman where there is no skopeo, under a digest of its own', async () => {
    const store = `containers-storage:[vfs@${folder}/podman+${folder}/podman-run]`;
    await run('skopeo', 'copy', '--quiet', `oci:${layout}:base`, `${store}localhost/os:v1`);
    const tools = join(folder, 'tools');
    await mkdir(tools);
    await symlink((await run('which', 'podman')).trim(), join(tools, 'podman'));
    const warnings: string[] = [];
    const environment = { ...process.env, PATH: tools };
    const { pulled, path } = await pull(`${store}localhost/os:v1`, {
      environment,
      onWarning: (message) => warnings.push(message),
    });
    assert.equal(await contentOf(path, pulled.mergeCommit), content);
    assert.notEqual(pulled.manifestDigest, manifestDigest);
    assert.match(warnings.join(), /^skopeo is not installed, so containers-storage:.* is read with podman/);
    const again = await pull(`${store}localhost/os:v1`, { environment });
    assert.equal(again.pulled.alreadyPresent, true, 'the digest of a copy is the same every time');
    await assert.rejects(
      pull(`${store}localhost/absent`, { environment }),
      /`podman .*` ends with status 125 \(.*not known/,
    );
  });

  describe('docker-daemon:', () => {
    let daemon: Server;
    before(async () => {
      const archive = join(folder, 'daemon.tar');
      await run('skopeo', 'copy', '--quiet', `oci:${layout}:base`, `docker-archive:${archive}:example.com/os:v1`);
      // As much of a daemon as skopeo asks for: it exports an image the way `docker save` does.
      daemon = createServer((request, response) => {
        if (decodeURIComponent(request.url ?? '').endsWith('/images/get?names=example.com/os:v1')) {
          readFile(archive).then(
            (bytes) => response.end(bytes),
            (error: unknown) => response.destroy(error as Error),
          );
        } else response.writeHead(404).end('{"message":"no such image"}');
      });
      await new Promise<void>((resolve) => daemon.listen(0, '127.0.0.1', resolve));
    });
    after(async () => {
      daemon.closeAllConnections();
      await new Promise((resolve) => daemon.close(resolve));
    });

    it('as $DOCKER_HOST has it', async () => {
      const environment = { ...process.env, DOCKER_HOST: `http://127.0.0.1:${(daemon.address() as AddressInfo).port}` };
      const { pulled, path } = await pull('docker-daemon:example.com/os:v1', { environment });
      assert.equal(await contentOf(path, pulled.mergeCommit), content);
      assert.equal(pulled.manifestDigest, await rawDigest(`docker-archive:${folder}/daemon.tar`));
      await assert.rejects(pull('docker-daemon:example.com/os:v2', { environment }), /no such image/);
    });
  });
});
