import assert from 'node:assert/strict';
import { type Component, MAX_FREQUENCY } from '../../../ostree/chunking/component.ts';
import { pack } from '../../../ostree/chunking/pack.ts';
import { layoutOf } from '../../../ostree/chunking/previous-layout.ts';
import { component } from './components.ts';

/** The reference implementation's own example: number, frequency, size. Source: OSTree native containers, packing. */
const EXAMPLE = [
  [1, MAX_FREQUENCY, 100000],
  [2, MAX_FREQUENCY, 99999],
  [3, 30, 99998],
  [4, 100, 99997],
  [10, 51, 1000],
  [8, 50, 500],
  [9, 1, 200],
  [11, 100000, 199],
  [6, 30, 2],
  [7, 30, 1],
].map(([number = 0, changeFrequency = 0, size = 0]) => example(number, changeFrequency, size));

function example(number: number, changeFrequency: number, size: number, version = 0): Component {
  return component(`pkg${number}.${version}`, { name: `pkg${number}`, changeFrequency, size });
}

function packed(components: readonly Component[], previous?: readonly (readonly string[])[]) {
  return pack(components, { maxLayers: 6, algorithm: 'baseline', previous });
}

function names(numbers: readonly (readonly number[])[]): readonly (readonly string[])[] {
  return numbers.map((layer) => layer.map((number) => `pkg${number}`).sort());
}

describe('the base-line packing', () => {
  const first = names([[3], [4], [6, 7, 11], [9, 8, 10], [1, 2], []]);

  it('divides the example of the reference implementation as that one does', () => {
    assert.deepEqual(
      packed(EXAMPLE).map(({ components }) => components),
      first,
    );
  });

  it('says of each layer what the reference says', () => {
    assert.deepEqual(
      packed(EXAMPLE).map(({ name }) => name),
      [
        'pkg3.0',
        'pkg4.0',
        'pkg6.0 and pkg7.0 and pkg11.0',
        'pkg9.0 and pkg8.0 and pkg10.0',
        'pkg1.0 and pkg2.0',
        'Reserved for new packages',
      ],
    );
    const many = Array.from({ length: 20 }, (_, index) => component(`small-${index}`, { size: 10 }));
    const large = Array.from({ length: 20 }, (_, index) => component(`large-${index}`, { size: 10000 + 997 * index }));
    const counted = packed([...many, ...large]).map(({ name }) => name);
    assert.ok(counted.includes('20 components'), counted.join('; '));
  });

  it('keeps an earlier layout: updates in place, without what is gone, new ones in the last layer', () => {
    const second = [example(1, MAX_FREQUENCY, 100000, 1), ...EXAMPLE.slice(1, -1), example(5, 42, 100000)];
    const secondNames = packed(second, first).map(({ components }) => components);
    assert.deepEqual(secondNames, names([[3], [4], [6, 11], [9, 8, 10], [1, 2], [5]]));
    const third = [...second.slice(0, -1), example(5, 42, 100000, 1), example(12, 42, 100000)];
    const thirdNames = packed(third, secondNames).map(({ components }) => components);
    assert.deepEqual(thirdNames, names([[3], [4], [6, 11], [9, 8, 10], [1, 2], [5, 12]]));
  });

  it('drops layers that have become empty, but not the last', () => {
    const left = EXAMPLE.filter(({ name }) => name !== 'pkg3');
    const layers = packed(left, first).map(({ components }) => components);
    assert.deepEqual(layers, names([[4], [6, 7, 11], [9, 8, 10], [1, 2], []]));
  });

  it('is made anew when the earlier layout has more layers than are allowed', () => {
    const wide = EXAMPLE.map(({ name }) => [name]);
    assert.deepEqual(packed(EXAMPLE, wide), packed(EXAMPLE));
  });

  it('gives each component a layer, and one to come, as long as there are enough', () => {
    const few = EXAMPLE.slice(0, 3);
    assert.deepEqual(
      packed(few).map(({ components }) => components),
      [['pkg1'], ['pkg2'], ['pkg3'], []],
    );
    assert.deepEqual(packed([]), []);
  });

  it('refuses fewer than four layers', () => {
    for (const maxLayers of [3, 0, -1, 4.5, Number.NaN]) {
      assert.throws(() => pack(EXAMPLE, { maxLayers, algorithm: 'baseline' }), {
        code: 'InvalidData',
        message: /allow 4 or more/,
      });
    }
  });
});

describe('the layout of an earlier image', () => {
  const layer = (components?: string) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: `sha256:${'0'.repeat(64)}`,
    size: 1,
    ...(components !== undefined && { annotations: { 'ostree.components': components } }),
  });
  const manifest = (...layers: readonly ReturnType<typeof layer>[]) => ({
    schemaVersion: 2 as const,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: layer(),
    layers,
  });

  it('is what the annotations say, without the commit and without what somebody put on top', () => {
    const layout = layoutOf('image', manifest(layer(), layer('a,b'), layer(''), layer('c'), layer(), layer()));
    assert.deepEqual(layout, [['a', 'b'], [], ['c']]);
  });

  it('is refused where there is none', () => {
    for (const broken of [manifest(layer()), manifest(layer(), layer()), manifest(layer(), layer(), layer('a'))]) {
      assert.throws(() => layoutOf('the.image/os:1', broken), {
        code: 'InvalidData',
        message: /^the\.image\/os:1 has no layout to keep: .*; name an image that was made in chunks/,
      });
    }
  });
});
