import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { OstreeError } from '../../../ostree/index.ts';
import { decodeVariant } from '../../../ostree/gvariant/decode.ts';
import { encodeVariant } from '../../../ostree/gvariant/encode.ts';
import { variant, type GVariantValue } from '../../../ostree/gvariant/value.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

// From the GVariant specification, "Examples", and from objects that libostree wrote.
const EXAMPLES: readonly [type: string, value: GVariantValue, bytes: Buffer][] = [
  ['s', 'hello world', Buffer.from('hello world\0')],
  ['ms', ['hello world'], Buffer.from('hello world\0\0')],
  ['ms', null, Buffer.alloc(0)],
  ['ab', [true, false, false, true, true], hex('01 00 00 01 01')],
  ['(si)', ['foo', -1], hex('666f6f00 ffffffff 04')],
  [
    'a(si)',
    [
      ['hi', -2],
      ['bye', -1],
    ],
    hex('68690000 feffffff 03 000000 62796500 ffffffff 04 09 15'),
  ],
  ['as', ['i', 'can', 'has', 'strings?'], Buffer.concat([Buffer.from('i\0can\0has\0strings?\0'), hex('02 06 0a 13')])],
  ['aay', [Buffer.from('i\0'), Buffer.from('can\0')], Buffer.concat([Buffer.from('i\0can\0'), hex('02 06')])],
  ['(yy)', [0x70, 0x80], hex('70 80')],
  ['(iy)', [0x70, 0x80], hex('70000000 80 000000')],
  [
    'a(iy)',
    [
      [96, 0x70],
      [648, 0xf7],
    ],
    hex('60000000 70 000000 88020000 f7 000000'),
  ],
  ['ai', [4, 258], hex('04000000 02010000')],
  ['{si}', ['a key', 514], hex('61206b657900 0000 02020000 06')],
  ['v', variant.boolean(true), hex('01 00 62')],
  ['()', [], hex('00')],
  ['(a(say)a(sayay))', [[], []], hex('00')],
  ['(t)', [5n], hex('05000000 00000000')],
];

const text = fc.string({ unit: 'grapheme' }).filter((value) => value.isWellFormed() && !value.includes('\0'));
const leaf: fc.Arbitrary<{ type: string; value: GVariantValue }> = fc.oneof(
  text.map((value) => ({ type: 's', value })),
  fc.boolean().map((value) => ({ type: 'b', value })),
  fc.nat(255).map((value) => ({ type: 'y', value })),
  fc.nat(0xffff).map((value) => ({ type: 'q', value })),
  fc.nat().map((value) => ({ type: 'u', value })),
  fc.bigInt(0n, 2n ** 64n - 1n).map((value) => ({ type: 't', value })),
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map((value) => ({ type: 'x', value })),
  fc.uint8Array({ maxLength: 400 }).map((value) => ({ type: 'ay', value: Buffer.from(value) })),
  fc.array(text).map((value) => ({ type: 'as', value })),
);
const { anything } = fc.letrec<{ anything: { type: string; value: GVariantValue } }>((tie) => ({
  anything: fc.oneof(
    { maxDepth: 4 },
    leaf,
    tie('anything').map((inner) => ({ type: 'v', value: inner })),
    tie('anything').map(({ type, value }) => ({ type: `m${type}`, value: [value] })),
    fc.array(tie('anything'), { maxLength: 5 }).map((members) => ({
      type: `(${members.map(({ type }) => type).join('')})`,
      value: members.map(({ value }) => value),
    })),
    fc.array(fc.tuple(text, tie('anything')), { maxLength: 5 }).map((value) => ({ type: 'a{sv}', value })),
  ),
}));

