/** What a registry can do wrong, one by one: each ends in a named error, or well, after a bounded number of requests. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import {
  digestOf,
  MEDIA_TYPE,
  openImageSource,
  RegistryError,
  type RegistryErrorCode,
  type RegistryOptions,
} from '../../../registry/index.ts';
import { TransferPace } from '../../../registry/transfer-pace.ts';
import { type Handler, type LoopbackServer, serve, TestClock } from './loopback-server.ts';
import { AMD64, answerFrom, collect, sampleImage } from './sample-image.ts';

const bytes = randomBytes(3_000_000);
const image = sampleImage({ layer: bytes });
const other = sampleImage({ layer: Buffer.from('another'), labels: { version: '2' } });
const good = answerFrom(
  { v1: { bytes: image.manifestBytes }, [image.digest]: { bytes: image.manifestBytes } },
  new Map([...image.blobs, ...other.blobs]),
);

interface Outcome {
  readonly code: RegistryErrorCode | 'none';
  readonly message: string;
  readonly server: LoopbackServer;
  readonly clock: TestClock;
  readonly elapsedMs: number;
}

/** Resolves and reads the layer, from a registry with the given fault. */
async function pullFrom(handler: Handler, options: RegistryOptions = {}, ref = ':v1'): Promise<Outcome> {
  await using server = await serve(handler);
  const clock = new TestClock();
  await using source = openImageSource(
    { transport: 'registry', name: `${server.host}/os${ref}` },
    { plainHttpHosts: [server.host], clock, ...options },
  );
  const started = performance.now();
  const outcome = (code: Outcome['code'], message = ''): Outcome => ({
    code,
    message,
    server,
    clock,
    elapsedMs: performance.now() - started,
  });
  try {
    const { manifest } = await source.resolve(AMD64);
    const got = await collect(source.openBlob(manifest.layers[0]!));
    assert.equal(digestOf(got), manifest.layers[0]!.digest);
    return outcome('none');
  } catch (error) {
    assert.ok(error instanceof RegistryError, String(error));
    return outcome(error.code, error.message);
  }
}

/** For faults that are waited for. A server that answers is never late by it, however busy the machine is. */
const IMPATIENT = { idleTimeoutMs: 150 };

const isLayer = (url: string | undefined): boolean => url?.includes(image.layer.digest) === true;

/** Good but for the layer. */
function layerFault(fault: Handler): Handler {
  return (request, response, count) => {
    if (isLayer(request.url)) fault(request, response, count);
    else good(request.url ?? '', response);
  };
}

/** Writes a byte now and then until the connection ends: alive, but to no purpose. */
function drip(response: ServerResponse, everyMs: number): void {
  const timer = setInterval(() => response.write('x'), everyMs);
  response.on('close', () => clearInterval(timer));
}

const index = (entry: object): Buffer =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [entry] }));

