import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { openImageSource, RegistryError, type RegistryOptions } from '../../../registry/index.ts';
import { backoffDelay, parseRetryAfter } from '../../../registry/retry.ts';
import { DEFAULT_RETRY } from '../../../registry/options.ts';
import { type Handler, type LoopbackServer, serve, TestClock } from './loopback-server.ts';
import { AMD64, collect, describeBytes, sampleImage } from './sample-image.ts';

const bytes = randomBytes(3_000_000);
const blob = describeBytes(bytes, 'application/octet-stream');

function open(server: LoopbackServer, options: RegistryOptions = {}) {
  return openImageSource(
    { transport: 'registry', name: `${server.host}/os:v1` },
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

/** Serves `bytes` by range and cuts the connection after `pieces[n]` bytes of answer n. */
function cuttingAfter(pieces: readonly number[]): Handler {
  return (request, response, count) => {
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const rest = bytes.subarray(start);
    if (start === 0) response.writeHead(200, { 'content-length': rest.length });
    else {
      response.writeHead(206, {
        'content-length': rest.length,
        'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
      });
    }
    const piece = pieces[count - 1];
    if (piece === undefined) response.end(rest);
    else response.write(rest.subarray(0, piece), () => setImmediate(() => response.destroy()));
  };
}

describe('a blob transfer', () => {
  it('goes on where a cut connection stopped it', async () => {
    await using server = await serve(cuttingAfter([1_000_000, 500_000, 700_000]));
    await using source = open(server);
    let counted = 0;
    const received = await collect(source.openBlob(blob, { onBytes: (count) => (counted += count) }));
    assert.ok(received.equals(bytes));
    assert.equal(counted, bytes.length, 'no byte is counted twice');
    assert.equal(server.requests.length, 4);
    for (const { headers } of server.requests.slice(1)) assert.match(headers.range ?? '', /^bytes=\d+-$/);
  });

  it('drops what it already has when the server does not know Range', async () => {
    await using server = await serve((_request, response, count) => {
      response.writeHead(200, { 'content-length': bytes.length });
      if (count === 1) response.write(bytes.subarray(0, 1_234_567), () => setImmediate(() => response.destroy()));
      else response.end(bytes);
    });
    await using source = open(server);
    assert.ok((await collect(source.openBlob(blob))).equals(bytes));
    assert.equal(server.requests.length, 2);
  });

  it('refuses a range other than the one it asked for', async () => {
    for (const range of [`bytes 0-${bytes.length - 1}/${bytes.length}`, 'bytes 1-2/3', undefined]) {
      await using server = await serve((_request, response, count) => {
        if (count === 1) {
          response.writeHead(200, { 'content-length': bytes.length });
          response.write(bytes.subarray(0, 1000), () => setImmediate(() => response.destroy()));
          return;
        }
        response.writeHead(206, range === undefined ? {} : { 'content-range': range });
        response.end(bytes.subarray(1000));
      });
      await using source = open(server);
      const error = await failure(collect(source.openBlob(blob)));
      assert.equal(error.code, 'UnexpectedResponse');
      assert.match(error.message, /answers a request for the rest of blob/);
    }
  });

  it('is bounded: a connection that is always cut ends in one sentence that says how often it was tried', async () => {
    await using server = await serve(cuttingAfter(Array.from({ length: 100 }, () => 10)));
    const clock = new TestClock();
    await using source = open(server, { clock });
    const error = await failure(collect(source.openBlob(blob)));
    assert.equal(error.code, 'Unreachable');
    assert.match(error.message, /^Registry 127\.0\.0\.1:\d+ cannot be reached .* \(5 attempts\)\.$/);
    assert.equal(server.requests.length, 5);
    assert.deepEqual(clock.sleeps, [187.5, 375, 750, 1500]);
  });

  it('that is cut after its last byte is whole', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(200, { 'transfer-encoding': 'chunked' });
      response.write(bytes, () => setTimeout(() => response.destroy(), 20));
    });
    await using source = open(server);
    assert.ok((await collect(source.openBlob(blob))).equals(bytes));
    assert.equal(server.requests.length, 1);
  });

  it('does not take its reader’s own error for a broken connection', async () => {
    await using server = await serve(cuttingAfter([]));
    await using source = open(server);
    const mine = new Error('mine');
    const reading = collect(
      source.openBlob(blob, {
        onBytes: () => {
          throw mine;
        },
      }),
    );
    await assert.rejects(reading, mine);
    assert.equal(server.requests.length, 1);
  });

  it('shares one signal among many without a warning', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error): number => warnings.push(warning);
    process.on('warning', note);
    await using server = await serve(cuttingAfter([]));
    await using source = open(server);
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 20 }, () => collect(source.openBlob(blob, { signal }))));
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', note);
    assert.deepEqual(warnings, []);
  });

  it('is resumed when the server falls silent', async () => {
    await using server = await serve((request, response, count) => {
      if (count === 1) {
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, 2_000_000));
      } else cuttingAfter([])(request, response, 99);
    });
    await using source = open(server, { idleTimeoutMs: 1000 });
    assert.ok((await collect(source.openBlob(blob))).equals(bytes));
    assert.equal(server.requests[1]?.headers.range, 'bytes=2000000-');
  });

  it('fails when the bytes are wrong, too few, or too many, before it says it is done', async () => {
    const wrong = Buffer.from(bytes);
    wrong[bytes.length - 1] = (wrong[bytes.length - 1] ?? 0) ^ 1;
    const table: readonly [Buffer, boolean, string, RegExp][] = [
      [wrong, true, 'DigestMismatch', /has the wrong content .*; nothing of it is used\.$/],
      [bytes.subarray(1), true, 'SizeMismatch', /2999999 bytes long, its manifest says 3000000 bytes/],
      [Buffer.concat([bytes, bytes]), true, 'SizeMismatch', /6000000 bytes long/],
      // Without a Content-Length the surplus shows while it arrives.
      [bytes.subarray(1), false, 'SizeMismatch', /only 2999999 bytes long/],
      [Buffer.concat([bytes, bytes]), false, 'SizeMismatch', /is longer/],
    ];
    for (const [body, announced, code, message] of table) {
      await using server = await serve((_request, response) => {
        response.writeHead(200, announced ? { 'content-length': body.length } : { 'transfer-encoding': 'chunked' });
        response.end(body);
      });
      await using source = open(server);
      let seen = 0;
      const error = await failure(collect(source.openBlob(blob, { onBytes: (count) => (seen += count) })));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.ok(seen <= bytes.length);
      assert.equal(server.requests.length, 1, 'wrong bytes are not fetched again and again');
    }
  });

  it('stops at once when its caller aborts, and closes the connection when its reader walks away', async () => {
    const endless: Handler = (_request, response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 100_000));
    };
    await using server = await serve(endless);
    await using source = open(server);
    const controller = new AbortController();
    const reason = new Error('enough');
    const reading = collect(
      source.openBlob(blob, { signal: controller.signal, onBytes: () => controller.abort(reason) }),
    );
    await assert.rejects(reading, reason);
    for await (const chunk of source.openBlob(blob)) {
      assert.ok(chunk.length > 0);
      break;
    }
    assert.equal(server.requests.length, 2);
  });
});

