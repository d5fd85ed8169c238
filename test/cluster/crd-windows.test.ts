/** What the API server refuses of windows and freezes: a schedule that cannot be read is best never stored. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { itRefusesImages, OS_IMAGES, osImage, tryCreate, type Json } from './crd-objects.ts';

const window = (patch: Json = {}): Json => ({ name: 'night', schedule: '0 2 * * *', durationSeconds: 3600, ...patch });
const windows = (...list: Json[]): Json => ({ spec: { windows: list } });
const SCHEDULE = /spec\.windows\[0\]\.schedule: Invalid value: .*must be a cron schedule of five fields/s;
const ZONE = /spec\.windows\[0\]\.timeZone: Invalid value: /;
const freeze = (start: string, end: string): Json => ({ spec: { freezes: [{ start, end, reason: 'sale' }] } });

const REFUSED: readonly (readonly [promise: string, patch: Json, message: RegExp])[] = [
  ['four fields', windows(window({ schedule: '0 2 * * ' })), SCHEDULE],
  ['six fields', windows(window({ schedule: '0 0 2 * * *' })), SCHEDULE],
  ['a nickname', windows(window({ schedule: '@midnight' })), SCHEDULE],
  ['a minute 60', windows(window({ schedule: '60 2 * * *' })), SCHEDULE],
  ['an hour 24', windows(window({ schedule: '0 24 * * *' })), SCHEDULE],
  ['a day 32', windows(window({ schedule: '0 2 32 * *' })), SCHEDULE],
  ['a month 13', windows(window({ schedule: '0 2 * 13 *' })), SCHEDULE],
  ['a weekday FUN', windows(window({ schedule: '0 2 * * FUN' })), SCHEDULE],
  ['a step without a range', windows(window({ schedule: '5/5 2 * * *' })), SCHEDULE],
  ['a zone that is none', windows(window({ timeZone: 'Europe/Atlantis' })), ZONE],
  ['a zone of one machine', windows(window({ timeZone: 'Local' })), ZONE],
  ['an offset for a zone', windows(window({ timeZone: '+02:00' })), ZONE],
  ['a duration of a second', windows(window({ durationSeconds: 1 })), /durationSeconds: Invalid value: .*equal to 60/s],
  ['no actions', windows(window({ actions: [] })), /actions: Invalid value: .*at least 1 items/s],
  ['an unknown action', windows(window({ actions: ['Sing'] })), /actions\[0\]: Unsupported value: "Sing"/],
  ['an action twice', windows(window({ actions: ['Stage', 'Stage'] })), /actions\[1\]: Duplicate value/],
  ['a name twice', windows(window(), window()), /spec\.windows\[1\]: Duplicate value/],
  ['a name in capitals', windows(window({ name: 'Night' })), /name: Invalid value: .*as a DNS label/s],
  [
    'a freeze that ends before it starts',
    freeze('2026-12-24T00:00:00Z', '2026-12-23T00:00:00Z'),
    /start must be earlier/,
  ],
  ['a freeze that is empty', freeze('2026-12-24T01:00:00+01:00', '2026-12-24T00:00:00Z'), /start must be earlier/],
  [
    'a freeze without a zone',
    freeze('2026-12-24T00:00:00', '2026-12-25T00:00:00Z'),
    /freezes\[0\]\.start: Invalid value/,
  ],
];

describe('the CRD of OSImage, for windows and freezes', () => {
  let controlPlane: ControlPlane;

  before(async () => {
    controlPlane = await sharedControlPlane();
  });

  itRefusesImages(REFUSED, () => controlPlane);

  it('accepts every form of schedule and zone, sixteen at once, and freezes in any offset', async () => {
    const schedules = [
      '*/15 0-6,22-23 * * *',
      '5 4 1,15 JAN-mar/2 *',
      '0 2 L * *',
      '0 2 * * SAT#2,sun#L',
      '0 0 29 2 7',
    ];
    const zones = ['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'Asia/Kathmandu'];
    const list = Array.from({ length: 16 }, (_, index) =>
      window({
        name: `w${index}`,
        schedule: schedules[index % 5],
        timeZone: zones[index % 5],
        actions: ['Stage', 'Reboot'],
      }),
    );
    const { freezes } = freeze('2026-12-24T00:00:00+05:45', '2027-01-02T00:00:00-03:00')['spec'] as Json;
    const answer = await tryCreate(controlPlane, OS_IMAGES, osImage({ spec: { windows: list, freezes } }));
    assert.equal(answer.code, 201, answer.message);
  });

  it('has windows reboot in UTC unless they say otherwise', async () => {
    const answer = await tryCreate(controlPlane, OS_IMAGES, osImage(windows(window())));
    const { spec } = answer.body as unknown as { spec: Json };
    assert.deepEqual(spec['windows'], [{ ...window(), timeZone: 'UTC', actions: ['Reboot'] }]);
    assert.deepEqual(spec['freezes'], []);
  });
});
