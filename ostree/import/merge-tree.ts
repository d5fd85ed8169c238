/**
 * Lays the trees of derived layers over the base's, in memory: no checkout, no re-reading of content.
 *
 * The rules are those of a checkout with `--union --whiteouts`, ostree-checkout(1), so that every importer makes the
 * same tree of the same image, but for one: owner, mode and attributes that a layer gives to a directory which exists.
 * A checkout loses them; containers see them, and so do our hosts, unless they are asked for the other.
 */
import { isSymlink } from '../objects/file-header.ts';
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import type { DirectoryMarks } from './directory-marks.ts';
import { ImportError } from './errors.ts';

/** Whose metadata a directory of several layers has: that of the last layer with an entry for it, or of the lowest. */
export type DirectoryMetadataRule = 'layer' | 'base';

const WHITEOUT_PREFIX = '.wh.';
const OPAQUE_WHITEOUT = '.wh..wh..opq';
/** Container builds bind-mount these, and the empty mount points end up in the image. */
const BUILD_RESIDUE = ['hostname', 'resolv.conf'] as const;

/**
 * Applies one layer to `tree`. The root directory keeps its metadata in any case: archives made of a temporary directory
 * say that it is private to its owner, and a host with such a root would not come up.
 *
 * @throws {ImportError} `InvalidLayer` for a whiteout of nothing.
 */
export function applyLayer(
  repository: Repository,
  tree: TreeDirectory,
  layer: TreeDirectory,
  marks: DirectoryMarks,
  rule: DirectoryMetadataRule,
): void {
  const explicit = marks.next();
  applyDirectory({ repository, marks, rule }, tree, layer, rule === 'base' || explicit);
  marks.finish();
}

interface Layer {
  readonly repository: Repository;
  readonly marks: DirectoryMarks;
  readonly rule: DirectoryMetadataRule;
}

/** @param resets whether an opaque whiteout replaces the metadata of the directory too */
function applyDirectory(context: Layer, tree: TreeDirectory, layer: TreeDirectory, resets: boolean): void {
  const { repository, marks, rule } = context;
  if (isOpaque(layer)) {
    for (const name of [...tree.files.keys(), ...tree.directories.keys()]) tree.remove(name);
    if (resets) tree.dirmeta = layer.dirmeta;
  }
  const whiteouts = new Set<string>();
  for (const [name, checksum] of layer.files) {
    if (name.startsWith(WHITEOUT_PREFIX) && isRegular(repository, checksum)) whiteouts.add(name);
  }
  // A whiteout hides what lower layers have, never what its own layer brings: OCI image spec, "Whiteouts".
  for (const whiteout of whiteouts) {
    const hidden = whiteout.slice(WHITEOUT_PREFIX.length);
    if (hidden === '') throw new ImportError('InvalidLayer', 'a whiteout names no file');
    if (whiteout !== OPAQUE_WHITEOUT) tree.remove(hidden);
  }
  for (const [name, checksum] of layer.files) {
    if (!whiteouts.has(name)) tree.setFile(name, checksum);
  }
  for (const [name, directory] of layer.directories) {
    const target = tree.ensureDirectory(name, directory.dirmeta);
    const explicit = marks.next();
    if (rule === 'layer' && explicit) target.dirmeta = directory.dirmeta;
    applyDirectory(context, target, directory, rule === 'base' || explicit);
  }
}

/** Removes what container builds leave behind in /etc. */
export function removeBuildResidue(repository: Repository, tree: TreeDirectory): void {
  const etc = tree.lookup('usr/etc');
  if (!(etc instanceof TreeDirectory)) return;
  for (const name of BUILD_RESIDUE) {
    const checksum = etc.files.get(name);
    if (checksum === undefined) continue;
    using file = repository.openFile(checksum);
    if (!isSymlink(file.header) && file.size === 0) etc.remove(name);
  }
}

function isOpaque(layer: TreeDirectory): boolean {
  return layer.files.has(OPAQUE_WHITEOUT);
}

function isRegular(repository: Repository, checksum: string): boolean {
  using file = repository.openFile(checksum);
  return !isSymlink(file.header);
}
