/**
 * What reaches the operator from whoever may write OSImages, and from where these point: schedules, expressions, answers of a
 * Prometheus. Each starts from what `corpus/` keeps: what is valid, and what once was expensive.
 */
import assert from 'node:assert/strict';
import type { HealthCheck } from '../../api/index.ts';
import { evaluateCheck } from '../../operator/health-checks/evaluate.ts';
import { firingAlerts } from '../../operator/health-checks/prometheus-answer.ts';
import { windowAt, windowChange } from '../../operator/rollout/time/window.ts';
import { corpusOf } from './corpus.ts';
import type { FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const SCHEDULES = corpusOf('schedules').map(({ bytes }) => bytes.toString());
const FIELD_PIECES = ['*', '/', '-', ',', 'L', '#', '0', '1', '59', '7', 'SUN', 'DEC', ' ', '99', '*/1'];
const ZONES = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Apia', 'Nowhere/Land'];

const schedules: FuzzTarget = {
  name: 'schedules',
  round: (random) => {
    const valid = random.pick(SCHEDULES);
    const schedule = random.chance(3)
      ? random.text(FIELD_PIECES, 24)
      : random.damaged(Buffer.from(valid)).toString('latin1');
    const window = {
      name: 'w',
      // As long as the API lets it be.
      schedule: schedule.slice(0, 128),
      timeZone: random.pick(ZONES),
      durationSeconds: random.pick([60, 3600, 604_800]),
      actions: ['Reboot'] as const,
    };
    const now = new Date(Date.UTC(2024 + random.below(12), random.below(12), 1 + random.below(28)));
    const state = windowAt({ ...window, actions: [...window.actions] }, now);
    if ('field' in state) return;
    const { open, next } = state;
    if (open?.start !== undefined) assert.ok(open.start <= now);
    if (open?.end !== undefined) assert.ok(open.end > now);
    if (next !== undefined) assert.ok(next.start > now);
    const change = windowChange({ ...window, actions: [...window.actions] }, now);
    if (change !== undefined) assert.ok(change > now);
  },
};

const EXPRESSIONS = corpusOf('check-expressions').map(({ bytes }) => bytes.toString());
const EXPRESSION_PIECES = [
  'objects',
  'o',
  '.map(o, ',
  '.all(o, ',
  '.filter(o, ',
  'o + o',
  '.size()',
  '.split("")',
  '.join("")',
  '[0]',
  '[o, o, o]',
  '(',
  ')',
  ' == ',
  ' + ',
  '"a"',
  '.matches("(a*)*b")',
  '1',
  'true',
  ' && ',
];
export const CHECKED_OBJECTS = Array.from({ length: 50 }, (_, n) => ({
  metadata: { name: `pod-${n}`, labels: { app: `node-${n}` } },
  status: { phase: n % 2 === 0 ? 'Running' : 'Failed', readyReplicas: BigInt(n) },
  n: BigInt(n),
  name: 'a'.repeat(200),
}));

function expression(random: Random): string {
  if (random.chance(3)) return random.text(EXPRESSION_PIECES, 30);
  const known = random.pick(EXPRESSIONS);
  return random.chance(3) ? known : random.damaged(Buffer.from(known)).toString('latin1');
}

const expressions: FuzzTarget = {
  name: 'check-expressions',
  round: (random) => {
    const object: HealthCheck['object'] = { apiVersion: 'v1', kind: 'Pod', ...(random.chance(2) && { name: 'x' }) };
    const about = random.chance(2);
    const check: HealthCheck = {
      name: 'fuzz',
      when: [about ? 'AfterNode' : 'BeforeNode'],
      object,
      expression: expression(random),
    };
    const { verdict, message } = evaluateCheck(check, CHECKED_OBJECTS, { name: 'node-1', labels: {} });
    assert.ok(['True', 'False', 'Readable', 'Unreadable'].includes(verdict));
    // It becomes a blocker, whose length the API bounds.
    assert.ok(message.length < 1000);
  },
};

export const ALERT_POLICY = { prometheusURL: 'http://p', ignore: ['Watchdog'], onUnreachable: 'Hold' } as const;

const ANSWERS = corpusOf('prometheus-answers').map(({ bytes }) => bytes);

const alerts: FuzzTarget = {
  name: 'prometheus-answers',
  round: (random) => {
    const deep = random.chance(20) ? `{"status":"success","data":${'['.repeat(random.below(200_000))}` : undefined;
    const firing = firingAlerts(
      { ...ALERT_POLICY, ignore: [...ALERT_POLICY.ignore] },
      deep ?? random.damaged(random.pick(ANSWERS)).toString(),
    );
    for (const name of firing ?? []) assert.ok(name.length <= 253 && name !== 'Watchdog');
    assert.deepEqual(firing, firing && [...new Set(firing)].sort());
  },
};

export const OPERATOR_TARGETS: readonly FuzzTarget[] = [schedules, expressions, alerts];
