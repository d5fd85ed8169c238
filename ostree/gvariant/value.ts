/**
 * GVariant values as JavaScript values. Dictionaries stay ordered lists of entries, because in OSTree the order of the
 * entries is part of a checksum.
 */

/** A value together with its type string, as `v` carries it. */
export interface Variant {
  readonly type: string;
  readonly value: GVariantValue;
}

/**
 * | GVariant type        | JavaScript                                        |
 * | -------------------- | ------------------------------------------------- |
 * | `b`                  | boolean                                           |
 * | `y` `n` `q` `i` `u`  | number                                            |
 * | `x` `t`              | bigint                                            |
 * | `d`                  | number                                            |
 * | `s` `o` `g`          | string                                            |
 * | `ay`                 | Buffer                                            |
 * | `v`                  | Variant                                           |
 * | `a…`, `(…)`, `{…}`   | list of members                                   |
 * | `m…`                 | null, or a list with the one value                |
 */
export type GVariantValue = boolean | number | bigint | string | Buffer | Variant | null | readonly GVariantValue[];

/** An `a{sv}`. */
export type VariantDictionary = readonly (readonly [key: string, value: Variant])[];

/** Makes the kinds of variants that commit metadata consists of. */
export const variant = {
  string: (value: string): Variant => ({ type: 's', value }),
  boolean: (value: boolean): Variant => ({ type: 'b', value }),
  strings: (value: readonly string[]): Variant => ({ type: 'as', value }),
  bytes: (value: Buffer): Variant => ({ type: 'ay', value }),
  dictionary: (value: VariantDictionary): Variant => ({ type: 'a{sv}', value }),
};

/** The first entry named `key`, as `g_variant_lookup` finds it. */
export function lookup(dictionary: VariantDictionary, key: string): Variant | undefined {
  return dictionary.find(([name]) => name === key)?.[1];
}

/** The string under `key`; undefined if there is none or it is of another type. */
export function lookupString(dictionary: VariantDictionary, key: string): string | undefined {
  const found = lookup(dictionary, key);
  return found?.type === 's' && typeof found.value === 'string' ? found.value : undefined;
}

/** The boolean under `key`; undefined if there is none or it is of another type. */
export function lookupBoolean(dictionary: VariantDictionary, key: string): boolean | undefined {
  const found = lookup(dictionary, key);
  return found?.type === 'b' && typeof found.value === 'boolean' ? found.value : undefined;
}

/** The list of strings under `key`; undefined if there is none or it is of another type. */
export function lookupStrings(dictionary: VariantDictionary, key: string): readonly string[] | undefined {
  const found = lookup(dictionary, key);
  if (found?.type !== 'as' || !Array.isArray(found.value)) return undefined;
  return found.value.filter((item) => typeof item === 'string');
}
