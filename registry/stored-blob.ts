/** A blob that is a file of a layout or an archive, read whole and verified, or in part. */
import { refuseOutside } from './blob-range.ts';
import type { BlobReadOptions } from './image-source.ts';
import type { LayoutFiles } from './layout-files.ts';
import type { Descriptor } from './oci.ts';
import { BlobVerifier } from './verification.ts';

/** @throws RegistryError `NotFound`, `SizeMismatch`, `DigestMismatch`, `InvalidLayout` */
export async function* readStoredBlob(
  files: LayoutFiles,
  name: string,
  descriptor: Descriptor,
  label: string,
  options: BlobReadOptions = {},
): AsyncIterable<Buffer> {
  const verifier = new BlobVerifier(descriptor, label);
  for await (const chunk of files.stream(name, options.signal)) {
    verifier.update(chunk);
    options.onBytes?.(chunk.length);
    yield chunk;
  }
  verifier.finish();
}

/** See `ImageSource.openRange`. @throws RegistryError `NotFound`, `SizeMismatch`, `InvalidLayout`; RangeError */
export async function* readStoredPart(
  files: LayoutFiles,
  name: string,
  descriptor: Descriptor,
  offset: number,
  length: number,
  options: BlobReadOptions = {},
): AsyncIterable<Buffer> {
  refuseOutside(descriptor, offset, length);
  for await (const chunk of files.stream(name, options.signal, { offset, length, of: descriptor.size })) {
    options.onBytes?.(chunk.length);
    yield chunk;
  }
}
