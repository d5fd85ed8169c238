/**
 * The writer of zstd:chunked layers that podman, buildah and skopeo have, compiled from the Go module that
 * tools/zstd-chunked pins: a judge of what we read. Debian's own skopeo writes the form of 2022.
 */
import { ensureGoProgram } from './go-program.ts';
import type { Say } from './say.ts';

/**
 * Path of the program, built on first use. It reads a tar archive and writes the layer, and to standard error the
 * annotations of its descriptor.
 * @throws SetupError
 */
export function ensureZstdChunkedWriter(say: Say): Promise<string> {
  const purpose = 'a judge of zstd:chunked layers';
  return ensureGoProgram(
    { folder: 'zstd-chunked', name: 'zstd-chunked-writer', purpose, duration: 'about 15 seconds' },
    say,
  );
}
