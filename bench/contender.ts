/** The two that race: our `image pull` and the peer's. */
import type { ShippedBundle } from './shipped-bundle.ts';

export const CONTENDER_NAMES = ['treeline', 'ostree-ext'] as const;

export interface Contender {
  readonly name: (typeof CONTENDER_NAMES)[number];
  readonly command: string;
  /** `host` serves plain HTTP; `image` is a name and tag there. */
  parameters(repository: string, host: string, image: string): readonly string[];
}

/** Ours as it ships, with `flags` more. */
export function treelineContender(shipped: ShippedBundle, flags: readonly string[] = []): Contender {
  return {
    name: 'treeline',
    command: process.execPath,
    parameters: (repository, host, image) =>
      [shipped.entry, 'image', 'pull', ...flags, '--plain-http', host, '--repo', repository].concat(
        referenceTo(host, image),
      ),
  };
}

/** `command` is the program that tools/setup built from the pinned crate. */
export function peerContender(command: string): Contender {
  return {
    name: 'ostree-ext',
    command,
    parameters: (repository, host, image) =>
      'container image pull --insecure-skip-tls-verification --quiet'
        .split(' ')
        .concat(repository, referenceTo(host, image)),
  };
}

function referenceTo(host: string, image: string): string {
  return `ostree-unverified-registry:${host}/${image}`;
}
