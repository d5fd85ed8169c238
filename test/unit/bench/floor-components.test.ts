import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as fc from 'fast-check';
import { deal, fetchBlobs, lowerBound } from '../../../bench/floor-components.ts';

describe('the floor of an import', () => {
  it('is all CPU time over the cores when the layers are small and the disk is quick', () => {
    const bound = lowerBound(
      [
        { name: 'inflate', bytes: 1, cpuSeconds: 4, wallSeconds: 2, longestSeconds: 1 },
        { name: 'write files, syncfs', bytes: 1, cpuSeconds: 2, wallSeconds: 1.5 },
      ],
      2,
    );
    assert.deepEqual(bound, { cpuSeconds: 3, chainSeconds: 1, diskSeconds: 1.5, seconds: 3, sharedSeconds: 3 });
  });

  it('is higher where registry and disk have no other cores, by what these need of them', () => {
    const inflate = { name: 'inflate', bytes: 1, cpuSeconds: 4, wallSeconds: 2, longestSeconds: 1 };
    const registry = { name: 'the registry', bytes: 1, cpuSeconds: 1, wallSeconds: 9, isBeside: true } as const;
    const { seconds, sharedSeconds } = lowerBound([inflate, registry], 2);
    assert.deepEqual({ seconds, sharedSeconds }, { seconds: 2, sharedSeconds: 2.5 });
    assert.equal(lowerBound([{ ...inflate, longestSeconds: 4 }, registry], 2).sharedSeconds, 4);
  });

  it('has blobs fetched whole, and says so when one is not', async () => {
    const blobs = new Map([
      ['sha256:aa', Buffer.alloc(3_000_000, 1)],
      ['sha256:bb', Buffer.alloc(5, 2)],
    ]);
    await using server = createServer((request, response) => {
      const blob = blobs.get(request.url?.replace('/v2/os/blobs/', '') ?? '');
      if (blob === undefined) response.writeHead(404).end();
      else response.end(blob);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const from = { host: `127.0.0.1:${port}`, port, pid: process.pid, repository: 'os' };
    const layer = (digest: string, compressed: number) => ({ digest, compressed, path: '', objects: [] });
    const [received, sent] = await fetchBlobs([layer('sha256:aa', 3_000_000), layer('sha256:bb', 5)], from, 2);
    assert.ok((received?.bytes ?? 0) > 3_000_005 && received?.isBeside === true && sent?.isBeside === true);
    await assert.rejects(fetchBlobs([layer('sha256:cc', 1)], from, 2), /sha256:cc came with .*404/);
    await assert.rejects(fetchBlobs([layer('sha256:bb', 5000)], from, 2), /sha256:bb came with/);
  });

  it('is the largest layer when it takes longer to inflate than the rest together', () => {
    const inflate = { name: 'inflate', bytes: 1, cpuSeconds: 4, wallSeconds: 4, longestSeconds: 4 };
    assert.equal(lowerBound([inflate], 8).seconds, 4);
  });

  it('is the disk when that is what everybody waits for', () => {
    const write = { name: 'write files, syncfs', bytes: 1, cpuSeconds: 0.5, wallSeconds: 9 };
    assert.equal(lowerBound([write], 2).seconds, 9);
  });

  it('gives every size to one core, and no core more than the average and one size', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000)), fc.integer({ min: 1, max: 8 }), (sizes, cores) => {
        const dealt = deal(sizes, cores);
        const ascending = (values: readonly number[]): readonly number[] => values.toSorted((a, b) => a - b);
        assert.equal(dealt.length, cores);
        assert.deepEqual(ascending(dealt.flat()), ascending(sizes));
        const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
        for (const own of dealt) assert.ok(total(own) <= total(sizes) / cores + Math.max(0, ...sizes));
      }),
    );
  });
});
