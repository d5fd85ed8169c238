/** A stream of an OS goes into a directory and comes out at another registry, where tools of others find all of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pullImage, Repository } from '../../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { run as runTreeline } from '../../cli/run.ts';
import { contentOf, fsck, makeFolder, PLATFORM, pull, run, sha256 } from './import-fixture.ts';
import { listTags, type Origin, startOrigin } from './mirror-origin.ts';

interface Said {
  readonly images: readonly {
    readonly source: string;
    readonly destination: string;
    readonly digest: string;
    readonly upToDate: boolean;
    readonly attachments: number;
    readonly bytesCopied: number;
    readonly blobsMounted: number;
  }[];
  readonly failures: readonly object[];
  readonly bytesCopied: number;
}

describe('treeline mirror, judged by skopeo, umoci and the registry itself', () => {
  let folder: string;
  let origin: Origin;
  let second: TestRegistry;

  before(async () => {
    folder = await makeFolder();
    origin = await startOrigin(folder);
    second = await startRegistry({ storage: join(folder, 'second') });
  });
  after(async () => {
    await origin.registry.stop();
    await second.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const words = (...some: string[]): string[] => [
    'mirror',
    '--output=json',
    `--plain-http=${origin.registry.host}`,
    `--plain-http=${second.host}`,
    ...some,
  ];

  async function mirror(...some: string[]): Promise<Said> {
    let [out, err] = ['', ''];
    const status = await runTreeline(words(...some), {
      stdout: (text) => (out += text),
      stderr: { write: (text: string) => (err += text), isTTY: false, columns: 80 },
      environment: process.env,
      signal: new AbortController().signal,
    });
    assert.equal(status, 0, err + out);
    return JSON.parse(out) as Said;
  }

  const rawDigest = async (image: string): Promise<string> =>
    sha256(Buffer.from(await run('skopeo', 'inspect', '--raw', '--tls-verify=false', image)));

  it('within a registry takes blobs over, and copies signatures and referrers with them', async () => {
    const { host } = origin.registry;
    const said = await mirror(`${host}/team/os:stable`, `${host}/neighbours/os`);
    assert.equal(said.bytesCopied, 0);
    assert.ok(said.images[0]!.blobsMounted > 0);
    assert.equal(said.images[0]!.attachments, 4);
    const expected = origin.tags.filter((tag) => !['base', 'bill', 'other'].includes(tag));
    assert.deepEqual(await listTags(host, 'neighbours/os'), expected);
    for (const tag of expected)
      assert.equal(
        await rawDigest(`docker://${host}/neighbours/os:${tag}`),
        await rawDigest(`docker://${host}/team/os:${tag}`),
      );
    // Every manifest and every blob, checked against its digest.
    await run(
      'skopeo',
      'copy',
      '--all',
      '--quiet',
      '--src-tls-verify=false',
      `docker://${host}/neighbours/os:stable`,
      `dir:${folder}/all`,
    );
  });

  it('killed in the middle it goes on with what is missing', async () => {
    const disk = join(folder, 'interrupted');
    const image = `${origin.registry.host}/team/os:base`;
    const total = (await mirror('--dry-run', image, `oci:${disk}`)).bytesCopied;
    const child = spawn(
      TREELINE,
      words('--max-bytes-per-second=20K', '--max-concurrent-fetches=1', image, `oci:${disk}`),
    );
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const blobs = async () => readdir(join(disk, 'blobs/sha256')).catch(() => []);
    while ((await blobs()).length === 0) await delay(20);
    child.kill('SIGKILL');
    await ended;
    const there = await blobs();
    const sizes = await Promise.all(there.map(async (name) => (await stat(join(disk, 'blobs/sha256', name))).size));
    const kept = sizes.reduce((sum, size) => sum + size, 0);
    for (const name of await readdir(disk)) if (name.endsWith('.partial')) await utimes(join(disk, name), 0, 0);
    const { bytesCopied } = await mirror(image, `oci:${disk}`);
    assert.equal(bytesCopied, total - kept);
    assert.deepEqual((await readdir(disk)).toSorted(), ['blobs', 'index.json', 'oci-layout']);
  });

  it('takes what skopeo put into a directory, under the name that is given for it', async () => {
    const disk = join(folder, 'of-skopeo');
    await run(
      'skopeo',
      'copy',
      '--all',
      '--quiet',
      '--src-tls-verify=false',
      `docker://${origin.registry.host}/team/os:stable`,
      `oci:${disk}:stable`,
    );
    const { images } = await mirror(`oci:${disk}:stable`, `${second.host}/of/skopeo`);
    assert.equal(images[0]?.digest, origin.index);
    assert.equal(await rawDigest(`docker://${second.host}/of/skopeo:stable`), origin.index);
  });

  it('crosses an air gap: origin, directory, another registry, import by digest while the origin is gone', async () => {
    const disk = join(folder, 'disk');
    const out = await mirror('--all-tags', `${origin.registry.host}/team/os`, `oci:${disk}`);
    assert.deepEqual(
      out.images.map(({ source }) => source.split(':').at(-1)),
      ['base', 'bill', 'other', 'stable'],
    );
    const named = `${origin.registry.host}/team/os`;
    const listed = await run('umoci', 'list', '--layout', disk);
    assert.deepEqual(listed.trim().split('\n').toSorted(), origin.tags.map((tag) => `${named}:${tag}`).toSorted());
    assert.equal(await rawDigest(`oci:${disk}:${named}:stable`), origin.index);
    await run('umoci', 'gc', '--layout', disk);
    await origin.registry.kill();

    const { images } = await mirror(`oci:${disk}`, `${second.host}/`);
    assert.equal(
      images.find(({ destination }) => destination.endsWith(':stable'))?.destination,
      `${second.host}/team/os:stable`,
    );
    assert.deepEqual(await listTags(second.host, 'team/os'), origin.tags);
    await run(
      'skopeo',
      'copy',
      '--all',
      '--quiet',
      '--src-tls-verify=false',
      `docker://${second.host}/team/os:stable`,
      `dir:${folder}/arrived`,
    );
    assert.ok((await mirror(`oci:${disk}`, `${second.host}/`)).images.every(({ upToDate }) => upToDate));

    const warnings: string[] = [];
    const served: string[] = [];
    const reference = parseOstreeImageReference(`ostree-unverified-registry:${named}@${origin.index}`);
    await using source = openImageSource(reference.image, {
      plainHttpHosts: [origin.registry.host, second.host],
      mirrors: ['127.0.0.1:1/nobody/os', `${second.host}/team/os`],
      retry: { baseDelayMs: 1 },
      onWarning: (message) => warnings.push(message),
      onServed: (place) => served.push(place),
    });
    const path = join(folder, 'host');
    const pulled = await pullImage({
      repository: Repository.create(path, 'bare'),
      source,
      reference,
      platform: PLATFORM,
    });
    assert.equal(pulled.manifestDigest, origin.image);
    assert.deepEqual(served, [`${second.host}/team/os@${origin.index}`]);
    assert.equal(warnings.length, 1);
    await fsck(path);
    const straight = join(folder, 'straight');
    const expected = await contentOf(straight, (await pull(straight, origin.layout)).mergeCommit);
    assert.equal(await contentOf(path, pulled.mergeCommit), expected);
  });
});
