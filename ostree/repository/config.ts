/** A repository's `config` file: how its objects are stored, and how careful a writer has to be. ostree.repo-config(5). */
import { OstreeError } from '../errors.ts';
import { keyFileBoolean, parseKeyFile } from './key-file.ts';

export type RepositoryMode = 'bare' | 'bare-user' | 'archive';

/** What must stay free on the file system after every write. */
export type Reserve = { readonly percent: number } | { readonly bytes: number };

export interface RepositoryConfig {
  readonly mode: RepositoryMode;
  /** False for repositories that may be lost in a crash, such as those of a build. */
  readonly fsync: boolean;
  readonly locking: boolean;
  /** Milliseconds to wait for the repository's lock; infinite if the configuration says so. */
  readonly lockTimeoutMs: number;
  readonly reserve: Reserve;
  /** Every file must be sealed by fs-verity. */
  readonly sealed: boolean;
  /** A deleted commit leaves a tombstone. */
  readonly tombstoneCommits: boolean;
}

const DEFAULT_LOCK_TIMEOUT_S = 300;
const DEFAULT_RESERVE_PERCENT = 3;

const MODES = new Map<string, RepositoryMode>([
  ['bare', 'bare'],
  ['bare-user', 'bare-user'],
  ['archive', 'archive'],
  ['archive-z2', 'archive'],
]);

/** As libostree spells it; `maybe` asks for no more than an attempt. */
const TRISTATE_YES: ReadonlySet<string> = new Set(['yes', 'true', '1']);

/** The text of a new repository's `config`, equal to what `ostree init` writes. */
export function newConfigText(mode: RepositoryMode): string {
  return `[core]\nrepo_version=1\nmode=${mode === 'archive' ? 'archive-z2' : mode}\n`;
}

/** Reads `config`. Throws UnsupportedMode or UnsupportedConfig if we cannot work with the repository at `path`. */
export function parseConfig(text: string, path: string): RepositoryConfig {
  const file = parseKeyFile(text);
  const core = file.get('core');
  const version = core?.get('repo_version');
  if (version !== '1') {
    throw new OstreeError('NotARepository', `${path} is not an OSTree repository of version 1; check the path`);
  }
  const modeName = core?.get('mode') ?? 'bare';
  const mode = MODES.get(modeName);
  if (modeName === 'bare-user-only') {
    throw new OstreeError(
      'UnsupportedMode',
      `The repository ${path} has mode bare-user-only, which cannot keep the owners, setuid bits and attributes of an ` +
        'operating system; use one of mode bare, bare-user or archive',
    );
  }
  if (mode === undefined) {
    throw new OstreeError(
      'UnsupportedMode',
      `The repository ${path} has mode ${modeName}; use one of mode bare, bare-user or archive`,
    );
  }
  const parent = core?.get('parent') ?? '';
  if (parent !== '') {
    throw new OstreeError(
      'UnsupportedConfig',
      `The repository ${path} has some of its objects in ${parent} (core.parent in its config), where Treeline does not look; ` +
        `take the key out, then bring them over with \`ostree pull-local --repo=${path} ${parent}\``,
    );
  }
  const timeout = Number(core?.get('lock-timeout-secs') ?? DEFAULT_LOCK_TIMEOUT_S);
  return {
    mode,
    fsync: keyFileBoolean(file, 'core', 'fsync', true),
    locking: keyFileBoolean(file, 'core', 'locking', true),
    lockTimeoutMs: (Number.isFinite(timeout) && timeout >= 0 ? timeout : Number.POSITIVE_INFINITY) * 1000,
    sealed:
      TRISTATE_YES.has(file.get('ex-integrity')?.get('fsverity') ?? '') ||
      keyFileBoolean(file, 'ex-fsverity', 'required', false),
    tombstoneCommits: keyFileBoolean(file, 'core', 'tombstone-commits', false),
    reserve: parseReserve(core?.get('min-free-space-size'), core?.get('min-free-space-percent'), path),
  };
}

function parseReserve(size: string | undefined, percent: string | undefined, path: string): Reserve {
  if (size !== undefined) {
    const match = /^(\d+)([MGT])B$/.exec(size);
    const unit = { M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[match?.[2] ?? ''];
    if (unit !== undefined) return { bytes: Number(match?.[1]) * unit };
    throw new OstreeError('InvalidData', `min-free-space-size in ${path}/config is ${size}; write it as 500MB or 2GB`);
  }
  const value = percent === undefined ? DEFAULT_RESERVE_PERCENT : Number(percent);
  if (Number.isInteger(value) && value >= 0 && value <= 99) return { percent: value };
  throw new OstreeError('InvalidData', `min-free-space-percent in ${path}/config is not a number from 0 to 99`);
}

/** Refuses to write files that the repository would not count as its own. Throws UnsupportedConfig. */
export function requireWritable({ sealed }: RepositoryConfig, path: string): void {
  if (!sealed) return;
  throw new OstreeError(
    'UnsupportedConfig',
    `The repository ${path} wants every file sealed by fs-verity (ex-integrity.fsverity in its config), which Treeline cannot ` +
      'do; nothing was written. Set it to maybe, if unsealed files may be booted, or pull with the tools of the host',
  );
}
