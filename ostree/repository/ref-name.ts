/**
 * Names of refs, and the escaping by which any string (an image reference, a blob digest) becomes one. The escaping is
 * that of the ostree-container format, so that other tools find what we store.
 */
import { OstreeError } from '../errors.ts';

// libostree: each segment starts with a word character, then also '-' and '.' may follow.
const REF_NAME = /^\w[-.\w]*(?:\/\w[-.\w]*)*$/;

/** Throws InvalidRef unless libostree accepts `name`. */
export function assertRefName(name: string): void {
  if (!REF_NAME.test(name)) {
    throw new OstreeError('InvalidRef', `${JSON.stringify(name.slice(0, 200))} cannot be the name of an OSTree ref`);
  }
}

/** Escapes `text` into one ref path. Throws InvalidRef if it is empty or contains NUL. */
export function escapeRefPath(text: string): string {
  if (text === '' || text.includes('\0') || !text.isWellFormed()) {
    throw new OstreeError('InvalidRef', 'an empty text, or one with NUL, cannot be escaped into an OSTree ref');
  }
  const characters = Array.from(text);
  let escaped = '';
  let afterAlphanumeric = false;
  for (const [index, character] of characters.entries()) {
    const alphanumeric = /^[A-Za-z0-9]$/.test(character);
    if (
      alphanumeric ||
      character === '-' ||
      (character === '/' && afterAlphanumeric && index < characters.length - 1)
    ) {
      escaped += character;
    } else if (character === '_') {
      escaped += '__';
    } else {
      const code = character.codePointAt(0) ?? 0;
      escaped += `_${code.toString(16).toUpperCase().padStart(2, '0')}_`;
    }
    afterAlphanumeric = alphanumeric;
  }
  return escaped;
}

/** The inverse of `escapeRefPath`. Throws InvalidRef if `escaped` is not something that it returns. */
export function unescapeRefPath(escaped: string): string {
  let text = '';
  for (let position = 0; position < escaped.length; position++) {
    const character = escaped.charAt(position);
    if (/[A-Za-z0-9/-]/.test(character)) {
      text += character;
      continue;
    }
    const end = character === '_' ? escaped.indexOf('_', position + 1) : -1;
    const hex = escaped.slice(position + 1, end);
    if (end < 0 || !/^(?:[0-9A-Fa-f]{1,6})?$/.test(hex)) throw notEscaped(escaped);
    const code = hex === '' ? 0x5f : Number.parseInt(hex, 16);
    if (code > 0x10ffff) throw notEscaped(escaped);
    text += String.fromCodePoint(code);
    position = end;
  }
  return text;
}

function notEscaped(escaped: string): OstreeError {
  return new OstreeError('InvalidRef', `${JSON.stringify(escaped.slice(0, 200))} is not an escaped ref path`);
}
