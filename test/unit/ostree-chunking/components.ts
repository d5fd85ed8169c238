/** Components for tests of the packing. */
import * as fc from 'fast-check';
import { type Component, MAX_FREQUENCY } from '../../../ostree/chunking/component.ts';

/** A component of one object, called after its identifier. */
export function component(id: string, changes: Partial<Component> = {}): Component {
  const name = changes.name ?? id;
  return {
    id,
    name,
    source: `source of ${name}`,
    changeTimeOffset: 0,
    changeFrequency: 0,
    objects: [`object of ${id}`],
    size: 1000,
    ...changes,
  };
}

/** Sizes and frequencies of all orders of magnitude, many of them equal. */
const size = fc.oneof(
  fc.constantFrom(0, 1, 1000),
  fc.integer({ min: 0, max: 3000 }),
  fc.integer({ min: 0, max: 200_000_000 }),
);
const changeFrequency = fc.oneof(
  fc.constantFrom(0, 1, 30, MAX_FREQUENCY),
  fc.integer({ min: 0, max: 60 }),
  fc.integer({ min: 0, max: 100_000 }),
);

/** Nearly everything changes always: few components are left for many layers. */
const mostlyAlways = fc.integer({ min: 0, max: 30 }).map((value) => (value > 2 ? MAX_FREQUENCY : value));

/** Any set of components. */
export function componentSets(maxLength: number): fc.Arbitrary<readonly Component[]> {
  const setWith = (frequency: fc.Arbitrary<number>) =>
    fc.array(fc.record({ size, changeFrequency: frequency, source: fc.integer({ min: 0, max: 40 }) }), {
      maxLength,
      size: 'max',
    });
  const sets = fc.oneof(
    { arbitrary: setWith(changeFrequency), weight: 9 },
    { arbitrary: setWith(mostlyAlways), weight: 1 },
  );
  return sets.map((all) =>
    all.map(({ source, ...numbers }, index) =>
      component(`package-${index}.0`, { name: `package-${index}`, source: `source-${source}`, ...numbers }),
    ),
  );
}
