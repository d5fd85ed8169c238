import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { percentile } from '../../../bench/neighbour.ts';
import { startObservingProxy } from '../../../bench/observing-proxy.ts';

describe('the proxy that watches a pull', () => {
  it('passes everything on, and counts blobs alone: their bytes, how many at once, how long', async () => {
    const blob = Buffer.alloc(100_000, 7);
    const asked = new Set<string | undefined>();
    const { promise, resolve: release } = Promise.withResolvers<void>();
    const both = (url: string | undefined): Promise<void> => {
      if (asked.add(url).size === 2) release();
      return promise;
    };
    const server = createServer((request, response) => {
      // The first two blobs wait for each other, so that both are under way at once however busy the machine is.
      const answered = /blobs\/[12]$/.test(request.url ?? '') ? both(request.url) : Promise.resolve();
      void answered.then(async () => {
        await sleep(100);
        response.writeHead(200, { etag: request.url }).end(blob);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    try {
      await using proxy = await startObservingProxy(`127.0.0.1:${address.port}`);
      const get = async (path: string): Promise<void> => {
        const response = await fetch(`http://${proxy.host}${path}`);
        assert.equal(response.headers.get('etag'), path);
        assert.ok(Buffer.from(await response.arrayBuffer()).equals(blob));
      };
      await Promise.all([get('/v2/a/manifests/1'), get('/v2/a/blobs/1'), get('/v2/a/blobs/2')]);
      await get('/v2/a/blobs/3');
      const { bytes, atOnce, seconds } = proxy.takeTraffic();
      assert.equal(bytes, 3 * blob.length);
      assert.equal(atOnce, 2);
      assert.ok(seconds >= 0.19 && seconds < 60, `${seconds} s`);
      assert.deepEqual(proxy.takeTraffic(), { bytes: 0, seconds: 0, atOnce: 0 });
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('has percentiles of what a neighbour felt', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    assert.equal(percentile(values, 0.5), 51);
    assert.equal(percentile(values, 0.99), 100);
    assert.ok(Number.isNaN(percentile([], 0.5)));
  });
});
