import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import * as fc from 'fast-check';
import { pino } from 'pino';
import type { LastOrder, NodeOS, NodeOSStatus, Order } from '../../../api/index.ts';
import { AgentError } from '../../../node-agent/errors.ts';
import { type OrderLoopOptions, OrderLoop, type PullOptions } from '../../../node-agent/order-loop.ts';
import { checksumOf, digestOf, FakeHost } from './fake-host.ts';
import { merge } from './merge-patch.ts';

const B = digestOf('b');
const C = digestOf('c');

function orderFor(digest: string, change: Partial<Order> = {}): Order {
  return {
    id: `${change.goal ?? 'Stage'}-${digest.slice(7, 9)}`,
    image: `ostree-unverified-registry:registry.example/os@${digest}`,
    digest,
    goal: 'Stage',
    ...change,
  };
}

const liveApproval = (digest: string) => ({
  digest,
  notBefore: new Date(Date.now() - 60_000).toISOString(),
  notAfter: new Date(Date.now() + 60_000).toISOString(),
});

/** An API server with one object, and the loop that serves it. */
class Bench {
  readonly host = new FakeHost();
  readonly patches: Record<string, unknown>[] = [];
  /** What the host lacks, and how often it was looked at. */
  missing: readonly string[] = [];
  examinations = 0;
  pulls = 0;
  pull = async (order: Order, _options: PullOptions) => ({
    checksum: checksumOf(order.digest),
    digest: order.digest,
    release: async () => {},
  });
  patchFailure: Error | undefined;
  skewMs: number | undefined;
  object: NodeOS;
  #version = 1;
  #loop: OrderLoop | undefined;

  constructor(order: Order | undefined, status: NodeOSStatus = {}) {
    this.object = {
      metadata: { name: 'n', uid: 'u', resourceVersion: '1' },
      spec: { imageName: 'i', nodeUID: 'u', ...(order === undefined ? {} : { order }) },
      status,
    };
  }

  get lastOrder(): LastOrder | undefined {
    return this.object.status?.lastOrder;
  }

  order(order: Order | undefined): void {
    const { order: _, ...spec } = this.object.spec;
    this.#change({ spec: order === undefined ? spec : { ...spec, order } });
    this.#loop?.observe(this.object);
  }

  /** Runs a fresh loop, as a restarted process would, until `done` says so or the loop ends on its own. */
  async run(done: () => boolean): Promise<string> {
    const options: OrderLoopOptions = {
      host: this.host,
      examine: async () => {
        this.examinations += 1;
        return this.missing;
      },
      pull: async (order, pullOptions) => {
        this.pulls += 1;
        return this.pull(order, pullOptions);
      },
      cleanUp: async () => {},
      patchStatus: async (patch) => this.#patch(patch as Record<string, Record<string, unknown>>),
      now: () => new Date(),
      clockSkewMs: () => this.skewMs,
      random: () => 0,
      log: pino({ level: 'silent' }),
    };
    const loop = new OrderLoop(options);
    this.#loop = loop;
    const stop = new AbortController();
    loop.observe(this.object);
    const running = loop.run(stop.signal);
    const ended = running.then(() => true);
    const limit = Date.now() + 50_000;
    try {
      while (!done() && !(await Promise.race([ended, delay(2, false)]))) {
        assert.ok(Date.now() < limit, `gave up waiting; last order: ${JSON.stringify(this.lastOrder)}`);
      }
    } finally {
      stop.abort();
    }
    return running;
  }

  settled = () => this.lastOrder?.id === this.object.spec.order?.id && this.object.status?.progress === undefined;

  #patch(patch: Record<string, Record<string, unknown>>): NodeOS {
    if (this.patchFailure !== undefined) throw this.patchFailure;
    this.patches.push(patch);
    const status = merge(this.object.status ?? {}, patch['status']) as NodeOSStatus;
    this.#change({ status });
    return this.object;
  }

  #change(change: Partial<NodeOS>): void {
    this.#version += 1;
    const metadata = { ...this.object.metadata, resourceVersion: String(this.#version) };
    this.object = { ...this.object, ...change, metadata };
  }
}

