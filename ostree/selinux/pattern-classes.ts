/** Named sets of bytes in regular expressions, as PCRE2 has them in the C locale. pcre2pattern(3). */
import { ByteSet } from './byte-set.ts';

/** What a dot matches: with DOTALL, a newline as well. */
export const ANY = new ByteSet().negated();

const DIGIT = ByteSet.ranges('09');
const SPACE = ByteSet.of(0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d);
const WORD = ByteSet.ranges('az', 'AZ', '09', '__');
const HORIZONTAL = ByteSet.of(0x09, 0x20, 0xa0);
const VERTICAL = ByteSet.of(0x0a, 0x0b, 0x0c, 0x0d, 0x85);
const NEWLINE = ByteSet.of(0x0a);

/** By the letter after the backslash. */
export const BYTE_CLASSES: ReadonlyMap<string, ByteSet> = new Map([
  ['d', DIGIT],
  ['D', DIGIT.negated()],
  ['s', SPACE],
  ['S', SPACE.negated()],
  ['w', WORD],
  ['W', WORD.negated()],
  ['h', HORIZONTAL],
  ['H', HORIZONTAL.negated()],
  ['v', VERTICAL],
  ['V', VERTICAL.negated()],
  ['N', NEWLINE.negated()],
]);

export const CONTROL_ESCAPES: ReadonlyMap<string, number> = new Map([
  ['a', 0x07],
  ['e', 0x1b],
  ['f', 0x0c],
  ['n', 0x0a],
  ['r', 0x0d],
  ['t', 0x09],
]);

/** By the name in `[:name:]`. */
export const POSIX_CLASSES: ReadonlyMap<string, ByteSet> = new Map([
  ['alpha', ByteSet.ranges('az', 'AZ')],
  ['lower', ByteSet.ranges('az')],
  ['upper', ByteSet.ranges('AZ')],
  ['alnum', ByteSet.ranges('az', 'AZ', '09')],
  ['ascii', ByteSet.ranges('\0\x7f')],
  ['blank', ByteSet.ranges('\t\t', '  ')],
  ['cntrl', ByteSet.ranges('\0\x1f', '\x7f\x7f')],
  ['digit', DIGIT],
  ['graph', ByteSet.ranges('!~')],
  ['print', ByteSet.ranges(' ~')],
  ['punct', ByteSet.ranges('!/', ':@', '[`', '{~')],
  ['space', SPACE],
  ['word', WORD],
  ['xdigit', ByteSet.ranges('09', 'af', 'AF')],
]);
