import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { pack } from '../../../ostree/chunking/pack.ts';
import { TEMPLATES_ANNOTATION, templatesAnnotation, templatesOf } from '../../../ostree/chunking/templates.ts';
import { component } from './components.ts';

const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: 'sha256:0', size: 1 };

describe('what configuration was copied from', () => {
  it('is read from an image as it was written', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ unit: 'binary' }), { maxLength: 20 }), (paths) => {
        const layers = [layer, { ...layer, annotations: templatesAnnotation(paths) }];
        assert.deepEqual([...templatesOf({ layers })], paths);
      }),
    );
    assert.deepEqual(templatesAnnotation([]), {});
  });

  it('makes no manifest of a system too large, however much was copied', () => {
    const paths = Array.from({ length: 100_000 }, (_, index) => `usr/share/factory/etc/${index}`);
    assert.ok(JSON.stringify(templatesAnnotation(paths)).length < 100_000);
  });

  for (const text of ['', '{', '{"a":1}', 'null', '[1,null]']) {
    it(`is nothing where another tool wrote ${JSON.stringify(text)}`, () => {
      const layers = [{ ...layer, annotations: { [TEMPLATES_ANNOTATION]: text } }];
      assert.equal(templatesOf({ layers }).size, 0);
    });
  }

  it('is told of the layer that has it, by name, whatever else lies there', () => {
    const chunks = pack(
      [component('configuration', { templates: ['b', 'c'] }), component('more', { templates: ['a'] })],
      { maxLayers: 1, algorithm: 'default' },
    );
    assert.deepEqual(
      chunks.map(({ templates }) => templates),
      [['a', 'b', 'c']],
    );
  });
});
