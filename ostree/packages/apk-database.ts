/** The database of apk: `installed`, stanzas of `X:value` lines. Source: Alpine wiki, "Apk spec", section on the installed database. */
import { invalidDatabase } from './errors.ts';
import { type InstalledPackage, isPackageName, PackageBounds, relativePath } from './installed-package.ts';
import { lines } from './text-lines.ts';

const LINE = /^([A-Za-z]):(.*)$/;

interface Stanza {
  readonly fields: Map<string, string>;
  readonly files: string[];
  directory: string | undefined;
}

/** Reads the packages. Throws InvalidDatabase or DatabaseTooLarge. @param file for messages */
export function parseApkInstalled(text: string, file: string): readonly InstalledPackage[] {
  const bounds = new PackageBounds(file);
  const packages: InstalledPackage[] = [];
  let stanza: Stanza | undefined;
  const finish = (line: number): void => {
    if (stanza === undefined) return;
    bounds.countPackage();
    packages.push(readStanza(stanza, `${file} line ${line}`));
    stanza = undefined;
  };
  let number = 0;
  for (const line of lines(text)) {
    number++;
    if (line === '') {
      finish(number);
      continue;
    }
    const [, key, value = ''] = LINE.exec(line) ?? [];
    if (key === undefined) throw invalidDatabase(`${file} line ${number}`, 'it is not a field');
    stanza ??= { fields: new Map(), files: [], directory: undefined };
    addField(stanza, key, value, bounds, `${file} line ${number}`);
  }
  finish(number);
  return packages;
}

function addField(stanza: Stanza, key: string, value: string, bounds: PackageBounds, where: string): void {
  switch (key) {
    case 'F':
      stanza.directory = relativePath(value);
      bounds.countPath(stanza.directory);
      if (stanza.directory !== '') stanza.files.push(stanza.directory);
      break;
    case 'R': {
      if (stanza.directory === undefined) throw invalidDatabase(where, 'it lists a file before any directory');
      const path = stanza.directory === '' ? value : `${stanza.directory}/${value}`;
      bounds.countPath(path);
      stanza.files.push(path);
      break;
    }
    // Owners, modes, checksums and the like, of which there are many in one stanza.
    case 'M':
    case 'a':
    case 'Z':
    case 'r':
      break;
    default:
      if (stanza.fields.has(key)) throw invalidDatabase(where, `the field ${key} is given twice`);
      stanza.fields.set(key, value);
  }
}

function readStanza({ fields, files }: Stanza, where: string): InstalledPackage {
  const name = fields.get('P') ?? '';
  const version = fields.get('V') ?? '';
  const architecture = fields.get('A') ?? 'noarch';
  const source = fields.get('o') ?? name;
  if (![name, version, architecture, source].every(isPackageName)) {
    throw invalidDatabase(where, 'a stanza lacks a usable name, version, architecture or origin');
  }
  const buildTime = numberOf(fields.get('t'), where);
  return {
    manager: 'apk',
    id: `${name}-${version}.${architecture}`,
    name,
    version,
    architecture,
    source,
    size: numberOf(fields.get('I'), where),
    ...(buildTime > 0 && { buildTime }),
    // No change log is kept: that it was built is all there is to know.
    changeTimes: buildTime > 0 ? [buildTime] : [],
    files,
    records: [],
  };
}

function numberOf(text: string | undefined, where: string): number {
  if (text === undefined || text === '') return 0;
  if (!/^\d{1,15}$/.test(text)) throw invalidDatabase(where, 'a stanza has a size or a time that is not a number');
  return Number(text);
}
