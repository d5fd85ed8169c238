/** Labels for the files of a commit: a policy's, with libostree's own rules on top of it. */
import type { FileLabels } from './file-labels.ts';

/**
 * 1: `/usr/etc` is labelled as `/etc`, whatever the policy says about it. ostree-commit(1), --selinux-labeling-epoch.
 */
export type LabelEpoch = 0 | 1;

export class CommitLabels {
  readonly #labels: FileLabels;
  readonly #epoch: LabelEpoch;

  constructor(labels: FileLabels, epoch: LabelEpoch) {
    this.#labels = labels;
    this.#epoch = epoch;
  }

  /**
   * The label for a file, or undefined if it keeps what it has.
   *
   * @param path absolute, as it lies in the commit
   * @param mode with the file type
   * @throws {PolicyError} `UnsupportedPattern`, `TooExpensive`
   */
  lookup(path: string, mode: number): string | undefined {
    return this.#labels.lookup(this.#policyPath(path), mode);
  }

  #policyPath(path: string): string {
    // Policies have no label for /proc, because at run time it is a mount; the directory below it needs one.
    if (path === '/proc') return '/mnt';
    if (this.#epoch === 1 && /^\/usr\/etc(\/|$)/.test(path)) return path.slice('/usr'.length);
    return path;
  }
}
