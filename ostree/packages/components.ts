/** An operating system as components: its packages, the kernel and its initramfs, and what no package owns. */
import { setImmediate as turn } from 'node:timers/promises';
import { type Component, MAX_FREQUENCY } from '../chunking/component.ts';
import { type CommitSource, treePathsOf } from './commit-source.ts';
import { PackageError } from './errors.ts';
import { FileOwners } from './file-owners.ts';
import { type InstalledPackage, isPackageName } from './installed-package.ts';
import { readPackageDatabases } from './package-databases.ts';
import type { TreePaths } from './tree-paths.ts';

/** What no package owns. Builders that write content metadata call it so, too. */
export const UNPACKAGED = 'unpackaged';
/** What no package owns in `/etc`: whoever maintains the system changes it when no package changes. */
const CONFIGURATION = 'configuration';
const INITRAMFS = 'initramfs';
const KERNEL = 'kernel';
const ALWAYS_CHANGING: ReadonlySet<string> = new Set([UNPACKAGED, CONFIGURATION, INITRAMFS]);
/** Those that are no packages. */
const KNOWN: ReadonlySet<string> = new Set([...ALWAYS_CHANGING, KERNEL]);
/** An attribute by which the maker of a tree puts a file into a component of his choice. Source: rpm-ostree, build-chunked-oci. */
const COMPONENT_XATTR = 'user.component';
const SECONDS_PER_HOUR = 3600;
const SECONDS_PER_YEAR = 365 * 24 * SECONDS_PER_HOUR;
/** Objects that are looked at before others have a turn. */
const OBJECTS_PER_TURN = 1000;

const INITRAMFS_FILE =
  /^(?:usr\/lib\/modules\/[^/]+\/(?:initramfs|initrd)[^/]*|(?:boot|usr\/lib\/ostree-boot)\/(?:initramfs|initrd)[^/]*)$/;
const CONFIGURATION_FILE = /^usr\/etc\//;
const KERNEL_FILE = /^usr\/lib\/modules\/([^/]+)\//;

/** One on its way: packages of the same name, such as those of two architectures or two kernels, are one component. */
interface Draft {
  readonly name: string;
  readonly packages: InstalledPackage[];
  readonly objects: string[];
  readonly templates: string[];
  size: number;
  /** Whether an attribute of a file names it. */
  isNamed: boolean;
}

/**
 * Larger objects are not fetched with every update only because packages of several sources have them: beyond a licence,
 * hardly anything does.
 */
const MAX_COMMON_BYTES = 64 * 1024;

/** Of claims to an object the lowest one counts; of two alike, the name that comes first. */
const CLAIM = { initramfs: 0, database: 1, listed: 2, directory: 3, kernel: 4, none: 5 } as const;

interface Claim {
  readonly strength: number;
  readonly name: string;
  /** The source package; undefined where packages of several have the object. */
  readonly source: string | undefined;
  /** Whether it is configuration that nobody owns, or also that, as where a package's script copies a default to `/etc`. */
  readonly isConfiguration: boolean;
  /** The first path of such a default. */
  readonly template?: string | undefined;
}

export interface ComponentsOptions {
  /** Whether configuration that nobody owns is a component of its own, which other tools do not have. Default: it is. */
  readonly configuration?: boolean;
  /** Paths of what configuration was copied from, by an earlier image: what lies there stays with it. */
  readonly templates?: ReadonlySet<string> | undefined;
}

/**
 * The components of a commit, by name; those without any content are left out. Every content object is in exactly one.
 *
 * @param commit a checksum
 * @throws {PackageError} `InvalidDatabase`, `UnsupportedDatabase`, `DatabaseTooLarge` or `InvalidComponent`
 * @throws {OstreeError} if the commit cannot be read
 */
