/**
 * The tar stream of a commit layer with other detached metadata beside its commit, everything else byte for byte.
 *
 * Source: ostree-container format: `.commitmeta` directly after `.commit`; GNU tar manual, "Basic Tar Format".
 */
import { ImportError } from '../import/errors.ts';
import { BLOCK_SIZE, decodeHeader, isZeroBlock } from '../import/tar-header.ts';
import { ByteReader } from './byte-reader.ts';
import { smallFile } from './repository-entries.ts';

const OBJECT = /^(?:\.\/)?sysroot\/ostree\/repo\/objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.(commit|commitmeta)$/;
/** Headers that say something about the entry after them. */
const EXTENSIONS = 'LKxg';
/** Names and attributes; what is longer is no image of ours or of the reference tools. */
const MAX_EXTENSION_BYTES = 4 * 1024 * 1024;

/**
 * Puts `metadata` (bytes of `a{sv}`) in place of what there was; undefined removes it. Chunks of `tar` need be valid only
 * until the next one is asked for.
 *
 * @throws {ImportError} `InvalidLayer` when the stream holds no commit or ends early, TarError when it is no tar.
 */
export async function* replaceMetadata(
  tar: AsyncIterable<Buffer>,
  metadata: Buffer | undefined,
): AsyncGenerator<Buffer> {
  const bytes = new ByteReader(tar);
  let found = false;
  let before: Buffer[] = [];
  let longName: string | undefined;
  for (;;) {
    const block = await bytes.take(BLOCK_SIZE);
    if (isZeroBlock(block, 0)) {
      if (!found)
        throw new ImportError('InvalidLayer', 'the layer holds no OSTree commit; choose an encapsulated image');
      yield block;
      yield* bytes.rest();
      return;
    }
    const header = decodeHeader(block, 0, { path: longName !== undefined, linkPath: true });
    const padded = Math.ceil(header.size / BLOCK_SIZE) * BLOCK_SIZE;
    if (EXTENSIONS.includes(header.typeFlag)) {
      if (padded > MAX_EXTENSION_BYTES) throw new ImportError('InvalidLayer', 'the layer has a name that is too long');
      const data = await bytes.take(padded);
      before.push(block, data);
      if (header.typeFlag === 'L') longName = data.toString('utf8', 0, data.indexOf(0));
      continue;
    }
    const path = longName ?? header.path;
    const kind = OBJECT.exec(path)?.[1];
    if (kind === 'commitmeta') {
      for await (const _ of bytes.pass(padded));
    } else {
      yield* before;
      yield block;
      yield* bytes.pass(padded);
    }
    if (kind === 'commit') {
      found = true;
      if (metadata !== undefined) yield* smallFile(path.replace(/^\.\//, '').concat('meta'), metadata);
    }
    before = [];
    longName = undefined;
  }
}
