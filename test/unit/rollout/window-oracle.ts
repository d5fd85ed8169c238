/**
 * When a schedule of five fields comes round, worked out minute by minute with Temporal and without the cron library:
 * slow, and so simple that it can be believed.
 */

/** The five fields of a schedule as sets. */
export interface Fields {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly days: readonly number[];
  readonly months: readonly number[];
  readonly weekdays: readonly number[];
  /** Neither minutes nor hours have a `*` or a step. */
  readonly steady: boolean;
  /** Neither day of month nor day of week is `*`. */
  readonly eitherDay: boolean;
}

const MINUTE = 60_000;

/** Instants in [from, until) at which a window with these fields opens in `timeZone`. */
export function occurrences(fields: Fields, timeZone: string, from: number, until: number): number[] {
  const found = new Set<number>();
  // Zones with seconds in their offset are history; every instant that counts is on a minute.
  for (let at = Math.ceil(from / MINUTE) * MINUTE; at < until; at += MINUTE) {
    const local = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(timeZone);
    if (fields.steady) {
      const before = local.subtract({ minutes: 1 });
      // What the clock shows a second time has been taken already.
      const again = !local.toPlainDateTime().toZonedDateTime(timeZone, { disambiguation: 'earlier' }).equals(local);
      if (!again && matches(fields, local)) found.add(at);
      // The clock jumped: what lies in the gap is taken now.
      const expected = before.toPlainDateTime().add({ minutes: 1 });
      const now = local.toPlainDateTime();
      for (
        let skipped = expected;
        Temporal.PlainDateTime.compare(skipped, now) < 0;
        skipped = skipped.add({ minutes: 1 })
      )
        if (matches(fields, skipped)) found.add(at);
    } else if (matches(fields, local)) found.add(at);
  }
  return [...found].toSorted((left, right) => left - right);
}

function matches(fields: Fields, at: Temporal.ZonedDateTime | Temporal.PlainDateTime): boolean {
  const { minutes, hours, days, months, weekdays } = fields;
  if (!minutes.includes(at.minute) || !hours.includes(at.hour) || !months.includes(at.month)) return false;
  const day = days.includes(at.day);
  const weekday = weekdays.includes(at.dayOfWeek % 7);
  // crontab(5)
  return fields.eitherDay ? day || weekday : day && weekday;
}
