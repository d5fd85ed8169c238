import assert from 'node:assert/strict';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { openImageSource, RegistryError } from '../../../registry/index.ts';
import { proxyFor, proxySettings } from '../../../registry/proxy.ts';
import { serve, TestClock } from './loopback-server.ts';
import { AMD64, answerFrom, collect, sampleImage } from './sample-image.ts';

const chosen = (url: string, environment: Record<string, string>): string | undefined =>
  proxyFor(new URL(url), proxySettings(environment))?.href;

describe('the proxy', () => {
  it('is that of the environment, by the scheme of the registry, in upper case before lower case', () => {
    const both = { HTTPS_PROXY: 'http://secure:1', HTTP_PROXY: 'plain:2', https_proxy: 'http://other:3' };
    assert.equal(chosen('https://a.example/v2/', both), 'http://secure:1/');
    assert.equal(chosen('http://a.example/v2/', both), 'http://plain:2/');
    assert.equal(chosen('https://a.example/', { https_proxy: 'http://other:3' }), 'http://other:3/');
    assert.equal(chosen('https://a.example/', { HTTPS_PROXY: '', https_proxy: 'o:3' }), 'http://o:3/');
    assert.equal(chosen('https://a.example/', { HTTP_PROXY: 'plain:2' }), undefined);
    assert.equal(chosen('https://a.example/', {}), undefined);
  });

  it('is not used for this machine, nor for what NO_PROXY lists: domains, addresses, networks, ports', () => {
    const table: readonly [string, string, boolean][] = [
      ['', 'https://localhost:5000/', true],
      ['', 'https://127.0.0.2/', true],
      ['', 'https://[::1]:5000/', true],
      ['', 'https://a.example/', false],
      ['*', 'https://a.example/', true],
      ['example.com', 'https://example.com/', true],
      ['example.com', 'https://a.b.EXAMPLE.com:5000/', true],
      ['example.com', 'https://notexample.com/', false],
      ['.example.com', 'https://example.com/', false],
      ['.example.com', 'https://a.example.com/', true],
      ['*.example.com', 'https://a.example.com/', true],
      ['example.com:5000', 'https://example.com:5000/', true],
      ['example.com:5000', 'https://example.com/', false],
      ['example.com:443', 'https://example.com/', true],
      ['10.1.2.3', 'https://10.1.2.3:5000/', true],
      ['10.1.2.3', 'https://10.1.2.30/', false],
      ['10.0.0.0/8, 192.168.0.0/16', 'https://192.168.7.7/', true],
      ['10.0.0.0/8', 'https://11.0.0.1/', false],
      ['10.0.0.0/8', 'https://ten.example/', false],
      ['10.0.0.0/99', 'https://10.0.0.1/', false],
      ['fd00::/8', 'https://[fd00::7]/', true],
      ['fd00::7', 'https://[fd00::7]/', true],
      ['[fd00::7]:5000', 'https://[fd00::7]:5000/', true],
      [' , other.example ,, a.example', 'https://a.example/', true],
    ];
    for (const [list, url, isDirect] of table) {
      const environment = { HTTPS_PROXY: 'http://proxy:1', no_proxy: list };
      assert.equal(chosen(url, environment) === undefined, isDirect, `${list} for ${url}`);
    }
  });

  it('that cannot be one is refused by the name of its variable, without its content', () => {
    for (const value of ['socks5://u:secret@h:1', 'http://', 'http://h:secret:99999']) {
      assert.throws(
        () => proxySettings({ HTTPS_PROXY: value }),
        (error) =>
          error instanceof RegistryError &&
          error.code === 'InvalidConfiguration' &&
          /variable HTTPS_PROXY is no proxy/.test(error.message) &&
          !error.message.includes('secret'),
      );
    }
  });
});

/** A proxy that leads every name to one address, or answers with `status`, and notes what it was asked. */
async function startProxy(target: number, behaviour: { status?: number; isSilent?: boolean } = {}) {
  const asked: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const server = createHttpServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const { pathname } = new URL(request.url ?? '', 'http://none');
    fetch(`http://127.0.0.1:${target}${pathname}`, { redirect: 'manual' }).then(
      async (answer) => {
        response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
        response.end(Buffer.from(await answer.arrayBuffer()));
      },
      (error: unknown) => response.destroy(error as Error),
    );
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    asked.push(`CONNECT ${request.url}`);
    authorizations.push(request.headers['proxy-authorization']);
    if (behaviour.isSilent === true) return;
    if (behaviour.status !== undefined) {
      socket.end(`HTTP/1.1 ${behaviour.status} No\r\n\r\n`);
      return;
    }
    const onward = connect(target, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    authorizations,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('a registry behind a proxy', () => {
  const image = sampleImage();
  const content = answerFrom({ v1: { bytes: image.manifestBytes } }, image.blobs);

  it('that speaks plain HTTP is asked for through it by its full address', async () => {
    await using server = await serve((request, response) => content(request.url ?? '', response));
    await using proxy = await startProxy(Number(server.host.split(':')[1]));
    await using source = openImageSource(
      { transport: 'registry', name: 'registry.example:5000/os:v1' },
      {
        plainHttpHosts: ['registry.example:5000'],
        proxies: proxySettings({ HTTP_PROXY: `http://127.0.0.1:${proxy.port}` }),
      },
    );
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
    assert.ok((await collect(source.openBlob(image.layer))).equals(image.blobs.get(image.layer.digest)!));
    assert.equal(proxy.asked.length, 3);
    for (const line of proxy.asked) assert.match(line, /^GET http:\/\/registry\.example:5000\/v2\/os\//);
  });

  it('that speaks TLS is connected to through it, with the proxy’s own password', async () => {
    await using proxy = await startProxy(1, { status: 403 });
    await using source = openImageSource(
      { transport: 'registry', name: 'registry.example/os:v1' },
      { proxies: proxySettings({ HTTPS_PROXY: `http://ann:horse@127.0.0.1:${proxy.port}` }), clock: new TestClock() },
    );
    await assert.rejects(source.resolve(AMD64), (error) => {
      assert.ok(error instanceof RegistryError);
      assert.equal(error.code, 'Unreachable');
      assert.match(
        error.message,
        /^Registry registry\.example cannot be reached through the proxy http:\/\/127\.0\.0\.1:\d+ \(.*403/,
      );
      assert.doesNotMatch(error.message, /horse/);
      return true;
    });
    assert.equal(proxy.asked[0], 'CONNECT registry.example:443');
    assert.equal(proxy.authorizations[0], `Basic ${Buffer.from('ann:horse').toString('base64')}`);
  });

  it('that never answers is given up in time', async () => {
    await using proxy = await startProxy(1, { isSilent: true });
    await using source = openImageSource(
      { transport: 'registry', name: 'registry.example/os:v1' },
      {
        proxies: proxySettings({ HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` }),
        clock: new TestClock(),
        idleTimeoutMs: 150,
        retry: { attempts: 2 },
      },
    );
    const started = performance.now();
    await assert.rejects(
      source.resolve(AMD64),
      (error) => error instanceof RegistryError && error.code === 'Unreachable',
    );
    assert.ok(performance.now() - started < 3000, `${performance.now() - started} ms`);
  });
});
