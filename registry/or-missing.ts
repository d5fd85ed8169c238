import { RegistryError } from './errors.ts';

/** What `promise` gives, or undefined where the registry says that there is no such thing. */
export async function orMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NotFound') return undefined;
    throw error;
  }
}