describe('retries', () => {
  const image = sampleImage();

  it('wait as long as Retry-After says, in seconds or as a date, and never less than the back-off', async () => {
    const clock = new TestClock();
    const date = new Date(clock.time + 3000 + 20_000).toUTCString();
    await using server = await serve((_request, response, count) => {
      if (count === 1) response.writeHead(429, { 'retry-after': '3' }).end();
      else if (count === 2) response.writeHead(503, { 'retry-after': date }).end();
      else if (count === 3) response.writeHead(502).end();
      else response.writeHead(200).end(image.manifestBytes);
    });
    await using source = open(server, { clock });
    await failure(source.resolve(AMD64));
    assert.deepEqual(clock.sleeps.slice(0, 3), [3000, 20_000, 750]);
  });

  it('are given up when the registry asks for more patience than there is', async () => {
    const clock = new TestClock();
    await using server = await serve((_request, response) => response.writeHead(429, { 'retry-after': '86400' }).end());
    await using source = open(server, { clock });
    const error = await failure(source.resolve(AMD64));
    assert.equal(error.code, 'RateLimited');
    assert.match(error.message, /answers 429: too many requests.*\(the server asks to wait 86400 s\)\.$/);
    assert.equal(error.retryAfterMs, 86_400_000);
    assert.deepEqual(clock.sleeps, []);
  });

  it('of a registry that is down end in one sentence', async () => {
    const server = await serve(() => undefined);
    await server[Symbol.asyncDispose]();
    const clock = new TestClock();
    await using source = open(server, { clock });
    const error = await failure(source.resolve(AMD64));
    assert.equal(error.code, 'Unreachable');
    assert.match(
      error.message,
      /cannot be reached \(connect ECONNREFUSED .*\): check that it is up .* \(5 attempts\)\.$/,
    );
    assert.equal(clock.sleeps.length, 4);
  });

  it('are not made for what cannot pass: 403, 404, 400', async () => {
    for (const [status, code] of [
      [403, 'Forbidden'],
      [404, 'NotFound'],
      [400, 'UnexpectedResponse'],
    ] as const) {
      await using server = await serve((_request, response) =>
        response.writeHead(status).end('{"errors":[{"code":"DENIED","message":"no\\u001b[31m way"}]}'),
      );
      await using source = open(server);
      const error = await failure(source.resolve(AMD64));
      assert.equal(error.code, code);
      assert.equal(server.requests.length, 1);
      if (status !== 404) assert.match(error.message, /\(DENIED: no \[31m way\)/);
      else assert.match(error.message, /has no image os with tag v1: check the name and the tag\.$/);
    }
  });

  it('have a delay between half and all of a doubling, capped step', () => {
    for (let retry = 0; retry < 20; retry++) {
      const step = Math.min(DEFAULT_RETRY.maxDelayMs, DEFAULT_RETRY.baseDelayMs * 2 ** retry);
      assert.equal(backoffDelay(DEFAULT_RETRY, retry, 0), step / 2);
      assert.ok(backoffDelay(DEFAULT_RETRY, retry, 0.999) < step);
    }
    assert.equal(parseRetryAfter('garbage', 0), undefined);
    assert.equal(parseRetryAfter(undefined, 0), undefined);
    assert.equal(parseRetryAfter('0', 0), 0);
    assert.equal(parseRetryAfter('Thu, 01 Jan 1970 00:00:10 GMT', 20_000), 0);
  });
});
