/** How threads divide the objects of one layer among them. */

/**
 * Which part of a layer's objects a thread takes: those whose checksum modulo `of` is `index`. All threads read the
 * whole stream, which costs little; hashing and writing, which cost much, are shared.
 */
export interface Share {
  readonly index: number;
  readonly of: number;
}

/** All of it. */
export const WHOLE: Share = { index: 0, of: 1 };

/** Whether the object of that checksum belongs to the share. */
export function isInShare(checksum: string, { index, of }: Share): boolean {
  return of === 1 || Number.parseInt(checksum.slice(0, 2), 16) % of === index;
}
