/**
 * containers-registries.conf(5), version 2, and its drop-ins: texts in, one configuration out. What the person who wrote
 * them would not want to be silently ignored (a misspelt `blocked`) is told as a warning.
 */
import { parse, TomlError } from 'smol-toml';
import * as z from 'zod';
import { printable, RegistryError } from './errors.ts';

export interface ConfigurationText {
  /** For messages. */
  readonly path: string;
  readonly text: string;
}

export interface MirrorConfiguration {
  /** `host[:port][/namespace…]` */
  readonly location: string;
  readonly insecure: boolean;
  readonly use: 'all' | 'digest-only' | 'tag-only';
}

export interface RegistryConfiguration {
  /** `host[:port][/namespace…][:tag|@digest]`, or `*.domain`. */
  readonly prefix: string;
  /** Replaces the prefix; undefined leaves names as they are. */
  readonly location: string | undefined;
  readonly insecure: boolean;
  readonly blocked: boolean;
  readonly mirrors: readonly MirrorConfiguration[];
  /** The file that says so. */
  readonly path: string;
}

export interface RegistriesConfiguration {
  readonly registries: readonly RegistryConfiguration[];
  /** Hosts that a name without a host would be looked for on. */
  readonly searched: readonly string[];
  /** Short name to full name. */
  readonly aliases: ReadonlyMap<string, string>;
  readonly warnings: readonly string[];
}

const MIRROR = z.looseObject({
  location: z.string(),
  insecure: z.boolean().optional(),
  'pull-from-mirror': z.enum(['all', 'digest-only', 'tag-only', '']).optional(),
});
const REGISTRY = z.looseObject({
  prefix: z.string().optional(),
  location: z.string().optional(),
  insecure: z.boolean().optional(),
  blocked: z.boolean().optional(),
  'mirror-by-digest-only': z.boolean().optional(),
  mirror: z.array(MIRROR).optional(),
});
const FILE = z.looseObject({
  registry: z.array(REGISTRY).optional(),
  'unqualified-search-registries': z.array(z.string()).optional(),
  aliases: z.record(z.string(), z.string()).optional(),
});
/** Known keys that say nothing about where an image of a full name comes from. */
const OTHER_KEYS = ['short-name-mode', 'credential-helpers', 'additional-layer-store-auth-helper'];

/**
 * @param files the main file first, then the drop-ins in their order. Later ones replace registries of the same prefix,
 *   aliases of the same name, and the list of searched hosts.
 * @throws RegistryError `InvalidConfiguration` naming the file and what to change in it.
 */
export function parseRegistriesConf(files: readonly ConfigurationText[]): RegistriesConfiguration {
  const registries = new Map<string, RegistryConfiguration>();
  const aliases = new Map<string, string>();
  const warnings: string[] = [];
  let searched: readonly string[] = [];
  for (const { path, text } of files) {
    const file = readFile(path, text, warnings);
    for (const entry of mergeSame(file.registry ?? [], path, warnings)) registries.set(entry.prefix, entry);
    searched = file['unqualified-search-registries'] ?? searched;
    for (const [name, full] of Object.entries(file.aliases ?? {})) {
      if (full === '') aliases.delete(name);
      else aliases.set(name, full);
    }
  }
  return { registries: [...registries.values()], searched, aliases, warnings };
}

function readFile(path: string, text: string, warnings: string[]): z.infer<typeof FILE> {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason] = error.message.split('\n');
    throw invalid(path, `is not TOML (line ${error.line}: ${reason ?? 'malformed'})`, error);
  }
  refuseVersion1(path, value);
  const parsed = FILE.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(path, `is malformed at ${issue?.path.join('.') ?? 'its top'} (${issue?.message ?? 'unknown'})`);
  }
  warnOfUnknown(path, Object.keys(parsed.data), [...Object.keys(FILE.shape), ...OTHER_KEYS], 'the file', warnings);
  return parsed.data;
}

