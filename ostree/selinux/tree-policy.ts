/** The SELinux policy that lies in a tree: the one that its files are to be labelled by. */
import { lookup, type VariantDictionary } from '../gvariant/value.ts';
import { isSymlink } from '../objects/file-header.ts';
import type { StoredFile } from '../repository/stored-file.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import { CommitLabels, type LabelEpoch } from './commit-labels.ts';
import { PolicyError } from './errors.ts';
import { FileLabels } from './file-labels.ts';
import { parsePolicyConfig } from './policy-config.ts';

/** Where content objects are read from: a Repository. */
export interface FileSource {
  openFile(checksum: string): StoredFile;
}

/** libostree prefers the first, which a commit has not. */
const POLICY_ROOTS = ['etc/selinux', 'usr/etc/selinux'] as const;
/** The largest policies in use have half a megabyte. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** Key of a commit's metadata. ostree-commit(1), --selinux-labeling-epoch. */
export const LABEL_EPOCH_KEY = 'ostree.selinux-label-epoch';

/** The last policy that was prepared. Layers of an image are imported one after the other, with the same policy. */
let latest: { readonly key: string; readonly labels: FileLabels } | undefined;

/**
 * Reads the policy of a tree, or returns undefined if the tree has none or has disabled it. Compiled file contexts
 * (`.bin`) are not read: they say what the texts beside them say.
 *
 * @throws {PolicyError} `InvalidPolicy`, `UnsupportedPattern`
 */
export function readTreePolicy(source: FileSource, tree: TreeDirectory, epoch: LabelEpoch): CommitLabels | undefined {
  const root = POLICY_ROOTS.map((path) => tree.lookup(path)).find((found) => found instanceof TreeDirectory);
  const config = root?.files.get('config');
  if (!(root instanceof TreeDirectory) || config === undefined) return undefined;
  const name = parsePolicyConfig(readText(source, config, 'config'));
  if (name === undefined) return undefined;
  const found = root.lookup(`${name}/contexts/files`);
  const files = found instanceof TreeDirectory ? found.files : new Map<string, string>();
  const base = files.get('file_contexts');
  if (base === undefined) {
    throw new PolicyError('InvalidPolicy', `selinux/${name}/contexts/files/file_contexts is missing or not a file`);
  }
  const names = ['file_contexts.homedirs', 'file_contexts.local', 'file_contexts.subs', 'file_contexts.subs_dist'];
  const checksums = [base, ...names.map((name) => files.get(name))];
  const key = checksums.join();
  if (latest?.key === key) return new CommitLabels(latest.labels, epoch);
  const read = (name: string): string | undefined => {
    const checksum = files.get(name);
    return checksum === undefined ? undefined : readText(source, checksum, name);
  };
  const labels = new FileLabels({
    fileContexts: readText(source, base, 'file_contexts'),
    homedirs: read('file_contexts.homedirs'),
    local: read('file_contexts.local'),
    subs: read('file_contexts.subs'),
    subsDist: read('file_contexts.subs_dist'),
  });
  latest = { key, labels };
  return new CommitLabels(labels, epoch);
}

/** By which rule a commit says that its own files were labelled. */
export function labelEpochOf(metadata: VariantDictionary): LabelEpoch {
  const epoch = lookup(metadata, LABEL_EPOCH_KEY)?.value;
  return Number(epoch ?? 0) >= 1 ? 1 : 0;
}

function readText(source: FileSource, checksum: string, name: string): string {
  using file = source.openFile(checksum);
  if (isSymlink(file.header)) {
    throw new PolicyError('InvalidPolicy', `selinux file ${name} is a symbolic link, which is not followed`);
  }
  if (file.size > MAX_FILE_BYTES) {
    throw new PolicyError('InvalidPolicy', `selinux file ${name} has ${file.size} bytes, more than any real policy`);
  }
  return file.readAll().toString('latin1');
}
