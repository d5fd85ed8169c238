/** dpkg's `status` file: one stanza of `Field: value` lines for each package. Source: deb822(5), dpkg-query(1). */
import { invalidDatabase } from './errors.ts';
import { isPackageName, PackageBounds } from './installed-package.ts';
import { lines } from './text-lines.ts';

export interface DpkgStanza {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly source: string;
  /** Bytes. */
  readonly size: number;
}

/** States in which a package's files are not in the file system. */
const WITHOUT_FILES: ReadonlySet<string> = new Set(['not-installed', 'config-files']);
const FIELD = /^([!-9;-~]+):[ \t]*(.*)$/;
const WANTED: ReadonlySet<string> = new Set([
  'package',
  'status',
  'version',
  'architecture',
  'source',
  'installed-size',
]);

/** Reads the packages that are unpacked. Throws InvalidDatabase or DatabaseTooLarge. @param file for messages */
export function parseDpkgStatus(text: string, file: string): readonly DpkgStanza[] {
  const bounds = new PackageBounds(file);
  const stanzas: DpkgStanza[] = [];
  let fields = new Map<string, string>();
  let seen = false;
  const finish = (line: number): void => {
    if (!seen) return;
    bounds.countPackage();
    const stanza = readStanza(fields, `${file} line ${line}`);
    if (stanza !== undefined) stanzas.push(stanza);
    fields = new Map();
    seen = false;
  };
  let number = 0;
  for (const line of lines(text)) {
    number++;
    if (line.trim() === '') {
      finish(number);
    } else if (line.startsWith(' ') || line.startsWith('\t')) {
      if (!seen) throw invalidDatabase(`${file} line ${number}`, 'it continues a field that has not begun');
    } else {
      const [, name, value = ''] = FIELD.exec(line) ?? [];
      if (name === undefined) throw invalidDatabase(`${file} line ${number}`, 'it is not a field');
      seen = true;
      const key = name.toLowerCase();
      if (!WANTED.has(key)) continue;
      if (fields.has(key)) throw invalidDatabase(`${file} line ${number}`, `the field ${name} is given twice`);
      fields.set(key, value.trim());
    }
  }
  finish(number);
  return stanzas;
}

function readStanza(fields: ReadonlyMap<string, string>, where: string): DpkgStanza | undefined {
  const name = fields.get('package');
  const state = fields.get('status')?.split(/\s+/)[2];
  if (name === undefined || !isPackageName(name)) throw invalidDatabase(where, 'a stanza has no usable Package field');
  if (state === undefined) throw invalidDatabase(where, `the package ${name} has no usable Status field`);
  if (WITHOUT_FILES.has(state)) return undefined;
  const version = fields.get('version');
  const architecture = fields.get('architecture') ?? 'all';
  const source = fields.get('source')?.split(/\s/)[0] ?? name;
  if (version === undefined || !isPackageName(version)) {
    throw invalidDatabase(where, `the package ${name} has no usable Version field`);
  }
  if (!isPackageName(architecture) || !isPackageName(source)) {
    throw invalidDatabase(where, `the package ${name} has an impossible Architecture or Source field`);
  }
  const kibibytes = fields.get('installed-size') ?? '0';
  if (!/^\d{1,12}$/.test(kibibytes)) {
    throw invalidDatabase(where, `the Installed-Size of the package ${name} is not a number`);
  }
  const size = Number(kibibytes) * 1024;
  return { name, version, architecture, source, size };
}
