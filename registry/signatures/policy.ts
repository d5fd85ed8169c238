/** Who must have signed an image: the policy that signatures are judged by, in memory, every key parsed. */
import { isDigest } from '../digest.ts';
import { SignatureError } from './errors.ts';
import { type KeylessIdentity, type KeylessText, parseKeyless } from './keyless.ts';
import { parsePublicKey, type PublicKey } from './public-key.ts';
import { parseTransparencyLog, type TransparencyLog, type TransparencyLogText } from './transparency-log.ts';

/** One party that signs: any of its keys will do, or any certificate of its identity. */
export interface Authority {
  readonly name: string;
  readonly keys: readonly PublicKey[];
  /** With keys: a log that must have seen the signature. */
  readonly transparencyLog?: TransparencyLog;
  /** Instead of keys: whose certificates count. */
  readonly keyless?: KeylessIdentity;
  /**
   * `host/repository` that its signatures must name; absent: the one that the image is fetched by. Sigstore bundles name
   * none: with this set they do not count, without it they count for their digest.
   */
  readonly signedRepository?: string;
}

export interface SignaturePolicy {
  /** Empty: nobody need have signed, and only what is denied is refused. */
  readonly authorities: readonly Authority[];
  /** Whether one authority is enough, or every one must have signed. */
  readonly match: 'Any' | 'All';
  /** Images that are refused however they are signed. */
  readonly deniedDigests: ReadonlySet<string>;
  /** Fingerprints of keys whose signatures no longer count. */
  readonly deniedKeys: ReadonlySet<string>;
}

/** The same as texts, as it stands in API objects and files. */
export interface SignaturePolicyText {
  readonly authorities: readonly {
    readonly name: string;
    readonly publicKeys?: readonly string[] | undefined;
    /** With keys. */
    readonly transparencyLog?: TransparencyLogText | undefined;
    /** Instead of keys. */
    readonly keyless?: KeylessText | undefined;
    readonly signedRepository?: string | undefined;
  }[];
  readonly match?: 'Any' | 'All' | undefined;
  readonly deniedDigests?: readonly string[] | undefined;
  readonly deniedKeys?: readonly string[] | undefined;
}

/**
 * @param where the object or file the policy stands in, for messages.
 * @throws SignatureError `InvalidSignaturePolicy`, `InvalidKey`
 */
export function parseSignaturePolicy(text: SignaturePolicyText, where: string): SignaturePolicy {
  const invalid = (problem: string): SignatureError =>
    new SignatureError('InvalidSignaturePolicy', `The signature policy of ${where} ${problem}.`);
  const names = new Set<string>();
  for (const { name, publicKeys = [], keyless, transparencyLog } of text.authorities) {
    if (names.has(name)) throw invalid(`names the authority ${JSON.stringify(name)} twice: give each its own name`);
    if (publicKeys.length === 0 && keyless === undefined)
      throw invalid(`gives the authority ${JSON.stringify(name)} no key`);
    if (publicKeys.length > 0 && keyless !== undefined)
      throw invalid(`gives the authority ${JSON.stringify(name)} both keys and keyless: make two authorities of them`);
    if (keyless !== undefined && transparencyLog !== undefined)
      throw invalid(
        `gives the authority ${JSON.stringify(name)} both keyless and transparencyLog: leave the second out, keyless asks for the logs that its root names`,
      );
    names.add(name);
  }
  const denied = [...(text.deniedDigests ?? []), ...(text.deniedKeys ?? [])].find((one) => !isDigest(one));
  if (denied !== undefined)
    throw invalid(`denies ${JSON.stringify(denied.slice(0, 80))}, which is not sha256: and 64 lower-case hex digits`);
  return {
    authorities: text.authorities.map((authority) => parseAuthority(authority, where)),
    match: text.match ?? 'Any',
    deniedDigests: new Set(text.deniedDigests),
    deniedKeys: new Set(text.deniedKeys),
  };
}

function parseAuthority(
  { name, publicKeys = [], keyless, transparencyLog, signedRepository }: SignaturePolicyText['authorities'][number],
  policy: string,
): Authority {
  const where = `authority ${name} of ${policy}`;
  return {
    name,
    keys: publicKeys.map((pem) => parsePublicKey(pem, where)),
    ...(keyless === undefined ? {} : { keyless: parseKeyless(keyless, where) }),
    ...(transparencyLog === undefined ? {} : { transparencyLog: parseTransparencyLog(transparencyLog, where) }),
    ...(signedRepository === undefined ? {} : { signedRepository }),
  };
}

/** The same policies, each with the denials of all: a key that one of them denies counts for none. */
export function withSharedDenials(policies: readonly SignaturePolicy[]): readonly SignaturePolicy[] {
  const deniedDigests = new Set(policies.flatMap((policy) => [...policy.deniedDigests]));
  const deniedKeys = new Set(policies.flatMap((policy) => [...policy.deniedKeys]));
  return policies.map((policy) => ({ ...policy, deniedDigests, deniedKeys }));
}
