/** Whether a host can boot what its image's initramfs demands of the files that an import has written. */
import type { Repository } from '../repository/repository.ts';
import { ImportError } from './errors.ts';
import { rootSettings } from './host-features.ts';

/** In a merged tree; the initramfs has a copy of the file. */
export const PREPARE_ROOT_FILES = ['usr/etc/ostree/prepare-root.conf', 'usr/lib/ostree/prepare-root.conf'] as const;

/**
 * With `[composefs] enabled = signed` only a commit that was signed boots, and a merge commit is made on the host; with
 * `verity` only objects that fs-verity seals, which imports do not. Such a machine would not come back.
 *
 * @throws {ImportError} `UnsupportedRoot`
 */
export async function requireSupportedRoot(repository: Repository, mergeCommit: string): Promise<void> {
  const composefs = (await rootSettings(repository, mergeCommit, PREPARE_ROOT_FILES))?.composefs;
  if (composefs !== 'signed' && composefs !== 'verity') return;
  const reason =
    composefs === 'signed'
      ? 'boots signed commits only, and the commit of an imported image is made on the host, where nobody signs it'
      : 'boots files sealed by fs-verity only, which imported ones are not';
  throw new ImportError(
    'UnsupportedRoot',
    `commit ${mergeCommit} has [composefs] enabled = ${composefs} in its prepare-root.conf: it ${reason}. Build the image with enabled = yes, and its initramfs anew.`,
  );
}

/**
 * What the host leaves in `/etc` for the system after it, such as its guard, is merged into the new `/etc`; a transient one is made
 * of the image alone. ostree-prepare-root(1)
 *
 * @throws {ImportError} `UnsupportedRoot`
 */
export async function requireLastingEtc(repository: Repository, mergeCommit: string): Promise<void> {
  if ((await rootSettings(repository, mergeCommit, PREPARE_ROOT_FILES))?.transientEtc !== true) return;
  throw new ImportError(
    'UnsupportedRoot',
    `commit ${mergeCommit} has [etc] transient = true in its prepare-root.conf: the guard of spec.health.hostRollback would be gone when it boots. Take hostRollback out of the OSImage, or build the image without that setting, and its initramfs anew.`,
  );
}
