/** GLib key files: the format of a repository's `config`, of remotes and of a deployment's origin. */

/** Group name to keys to values. Values are unescaped strings; the last of several equal keys wins, as in GLib. */
export type KeyFile = ReadonlyMap<string, ReadonlyMap<string, string>>;

const ESCAPES = new Map([
  ['s', ' '],
  ['n', '\n'],
  ['t', '\t'],
  ['r', '\r'],
  ['\\', '\\'],
]);

/** Parses a key file. Lines that are neither group, key nor comment are ignored. */
export function parseKeyFile(text: string): KeyFile {
  const groups = new Map<string, Map<string, string>>();
  let group: Map<string, string> | undefined;
  for (const line of text.split('\n')) {
    const header = /^\s*\[([^\]]+)\]\s*$/.exec(line);
    if (header?.[1] !== undefined) {
      group = groups.get(header[1]) ?? new Map<string, string>();
      groups.set(header[1], group);
      continue;
    }
    const entry = /^\s*([^#=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (group !== undefined && entry?.[1] !== undefined && entry[2] !== undefined) {
      group.set(
        entry[1],
        entry[2].replace(/\\([snrt\\])/g, (_, letter: string) => ESCAPES.get(letter) ?? letter),
      );
    }
  }
  return groups;
}

/** A boolean in GLib's spelling; `fallback` if the key is absent or says something else. */
export function keyFileBoolean(file: KeyFile, group: string, key: string, fallback: boolean): boolean {
  const value = file.get(group)?.get(key);
  if (value === 'true' || value === '1') return true;
  return value === 'false' || value === '0' ? false : fallback;
}
