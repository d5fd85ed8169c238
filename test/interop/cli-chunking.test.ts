import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import { repositoryOf, requirePeerImports, skopeo } from './encapsulate-fixture.ts';
import { type FileSpec, ostree } from './ostree-fixture.ts';

interface Package {
  readonly version: string;
  readonly source?: string;
  /** Of its only file. */
  readonly size?: number;
}

type Packages = Readonly<Record<string, Package>>;

interface Layer {
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

const FIRST: Packages = {
  bash: { version: '5.2' },
  libssl3: { version: '3.0.1', source: 'openssl', size: 4000 },
  openssl: { version: '3.0.1', size: 2000 },
  'linux-image': { version: '6.1', size: 90_000 },
  tzdata: { version: '2024a', size: 3000 },
};

/** A Debian with these packages; each has one file, whose content is that of its version. `more` is what nobody owns. */
function systemWith(
  packages: Packages,
  more: Readonly<Record<string, string>> = {},
): Readonly<Record<string, FileSpec>> {
  const database = 'usr/lib/sysimage/dpkg';
  const status = Object.entries(packages).map(
    ([name, { version, source }]) =>
      `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\n${source === undefined ? '' : `Source: ${source}\n`}Version: ${version}\n`,
  );
  const files = Object.entries(packages).flatMap(([name, { version, source, size = 1000 }]): [string, FileSpec][] => [
    [`usr/lib/${name}/content`, { content: `${source ?? name} ${version} `.repeat(size) }],
    [`${database}/info/${name}.list`, { content: `/.\n/usr\n/usr/lib\n/usr/lib/${name}\n/usr/lib/${name}/content\n` }],
  ]);
  return {
    ...Object.fromEntries(files),
    [`${database}/status`]: { content: status.join('\n') },
    'usr/lib/modules/6.1.0/initramfs.img': { content: 'initramfs'.repeat(9000) },
    'usr/etc/motd': { content: `of ${Object.keys(packages).length} packages` },
    ...Object.fromEntries(Object.entries(more).map(([path, content]) => [path, { content }])),
  };
}

async function encapsulate(
  packages: Packages,
  flags: readonly string[],
  use: (made: {
    readonly layout: string;
    readonly layers: readonly Layer[];
    readonly history: readonly string[];
    readonly commit: string;
    readonly path: string;
    readonly said: string;
  }) => void | Promise<void>,
  more?: Readonly<Record<string, string>>,
): Promise<void> {
  using source = await repositoryOf(systemWith(packages, more));
  const layout = join(source.path, 'image');
  const argv = ['encapsulate', '--repo', source.repository.path, ...flags, 'os', `oci:${layout}:v1`];
  const { status, stderr } = await treeline(argv);
  assert.equal(status, 0, stderr);
  const { layers } = JSON.parse(skopeo('inspect', '--raw', `oci:${layout}:v1`)) as { layers: Layer[] };
  const config = JSON.parse(skopeo('inspect', '--config', '--raw', `oci:${layout}:v1`)) as {
    history: { created_by: string }[];
  };
  const history = config.history.map(({ created_by }) => created_by);
  await use({ layout, layers, history, commit: source.commit, path: source.path, said: stderr });
}

const componentsOf = (layers: readonly Layer[]) =>
  layers.slice(1).map(({ annotations }) => annotations?.['ostree.components']);

describe('treeline encapsulate in chunks', () => {
  it('divides the packages of the commit among layers, which the peer imports as that commit', async () => {
    const peer = await ensurePeer(sayOnStandardError);
    await encapsulate(FIRST, [], ({ layers, history, layout, path, commit }) => {
      const components = componentsOf(layers);
      assert.deepEqual(
        new Set(components),
        new Set(['bash', 'configuration,unpackaged', 'initramfs', 'libssl3,openssl', 'linux-image', 'tzdata']),
      );
      assert.ok(
        history.some((line) => /^libssl3\S* and openssl\S*$/.test(line)),
        history.join('; '),
      );
      requirePeerImports(peer, layout, join(path, 'target'), commit);
    });
  });

  it('keeps the layers of the previous image, of which a node then fetches only what changed', async () => {
    await encapsulate(FIRST, [], async (before) => {
      const second: Packages = {
        ...FIRST,
        libssl3: { version: '3.0.2', source: 'openssl', size: 4000 },
        curl: { version: '8.0', size: 5000 },
      };
      const manifest = join(before.path, 'manifest.json');
      writeFileSync(manifest, skopeo('inspect', '--raw', `oci:${before.layout}:v1`));
      for (const previous of [`oci:${before.layout}:v1`, manifest]) {
        await encapsulate(second, ['--previous', previous], ({ layers, said }) => {
          assert.doesNotMatch(said, /Note:/);
          const fetched = layers.filter(({ digest }) => before.layers.every((layer) => layer.digest !== digest));
          assert.equal(fetched[0], layers[0], 'the layer of the commit');
          assert.deepEqual(
            new Set(componentsOf(fetched)),
            new Set(['configuration,unpackaged', 'curl', 'libssl3,openssl']),
          );
        });
      }
    });
  });

  it('a default that was copied to /etc stays where it is when the copy is changed, and so in the image after that', async () => {
    // That of tzdata, which then lies at two places.
    const copy = 'tzdata 2024a '.repeat(3000);
    const steps = [copy, 'Etc/UTC', 'Europe/Berlin'];
    const follow = async (before: { layout: string; layers: readonly Layer[]; path: string }, step: number) => {
      const content = steps[step];
      if (content === undefined) return;
      const manifest = join(before.path, 'manifest.json');
      writeFileSync(manifest, skopeo('inspect', '--raw', `oci:${before.layout}:v1`));
      const previous = step === 1 ? `oci:${before.layout}:v1` : manifest;
      const compare = async (made: { layout: string; layers: readonly Layer[]; path: string }): Promise<void> => {
        const fetched = made.layers.filter(({ digest }) => before.layers.every((layer) => layer.digest !== digest));
        assert.equal(fetched[0], made.layers[0], 'the layer of the commit');
        assert.deepEqual(componentsOf(fetched), ['configuration,unpackaged']);
        await follow(made, step + 1);
      };
      await encapsulate(FIRST, ['--previous', previous], compare, { 'usr/etc/timezone': content });
    };
    await encapsulate(FIRST, [], (made) => follow(made, 1), { 'usr/etc/timezone': copy });
  });

  it('packs like ostree-ext when asked to, with an empty layer for what comes', async () => {
    await encapsulate(FIRST, ['--chunking', 'baseline', '--max-layers', '20'], ({ layers, history }) => {
      assert.equal(componentsOf(layers).at(-1), '');
      assert.equal(history.at(-1), 'Reserved for new packages');
      assert.equal(layers.length, 9);
    });
    await encapsulate(FIRST, ['--chunking', 'baseline', '--max-layers', '4'], ({ layers }) => {
      assert.equal(layers.length, 5);
      assert.ok(componentsOf(layers).includes('initramfs,unpackaged'));
    });
  });

  it('makes a single layer when asked to, and of a commit without packages', async () => {
    await encapsulate(FIRST, ['--chunking', 'none'], ({ layers }) => assert.equal(layers.length, 1));
    using plain = await repositoryOf({ 'usr/bin/true': { content: 'true' } });
    const layout = join(plain.path, 'image');
    const { status } = await treeline(['encapsulate', '--repo', plain.repository.path, 'os', `oci:${layout}:v1`]);
    assert.equal(status, 0);
    const { layers } = JSON.parse(skopeo('inspect', '--raw', `oci:${layout}:v1`)) as { layers: Layer[] };
    assert.equal(layers.length, 1);
  });

  it('says so when the layout of the previous image does not fit any more', async () => {
    await encapsulate(FIRST, [], async (before) => {
      const flags = ['--previous', `oci:${before.layout}:v1`, '--max-layers', '3'];
      await encapsulate(FIRST, flags, ({ said, layers }) => {
        assert.match(said, /has more than 3 layers, so all of them are made anew/);
        assert.equal(layers.length, 4);
      });
    });
  });

  it('takes the layers from content metadata, in their order', async () => {
    const peer = await ensurePeer(sayOnStandardError);
    using source = await repositoryOf(systemWith(FIRST));
    const listing = ostree(source.repository.path, 'ls', '-R', '-C', 'os');
    const files = Array.from(listing.matchAll(/^[-l]\S+ \d+ \d+ +\d+ ([0-9a-f]{64}) (\/\S+)/gm));
    assert.ok(files.length > 10);
    const mapping = Object.fromEntries(
      files.map(([, checksum, path]) => [checksum, /ssl/.test(path ?? '') ? 'crypto' : 'rest']),
    );
    const metadata = join(source.path, 'contentmeta.json');
    const layers = { rest: 'the rest', crypto: 'cryptography' };
    const created = '2024-01-02T03:04:05Z';
    const labels = { 'org.example.by': 'hand' };
    writeFileSync(metadata, JSON.stringify({ version: 1, created, labels, layers, mapping }));
    const layout = join(source.path, 'image');
    const argv = ['--repo', source.repository.path, '--contentmeta', metadata, 'os', `oci:${layout}:v1`];
    const { status, stderr } = await treeline(['encapsulate', ...argv]);
    assert.equal(status, 0, stderr);
    const inspected = JSON.parse(skopeo('inspect', `oci:${layout}:v1`)) as {
      readonly Created: string;
      readonly Labels: Readonly<Record<string, string>>;
    };
    assert.equal(inspected.Labels['org.example.by'], 'hand');
    assert.equal(inspected.Created, created);
    const manifest = JSON.parse(skopeo('inspect', '--raw', `oci:${layout}:v1`)) as { layers: Layer[] };
    assert.deepEqual(componentsOf(manifest.layers), ['the rest', 'cryptography']);
    requirePeerImports(peer, layout, join(source.path, 'target'), source.commit);

    const again = ['encapsulate', ...argv.slice(0, -1), `oci:${layout}-again:v1`, '--previous', `oci:${layout}:v1`];
    const { stdout } = await treeline(again);
    assert.match(stdout, /3 layers, .*; 2 of the previous image, /);
    const digestOf = (image: string): string => skopeo('inspect', '--format={{.Digest}}', image);
    assert.equal(digestOf(`oci:${layout}-again:v1`), digestOf(`oci:${layout}:v1`));
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['no JSON', 'layers', /holds no JSON/],
    ['no manifest', '{"layers": [1]}', /holds no image manifest/],
    [
      'no chunks',
      '{"layers": [{"digest": "sha256:a", "size": 1}, {"digest": "sha256:b", "size": 1}]}',
      /has no layout to keep: no layer has the annotation ostree\.components/,
    ],
  ];
  for (const [what, text, expected] of refused) {
    it(`refuses a previous manifest that is ${what}, before anything is written`, async () => {
      using source = await repositoryOf(systemWith(FIRST));
      const manifest = join(source.path, 'manifest.json');
      writeFileSync(manifest, text);
      const argv = ['encapsulate', '--repo', source.repository.path, '--previous', manifest, 'os', 'oci:/nowhere'];
      const { status, stderr } = await treeline(argv);
      assert.equal(status, 1);
      assert.match(stderr, expected);
    });
  }
});