describe('GVariant', () => {
  for (const [type, value, bytes] of EXAMPLES) {
    it(`writes and reads ${type} of ${bytes.length} bytes as the specification shows it`, () => {
      assert.equal(encodeVariant(type, value).toString('hex'), bytes.toString('hex'));
      assert.deepEqual(decodeVariant(type, bytes), value);
    });
  }

  it('reads back whatever it writes', () => {
    fc.assert(
      fc.property(anything, ({ type, value }) => {
        assert.deepEqual(decodeVariant(type, encodeVariant(type, value)), value);
      }),
    );
  });

  it('widens its offsets when a container outgrows them', () => {
    for (const size of [251, 252, 253, 254, 255, 256, 65_000, 65_534, 65_536, 70_000]) {
      const value = [Buffer.alloc(size, 1), 'end'];
      assert.deepEqual(decodeVariant('(ays)', encodeVariant('(ays)', value)), value, `${size} bytes`);
    }
  });

  it('ends in a value or an OstreeError, whatever bytes it is given, and never accepts two forms of one value', () => {
    const types = ['a{sv}', '(a{sv}aya(say)sstayay)', '(a(say)a(sayay))', 'v', 'as', 'aas', 'a(si)', '(uuuusa(ayay))'];
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      // Mostly zeros and small numbers: looks like offsets far more often.
      fc.array(fc.oneof(fc.constant(0), fc.nat(40)), { maxLength: 300 }).map((list) => Uint8Array.from(list)),
    );
    fc.assert(
      fc.property(fc.constantFrom(...types), bytes, (type, input) => {
        const buffer = Buffer.from(input);
        let value: GVariantValue;
        try {
          value = decodeVariant(type, buffer);
        } catch (error) {
          assert.ok(error instanceof OstreeError && error.code === 'InvalidData', String(error));
          return;
        }
        assert.ok(encodeVariant(type, value).equals(buffer));
      }),
      { numRuns: 3000 },
    );
  });

  it('survives a changed byte anywhere in a valid value', () => {
    const bytes = encodeVariant('a{sv}', [
      ['version', variant.string('1')],
      ['deep', variant.dictionary([['list', variant.strings(['a', 'b'])]])],
    ]);
    for (let position = 0; position < bytes.length; position++) {
      for (const replacement of [0, 1, 0x7f, 0xff]) {
        const damaged = Buffer.from(bytes);
        damaged[position] = replacement;
        try {
          decodeVariant('a{sv}', damaged);
        } catch (error) {
          assert.ok(error instanceof OstreeError, String(error));
        }
      }
    }
  });

  it('refuses variants nested without end instead of exhausting the stack', () => {
    const nested = Buffer.concat([hex('01'), Buffer.from('\0b'), Buffer.from('\0v'.repeat(100_000))]);
    assert.throws(() => decodeVariant('v', nested), { code: 'InvalidData' });
    assert.throws(() => decodeVariant('a'.repeat(100_000), Buffer.alloc(0)), { code: 'InvalidData' });
  });

  it('refuses padding that is not zero, offsets that are too wide, text that is not UTF-8 and cut values', () => {
    const refused: readonly [type: string, bytes: Buffer][] = [
      ['(iy)', hex('70000000 80 000001')],
      ['(si)', hex('666f6f01 ffffffff 04')],
      ['s', hex('ff 00')],
      ['s', hex('61 62')],
      ['b', hex('02')],
      ['as', hex('61 00 62 00 02 05')],
      ['as', hex('ff')],
      ['ai', hex('01 00 00')],
      ['v', hex('01 00')],
      ['v', hex('01 00 2a')],
    ];
    for (const [type, bytes] of refused) assert.throws(() => decodeVariant(type, bytes), { code: 'InvalidData' }, type);
  });

  it('refuses to write values that do not fit their type', () => {
    const refused: readonly [type: string, value: GVariantValue][] = [
      ['s', 'a\0b'],
      ['s', 5],
      ['b', 'true'],
      ['(ss)', ['one']],
      ['v', 'bare'],
      ['t', 5],
    ];
    for (const [type, value] of refused) assert.throws(() => encodeVariant(type, value), { code: 'InvalidData' }, type);
  });
});
