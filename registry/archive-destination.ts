/**
 * Writes one image as an OCI archive: blobs are appended to an unfinished tar as they come, the index is written last,
 * and only then does the archive appear under its name.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { canonicalJson } from './canonical-json.ts';
import { CONFIG_MAX_BYTES } from './content.ts';
import { parseConfig } from './document.ts';
import { syncDirectory, writeError } from './durable-file.ts';
import { RegistryError } from './errors.ts';
import type { ImageDestination } from './image-source.ts';
import { blobPath, type LayoutName } from './layout-content.ts';
import { once } from './once.ts';
import { LAYOUT_FILE, manifestBlob, withImage } from './layout-index.ts';
import { Mutex } from './mutex.ts';
import type { Descriptor, ImageManifest } from './oci.ts';
import { TAR_BLOCK_BYTES, type TarMember } from './tar-index.ts';
import { BlobVerifier } from './verification.ts';

export class ArchiveDestination implements ImageDestination {
  readonly #path: string;
  readonly #partial: string;
  readonly #ref: string | undefined;
  /** A tar has one end: blobs are appended one at a time. */
  readonly #lock = new Mutex();
  readonly #members = new Map<string, TarMember>();
  #handle: FileHandle | undefined;
  #end = 0;

  constructor(name: LayoutName) {
    this.#path = name.path;
    this.#partial = join(dirname(name.path), `.${basename(name.path)}.${randomBytes(6).toString('hex')}.partial`);
    this.#ref = name.ref;
  }

  hasBlob(descriptor: Descriptor): Promise<boolean> {
    return Promise.resolve(this.#members.has(blobPath(descriptor.digest)));
  }

  putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    return this.#lock.run(async () => {
      const verifier = new BlobVerifier(descriptor, this.#path);
      await this.#append(blobPath(descriptor.digest), descriptor.size, content(), verifier, signal);
    });
  }

  putManifest(manifest: ImageManifest, signal?: AbortSignal): Promise<string> {
    return this.#lock.run(async () => {
      const { bytes, descriptor } = manifestBlob(manifest);
      const config = parseConfig(await this.#readBack(manifest.config), this.#path);
      const index = canonicalJson(withImage(undefined, descriptor, config, this.#ref));
      await this.#append(blobPath(descriptor.digest), bytes.length, once(bytes), undefined, signal);
      await this.#append('index.json', Buffer.byteLength(index), once(Buffer.from(index)), undefined, signal);
      await this.#append('oci-layout', LAYOUT_FILE.length, once(Buffer.from(LAYOUT_FILE)), undefined, signal);
      await this.#publish();
      return descriptor.digest;
    });
  }

  async #append(
    name: string,
    size: number,
    content: AsyncIterable<Buffer>,
    verifier: BlobVerifier | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (this.#members.has(name)) return;
    try {
      this.#handle ??= await open(this.#partial, 'wx+', 0o644);
      // A member that failed half-way is simply overwritten by the next one: the end has not moved.
      let position = this.#end + TAR_BLOCK_BYTES;
      for await (const chunk of content) {
        signal?.throwIfAborted();
        verifier?.update(chunk);
        await writeAll(this.#handle, chunk, position);
        position += chunk.length;
      }
      verifier?.finish();
      await writeAll(this.#handle, tarHeader(name, size), this.#end);
      const padding = (TAR_BLOCK_BYTES - (size % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
      await writeAll(this.#handle, Buffer.alloc(padding), position);
      this.#members.set(name, { offset: this.#end + TAR_BLOCK_BYTES, size });
      this.#end = position + padding;
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  async #readBack(descriptor: Descriptor): Promise<Buffer> {
    const member = this.#members.get(blobPath(descriptor.digest));
    if (member === undefined || this.#handle === undefined || member.size > CONFIG_MAX_BYTES) {
      throw new RegistryError(
        'InvalidManifest',
        `The config ${descriptor.digest} must be written to ${this.#path} before its manifest.`,
      );
    }
    const buffer = Buffer.alloc(member.size);
    await this.#handle.read(buffer, 0, member.size, member.offset);
    return buffer;
  }

  async #publish(): Promise<void> {
    const handle = this.#handle;
    if (handle === undefined) return;
    try {
      // The end-of-archive marker: two blocks of zeros. A failed, longer member may lie beyond it.
      await handle.truncate(this.#end);
      await writeAll(handle, Buffer.alloc(2 * TAR_BLOCK_BYTES), this.#end);
      await handle.sync();
      await handle.close();
      this.#handle = undefined;
      await rename(this.#partial, this.#path);
      await syncDirectory(dirname(this.#path));
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  /** Without a manifest there is no archive: what was written is removed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock.run(async () => {
      if (this.#handle === undefined) return;
      await this.#handle.close();
      this.#handle = undefined;
      await unlink(this.#partial);
    });
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** A ustar header of a regular file; root-owned and undated, so that equal images give equal archives. */
function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK_BYTES);
  header.write(name, 0, 100, 'ascii');
  header.write('0000644\0', 100, 'ascii');
  header.write('0000000\0', 108, 'ascii');
  header.write('0000000\0', 116, 'ascii');
  if (size < 8 ** 11) {
    header.write(`${size.toString(8).padStart(11, '0')}\0`, 124, 'ascii');
  } else {
    header[124] = 0x80;
    header.writeUIntBE(size, 130, 6);
  }
  header.write('00000000000\0', 136, 'ascii');
  header.write('        0', 148, 'ascii');
  header.write('ustar\u000000', 257, 'ascii');
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'ascii');
  return header;
}
