/**
 * The dirtree object of a directory in which each file is named by its own checksum, as the layer commit of a chunk has
 * it. Of the checksums alone: a large chunk has a hundred thousand, and as names of a Dirtree they would take 50 MB.
 */
import { chooseOffsetWidth, writeOffset } from '../gvariant/framing.ts';

const CHECKSUM_BYTES = 32;
/** In hexadecimal digits, with the NUL. */
const NAME_BYTES = 2 * CHECKSUM_BYTES + 1;
/** Name, checksum, and in one byte where the name ends. */
const ELEMENT_BYTES = NAME_BYTES + CHECKSUM_BYTES + 1;

/** What `encodeDirtree` gives for these files. @param checksums 32 bytes each, in any order, each once */
export function encodeChecksumDirectory(checksums: Buffer): Buffer {
  const order = sorted(checksums);
  const elementsEnd = order.length * ELEMENT_BYTES;
  const width = chooseOffsetWidth(elementsEnd, order.length);
  const filesEnd = elementsEnd + order.length * width;
  const outerWidth = chooseOffsetWidth(filesEnd, 1);
  const bytes = Buffer.alloc(filesEnd + outerWidth);
  order.forEach((position, index) => {
    const from = position * CHECKSUM_BYTES;
    const at = index * ELEMENT_BYTES;
    bytes.write(checksums.toString('hex', from, from + CHECKSUM_BYTES), at, 'latin1');
    checksums.copy(bytes, at + NAME_BYTES, from, from + CHECKSUM_BYTES);
    bytes[at + ELEMENT_BYTES - 1] = NAME_BYTES;
    writeOffset(bytes, elementsEnd + index * width, width, at + ELEMENT_BYTES);
  });
  writeOffset(bytes, filesEnd, outerWidth, filesEnd);
  return bytes;
}

/** The positions of the checksums, least first: the order of their bytes is that of their digits. */
function sorted(checksums: Buffer): Uint32Array {
  const count = checksums.length / CHECKSUM_BYTES;
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  return order.sort((first, second) => {
    const [a, b] = [first * CHECKSUM_BYTES, second * CHECKSUM_BYTES];
    const difference = checksums.readUInt32BE(a) - checksums.readUInt32BE(b);
    if (difference !== 0) return difference;
    return checksums.compare(checksums, b, b + CHECKSUM_BYTES, a, a + CHECKSUM_BYTES);
  });
}
