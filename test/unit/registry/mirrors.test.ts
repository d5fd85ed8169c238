import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { MEDIA_TYPE, openImageSource, RegistryError, type RegistryOptions } from '../../../registry/index.ts';
import { parseRegistriesConf } from '../../../registry/registries-conf.ts';
import { type Handler, type LoopbackServer, serve, TestClock } from './loopback-server.ts';
import { AMD64, answerFrom, collect, sampleImage } from './sample-image.ts';

const bytes = randomBytes(2_000_000);
const image = sampleImage({ layer: bytes });
const content = answerFrom(
  { v1: { bytes: image.manifestBytes }, [image.digest]: { bytes: image.manifestBytes } },
  image.blobs,
);
const good: Handler = (request, response) => {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN);
  if (Number.isNaN(start) || request.url?.includes(image.layer.digest) !== true) {
    content(request.url ?? '', response);
    return;
  }
  response.writeHead(206, { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` });
  response.end(bytes.subarray(start));
};

/** Answers as `good` does, except for the layer. */
function layerIs(handler: Handler): Handler {
  return (request, response, count) =>
    request.url?.includes(image.layer.digest) === true
      ? handler(request, response, count)
      : good(request, response, count);
}

const servers: LoopbackServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
});
async function start(handler: Handler): Promise<LoopbackServer> {
  const server = await serve(handler);
  servers.push(server);
  return server;
}

/** A source whose places are these servers: mirrors, and the primary last. */
function open(places: readonly LoopbackServer[], ref = ':v1', extra: RegistryOptions = {}) {
  const warnings: string[] = [];
  const clock = new TestClock();
  const mirrors = places.slice(0, -1).map(({ host }) => `[[registry.mirror]]\nlocation = "${host}/mirror"\n`);
  const text = `[[registry]]\nprefix = "os.example/team"\nlocation = "${places.at(-1)!.host}/primary"\n${mirrors.join('')}`;
  const source = openImageSource(
    { transport: 'registry', name: `os.example/team/os${ref}` },
    {
      registries: parseRegistriesConf([{ path: 'registries.conf', text }]),
      plainHttpHosts: places.map(({ host }) => host),
      onWarning: (message) => warnings.push(message),
      clock,
      idleTimeoutMs: 500,
      ...extra,
    },
  );
  return { source, warnings, clock };
}

async function failure(promise: Promise<unknown>): Promise<RegistryError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, String(error));
  return error;
}

const isDown: Handler = (request) => request.destroy();
const layerRequests = (server: LoopbackServer) =>
  server.requests.filter(({ path }) => path.includes(image.layer.digest));

describe('an image with mirrors', () => {
  it('comes whole from the first that has it; nobody else is asked', async () => {
    const [mirror, primary] = [await start(good), await start(good)];
    const { source, warnings } = open([mirror, primary]);
    await using _source = source;
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
    assert.ok((await collect(source.openBlob(image.layer))).equals(bytes));
    assert.equal(primary.requests.length, 0);
    assert.ok(mirror.requests.every(({ path }) => path.startsWith('/v2/mirror/os/')));
    assert.deepEqual(warnings, []);
  });

  it('comes from the next one when a mirror is down, lacks it, refuses it, or has something else under its digest', async () => {
    const other = sampleImage({ labels: { version: 'evil' } });
    const lying = answerFrom({ [image.digest]: { bytes: other.manifestBytes } }, other.blobs);
    for (const [handler, reason] of [
      [isDown, /cannot be reached .* \(2 attempts\)/],
      [(_q, response) => response.writeHead(404).end(), /has no image mirror\/os with digest/],
      [(_q, response) => response.writeHead(401, { 'www-authenticate': 'Basic' }).end(), /wants credentials to pull/],
      [(_q, response) => response.writeHead(503).end(), /answers 503: .* \(2 attempts\)/],
      [(_q, response) => response.writeHead(429, { 'retry-after': '600' }).end(), /asks to wait 600 s/],
      [(request, response) => lying(request.url ?? '', response), /has the wrong content/],
    ] as const satisfies readonly (readonly [Handler, RegExp])[]) {
      const [mirror, primary] = [await start(handler), await start(good)];
      const { source, warnings, clock } = open([mirror, primary], `@${image.digest}`);
      await using _source = source;
      assert.equal((await source.resolve(AMD64)).digest, image.digest);
      assert.equal(warnings.length, 1);
      assert.match(
        warnings[0]!,
        /^the mirror 127\.0\.0\.1:\d+\/mirror\/os@sha256:\w+ cannot give os\.example\/team\/os@/,
      );
      assert.match(warnings[0]!, reason);
      assert.ok(clock.sleeps.reduce((sum, ms) => sum + ms, 0) < 1000, 'a mirror is not waited for');
      // What follows does not go back to it.
      const before = mirror.requests.length;
      assert.ok((await collect(source.openBlob(image.layer))).equals(bytes));
      assert.equal(mirror.requests.length, before);
    }
  });

  it('goes on at the next place in the middle of a blob, by range, and what comes out is verified as one', async () => {
    const cut: Handler = (request, response) => {
      if (request.headers.range !== undefined) {
        request.destroy();
        return;
      }
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 700_000), () => setImmediate(() => response.destroy()));
    };
    const [mirror, primary] = [await start(layerIs(cut)), await start(good)];
    const { source, warnings } = open([mirror, primary]);
    await using _source = source;
    await source.resolve(AMD64);
    let seen = 0;
    assert.ok((await collect(source.openBlob(image.layer, { onBytes: (count) => (seen += count) }))).equals(bytes));
    assert.equal(seen, bytes.length);
    assert.equal(layerRequests(primary)[0]?.headers.range, 'bytes=700000-');
    assert.match(warnings.join(), /cannot give blob sha256:\w+ of os\.example\/team\/os:v1, trying the next place/);
  });

  it('goes on when a mirror ends a blob too early; wrong first bytes are found out at the end', async () => {
    for (const isWrong of [false, true]) {
      const first = Buffer.from(bytes.subarray(0, 1000));
      if (isWrong) first[5] = first[5]! ^ 1;
      const short: Handler = (_request, response) => {
        response.writeHead(200, { 'transfer-encoding': 'chunked' });
        response.end(first);
      };
      const [mirror, primary] = [await start(layerIs(short)), await start(good)];
      const { source } = open([mirror, primary]);
      await using _source = source;
      await source.resolve(AMD64);
      const reading = collect(source.openBlob(image.layer));
      if (isWrong) assert.equal((await failure(reading)).code, 'DigestMismatch');
      else assert.ok((await reading).equals(bytes));
      assert.equal(layerRequests(primary)[0]?.headers.range, 'bytes=1000-');
    }
  });

  it('fails when a mirror has given wrong bytes in full, and does not go back to it', async () => {
    const wrong: Handler = (_request, response) => response.end(Buffer.alloc(bytes.length));
    const [mirror, primary] = [await start(layerIs(wrong)), await start(good)];
    const { source, warnings } = open([mirror, primary]);
    await using _source = source;
    await source.resolve(AMD64);
    const error = await failure(collect(source.openBlob(image.layer)));
    assert.equal(error.code, 'WrongMirror');
    assert.match(error.message, /^The mirror 127\.0\.0\.1:\d+\/mirror\/os:v1 gives other bytes than those of blob/);
    assert.equal(warnings.length, 1);
    assert.ok((await collect(source.openBlob(image.layer))).equals(bytes));
    assert.equal(layerRequests(mirror).length, 1);
  });

  it('gives parts of blobs from the next place when a mirror cannot', async () => {
    const ranged: Handler = (request, response) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
      response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${bytes.length}` });
      response.end(bytes.subarray(Number(from), Number(to) + 1));
    };
    const whole: Handler = (_request, response) => response.end(bytes);
    const [mirror, primary] = [await start(layerIs(whole)), await start(layerIs(ranged))];
    const { source } = open([mirror, primary]);
    await using _source = source;
    await source.resolve(AMD64);
    assert.ok((await collect(source.openRange(image.layer, 500, 90_000))).equals(bytes.subarray(500, 90_500)));
    const { source: none } = open([mirror, await start(layerIs(whole))]);
    await using _none = none;
    assert.equal((await failure(collect(none.openRange(image.layer, 0, 5)))).code, 'RangeUnsupported');
  });

  it('that is nowhere says so for the primary, with what the mirrors said', async () => {
    const missing: Handler = (_request, response) => response.writeHead(404).end();
    const [one, two, primary] = [await start(isDown), await start(missing), await start(missing)];
    const { source } = open([one, two, primary]);
    await using _source = source;
    const error = await failure(source.resolve(AMD64));
    assert.equal(error.code, 'NotFound');
    assert.match(
      error.message,
      /^Registry 127\.0\.0\.1:\d+ has no image primary\/os .* \(mirrors failed before: .*\/mirror\/os:v1: Unreachable, .*\/mirror\/os:v1: NotFound\)\.$/,
    );
  });

  it('has those that the caller names before those of the machine, in their order, and the primary last', async () => {
    const [named, second, mirror, primary] = [
      await start(isDown),
      await start(isDown),
      await start(isDown),
      await start(good),
    ];
    const served: string[] = [];
    const { source, warnings } = open([mirror, primary], `@${image.digest}`, {
      mirrors: [`${named.host}/copies/os`, `${second.host}/far/away/os`],
      plainHttpHosts: [named, second, mirror, primary].map(({ host }) => host),
      onServed: (place) => served.push(place),
    });
    await using _source = source;
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
    assert.deepEqual(
      warnings.map((warning) => /^the mirror (\S+)@sha256:\w+ cannot give/.exec(warning)?.[1]),
      [`${named.host}/copies/os`, `${second.host}/far/away/os`, `${mirror.host}/mirror/os`],
    );
    assert.deepEqual(served, [`${primary.host}/primary/os@${image.digest}`]);
  });

  it('never asks those that the caller names what a tag means, not even when nobody else answers', async () => {
    const [named, primary] = [await start(good), await start(isDown)];
    const options = { mirrors: [`${named.host}/copies/os`], plainHttpHosts: [named.host, primary.host] };
    const { source } = open([primary], ':v1', options);
    await using _source = source;
    assert.equal((await failure(source.resolve(AMD64))).code, 'Unreachable');
    assert.equal(named.requests.length, 0);
  });

  it('passes over a named mirror that the machine blocks, and refuses one with a tag', async () => {
    const [named, primary] = [await start(good), await start(good)];
    const warnings: string[] = [];
    const options: RegistryOptions = {
      mirrors: [`${named.host}/copies/os`],
      plainHttpHosts: [named.host, primary.host],
      registries: parseRegistriesConf([
        { path: 'registries.conf', text: `[[registry]]\nlocation = "${named.host}"\nblocked = true\n` },
      ]),
      onWarning: (message) => warnings.push(message),
    };
    const reference = { transport: 'registry', name: `${primary.host}/team/os@${image.digest}` } as const;
    await using source = openImageSource(reference, options);
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
    assert.equal(named.requests.length, 0);
    assert.match(warnings.join('\n'), /^the mirror \S+ is not asked: .* registries\.conf blocks/);
    assert.throws(
      () => openImageSource(reference, { ...options, mirrors: [`${named.host}/copies/os:v1`] }),
      /must name a repository/,
    );
  });

  it('takes the platform’s manifest from the next place, by digest, when the mirror has the index only', async () => {
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.index,
        manifests: [
          { mediaType: MEDIA_TYPE.manifest, digest: image.digest, size: image.manifestBytes.length, platform: AMD64 },
        ],
      }),
    );
    const indexOnly = answerFrom({ v1: { bytes: index, mediaType: MEDIA_TYPE.index } }, new Map());
    const [mirror, primary] = [
      await start((request, response) => indexOnly(request.url ?? '', response)),
      await start(good),
    ];
    const { source, warnings } = open([mirror, primary]);
    await using _source = source;
    assert.equal((await source.resolve(AMD64)).digest, image.digest);
    assert.equal(warnings.length, 2, 'for the manifest and for the config');
  });

  it('stops at once when its caller gives up; the next place is not asked', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const [mirror, primary] = [await start(() => controller.abort(reason)), await start(good)];
    const { source } = open([mirror, primary]);
    await using _source = source;
    await assert.rejects(source.resolve(AMD64, controller.signal), reason);
    assert.equal(primary.requests.length, 0);
  });

  it('sends each place the credentials of that place only', async () => {
    const asking: Handler = (request, response, count) => {
      if (request.headers.authorization === undefined) response.writeHead(401, { 'www-authenticate': 'Basic' }).end();
      else good(request, response, count);
    };
    const [mirror, primary] = [await start(asking), await start(asking)];
    const { source } = open([mirror, primary], ':v1', {
      credentials: new Map([['os.example', { kind: 'basic', username: 'logical', password: 'x' }]]),
      fallbackCredentials: new Map([
        [`${primary.host}/primary`, { kind: 'basic', username: 'primary', password: 'x' }],
      ]),
    });
    await using _source = source;
    await source.resolve(AMD64);
    assert.ok(mirror.requests.every(({ headers }) => headers.authorization === undefined));
    assert.match(Buffer.from(primary.requests[1]!.headers.authorization!.slice(6), 'base64').toString(), /^primary:/);
  });
});
