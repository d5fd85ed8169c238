/** What the host's own libostree, and the base image, mean for the conversion of derived layers. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { systemErrorCode } from '../errors.ts';
import { keyFileBoolean, parseKeyFile } from '../repository/key-file.ts';
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';

const run = promisify(execFile);

/** First libostree that populates /var from a commit; before it, /var in a commit was an error to deploy. */
const VAR_IN_COMMITS_SINCE = { year: 2024, release: 3 } as const;
/** Values of `[composefs] enabled` that leave the root directory free to hold anything. ostree-prepare-root(1). */
const COMPOSEFS_ENABLED: ReadonlySet<string> = new Set(['yes', 'true', '1', 'maybe', 'signed', 'verity']);
const PREPARE_ROOT_PATHS = ['etc/ostree/prepare-root.conf', 'usr/lib/ostree/prepare-root.conf'] as const;
/** A real file has a few lines. */
const MAX_CONFIG_BYTES = 64 * 1024;

/** Whether the host deploys commits with content in /var. Without an `ostree` command we assume a recent one. */
export async function hostRetainsVar(signal?: AbortSignal): Promise<boolean> {
  let output: string;
  try {
    output = (await run('ostree', ['--version'], { signal })).stdout;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return true;
    throw error;
  }
  return retainsVar(output);
}

/** The same from the text that `ostree --version` prints. */
export function retainsVar(versionOutput: string): boolean {
  const match = /Version:\s*'?(\d{4})\.(\d+)/.exec(versionOutput);
  if (match === null) return true;
  const [year, release] = [Number(match[1]), Number(match[2])];
  return (
    year > VAR_IN_COMMITS_SINCE.year || (year === VAR_IN_COMMITS_SINCE.year && release >= VAR_IN_COMMITS_SINCE.release)
  );
}

/** How the initramfs of an image is to make the root directory. ostree-prepare-root(1) */
export interface RootSettings {
  /** What is written to the root directory is gone with the next boot. */
  readonly transient: boolean;
  /** So is what is written to `/etc`; it begins with what is in the image. */
  readonly transientEtc: boolean;
  /** `[composefs] enabled`, as it stands there. */
  readonly composefs?: string;
}

/** The settings in the tree of `commit`, by the first of `paths` that there is; undefined when there is none. */
export async function rootSettings(
  repository: Repository,
  commit: string,
  paths: readonly string[] = PREPARE_ROOT_PATHS,
): Promise<RootSettings | undefined> {
  const tree = TreeDirectory.load(repository, repository.readCommit(commit));
  for (const path of paths) {
    const checksum = tree.lookup(path);
    if (typeof checksum !== 'string') continue;
    using file = repository.openFile(checksum);
    if (file.size > MAX_CONFIG_BYTES) return undefined;
    const pieces: Buffer[] = [];
    for await (const piece of file.content()) pieces.push(piece);
    return parseRootSettings(Buffer.concat(pieces).toString());
  }
  return undefined;
}

/** The settings in the text of a `prepare-root.conf`. */
export function parseRootSettings(text: string): RootSettings {
  const config = parseKeyFile(text);
  const composefs = config.get('composefs')?.get('enabled');
  return {
    transient: keyFileBoolean(config, 'root', 'transient', false),
    transientEtc: keyFileBoolean(config, 'etc', 'transient', false),
    ...(composefs !== undefined && { composefs }),
  };
}

/** Whether the base commit's root may hold toplevels other than usr, etc and var. */
export async function allowsNonUsr(repository: Repository, baseCommit: string): Promise<boolean> {
  const settings = await rootSettings(repository, baseCommit);
  return settings !== undefined && (settings.transient || COMPOSEFS_ENABLED.has(settings.composefs ?? ''));
}

/** What of a derived layer on top of `base`, if there is one, the host takes. `retainVar`: whether it does, if that is known. */
export async function derivedOptions(
  options: { readonly repository: Repository; readonly retainVar?: boolean; readonly signal?: AbortSignal },
  base: string | undefined,
): Promise<{ allowNonUsr: boolean; retainVar: boolean }> {
  const { repository, retainVar, signal } = options;
  return {
    // An ordinary image brings its own root, and is meant for hosts that can deploy any.
    allowNonUsr: base === undefined || (await allowsNonUsr(repository, base)),
    retainVar: retainVar ?? (await hostRetainsVar(signal)),
  };
}
