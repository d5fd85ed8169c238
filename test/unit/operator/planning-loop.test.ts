/** When the loop plans: after changes, together; at the time a plan names; never without leading on a fresh picture. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { OperatorError } from '../../../operator/errors.ts';
import { PlanningLoop, type PlanningLoopOptions } from '../../../operator/planning-loop.ts';
import type { Snapshot } from '../../../operator/rollout/snapshot.ts';
import { FakeClock } from './fake-clock.ts';

const logger = pino({ level: 'silent' });
const EMPTY: Snapshot = {
  images: [],
  nodes: [],
  nodeOSes: [],
  drains: new Map(),
  dryRuns: new Map(),
  checks: new Map(),
  alerts: new Map(),
};

describe('the planning loop', () => {
  let clock: FakeClock;
  let stop: AbortController;
  let plans: number[];
  let may: boolean;
  let caughtUp: number;

  beforeEach(() => {
    clock = new FakeClock();
    stop = new AbortController();
    plans = [];
    may = true;
    caughtUp = 0;
  });
  afterEach(() => stop.abort());

  const start = (options: Partial<PlanningLoopOptions> = {}) => {
    const loop = new PlanningLoop({
      mayPlan: () => may,
      catchUp: async () => {
        caughtUp += 1;
      },
      takeSnapshot: () => EMPTY,
      plan: () => {
        plans.push(clock.monotonicMs());
        return { actions: [] };
      },
      execute: async () => undefined,
      onPlanned: () => undefined,
      clock,
      logger,
      ...options,
    });
    void loop.run(stop.signal);
    return loop;
  };

  it('plans once for changes that come together', async () => {
    const loop = start();
    for (let change = 0; change < 20; change++) loop.wake();
    await clock.advance(1000);
    assert.equal(plans.length, 1);
    loop.wake();
    await clock.advance(60);
    assert.equal(plans.length, 2);
  });

  it('plans again when something changed while it acted', async () => {
    let writes = 3;
    const loop: PlanningLoop = start({
      execute: async () => {
        if (writes-- > 0) loop.wake();
        return undefined;
      },
    });
    loop.wake();
    await clock.advance(1000);
    assert.equal(plans.length, 4);
  });

  it('plans at the time that the last plan named, or when a retry is due, whichever is first', async () => {
    const loop = start({
      plan: (_, now) => {
        plans.push(clock.monotonicMs());
        return { actions: [], nextTime: new Date(now.getTime() + 7000) };
      },
      execute: async () => (plans.length === 1 ? 3000 : undefined),
    });
    loop.wake();
    await clock.advance(12_000);
    assert.deepEqual(
      plans.map((ms) => Math.round(ms / 1000)),
      [0, 3, 10],
    );
  });

  it('does not plan while it may not, and then first catches up with what another replica did', async () => {
    may = false;
    const loop = start();
    loop.wake();
    await clock.advance(5000);
    assert.equal(plans.length, 0);
    may = true;
    loop.elected();
    await clock.advance(1000);
    assert.deepEqual([plans.length, caughtUp], [1, 1]);
    loop.wake();
    await clock.advance(1000);
    assert.deepEqual([plans.length, caughtUp], [2, 1]);
    loop.elected();
    await clock.advance(1000);
    assert.deepEqual([plans.length, caughtUp], [3, 2]);
  });

  it('survives a planner that throws, without becoming a busy loop', async () => {
    const loop = start({
      plan: () => {
        plans.push(clock.monotonicMs());
        throw new TypeError('a bug');
      },
    });
    loop.wake();
    for (let second = 0; second < 60; second++) {
      loop.wake();
      await clock.advance(1000);
    }
    assert.ok(plans.length >= 8 && plans.length <= 13, `${plans.length} plans in a minute`);
  });

  it('waits for the next election when leadership is lost in the middle', async () => {
    const loop = start({
      execute: async () => {
        may = false;
        throw new OperatorError('LeadershipLost', 'lost');
      },
    });
    loop.wake();
    await clock.advance(20_000);
    assert.equal(plans.length, 1);
  });

  it('shows that it lives at least every thirty seconds', async () => {
    may = false;
    const loop = start();
    for (let second = 0; second < 120; second++) {
      await clock.advance(1000);
      assert.ok(loop.ageMs <= 31_000);
    }
  });

  it('ends when it is told to', async () => {
    const loop = start();
    loop.wake();
    stop.abort();
    await clock.advance(1000);
    assert.equal(plans.length, 0);
  });
});
