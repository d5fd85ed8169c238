/** The database of pacman: `local/NAME-VERSION/desc` and `files`, sections of lines under `%TITLE%`. Source: alpm-db-desc(5), alpm-db-files(5). */
import { invalidDatabase } from './errors.ts';
import {
  type InstalledPackage,
  isPackageName,
  MAX_DATABASE_BYTES,
  PackageBounds,
  relativePath,
  tooLarge,
} from './installed-package.ts';
import { lines } from './text-lines.ts';
import type { ResolvedDirectory, TreePaths } from './tree-paths.ts';

const TITLE = /^%([A-Z0-9_]+)%$/;

/** Reads the database whose folder `local` is `local`. Throws InvalidDatabase or DatabaseTooLarge. */
export function readPacmanDatabase(paths: TreePaths, local: ResolvedDirectory): readonly InstalledPackage[] {
  const bounds = new PackageBounds(local.path);
  const packages: InstalledPackage[] = [];
  for (const [name, directory] of local.directory.directories) {
    bounds.countPackage();
    const folder = `${local.path}/${name}`;
    const read = (file: string): string | undefined =>
      paths
        .readFile(`${folder}/${file}`, MAX_DATABASE_BYTES, (size) =>
          tooLarge(`${folder}/${file}`, `it has ${size} bytes`),
        )
        ?.toString('utf8');
    const description = read('desc');
    if (description === undefined) throw invalidDatabase(folder, 'it has no file desc');
    const records = Array.from(directory.files.keys(), (file) => `${folder}/${file}`);
    packages.push({ ...parsePacmanPackage(description, read('files') ?? '', folder, bounds), records });
  }
  return packages;
}

/** One package of its `desc` and `files`. Throws InvalidDatabase or DatabaseTooLarge. @param folder for messages */
export function parsePacmanPackage(
  description: string,
  files: string,
  folder: string,
  bounds = new PackageBounds(folder),
): InstalledPackage {
  const about = parseSections(description, `${folder}/desc`);
  const one = (title: string): string | undefined => about.get(title)?.[0];
  const name = one('NAME') ?? '';
  const version = one('VERSION') ?? '';
  const architecture = one('ARCH') ?? 'any';
  const source = one('BASE') ?? name;
  if (![name, version, architecture, source].every(isPackageName)) {
    throw invalidDatabase(`${folder}/desc`, 'it lacks a usable name, version, architecture or base');
  }
  const listed = (parseSections(files, `${folder}/files`).get('FILES') ?? []).map(relativePath);
  for (const path of listed) bounds.countPath(path);
  const buildTime = numberOf(one('BUILDDATE'), folder);
  return {
    manager: 'pacman',
    id: `${name}-${version}-${architecture}`,
    name,
    version,
    architecture,
    source,
    size: numberOf(one('SIZE'), folder),
    ...(buildTime > 0 && { buildTime }),
    // No change log is kept: that it was built is all there is to know.
    changeTimes: buildTime > 0 ? [buildTime] : [],
    files: listed.filter((path) => path !== ''),
    records: [],
  };
}

function parseSections(text: string, file: string): ReadonlyMap<string, readonly string[]> {
  const sections = new Map<string, string[]>();
  let current: string[] | undefined;
  for (const line of lines(text)) {
    const title = TITLE.exec(line)?.[1];
    if (line === '') {
      current = undefined;
    } else if (current === undefined) {
      if (title === undefined) throw invalidDatabase(file, 'a line stands under no title');
      if (sections.has(title)) throw invalidDatabase(file, `the section ${title} is given twice`);
      current = [];
      sections.set(title, current);
    } else {
      current.push(line);
    }
  }
  return sections;
}

function numberOf(text: string | undefined, folder: string): number {
  if (text === undefined) return 0;
  if (!/^\d{1,15}$/.test(text)) throw invalidDatabase(`${folder}/desc`, 'it has a size or a time that is not a number');
  return Number(text);
}
