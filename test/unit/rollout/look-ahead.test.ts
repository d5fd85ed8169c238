import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { Cron } from 'croner';
import * as fc from 'fast-check';
import type { OSImage } from '../../../api/index.ts';
import { nextWindow, openSince, spans } from '../../../operator/rollout/time/calendar.ts';
import { imageOf } from './fixtures.ts';

const MINUTE = 60_000;
const NOW = Date.parse('2026-10-24T12:00:00Z');
const ZONES = ['UTC', 'Europe/Berlin', 'Australia/Lord_Howe'] as const;
const SCHEDULES = ['0 2 * * *', '*/30 1-4 * * *', '20,40 0-3 * * SAT,SUN', '0 3 L * *', '0 2 30 2 *'] as const;

interface Calendar {
  readonly windows: readonly Record<string, unknown>[];
  readonly freezes: readonly Record<string, unknown>[];
}

/** What `calendar` says; `name` is in the names of its windows, so that nothing is known yet of one with another name. */
function imageWith({ windows, freezes }: Calendar, name: string): OSImage {
  const named = windows.map((window, index) => ({ ...window, name: `${name}-${index}` }));
  return imageOf({ policy: { windows: named, freezes } }).object;
}

function lookedUp(image: OSImage, at: Date): unknown {
  const found = nextWindow(image, at);
  const ahead = [...spans(image, 'Reboot', at)].slice(0, 20);
  return [ahead, openSince(image, 'Reboot', at), found?.window.schedule, found?.opening];
}

const window = fc.record({
  schedule: fc.constantFrom(...SCHEDULES),
  durationSeconds: fc.constantFrom(600, 1800, 7200),
  timeZone: fc.constantFrom(...ZONES),
});
const freeze = fc.tuple(fc.nat(2000), fc.integer({ min: 1, max: 1500 })).map(([start, length]) => ({
  start: new Date(NOW + start * MINUTE).toISOString().replace('.000', ''),
  end: new Date(NOW + (start + length) * MINUTE).toISOString().replace('.000', ''),
  reason: 'the sale',
}));

describe('What windows and freezes allow ahead', () => {
  it('is the same whatever has been looked up before, in whichever order', () => {
    let count = 0;
    const calendar = fc.record({
      windows: fc.array(window, { maxLength: 3 }),
      freezes: fc.array(freeze, { maxLength: 2 }),
    });
    fc.assert(
      fc.property(calendar, fc.array(fc.nat(3000), { minLength: 2, maxLength: 6 }), (given, minutes) => {
        const known = imageWith(given, `known${++count}`);
        for (const minute of minutes) {
          const at = new Date(NOW + minute * MINUTE);
          assert.deepEqual(lookedUp(known, at), lookedUp(imageWith(given, `fresh${++count}`), at));
        }
      }),
      { numRuns: 40 },
    );
  });

  it('is worked out once: a minute later, sixteen windows in a zone with daylight saving cost next to nothing', () => {
    const windows = Array.from({ length: 16 }, (_, index) => ({
      schedule: `*/15 ${index % 8}-${(index % 8) + 6} * * *`,
      durationSeconds: 900 + index,
      timeZone: 'Europe/Berlin',
    }));
    const image = imageWith({ windows, freezes: [] }, 'many');
    const look = (at: number) => asked(() => [...spans(image, 'Reboot', new Date(at))]);
    assert.ok(look(NOW) > 1000);
    assert.ok(look(NOW + MINUTE) < 100);
    // Another object with the same words, as after each write of a status.
    const read = imageWith({ windows, freezes: [] }, 'many');
    assert.equal(
      asked(() => [...spans(read, 'Reboot', new Date(NOW + MINUTE))]),
      0,
    );
  });
});

/** How often the cron library is asked in `task`. */
function asked(task: () => unknown): number {
  const spies = (['nextRun', 'previousRuns'] as const).map((method) => mock.method(Cron.prototype, method));
  try {
    task();
    return spies.reduce((sum, { mock: spy }) => sum + spy.callCount(), 0);
  } finally {
    for (const { mock: spy } of spies) spy.restore();
  }
}
