/** Two contenders, one Lease, a clock that the test owns. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { KubeError } from '../../../operator/errors.ts';
import {
  LEASE_DURATION_MS,
  LeaderElection,
  RENEW_DEADLINE_MS,
  RETRY_PERIOD_MS,
  microTime,
  type Lease,
  type LeaseSpec,
  type LeaseStore,
} from '../../../operator/kube/leader-election.ts';
import { FakeClock } from './fake-clock.ts';

const logger = pino({ level: 'silent' });

/** A Lease as an API server keeps it. Each contender has a line of its own that can be cut. */
class FakeLease {
  lease: Lease | undefined;
  #version = 0;
  readonly cut = new Set<string>();

  storeFor(identity: string): LeaseStore {
    const reach = () => {
      if (this.cut.has(identity)) throw new KubeError('Unreachable', 'the line is cut');
    };
    return {
      get: async () => {
        reach();
        if (this.lease === undefined) throw new KubeError('NotFound', 'no such lease');
        return this.lease;
      },
      create: async (spec) => {
        reach();
        if (this.lease !== undefined) throw new KubeError('AlreadyExists', 'lease exists');
        return this.#put(spec);
      },
      update: async (lease) => {
        reach();
        if (lease.metadata.resourceVersion !== this.lease?.metadata.resourceVersion)
          throw new KubeError('Conflict', 'the lease has been modified');
        return this.#put(lease.spec ?? {});
      },
    };
  }

  #put(spec: LeaseSpec): Lease {
    this.#version += 1;
    this.lease = { metadata: { name: 'lease', resourceVersion: String(this.#version) }, spec };
    return this.lease;
  }
}

describe('leader election', () => {
  let clock: FakeClock;
  let fake: FakeLease;
  let elected: string[];
  let stop: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    fake = new FakeLease();
    elected = [];
    stop = new AbortController();
  });
  afterEach(() => stop.abort());

  const contend = (identity: string, signal = stop.signal) => {
    const onElected = () => elected.push(identity);
    const election = new LeaderElection({ store: fake.storeFor(identity), identity, clock, logger, onElected });
    void election.run(signal);
    return election;
  };

  it('lets exactly one of two lead, for as long as it renews', async () => {
    const a = contend('a');
    const b = contend('b');
    for (let second = 0; second < 120; second++) {
      await clock.advance(1000);
      assert.ok(a.isLeader() !== b.isLeader(), `second ${second}`);
    }
    assert.equal(elected.length, 1);
    assert.equal(fake.lease?.spec?.leaseTransitions, 0);
  });

  it('never lets two lead at once when the leader is cut off, and lets the other take over', async () => {
    const a = contend('a');
    await clock.advance(3000);
    const b = contend('b');
    await clock.advance(10_000);
    assert.ok(a.isLeader());
    fake.cut.add('a');
    let tookOverMs: number | undefined;
    for (let ms = 0; ms < 40_000; ms += 250) {
      await clock.advance(250);
      assert.ok(!(a.isLeader() && b.isLeader()), `both lead after ${ms} ms`);
      if (b.isLeader()) tookOverMs ??= ms;
    }
    assert.ok(tookOverMs !== undefined && tookOverMs >= LEASE_DURATION_MS - 2 * RETRY_PERIOD_MS, String(tookOverMs));
    assert.ok(tookOverMs < LEASE_DURATION_MS + 2 * RETRY_PERIOD_MS * 1.2, String(tookOverMs));
    assert.equal(fake.lease?.spec?.leaseTransitions, 1);
  });

  it('stops acting by the renew deadline even when its loop hangs', async () => {
    const a = contend('a');
    await clock.advance(100);
    assert.ok(a.isLeader());
    stop.abort();
    await clock.advance(RENEW_DEADLINE_MS - 200);
    assert.ok(a.isLeader());
    await clock.advance(200);
    assert.ok(!a.isLeader());
  });

  it('stops acting at once when somebody else has taken the lease', async () => {
    const a = contend('a');
    await clock.advance(3000);
    await fake
      .storeFor('thief')
      .update({ ...fake.lease!, spec: { holderIdentity: 'thief', leaseDurationSeconds: 15 } });
    await clock.advance(RETRY_PERIOD_MS * 1.2);
    assert.ok(!a.isLeader());
  });

  it('takes over at the next attempt after a release', async () => {
    const own = new AbortController();
    const a = contend('a', own.signal);
    await clock.advance(100);
    const b = contend('b');
    await clock.advance(5000);
    own.abort();
    await a.release();
    assert.ok(!a.isLeader());
    await clock.advance(RETRY_PERIOD_MS * 1.2);
    assert.ok(b.isLeader());
  });

  it('makes the lease anew when somebody deletes it', async () => {
    const a = contend('a');
    await clock.advance(100);
    fake.lease = undefined;
    await clock.advance(3 * RETRY_PERIOD_MS);
    assert.ok(a.isLeader());
    assert.equal((await fake.storeFor('x').get()).spec?.holderIdentity, 'a');
  });

  it('writes times as metav1.MicroTime', () => {
    assert.equal(microTime(new Date('2026-01-02T03:04:05.678Z')), '2026-01-02T03:04:05.678000Z');
  });
});
