/** Which of two versions of a package is the newer one, by the rules of its package manager. */
import type { PackageManager } from './installed-package.ts';

type Order = (a: string, b: string) => number;

/** Negative if `a` is older than `b`, positive if it is newer; undefined where the manager's rules are not known here. */
export function compareVersions(manager: PackageManager, a: string, b: string): number | undefined {
  switch (manager) {
    case 'dpkg':
      return byParts(a, b, compareDpkgPart);
    case 'rpm':
      return byParts(a, b, compareRpmPart);
    case 'apk':
    case 'pacman':
      return undefined;
  }
}

/** Epoch, upstream's version, and the distribution's revision, each of which decides if it differs. */
function byParts(a: string, b: string, order: Order): number {
  const [left, right] = [splitVersion(a), splitVersion(b)];
  return left.epoch - right.epoch || order(left.version, right.version) || order(left.revision, right.revision);
}

function splitVersion(text: string): { epoch: number; version: string; revision: string } {
  const [, epoch = '0', rest = text] = /^(\d+):(.*)$/s.exec(text) ?? [];
  const dash = rest.lastIndexOf('-');
  const [version, revision] = dash < 0 ? [rest, ''] : [rest.slice(0, dash), rest.slice(dash + 1)];
  return { epoch: Number(epoch), version, revision };
}

/** deb-version(7), "Sorting algorithm". */
function compareDpkgPart(a: string, b: string): number {
  let [left, right] = [a, b];
  while (left !== '' || right !== '') {
    const [leftText = '', rightText = ''] = [/^\D*/.exec(left)?.[0], /^\D*/.exec(right)?.[0]];
    for (let at = 0; at < Math.max(leftText.length, rightText.length); at++) {
      const difference = dpkgWeight(leftText[at]) - dpkgWeight(rightText[at]);
      if (difference !== 0) return difference;
    }
    [left, right] = [left.slice(leftText.length), right.slice(rightText.length)];
    const [leftDigits = '', rightDigits = ''] = [/^\d*/.exec(left)?.[0], /^\d*/.exec(right)?.[0]];
    const difference = compareDigits(leftDigits, rightDigits);
    if (difference !== 0) return difference;
    [left, right] = [left.slice(leftDigits.length), right.slice(rightDigits.length)];
  }
  return 0;
}

/** A tilde comes before the end, that before letters, and these before everything else. */
function dpkgWeight(character: string | undefined): number {
  if (character === undefined) return 0;
  if (character === '~') return -1;
  const code = character.codePointAt(0) ?? 0;
  return /[A-Za-z]/.test(character) ? code : code + 256;
}

/** rpm-version(7): runs of digits or of letters are compared; digits are newer than letters, and more of them than fewer. */
function compareRpmPart(a: string, b: string): number {
  const [left, right] = [rpmRuns(a), rpmRuns(b)];
  for (let at = 0; ; at++) {
    const [one, other] = [left[at], right[at]];
    if (one === other) {
      if (one === undefined) return 0;
      continue;
    }
    // Before everything else, also before the end.
    if (one === '~' || other === '~') return one === '~' ? -1 : 1;
    // After the end, before everything else.
    if (one === '^') return other === undefined ? 1 : -1;
    if (other === '^') return one === undefined ? -1 : 1;
    if (one === undefined || other === undefined) return one === undefined ? -1 : 1;
    const [isNumber, isOtherNumber] = [/^\d/.test(one), /^\d/.test(other)];
    if (isNumber !== isOtherNumber) return isNumber ? 1 : -1;
    const difference = isNumber ? compareDigits(one, other) : one < other ? -1 : 1;
    if (difference !== 0) return difference;
  }
}

function rpmRuns(text: string): readonly string[] {
  return text.match(/\d+|[A-Za-z]+|[~^]/g) ?? [];
}

/** Digits as numbers of any length. */
function compareDigits(a: string, b: string): number {
  const [left, right] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
}
