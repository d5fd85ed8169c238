import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import {
  openImageDestination,
  openImageSource,
  parseImageReference,
  RegistryError,
  type Transport,
} from '../../../registry/index.ts';
import { type Handler, type LoopbackServer, serve, TestClock } from './loopback-server.ts';
import { collect, describeBytes, sampleImage } from './sample-image.ts';

const bytes = randomBytes(700_000);
const blob = describeBytes(bytes, 'application/octet-stream');

function open(server: LoopbackServer, idleTimeoutMs = 5000) {
  return openImageSource(
    { transport: 'registry', name: `${server.host}/os:v1` },
    { plainHttpHosts: [server.host], clock: new TestClock(), idleTimeoutMs },
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

/** Serves parts, and cuts answer n after `pieces[n]` bytes. */
function serving(pieces: readonly number[] = []): Handler {
  return (request, response, count) => {
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const part = bytes.subarray(Number(start), Number(end) + 1);
    response.writeHead(206, {
      'content-length': part.length,
      'content-range': `bytes ${start}-${end}/${bytes.length}`,
    });
    const piece = pieces[count - 1];
    if (piece === undefined) response.end(part);
    else response.write(part.subarray(0, piece), () => setImmediate(() => response.destroy()));
  };
}

describe('a part of a blob on a registry', () => {
  it('is exactly the bytes that were asked for, whatever the part', async () => {
    await using server = await serve(serving());
    await using source = open(server);
    const part = fc.tuple(fc.nat(bytes.length), fc.nat(bytes.length)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)]);
    await fc.assert(
      fc.asyncProperty(part, async ([from = 0, to = 0]) => {
        let seen = 0;
        const got = await collect(source.openRange(blob, from, to - from, { onBytes: (count) => (seen += count) }));
        assert.ok(got.equals(bytes.subarray(from, to)));
        assert.equal(seen, to - from);
      }),
      { numRuns: 30 },
    );
  });

  it('is resumed where the connection was cut', async () => {
    await using server = await serve(serving([1000, 50_000]));
    await using source = open(server);
    assert.ok((await collect(source.openRange(blob, 100, 600_000))).equals(bytes.subarray(100, 600_100)));
    assert.equal(server.requests.length, 3);
    assert.equal(server.requests[1]?.headers.range, 'bytes=1100-600099');
  });

  it('is given up after as many tries as anything else', async () => {
    await using server = await serve(serving(Array.from({ length: 100 }, () => 10)));
    await using source = open(server);
    const error = await failure(collect(source.openRange(blob, 0, 1000)));
    assert.equal(error.code, 'Unreachable');
    assert.match(error.message, /\(5 attempts\)/);
    assert.equal(server.requests.length, 5);
  });

  it('is refused with RangeUnsupported when the server answers 200 or 416, without reading the blob', async () => {
    for (const status of [200, 416]) {
      await using server = await serve((_request, response) => {
        response.writeHead(status, { 'content-length': bytes.length });
        response.end(bytes);
      });
      await using source = open(server);
      let seen = 0;
      const error = await failure(collect(source.openRange(blob, 5, 10, { onBytes: (count) => (seen += count) })));
      assert.equal(error.code, 'RangeUnsupported');
      assert.match(error.message, new RegExp(`answers ${status} to a Range request\\): fetch the whole blob`));
      assert.equal(seen, 0);
      assert.equal(server.requests.length, 1);
    }
  });

  it('is refused when the answer is another part, or has too many or too few bytes', async () => {
    const table: readonly [string | undefined, number, string][] = [
      [`bytes 0-9/${bytes.length}`, 10, 'UnexpectedResponse'],
      [`bytes 5-15/${bytes.length}`, 11, 'UnexpectedResponse'],
      ['bytes 5-14/15', 10, 'UnexpectedResponse'],
      [undefined, 10, 'UnexpectedResponse'],
      [`bytes 5-14/${bytes.length}`, 11, 'SizeMismatch'],
      ['bytes 5-14/*', 9, 'SizeMismatch'],
    ];
    for (const [range, length, code] of table) {
      await using server = await serve((_request, response) => {
        response.writeHead(206, range === undefined ? {} : { 'content-range': range });
        response.end(bytes.subarray(5, 5 + length));
      });
      await using source = open(server);
      const error = await failure(collect(source.openRange(blob, 5, 10)));
      assert.equal(error.code, code, `${range} with ${length} bytes`);
      assert.equal(server.requests.length, 1);
    }
  });

  it('that is not inside the blob is the caller’s mistake, and nothing is asked', async () => {
    await using server = await serve(serving());
    await using source = open(server);
    for (const [offset, length] of [
      [-1, 1],
      [0, bytes.length + 1],
      [bytes.length, 1],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      await assert.rejects(collect(source.openRange(blob, offset, length)), RangeError);
    }
    assert.equal(server.requests.length, 0);
  });

  it('stops at once when its caller aborts', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(206, { 'content-range': `bytes 0-99999/${bytes.length}` });
      response.write(bytes.subarray(0, 1000));
    });
    await using source = open(server);
    const controller = new AbortController();
    const reason = new Error('enough');
    const reading = collect(
      source.openRange(blob, 0, 100_000, { signal: controller.signal, onBytes: () => controller.abort(reason) }),
    );
    await assert.rejects(reading, reason);
  });
});

for (const transport of ['oci', 'oci-archive'] satisfies Transport[]) {
  it(`a part of a blob in ${transport}: is read at its offset, and refused when the file has another size`, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'treeline-range-'));
    try {
      const image = sampleImage({ layer: bytes });
      const reference = parseImageReference(`${transport}:${directory}/image`);
      {
        await using destination = openImageDestination(reference);
        for (const descriptor of [image.manifest.config, image.layer]) {
          await destination.putBlob(descriptor, async function* () {
            yield await Promise.resolve(image.blobs.get(descriptor.digest)!);
          });
        }
        await destination.putManifest(image.manifest);
      }
      await using source = openImageSource(reference);
      for (const [offset, length] of [
        [0, 1],
        [123_456, 300_000],
        [bytes.length, 0],
        [bytes.length - 1, 1],
      ] as const) {
        const got = await collect(source.openRange(image.layer, offset, length));
        assert.ok(got.equals(bytes.subarray(offset, offset + length)));
      }
      await assert.rejects(collect(source.openRange(image.layer, 0, bytes.length + 1)), RangeError);
      if (transport === 'oci') {
        await truncate(join(directory, 'image/blobs/sha256', image.layer.digest.slice(7)), 1000);
        assert.equal((await failure(collect(source.openRange(image.layer, 0, 10)))).code, 'SizeMismatch');
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}
