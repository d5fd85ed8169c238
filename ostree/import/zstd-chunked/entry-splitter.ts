/**
 * Cuts a large JSON document with one list into the entries of that list, as it arrives: a table of contents of a hundred
 * thousand entries would take ten times its size if it were parsed at once.
 */
import { PartialFetchUnusable } from './unusable.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** Bytes of one entry: a megabyte of attributes is more than the kernel takes. */
const MAX_ENTRY_BYTES = 2 * 1024 * 1024;
/** Bytes of all that is not in the list. */
const MAX_REST_BYTES = 64 * 1024;
/** Inside the document, inside a list that is a member of it. */
const ENTRY_DEPTH = 2;

/** Write the document, then `finish`. */
export class EntrySplitter {
  readonly #entry: (text: string) => void;
  readonly #rest: Buffer[] = [];
  #restLength = 0;
  /** Of the entry that is being read, what came with earlier chunks. */
  readonly #begun: Buffer[] = [];
  #begunLength = 0;
  #depth = 0;
  #lists = 0;
  #inEntry = false;
  #inString = false;
  #escaped = false;

  /** @param entry is given the text of each object in the list */
  constructor(entry: (text: string) => void) {
    this.#entry = entry;
  }

  /** @throws {PartialFetchUnusable} for parts that are too large; and whatever the callback throws. */
  write(chunk: Buffer): void {
    /** Where what has not been dealt with begins. */
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
        continue;
      }
      switch (byte) {
        case QUOTE:
          this.#inString = true;
          break;
        case OPEN_OBJECT:
        case OPEN_LIST:
          if (byte === OPEN_OBJECT && this.#depth === ENTRY_DEPTH && !this.#inEntry) {
            this.#keepRest(chunk.subarray(start, at));
            start = at;
            this.#inEntry = true;
          }
          if (byte === OPEN_LIST && this.#depth === ENTRY_DEPTH - 1 && ++this.#lists > 1) {
            throw new PartialFetchUnusable('its table of contents has more than one list');
          }
          this.#depth++;
          break;
        case CLOSE_OBJECT:
        case CLOSE_LIST:
          this.#depth--;
          if (!this.#inEntry || this.#depth !== ENTRY_DEPTH) break;
          this.#finishEntry(chunk.subarray(start, at + 1));
          start = at + 1;
          break;
        case COMMA:
          // Between two entries: the list is empty in what is left.
          if (this.#depth !== ENTRY_DEPTH || this.#inEntry) break;
          this.#keepRest(chunk.subarray(start, at));
          start = at + 1;
          break;
        default:
      }
    }
    const left = chunk.subarray(start);
    if (this.#inEntry) this.#begin(left);
    else this.#keepRest(left);
  }

  /** The text of the document without its entries. @throws {PartialFetchUnusable} when it ends inside of one. */
  finish(): string {
    if (this.#inEntry) throw new PartialFetchUnusable('its table of contents ends in the middle of an entry');
    return Buffer.concat(this.#rest).toString();
  }

  #begin(bytes: Buffer): void {
    this.#begun.push(Buffer.from(bytes));
    this.#begunLength += bytes.length;
    if (this.#begunLength > MAX_ENTRY_BYTES) {
      throw new PartialFetchUnusable(`its table of contents has an entry of more than ${MAX_ENTRY_BYTES} bytes`);
    }
  }

  #finishEntry(bytes: Buffer): void {
    this.#inEntry = false;
    if (this.#begun.length === 0) {
      this.#entry(bytes.toString());
      return;
    }
    this.#begin(bytes);
    const text = Buffer.concat(this.#begun).toString();
    this.#begun.length = 0;
    this.#begunLength = 0;
    this.#entry(text);
  }

  #keepRest(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#rest.push(Buffer.from(bytes));
    this.#restLength += bytes.length;
    if (this.#restLength > MAX_REST_BYTES) {
      throw new PartialFetchUnusable(`its table of contents has more than ${MAX_REST_BYTES} bytes besides its entries`);
    }
  }
}
