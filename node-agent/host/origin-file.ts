/**
 * Origin files: the GKeyFile beside a deployment that says where it came from. The host tools (rpm-ostree, bootc)
 * recognise a container deployment by the single key `container-image-reference`.
 */

export interface Origin {
  /** Display form of the OSTree container reference. */
  readonly containerImageReference?: string;
  /** Set by `ostree admin pin`. */
  readonly pinned: boolean;
}

/** Reads the keys that Treeline knows; unknown groups and keys are left to their owners. */
export function parseOrigin(text: string): Origin {
  let group = '';
  let reference: string | undefined;
  let pinned = false;
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    const header = /^\[(.+)\]$/.exec(line);
    if (header?.[1] !== undefined) {
      group = header[1];
      continue;
    }
    const separator = line.indexOf('=');
    if (line.startsWith('#') || separator < 0) continue;
    const key = line.slice(0, separator).trim();
    const value = line.slice(separator + 1).trim();
    if (group === 'origin' && key === 'container-image-reference') reference = unescape(value);
    if (group === 'libostree-transient' && key === 'pinned') pinned = value === 'true' || value === '1';
  }
  return { ...(reference === undefined ? {} : { containerImageReference: reference }), pinned };
}

/** The whole origin file of a container deployment: exactly one key, as bootc writes it. */
export function formatOrigin(reference: string): string {
  return `[origin]\ncontainer-image-reference=${escape(reference)}\n`;
}

/** The origin file of another deployment of the same: without what libostree notes about this one alone, such as that it is pinned. */
export function withoutTransientState(text: string): string {
  return text.replaceAll(/^\[libostree-transient\]\n(?:(?!\[).*\n?)*/gm, '');
}

/** GKeyFile string escapes (GLib, "Key-value file parser"). */
function escape(value: string): string {
  return value
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('\n', String.raw`\n`)
    .replaceAll('\t', String.raw`\t`)
    .replaceAll('\r', String.raw`\r`)
    .replace(/^ +/, (spaces) => String.raw`\s`.repeat(spaces.length));
}

const UNESCAPED: Readonly<Record<string, string>> = { s: ' ', n: '\n', t: '\t', r: '\r', '\\': '\\' };

function unescape(value: string): string {
  return value.replaceAll(/\\([snrt\\])/g, (whole, letter: string) => UNESCAPED[letter] ?? whole);
}
