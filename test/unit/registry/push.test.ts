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

const PIECE = 16 * 1024 * 1024;
const large = sampleImage({ layer: randomBytes(2 * PIECE + 1000) });
const largeBytes = large.blobs.get(large.layer.digest) ?? Buffer.alloc(0);

/**
 * A registry that takes pieces, and remembers a broken one as far as it came. `breakAt` cuts each of these connections
 * after so many bytes of its body.
 */
async function pieceRegistry(trouble: {
  readonly breakPatch?: ReadonlyMap<number, number>;
  readonly forget?: boolean;
  readonly refusePieces?: number;
  readonly owned?: ReadonlySet<string>;
}) {
  const stored = new Map<string, Buffer>();
  let patches = 0;
  let upload = Buffer.alloc(0);
  const received = async (request: IncomingMessage, limit = Infinity): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      chunks.push(chunk.subarray(0, limit - length));
      length += chunk.length;
      if (length < limit) continue;
      request.socket.destroy();
      break;
    }
    return Buffer.concat(chunks);
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', 'http://x');
    const digest = url.searchParams.get('digest') ?? url.pathname.split('/').at(-1) ?? '';
    const state = () => ({
      location: `${url.pathname}?at=${upload.length}`,
      range: `0-${Math.max(upload.length - 1, 0)}`,
    });
    switch (request.method) {
      case 'HEAD':
        response.writeHead(stored.has(digest) ? 200 : 404).end();
        return;
      case 'POST': {
        const mounted = url.searchParams.get('mount');
        if (mounted !== null && trouble.owned?.has(`${url.searchParams.get('from')} ${mounted}`) === true) {
          stored.set(mounted, Buffer.alloc(0));
          response.writeHead(201).end();
          return;
        }
        upload = Buffer.alloc(0);
        response.writeHead(202, { location: '/v2/os/blobs/uploads/1' }).end();
        return;
      }
      case 'GET':
        if (trouble.forget === true) response.writeHead(404).end();
        else response.writeHead(204, state()).end();
        return;
      case 'PATCH': {
        patches++;
        if (trouble.refusePieces !== undefined) {
          await received(request);
          response.writeHead(trouble.refusePieces).end();
          return;
        }
        assert.equal(request.headers['content-range']?.split('-')[0], String(upload.length));
        const limit = trouble.breakPatch?.get(patches);
        upload = Buffer.concat([upload, await received(request, limit)]);
        if (limit === undefined) response.writeHead(202, state()).end();
        return;
      }
      default: {
        const bytes = Buffer.concat([upload, await received(request)]);
        if (url.pathname.includes('/uploads/') && digestOf(bytes) !== digest) response.writeHead(400).end();
        else {
          stored.set(digest, bytes);
          response.writeHead(201).end();
        }
      }
    }
  };
  const server = await serve((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  return { server, stored };
}

describe('pushing a large blob', () => {
  const methodsOf = (server: LoopbackServer): string[] => server.requests.map(({ method }) => method);

  it('goes on in the middle of the piece whose connection broke', async () => {
    const { server: starting, stored } = await pieceRegistry({ breakPatch: new Map([[2, 700_000]]) });
    await using server = starting;
    await using destination = open(server);
    await destination.putBlob(large.layer, () => content(largeBytes));
    assert.ok(stored.get(large.layer.digest)?.equals(largeBytes));
    assert.deepEqual(methodsOf(server), ['HEAD', 'POST', 'PATCH', 'PATCH', 'GET', 'PATCH', 'PATCH', 'PUT']);
    const [, , , , , resumed] = server.requests;
    const [start = 0, end = 0] = (resumed?.headers['content-range'] ?? '').split('-').map(Number);
    assert.ok(start > PIECE && start < 2 * PIECE, `${start}`);
    assert.equal(end, 2 * PIECE - 1);
  });

  it('begins anew where the registry has forgotten the upload', async () => {
    const { server: starting, stored } = await pieceRegistry({ breakPatch: new Map([[2, 700_000]]), forget: true });
    await using server = starting;
    await using destination = open(server);
    await destination.putBlob(large.layer, () => content(largeBytes));
    assert.ok(stored.get(large.layer.digest)?.equals(largeBytes));
    assert.equal(methodsOf(server).filter((method) => method === 'POST').length, 2);
  });

  it('gives up when it keeps breaking', async () => {
    const always = new Map(Array.from({ length: 100 }, (_, at) => [at + 1, 1000] as const));
    const { server: starting } = await pieceRegistry({ breakPatch: always, forget: true });
    await using server = starting;
    await using destination = open(server);
    await assert.rejects(
      destination.putBlob(large.layer, () => content(largeBytes)),
      (error) => error instanceof RegistryError && error.code === 'Unreachable' && /5 attempts/.test(error.message),
    );
  });

  it('sends it whole to a registry that takes no pieces', async () => {
    const { server: starting, stored } = await pieceRegistry({ refusePieces: 405 });
    await using server = starting;
    await using destination = open(server);
    await destination.putBlob(large.layer, () => content(largeBytes));
    assert.ok(stored.get(large.layer.digest)?.equals(largeBytes));
    assert.deepEqual(methodsOf(server), ['HEAD', 'POST', 'PATCH', 'HEAD', 'POST', 'PUT']);
  });

  it('refuses wrong content before the registry could take it for whole', async () => {
    const { server: starting, stored } = await pieceRegistry({});
    await using server = starting;
    await using destination = open(server);
    await assert.rejects(
      destination.putBlob(large.layer, () => content(randomBytes(largeBytes.length))),
      (error) => error instanceof RegistryError && error.code === 'DigestMismatch',
    );
    assert.equal(stored.size, 0);
    assert.ok(!methodsOf(server).includes('PUT'));
  });
});

describe('pushing a blob that another repository has', () => {
  const openWith = (server: LoopbackServer, ...names: string[]) =>
    openImageDestination(
      { transport: 'registry', name: `${server.host}/os:v2` },
      {
        plainHttpHosts: [server.host],
        clock: new TestClock(),
        mountFrom: names.map((name) => ({ transport: 'registry', name: `${server.host}/${name}` })),
      },
    );

  it('has the registry link it', async () => {
    const { server: starting } = await pieceRegistry({ owned: new Set([`base ${image.layer.digest}`]) });
    await using server = starting;
    await using destination = openWith(server, 'os:v1', 'base:v1');
    await destination.putBlob(image.layer, () => assert.fail('nothing is read'));
    assert.deepEqual(
      server.requests.map(({ method, path }) => `${method} ${path}`),
      [
        `HEAD /v2/os/blobs/${image.layer.digest}`,
        `POST /v2/os/blobs/uploads/?mount=${encodeURIComponent(image.layer.digest)}&from=base`,
      ],
    );
  });

  it('sends it in the upload that is begun instead, when that repository has it not', async () => {
    const { server: starting, stored } = await pieceRegistry({});
    await using server = starting;
    await using destination = openWith(server, 'base:v1');
    await destination.putBlob(image.layer, () => content());
    assert.ok(stored.get(image.layer.digest)?.equals(layerBytes));
    assert.deepEqual(
      server.requests.map(({ method }) => method),
      ['HEAD', 'POST', 'PUT'],
    );
  });
});
