/** Deep equality of what would be serialised: a write that changes nothing is never made. */

/** True when `left` and `right` would be the same JSON; an absent key and one that is `undefined` are the same. */
export function sameContent(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  const leftFields = left as Record<string, unknown>;
  const rightFields = right as Record<string, unknown>;
  for (const key in leftFields) if (!sameContent(leftFields[key], rightFields[key])) return false;
  for (const key in rightFields) if (rightFields[key] !== undefined && leftFields[key] === undefined) return false;
  return true;
}
