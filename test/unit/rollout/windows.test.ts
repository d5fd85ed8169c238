import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { windowSchema } from '../../../api/windows.ts';
import type { MaintenanceWindow } from '../../../api/index.ts';
import { windowAt, windowChange } from '../../../operator/rollout/time/window.ts';
import { occurrences } from './window-oracle.ts';
import type { Fields } from './window-oracle.ts';

const HOUR = 3_600_000;

function windowOf(schedule: string, durationSeconds: number, timeZone = 'UTC'): MaintenanceWindow {
  return windowSchema.parse({ name: 'w', schedule, durationSeconds, timeZone });
}

function isOpen(window: MaintenanceWindow, at: string): boolean {
  const state = windowAt(window, new Date(at));
  assert.ok(!('field' in state));
  return state.open !== undefined;
}

function opening(window: MaintenanceWindow, at: string): readonly (string | undefined)[] {
  const state = windowAt(window, new Date(at));
  assert.ok(!('field' in state));
  const found = state.open ?? state.next;
  return [found?.start?.toISOString(), found?.end?.toISOString()].map((time) => time?.replace('.000', ''));
}

/** Zones with changes of an hour, of half an hour, at midnight, with none, south of the equator. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'America/Santiago',
  'Asia/Kathmandu',
  'Africa/Cairo',
] as const;

/** Days around which clocks change somewhere among them, and quiet ones. */
const DAYS = fc.oneof(
  fc.constantFrom(
    '2026-03-08',
    '2026-03-29',
    '2026-10-25',
    '2026-11-01',
    '2026-04-05',
    '2026-10-04',
    '2026-09-06',
    '2026-04-24',
    '2026-10-29',
  ),
  fc
    .integer({ min: 0, max: 3000 })
    .map((days) => new Date(Date.UTC(2024, 0, 1) + days * 24 * HOUR).toISOString().slice(0, 10)),
);

interface Field {
  readonly text: string;
  readonly values: readonly number[];
  readonly wild: boolean;
}

function range(from: number, to: number, step = 1): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}

function field(min: number, max: number): fc.Arbitrary<Field> {
  const value = fc.integer({ min, max });
  return fc.oneof(
    fc.constant({ text: '*', values: range(min, max), wild: true }),
    fc
      .integer({ min: 1, max: Math.min(30, max) })
      .map((step) => ({ text: `*/${step}`, values: range(min, max, step), wild: true })),
    value.map((one) => ({ text: `${one}`, values: [one], wild: false })),
    fc
      .uniqueArray(value, { minLength: 2, maxLength: 3 })
      .map((values) => ({ text: values.join(','), values, wild: false })),
    fc.tuple(value, value).map(([one, other]) => {
      const [from, to] = one < other ? [one, other] : [other, one];
      return { text: `${from}-${to}`, values: range(from, to), wild: false };
    }),
  );
}

const schedules = fc
  .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6))
  .map(([minute, hour, day, month, weekday]) => ({
    text: [minute, hour, day, month, weekday].map(({ text }) => text).join(' '),
    fields: {
      minutes: minute.values,
      hours: hour.values,
      days: day.values,
      months: month.values,
      weekdays: weekday.values,
      steady: !minute.wild && !hour.wild,
      eitherDay: day.text !== '*' && weekday.text !== '*',
    } satisfies Fields,
  }));

