import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { type Component, MAX_FREQUENCY } from '../../../ostree/chunking/component.ts';
import { pack, type PackingAlgorithm } from '../../../ostree/chunking/pack.ts';
import { component, componentSets } from './components.ts';

const algorithms = fc.constantFrom<PackingAlgorithm>('default', 'baseline');
const limits = fc.integer({ min: 4, max: 70 });

function layersOf(components: readonly Component[], maxLayers = 64, previous?: readonly (readonly string[])[]) {
  return pack(components, { maxLayers, algorithm: 'default', previous }).map(({ components }) => components);
}

describe('packing', () => {
  it('puts every object into exactly one layer, and makes no more layers than allowed', () => {
    fc.assert(
      fc.property(componentSets(300), limits, algorithms, (components, maxLayers, algorithm) => {
        const chunks = pack(components, { maxLayers, algorithm });
        assert.ok(chunks.length <= maxLayers, `${chunks.length} layers of ${maxLayers}`);
        assert.deepEqual(
          chunks.flatMap(({ objects }) => objects).sort(),
          components.flatMap(({ objects }) => objects).sort(),
        );
      }),
    );
  });

  it('does so whatever an earlier layout says', () => {
    const names = fc.integer({ min: 0, max: 120 }).map((index) => `package-${index}`);
    const layouts = fc.array(fc.array(names, { maxLength: 6 }), { minLength: 1, maxLength: 90 });
    fc.assert(
      fc.property(componentSets(100), layouts, limits, algorithms, (components, previous, maxLayers, algorithm) => {
        const chunks = pack(components, { maxLayers, algorithm, previous });
        assert.ok(chunks.length <= maxLayers, `${chunks.length} layers of ${maxLayers}`);
        assert.deepEqual(
          chunks.flatMap(({ objects }) => objects).sort(),
          components.flatMap(({ objects }) => objects).sort(),
        );
      }),
    );
  });

  it('does not depend on the order of the components', () => {
    const sets = componentSets(150).chain((components) =>
      fc.tuple(fc.constant(components), fc.shuffledSubarray([...components], { minLength: components.length })),
    );
    fc.assert(
      fc.property(sets, limits, algorithms, ([components, shuffled], maxLayers, algorithm) => {
        assert.deepEqual(pack(shuffled, { maxLayers, algorithm }), pack(components, { maxLayers, algorithm }));
      }),
    );
  });

  it('keeps the layers of an earlier layout as they are when nothing is added', () => {
    const sets = componentSets(150).chain((components) =>
      fc.tuple(fc.constant(components), fc.subarray([...components])),
    );
    fc.assert(
      fc.property(sets, limits, algorithms, ([components, left], maxLayers, algorithm) => {
        const before = pack(components, { maxLayers, algorithm }).map((chunk) => chunk.components);
        const after = pack(left, { maxLayers, algorithm, previous: before }).map((chunk) => chunk.components);
        const names = new Set(left.map(({ name }) => name));
        const expected = before.map((layer) => layer.filter((name) => names.has(name)));
        assert.deepEqual(
          after.filter((layer) => layer.length > 0),
          expected.filter((layer) => layer.length > 0),
        );
      }),
    );
  });

  it('moves nothing when something is added', () => {
    fc.assert(
      fc.property(componentSets(100), limits, algorithms, fc.nat(), (components, maxLayers, algorithm, size) => {
        const before = pack(components, { maxLayers, algorithm }).map((chunk) => chunk.components);
        if (before.length === 0) return;
        const added = [...components, component('added', { size }), component('added-too', { size: 10 })];
        const after = pack(added, { maxLayers, algorithm, previous: before }).map((chunk) =>
          chunk.components.filter((name) => !name.startsWith('added')),
        );
        const present = (layers: readonly (readonly string[])[]) => layers.filter((layer) => layer.length > 0);
        assert.deepEqual(present(after), present(before));
      }),
    );
  });

  it('has no layer for a component without objects', () => {
    assert.deepEqual(layersOf([component('empty', { objects: [], size: 0 }), component('bash')]), [['bash']]);
  });

  it('refuses names that the annotation of a layer cannot carry', () => {
    for (const name of ['', 'a,b']) {
      assert.throws(() => layersOf([component('odd', { name })]), { code: 'InvalidData', message: /component odd/ });
    }
  });
});

