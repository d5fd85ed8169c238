/**
 * One process that unpacks, seen from whoever pulls: fed with a blob, it gives the tar stream or the entries in it. What it
 * gives is bounded in bytes and in silence, and it is killed as soon as anything is not as it should be.
 */
import type { ConfinedProcess } from '../../../confinement/confined-process.ts';
import { releaseMemory } from '../../../registry/index.ts';
import { ImportError } from '../errors.ts';
import type { LayerBlob, ReadLayer } from '../layer-tar.ts';
import { MAX_HOLE_BYTES } from '../tar-reader.ts';
import { encodeFrame, FRAME, FRAME_HEADER_BYTES, FrameSource, UnpackingFailed, writeFrameHeader } from './frame.ts';

/** What an unpacker is asked for, as it is sent. */
export interface UnpackRequest extends Pick<LayerBlob, 'digest' | 'compression' | 'maxTarBytes'> {
  readonly result: 'tar' | 'entries';
}

export interface UnpackerBounds {
  /** Whoever neither takes nor gives anything for so long has lost its way: each step takes milliseconds. */
  readonly patienceMs: number;
  /** What a layer's entries may have beyond its tar stream: the holes of sparse files. */
  readonly holeBytes: number;
}

const BOUNDS: UnpackerBounds = { patienceMs: 120_000, holeBytes: MAX_HOLE_BYTES };
/** Of what it writes to its standard error, and of the reasons that it gives. */
const MAX_TEXT_CHARACTERS = 2000;

export class Unpacker {
  readonly #process: ConfinedProcess;
  readonly #frames: FrameSource;
  readonly #bounds: UnpackerBounds;
  readonly #gone: Promise<undefined>;
  #complaint = '';
  #isKilled = false;
  /** How it ended by itself. */
  #end: string | undefined;
  /** Pieces taken and given, so that standing still is noticed. */
  #moves = 0;
  /** Whether it is the unpacker's turn: we wait for what it gives, and not for the bytes to feed it with. */
  #isAwaited = false;
  #isStarved = false;

