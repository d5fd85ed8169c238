/**
 * The process without privilege that unpacks layers: compressed bytes in on standard input, tar streams or their entries
 * out on standard output, one layer after the other. It is sent strangers' bytes before anybody knows their digest, so
 * decompressors and the tar reader run here, where there is nothing to take.
 */
import { read, writeSync, writevSync } from 'node:fs';
import process from 'node:process';
import { promisify } from 'node:util';
import { makeBlocking } from '../../posix/blocking.ts';
import { ImportError, TarError } from '../errors.ts';
import { type LayerBlob, openLayerTar } from '../layer-tar.ts';
import { TarReader } from '../tar-reader.ts';
import { encodeEntry } from './entry-stream.ts';
import { encodeFrame, FRAME, FRAME_HEADER_BYTES, writeFrameHeader } from './frame.ts';
import type { UnpackRequest } from './unpacker.ts';

const STDIN = 0;
const STDOUT = 1;
const INPUT_BYTES = 512 * 1024;
const TAR_BYTES = 512 * 1024;
const OUTPUT_BYTES = 256 * 1024;
/** Content that comes in pieces of so many bytes is sent as it lies there. */
const LARGE_PIECE_BYTES = 32 * 1024;
/** Of a reason: names in it may be as long as a layer's author likes. */
const MAX_REASON_CHARACTERS = 2000;

const readPipe = promisify(read);

/** Reads frames; at the end of the input the process has nothing more to do. */
class Input {
  readonly #buffer = Buffer.allocUnsafeSlow(INPUT_BYTES);
  #start = 0;
  #end = 0;

  /** The next request, or undefined at the end of the input. */
  async request(): Promise<UnpackRequest | undefined> {
    const header = await this.#take(FRAME_HEADER_BYTES);
    if (header === undefined) return undefined;
    const payload = await this.#take(header.readUInt32LE(1));
    return payload === undefined ? undefined : (JSON.parse(payload.toString()) as UnpackRequest);
  }

  /** The bytes of a blob, each piece valid until the next is asked for. */
  async *blob(): AsyncGenerator<Buffer> {
    for (;;) {
      const header = await this.#take(FRAME_HEADER_BYTES);
      // Whoever feeds us has gone, so nobody waits for what would come of it.
      if (header === undefined) return process.exit(0);
      if (header.readUInt8(0) === FRAME.end) return;
      for (let remaining = header.readUInt32LE(1); remaining > 0;) {
        if (this.#start === this.#end && !(await this.#more())) return process.exit(0);
        const count = Math.min(remaining, this.#end - this.#start);
        this.#start += count;
        remaining -= count;
        yield this.#buffer.subarray(this.#start - count, this.#start);
      }
    }
  }

  async #take(length: number): Promise<Buffer | undefined> {
    const taken = Buffer.allocUnsafe(length);
    for (let filled = 0; filled < length;) {
      if (this.#start === this.#end && !(await this.#more())) return undefined;
      const count = Math.min(length - filled, this.#end - this.#start);
      this.#buffer.copy(taken, filled, this.#start, this.#start + count);
      this.#start += count;
      filled += count;
    }
    return taken;
  }

  async #more(): Promise<boolean> {
    const { bytesRead } = await readPipe(STDIN, this.#buffer, 0, INPUT_BYTES, null);
    this.#start = 0;
    this.#end = bytesRead;
    return bytesRead > 0;
  }
}

/** Sends data in frames of some size. Writing blocks: there is nothing else to do. */
class Output {
  readonly #buffer = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + OUTPUT_BYTES);
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES);
  #end = FRAME_HEADER_BYTES;

  data(bytes: Buffer): void {
    if (bytes.length === 0) return;
    if (bytes.length >= LARGE_PIECE_BYTES) {
      this.#flush();
      writeFrameHeader(this.#header, FRAME.data, bytes.length);
      writeAll([this.#header, bytes]);
      return;
    }
    if (bytes.length > this.#buffer.length - this.#end) this.#flush();
    this.#end += bytes.copy(this.#buffer, this.#end);
  }

  end(): void {
    this.#flush();
    writeAll([encodeFrame(FRAME.end)]);
  }

  #flush(): void {
    if (this.#end === FRAME_HEADER_BYTES) return;
    writeFrameHeader(this.#buffer, FRAME.data, this.#end - FRAME_HEADER_BYTES);
    writeAll([this.#buffer.subarray(0, this.#end)]);
    this.#end = FRAME_HEADER_BYTES;
  }
}

function writeAll(buffers: readonly Buffer[]): void {
  let written = writevSync(STDOUT, buffers);
  for (const buffer of buffers) {
    // Nearly always all of it was written at once.
    for (; written < buffer.length; written += writeSync(STDOUT, buffer, written));
    written -= buffer.length;
  }
}

async function unpack({ result, ...blob }: UnpackRequest, bytes: AsyncIterable<Buffer>, output: Output): Promise<void> {
  const layer: LayerBlob = { ...blob, bytes };
  const read = openLayerTar(layer, () => false);
  const memory = Buffer.allocUnsafeSlow(TAR_BYTES);
  const tar = new TarReader({
    entry: (entry) => output.data(encodeEntry(entry)),
    data: (content) => output.data(content),
    entryEnd: () => undefined,
  });
  for (let count = await read(memory); count > 0; count = await read(memory)) {
    const piece = memory.subarray(0, count);
    if (result === 'tar') output.data(piece);
    else tar.write(piece);
  }
  if (result === 'entries') tar.end();
  output.end();
}

function reasonOf(error: unknown, digest: string): string {
  if (error instanceof TarError) return `layer ${digest} cannot be read: ${error.message}`;
  if (error instanceof ImportError && error.code === 'InvalidLayer') return error.message;
  throw error;
}

makeBlocking(STDIN);
makeBlocking(STDOUT);
const input = new Input();
const output = new Output();
for (let request = await input.request(); request !== undefined; request = await input.request()) {
  try {
    await unpack(request, input.blob(), output);
  } catch (error) {
    writeAll([encodeFrame(FRAME.failed, Buffer.from(reasonOf(error, request.digest).slice(0, MAX_REASON_CHARACTERS)))]);
    // A stream that has been left in the middle is no place to go on from.
    process.exit(0);
  }
}
process.exit(0);
