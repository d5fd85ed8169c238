/** Refs by which we keep a commit, and the layers of its image, from every tool's clean-up. */
import type { Repository } from '../repository/repository.ts';
import { guardRef } from './store-refs.ts';

/** Protects `checksum` under `name`, or with undefined lifts that protection. Idempotent. */
export async function setGuardRef(repository: Repository, name: string, checksum: string | undefined): Promise<void> {
  await repository.setRef(guardRef(name), checksum);
}
