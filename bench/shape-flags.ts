/** `--size` and `--files`: the operating system that a benchmark makes. */
import type { TreeShape } from './os-tree.ts';

/** @param megabytes default of `--size`  @param files default of `--files` */
export function sizeFlags<const Size extends number, const Files extends number>(megabytes: Size, files: Files) {
  return {
    size: { kind: 'number', takes: 'MB', says: 'size of the operating system', default: megabytes },
    files: { kind: 'number', says: 'files in it', default: files },
  } as const;
}

export function shapeOf({ size, files }: { readonly size: number; readonly files: number }): TreeShape {
  return { size: size * 1e6, files };
}
