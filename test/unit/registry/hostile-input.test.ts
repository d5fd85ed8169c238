/** Whatever a file or a variable holds, what comes of it is a decision or a RegistryError: never a surprise. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { digestOf, openImageSource, parseRegistryName, RegistryError } from '../../../registry/index.ts';
import { proxyFor, proxySettings } from '../../../registry/proxy.ts';
import { pullSources } from '../../../registry/pull-sources.ts';
import { parseRegistriesConf } from '../../../registry/registries-conf.ts';
import { AMD64, collect } from './sample-image.ts';
import { tarOf } from './tar-file.ts';

function onlyOurs(run: () => void): void {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof RegistryError, String(error));
  }
}

describe('hostile input', () => {
  it('in registries.conf: any text, and any values under its keys', () => {
    const place = fc.oneof(fc.string(), fc.constantFrom('a.example', '*.example', 'a.example:5000/x', '', '/', 'a/b/'));
    const mirror = fc.record({ location: place, insecure: fc.boolean() }, { requiredKeys: ['location'] });
    const table = fc.record(
      { prefix: place, location: place, blocked: fc.boolean(), mirror: fc.array(mirror, { maxLength: 2 }) },
      { requiredKeys: [] },
    );
    const name = parseRegistryName(`a.example:5000/x/os:v1@${digestOf('x')}`);
    const decide = (text: string): void => {
      for (const { name: place } of pullSources(name, parseRegistriesConf([{ path: 'x.conf', text }]))) {
        assert.equal(place.digest, name.digest, 'whatever is rewritten, the digest stays');
      }
    };
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => onlyOurs(() => decide(text))));
    fc.assert(
      fc.property(fc.array(table, { maxLength: 4 }), (tables) => {
        const text = tables
          .map(({ mirror: mirrors = [], ...rest }) => {
            const lines = (values: object): string =>
              Object.entries(values)
                .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
                .join('');
            return `[[registry]]\n${lines(rest)}${mirrors.map((one) => `[[registry.mirror]]\n${lines(one)}`).join('')}`;
          })
          .join('');
        onlyOurs(() => decide(text));
      }),
    );
  });

  it('in proxy variables', () => {
    const text = fc.oneof(fc.string(), fc.constantFrom('[', ']:', '1.2.3.4/', '/8', ':::', 'http://', '%', '*', ',,'));
    fc.assert(
      fc.property(text, text, fc.webUrl(), (proxy, direct, url) =>
        onlyOurs(() => {
          proxyFor(new URL(url), proxySettings({ HTTPS_PROXY: proxy, HTTP_PROXY: proxy, NO_PROXY: direct }));
        }),
      ),
    );
  });

  it('in a docker archive: bytes changed anywhere, or cut off', async () => {
    const layer = Buffer.from('a layer');
    const config = JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    });
    const archive = tarOf([
      { name: 'layer.tar', content: layer },
      { name: 'link/layer.tar', link: { to: '../layer.tar' } },
      { name: 'config.json', content: config },
      {
        name: 'manifest.json',
        content: JSON.stringify([{ Config: 'config.json', RepoTags: ['os:v1'], Layers: ['link/layer.tar'] }]),
      },
    ]);
    const directory = await mkdtemp(join(tmpdir(), 'treeline-hostile-'));
    try {
      const path = join(directory, 'image.tar');
      const change = fc.record({ at: fc.nat(archive.length - 1), to: fc.nat(255) });
      await fc.assert(
        fc.asyncProperty(
          fc.array(change, { maxLength: 4 }),
          fc.option(fc.nat(archive.length)),
          async (changes, end) => {
            const bytes = Buffer.from(archive);
            for (const { at, to } of changes) bytes[at] = to;
            await writeFile(path, bytes.subarray(0, end ?? bytes.length));
            await using source = openImageSource({ transport: 'docker-archive', name: path });
            try {
              const { manifest } = await source.resolve(AMD64);
              const got = await collect(source.openBlob(manifest.layers[0]!));
              assert.equal(digestOf(got), manifest.layers[0]!.digest);
            } catch (error) {
              assert.ok(error instanceof RegistryError, String(error));
            }
          },
        ),
        { numRuns: 150 },
      );
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
