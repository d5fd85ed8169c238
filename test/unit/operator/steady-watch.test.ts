/** The watch against a real HTTP server that misbehaves in every way an API server does. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { pino } from 'pino';
import { systemClock, type Clock } from '../../../operator/clock.ts';
import { PooledConnection } from '../../../operator/kube/connection.ts';
import { ObjectCache, type CachedObject } from '../../../operator/kube/object-cache.ts';
import { SteadyWatch } from '../../../operator/kube/steady-watch.ts';
import { freePorts } from '../../../testbed/control-plane-process.ts';

const PATH = '/apis/test/v1/things';
const logger = pino({ level: 'silent' });
/** Real time, but back-offs a hundred times shorter. */
const hurried: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) };

const thing = (name: string, resourceVersion: number) => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion: String(resourceVersion) },
});
const list = (resourceVersion: number, ...names: string[]) => ({
  metadata: { resourceVersion: String(resourceVersion) },
  items: names.map((name) => thing(name, 1)),
});
const event = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`;

function configFor(url: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromClusterAndUser({ name: 'c', server: url, skipTLSVerify: true }, { name: 'u', token: 't' });
  return config;
}

async function until(what: string, look: () => boolean): Promise<void> {
  for (let turn = 0; turn < 4000; turn++) {
    if (look()) return;
    await delay(10);
  }
  assert.fail(`never: ${what}`);
}

describe('a steady watch', () => {
  let server: Server;
  let requests: URL[];
  let lists: ((response: ServerResponse, url: URL) => void)[];
  let watches: ((response: ServerResponse, url: URL) => void)[];
  let stop: AbortController;
  let connection: PooledConnection;
  let cache: ObjectCache<CachedObject>;
  let running: Promise<void>[];

  beforeEach(async () => {
    requests = [];
    lists = [];
    watches = [];
    running = [];
    stop = new AbortController();
    cache = new ObjectCache();
    server = createServer((request: IncomingMessage, response) => {
      const url = new URL(request.url ?? '', 'http://x');
      requests.push(url);
      const script = url.searchParams.has('watch') ? watches : lists;
      // The last answer stands for all further requests.
      const answer = script.length > 1 ? script.shift() : script[0];
      if (answer === undefined) response.writeHead(500).end();
      else answer(response, url);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    connection = new PooledConnection(configFor(urlOf(server)), { userAgent: 'test' });
  });
  afterEach(async () => {
    stop.abort();
    await Promise.all(running);
    await connection.close();
    server.closeAllConnections();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  });

  const start = (over = connection) => {
    const watch = new SteadyWatch({
      connection: over,
      path: PATH,
      cache,
      trim: (raw) => raw as CachedObject,
      clock: hurried,
      logger,
    });
    running.push(watch.run(stop.signal));
    return watch;
  };
  const json =
    (value: unknown, status = 200) =>
    (response: ServerResponse) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
  const stream =
    (...lines: string[]) =>
    (response: ServerResponse) => {
      response.writeHead(200);
      response.flushHeaders();
      for (const line of lines) response.write(line);
    };
  const watchesAsked = () => requests.filter((url) => url.searchParams.has('watch'));
  const listsAsked = () => requests.filter((url) => !url.searchParams.has('watch'));
  const names = () => cache.values().map((one) => one.metadata.name);

  it('lists in pages, then watches from there with bookmarks and a time limit of its own', async () => {
    lists = [
      (response) => json({ metadata: { resourceVersion: '9', continue: 'more' }, items: [thing('a', 1)] })(response),
      (response, url) => {
        assert.equal(url.searchParams.get('continue'), 'more');
        json(list(9, 'b'))(response);
      },
    ];
    watches = [stream(event('ADDED', thing('c', 10)))];
    start();
    await until('all three', () => names().length === 3);
    const [asked] = watchesAsked();
    assert.equal(asked?.searchParams.get('resourceVersion'), '9');
    assert.equal(asked.searchParams.get('allowWatchBookmarks'), 'true');
    const seconds = Number(asked.searchParams.get('timeoutSeconds'));
    assert.ok(seconds >= 300 && seconds <= 600, String(seconds));
    assert.equal(listsAsked()[0]?.searchParams.get('limit'), '500');
  });

  it('goes on after the last bookmark, without a list, when the server ends the stream', async () => {
    lists = [json(list(1, 'a'))];
    watches = [
      (response) => {
        stream(event('BOOKMARK', thing('', 77)))(response);
        response.end();
      },
      stream(),
    ];
    start();
    await until('a second watch', () => watchesAsked().length === 2);
    assert.equal(watchesAsked()[1]?.searchParams.get('resourceVersion'), '77');
    assert.equal(listsAsked().length, 1);
  });

  it('lists anew after 410, as a status and as an ERROR event', async () => {
    const expired = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version: 1 (9)' };
    lists = [json(list(1, 'a')), json(list(5, 'a', 'b')), json(list(9, 'c'))];
    watches = [json(expired, 410), stream(event('ERROR', expired)), stream()];
    start();
    await until('the third list', () => names().join() === 'c');
    await until('a watch from there', () => watchesAsked().at(-1)?.searchParams.get('resourceVersion') === '9');
    assert.equal(listsAsked().length, 3);
  });

  it('survives an ERROR event that is no 410', async () => {
    lists = [json(list(1, 'a')), json(list(2, 'b'))];
    const internal = { kind: 'Status', code: 500, reason: 'InternalError', message: 'etcd leader changed' };
    watches = [stream(event('ERROR', internal)), stream()];
    start();
    await until('the second list', () => names().join() === 'b');
  });

  it('lists anew when the server does not know its version yet: the API was restored from a backup', async () => {
    lists = [json(list(900, 'a', 'lost')), json(list(5, 'a'))];
    const tooLarge = {
      kind: 'Status',
      code: 504,
      reason: 'Timeout',
      message: 'Too large resource version: 900, current: 5',
    };
    watches = [json(tooLarge, 504), stream()];
    start();
    await until('the list alone counts', () => names().join() === 'a');
  });

  it('survives cut streams, garbage and an event that cannot be read', async () => {
    lists = [json(list(1, 'a'))];
    watches = [
      (response) => response.destroy(),
      stream('this is not JSON\n'),
      (response) => {
        stream(event('ADDED', thing('half', 3)).slice(0, 20))(response);
        setTimeout(() => response.destroy(), 20);
      },
      stream(event('MODIFIED', {})),
      stream(event('ADDED', thing('b', 4))),
    ];
    start();
    await until('b', () => names().includes('b'));
    assert.deepEqual(names(), ['a', 'b']);
  });

  it('joins events that arrive in pieces, in the middle of a character too', async () => {
    const line = Buffer.from(event('ADDED', { metadata: { ...thing('b', 2).metadata, labels: { l: 'ü' } } }));
    const cut = line.indexOf(Buffer.from('ü')) + 1;
    lists = [json(list(1))];
    watches = [
      (response) => {
        response.writeHead(200);
        response.write(line.subarray(0, cut));
        setTimeout(() => response.write(line.subarray(cut)), 20);
      },
    ];
    start();
    await until('b', () => cache.get('b') !== undefined);
    assert.equal(cache.get('b')?.metadata.labels?.['l'], 'ü');
  });

  it('backs off when every stream dies at once, and does not hammer', async () => {
    lists = [json(list(1, 'a'))];
    watches = [(response) => response.writeHead(200).end()];
    const slow: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 10, signal) };
    const options = { connection, path: PATH, cache, trim: (raw: unknown) => raw as CachedObject, clock: slow, logger };
    running.push(new SteadyWatch(options).run(stop.signal));
    await delay(1500);
    const asked = watchesAsked().length;
    assert.ok(asked <= 12, `${asked} watches in 1.5 s`);
    await until('it goes on', () => watchesAsked().length >= 3);
  });

  it('survives credentials that cannot be loaded for a while', async () => {
    lists = [json(list(1, 'a'))];
    watches = [(response) => setTimeout(() => response.destroy(), 20), stream(event('ADDED', thing('b', 2)))];
    const config = configFor(urlOf(server));
    const apply = config.applyToHTTPSOptions.bind(config);
    let failing = 0;
    let calls = 0;
    config.applyToHTTPSOptions = async (options) => {
      calls += 1;
      if (calls > 2 && failing < 5) {
        failing += 1;
        throw new Error('exec plugin is broken');
      }
      await apply(options);
    };
    const own = new PooledConnection(config, { userAgent: 'test' });
    const watch = start(own);
    await until('b', () => names().includes('b'));
    assert.equal(failing, 5);
    assert.ok(watch.restarts >= 5);
    await own.close();
  });

  it('refreshes with a list that begins after the request, and resolves when it is in the cache', async () => {
    lists = [json(list(1, 'a')), json(list(8, 'a', 'b'))];
    watches = [stream()];
    const watch = start();
    await until('the first list', () => cache.hasSynced && watchesAsked().length === 1);
    await watch.refresh(stop.signal);
    assert.deepEqual(names(), ['a', 'b']);
    stop.abort();
    await watch.refresh(stop.signal);
  });

  it('opens one connection for many calls', async () => {
    lists = [json(list(1))];
    let opened = 0;
    server.on('connection', () => (opened += 1));
    for (let call = 0; call < 30; call++) await connection.call('GET', PATH);
    // undici may open a second one while the first answer is being put away.
    assert.ok(opened <= 2, `${opened} connections`);
  });
});

describe('a steady watch of a server that is killed', () => {
  let child: ChildProcess | undefined;
  const stop = new AbortController();
  afterEach(() => {
    stop.abort();
    child?.kill('SIGKILL');
  });

  const serve = async (port: number): Promise<void> => {
    child = fork(new URL('./mortal-server.ts', import.meta.url), [String(port)]);
    await once(child, 'message');
  };
  const kill = async () => {
    const gone = new Promise((resolve) => child?.once('exit', resolve));
    child?.kill('SIGKILL');
    await gone;
  };

  it('finds it again, with what happened meanwhile', async () => {
    // Not the kernel's choice: while no server has it, another connection would be given it.
    const [port = 0] = await freePorts(1);
    await serve(port);
    const connection = new PooledConnection(configFor(`http://127.0.0.1:${port}`), { userAgent: 'test' });
    const cache = new ObjectCache<CachedObject>();
    const trim = (raw: unknown) => raw as CachedObject;
    const watch = new SteadyWatch({ connection, path: PATH, cache, trim, clock: hurried, logger });
    const running = watch.run(stop.signal);
    const pid = () => cache.get('pid')?.metadata.uid;
    await until('the first server', () => pid() !== undefined);
    const first = pid();
    assert.ok(watch.isCurrent);
    await kill();
    await until('refused connections', () => watch.restarts >= 4);
    assert.ok(!watch.isCurrent, 'nothing may be decided on what was known before');
    assert.equal(pid(), first, 'what is known stays known');
    await serve(port);
    await until('the second server', () => pid() !== first);
    assert.ok(watch.isCurrent);
    stop.abort();
    await running;
    await connection.close();
  });
});

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