export async function componentsOf(
  repository: CommitSource,
  commit: string,
  { configuration: apart = true, templates = new Set() }: ComponentsOptions = {},
): Promise<readonly Component[]> {
  const paths = treePathsOf(repository, commit);
  const { packages, directories } = readPackageDatabases(paths);
  const releases = kernelReleases(paths);
  const drafts = draftsOf(packages, releases);
  const owners = new FileOwners(paths, [...drafts.values()], directories);

  const claims = new Map<string, Claim>();
  for (const { path, checksum } of paths.root.walkFiles()) {
    const claim = claimOf(path, owners, apart);
    const isTemplate = apart && templates.has(path) && !claim.isConfiguration;
    const known = claims.get(checksum);
    const own = isTemplate ? { ...claim, source: undefined, isConfiguration: true } : claim;
    claims.set(checksum, known === undefined ? own : bothOf(known, own));
  }
  let count = 0;
  for (const [checksum, claim] of claims) {
    if (++count % OBJECTS_PER_TURN === 0) await turn();
    using file = repository.openFile(checksum);
    const attribute = file.header.xattrs.find((xattr) => xattr.name === COMPONENT_XATTR);
    const name = attribute === undefined ? nameFor(claim, file.size) : attributeName(attribute.value, checksum);
    const draft = draftNamed(drafts, name);
    draft.isNamed ||= attribute !== undefined;
    draft.objects.push(checksum);
    draft.size += file.size;
    if (name === CONFIGURATION && claim.template !== undefined) draft.templates.push(claim.template);
  }
  return finished([...drafts.values()], packages, releases);
}

function claimOf(path: string, owners: FileOwners<Draft>, apart: boolean): Claim {
  const claim = (strength: number, name: string, source = name): Claim => {
    return { strength, name, source, isConfiguration: false, template: path };
  };
  if (INITRAMFS_FILE.test(path)) return claim(CLAIM.initramfs, INITRAMFS);
  const listed = owners.listedOwner(path);
  if (listed !== undefined) return claim(CLAIM.listed, listed.name, sourceOf(listed));
  if (owners.isDatabase(path)) return claim(CLAIM.database, UNPACKAGED);
  const directory = owners.directoryOwner(path);
  if (directory !== undefined) return claim(CLAIM.directory, directory.name, sourceOf(directory));
  if (KERNEL_FILE.test(path)) return claim(CLAIM.kernel, KERNEL);
  if (!apart || !CONFIGURATION_FILE.test(path)) return claim(CLAIM.none, UNPACKAGED);
  return { strength: CLAIM.none, name: CONFIGURATION, source: CONFIGURATION, isConfiguration: true };
}

function sourceOf({ name, packages }: Draft): string {
  return packages[0]?.source ?? name;
}

/** What two claims to one object come to. @param known the one to the path that comes first */
function bothOf(known: Claim, claim: Claim): Claim {
  const isFirst = claim.strength < known.strength || (claim.strength === known.strength && claim.name < known.name);
  return {
    ...(isFirst ? claim : known),
    source: known.source === claim.source ? known.source : undefined,
    isConfiguration: known.isConfiguration || claim.isConfiguration,
    template: known.template ?? claim.template,
  };
}

/**
 * A layer also says where its objects lie. One with an object that lies in several packages is another layer as soon as
 * one of them comes or goes; what changes anyway is where such objects do no harm.
 */
function nameFor({ strength, name, source, isConfiguration }: Claim, size: number): string {
  const isCommon = source === undefined && strength > CLAIM.initramfs && size <= MAX_COMMON_BYTES;
  if (!isCommon) return name;
  return isConfiguration ? CONFIGURATION : UNPACKAGED;
}

function draftsOf(packages: readonly InstalledPackage[], releases: readonly string[]): Map<string, Draft> {
  const drafts = new Map<string, Draft>();
  for (const one of packages) draftNamed(drafts, componentName(one.name, releases)).packages.push(one);
  return drafts;
}

/** The package's name, without the kernel's release that some distributions put into it: it stays the same over versions. */
function componentName(name: string, releases: readonly string[]): string {
  const release = releases.find((one) => name.endsWith(`-${one}`));
  return release === undefined ? name : name.slice(0, -release.length - 1);
}