/** Version 1 had the tables `[registries.search]`, `.insecure` and `.block`, each with a list `registries`. */
function refuseVersion1(path: string, value: unknown): void {
  if (!isObject(value) || !isObject(value['registries'])) return;
  for (const [table, content] of Object.entries(value['registries'])) {
    const list = isObject(content) ? content['registries'] : content;
    if (Array.isArray(list) && list.length === 0) continue;
    throw invalid(
      path,
      `has the table [registries.${table}] of version 1 of its format, which is not read: write unqualified-search-registries and [[registry]] tables with location, insecure and blocked instead`,
    );
  }
}

/** Two tables of one prefix in one file: the last counts, as everywhere, but it must not contradict the first. */
function mergeSame(
  entries: readonly z.infer<typeof REGISTRY>[],
  path: string,
  warnings: string[],
): readonly RegistryConfiguration[] {
  const configured = entries.map((entry) => configure(entry, path, warnings));
  for (const [index, entry] of configured.entries()) {
    const same = configured.slice(0, index).find((other) => other.prefix === entry.prefix);
    if (same === undefined) continue;
    if (same.insecure !== entry.insecure || same.blocked !== entry.blocked) {
      throw invalid(
        path,
        `has two [[registry]] tables for ${printable(entry.prefix)} that contradict each other: remove one`,
      );
    }
  }
  return configured;
}

function configure(entry: z.infer<typeof REGISTRY>, path: string, warnings: string[]): RegistryConfiguration {
  const location = place(entry.location ?? '', path);
  const prefix = place(entry.prefix ?? '', path) || location;
  if (prefix === '') throw invalid(path, 'has a [[registry]] with neither prefix nor location: write one');
  warnOfUnknown(path, Object.keys(entry), Object.keys(REGISTRY.shape), `[[registry]] ${printable(prefix)}`, warnings);
  if (location.startsWith('*.'))
    throw invalid(path, `has the location ${printable(location)} with a wildcard: only a prefix may have one`);
  if (prefix.slice(1).includes('*') || (prefix.startsWith('*') && !/^\*\.[^/:@]+$/.test(prefix)))
    throw invalid(
      path,
      `has the prefix ${printable(prefix)}: a wildcard stands for whole subdomains only, as in *.example.com`,
    );
  const byDigestOnly = entry['mirror-by-digest-only'] ?? false;
  const mirrors = (entry.mirror ?? []).map((mirror) => {
    const use = mirror['pull-from-mirror'] ?? '';
    warnOfUnknown(path, Object.keys(mirror), Object.keys(MIRROR.shape), `a mirror of ${printable(prefix)}`, warnings);
    if (byDigestOnly && use !== '') {
      throw invalid(
        path,
        `sets mirror-by-digest-only for ${printable(prefix)} and pull-from-mirror for one of its mirrors: use one of the two`,
      );
    }
    const mirrorLocation = place(mirror.location, path);
    if (mirrorLocation === '')
      throw invalid(path, `has a mirror of ${printable(prefix)} without a location: write one`);
    return {
      location: mirrorLocation,
      insecure: mirror.insecure ?? false,
      use: byDigestOnly ? ('digest-only' as const) : use === '' ? ('all' as const) : use,
    };
  });
  return {
    prefix,
    location: location !== '' ? location : prefix.startsWith('*.') ? undefined : prefix,
    insecure: entry.insecure ?? false,
    blocked: entry.blocked ?? false,
    mirrors,
    path,
  };
}

/** A prefix or location without its trailing slashes. */
function place(text: string, path: string): string {
  if (/^[a-z]+:\/\//i.test(text))
    throw invalid(path, `has ${printable(text)} with a scheme: leave it out; insecure = true allows plain HTTP`);
  return text.replace(/\/+$/, '');
}

function warnOfUnknown(
  path: string,
  keys: readonly string[],
  known: readonly string[],
  where: string,
  warnings: string[],
): void {
  for (const key of keys) {
    if (!known.includes(key)) warnings.push(`${path}: the unknown key ${printable(key)} in ${where} is ignored`);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(path: string, problem: string, cause?: unknown): RegistryError {
  return new RegistryError(
    'InvalidConfiguration',
    `${path} ${problem}; see containers-registries.conf(5). Nothing was contacted.`,
    cause,
  );
}
