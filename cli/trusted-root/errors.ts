/** Why no trusted root could be had from a TUF repository, in a sentence for whoever wanted to renew one. */

/**
 * - `MirrorUnreachable`: no connection, or no answer that is of use; try again, or ask another mirror.
 * - `MetadataExpired`: frozen: what the repository says was good until a time that has passed.
 * - `MetadataRolledBack`: it says less than it has said before, or its parts do not belong together.
 * - `MetadataNotSigned`: too few of the keys that root.json names have signed.
 * - `TargetChanged`: the bytes are not those that were signed.
 * - `TooLarge`: an answer goes on beyond what was signed, or beyond any bound.
 * - `TargetMissing`: the repository is good, and has no trusted_root.json.
 * - `InvalidMetadata`: what the mirror gives out is no TUF metadata.
 */
export type TrustedRootErrorCode =
  | 'MirrorUnreachable'
  | 'MetadataExpired'
  | 'MetadataRolledBack'
  | 'MetadataNotSigned'
  | 'TargetChanged'
  | 'TooLarge'
  | 'TargetMissing'
  | 'InvalidMetadata';

export class TrustedRootError extends Error {
  override readonly name = 'TrustedRootError';
  readonly code: TrustedRootErrorCode;

  constructor(code: TrustedRootErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The libraries pass some failures on as text alone, and name no classes that could be told apart: their words are what there is. */
const REFUSALS: readonly (readonly [TrustedRootErrorCode, RegExp, string])[] = [
  [
    'MetadataExpired',
    /is expired/,
    'has expired: the mirror lags, its owner has not renewed it, or the clock of this machine is wrong. What is pinned stays as good as it was; ask again later, or ask another mirror.',
  ],
  [
    'MetadataNotSigned',
    /was signed by \d+\/\d+ keys/,
    'is not signed by as many keys as its root.json asks for: somebody has changed it, or --root is that of another repository. Take nothing from it before its owner has explained it.',
  ],
  [
    'MetadataRolledBack',
    /is less than current version|in new snapshot|match timestamp|match snapshot version|^Expected version/m,
    'is older than what it gave out before, or its parts do not belong together: the mirror lags, or somebody plays back what was true once. Ask its owner, or another mirror.',
  ],
  [
    'TargetChanged',
    /Expected (length|hash)/,
    'names other bytes than the mirror gives out: they were changed on the way. Ask another mirror.',
  ],
  [
    'TooLarge',
    /Max length reached|exceeded max size/,
    'is, or leads to, more bytes than were signed or than any sigstore has: check the URL of the mirror, or ask another.',
  ],
  [
    'TargetMissing',
    /target .* not found/,
    'names no trusted_root.json: that is no repository of a sigstore, or one from before there were trusted roots.',
  ],
];

/**
 * What a failure of the TUF libraries means.
 * @param mirror its URL.
 */
export function refusalOf(error: unknown, mirror: string): TrustedRootError {
  const said = wordsOf(error).join('\n');
  const [code, , meaning] = REFUSALS.find(([, words]) => words.test(said)) ?? [
    'InvalidMetadata',
    /./,
    'cannot be understood: check the URL of the mirror.',
  ];
  const reason = (wordsOf(error).at(-1) ?? '').replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, 200);
  return new TrustedRootError(code, `The TUF metadata of ${mirror} ${meaning} (${reason})`, { cause: error });
}

function wordsOf(error: unknown): readonly string[] {
  if (!(error instanceof Error)) return [String(error)];
  return [error.message, ...(error.cause === undefined ? [] : wordsOf(error.cause))];
}
