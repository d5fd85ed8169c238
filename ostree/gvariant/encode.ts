/**
 * The GVariant serialiser: https://docs.gtk.org/glib/gvariant-specification-1.0.html. Integers are little-endian, as
 * on every machine that runs OSTree today; where OSTree itself stores big-endian numbers, its own encoders swap them.
 */
import { OstreeError } from '../errors.ts';
import { appendOffsets } from './framing.ts';
import { align, parseType, type BasicCode, type GVariantType } from './type.ts';
import type { GVariantValue, Variant } from './value.ts';

/** Serialises `value` as `type`. Throws InvalidData if the value does not fit the type. */
export function encodeVariant(type: string | GVariantType, value: GVariantValue): Buffer {
  return encode(typeof type === 'string' ? parseType(type) : type, value);
}

function encode(type: GVariantType, value: GVariantValue): Buffer {
  switch (type.kind) {
    case 'basic':
      return encodeBasic(type.code, value);
    case 'variant':
      return encodeInnerVariant(value);
    case 'array':
      if (Buffer.isBuffer(value) && type.element.kind === 'basic' && type.element.code === 'y') return value;
      return encodeArray(type.element, list(value));
    case 'maybe':
      return encodeMaybe(type.element, value);
    case 'tuple':
      return encodeTuple(type, list(value));
  }
}

function list(value: GVariantValue): readonly GVariantValue[] {
  if (Array.isArray(value)) return value;
  throw unfit('a list', value);
}

function unfit(wanted: string, value: unknown): OstreeError {
  return new OstreeError('InvalidData', `GVariant value is ${typeof value} where ${wanted} belongs`);
}

function encodeBasic(code: BasicCode, value: GVariantValue): Buffer {
  switch (code) {
    case 's':
    case 'o':
    case 'g':
      if (typeof value !== 'string' || value.includes('\0') || !value.isWellFormed()) {
        throw unfit('a string without NUL', value);
      }
      return Buffer.from(`${value}\0`);
    case 'b':
      if (typeof value !== 'boolean') throw unfit('a boolean', value);
      return Buffer.of(value ? 1 : 0);
    case 'x':
    case 't':
      if (typeof value !== 'bigint') throw unfit('a bigint', value);
      return encodeWide(code, value);
    default:
      if (typeof value !== 'number') throw unfit('a number', value);
      return encodeNumber(code, value);
  }
}

function encodeWide(code: 'x' | 't', value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  if (code === 'x') bytes.writeBigInt64LE(value);
  else bytes.writeBigUInt64LE(value);
  return bytes;
}

function encodeNumber(code: 'y' | 'n' | 'q' | 'i' | 'u' | 'h' | 'd', value: number): Buffer {
  const bytes = Buffer.alloc(8);
  switch (code) {
    case 'y':
      return bytes.subarray(0, bytes.writeUInt8(value));
    case 'n':
      return bytes.subarray(0, bytes.writeInt16LE(value));
    case 'q':
      return bytes.subarray(0, bytes.writeUInt16LE(value));
    case 'i':
    case 'h':
      return bytes.subarray(0, bytes.writeInt32LE(value));
    case 'u':
      return bytes.subarray(0, bytes.writeUInt32LE(value));
    case 'd':
      return bytes.subarray(0, bytes.writeDoubleLE(value));
  }
}

function isVariant(value: GVariantValue): value is Variant {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && 'type' in value;
}

function encodeInnerVariant(value: GVariantValue): Buffer {
  if (!isVariant(value)) throw unfit('a variant', value);
  return Buffer.concat([encodeVariant(value.type, value.value), Buffer.from(`\0${value.type}`)]);
}

function encodeMaybe(element: GVariantType, value: GVariantValue): Buffer {
  if (value === null) return Buffer.alloc(0);
  const [inner, ...rest] = list(value);
  if (inner === undefined || rest.length > 0) throw unfit('a list of one', value);
  const bytes = encode(element, inner);
  return element.fixedSize === undefined ? Buffer.concat([bytes, Buffer.alloc(1)]) : bytes;
}

function encodeArray(element: GVariantType, items: readonly GVariantValue[]): Buffer {
  const body = new Body();
  const ends: number[] = [];
  for (const item of items) {
    body.append(element.alignment, encode(element, item));
    ends.push(body.size);
  }
  return element.fixedSize === undefined ? appendOffsets(body.bytes(), ends) : body.bytes();
}

function encodeTuple(type: GVariantType & { kind: 'tuple' }, values: readonly GVariantValue[]): Buffer {
  if (values.length !== type.members.length) throw unfit(`a list of ${type.members.length}`, values);
  const body = new Body();
  const ends: number[] = [];
  for (const [index, member] of type.members.entries()) {
    const value = values[index];
    if (value === undefined) throw unfit('a value', value);
    body.append(member.alignment, encode(member, value));
    if (member.fixedSize === undefined && index < type.members.length - 1) ends.unshift(body.size);
  }
  if (type.fixedSize === undefined) return appendOffsets(body.bytes(), ends);
  body.padTo(type.fixedSize);
  return body.bytes();
}

/** Bytes that grow by aligned pieces. */
class Body {
  size = 0;
  readonly #pieces: Buffer[] = [];

  append(alignment: number, piece: Buffer): void {
    this.padTo(align(this.size, alignment));
    this.#pieces.push(piece);
    this.size += piece.length;
  }

  padTo(size: number): void {
    if (size === this.size) return;
    this.#pieces.push(Buffer.alloc(size - this.size));
    this.size = size;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#pieces, this.size);
  }
}
