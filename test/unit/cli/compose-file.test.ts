import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseComposeFile, readComposeFile } from '../../../cli/compose/compose-file.ts';
import { treeline } from './run.ts';

describe('the compose file', () => {
  it('says what an image is made of, with paths as seen from where it lies', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-compose-file-'));
    try {
      const path = join(folder, 'compose.yaml');
      await writeFile(
        path,
        'base: registry.example.com/os/debian:12\ncontainerfile: os/Containerfile\nlabels: {a: "1"}\nmaxLayers: 64\n',
      );
      assert.deepEqual(await readComposeFile(path), {
        base: 'registry.example.com/os/debian:12',
        containerfile: join(folder, 'os/Containerfile'),
        context: folder,
        labels: { a: '1' },
        maxLayers: 64,
      });
      const previousOf = async (previous: string) => {
        await writeFile(path, `rootfs: debian\nprevious: ${previous}\n`);
        return (await readComposeFile(path)).previous;
      };
      assert.equal(await previousOf('registry.example.com/os:1'), 'registry.example.com/os:1');
      await writeFile(join(folder, 'manifest.json'), '{}');
      assert.equal(await previousOf('manifest.json'), join(folder, 'manifest.json'));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  for (const [what, text, words] of [
    ['an unknown member', 'rootfs: a\nbasse: b\n', /basse/],
    ['a member twice', 'rootfs: a\nrootfs: b\n', /unique/],
    ['a value of the wrong kind', 'rootfs: a\nlabels: {a: 1}\n', /labels\.a/],
    ['nothing to make it of', 'version: "1"\n', /either rootfs, or base/],
    ['two things to make it of', 'rootfs: a\nbase: b\n', /either rootfs, or base/],
    ['layers upon nothing', 'containerfile: a\nlayers: [RUN true]\n', /leave one out/],
    ['an alias', 'rootfs: &a x\nversion: *a\n', /./],
    ['no mapping', '- a\n', /compose\.yaml is not a compose file/],
    ['broken YAML', 'rootfs: [\n', /compose\.yaml is not a compose file/],
  ] as const) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => parseComposeFile(text, 'compose.yaml'), words);
    });
  }

  it('is asked for by the command, which says what is missing', async () => {
    for (const [argv, words, status] of [
      [['compose', '--rootfs=a'], /DEST is missing/, 2],
      [['compose', 'oci:x'], /either --rootfs DIR or --base IMAGE/, 2],
      [['compose', '--rootfs=a', '--base=b', 'oci:x'], /either --rootfs DIR or --base IMAGE/, 2],
      [['compose', '--rootfs=a', '--timestamp=soon', 'oci:x'], /--timestamp takes seconds since 1970, not soon/, 2],
      [['compose', '--rootfs=a', '--builder=docker', 'oci:x'], /--builder takes buildah or podman/, 2],
      [['compose', '--file=/nowhere/compose.yaml', 'oci:x'], /compose file cannot be read/, 1],
    ] as const) {
      const said = await treeline(argv);
      assert.match(said.stderr, words);
      assert.equal(said.status, status);
    }
  });
});
