import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type Credentials,
  openImageSource,
  parseDockerConfig,
  RegistryError,
  type RegistryOptions,
} from '../../../registry/index.ts';
import { type LoopbackServer, serve, TestClock } from './loopback-server.ts';
import { AMD64, answerFrom, collect, sampleImage } from './sample-image.ts';

const image = sampleImage();
const content = answerFrom({ v1: { bytes: image.manifestBytes } }, image.blobs);

function credentialsFor(host: string, entry: object): Credentials {
  return parseDockerConfig(JSON.stringify({ auths: { [host]: entry } }));
}

function open(server: LoopbackServer, options: RegistryOptions = {}) {
  return openImageSource(
    { transport: 'registry', name: `${server.host}/team/os:v1` },
    { plainHttpHosts: [server.host], clock: new TestClock(), ...options },
  );
}

async function failure(promise: Promise<unknown>): Promise<RegistryError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, String(error));
  return error;
}

/** A registry whose tokens come from its own /token; `lifetime` in seconds. */
function tokenRegistry(behaviour: {
  lifetime?: number;
  accepts?: (token: string) => boolean;
  token?: (request: IncomingMessage, response: ServerResponse) => boolean;
}) {
  let issued = 0;
  return serve((request, response) => {
    const url = request.url ?? '';
    if (url.startsWith('/token')) {
      if (behaviour.token?.(request, response) === true) return;
      issued++;
      response.end(JSON.stringify({ token: `t${issued}`, expires_in: behaviour.lifetime ?? 300 }));
      return;
    }
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined || !(behaviour.accepts?.(token) ?? true)) {
      response.writeHead(401, {
        'www-authenticate': `Bearer realm="http://${request.headers.host}/token",service="reg",scope="repository:team/os:pull"`,
      });
      response.end();
      return;
    }
    content(url, response);
  });
}

const tokenRequests = (server: LoopbackServer) => server.requests.filter(({ path }) => path.startsWith('/token'));

describe('authentication', () => {
  it('is anonymous until the registry asks, and the token is then used for every request', async () => {
    await using server = await tokenRegistry({});
    await using source = open(server);
    const resolved = await source.resolve(AMD64);
    await collect(source.openBlob(image.layer));
    assert.equal(resolved.digest, image.digest);
    const [asked, ...more] = tokenRequests(server);
    assert.equal(more.length, 0, 'one token for manifest, config and layer');
    assert.equal(asked?.path, '/token?service=reg&scope=repository%3Ateam%2Fos%3Apull');
    assert.equal(asked?.headers.authorization, undefined);
    assert.equal(server.requests[0]?.headers.authorization, undefined);
    assert.deepEqual(
      server.requests.slice(2).map(({ headers }) => headers.authorization),
      ['Bearer t1', 'Bearer t1', 'Bearer t1'],
    );
  });

  it('sends the configured user to the token service only', async () => {
    await using server = await tokenRegistry({});
    await using source = open(server, { credentials: credentialsFor(server.host, { username: 'u', password: 'p' }) });
    await source.resolve(AMD64);
    const basic = `Basic ${Buffer.from('u:p').toString('base64')}`;
    assert.equal(tokenRequests(server)[0]?.headers.authorization, basic);
    assert.match(tokenRequests(server)[0]?.path ?? '', /account=u/);
    const others = server.requests.filter(({ path }) => !path.startsWith('/token'));
    assert.ok(others.every(({ headers }) => headers.authorization !== basic));
  });

  it('exchanges an identity token for an access token', async () => {
    let form = '';
    await using server = await tokenRegistry({
      token: (request, response) => {
        request.on('data', (chunk: Buffer) => (form += chunk.toString()));
        request.on('end', () => response.end(JSON.stringify({ access_token: 'exchanged' })));
        return true;
      },
      accepts: (token) => token === 'exchanged',
    });
    await using source = open(server, { credentials: credentialsFor(server.host, { identitytoken: 'refresh me' }) });
    await source.resolve(AMD64);
    const parameters = new URLSearchParams(form);
    assert.equal(parameters.get('grant_type'), 'refresh_token');
    assert.equal(parameters.get('refresh_token'), 'refresh me');
    assert.equal(tokenRequests(server)[0]?.method, 'POST');
  });

  it('fetches a new token when the registry stops accepting the old one in the middle', async () => {
    const refused = new Set<string>();
    await using server = await tokenRegistry({ accepts: (token) => !refused.has(token) });
    await using source = open(server);
    await source.resolve(AMD64);
    refused.add('t1');
    await collect(source.openBlob(image.layer));
    assert.equal(server.requests.at(-1)?.headers.authorization, 'Bearer t2');
  });

  it('does not send a token whose time is over', async () => {
    await using server = await tokenRegistry({ lifetime: 100 });
    const clock = new TestClock();
    await using source = open(server, { clock });
    await source.resolve(AMD64);
    clock.time += 95_000;
    await collect(source.openBlob(image.layer));
    assert.ok(server.requests.some(({ headers }) => headers.authorization === 'Bearer t2'));
    const stale = server.requests.slice(-3).filter(({ headers }) => headers.authorization === 'Bearer t1');
    assert.equal(stale.length, 0);
  });

  it('asks for one token however many requests wait for it', async () => {
    await using server = await tokenRegistry({});
    await using source = open(server);
    await Promise.all(Array.from({ length: 8 }, () => collect(source.openBlob(image.layer))));
    assert.equal(tokenRequests(server).length, 1);
  });

  it('fails after one refused token instead of going round in circles', async () => {
    await using server = await tokenRegistry({ accepts: () => false });
    await using source = open(server);
    const error = await failure(source.resolve(AMD64));
    assert.equal(error.code, 'Unauthorized');
    assert.match(error.message, /wants credentials to pull .*none are configured for it: add an "auths" entry/);
    assert.equal(server.requests.length, 3);
  });

  it('names the user whose credentials are wrong, never the password', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' });
      response.end();
    });
    const credentials = credentialsFor(server.host, { username: 'ann', password: 'hunter2' });
    await using source = open(server, { credentials });
    const error = await failure(source.resolve(AMD64));
    assert.equal(error.code, 'Unauthorized');
    assert.match(error.message, /refuses the configured credentials of user "ann" to pull/);
    assert.doesNotMatch(error.message, /hunter2/);
    assert.equal(server.requests.length, 2);
  });

  it('gives up at the first refusal of a password that has worked before', async () => {
    let changed = false;
    await using server = await serve((request, response) => {
      if (request.headers.authorization !== undefined && !changed) return content(request.url ?? '', response);
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' });
      response.end();
    });
    await using source = open(server, { credentials: credentialsFor(server.host, { username: 'u', password: 'p' }) });
    await source.resolve(AMD64);
    changed = true;
    const before = server.requests.length;
    assert.equal((await failure(collect(source.openBlob(image.layer)))).code, 'Unauthorized');
    assert.equal(server.requests.length, before + 1, 'a locked account is not knocked at twice');
  });

  it('finds the challenge that it knows among several header lines', async () => {
    await using server = await serve((request, response) => {
      if (request.headers.authorization !== undefined) return content(request.url ?? '', response);
      response.writeHead(401, { 'www-authenticate': ['Negotiate', 'Basic realm="r"'] });
      response.end();
    });
    await using source = open(server, { credentials: credentialsFor(server.host, { username: 'u', password: 'p' }) });
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
  });

  it('refuses to send credentials to a token service in the clear', async () => {
    await using elsewhere = await serve((_request, response) => response.end('{"token":"stolen"}'));
    await using server = await serve((_request, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${elsewhere.host}/token"` });
      response.end();
    });
    const credentials = credentialsFor(server.host, { username: 'ann', password: 'hunter2' });
    await using source = open(server, { credentials });
    const error = await failure(source.resolve(AMD64));
    assert.equal(error.code, 'UnsafeRedirect');
    assert.equal(elsewhere.requests.length, 0);
  });
});

