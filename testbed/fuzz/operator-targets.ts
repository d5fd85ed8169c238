/**
 * What reaches the operator from whoever may write OSImages, and from where these point: schedules, expressions, answers of a
 * Prometheus, trusted roots, keyrings. Each starts from what `corpus/` keeps: what is valid, and what once was expensive.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HealthCheck } from '../../api/index.ts';
import { evaluateCheck } from '../../operator/health-checks/evaluate.ts';
import { firingAlerts } from '../../operator/health-checks/prometheus-answer.ts';
import { windowAt, windowChange } from '../../operator/rollout/time/window.ts';
import { parseSignaturePolicy, readGpgKeys } from '../../registry/signatures/index.ts';
import { attempt, attemptAsync, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const corpus = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'corpus', name));
const lines = (name: string): readonly string[] => corpus(name).toString().trim().split('\n');

const SCHEDULES = lines('schedules.txt');
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

const EXPRESSIONS = lines('expressions.txt');
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
const OBJECTS = Array.from({ length: 50 }, (_, n) => ({
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
    const { verdict, message } = evaluateCheck(check, OBJECTS, { name: 'node-1', labels: {} });
    assert.ok(['True', 'False', 'Readable', 'Unreadable'].includes(verdict));
    // It becomes a blocker, whose length the API bounds.
    assert.ok(message.length < 1000);
  },
};

const ANSWER = corpus('prometheus-alerts.json');
const POLICY = { prometheusURL: 'http://p', ignore: ['Watchdog'], onUnreachable: 'Hold' } as const;

const alerts: FuzzTarget = {
  name: 'prometheus-answers',
  round: (random) => {
    const deep = random.chance(20) ? `{"status":"success","data":${'['.repeat(random.below(200_000))}` : undefined;
    const firing = firingAlerts({ ...POLICY, ignore: [...POLICY.ignore] }, deep ?? random.damaged(ANSWER).toString());
    for (const name of firing ?? []) assert.ok(name.length <= 253 && name !== 'Watchdog');
    assert.deepEqual(firing, firing && [...new Set(firing)].sort());
  },
};

const ROOT = corpus('trusted-root.json');

const trustedRoots: FuzzTarget = {
  name: 'trusted-roots',
  round: (random) => {
    const trustedRoot = random.damaged(ROOT).toString('utf8');
    const keyless = { issuer: 'https://issuer.example', subject: '*@example.com', trustedRoot };
    attempt(['SignatureError'], () => parseSignaturePolicy({ authorities: [{ name: 'a', keyless }] }, 'the fuzzer'));
  },
};

const ARMORED = corpus('keyring.asc');
const BINARY = Buffer.from(
  ARMORED.toString()
    .replace(/-----[^-]+-----/g, '')
    .replace(/^=.*$/m, '')
    .replaceAll(/\s/g, ''),
  'base64',
);

const keyrings: FuzzTarget = {
  name: 'gpg-keyrings',
  round: async (random) => {
    const bytes = random.damaged(random.pick([ARMORED, BINARY]));
    await attemptAsync(['SignatureError'], () => readGpgKeys([{ where: 'the fuzzer', bytes }]));
  },
};

export const OPERATOR_TARGETS: readonly FuzzTarget[] = [schedules, expressions, alerts, trustedRoots, keyrings];
