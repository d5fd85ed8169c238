/** Reads the tree of a commit into memory: its files stay where they are, as objects of the repository. */
import { isSymlink } from '../objects/file-header.ts';
import type { Repository } from '../repository/repository.ts';
import type { TreeReference } from '../tree/tree-directory.ts';
import type { DirectoryNode, TreeNode } from './tree-node.ts';

/** Throws MissingObject or CorruptObject. */
export function loadTree(repository: Repository, { dirtree, dirmeta }: TreeReference): DirectoryNode {
  const { files, directories } = repository.readDirtree(dirtree);
  const entries = new Map<string, TreeNode>();
  for (const { name, checksum } of files) entries.set(name, loadFile(repository, checksum));
  for (const { name, ...reference } of directories) entries.set(name, loadTree(repository, reference));
  return { kind: 'directory', ...repository.readDirectoryMetadata(dirmeta), entries };
}

function loadFile(repository: Repository, checksum: string): TreeNode {
  using file = repository.openFile(checksum);
  const { uid, gid, mode, xattrs, symlinkTarget } = file.header;
  if (isSymlink(file.header)) return { kind: 'symlink', uid, gid, xattrs, target: symlinkTarget };
  return { kind: 'file', uid, gid, mode, size: file.size, xattrs, content: { kind: 'object', checksum } };
}
