/** A label as an extended attribute: what the kernel reads, and what OSTree stores. */
import { canonicalXattrs, NO_XATTRS, type Xattr } from '../objects/xattrs.ts';

const LABEL_XATTR = 'security.selinux';

/** Most files have a label and nothing else. One list for all of them is encoded only once. */
const labelOnly = new Map<string, readonly Xattr[]>();
const MAX_REMEMBERED = 10_000;

/** `xattrs` with this label in place of any other. Returns the same list if it has that label already. */
export function withLabel(xattrs: readonly Xattr[], label: string): readonly Xattr[] {
  const known = xattrs === NO_XATTRS ? labelOnly.get(label) : undefined;
  if (known !== undefined) return known;
  // With a trailing NUL, as libselinux sets it and libostree stores it.
  const value = Buffer.from(`${label}\0`, 'latin1');
  if (xattrs.some((xattr) => xattr.name === LABEL_XATTR && xattr.value.equals(value))) return xattrs;
  const others = xattrs.filter(({ name }) => name !== LABEL_XATTR);
  const labelled = canonicalXattrs([...others, { name: LABEL_XATTR, value }]);
  if (xattrs === NO_XATTRS && labelOnly.size < MAX_REMEMBERED) labelOnly.set(label, labelled);
  return labelled;
}