describe('A window', () => {
  it('is open exactly when an occurrence worked out minute by minute is not longer ago than it lasts, in every zone', () => {
    const durations = fc.constantFrom(60, 1800, 3600, 7200, 86_400);
    fc.assert(
      fc.property(schedules, fc.constantFrom(...ZONES), DAYS, durations, (schedule, zone, day, durationSeconds) => {
        const window = windowOf(schedule.text, durationSeconds, zone);
        const from = Date.parse(`${day}T00:00:00Z`) - 14 * HOUR;
        const until = from + 48 * HOUR;
        const found = occurrences(schedule.fields, zone, from - durationSeconds * 1000, until);
        // Between two changes nothing changes, so it is enough to look at them and just before.
        const moments = found.flatMap((at) => [
          at - 1,
          at,
          at + durationSeconds * 1000 - 1,
          at + durationSeconds * 1000,
        ]);
        for (const at of [from, ...moments.slice(0, 200)]) {
          if (at < from || at >= until) continue;
          const expected = found.some((start) => start <= at && at < start + durationSeconds * 1000);
          assert.equal(isOpen(window, new Date(at).toISOString()), expected, new Date(at).toISOString());
        }
        const next = windowAt(window, new Date(from));
        assert.ok(!('field' in next));
        const later = found.find((at) => at > from);
        if (later !== undefined) assert.equal(next.next?.start.getTime(), later);
        else assert.ok(next.next === undefined || next.next.start.getTime() >= until);
      }),
      { numRuns: 150 },
    );
  });

  it('says when it changes, and nothing changes before', () => {
    fc.assert(
      fc.property(
        schedules,
        fc.constantFrom(...ZONES),
        DAYS,
        fc.constantFrom(60, 3600, 90_000),
        (schedule, zone, day, seconds) => {
          const window = windowOf(schedule.text, seconds, zone);
          let at = new Date(`${day}T00:00:00Z`);
          for (let count = 0; count < 6; count++) {
            const change = windowChange(window, at);
            const last =
              change === undefined ? new Date(at.getTime() + 400 * 24 * HOUR) : new Date(change.getTime() - 1);
            assert.deepEqual(windowAt(window, last), windowAt(window, at));
            if (change === undefined) return;
            assert.ok(change > at);
            at = change;
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('opens at the end of the gap when its time is skipped, for the seconds it lasts', () => {
    const window = windowOf('30 2 * * SUN', 3600, 'Europe/Berlin');
    assert.deepEqual(opening(window, '2026-03-29T00:00:00Z'), ['2026-03-29T01:00:00Z', '2026-03-29T02:00:00Z']);
  });

  it('opens once when its time comes twice, and lasts for the seconds that pass, not for what the clock shows', () => {
    const window = windowOf('30 2 * * SUN', 7200, 'Europe/Berlin');
    assert.deepEqual(opening(window, '2026-10-25T00:00:00Z'), ['2026-10-25T00:30:00Z', '2026-10-25T02:30:00Z']);
    assert.equal(isOpen(window, '2026-10-25T01:30:00Z'), true);
    assert.equal(isOpen(window, '2026-10-25T02:30:00Z'), false);
  });

  it('is open through both passes of a repeated hour when it opens at every minute', () => {
    const window = windowOf('* 2 25 10 *', 60, 'Europe/Berlin');
    assert.deepEqual(opening(window, '2026-10-25T00:00:00Z').length, 2);
    for (const at of ['2026-10-25T00:00:00Z', '2026-10-25T00:59:59Z', '2026-10-25T01:00:00Z', '2026-10-25T01:59:59Z'])
      assert.equal(isOpen(window, at), true, at);
    assert.equal(isOpen(window, '2026-10-25T02:00:00Z'), false);
  });

  it('joins openings that overlap or adjoin, and has no end when none is in sight', () => {
    const night = windowOf('0 22,23,0 * * *', 7200);
    assert.deepEqual(opening(night, '2026-11-24T23:30:00Z'), ['2026-11-24T22:00:00Z', '2026-11-25T02:00:00Z']);
    assert.deepEqual(opening(windowOf('0 * * * *', 3600), '2026-11-24T23:30:00Z'), [undefined, undefined]);
  });

  it('never opens on a day that never comes', () => {
    const state = windowAt(windowOf('0 2 30 2 *', 3600), new Date('2026-11-24T00:00:00Z'));
    assert.deepEqual(state, {});
  });

  it('knows the second Saturday, the last day and the last Friday of a month', () => {
    assert.deepEqual(opening(windowOf('0 4 * * SAT#2', 60), '2026-11-25T00:00:00Z')[0], '2026-12-12T04:00:00Z');
    assert.deepEqual(opening(windowOf('0 4 L * *', 60), '2026-02-25T00:00:00Z')[0], '2026-02-28T04:00:00Z');
    assert.deepEqual(opening(windowOf('0 4 * * FRI#L', 60), '2026-11-01T00:00:00Z')[0], '2026-11-27T04:00:00Z');
  });

  it('says which field cannot be read', () => {
    const read = (schedule: string, timeZone = 'UTC') => {
      const state = windowAt({ ...windowOf('0 0 * * *', 60), schedule, timeZone }, new Date('2026-11-24T00:00:00Z'));
      return 'field' in state ? state.field : undefined;
    };
    assert.equal(read('0 5-2 * * *'), 'schedule');
    assert.equal(read('@daily'), 'schedule');
    assert.equal(read('2026-01-01T00:00:00'), 'schedule');
    assert.equal(read('0 0 2 * * *'), 'schedule');
    assert.equal(read('0 2 * * *', 'Europe/Nowhere'), 'timeZone');
    assert.equal(read('0 2 * * 7'), undefined);
  });
});
