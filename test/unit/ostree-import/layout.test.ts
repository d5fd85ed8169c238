import assert from 'node:assert/strict';
import {
  layersOf,
  parseLayout,
  requireBareCommit,
  requireBase,
  requireBootableImage,
} from '../../../ostree/import/layout.ts';
import { type ImageConfig, type ImageManifest, MEDIA_TYPE } from '../../../registry/index.ts';

const digest = (name: string): string => `sha256:${name.repeat(64).slice(0, 64)}`;

function manifest(...names: readonly string[]): ImageManifest {
  const config = { mediaType: MEDIA_TYPE.config, digest: digest('f'), size: 2 };
  const layers = names.map((name) => ({ mediaType: MEDIA_TYPE.layerGzip, digest: digest(name), size: 1 }));
  return { schemaVersion: 2, config, layers };
}

function config(labels: Record<string, string> | null, ...diffIds: readonly string[]): ImageConfig {
  return {
    architecture: 'amd64',
    os: 'linux',
    config: { Labels: labels },
    rootfs: { type: 'layers', diff_ids: diffIds.map(digest) },
  };
}

function parts(final: string, ...names: readonly string[]): readonly string[] {
  const layout = parseLayout('img', manifest(...names), config({ 'ostree.final-diffid': digest(final) }, ...names));
  return layersOf(layout).map(
    (layer, index) => `${layer.descriptor.digest.charAt(7)}${index > layout.chunks.length ? ' derived' : ''}`,
  );
}

describe('the layout of an image', () => {
  it('splits layers into commit, chunks and derived ones at the final diff-id', () => {
    assert.deepEqual(parts('a', 'a'), ['a']);
    assert.deepEqual(parts('a', 'a', 'b'), ['a', 'b derived']);
    assert.deepEqual(parts('c', 'a', 'b', 'c', 'd', 'e'), ['a', 'b', 'c', 'd derived', 'e derived']);
  });

  it('has no base without the label: all layers of an ordinary image are derived', () => {
    for (const labels of [{}, null, { 'ostree.commit': 'x' }]) {
      const layout = parseLayout('img', manifest('a', 'b'), config(labels, 'a', 'b'));
      assert.deepEqual([layout.base, layout.chunks.length, layout.derived.length], [undefined, 0, 2]);
      assert.throws(() => requireBase('img', layout), { name: 'ImportError', code: 'NotOstreeImage' });
    }
  });

  it('is a bare commit without derived layers only', () => {
    const labels = { 'ostree.final-diffid': digest('b') };
    const of = (...names: string[]) => parseLayout('img', manifest(...names), config(labels, ...names));
    requireBareCommit('img', of('a', 'b'));
    const refused = { name: 'ImportError', code: 'NotOstreeImage', message: /^img has 2 layers on top of its commit/ };
    assert.throws(() => requireBareCommit('img', of('a', 'b', 'c', 'd')), refused);
    const ordinary = parseLayout('img', manifest('a'), config({}, 'a'));
    assert.throws(() => requireBareCommit('img', ordinary), {
      code: 'NotOstreeImage',
      message: /not an OSTree container image/,
    });
  });

  it('is refused when labels and layers contradict each other', () => {
    const label = (name: string): Record<string, string> => ({ 'ostree.final-diffid': digest(name) });
    const cases: readonly (readonly [ImageManifest, ImageConfig, string, RegExp])[] = [
      [manifest('a'), config({ 'ostree.diffid': digest('a') }, 'a'), 'NotOstreeImage', /legacy/],
      [manifest(), config(label('a'), 'a'), 'InvalidImage', /no layers/],
      [manifest('a'), config(label('b'), 'a'), 'InvalidImage', /no such layer/],
      [manifest('a'), config(label('b'), 'a', 'b'), 'InvalidImage', /1 layers but 2 diff-ids/],
      [manifest('a', 'b', 'b'), config(label('b'), 'a', 'b', 'b'), 'InvalidImage', /multiple entries/],
    ];
    for (const [image, itsConfig, code, message] of cases) {
      assert.throws(() => parseLayout('img', image, itsConfig), { name: 'ImportError', code, message });
    }
  });

  it('is bootable by either label, on its own architecture only', () => {
    const platform = { os: 'linux', architecture: 'amd64' };
    requireBootableImage('img', config({ 'containers.bootc': '1' }), platform);
    requireBootableImage('img', config({ 'ostree.bootable': 'true' }), platform);
    assert.throws(() => requireBootableImage('img', config({}), platform), { code: 'NotBootable' });
    assert.throws(
      () => requireBootableImage('img', config({ 'ostree.bootable': 'true' }), { ...platform, architecture: 'arm64' }),
      { code: 'WrongArchitecture', message: /has architecture amd64; expected arm64/ },
    );
  });
});