describe('the default packing', () => {
  it('gives kernel, initramfs and what no package owns a layer each', () => {
    const packages = Array.from({ length: 300 }, (_, index) =>
      component(`package-${index}`, { size: 10_000 * (index + 1), changeFrequency: index % 7 }),
    );
    const layers = layersOf([
      ...packages,
      component('linux-image', { size: 80e6, changeFrequency: 20 }),
      component('initramfs', { size: 60e6, changeFrequency: MAX_FREQUENCY }),
      component('unpackaged', { size: 5e6, changeFrequency: MAX_FREQUENCY }),
    ]);
    for (const name of ['linux-image', 'initramfs', 'unpackaged']) {
      assert.deepEqual(
        layers.filter((layer) => layer.includes(name)),
        [[name]],
      );
    }
  });

  it('keeps small files that change with every build out of the layers of packages', () => {
    const packages = Array.from({ length: 200 }, (_, index) => component(`package-${index}`, { size: 100_000 }));
    const small = ['status', 'ld.so.cache'].map((id) => component(id, { size: 9000, changeFrequency: MAX_FREQUENCY }));
    assert.ok(layersOf([...packages, ...small]).some((layer) => layer.join() === 'ld.so.cache,status'));
  });

  it('keeps the packages of one source together, as they are updated together', () => {
    const packages = Array.from({ length: 300 }, (_, index) =>
      component(`package-${index}`, { source: `source-${index % 90}`, size: 1000 * (index + 1) }),
    );
    const layers = layersOf(packages, 20);
    for (let source = 0; source < 90; source++) {
      const names = packages.filter((one) => one.source === `source-${source}`).map(({ name }) => name);
      assert.equal(layers.filter((layer) => layer.some((name) => names.includes(name))).length, 1);
    }
  });

  it('keeps two versions of one package together, as a later layout cannot tell them apart', () => {
    const twins = ['1', '2'].map((version) =>
      component(`kernel-${version}`, { name: 'kernel', source: `kernel-${version}.src`, size: 50e6 }),
    );
    assert.deepEqual(layersOf([...twins, component('bash')]), [['bash'], ['kernel']]);
  });

  it('puts a package under a new number where the old one was', () => {
    const others = Array.from({ length: 40 }, (_, index) => component(`package-${index}`));
    const before = layersOf([...others, component('linux-image-6.1.0-18-amd64', { size: 50e6 })], 8);
    const after = layersOf([...others, component('linux-image-6.1.0-20-amd64', { size: 50e6 })], 8, before);
    const place = before.findIndex((layer) => layer.includes('linux-image-6.1.0-18-amd64'));
    assert.deepEqual(after[place], ['linux-image-6.1.0-20-amd64']);
    assert.equal(after.length, before.length);
  });

  it('adds a new package as a layer of its own while there is room, later where it costs least', () => {
    const large = Array.from({ length: 3 }, (_, index) => component(`large-${index}`, { size: 90e6 + index }));
    const before = layersOf([...large, component('small', { size: 10_000 })], 64);
    const roomy = layersOf(
      [...large, component('small', { size: 10_000 }), component('new', { size: 1e6 })],
      64,
      before,
    );
    assert.deepEqual(roomy.at(-1), ['new']);
    const full = layersOf(
      [...large, component('small', { size: 10_000 }), component('new', { size: 1e6 })],
      before.length,
      before,
    );
    assert.ok(full.some((layer) => layer.join() === 'new,small'));
  });

  it('gives what is exclusive a layer of its own, however small, and puts nothing new into it', () => {
    const packages = Array.from({ length: 100 }, (_, index) =>
      component(`package-${index}`, { size: 5000 * (index + 1) }),
    );
    const mine = component('mine', { size: 10, isExclusive: true });
    const before = layersOf([...packages, mine], 20);
    const alone = (layers: readonly (readonly string[])[], name: string) => layers.filter((one) => one.includes(name));
    assert.deepEqual(alone(before, 'mine'), [['mine']]);
    const added = [component('tiny', { size: 10 }), component('yours', { size: 10, isExclusive: true })];
    const after = layersOf([...packages, mine, ...added], 64, before);
    for (const name of ['mine', 'yours']) assert.deepEqual(alone(after, name), [[name]]);
    // Where there are too few layers, it is packed like any other.
    const few = layersOf([...packages, mine, ...added], 2);
    assert.equal(few.flat().length, 103);
  });

  it('is made anew when the earlier layout has more layers than are allowed', () => {
    const components = Array.from({ length: 30 }, (_, index) => component(`package-${index}`, { size: 5000 * index }));
    const wide = components.map(({ name }) => [name]);
    assert.deepEqual(layersOf(components, 8, wide), layersOf(components, 8));
  });

  it('tells in the history what the largest components of a layer are', () => {
    const components = Array.from({ length: 30 }, (_, index) => component(`package-${index}`, { size: 1000 + index }));
    const [chunk] = pack(components, { maxLayers: 1, algorithm: 'default' });
    assert.equal(chunk?.name, 'package-29 and package-28 and package-27 and 27 others');
  });
});
