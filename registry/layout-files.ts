/** The files of an image layout, wherever they lie: in a directory, or inside a tar that is never unpacked. */
import { constants, type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { printable, reasonOf, RegistryError } from './errors.ts';
import { indexTar, type TarMember } from './tar-index.ts';

/** Large enough that reading costs little, small enough that many layers at once stay cheap. */
const READ_BYTES = 256 * 1024;
/** Enough to tell a compression by. */
const HEAD_BYTES = 16;

export interface LayoutFiles extends AsyncDisposable {
  /** The whole of a small file. @throws RegistryError `NotFound`, `TooLarge`, `InvalidLayout` */
  read(name: string, limit: number): Promise<Buffer>;
  /** @throws RegistryError `NotFound`, `InvalidLayout`, `SizeMismatch` */
  stream(name: string, signal?: AbortSignal, part?: FilePart): AsyncIterable<Buffer>;
}

/** Bytes of a file whose whole size is known. */
export interface FilePart {
  readonly offset: number;
  readonly length: number;
  readonly of: number;
}

export class DirectoryFiles implements LayoutFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async read(name: string, limit: number): Promise<Buffer> {
    await using handle = await this.#open(name);
    const { size } = await handle.stat();
    return await readWhole(handle, 0, size, limit, join(this.#root, name));
  }

  async *stream(name: string, signal?: AbortSignal, part?: FilePart): AsyncIterable<Buffer> {
    await using handle = await this.#open(name);
    const { size } = await handle.stat();
    const label = join(this.#root, name);
    const { offset, length } = partOf(size, part, label);
    yield* readRange(handle, offset, length, label, signal);
  }

  async #open(name: string): Promise<FileHandle> {
    const path = join(this.#root, name);
    try {
      // A FIFO in a hostile directory would block for ever without O_NONBLOCK; regular files do not mind it.
      return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw openError(path, error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

export class ArchiveFiles implements LayoutFiles {
  readonly #path: string;
  #opened: Promise<{ handle: FileHandle; members: ReadonlyMap<string, TarMember> }> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async read(name: string, limit: number): Promise<Buffer> {
    const { handle, member } = await this.#member(name);
    return await readWhole(handle, member.offset, member.size, limit, `${this.#path}:${name}`);
  }

  async *stream(name: string, signal?: AbortSignal, part?: FilePart): AsyncIterable<Buffer> {
    const { handle, member } = await this.#member(name);
    const label = `${this.#path}:${name}`;
    const { offset, length } = partOf(member.size, part, label);
    yield* readRange(handle, member.offset + offset, length, label, signal);
  }

  /** Bytes of a member as it is stored. */
  async size(name: string): Promise<number> {
    return (await this.#member(name)).member.size;
  }

  /** The first few bytes of a member. */
  async head(name: string): Promise<Buffer> {
    const { handle, member } = await this.#member(name);
    const length = Math.min(HEAD_BYTES, member.size);
    return await readWhole(handle, member.offset, length, HEAD_BYTES, `${this.#path}:${name}`);
  }

  async #member(name: string): Promise<{ handle: FileHandle; member: TarMember }> {
    this.#opened ??= this.#open();
    const { handle, members } = await this.#opened;
    const member = members.get(name);
    if (member === undefined) {
      throw new RegistryError(
        'NotFound',
        `The archive ${this.#path} has no ${printable(name)}: it is no complete image archive of this transport; write it again.`,
      );
    }
    return { handle, member };
  }

  async #open(): Promise<{ handle: FileHandle; members: ReadonlyMap<string, TarMember> }> {
    let handle: FileHandle;
    try {
      handle = await open(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw openError(this.#path, error);
    }
    try {
      return { handle, members: await indexTar(handle, this.#path) };
    } catch (error) {
      await handle.close();
      throw error instanceof RegistryError ? error : openError(this.#path, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#opened === undefined) return;
    const [opened] = await Promise.allSettled([this.#opened]);
    if (opened.status === 'fulfilled') await opened.value.handle.close();
  }
}

function partOf(size: number, part: FilePart | undefined, label: string): { offset: number; length: number } {
  if (part === undefined) return { offset: 0, length: size };
  if (part.of === size) return part;
  throw new RegistryError(
    'SizeMismatch',
    `${label} is ${size} bytes long, its manifest says ${part.of} bytes: it is damaged; write the image again.`,
  );
}

async function readWhole(
  handle: FileHandle,
  start: number,
  size: number,
  limit: number,
  label: string,
): Promise<Buffer> {
  if (size > limit)
    throw new RegistryError('TooLarge', `${label} is larger than ${limit} bytes: it is not part of a container image.`);
  const chunks: Buffer[] = [];
  for await (const chunk of readRange(handle, start, size, label)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* readRange(
  handle: FileHandle,
  start: number,
  size: number,
  label: string,
  signal?: AbortSignal,
): AsyncIterable<Buffer> {
  const end = start + size;
  for (let position = start; position < end;) {
    signal?.throwIfAborted();
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - position));
    let bytesRead: number;
    try {
      ({ bytesRead } = await handle.read(buffer, 0, buffer.length, position));
    } catch (error) {
      throw openError(label, error);
    }
    if (bytesRead === 0)
      throw new RegistryError('SizeMismatch', `${label} ends before its last byte: it is cut off; write it again.`);
    position += bytesRead;
    yield bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead);
  }
}

function openError(path: string, error: unknown): RegistryError {
  const missing = error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
  return missing
    ? new RegistryError('NotFound', `${path} does not exist: check the path of the image.`, error)
    : new RegistryError(
        'InvalidLayout',
        `${path} cannot be read (${reasonOf(error)}): check the path and its permissions.`,
        error,
      );
}
