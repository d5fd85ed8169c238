/**
 * Names without a host. They are refused, because which registry would answer for one depends on the machine that asks;
 * the refusal says what the machine's configuration would make of it.
 */
import { printable, RegistryError } from './errors.ts';
import type { RegistriesConfiguration } from './registries-conf.ts';
import { parseRegistryName, type RegistryName } from './registry-name.ts';

/**
 * Parses the name of an image on a registry.
 * @throws RegistryError `InvalidReference`; for a short name with the full names that would be tried.
 */
export function parseFullName(text: string, configuration: RegistriesConfiguration | undefined): RegistryName {
  try {
    return parseRegistryName(text);
  } catch (error) {
    const candidates = configuration === undefined ? [] : fullNames(text, configuration);
    if (!(error instanceof RegistryError) || candidates.length === 0) throw error;
    throw error.withNote(`by registries.conf it could mean ${printable(candidates.join(' or '))}: choose one`);
  }
}

/** The full names that other tools would try for a short one, in order; none for what is no short name at all. */
function fullNames(text: string, { aliases, searched }: RegistriesConfiguration): readonly string[] {
  const [, path = '', rest = ''] = /^([^:@]*)(.*)$/s.exec(text) ?? [];
  const alias = aliases.get(path);
  const names = alias === undefined ? searched.map((host) => `${host}/${path}${rest}`) : [`${alias}${rest}`];
  return names.filter((name) => {
    try {
      // A host in front makes a full name of a short one, and of nothing else.
      return parseRegistryName(name).repository.endsWith(path.split('/').at(-1) ?? '');
    } catch {
      return false;
    }
  });
}
