/** Fetching through another process: as good as here when it does as it should, and a named error when it does not. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { encodeCount, encodeFrame, FRAME, FrameReader } from '../../../registry/fetcher/frame.ts';
import { FETCH_WORKER, Fetcher, type FetcherProcess } from '../../../registry/fetcher/fetcher.ts';
import type { HttpAnswer, HttpPool, HttpRequest } from '../../../registry/http-pool.ts';
import { Connection } from '../../../registry/connection.ts';

type Handler = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

async function serve(handler: Handler): Promise<{ origin: string } & AsyncDisposable> {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Without confinement, so that it needs no privilege to be tested. */
function startWorker(): FetcherProcess {
  return spawn(process.execPath, [fileURLToPath(FETCH_WORKER)], { stdio: ['pipe', 'pipe', 'pipe'] });
}

const asked = (origin: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  origin,
  method: 'GET',
  path: '/',
  headers: {},
  headersTimeout: 20_000,
  bodyTimeout: 20_000,
  ...more,
});

async function bytesOf(body: HttpAnswer['body']): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('a fetcher', () => {
  const poolOf = (fetcher: Fetcher, origin: string): HttpPool =>
    fetcher.connect({ origin, connectTimeoutMs: 5000, tls: {} });

  it('gives status, headers and body of several answers at once, as the server sent them', async () => {
    const content = randomBytes(5_000_000);
    await using server = await serve(({ url, headers }, outgoing) => {
      if (url === '/large') outgoing.writeHead(200, { 'x-seen': headers['x-mine'] ?? '' }).end(content);
      else outgoing.writeHead(404, { 'set-cookie': ['a=1', 'b=2'] }).end('no');
    });
    await using fetcher = new Fetcher(startWorker());
    const pool = poolOf(fetcher, server.origin);
    const answers = await Promise.all([
      pool.request(asked(server.origin, { path: '/large', headers: { 'x-mine': 'yes' } })),
      pool.request(asked(server.origin, { path: '/large' })),
      pool.request(asked(server.origin, { path: '/other' })),
    ]);
    assert.deepEqual(
      answers.map(({ statusCode }) => statusCode),
      [200, 200, 404],
    );
    assert.equal(answers[0]?.headers['x-seen'], 'yes');
    assert.deepEqual(answers[2]?.headers['set-cookie'], ['a=1', 'b=2']);
    const [first, second, third] = await Promise.all(answers.map(({ body }) => bytesOf(body)));
    assert.ok(first?.equals(content) && second?.equals(content));
    assert.equal(third?.toString(), 'no');
  });

  it('sends what is to be sent, and drops what is not wanted', async () => {
    await using server = await serve((incoming, outgoing) => {
      const hash = createHash('sha256');
      incoming.on('data', (piece: Buffer) => hash.update(piece)).on('end', () => outgoing.end(hash.digest('hex')));
    });
    await using fetcher = new Fetcher(startWorker());
    const pool = poolOf(fetcher, server.origin);
    const answer = await pool.request(asked(server.origin, { method: 'POST', body: 'scope=päll' }));
    const expected = createHash('sha256').update('scope=päll').digest('hex');
    assert.equal((await bytesOf(answer.body)).toString(), expected);
    const dropped = await pool.request(asked(server.origin));
    await dropped.body.dump({ limit: 1000 });
    await assert.rejects(pool.request(asked(server.origin, { method: 'PUT', body: Buffer.from('x') })), TypeError);
  });

  it('does not run ahead of a slow reader, and stops when the reader goes', async () => {
    let sent = 0;
    const closed = Promise.withResolvers<undefined>();
    await using server = await serve((_, outgoing) => {
      const more = (): void => {
        while (!outgoing.destroyed && outgoing.write(Buffer.alloc(65_536))) sent += 65_536;
      };
      outgoing.on('drain', more).on('close', () => closed.resolve(undefined));
      more();
    });
    await using fetcher = new Fetcher(startWorker());
    const { body } = await poolOf(fetcher, server.origin).request(asked(server.origin));
    const iterator = body[Symbol.asyncIterator]();
    assert.equal((await iterator.next()).done, false);
    // When nothing has come for a while, all that may be under way is.
    for (let before = -1; before !== sent;) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes`);
    body.destroy();
    await closed.promise;
  });

  it('gives up a request whose signal aborts, before and after the answer, with the reason of the signal', async () => {
    await using server = await serve(({ url }, outgoing) => {
      if (url === '/body') outgoing.write('some');
    });
    await using fetcher = new Fetcher(startWorker());
    const pool = poolOf(fetcher, server.origin);
    for (const path of ['/silent', '/body']) {
      const abort = new AbortController();
      const reason = new Error('enough');
      const request = pool.request(asked(server.origin, { path, signal: abort.signal }));
      if (path === '/silent') {
        setTimeout(() => abort.abort(reason), 50);
        await assert.rejects(request, reason);
      } else {
        const { body } = await request;
        body.on('error', () => undefined);
        setTimeout(() => abort.abort(reason), 50);
        await assert.rejects(bytesOf(body), reason);
      }
    }
  });

  it('tells why there is no answer, so that it means the same as here', async () => {
    await using server = await serve((incoming) => incoming.socket.destroy());
    await using fetcher = new Fetcher(startWorker());
    const host = new URL(server.origin).host;
    for (const connect of [fetcher.connect, undefined]) {
      const options = { plainHttpHosts: [host], idleTimeoutMs: 5000, ...(connect && { connect }) };
      await using connection = new Connection(options, host);
      const broken = connection.send({ method: 'GET', url: new URL(server.origin), headers: {} });
      await assert.rejects(broken, { name: 'RegistryError', code: 'Unreachable', message: /other side closed/ });
      const secure = connection.send({ method: 'GET', url: new URL(`https://${host}`), headers: {} });
      await assert.rejects(secure, { name: 'RegistryError' });
      const nobody = connection.send({ method: 'GET', url: new URL('https://127.0.0.1:1'), headers: {} });
      await assert.rejects(nobody, { code: 'Unreachable', message: /ECONNREFUSED/ });
    }
  });

  /** A process that says what a test wants it to say. */
  function hostile(): FetcherProcess & { say(...frames: Buffer[]): void; readonly killed: boolean } {
    const closing: ((code: number | null, signal: string | null) => void)[] = [];
    const stdout = new PassThrough();
    const state = { killed: false };
    return {
      stdin: new PassThrough().resume(),
      stdout,
      stderr: new PassThrough(),
      kill: () => {
        state.killed = true;
        for (const listener of closing.splice(0)) listener(null, 'SIGKILL');
        return true;
      },
      once: (event: string, listener: never) => (event === 'close' ? closing.push(listener) : 0),
      say: (...frames) => frames.forEach((frame) => stdout.write(frame)),
      get killed() {
        return state.killed;
      },
    };
  }

  it('has its pieces handed on as they came, each a copy, and their memory given back at once', async () => {
    const process = hostile();
    await using fetcher = new Fetcher(process);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const reading = poolOf(fetcher, 'http://x.invalid')
      .request(asked('http://x.invalid'))
      .then(async ({ body }) => {
        await promise;
        const lengths: number[] = [];
        for await (const chunk of body) lengths.push(chunk.length);
        return lengths;
      });
    const pieces = [40_000, 50_000, 60_000].map((length) => encodeFrame(FRAME.data, 2, Buffer.alloc(length, 7)));
    process.say(encodeFrame(FRAME.head, 2, '{"statusCode":200,"headers":{}}'), ...pieces, encodeFrame(FRAME.end, 2));
    await new Promise((done) => setTimeout(done, 50));
    resolve(undefined);
    assert.deepEqual(await reading, [40_000, 50_000, 60_000]);
    assert.deepEqual(
      pieces.map(({ buffer }) => buffer.byteLength),
      [0, 0, 0],
    );
  });

  const HEAD = encodeFrame(FRAME.head, 2, '{"statusCode":200,"headers":{}}');
  const endless = encodeFrame(FRAME.data, 2, Buffer.alloc(1024 * 1024 - 1));
  const tooLong = encodeFrame(FRAME.data, 2);
  tooLong.writeUInt32LE(0xf000_0000, 5);
  for (const [what, frames, message] of [
    ['answers what it was not asked', [encodeFrame(FRAME.head, 77, '{}')], /answers what it was not asked/],
    ['answers twice', [HEAD, HEAD], /answers twice/],
    ['sends a body without an answer', [encodeFrame(FRAME.data, 2, 'x')], /more than it was asked for/],
    ['ends what it has not begun', [encodeFrame(FRAME.end, 2)], /ends an answer/],
    ['sends more than it was asked for', [HEAD, endless, endless], /more than it was asked for/],
    ['claims gigabytes', [HEAD, tooLong], /a frame of 4026531840 bytes/],
    ['sends what is not JSON', [encodeFrame(FRAME.head, 2, '{"sta')], /what is no answer/],
    ['makes up a status', [encodeFrame(FRAME.head, 2, '{"statusCode":99999,"headers":{}}')], /what is no answer/],
    ['sends an unknown word', [encodeFrame(FRAME.connect, 2)], /unknown kind 1/],
    ['sends garbage', [Buffer.from('HTTP/1.1 200 OK\r\n\r\n')], /a frame of|not asked/],
  ] as const) {
    it(`that ${what} is ended, with a named error`, async () => {
      const process = hostile();
      await using fetcher = new Fetcher(process);
      const pool = poolOf(fetcher, 'http://registry.invalid');
      const reading = pool.request(asked('http://registry.invalid')).then(async ({ body }) => {
        // A reader that has room for nothing.
        body.on('error', () => undefined);
        await new Promise((resolve) => setTimeout(resolve, 100));
        return await bytesOf(body);
      });
      // Whoever reads it gives its memory back.
      process.say(...frames.map((frame) => Buffer.from(frame)));
      await assert.rejects(reading, { name: 'RegistryError', code: 'FetcherFailed', message });
      assert.ok(process.killed);
      await assert.rejects(pool.request(asked('http://registry.invalid')), { code: 'FetcherFailed' });
    });
  }

  it('that is silent, before or after the head of an answer, is ended, with a named error', async () => {
    for (const frames of [[], [HEAD]]) {
      const process = hostile();
      await using fetcher = new Fetcher(process, 100);
      const pool = fetcher.connect({ origin: 'http://x.invalid', connectTimeoutMs: 0, tls: {} });
      const request = asked('http://x.invalid', { headersTimeout: 100, bodyTimeout: 100 });
      const reading = pool.request(request).then(({ body }) => bytesOf(body));
      process.say(...frames);
      await assert.rejects(reading, { code: 'FetcherFailed', message: /has said nothing of (an answer|a body)/ });
    }
  });

  it('that dies takes every request with it, and names how it ended', async () => {
    const start = (script: string): FetcherProcess =>
      spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'pipe'] });
    await using fetcher = new Fetcher(start('console.error("mount: denied");process.exit(32)'));
    const pool = poolOf(fetcher, 'http://registry.invalid');
    const both = [pool.request(asked('http://registry.invalid')), pool.request(asked('http://registry.invalid'))];
    for (const outcome of await Promise.allSettled(both)) {
      assert.equal(outcome.status, 'rejected');
      assert.match(String(outcome.reason), /ended with exit code 32 \(mount: denied\)/);
    }
    await using absent = new Fetcher(spawn('/nonexistent/setpriv', [], { stdio: ['pipe', 'pipe', 'pipe'] }));
    const request = poolOf(absent, 'http://registry.invalid').request(asked('http://registry.invalid'));
    await assert.rejects(request, { code: 'FetcherFailed', message: /could not be started/ });
  });
});

describe('frames of a fetcher', () => {
  const frame = fc.record(
    {
      kind: fc.integer({ min: 0, max: 255 }),
      id: fc.integer({ min: 0, max: 0xffff_ffff }),
      payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    },
    { noNullPrototype: true },
  );

  it('are those that were sent, whatever the pieces they arrive in', () => {
    fc.assert(
      fc.property(fc.array(frame), fc.integer({ min: 1, max: 500 }), (frames, size) => {
        const seen: unknown[] = [];
        const reader = new FrameReader((one) => seen.push(one));
        const stream = Buffer.concat(frames.map(({ kind, id, payload }) => encodeFrame(kind, id, payload)));
        for (let at = 0; at < stream.length; at += size) reader.write(stream.subarray(at, at + size));
        assert.deepEqual(seen, frames);
      }),
    );
  });

  it('of garbage are refused or wait for more, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (pieces) => {
        const reader = new FrameReader(() => undefined);
        try {
          for (const piece of pieces) reader.write(Buffer.from(piece));
        } catch (error) {
          assert.ok(error instanceof Error && 'code' in error && error.code === 'FetcherFailed');
        }
      }),
    );
    assert.deepEqual([...encodeCount(258)], [2, 1, 0, 0]);
  });
});
