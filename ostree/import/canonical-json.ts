/**
 * JSON in the one form that gives equal bytes for equal data: members sorted, no white space. Manifest and config are
 * stored like this inside commits, where the bytes are part of a checksum. RFC 8785.
 */

/** Serialises plain data. Members whose value is undefined are left out, as in `JSON.stringify`. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    // RFC 8785 sorts by UTF-16 code units, which is what comparing strings does.
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
}
