/** What became of the packages from one operating system to another. */
import { compareNames } from '../objects/name-order.ts';
import type { InstalledPackage } from './installed-package.ts';
import { compareVersions } from './version-order.ts';

type PackageSummary = Pick<InstalledPackage, 'name' | 'version' | 'architecture' | 'source' | 'size'>;

export interface PackageUpdate {
  readonly before: PackageSummary;
  readonly after: PackageSummary;
  /** `change` where it is not known which version is the newer one. */
  readonly direction: 'upgrade' | 'downgrade' | 'change';
}

export interface PackageChanges {
  readonly added: readonly PackageSummary[];
  readonly removed: readonly PackageSummary[];
  /** Those of which another version is installed. */
  readonly updated: readonly PackageUpdate[];
  /** How many are the same in both. */
  readonly unchanged: number;
}

/**
 * Compares the packages. One is the other's update if it has its name and architecture; else if it has its source and
 * its name but for numbers, as kernels do whose name holds their release. Each list is sorted by name.
 */
export function comparePackages(
  before: readonly InstalledPackage[],
  after: readonly InstalledPackage[],
): PackageChanges {
  const same = new Set(before.map(identity)).intersection(new Set(after.map(identity)));
  const gone = before.filter((one) => !same.has(identity(one)));
  const come = after.filter((one) => !same.has(identity(one)));
  const updated: PackageUpdate[] = [];
  let [removed, added] = [gone, come];
  for (const key of [sameName, sameButNumbers]) {
    const [left, right] = [Map.groupBy(removed, key), Map.groupBy(added, key)];
    const paired = new Set<InstalledPackage>();
    for (const [name, [one, ...more]] of left) {
      const [other, ...others] = right.get(name) ?? [];
      // Of several with one name it is not known which became which.
      if (one === undefined || other === undefined || more.length > 0 || others.length > 0) continue;
      updated.push({ before: summary(one), after: summary(other), direction: directionOf(one, other) });
      paired.add(one).add(other);
    }
    removed = removed.filter((one) => !paired.has(one));
    added = added.filter((one) => !paired.has(one));
  }
  return {
    added: added.map(summary).sort(byName),
    removed: removed.map(summary).sort(byName),
    updated: updated.sort((a, b) => byName(a.after, b.after)),
    unchanged: same.size,
  };
}

function identity({ manager, id }: InstalledPackage): string {
  return `${manager} ${id}`;
}

function sameName({ manager, name, architecture }: InstalledPackage): string {
  return `${manager} ${name} ${architecture}`;
}

function sameButNumbers({ manager, name, architecture, source }: InstalledPackage): string {
  return `${manager} ${source} ${name.replaceAll(/\d+(?:[.-]\d+)*/g, '#')} ${architecture}`;
}

function directionOf(before: InstalledPackage, after: InstalledPackage): PackageUpdate['direction'] {
  const order = compareVersions(after.manager, before.version, after.version);
  if (order === undefined || order === 0) return 'change';
  return order < 0 ? 'upgrade' : 'downgrade';
}

function summary({ name, version, architecture, source, size }: PackageSummary): PackageSummary {
  return { name, version, architecture, source, size };
}

function byName(a: PackageSummary, b: PackageSummary): number {
  return (
    compareNames(a.name, b.name) || compareNames(a.architecture, b.architecture) || compareNames(a.version, b.version)
  );
}
