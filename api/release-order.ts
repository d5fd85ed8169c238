/** Which of two images is older, from what they say of themselves; the operator and every agent judge by the same rule. */

export interface SelfDescription {
  /** RFC 3339; from the label `org.opencontainers.image.created`, else the config. */
  readonly created?: string | undefined;
  readonly version?: string | undefined;
}

/** Reproducible builds say they were made in 1970, or in 1980 where an archive format begins: no time of creation at all. */
const FIRST_BELIEVABLE = Date.parse('1980-01-02T00:00:00Z');

/**
 * What shows that `one` is older than `other`, as a clause for a sentence; undefined when nothing does. The times of
 * creation decide if both have one; else the numbers that their versions begin with, compared part by part (41.9 < 41.10).
 */
export function whyOlder(one: SelfDescription, other: SelfDescription): string | undefined {
  const [at, since] = [createdTime(one), createdTime(other)];
  if (at !== undefined && since !== undefined) {
    return at < since ? `created ${one.created} against ${other.created}` : undefined;
  }
  const [left, right] = [versionNumbers(one), versionNumbers(other)];
  if (left === undefined || right === undefined) return undefined;
  for (let part = 0; part < Math.max(left.length, right.length); part++) {
    const [a = 0n, b = 0n] = [left[part], right[part]];
    if (a !== b) return a < b ? `version ${one.version} against ${other.version}` : undefined;
  }
  return undefined;
}

/** When the image was made, in milliseconds since 1970; undefined when it does not say, or says what cannot be believed. */
export function createdTime({ created }: SelfDescription): number | undefined {
  const time = Date.parse(created ?? '');
  return Number.isNaN(time) || time < FIRST_BELIEVABLE ? undefined : time;
}

function versionNumbers({ version }: SelfDescription): readonly bigint[] | undefined {
  const numbers = /^v?(\d{1,64}(?:\.\d{1,64})*)/.exec(version ?? '')?.[1];
  return numbers?.split('.').map(BigInt);
}
