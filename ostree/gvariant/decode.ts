/**
 * The GVariant parser, for bytes from strangers: every offset is checked before it is used, work is linear in the input,
 * and only normal form is accepted. GLib reads non-normal bytes as default values; a second tool could then see
 * different content under the same checksum, so here they are an error.
 */
import { OstreeError } from '../errors.ts';
import { encodeVariant } from './encode.ts';
import { offsetWidth, readOffset } from './framing.ts';
import { align, MAX_DEPTH, parseType, type BasicCode, type GVariantType } from './type.ts';
import type { GVariantValue, Variant } from './value.ts';

/** Parses `bytes` as `type`. Throws InvalidData unless they are the normal form of a value of that type. */
export function decodeVariant(type: string | GVariantType, bytes: Buffer): GVariantValue {
  const parsed = typeof type === 'string' ? parseType(type) : type;
  const value = decode(parsed, bytes, 0);
  // Normal form is, by definition, what the serialiser writes: padding, offset widths and UTF-8 are all covered.
  if (!encodeVariant(parsed, value).equals(bytes)) throw malformed();
  return value;
}

function malformed(): OstreeError {
  return new OstreeError('InvalidData', 'the bytes are not a GVariant in normal form');
}

function decode(type: GVariantType, bytes: Buffer, depth: number): GVariantValue {
  if (depth > MAX_DEPTH) throw malformed();
  if (type.fixedSize !== undefined && bytes.length !== type.fixedSize) throw malformed();
  switch (type.kind) {
    case 'basic':
      return decodeBasic(type.code, bytes);
    case 'variant':
      return decodeInnerVariant(bytes, depth);
    case 'array':
      return decodeArray(type.element, bytes, depth);
    case 'maybe':
      return decodeMaybe(type.element, bytes, depth);
    case 'tuple':
      return decodeTuple(type.members, bytes, type.fixedSize !== undefined, depth);
  }
}

function decodeBasic(code: BasicCode, bytes: Buffer): GVariantValue {
  switch (code) {
    case 's':
    case 'o':
    case 'g': {
      if (bytes.indexOf(0) !== bytes.length - 1) throw malformed();
      return bytes.toString('utf8', 0, bytes.length - 1);
    }
    case 'b':
      return bytes.readUInt8() === 1;
    case 'y':
      return bytes.readUInt8();
    case 'n':
      return bytes.readInt16LE();
    case 'q':
      return bytes.readUInt16LE();
    case 'i':
    case 'h':
      return bytes.readInt32LE();
    case 'u':
      return bytes.readUInt32LE();
    case 'x':
      return bytes.readBigInt64LE();
    case 't':
      return bytes.readBigUInt64LE();
    case 'd':
      return bytes.readDoubleLE();
  }
}

function decodeInnerVariant(bytes: Buffer, depth: number): Variant {
  const separator = bytes.lastIndexOf(0);
  if (separator < 0) throw malformed();
  const type = bytes.toString('latin1', separator + 1);
  return { type, value: decode(parseType(type), bytes.subarray(0, separator), depth + 1) };
}

function decodeMaybe(element: GVariantType, bytes: Buffer, depth: number): GVariantValue {
  if (bytes.length === 0) return null;
  const inner = element.fixedSize === undefined ? bytes.subarray(0, -1) : bytes;
  return [decode(element, inner, depth + 1)];
}

function decodeArray(element: GVariantType, bytes: Buffer, depth: number): GVariantValue {
  if (element.kind === 'basic' && element.code === 'y') return Buffer.from(bytes);
  if (bytes.length === 0) return [];
  const items: GVariantValue[] = [];
  if (element.fixedSize !== undefined) {
    if (bytes.length % element.fixedSize !== 0) throw malformed();
    for (let start = 0; start < bytes.length; start += element.fixedSize) {
      items.push(decode(element, bytes.subarray(start, start + element.fixedSize), depth + 1));
    }
    return items;
  }
  const width = offsetWidth(bytes.length);
  if (bytes.length < width) throw malformed();
  const bodySize = readOffset(bytes, bytes.length - width, width);
  if (bodySize > bytes.length - width || (bytes.length - bodySize) % width !== 0) throw malformed();
  let start = 0;
  for (let position = bodySize; position < bytes.length; position += width) {
    start = align(start, element.alignment);
    const end = readOffset(bytes, position, width);
    items.push(decode(element, slice(bytes, start, end, bodySize), depth + 1));
    start = end;
  }
  return items;
}

function decodeTuple(members: readonly GVariantType[], bytes: Buffer, fixed: boolean, depth: number): GVariantValue {
  const values: GVariantValue[] = [];
  const width = offsetWidth(bytes.length);
  const variable = members.filter((member, index) => member.fixedSize === undefined && index < members.length - 1);
  const bodySize = fixed ? bytes.length : bytes.length - width * variable.length;
  if (bodySize < 0) throw malformed();
  let start = 0;
  let offsetPosition = bytes.length;
  for (const [index, member] of members.entries()) {
    start = align(start, member.alignment);
    let end: number;
    if (member.fixedSize !== undefined) end = start + member.fixedSize;
    else if (index === members.length - 1) end = bodySize;
    else {
      offsetPosition -= width;
      end = readOffset(bytes, offsetPosition, width);
    }
    values.push(decode(member, slice(bytes, start, end, bodySize), depth + 1));
    start = end;
  }
  return values;
}

function slice(bytes: Buffer, start: number, end: number, limit: number): Buffer {
  if (start > end || end > limit) throw malformed();
  return bytes.subarray(start, end);
}
