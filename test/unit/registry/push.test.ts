import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { digestOf, openImageDestination, parseDockerConfig, RegistryError } from '../../../registry/index.ts';
import { type LoopbackServer, serve, TestClock } from './loopback-server.ts';
import { collect, sampleImage } from './sample-image.ts';

const image = sampleImage({ layer: randomBytes(300_000) });
const layerBytes = image.blobs.get(image.layer.digest) ?? Buffer.alloc(0);

async function* content(bytes = layerBytes): AsyncIterable<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += 65_536) {
    yield await Promise.resolve(bytes.subarray(offset, offset + 65_536));
  }
}

/** The push half of the distribution protocol; `trouble` may answer first. */
function pushRegistry(trouble: (request: IncomingMessage, response: ServerResponse) => boolean = () => false) {
  const stored = new Map<string, Buffer>();
  const server = serve((request, response) => {
    if (trouble(request, response)) return;
    const url = new URL(request.url ?? '', 'http://x');
    const digest = url.searchParams.get('digest') ?? url.pathname.split('/').at(-1) ?? '';
    if (request.method === 'HEAD') response.writeHead(stored.has(digest) ? 200 : 404).end();
    else if (request.method === 'POST')
      response.writeHead(202, { location: '/v2/os/blobs/uploads/1?state=a%2Bb' }).end();
    else {
      void collect(request).then(
        (bytes) => {
          stored.set(digest, bytes);
          response.writeHead(201, { 'docker-content-digest': digestOf(bytes) }).end();
        },
        () => undefined,
      );
    }
  });
  return { server, stored };
}

function open(server: LoopbackServer, name = 'os:v1', credentials?: string) {
  return openImageDestination(
    { transport: 'registry', name: `${server.host}/${name}` },
    {
      plainHttpHosts: [server.host],
      clock: new TestClock(),
      ...(credentials === undefined
        ? {}
        : { credentials: parseDockerConfig(JSON.stringify({ auths: { [server.host]: JSON.parse(credentials) } })) }),
    },
  );
}

describe('pushing to a registry', () => {
  it('sends each blob once and the manifest last, under its tag', async () => {
    const { server: starting, stored } = pushRegistry();
    await using server = await starting;
    await using destination = open(server);
    for (let round = 0; round < 2; round++) await destination.putBlob(image.layer, () => content());
    assert.equal(await destination.putManifest(image.manifest), image.digest);
    assert.ok(stored.get(image.layer.digest)?.equals(layerBytes));
    assert.ok(stored.get('v1')?.equals(image.manifestBytes));
    assert.deepEqual(
      server.requests.map(({ method }) => method),
      ['HEAD', 'POST', 'PUT', 'HEAD', 'PUT'],
    );
    const put = server.requests[2];
    assert.equal(put?.path, `/v2/os/blobs/uploads/1?state=a%2Bb&digest=${encodeURIComponent(image.layer.digest)}`);
    assert.equal(put?.headers['content-length'], String(layerBytes.length));
    assert.equal(server.requests[4]?.headers['content-type'], 'application/vnd.oci.image.manifest.v1+json');
  });

  it('begins an upload anew when the connection breaks or the server stumbles', async () => {
    let puts = 0;
    const { server: starting, stored } = pushRegistry((request, response) => {
      if (request.method !== 'PUT' || ++puts > 2) return false;
      if (puts === 1) request.socket.destroy();
      else response.writeHead(503).end();
      return true;
    });
    await using server = await starting;
    await using destination = open(server);
    await destination.putBlob(image.layer, () => content());
    assert.equal(puts, 3);
    assert.ok(stored.get(image.layer.digest)?.equals(layerBytes));
  });

  it('asks for the right to push, and says so when it is denied', async () => {
    const scopes: (string | null)[] = [];
    const { server: starting } = pushRegistry((request, response) => {
      const url = new URL(request.url ?? '', `http://${request.headers.host}`);
      if (url.pathname === '/token') {
        scopes.push(url.searchParams.get('scope'));
        response.writeHead(401).end();
        return true;
      }
      if (request.headers.authorization !== undefined) return false;
      response
        .writeHead(401, { 'www-authenticate': `Bearer realm="${url.origin}/token",scope="repository:os:pull"` })
        .end();
      return true;
    });
    await using server = await starting;
    await using destination = open(server, 'os:v1', '{"username":"ann","password":"x"}');
    await assert.rejects(
      destination.putBlob(image.layer, () => content()),
      (error) => error instanceof RegistryError && error.code === 'Unauthorized' && /"ann" to push/.test(error.message),
    );
    assert.deepEqual(scopes, ['repository:os:pull,push']);
  });

  it('blames the source, not the registry, when the content cannot be read or is wrong', async () => {
    const { server: starting } = pushRegistry();
    await using server = await starting;
    await using destination = open(server);
    const broken = new Error('the disk died');
    await assert.rejects(
      destination.putBlob(image.layer, async function* () {
        yield* content(layerBytes.subarray(0, 1000));
        await Promise.reject(broken);
      }),
      broken,
    );
    await assert.rejects(
      destination.putBlob(image.layer, () => content(randomBytes(layerBytes.length))),
      (error) => error instanceof RegistryError && error.code === 'DigestMismatch',
    );
    const posts = server.requests.filter(({ method }) => method === 'POST');
    assert.equal(posts.length, 2, 'neither is tried again');
  });

  it('never sends credentials to an upload address of another origin, nor a digest as a tag', async () => {
    await using elsewhere = await serve((request, response) => {
      request.resume();
      request.on('end', () => response.writeHead(201).end());
    });
    const { server: starting } = pushRegistry((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
        return true;
      }
      if (request.method !== 'POST') return false;
      response.writeHead(202, { location: `http://${elsewhere.host}/upload` }).end();
      return true;
    });
    await using server = await starting;
    const name = `${server.host}/os:v1`;
    await using destination = openImageDestination(
      { transport: 'registry', name },
      {
        plainHttpHosts: [server.host, elsewhere.host],
        credentials: new Map([[server.host, { kind: 'basic', username: 'u', password: 'p' }]]),
      },
    );
    await destination.putBlob(image.layer, () => content());
    assert.equal(elsewhere.requests[0]?.method, 'PUT');
    assert.equal(elsewhere.requests[0]?.headers.authorization, undefined);
    assert.throws(() => open(server, `os@${image.digest}`), /pushed to a tag: leave it out/);
  });
});