  /** @param process one in which `unpack-worker.ts` runs */
  constructor(process: ConfinedProcess, bounds = BOUNDS) {
    this.#process = process;
    this.#bounds = bounds;
    this.#frames = new FrameSource(this.#pieces());
    const gone = Promise.withResolvers<undefined>();
    this.#gone = gone.promise;
    process.once('error', (error) => {
      this.#end ??= `could not be started (${error.message})`;
      gone.resolve(undefined);
    });
    process.once('close', (code, signal) => {
      if (!this.#isKilled || signal !== 'SIGKILL') this.#end ??= `ended with ${signal ?? `exit code ${code}`}`;
      gone.resolve(undefined);
    });
    process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-MAX_TEXT_CHARACTERS);
    });
    // Whoever waits hears of it by the process's end.
    process.stdin.on('error', () => undefined);
  }

  /** Whether it may be given another layer. */
  get isUsable(): boolean {
    return !this.#isOver && !this.#frames.hasUnread;
  }

  /** Ends it, whatever it is at; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#isKilled = true;
    this.#process.kill('SIGKILL');
    // What nobody reads any more would keep it from being gone.
    this.#process.stdout.destroy();
    await this.#gone;
  }

  /**
   * Opens what it makes of a blob. The blob is read to its end in any case: if it is not what it should be, that is the
   * news, whatever came of it.
   *
   * @param abandoned once it returns true, the stream ends and the process is killed
   * @param done called when all has been given and the blob was what it should be
   */
  unpack(blob: LayerBlob, result: UnpackRequest['result'], abandoned: () => boolean, done: () => void): ReadLayer {
    const { digest, compression, maxTarBytes } = blob;
    const fed = { bytes: 0 };
    let feeding: Promise<void> | undefined;
    let watch: NodeJS.Timeout | undefined;
    let given = 0;
    let ended = false;
    const begin = (): Promise<void> => {
      watch = this.#watch(digest);
      const request = { digest, compression, result, ...(maxTarBytes !== undefined && { maxTarBytes }) };
      const feeding = this.#feed(request, blob.bytes, abandoned, fed);
      // It is awaited at the end; until then its failure must only not count as unhandled.
      feeding.catch(() => undefined);
      return feeding;
    };
    return async (target) => {
      if (ended) return 0;
      feeding ??= begin();
      try {
        const count = abandoned() ? 0 : await this.#next(target);
        given += count;
        if (given > (maxTarBytes ?? fed.bytes) + this.#bounds.holeBytes)
          throw new Error('gave more than a layer of its size has');
        if (count > 0) return count;
        ended = true;
        if (abandoned()) await this.kill();
        await feeding;
        if (!abandoned()) done();
      } catch (error) {
        ended = true;
        await this.kill();
        await feeding;
        if (!abandoned()) throw this.#explained(error, digest);
      } finally {
        if (ended) clearInterval(watch);
      }
      return 0;
    };
  }

  get #isOver(): boolean {
    return this.#isKilled || this.#end !== undefined;
  }

  async #next(target: Buffer): Promise<number> {
    this.#isAwaited = true;
    try {
      return await this.#frames.fill(target);
    } finally {
      this.#isAwaited = false;
    }
  }

  async *#pieces(): AsyncGenerator<Buffer> {
    for await (const piece of this.#process.stdout as AsyncIterable<Buffer>) {
      this.#moves++;
      yield piece;
      // It is asked for the next one only when this has been copied.
      releaseMemory(piece);
    }
  }

  async #feed(
    request: UnpackRequest,
    bytes: AsyncIterable<Buffer>,
    abandoned: () => boolean,
    fed: { bytes: number },
  ): Promise<void> {
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    try {
      await this.#write(encodeFrame(FRAME.request, Buffer.from(JSON.stringify(request))));
      this.#isStarved = true;
      for await (const chunk of bytes) {
        if (chunk.length === 0 || this.#isOver || abandoned()) continue;
        this.#isStarved = false;
        fed.bytes += chunk.length;
        writeFrameHeader(header, FRAME.data, chunk.length);
        this.#process.stdin.write(header);
        // The chunk's memory may be given back once the next is asked for.
        await this.#write(chunk);
        this.#isStarved = true;
      }
      this.#isStarved = false;
      if (!this.#isOver && !abandoned()) await this.#write(encodeFrame(FRAME.end));
    } catch (error) {
      // It would wait for the rest, and we for it.
      await this.kill();
      throw error;
    } finally {
      this.#isStarved = false;
    }
  }

  /** Resolves when the bytes have been taken, or nobody is there any more to take them. */
  async #write(bytes: Buffer): Promise<void> {
    const taken = Promise.withResolvers<undefined>();
    this.#process.stdin.write(bytes, () => taken.resolve(undefined));
    await Promise.race([taken.promise, this.#gone]);
    this.#moves++;
  }

  /** Kills it when nothing moves although it is its turn. */
  #watch(digest: string): NodeJS.Timeout {
    let before = -1;
    return setInterval(() => {
      const stands = this.#isAwaited && !this.#isStarved && this.#moves === before;
      before = this.#moves;
      if (!stands) return;
      this.#end = `has neither taken nor given anything of layer ${digest} for ${this.#bounds.patienceMs / 1000} s`;
      void this.kill();
    }, this.#bounds.patienceMs);
  }

  #explained(error: unknown, digest: string): unknown {
    if (error instanceof UnpackingFailed) {
      const reason = error.message.replaceAll(/\p{Cc}+/gu, ' ').slice(0, MAX_TEXT_CHARACTERS);
      return new ImportError('InvalidLayer', reason);
    }
    if (!(error instanceof Error)) return error;
    const said = this.#complaint.replaceAll(/\p{Cc}+/gu, ' ').trim();
    return new ImportError(
      'UnpackerFailed',
      `the unprivileged process that unpacks layer ${digest} ${this.#end ?? error.message}${said === '' ? '' : ` (${said})`}; ` +
        'nothing of the layer is used, and the next pull starts another one',
      { cause: error },
    );
  }
}
