/** The pace of dry runs, and what they make of the API server's answers. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { Rehearsals } from '../../../operator/drain/rehearsals.ts';
import { KubeError } from '../../../operator/errors.ts';
import type { Pod } from '../../../operator/kube/objects.ts';
import { FakeClock } from './fake-clock.ts';

const HOW = { mode: 'Evict' } as const;
const logger = pino({ level: 'silent' });
const pod = (name: string, labels: Record<string, string> = {}): Pod => ({
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: '1', labels },
});
const refused = (budget = 'web') =>
  new KubeError('TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
    status: 429,
    causes: [
      {
        reason: 'DisruptionBudget',
        message: `The disruption budget ${budget} needs 1 healthy pods and has 1 currently`,
      },
    ],
  });

describe('a dry run of a drain', () => {
  let clock: FakeClock;
  let pods: Pod[];
  let asked: string[];
  let answer: (pod: Pod) => void;
  let rehearsals: Rehearsals;

  beforeEach(() => {
    clock = new FakeClock();
    pods = [pod('a'), pod('b')];
    asked = [];
    answer = () => undefined;
    rehearsals = new Rehearsals({
      listPods: async () => pods,
      tryEvict: async (one) => {
        asked.push(one.metadata.name);
        answer(one);
      },
      onReport: () => undefined,
      clock,
      logger,
    });
  });
  afterEach(() => rehearsals.stop());

  /** As the planner does: asks again and again, and leaves the pace to the rehearsals. */
  const ask = async (ms: number, node = 'n') => {
    for (let passed = 0; passed <= ms; passed += 500) {
      rehearsals.request(node, 'c1', HOW);
      await clock.advance(500);
    }
  };

  it('that is allowed is believed for a minute, and asked for once in it', async () => {
    await ask(30_000);
    assert.deepEqual(asked.sort(), ['a', 'b']);
    assert.deepEqual(rehearsals.report('n', 'c1'), { how: HOW, refusals: [], holdouts: [] });
    assert.equal(rehearsals.report('n', 'another node of that name'), undefined);
    await clock.advance(40_000);
    assert.equal(rehearsals.report('n', 'c1'), undefined);
  });

  it('that is refused is named with the budget, and asked again more and more seldom', async () => {
    answer = ({ metadata }) => {
      if (metadata.name === 'b') throw refused();
    };
    await ask(500);
    const [refusal] = rehearsals.report('n', 'c1')?.refusals ?? [];
    assert.deepEqual([refusal?.pod, refusal?.budget], ['b', 'web']);
    await ask(10_000);
    const soon = asked.length;
    assert.ok(soon >= 6, `asked ${soon} times in ten seconds`);
    await ask(300_000);
    const from = asked.length;
    await ask(60_000);
    assert.ok(asked.length - from <= 2 * 5, `asked ${asked.length - from} times in a minute`);
    assert.equal(rehearsals.report('n', 'c1')?.refusals[0]?.since, refusal?.since);
  });

  it('is asked quickly again when the words of the refusal change: the budget moves', async () => {
    answer = () => {
      throw refused();
    };
    await ask(300_000);
    answer = () => {
      throw refused('other');
    };
    while (rehearsals.report('n', 'c1')?.refusals[0]?.budget !== 'other') await ask(0);
    const from = asked.length;
    await ask(10_000);
    assert.ok(asked.length - from >= 2 * 2, `asked ${asked.length - from} times in ten seconds`);
  });

  it('goes well for pods whose budgets have room one after the other, never both at once', async () => {
    let turn = 0;
    answer = ({ metadata }) => {
      if ((metadata.name === 'a') === (turn % 2 === 0)) throw refused(metadata.name);
    };
    await ask(500);
    assert.equal(rehearsals.report('n', 'c1')?.refusals.length, 1);
    turn = 1;
    await ask(5000);
    assert.deepEqual(rehearsals.report('n', 'c1')?.refusals, []);
  });

  it('leaves pods out that are to end by themselves', async () => {
    pods = [pod('job', { kind: 'batch' }), pod('web')];
    rehearsals.request('n', 'c1', { ...HOW, awaitPods: { matchLabels: { kind: 'batch' } } });
    await clock.advance(0);
    assert.deepEqual(asked, ['web']);
  });

  it('counts what cannot be tried as what can leave, and an API server that is busy as no answer', async () => {
    answer = () => {
      throw new KubeError('Unexpected', 'admission webhook does not support dry run', { status: 400 });
    };
    await ask(500);
    assert.deepEqual(rehearsals.report('n', 'c1')?.refusals, []);
    answer = () => {
      throw new KubeError('TooManyRequests', 'too many requests, please try again later', { status: 429 });
    };
    await ask(500, 'm');
    assert.equal(rehearsals.report('m', 'c1'), undefined);
    answer = () => undefined;
    await ask(5000, 'm');
    assert.deepEqual(rehearsals.report('m', 'c1')?.refusals, []);
  });

  it('keeps the load of many refused nodes near that of one', async () => {
    pods = [pod('web')];
    answer = () => {
      throw refused();
    };
    const names = Array.from({ length: 60 }, (_, index) => `n${index}`);
    const askAll = async (ms: number) => {
      for (let passed = 0; passed <= ms; passed += 500) {
        for (const name of names) rehearsals.request(name, 'c1', HOW);
        await clock.advance(500);
      }
    };
    await askAll(300_000);
    const from = asked.length;
    await askAll(60_000);
    assert.ok(asked.length - from <= 75, `asked ${asked.length - from} times in a minute`);
  });
});
