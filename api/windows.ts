/** `spec.windows` and `spec.freezes` of an OSImage: when the fleet may be touched, and when it may not. */
import * as z from 'zod';

/** One field of a schedule: a list of values, ranges and steps, in the syntax that CEL (RE2) and JavaScript share. */
function field(value: string, alone: string): string {
  const step = '(/[1-9][0-9]?)?';
  const item = `([*]${step}|${value}-${value}${step}|${alone})`;
  return `${item}(,${item})*`;
}

const MONTHS = '(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)';
const WEEKDAYS = '(?i:SUN|MON|TUE|WED|THU|FRI|SAT)';
const minute = '[0-5]?[0-9]';
const hour = '([01]?[0-9]|2[0-3])';
const day = '(0?[1-9]|[12][0-9]|3[01])';
const month = `(0?[1-9]|1[0-2]|${MONTHS})`;
const weekday = `([0-7]|${WEEKDAYS})`;

const SCHEDULE = [
  field(minute, minute),
  field(hour, hour),
  field(day, `(${day}|L)`),
  field(month, month),
  field(weekday, `${weekday}(#[1-5L])?`),
].join(' ');

export const windowSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(63)
    .meta({
      'x-kubernetes-validations': [
        {
          rule: "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
          message: 'must be lower case letters, digits and hyphens, as a DNS label',
        },
      ],
    })
    .describe('Name of the window, unique in the list; `status.nextWindow` and the messages use it.'),
  schedule: z
    .string()
    .min(9)
    .max(128)
    .meta({
      'x-kubernetes-validations': [
        {
          rule: `self.matches('^${SCHEDULE}$')`,
          message:
            'must be a cron schedule of five fields, as in "0 2 * * SAT": minute (0-59), hour (0-23), day of month (1-31 or L for the last), month (1-12 or JAN-DEC), day of week (0-7 or SUN-SAT, as in SAT#2 for the second and SAT#L for the last of the month); each a list of values, ranges, * and steps',
        },
      ],
    })
    .describe(
      'When the window opens: a cron schedule of five fields, in `timeZone`. If neither day of month nor day of week is `*`, either opens it. A time that the clock skips is taken at the end of the gap, one that the clock repeats is taken the first time; minutes or hours with `*` or a step open at every instant that the clock shows them. A day that never comes (30 February) never opens it.',
    ),
  durationSeconds: z
    .int()
    .min(60)
    .max(604_800)
    .describe('How long it stays open, in seconds that pass, whatever the clock does meanwhile (60 to 604800).'),
  timeZone: z
    .string()
    .min(1)
    .max(64)
    .default('UTC')
    .meta({
      'x-kubernetes-validations': [
        {
          rule: "self.matches('^(UTC|[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){1,2})$')",
          message: 'must be UTC or a name of the IANA time zone database, as in Europe/Berlin',
        },
        {
          rule: "!self.contains('/') || timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
          message: 'must be UTC or a name of the IANA time zone database, as in Europe/Berlin',
        },
      ],
    })
    .describe('Name in the IANA time zone database, as in Europe/Berlin (default UTC).'),
  actions: z
    .array(z.enum(['Stage', 'Reboot']))
    .min(1)
    .max(2)
    .default(['Reboot'])
    .meta({ 'x-kubernetes-list-type': 'set' })
    .describe(
      'What is done only in windows (default [Reboot]). `Stage`: images are fetched and staged. `Reboot`: slots are granted and boots approved. An action that no window names is allowed at any time.',
    ),
});

export const freezeSchema = z
  .strictObject({
    start: z.iso.datetime({ offset: true }).describe('From when on, RFC 3339.'),
    end: z.iso.datetime({ offset: true }).describe('Until when, RFC 3339; later than `start`.'),
    reason: z.string().min(1).max(256).describe('Why, for the people who read that nothing moves.'),
  })
  .meta({
    'x-kubernetes-validations': [{ rule: 'self.start < self.end', message: 'start must be earlier than end' }],
  });

export const windowsSchema = z
  .array(windowSchema)
  .max(16)
  .default([])
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
  .describe(
    'When what may be done, at most 16; windows may overlap, and adjoining ones are one. Default: everything at any time. A node whose boot is approved finishes after the end of the window; one that is still being drained is given back.',
  );

export const freezesSchema = z
  .array(freezeSchema)
  .max(16)
  .default([])
  .meta({ 'x-kubernetes-list-type': 'atomic' })
  .describe(
    'Times in which nothing is staged, no slot granted and no boot approved, whatever the windows say, at most 16. Default: none.',
  );

export type MaintenanceWindow = z.infer<typeof windowSchema>;
export type Freeze = z.infer<typeof freezeSchema>;
/** What windows are about. */
export type TimedAction = MaintenanceWindow['actions'][number];
