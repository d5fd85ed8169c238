/**
 * What the bytes of a compressed layer hang on. A layer carries it in an annotation, so that whoever has the same tar again
 * knows, without compressing it, that the bytes would be the same ones.
 */
import type { Compression } from './compressed-layer.ts';

/** The recipe, and the digest of the bytes that it gave: other tools that compress a layer anew may keep its annotations. */
export const COMPRESSION_ANNOTATION = 'dev.treeline.compression';

/** Change it with whatever changes the bytes: level, size of pieces, library, what is stored. docs/decisions, "Compressed bytes are pinned". */
const RECIPES: Readonly<Record<Compression, string>> = {
  default: 'gzip:6:pako-3.0.3:stored',
  fast: 'gzip:1:pako-3.0.3:stored',
  zstd: 'zstd:3:libzstd-1.5.7',
  'zstd:chunked': 'zstd:chunked:3:libzstd-1.5.7',
};

/** Value of the annotation. @param digest `sha256:…` of the compressed bytes */
export function compressionRecord(compression: Compression, digest: string): string {
  return `${RECIPES[compression]} ${digest}`;
}
