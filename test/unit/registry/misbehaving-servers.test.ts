import assert from 'node:assert/strict';
import { MockAgent } from 'undici';
import {
  openImageDestination,
  openImageSource,
  RegistryError,
  type RegistryErrorCode,
  type RegistryOptions,
} from '../../../registry/index.ts';
import { type Handler, serve, TestClock } from './loopback-server.ts';
import { AMD64, sampleImage } from './sample-image.ts';

const image = sampleImage();

function fails(promise: Promise<unknown>, code: RegistryErrorCode, message: RegExp): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(error instanceof RegistryError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

async function pullFails(handler: Handler, code: RegistryErrorCode, message: RegExp, options: RegistryOptions = {}) {
  await using server = await serve(handler);
  await using source = openImageSource(
    { transport: 'registry', name: `${server.host}/os:v1` },
    { plainHttpHosts: [server.host], clock: new TestClock(), ...options },
  );
  await fails(source.resolve(AMD64), code, message);
}

/** 401 with this challenge for the registry; `token` answers everything else. */
function challenging(challenge: (host: string) => string, token: Handler = () => undefined): Handler {
  return (request, response, count) => {
    if (request.url?.startsWith('/v2/') !== true) return token(request, response, count);
    response.writeHead(401, { 'www-authenticate': challenge(request.headers.host ?? '') }).end();
  };
}

const bearer = (host: string): string => `Bearer realm="http://${host}/token"`;

describe('a registry that misbehaves', () => {
  it('with an unknown kind of authentication is named', async () => {
    await pullFails(
      challenging(() => 'Negotiate'),
      'UnexpectedResponse',
      /does not know \(Negotiate\): use Basic or Bearer/,
    );
    await pullFails(
      challenging(() => ''),
      'UnexpectedResponse',
      /does not know/,
    );
  });

  it('with a useless token service is told apart from wrong credentials', async () => {
    await pullFails(
      challenging(() => 'Bearer service="x"'),
      'UnexpectedResponse',
      /no valid token service/,
    );
    for (const body of ['{}', 'not json', '{"token":"a\\nb"}', '{"token":7}']) {
      await pullFails(
        challenging(bearer, (_q, response) => response.end(body)),
        'UnexpectedResponse',
        /without a token/,
      );
    }
    await pullFails(
      challenging(bearer, (_q, response) => response.writeHead(503).end()),
      'ServerError',
      /^The token service .* answers 503: .* \(5 attempts\)\.$/,
    );
    await pullFails(
      challenging(bearer, (_q, response) => response.writeHead(403).end()),
      'Unauthorized',
      /"auths"/,
    );
  });

  it('that redirects to nowhere is named', async () => {
    await pullFails((_q, response) => response.writeHead(307).end(), 'UnexpectedResponse', /without saying where to/);
    await pullFails(
      (_q, response) => response.writeHead(307, { location: 'http://[::broken' }).end(),
      'UnexpectedResponse',
      /malformed Location/,
    );
  });

  it('does not keep a caller waiting who has given up on a token', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    await using server = await serve(challenging(bearer, () => controller.abort(reason)));
    await using source = openImageSource(
      { transport: 'registry', name: `${server.host}/os:v1` },
      { plainHttpHosts: [server.host] },
    );
    await assert.rejects(source.resolve(AMD64, controller.signal), reason);
    // Nor does the request for the token live on, with its retries, after the source.
    await source[Symbol.asyncDispose]();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(server.requests.length, 2);
  });

  it('gets a configured registry token as it is', async () => {
    await using server = await serve((request, response) => {
      if (request.headers.authorization === 'Bearer mine') response.writeHead(404).end();
      else response.writeHead(401, { 'www-authenticate': bearer(request.headers.host ?? '') }).end();
    });
    await using source = openImageSource(
      { transport: 'registry', name: `${server.host}/os:v1` },
      {
        plainHttpHosts: [server.host],
        credentials: new Map([[server.host, { kind: 'registry-token', token: 'mine' }]]),
      },
    );
    await fails(source.resolve(AMD64), 'NotFound', /has no image os with tag v1/);
  });

  it('on a push is named: no upload address, an unencrypted one, another manifest than was pushed', async () => {
    const push = async (post: Record<string, string>, options: RegistryOptions = {}) => {
      const network = new MockAgent();
      network.disableNetConnect();
      const pool = network.get('https://registry.example');
      pool.intercept({ path: /blobs\/sha256/, method: 'HEAD' }).reply(404);
      pool.intercept({ path: /uploads/, method: 'POST' }).reply(202, '', { headers: post });
      pool
        .intercept({ path: /manifests\/v1/, method: 'PUT' })
        .reply(201, '', { headers: { 'docker-content-digest': 'sha256:other' } });
      const destination = openImageDestination(
        { transport: 'registry', name: 'registry.example/os:v1' },
        { dispatcher: network, ...options },
      );
      return { network, destination };
    };
    const content = async function* (): AsyncIterable<Buffer> {
      yield await Promise.resolve(Buffer.from('a layer'));
    };
    for (const [headers, code, message] of [
      [{}, 'UnexpectedResponse', /accepts an upload without saying where to/],
      [{ location: 'http://registry.example/u' }, 'UnsafeRedirect', /correct its external URL/],
    ] as const) {
      const { network, destination } = await push(headers, { plainHttpHosts: ['other.example'] });
      await fails(destination.putBlob(image.layer, content), code, message);
      await network.close();
    }
    const { network, destination } = await push({});
    await fails(destination.putManifest(image.manifest), 'DigestMismatch', /stored the manifest of .* as sha256:other/);
    await network.close();
  });
});