describe('the order loop', () => {
  it('stages an order once, locked, and says so', async () => {
    const bench = new Bench(orderFor(B));
    await bench.run(bench.settled);
    assert.equal(bench.lastOrder?.result, 'Succeeded');
    assert.equal(bench.host.staged?.locked, true);
    await bench.run(() => bench.object.status?.host !== undefined);
    assert.equal(bench.pulls, 1, 'a settled order is not carried out again after a restart');
    assert.deepEqual(bench.host.calls, ['stage']);
  });

  it('writes only host, progress and lastOrder', async () => {
    const bench = new Bench(orderFor(B), { rollout: { phase: 'Staging', phaseTime: '2026-01-01T00:00:00Z' } });
    await bench.run(bench.settled);
    const written = new Set(bench.patches.flatMap((patch) => Object.keys(patch['status'] as object)));
    assert.ok([...written].every((key) => ['host', 'progress', 'lastOrder'].includes(key)));
    assert.equal(bench.object.status?.rollout?.phase, 'Staging');
  });

  it('has its key in the API before it asks for pull credentials, whatever becomes of the first write', async () => {
    const bench = new Bench(orderFor(B, { pullSecretRef: { name: 's' } }));
    bench.host.credentialsKey = `${'A'.repeat(43)}=`;
    bench.patchFailure = new Error('busy');
    setTimeout(() => (bench.patchFailure = undefined), 50);
    let known: string | undefined;
    bench.pull = async (order) => {
      known = bench.object.status?.host?.credentialsKey;
      return { checksum: checksumOf(order.digest), digest: order.digest, release: async () => {} };
    };
    await bench.run(bench.settled);
    assert.equal(known, bench.host.credentialsKey);
  });

  it('says why staging failed, in a word and a sentence', async () => {
    const bench = new Bench(orderFor(B));
    bench.pull = async () => {
      throw Object.assign(new Error('Cannot write: the file system is full; free some space'), { code: 'NoSpace' });
    };
    await bench.run(bench.settled);
    assert.equal(bench.lastOrder?.result, 'Failed');
    assert.equal(bench.lastOrder?.reason, 'DiskFull');
    assert.match(bench.lastOrder?.message ?? '', /file system is full/);
    assert.equal(bench.pulls, 1);
  });

  it('refuses an image that is not the ordered digest', async () => {
    const bench = new Bench(orderFor(B));
    bench.pull = async () => ({ checksum: checksumOf(C), digest: C, release: async () => {} });
    await bench.run(bench.settled);
    assert.equal(bench.lastOrder?.reason, 'OtherDigestStaged');
    assert.deepEqual(bench.host.calls, []);
  });

  it('gives up staging when a newer order arrives, and carries out the newer one', async () => {
    const bench = new Bench(orderFor(B));
    bench.pull = async (order, { signal }) => {
      if (order.digest === B) {
        bench.order(orderFor(C));
        await delay(600_000, undefined, { signal });
      }
      return { checksum: checksumOf(order.digest), digest: order.digest, release: async () => {} };
    };
    await bench.run(bench.settled);
    assert.equal(bench.lastOrder?.id, orderFor(C).id);
    assert.equal(bench.host.staged?.digest, C);
    assert.deepEqual(bench.host.calls, ['stage']);
  });

  it('refuses an image that is older than the booted one before it is fetched, unless the order allows that', async () => {
    const bench = new Bench(orderFor(B));
    bench.host.booted = { ...bench.host.booted, created: '2026-01-01T00:00:00Z' };
    let fetched = 0;
    bench.pull = async (order, { accept }) => {
      accept({ created: '2025-12-31T23:59:59Z' });
      fetched += 1;
      return { checksum: checksumOf(order.digest), digest: order.digest, release: async () => {} };
    };
    await bench.run(bench.settled);
    assert.deepEqual([bench.lastOrder?.result, bench.lastOrder?.reason], ['Refused', 'DowngradeForbidden']);
    assert.deepEqual([fetched, bench.host.staged], [0, undefined]);
    bench.order(orderFor(B, { id: 'allowed', downgrade: 'Allow' }));
    await bench.run(bench.settled);
    assert.equal(bench.lastOrder?.result, 'Succeeded');
  });

  it('goes on with an order that is given again with other limits, and follows them', async () => {
    const bench = new Bench(orderFor(B, { limits: { bytesPerSecond: 2000 } }));
    const seen: unknown[] = [];
    bench.pull = async (order, { limits, signal }) => {
      seen.push(limits());
      bench.order(orderFor(B, { limits: { bytesPerSecond: 9000 } }));
      seen.push(limits(), signal.aborted);
      return { checksum: checksumOf(order.digest), digest: order.digest, release: async () => {} };
    };
    await bench.run(bench.settled);
    assert.deepEqual(seen, [{ bytesPerSecond: 2000 }, { bytesPerSecond: 9000 }, false]);
    assert.equal(bench.pulls, 1);
    assert.equal(bench.lastOrder?.result, 'Succeeded');
  });

  it('boots under a live approval: unlock first, then reboot, then the new process proves it', async () => {
    const bench = new Bench(orderFor(B));
    await bench.run(bench.settled);
    bench.order(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B) }));
    assert.equal(await bench.run(bench.settled), 'Rebooting');
    assert.notEqual(bench.lastOrder?.id, bench.object.spec.order?.id, 'a reboot is not a success yet');
    assert.equal(await bench.run(bench.settled), 'Stopped');
    assert.equal(bench.lastOrder?.result, 'Succeeded');
    assert.deepEqual(bench.host.calls, ['stage', 'unlock', 'reboot']);
  });

  it('does not boot with a clock that is an hour off, and says so; with the clock set right a new approval is used', async () => {
    const bench = new Bench(orderFor(B));
    await bench.run(bench.settled);
    bench.skewMs = -3_600_000;
    bench.order(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B) }));
    assert.equal(await bench.run(bench.settled), 'Stopped');
    assert.deepEqual([bench.lastOrder?.result, bench.lastOrder?.reason], ['Refused', 'ClockSkew']);
    assert.match(bench.lastOrder?.message ?? '', /3600 s behind the API server's/);
    assert.equal(bench.host.staged?.locked, true);
    bench.skewMs = 900;
    bench.order(orderFor(B, { id: 'again', goal: 'Boot', bootApproval: liveApproval(B) }));
    assert.equal(await bench.run(bench.settled), 'Rebooting');
  });

  it('puts what it boots on trial when told to, and calls it a success only when the trial is over', async () => {
    const bench = new Bench(orderFor(B));
    await bench.run(bench.settled);
    const hostRollback = { deadlineSeconds: 600, units: ['kubelet.service'] };
    bench.order(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B), hostRollback }));
    assert.equal(await bench.run(bench.settled), 'Rebooting');
    assert.deepEqual(bench.host.calls, ['stage', 'unlock', 'arm', 'reboot']);
    bench.host.unitsActive = false;
    await bench.run(() => bench.host.calls.includes('endTrial'));
    assert.deepEqual(bench.object.status?.host?.trial, { deadlineSeconds: 600 }, 'the operator sees the trial');
    assert.ok(!bench.settled());
    bench.host.unitsActive = true;
    await bench.run(bench.settled);
    assert.equal(bench.lastOrder?.result, 'Succeeded');
    assert.equal(bench.object.status?.host?.trial, undefined);
  });

  it('does not end a trial while the API cannot be written to', async () => {
    const bench = new Bench(orderFor(B, { goal: 'Observe' }));
    bench.host.trial = { checksum: bench.host.booted.checksum, deadlineSeconds: 600 };
    bench.patchFailure = new Error('no route to host');
    const end = Date.now() + 100;
    await bench.run(() => Date.now() > end);
    assert.deepEqual(bench.host.calls, []);
    bench.patchFailure = undefined;
    await bench.run(bench.settled);
    assert.deepEqual(bench.host.calls, ['endTrial']);
  });

  it('locks again and reports when the reboot cannot be asked for', async () => {
    const bench = new Bench(orderFor(B));
    await bench.run(bench.settled);
    bench.host.failures.set('reboot', new AgentError('CommandFailed', 'systemctl reboot failed: no.'));
    bench.order(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B) }));
    assert.equal(await bench.run(bench.settled), 'Stopped');
    assert.deepEqual([bench.lastOrder?.result, bench.lastOrder?.reason], ['Failed', 'CommandFailed']);
    assert.equal(bench.host.staged?.locked, true);
  });

  it('reports a roll-back when the host came back on another digest', async () => {
    const bench = new Bench(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B) }), {
      rollout: { phase: 'Rebooting', phaseTime: '2026-01-01T00:00:00Z', preBootID: 'boot-0' },
    });
    bench.host.fallback = { checksum: B.slice('sha256:'.length), digest: B };
    await bench.run(bench.settled);
    assert.equal(bench.lastOrder?.result, 'RolledBack');
    assert.deepEqual(bench.host.calls, []);
  });

  describe('on a host that does not offer what the agent needs', () => {
    const LACK = ['The host has no systemctl: it must.', 'Nothing can be confined: allow it.'];

    it('reports the host, and fails an order to stage with all that is missing, before anything is fetched', async () => {
      const bench = new Bench(orderFor(B));
      bench.missing = LACK;
      await bench.run(bench.settled);
      const { result, reason, fault, message = '' } = bench.lastOrder ?? {};
      assert.deepEqual([result, reason, fault], ['Failed', 'HostLacking', 'Node']);
      for (const sentence of LACK) assert.ok(message.includes(sentence), message);
      assert.equal(bench.object.status?.host?.bootID, 'boot-1');
      assert.equal(bench.pulls, 0);
    });

    it('stages once that has been put right, without being started again', async () => {
      const bench = new Bench(orderFor(B));
      bench.missing = LACK;
      await bench.run(() => {
        if (!bench.settled() || bench.lastOrder?.result !== 'Failed') return bench.lastOrder?.result === 'Succeeded';
        bench.missing = [];
        bench.order(orderFor(B, { id: 'again' }));
        return false;
      });
      assert.equal(bench.host.staged?.digest, B);
    });

    it('says in the answer since when it holds no longer, once that has been put right, and before another order', async () => {
      const bench = new Bench(orderFor(B));
      bench.missing = LACK;
      await bench.run(bench.settled);
      const answered = bench.lastOrder;
      assert.ok(answered !== undefined);
      bench.missing = [];
      await bench.run(() => bench.lastOrder?.message !== answered.message);
      const { message = '', reason, ...rest } = bench.lastOrder ?? {};
      assert.match(
        message,
        /nothing of this was missing any more, and the next order is carried out\. Before: The host does not/,
      );
      assert.equal(reason, 'HostMended');
      assert.deepEqual(
        { ...rest, reason: answered.reason, message: answered.message },
        answered,
        'the order has failed all the same',
      );
    });

    it('says that it runs what it was to boot all the same', async () => {
      const bench = new Bench(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B) }));
      bench.missing = LACK;
      bench.host.booted = { checksum: checksumOf(B), digest: B };
      await bench.run(bench.settled);
      assert.equal(bench.lastOrder?.result, 'Succeeded');
    });

    describe('and does not let itself be read', () => {
      const unreadable = (order: Order | undefined, status: NodeOSStatus = {}): Bench => {
        const bench = new Bench(order, status);
        bench.missing = LACK;
        bench.host.failures.set('status', new Error('there is no ostree'));
        return bench;
      };

      it('says so before there is any order, once', async () => {
        const bench = unreadable(undefined);
        await bench.run(() => bench.lastOrder !== undefined);
        await bench.run(() => bench.examinations > 3);
        assert.deepEqual([bench.lastOrder?.id, bench.lastOrder?.reason], ['', 'HostLacking']);
        assert.equal(bench.patches.length, 1);
        bench.host.failures.clear();
        bench.missing = [];
        await bench.run(() => bench.object.status?.host !== undefined);
        assert.equal(bench.lastOrder, undefined, 'which was the answer to no order, and holds no longer');
      });

      it('fails an order to stage', async () => {
        const bench = unreadable(orderFor(B));
        await bench.run(bench.settled);
        assert.deepEqual([bench.lastOrder?.result, bench.lastOrder?.reason], ['Failed', 'HostLacking']);
      });

      it('leaves it to the deadline of a boot to say that the node is not back', async () => {
        const host = { bootID: 'boot-0' };
        const bench = unreadable(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B) }), { host });
        await bench.run(() => bench.examinations > 1);
        assert.equal(bench.patches.length, 0);
      });

      it('tries again where nothing is missing: it was only busy', async () => {
        const bench = unreadable(orderFor(B));
        bench.missing = [];
        await bench.run(() => bench.examinations > 2);
        bench.host.failures.clear();
        await bench.run(bench.settled);
        assert.equal(bench.lastOrder?.result, 'Succeeded');
      });
    });
  });

  it('refuses an order with a field that it does not know', async () => {
    const bench = new Bench({ ...orderFor(B), kernelArguments: ['quiet'] } as Order);
    await bench.run(bench.settled);
    assert.deepEqual([bench.lastOrder?.result, bench.lastOrder?.reason], ['Refused', 'OrderNotUnderstood']);
    assert.equal(bench.pulls, 0);
  });

  it('reports the host without any order, and is silent when nothing changes', async () => {
    const bench = new Bench(undefined);
    await bench.run(() => bench.object.status?.host !== undefined);
    const end = Date.now() + 50;
    await bench.run(() => Date.now() > end);
    assert.equal(bench.patches.length, 1);
  });

  it('ends the same whenever the process is killed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 12 }), { maxLength: 6 }), async (kills) => {
        const bench = new Bench(orderFor(B));
        const original = bench.pull;
        let ticks = 0;
        bench.pull = async (order, options) => {
          await delay(1, undefined, { signal: options.signal });
          return original(order, options);
        };
        for (const kill of kills) {
          const until = ticks + kill;
          await bench.run(() => (ticks += 1) > until || bench.settled());
        }
        await bench.run(bench.settled);
        bench.order(orderFor(B, { goal: 'Boot', bootApproval: liveApproval(B) }));
        for (const kill of kills) {
          const until = ticks + kill;
          await bench.run(() => (ticks += 1) > until || bench.settled());
        }
        while (!bench.settled()) await bench.run(bench.settled);
        assert.equal(bench.lastOrder?.result, 'Succeeded');
        assert.equal(bench.host.booted.digest, B);
        assert.equal(bench.host.calls.filter((call) => call === 'reboot').length, 1);
      }),
      { numRuns: 25 },
    );
  });
});
