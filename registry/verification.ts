/** Size and digest of a stream, checked while it passes: no second pass, no copy. */
import { createHash } from 'node:crypto';
import { digestOf } from './digest.ts';
import { RegistryError } from './errors.ts';
import type { Descriptor } from './oci.ts';

/** Follows one blob's bytes, in order. */
export class BlobVerifier {
  readonly #hash = createHash('sha256');
  readonly #descriptor: Descriptor;
  readonly #where: string;
  #received = 0;

  /** @param where for messages: the image or registry the blob belongs to. */
  constructor(descriptor: Descriptor, where: string) {
    this.#descriptor = descriptor;
    this.#where = where;
  }

  /** Bytes so far. */
  get received(): number {
    return this.#received;
  }

  /** @throws RegistryError `SizeMismatch` when there are more bytes than promised. */
  update(chunk: Buffer): void {
    this.#received += chunk.length;
    if (this.#received > this.#descriptor.size) throw this.sizeMismatch('longer');
    this.#hash.update(chunk);
  }

  /** @throws RegistryError `SizeMismatch`, `DigestMismatch` */
  finish(): void {
    if (this.#received !== this.#descriptor.size) throw this.sizeMismatch(`only ${this.#received} bytes long`);
    const actual = `sha256:${this.#hash.digest('hex')}`;
    if (actual !== this.#descriptor.digest) throw digestMismatch('Blob', this.#descriptor.digest, actual, this.#where);
  }

  sizeMismatch(how: string): RegistryError {
    return new RegistryError(
      'SizeMismatch',
      `Blob ${this.#descriptor.digest} of ${this.#where} is ${how}, its manifest says ${this.#descriptor.size} bytes: it is damaged there; push the image again.`,
    );
  }
}

/**
 * Checks a whole document.
 * @throws RegistryError `SizeMismatch`, `DigestMismatch`
 */
export function verifyDocument(bytes: Buffer, expected: { digest: string; size?: number }, where: string): void {
  if (expected.size !== undefined && bytes.length !== expected.size) {
    throw new RegistryError(
      'SizeMismatch',
      `Manifest ${expected.digest} of ${where} has ${bytes.length} bytes instead of ${expected.size}: it is damaged there; push the image again.`,
    );
  }
  const actual = digestOf(bytes);
  if (actual !== expected.digest) throw digestMismatch('Manifest', expected.digest, actual, where);
}

function digestMismatch(what: string, expected: string, actual: string, where: string): RegistryError {
  return new RegistryError(
    'DigestMismatch',
    `${what} ${expected} of ${where} has the wrong content (its digest is ${actual}): it was damaged or tampered with; nothing of it is used.`,
  );
}
