/**
 * Asks a repository for signatures, and where that has none or does not answer, the mirrors of the image. Signatures prove
 * themselves, so it does not matter whose copy is read.
 */
import { RegistryError } from '../errors.ts';
import type { RegistryOptions } from '../options.ts';
import { parseRepositoryName, type RegistryName } from '../registry-name.ts';

type Place = Pick<RegistryName, 'host' | 'repository'>;

/**
 * @param hasAny whether an answer has any; the first that has is returned, else that of the repository itself.
 * @throws RegistryError of the repository itself, if no mirror has any: that they have none does not mean that there are none.
 */
export async function askWithMirrors<T>(
  repository: Place,
  { mirrors = [], onWarning }: RegistryOptions,
  ask: (place: Place) => Promise<T>,
  hasAny: (answer: T) => boolean,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (mirrors.length === 0) return await ask(repository);
  const own = await attempt(() => ask(repository), signal);
  if (!(own instanceof RegistryError) && hasAny(own)) return own;
  for (const mirror of mirrors) {
    const answer = await attempt(() => ask(parseRepositoryName(mirror)), signal);
    if (answer instanceof RegistryError)
      onWarning?.(`the mirror ${mirror} cannot be asked for signatures: ${answer.message.replace(/\.$/, '')}`);
    else if (hasAny(answer)) return answer;
  }
  if (own instanceof RegistryError) throw own;
  return own;
}

async function attempt<T>(ask: () => Promise<T>, signal: AbortSignal | undefined): Promise<T | RegistryError> {
  try {
    return await ask();
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof RegistryError) return error;
    throw error;
  }
}
