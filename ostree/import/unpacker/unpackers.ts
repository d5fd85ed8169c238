/**
 * The processes that unpack the layers of one pull. A process is fed with bytes whose digest is known only at their end, and
 * may be theirs from then on. So it has one layer at a time, is given another one only when those bytes had the digest that
 * the manifest promises, and whom it then speaks for is bounded:
 *
 * - Objects are held against their checksums, and the commit against its objects, by whoever writes them: for these layers
 *   processes are used again.
 * - A derived layer's tar stream is held against its diff-id on this side, between the process that decompresses it and
 *   the one that reads it. The first can change nothing; the second is new for each layer, and ends with it.
 */
import { type ConfinedProcess, startConfined } from '../../../confinement/confined-process.ts';
import { chunksOf, type LayerBlob, type LayerOpener, openLayerTar, type ReadLayer } from '../layer-tar.ts';
import { Unpacker, type UnpackerBounds, type UnpackRequest } from './unpacker.ts';

/** Dispose of it to end the processes. */
export class Unpackers implements LayerOpener {
  readonly format = 'entries';
  /** Each is another process, with memory of its own. */
  readonly spareLayers = 1;
  readonly #start: () => ConfinedProcess;
  readonly #bounds: UnpackerBounds | undefined;
  readonly #all = new Set<Unpacker>();
  /** Started before it is needed, since that takes longer than finding out what is. */
  #spare: Unpacker | undefined;
  readonly #idle: Record<UnpackRequest['result'], Unpacker[]> = { tar: [], entries: [] };

  /** @param start for tests: what stands in for the process */
  constructor(start: () => ConfinedProcess = startUnpacker, bounds?: UnpackerBounds) {
    this.#start = start;
    this.#bounds = bounds;
    this.#spare = this.#started();
  }

  /** What `openLayerTar` says, but as entries. @throws {ImportError} `UnpackerFailed`, too */
  open(blob: LayerBlob, abandoned: () => boolean): ReadLayer {
    const { digest, diffId, compression, maxTarBytes, bytes } = blob;
    if (diffId === undefined) return this.#reusing('entries', blob, abandoned);
    const bound = maxTarBytes === undefined ? {} : { maxTarBytes };
    const tar =
      compression === 'none'
        ? bytes
        : chunksOf(this.#reusing('tar', { digest, compression, bytes, ...bound }, abandoned));
    const verified = openLayerTar({ digest, diffId, compression: 'none', bytes: tar, ...bound }, abandoned);
    const reader = this.#fresh();
    const read = { digest, compression: 'none', bytes: chunksOf(verified), ...bound } as const;
    return reader.unpack(read, 'entries', abandoned, () => this.#end(reader));
  }

  #reusing(result: UnpackRequest['result'], blob: LayerBlob, abandoned: () => boolean): ReadLayer {
    const unpacker = this.#idle[result].pop() ?? this.#fresh();
    return unpacker.unpack(blob, result, abandoned, () => {
      if (unpacker.isUsable) this.#idle[result].push(unpacker);
      else this.#end(unpacker);
    });
  }

  /** One that has not seen a byte of any layer. */
  #fresh(): Unpacker {
    const unpacker = this.#spare?.isUsable === true ? this.#spare : this.#started();
    this.#spare = undefined;
    return unpacker;
  }

  #started(): Unpacker {
    const unpacker = new Unpacker(this.#start(), this.#bounds);
    this.#all.add(unpacker);
    return unpacker;
  }

  #end(unpacker: Unpacker): void {
    this.#all.delete(unpacker);
    void unpacker.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((unpacker) => unpacker.kill()));
  }
}

function startUnpacker(): ConfinedProcess {
  return startConfined(new URL('./unpack-worker.ts', import.meta.url), { network: false });
}
