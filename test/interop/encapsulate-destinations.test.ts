import assert from 'node:assert/strict';
import { createWriteStream } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { contentOfCommit } from '../../ostree/encapsulate/commit-content.ts';
import { encapsulate } from '../../ostree/index.ts';
import { openImageDestination, parseImageReference, type RegistryOptions } from '../../registry/index.ts';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import { PLATFORM, repositoryOf, requirePeerImports } from './encapsulate-fixture.ts';
import { readLayout, run } from './import-fixture.ts';
import { EVERYTHING, MINI_METADATA } from './ostree-fixture.ts';

describe('an image goes to every transport that there is', () => {
  let source: Awaited<ReturnType<typeof repositoryOf>>;
  let peer: string;
  before(async () => {
    peer = await ensurePeer(sayOnStandardError);
    source = await repositoryOf(EVERYTHING, { metadata: MINI_METADATA });
  });
  after(() => source[Symbol.dispose]());

  /** Writes the commit in two layers and returns the digest that we say it has. */
  async function write(image: string, options: RegistryOptions = {}): Promise<string> {
    const { repository } = source;
    const scratchDirectory = join(source.path, 'scratch');
    await using destination = openImageDestination(parseImageReference(image), { scratchDirectory, ...options });
    const objects = [...contentOfCommit(repository, source.commit).keys()];
    const chunks = [{ name: 'everything', components: ['all'], objects }];
    const { manifestDigest } = await encapsulate({ repository, rev: 'os', destination, platform: PLATFORM, chunks });
    await destination[Symbol.asyncDispose]();
    assert.deepEqual(await readdir(scratchDirectory).catch(() => []), [], 'nothing is left behind');
    return manifestDigest;
  }

  /** Has skopeo take it from there, and the peer import that. */
  async function requireReadable(image: string): Promise<void> {
    const back = join(source.path, 'back');
    await run('skopeo', 'copy', '--quiet', image, `oci:${back}:v1`);
    requirePeerImports(peer, back, join(source.path, 'imported'), source.commit);
    await rm(back, { recursive: true });
    await rm(join(source.path, 'imported'), { recursive: true });
  }

  const digestAt = async (image: string): Promise<string> =>
    (await run('skopeo', 'inspect', '--format={{.Digest}}', image)).trim();

  it('dir:', async () => {
    const image = `dir:${source.path}/directory`;
    assert.equal(await write(image), await digestAt(image));
    await requireReadable(image);
  });

  it('oci-archive:', async () => {
    const image = `oci-archive:${source.path}/image.tar:v1`;
    assert.equal(await write(image), await digestAt(image));
    await requireReadable(image);
  });

  it('docker-archive:, under the digest of what it becomes there', async () => {
    const image = `docker-archive:${source.path}/docker.tar:example.com/os:v1`;
    await write(image);
    await requireReadable(image);
  });

  it('containers-storage:', async () => {
    const image = `containers-storage:[vfs@${source.path}/storage+${source.path}/run]localhost/os:v1`;
    assert.equal(await write(image), await digestAt(image));
    await requireReadable(image);
  });

  it('docker-daemon:, as $DOCKER_HOST takes it', async () => {
    const archive = join(source.path, 'loaded.tar');
    // As much of a daemon as skopeo asks for: it loads what `docker save` had written.
    const daemon = createServer((request, response) => {
      if (request.method !== 'POST' || !/\/images\/load/.test(request.url ?? '')) {
        response.end('OK');
        return;
      }
      pipeline(request, createWriteStream(archive)).then(
        () => response.setHeader('content-type', 'application/json').end('{"stream":"Loaded image"}'),
        (error: unknown) => response.destroy(error as Error),
      );
    });
    await new Promise<void>((resolve) => daemon.listen(0, '127.0.0.1', resolve));
    try {
      const DOCKER_HOST = `http://127.0.0.1:${(daemon.address() as AddressInfo).port}`;
      await write('docker-daemon:example.com/os:v1', { environment: { ...process.env, DOCKER_HOST } });
    } finally {
      daemon.closeAllConnections();
      await new Promise((resolve) => daemon.close(resolve));
    }
    await requireReadable(`docker-archive:${archive}`);
  });

  it('by the command line, with a container configuration', async () => {
    const config = join(source.path, 'config.json');
    const container = { Env: ['A=b'], Entrypoint: ['/sbin/init'], Labels: { mine: 'yes', 'ostree.commit': 'no' } };
    await writeFile(config, JSON.stringify(container));
    const layout = join(source.path, 'from-command');
    const argv = ['encapsulate', '--repo', source.repository.path, '--format-version', '2'];
    const said = await treeline([...argv, '--config', config, '--cmd', '/bin/sh', 'os', `oci:${layout}:v1`]);
    assert.equal(said.status, 0, said.stderr);
    const { manifest, config: written } = await readLayout(layout);
    const { Labels, ...rest } = written.config as Record<string, unknown> & { Labels: Record<string, string> };
    assert.deepEqual(rest, { Env: ['A=b'], Entrypoint: ['/sbin/init'], Cmd: ['/bin/sh'] });
    assert.equal(Labels['mine'], 'yes');
    assert.equal(Labels['ostree.commit'], source.commit);
    assert.equal(manifest.annotations?.['mine'], undefined, 'as the peer does it');
    const index = await readFile(join(layout, 'index.json'), 'utf8');
    assert.match(index, /v1/);

    const refusals: readonly [text: string, message: RegExp][] = [
      ['{', /config\.json is not JSON/],
      ['{"config":{}}', /give its member `config` only/],
      ['{"Entrypiont":[]}', /has the member "Entrypiont": members are User/],
      ['{"Env":"A=b"}', /Env must be a list of texts/],
    ];
    for (const [text, message] of refusals) {
      await writeFile(config, text);
      const refused = await treeline([...argv, '--config', config, 'os', `oci:${source.path}/never:v1`]);
      assert.equal(refused.status, 1);
      assert.match(refused.stderr, message);
    }
  });
});
