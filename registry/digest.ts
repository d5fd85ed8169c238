/** Content addresses. Only sha256: the one algorithm that every registry must know and that OSTree itself uses. */
import { hash } from 'node:crypto';

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** The `sha256:<hex>` digest of some bytes. */
export function digestOf(bytes: Buffer | string): string {
  return `sha256:${hash('sha256', bytes, 'hex')}`;
}

/** The 64 hex digits of a digest. */
export function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}
