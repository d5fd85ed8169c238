/**
 * JSON in the one spelling of RFC 8785 (JCS), which the ostree-container tools write: equal values give equal bytes,
 * so an image that is encapsulated twice keeps its digest, and so does the commit that manifest and config are stored in.
 */

/**
 * Members sorted by UTF-16 code units, no white space, members that are undefined left out.
 * @throws TypeError for what JSON cannot say: NaN, infinities, functions are the caller's mistake.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError(`${value} is not JSON`);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) throw new TypeError(`a ${typeof value} is not JSON`);
  return text;
}