describe('redirects', () => {
  it('to other storage never carry credentials', async () => {
    await using storage = await serve((request, response) => content(request.url ?? '', response));
    await using server = await serve((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' });
        response.end();
      } else if (request.url?.includes('/blobs/') === true) {
        response.writeHead(307, { location: `http://${storage.host}${request.url}?signature=1`, 'set-cookie': 'a=b' });
        response.end();
      } else content(request.url ?? '', response);
    });
    await using source = open(server, {
      plainHttpHosts: [server.host, storage.host],
      credentials: credentialsFor(server.host, { username: 'u', password: 'p' }),
    });
    await source.resolve(AMD64);
    await collect(source.openBlob(image.layer));
    assert.equal(storage.requests.length, 2);
    for (const { headers } of [...storage.requests, ...server.requests]) assert.equal(headers.cookie, undefined);
    for (const { headers } of storage.requests) assert.equal(headers.authorization, undefined);
  });

  it('within the registry keep the credentials', async () => {
    await using server = await serve((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' });
        response.end();
      } else if (request.url?.startsWith('/v2/') === true) {
        response.writeHead(302, { location: `/moved${request.url}` });
        response.end();
      } else content(request.url ?? '', response);
    });
    await using source = open(server, { credentials: credentialsFor(server.host, { username: 'u', password: 'p' }) });
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
  });

  it('to a host without encryption, to other schemes, or with user names are not followed', async () => {
    await using elsewhere = await serve((_request, response) => response.end('x'));
    const table: readonly [string, readonly string[]][] = [
      [`http://${elsewhere.host}/x`, []],
      ['ftp://files.example/x', ['files.example']],
      [`http://user:pw@${elsewhere.host}/x`, [elsewhere.host]],
    ];
    for (const [location, plainHttpHosts] of table) {
      await using server = await serve((_request, response) => {
        response.writeHead(307, { location });
        response.end();
      });
      await using source = open(server, { plainHttpHosts: [server.host, ...plainHttpHosts] });
      const error = await failure(source.resolve(AMD64));
      assert.equal(error.code, 'UnsafeRedirect', location);
      assert.doesNotMatch(error.message, /pw/);
    }
    assert.equal(elsewhere.requests.length, 0);
  });

  it('that never end are cut off', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(302, { location: '/again' });
      response.end();
    });
    await using source = open(server);
    const error = await failure(source.resolve(AMD64));
    assert.equal(error.code, 'UnsafeRedirect');
    assert.match(error.message, /redirects more than 5 times/);
    assert.equal(server.requests.length, 6);
  });

  it('to a storage that answers 401 do not fetch a token for it', async () => {
    await using storage = await serve((_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="give me"' });
      response.end();
    });
    await using server = await serve((_request, response) => {
      response.writeHead(307, { location: `http://${storage.host}/x` });
      response.end();
    });
    await using source = open(server, {
      plainHttpHosts: [server.host, storage.host],
      credentials: credentialsFor(storage.host, { username: 'u', password: 'p' }),
    });
    assert.equal((await failure(source.resolve(AMD64))).code, 'UnexpectedResponse');
    assert.equal(storage.requests.length, 1);
  });
});