function draftNamed(drafts: Map<string, Draft>, name: string): Draft {
  const known = drafts.get(name);
  if (known !== undefined) return known;
  const draft: Draft = { name, packages: [], objects: [], templates: [], size: 0, isNamed: false };
  drafts.set(name, draft);
  return draft;
}

function attributeName(value: Buffer, checksum: string): string {
  const name = value.toString('utf8').replace(/\0$/, '');
  if (isPackageName(name)) return name;
  throw new PackageError(
    'InvalidComponent',
    `The file ${checksum} has the attribute ${COMPONENT_XATTR}=${JSON.stringify(name.slice(0, 80))}, which cannot be the name of a component; use letters, digits and dashes`,
  );
}

/** The longest first: one may end like another. */
function kernelReleases(paths: TreePaths): readonly string[] {
  const modules = paths.resolveDirectory('usr/lib/modules');
  const names = [...(modules?.directory.directories.keys() ?? [])];
  return names.filter((name) => /\d/.test(name)).sort((a, b) => b.length - a.length || (a < b ? -1 : 1));
}

function finished(
  drafts: readonly Draft[],
  packages: readonly InstalledPackage[],
  releases: readonly string[],
): readonly Component[] {
  const builds = packages.map(({ buildTime }) => buildTime).filter((time) => time !== undefined);
  const oldest = builds.reduce((a, b) => Math.min(a, b), Infinity);
  const newest = builds.reduce((a, b) => Math.max(a, b), 0);
  const changes = changeTimesBySource(packages);
  const ids = new Set<string>();
  return drafts
    .filter(({ objects }) => objects.length > 0)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((draft): Component => {
      const versions = [...new Set(draft.packages.map(({ version }) => version))];
      const times = draft.packages.map(({ buildTime }) => buildTime).filter((time) => time !== undefined);
      const plain = idOf(draft, releases);
      const id = ids.has(plain) ? `${plain} [${draft.name}]` : plain;
      ids.add(id);
      return {
        id,
        name: draft.name,
        source: draft.packages[0]?.source ?? draft.name,
        ...(versions.length === 1 && { version: versions[0] ?? '' }),
        changeTimeOffset:
          times.length === 0 ? 0 : Math.floor((times.reduce((a, b) => Math.max(a, b)) - oldest) / SECONDS_PER_HOUR),
        changeFrequency: frequencyOf(draft, changes, newest),
        objects: draft.objects.sort(),
        size: draft.size,
        ...(draft.templates.length > 0 && { templates: draft.templates.sort() }),
        // Who names one that exists adds to it.
        ...(draft.isNamed && !KNOWN.has(draft.name) && draft.packages.length === 0 && { isExclusive: true }),
      };
    });
}

function idOf({ name, packages }: Draft, releases: readonly string[]): string {
  if (packages.length > 0) return [...new Set(packages.map(({ id }) => id))].join(' and ');
  if ((name !== INITRAMFS && name !== KERNEL) || releases.length === 0) return name;
  return name === KERNEL ? `kernel ${releases.join(' ')}` : `initramfs (kernel ${releases.join(' ')})`;
}

/** Packages of one source change together; not each of them carries the change log. */
function changeTimesBySource(packages: readonly InstalledPackage[]): ReadonlyMap<string, readonly number[]> {
  const times = new Map<string, readonly number[]>();
  for (const { source, changeTimes } of packages) {
    if (changeTimes.length > (times.get(source)?.length ?? 0)) times.set(source, changeTimes);
  }
  return times;
}

function frequencyOf(
  { name, packages }: Draft,
  changes: ReadonlyMap<string, readonly number[]>,
  newest: number,
): number {
  if (packages.length === 0) return ALWAYS_CHANGING.has(name) ? MAX_FREQUENCY : 0;
  return packages.reduce((most, { source, changeTimes }) => {
    const times = changeTimes.length > 0 ? changeTimes : (changes.get(source) ?? []);
    return Math.max(most, times.filter((time) => newest - time <= SECONDS_PER_YEAR).length);
  }, 0);
}
