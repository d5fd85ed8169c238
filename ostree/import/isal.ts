/**
 * gzip by Intel's ISA-L, where the machine has it: faster than zlib, and it writes where we want the bytes, so that
 * nothing is copied and nothing is left to the garbage collector. What we take its state to look like is checked before
 * it is used for the first time: whoever has no ISA-L, or another one, gets zlib.
 *
 * Source: igzip_lib.h of ISA-L 2, `struct inflate_state`; RFC 1952.
 */
import koffi from 'koffi';
import { gzipSync } from 'node:zlib';

/** Bytes of the structure, and of its members that we read and write, on 64-bit machines. */
const STATE_BYTES = 87_368;
const NEXT_OUT = 0;
const AVAIL_OUT = 8;
const NEXT_IN = 16;
const AVAIL_IN = 32;
const BLOCK_STATE = 21_160;
const CRC_FLAG = 21_172;
/** Check header and trailer of each member, its CRC-32 among them. */
const ISAL_GZIP = 1;
const ISAL_BLOCK_FINISH = 5;
/** Compressed bytes are given to it in parts of this size: each costs a way to another thread and back. */
const INPUT_BYTES = 512 * 1024;

interface Isal {
  readonly init: (state: Buffer) => void;
  readonly reset: (state: Buffer) => void;
  readonly inflate: ((state: Buffer) => number) & {
    readonly async: (state: Buffer, done: (error: Error | null, result: number) => void) => void;
  };
}

let loaded: Isal | 'unusable' | undefined;

/** A decompressor, or undefined where there is no ISA-L that we know. */
export function createIsalInflater(): IsalInflater | undefined {
  loaded ??= load();
  return loaded === 'unusable' ? undefined : new IsalInflater(loaded);
}

function load(): Isal | 'unusable' {
  let library;
  try {
    library = koffi.load('libisal.so.2');
  } catch {
    // Not installed, which is nobody's mistake.
    return 'unusable';
  }
  const bind = (declaration: string): never => library.func(declaration) as never;
  const isal: Isal = {
    init: bind('void isal_inflate_init(_Inout_ uint8_t *state)'),
    reset: bind('void isal_inflate_reset(_Inout_ uint8_t *state)'),
    inflate: bind('int isal_inflate(_Inout_ uint8_t *state)'),
  };
  return isWhatWeKnow(isal) ? isal : 'unusable';
}

/** Decompresses two known members: with another layout, some part of the state would not do what we take it for. */
function isWhatWeKnow(isal: Isal): boolean {
  const text = Buffer.from('whatever is known, '.repeat(1000));
  const output = Buffer.alloc(2 * text.length + 1);
  const inflater = new IsalInflater(isal);
  const member = gzipSync(text);
  const input = Buffer.concat([member, member]);
  if (inflater.give(input, 0) !== input.length || !inflater.takeNext()) return false;
  inflater.aim(output);
  if (isal.inflate(inflater.state) !== 0 || !inflater.isFinished || inflater.unread !== member.length) return false;
  inflater.beginMember();
  if (isal.inflate(inflater.state) !== 0 || !inflater.isFinished || inflater.unread !== 0) return false;
  return inflater.written === 2 * text.length && output.subarray(0, -1).equals(Buffer.concat([text, text]));
}

/** One stream at work. */
export class IsalInflater {
  /** Only for the library. */
  readonly state: Buffer;
  readonly #isal: Isal;
  /** One is read by the library while the other is filled. */
  #input: Buffer;
  #inputLength = 0;
  #next: Buffer;
  #nextLength = 0;
  #target = 0;

  constructor(isal: Isal) {
    this.#isal = isal;
    // Memory of its own, outside the heap: it does not move, and the library keeps addresses in it.
    this.state = Buffer.from(new ArrayBuffer(STATE_BYTES));
    this.#input = Buffer.from(new ArrayBuffer(INPUT_BYTES));
    this.#next = Buffer.from(new ArrayBuffer(INPUT_BYTES));
    isal.init(this.state);
    this.state.writeUInt32LE(ISAL_GZIP, CRC_FLAG);
  }

  /** Whether a gzip member has been read to its end. */
  get isFinished(): boolean {
    return this.state.readUInt32LE(BLOCK_STATE) === ISAL_BLOCK_FINISH;
  }

  /** Begins the next gzip member, in what is unread. */
  beginMember(): void {
    this.#isal.reset(this.state);
  }

  /** Compressed bytes that it has been given and not taken in. */
  get unread(): number {
    return this.state.readUInt32LE(AVAIL_IN);
  }

  /** The first of those. */
  get nextByte(): number | undefined {
    return this.unread === 0 ? undefined : this.#input[this.#inputLength - this.unread];
  }

  /** Room for the bytes that come next. They may be given while it inflates others. */
  get room(): number {
    return INPUT_BYTES - this.#nextLength;
  }

  /** Gives it bytes from `start` on, as many as there is room for, and returns how many. */
  give(bytes: Buffer, start: number): number {
    const count = bytes.copy(this.#next, this.#nextLength, start);
    this.#nextLength += count;
    return count;
  }

  /** Goes on to what it has been given. Only when nothing is unread, and not while it inflates. Returns whether there is any. */
  takeNext(): boolean {
    [this.#input, this.#next] = [this.#next, this.#input];
    this.#inputLength = this.#nextLength;
    this.#nextLength = 0;
    this.state.writeBigUInt64LE(addressOf(this.#input), NEXT_IN);
    this.state.writeUInt32LE(this.#inputLength, AVAIL_IN);
    return this.#inputLength > 0;
  }

  /** Sets where the output goes. The memory must outlive the calls of `inflate`, and not move. */
  aim(target: Buffer): void {
    this.#target = target.length;
    this.state.writeBigUInt64LE(addressOf(target), NEXT_OUT);
    this.state.writeUInt32LE(target.length, AVAIL_OUT);
  }

  /** Bytes written since `aim`. */
  get written(): number {
    return this.#target - this.state.readUInt32LE(AVAIL_OUT);
  }

  /**
   * Decompresses, on another thread, until the target is full, the input is used up, or a member has ended.
   * @returns false if the data is not gzip
   */
  inflate(): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#isal.inflate.async(this.state, (error, result) => {
        if (error === null) resolve(result >= 0 && result <= LAST_GOOD_RESULT);
        else reject(error);
      });
    });
  }
}

/** ISAL_DECOMP_OK, ISAL_END_INPUT, ISAL_OUT_OVERFLOW; what is above asks for dictionaries and the like. */
const LAST_GOOD_RESULT = 2;

function addressOf(memory: Buffer): bigint {
  return koffi.address(memory);
}