describe('a fault of a registry is bounded and named:', () => {
  it('nothing but silence, for the manifest or in the middle of a layer', async () => {
    const silent = await pullFrom(() => undefined, { ...IMPATIENT, retry: { attempts: 2 } });
    assert.equal(silent.code, 'Unreachable');
    assert.match(silent.message, /\(2 attempts\)/);
    assert.ok(silent.elapsedMs < 30_000);
    const stalled = await pullFrom(
      layerFault((_request, response) => {
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, 1000));
      }),
      { ...IMPATIENT, retry: { attempts: 2 } },
    );
    assert.equal(stalled.code, 'Unreachable');
    assert.ok(stalled.elapsedMs < 30_000);
  });

  it('a manifest that drips in', async () => {
    const outcome = await pullFrom((_request, response) => drip(response.writeHead(200), 30), {
      ...IMPATIENT,
      retry: { attempts: 1 },
    });
    assert.equal(outcome.code, 'Unreachable');
    assert.match(outcome.message, /no whole answer within 0\.6 s/);
    assert.ok(outcome.elapsedMs < 30_000);
  });

  it('a layer that drips in', async () => {
    const outcome = await pullFrom(
      layerFault((_request, response) => drip(response.writeHead(200, { 'content-length': bytes.length }), 30)),
      { ...IMPATIENT, retry: { attempts: 1 } },
    );
    assert.equal(outcome.code, 'Unreachable');
    assert.match(outcome.message, /^Registry 127\.0\.0\.1:\d+ sends only \d+ bytes per second: check the network/);
    assert.ok(outcome.elapsedMs < 30_000);
  });

  it('but a reader that takes its time is not a slow server', async () => {
    await using server = await serve((request, response) => good(request.url ?? '', response));
    await using source = openImageSource(
      { transport: 'registry', name: `${server.host}/os:v1` },
      { plainHttpHosts: [server.host], idleTimeoutMs: 100 },
    );
    const pace = new TransferPace('Registry x', 50);
    async function* quick(): AsyncGenerator<Buffer> {
      for (let piece = 0; piece < 5; piece++) yield await Promise.resolve(Buffer.alloc(1));
    }
    const pieces = quick();
    for (let result = await pace.next(pieces); result.done !== true; result = await pace.next(pieces)) {
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    let seen = 0;
    for await (const chunk of source.openBlob(image.layer)) {
      if (seen === 0) await new Promise((resolve) => setTimeout(resolve, 400));
      seen += chunk.length;
    }
    assert.equal(seen, bytes.length);
    assert.equal(server.requests.length, 1);
  });

  it('a token that ends in the middle of a layer: the rest is fetched with a new one', async () => {
    let issued = 0;
    let valid = '';
    let cut = false;
    const outcome = await pullFrom((request, response) => {
      if (request.url?.startsWith('/token') === true) {
        valid = `t${++issued}`;
        response.end(JSON.stringify({ token: valid, expires_in: 3600 }));
        return;
      }
      if (request.headers.authorization !== `Bearer ${valid}`) {
        response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
        return;
      }
      if (!isLayer(request.url)) {
        good(request.url ?? '', response);
        return;
      }
      if (!cut) {
        cut = true;
        valid = 'none any more';
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, 1_000_000), () => setImmediate(() => response.destroy()));
        return;
      }
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1]);
      response.writeHead(206, { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` });
      response.end(bytes.subarray(start));
    });
    assert.equal(outcome.code, 'none', outcome.message);
    assert.equal(issued, 2);
    const ranges = outcome.server.requests.filter(({ path }) => isLayer(path)).map(({ headers }) => headers.range);
    assert.deepEqual(ranges, [undefined, 'bytes=1000000-', 'bytes=1000000-']);
  });

  it('429 and 500, with and without Retry-After, on manifest and layer', async () => {
    for (const [status, code] of [
      [429, 'RateLimited'],
      [500, 'ServerError'],
    ] as const) {
      for (const headers of [{}, { 'retry-after': '2' }]) {
        for (const wrap of [(fault: Handler) => fault, layerFault]) {
          const outcome = await pullFrom(wrap((_request, response) => response.writeHead(status, headers).end()));
          assert.equal(outcome.code, code);
          assert.match(outcome.message, /\(5 attempts\)\.$/);
          assert.equal(outcome.clock.sleeps.length, 4);
          if ('retry-after' in headers) assert.ok(outcome.clock.sleeps.every((ms) => ms >= 2000));
          let refusals = 0;
          const passing: Handler = (request, response) => {
            if (refusals++ < 2) response.writeHead(status, headers).end();
            else good(request.url ?? '', response);
          };
          assert.equal((await pullFrom(wrap(passing))).code, 'none');
        }
      }
    }
  });

  it('redirects in a circle, and to oneself', async () => {
    const circle: Handler = (request, response) =>
      response.writeHead(307, { location: request.url?.endsWith('#') === true ? '/a' : `${request.url}` }).end();
    for (const wrap of [(fault: Handler) => fault, layerFault]) {
      const outcome = await pullFrom(wrap(circle));
      assert.equal(outcome.code, 'UnsafeRedirect');
      assert.match(outcome.message, /redirects more than 5 times/);
      assert.ok(outcome.server.requests.length <= 8);
    }
  });

  it('a manifest of a hundred megabytes, of which only the first few are taken', async () => {
    for (const headers of [{}, { 'content-length': 100_000_000 }]) {
      let written = 0;
      const outcome = await pullFrom((_request, response) => {
        response.writeHead(200, { 'content-type': MEDIA_TYPE.manifest, ...headers });
        const piece = Buffer.alloc(1_000_000, ' ');
        const more = (): void => {
          while (written < 100 && !response.destroyed) {
            written++;
            if (!response.write(piece)) {
              response.once('drain', more);
              return;
            }
          }
          response.end();
        };
        more();
      });
      assert.equal(outcome.code, 'TooLarge');
      assert.match(outcome.message, /larger than 4194304 bytes: it is not a container image/);
      assert.ok(written < 30, `${written} MB were sent`);
      assert.equal(outcome.server.requests.length, 1);
    }
  });

  it('an answer to 403 of a hundred megabytes', async () => {
    const outcome = await pullFrom((_request, response) => {
      response.writeHead(403);
      response.end(Buffer.alloc(100_000_000));
    });
    assert.equal(outcome.code, 'Forbidden');
  });

  it('an index of indexes, an index that leads to itself, and one whose image has gone', async () => {
    const entry = { digest: digestOf('somewhere'), size: 9, platform: AMD64 };
    const nested = await pullFrom((_request, response) =>
      response
        .writeHead(200, { 'content-type': MEDIA_TYPE.index })
        .end(index({ ...entry, mediaType: MEDIA_TYPE.index })),
    );
    assert.equal(nested.code, 'InvalidManifest');
    assert.match(nested.message, /index of indexes/);
    assert.equal(nested.server.requests.length, 1);
    // A document cannot name its own digest: a registry that pretends so answers with other bytes than were named.
    const bytesOfCycle = index({ ...entry, mediaType: MEDIA_TYPE.manifest, size: 0 });
    const cycle = await pullFrom((_request, response) =>
      response.writeHead(200, { 'content-type': MEDIA_TYPE.index }).end(bytesOfCycle),
    );
    assert.ok(cycle.code === 'SizeMismatch' || cycle.code === 'DigestMismatch', cycle.code);
    assert.equal(cycle.server.requests.length, 2);
    const gone = await pullFrom((request, response) => {
      if (request.url?.endsWith('/v1') === true)
        response
          .writeHead(200, { 'content-type': MEDIA_TYPE.index })
          .end(index({ ...entry, mediaType: MEDIA_TYPE.manifest }));
      else response.writeHead(404).end();
    });
    assert.equal(gone.code, 'NotFound');
    assert.match(gone.message, /with digest sha256:\w+: check the name and the digest/);
  });

  it('a tag that moves while it is being read: one image or the other, never a mixture', async () => {
    let asked = 0;
    const moving: Handler = (request, response) => {
      const current = asked++ % 2 === 0 ? image : other;
      if (request.url?.endsWith('/manifests/v1') === true)
        response.writeHead(200, { 'content-type': MEDIA_TYPE.manifest }).end(current.manifestBytes);
      else good(request.url ?? '', response);
    };
    await using server = await serve(moving);
    await using source = openImageSource(
      { transport: 'registry', name: `${server.host}/os:v1` },
      { plainHttpHosts: [server.host] },
    );
    for (let round = 0; round < 4; round++) {
      const resolved = await source.resolve(AMD64);
      const expected = [image, other].find(({ digest }) => digest === resolved.digest);
      assert.deepEqual(resolved.manifest, expected?.manifest);
      assert.equal(resolved.config.rootfs.diff_ids[0], expected?.layer.digest);
    }
    const pinned = await pullFrom(
      (_request, response) => response.writeHead(200, { 'content-type': MEDIA_TYPE.manifest }).end(other.manifestBytes),
      {},
      `@${image.digest}`,
    );
    assert.equal(pinned.code, 'DigestMismatch');
  });

  it('garbage instead of HTTP, headers without end, and a connection that is closed at once', async () => {
    for (const answer of ['\u0000\u0001nonsense\r\n\r\n', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(1_000_000)}`, '']) {
      const outcome = await pullFrom(
        (request) => {
          request.socket.end(answer);
        },
        { retry: { attempts: 2 } },
      );
      assert.equal(outcome.code, 'Unreachable', answer.slice(0, 20));
      assert.ok(outcome.elapsedMs < 30_000);
    }
  });
});
