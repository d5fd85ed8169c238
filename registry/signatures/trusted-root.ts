/** `trusted_root.json`: the certificate authorities and logs that are believed, as sigstore's tools and its TUF repository have it. */
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { reasonOf } from '../errors.ts';
import { SignatureError } from './errors.ts';
import { parseStrictJson } from './strict-json.ts';

const TRUSTED_ROOT_TYPE = /^application\/vnd\.dev\.sigstore\.trustedroot(\+json;version=0\.1|\.v0\.[12]\+json)$/;

/**
 * What is made of a trusted root.
 * @param where for messages.
 * @param use throws an Error with a short reason ("names no …") for a root that does not serve.
 * @throws SignatureError `InvalidSignaturePolicy`
 */
export function useTrustedRoot<T>(text: string, where: string, use: (root: TrustedRoot) => T): T {
  try {
    return use(parse(text));
  } catch (cause) {
    throw new SignatureError(
      'InvalidSignaturePolicy',
      `The trusted root of ${where} ${reasonOf(cause)}: give a trusted_root.json, as "cosign trusted-root create" or the TUF repository of sigstore has it.`,
      { cause },
    );
  }
}

/** @throws Error with such a reason for what `make` throws: keys and certificates that cannot be read. */
export function orUnusable<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new Error(`cannot be used (${reasonOf(cause)})`, { cause });
  }
}

function parse(text: string): TrustedRoot {
  let root: TrustedRoot;
  try {
    root = TrustedRoot.fromJSON(parseStrictJson(text));
  } catch (cause) {
    throw new Error(`cannot be read (${reasonOf(cause)})`, { cause });
  }
  if (!TRUSTED_ROOT_TYPE.test(root.mediaType))
    throw new Error(`is of type ${JSON.stringify(root.mediaType.slice(0, 80))}`);
  return root;
}
