import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as fc from 'fast-check';
import { Repository } from '../../ostree/index.ts';
import { componentsOf } from '../../ostree/packages/components.ts';
import { formatContentMetadata } from '../../ostree/packages/content-metadata.ts';
import type { InstalledPackage } from '../../ostree/packages/installed-package.ts';
import { readPackages } from '../../ostree/packages/package-databases.ts';
import { compareVersions } from '../../ostree/packages/version-order.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import { readLayout } from './import-fixture.ts';
import { ostree, scratchDirectory } from './ostree-fixture.ts';

const MODES = ['bare', 'bare-user', 'archive'] as const;

function run(program: string, ...parameters: readonly string[]): string {
  return execFileSync(program, parameters, { encoding: 'utf8', stdio: 'pipe', maxBuffer: 2 ** 26 });
}

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function words(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** A root in which the links of a merged /usr lead from the old places to the new ones. */
function mergedRoot(root: string): void {
  for (const name of ['bin', 'lib']) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
}

/** Commits `root` in each mode of repository and hands each commit over. */
async function inEveryMode(
  scratch: string,
  root: string,
  check: (repository: Repository, commit: string) => Promise<void>,
): Promise<void> {
  for (const mode of MODES) {
    const path = join(scratch, mode);
    run('ostree', 'init', `--repo=${path}`, `--mode=${mode}`);
    ostree(path, 'commit', '--branch=os', `--tree=dir=${root}`);
    const repository = Repository.open(path);
    await check(repository, repository.resolve('os'));
  }
}

async function ownersOf(repository: Repository, commit: string): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  for (const { name, objects } of await componentsOf(repository, commit)) {
    for (const object of objects) names.set(object, name);
  }
  const root = TreeDirectory.load(repository, repository.readCommit(commit));
  return new Map(Array.from(root.walkFiles(), ({ path, checksum }) => [path, names.get(checksum) ?? 'nobody']));
}

describe('package databases of real package managers', () => {
  it('rpm: packages, versions, changes and owners are what rpm says', async () => {
    using scratch = scratchDirectory();
    const spec = join(scratch.path, 'tool.spec');
    write(
      spec,
      `Name: tool
Version: 1.2
Release: 3
Epoch: 1
Summary: A tool
License: none
BuildArch: noarch
%description
It.
%package data
Summary: Its data
%description data
It.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/usr/share/tool/deep
echo program > %{buildroot}/usr/bin/tool
echo setting > %{buildroot}/etc/tool.conf
ln -s tool %{buildroot}/usr/bin/t
echo data > %{buildroot}/usr/share/tool/deep/data
%files
/usr/bin/tool
/usr/bin/t
%config /etc/tool.conf
%dir /usr/share/tool
%files data
/usr/share/tool
%changelog
* Mon Mar 03 2025 A <a@example.com> - 1.2-3
- x
* Mon Mar 03 2014 A <a@example.com> - 1.2-2
- y
`,
    );
    run('rpmbuild', '-bb', '--define', `_topdir ${scratch.path}/build`, spec);
    const root = join(scratch.path, 'root');
    const database = ['--root', root, '--dbpath', '/usr/share/rpm', '--define', '_db_backend sqlite'];
    const rpms = words(run('find', join(scratch.path, 'build', 'RPMS'), '-name', '*.rpm'));
    run('rpm', ...database, '--install', '--force-debian', '--nodeps', '--noscripts', ...rpms);
    write(join(root, 'usr', 'share', 'local'), 'of nobody');

    await inEveryMode(scratch.path, root, async (repository, commit) => {
      const packages = readPackages(repository, commit);
      const format =
        '%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE} %{ARCH} %{SIZE} %{BUILDTIME} [%{CHANGELOGTIME},] %{NEVRA}\n';
      assert.deepEqual(
        packages.map((one) =>
          [one.name, one.version, one.architecture, one.size, one.buildTime, `${one.changeTimes.join()},`, one.id].join(
            ' ',
          ),
        ),
        words(run('rpm', ...database, '-qa', '--queryformat', format)).toSorted(),
      );
      for (const { name, files, source } of packages) {
        assert.deepEqual(
          files.map((path) => `/${path}`).toSorted(),
          words(run('rpm', ...database, '-ql', name)).toSorted(),
        );
        assert.equal(source, 'tool');
      }
      const owners = await ownersOf(repository, commit);
      for (const path of ['usr/bin/tool', 'usr/bin/t', 'etc/tool.conf', 'usr/share/tool/deep/data']) {
        const owner = run('rpm', ...database, '--queryformat', '%{NAME}', '-qf', `/${path}`);
        assert.equal(owners.get(path), owner, path);
      }
      assert.equal(owners.get('usr/share/local'), 'unpackaged');
      assert.equal(owners.get('usr/share/rpm/rpmdb.sqlite'), 'unpackaged');
    });
  });

  it('dpkg: packages and owners are what dpkg-query says, with diversions and through the links of a merged /usr', async () => {
    using scratch = scratchDirectory();
    const root = join(scratch.path, 'root');
    mergedRoot(root);
    const admin = join(root, 'var', 'lib', 'dpkg');
    mkdirSync(join(admin, 'info'), { recursive: true });
    mkdirSync(join(admin, 'updates'));
    write(join(admin, 'status'), '');
    const install = (name: string, more: string, files: readonly string[]): void => {
      const tree = join(scratch.path, name);
      write(
        join(tree, 'DEBIAN', 'control'),
        `Package: ${name}\nVersion: 1:2.0-1+b1\nArchitecture: all\nMaintainer: A <a@example.com>\nDescription: it\n${more}`,
      );
      for (const file of files) write(join(tree, file), `${name}: ${file}\n`);
      run('dpkg-deb', '--root-owner-group', '--build', tree, `${tree}.deb`);
      run(
        'dpkg',
        `--root=${root}`,
        '--force-not-root',
        '--force-bad-path',
        '--no-triggers',
        '--install',
        `${tree}.deb`,
      );
    };
    install('plain', 'Source: origin (1)\n', ['bin/plain', 'lib/plain/one', 'etc/plain.conf']);
    const diversion = ['--divert', '/usr/bin/wrapped.real', '--rename', '/usr/bin/wrapped'];
    run('dpkg-divert', `--root=${root}`, '--package', 'wrapper', ...diversion);
    install('wrapper', '', ['usr/bin/wrapped']);
    install('program', '', ['usr/bin/wrapped', 'usr/share/program/data']);
    install('removed', '', ['usr/share/removed/data', 'etc/removed.conf']);
    run('dpkg', `--root=${root}`, '--force-not-root', '--remove', 'removed');

    await inEveryMode(scratch.path, root, async (repository, commit) => {
      const packages = readPackages(repository, commit);
      assert.deepEqual(described(packages), dpkgPackages(admin));
      const owners = await ownersOf(repository, commit);
      for (const path of ['bin/plain', 'lib/plain/one', 'etc/plain.conf', 'usr/share/program/data']) {
        const [owner] = run('dpkg-query', `--admindir=${admin}`, '--search', `/${path}`).split(':');
        assert.equal(owners.get(path) ?? owners.get(`usr/${path}`), owner, path);
      }
      assert.equal(owners.get('usr/bin/wrapped'), 'wrapper');
      assert.equal(owners.get('usr/bin/wrapped.real'), 'program');
      assert.equal(owners.get('var/lib/dpkg/info/program.list'), 'program');
    });
  });

  it("dpkg: this machine's own database is read as dpkg-query reads it", () => {
    using scratch = scratchDirectory();
    const admin = join(scratch.path, 'root', 'var', 'lib', 'dpkg');
    cpSync('/var/lib/dpkg', admin, { recursive: true });
    const repository = join(scratch.path, 'repository');
    run('ostree', 'init', `--repo=${repository}`, '--mode=archive');
    ostree(repository, 'commit', '--branch=os', `--tree=dir=${join(scratch.path, 'root')}`);
    const opened = Repository.open(repository);
    const packages = readPackages(opened, opened.resolve('os'));
    assert.deepEqual(described(packages), dpkgPackages(admin));
    const diverted = new Set(
      words(run('dpkg-divert', `--admindir=${admin}`, '--list')).flatMap((line) => line.split(' ')),
    );
    for (const { name, architecture, files } of packages.filter((_, index) => index % 10 === 0)) {
      const listed = words(run('dpkg-query', `--admindir=${admin}`, '--listfiles', `${name}:${architecture}`));
      const paths = listed.filter((line) => line.startsWith('/') && line !== '/.' && !diverted.has(line));
      assert.deepEqual(
        files.map((path) => `/${path}`).filter((path) => !diverted.has(path)),
        paths,
        name,
      );
    }
  });

  it('pacman: packages and owners are what pacman says', async () => {
    using scratch = scratchDirectory();
    const root = join(scratch.path, 'root');
    const database = join(root, 'usr', 'lib', 'sysimage', 'lib', 'pacman');
    mergedRoot(root);
    mkdirSync(database, { recursive: true });
    const configuration = join(scratch.path, 'pacman.conf');
    write(configuration, '[options]\nArchitecture = any\nSigLevel = Never\n');
    const pacman = (...parameters: readonly string[]): string =>
      run('pacman', '--root', root, '--dbpath', database, '--config', configuration, '--noconfirm', ...parameters);
    for (const [name, files] of Object.entries({
      tool: ['usr/bin/tool', 'etc/tool.conf'],
      data: ['usr/share/data/one'],
    })) {
      const tree = join(scratch.path, name);
      write(
        join(tree, '.PKGINFO'),
        `pkgname = ${name}\npkgbase = origin\npkgver = 1:2.0-1\npkgdesc = it\nbuilddate = 1700000000\npackager = A\nsize = 1234\narch = any\n`,
      );
      for (const file of files) write(join(tree, file), `${name}: ${file}\n`);
      const tops = [...new Set(files.map((file) => file.split('/')[0] ?? ''))];
      run('tar', '-C', tree, '--gzip', '-cf', `${tree}.pkg.tar.gz`, '.PKGINFO', ...tops);
      pacman('-U', `${tree}.pkg.tar.gz`);
    }
    await inEveryMode(scratch.path, root, async (repository, commit) => {
      const packages = readPackages(repository, commit);
      assert.deepEqual(
        packages.map(({ name, version }) => `${name} ${version}`),
        words(pacman('-Q')).toSorted(),
      );
      assert.ok(
        packages.every(
          ({ source, size, buildTime }) => source === 'origin' && size === 1234 && buildTime === 1_700_000_000,
        ),
      );
      const owners = await ownersOf(repository, commit);
      for (const path of ['usr/bin/tool', 'etc/tool.conf', 'usr/share/data/one']) {
        assert.equal(owners.get(path), pacman('-Qoq', join(root, path)).trim(), path);
      }
    });
  });
});

describe('the order of versions', () => {
  const part = fc.stringMatching(/^[0-9a-zA-Z.~+]{0,6}$/);
  const version = (rest: fc.Arbitrary<string>) =>
    fc
      .tuple(fc.constantFrom('', '0:', '1:'), fc.nat(20), rest, fc.constantFrom('', '-1', '-1.1', '-01', '-2~a'))
      .map((parts) => parts.join(''));

  it('is that of dpkg', () => {
    const pairs = fc.sample(fc.tuple(version(part), version(part)), 150);
    for (const [a, b] of pairs) {
      const order = Math.sign(compareVersions('dpkg', a, b) ?? NaN);
      const relation = order < 0 ? 'lt' : order > 0 ? 'gt' : 'eq';
      assert.equal(spawnSync('dpkg', ['--compare-versions', a, relation, b]).status, 0, `${a} ${relation} ${b}`);
    }
  });

  it('is that of rpm', () => {
    const withCaret = fc.stringMatching(/^[0-9a-zA-Z.~^+]{0,6}$/);
    const pairs = fc.sample(fc.tuple(version(withCaret), version(withCaret)), 1000);
    const whole = pairs.filter((pair) => pair.every((one) => one.includes('-')));
    const script = whole.map(([a, b]) => `print(rpm.vercmp('${a}', '${b}') .. ' ')`).join('\n');
    const answers = run('rpm', '--eval', `%{lua:${script}}`).trim().split(/\s+/).map(Number);
    assert.ok(whole.length > 300);
    for (const [index, [a, b]] of whole.entries()) {
      assert.equal(Math.sign(compareVersions('rpm', a, b) ?? NaN), answers[index], `${a} and ${b}`);
    }
  });
});

describe('content metadata of ours', () => {
  it('divides a commit as it was divided when it was written: the image is the same to the last byte', async () => {
    using scratch = scratchDirectory();
    const root = join(scratch.path, 'root');
    const stanzas = ['alpha', 'beta'].map((name) => {
      write(join(root, 'usr', 'share', name, 'data'), `of ${name}\n`);
      return `P:${name}\nV:1-r0\nA:noarch\nF:usr/share/${name}\nR:data\n`;
    });
    write(join(root, 'lib', 'apk', 'db', 'installed'), `${stanzas.join('\n')}\n`);
    const repository = join(scratch.path, 'repository');
    run('ostree', 'init', `--repo=${repository}`, '--mode=bare');
    ostree(repository, 'commit', '--branch=os', `--tree=dir=${root}`);
    const file = join(scratch.path, 'contentmeta.json');
    const encapsulate = async (layout: string, ...flags: readonly string[]): Promise<string> => {
      const argv = [
        'encapsulate',
        '--repo',
        repository,
        ...flags,
        '-o',
        'json',
        'os',
        `oci:${scratch.path}/${layout}:1`,
      ];
      const { status, stdout, stderr } = await treeline(argv);
      assert.equal(status, 0, stderr);
      const written: { manifestDigest: string } = JSON.parse(stdout);
      return written.manifestDigest;
    };
    const digest = await encapsulate('first', '--write-contentmeta', file);
    assert.equal(await encapsulate('second', '--contentmeta', file), digest);
    const single = await treeline([
      'encapsulate',
      '--repo',
      repository,
      '--chunking',
      'none',
      '--write-contentmeta',
      file,
      'os',
      'oci:/x',
    ]);
    assert.equal(single.status, 2);
    assert.match(single.stderr, /no division to write/);
  });

  it('makes the same layers when the peer encapsulates with it, and every object is in one of them', async () => {
    using scratch = scratchDirectory();
    const root = join(scratch.path, 'root');
    const names = ['alpha', 'beta', 'gamma', '10', '2'];
    for (const name of names) write(join(root, 'usr', 'share', name, 'data'), `of ${name}\n`);
    write(join(root, 'usr', 'share', 'local'), 'of nobody\n');
    const stanzas = names.map((name) => `P:${name}\nV:1-r0\nA:noarch\nF:usr/share/${name}\nR:data\n`);
    write(join(root, 'lib', 'apk', 'db', 'installed'), `${stanzas.join('\n')}\n`);
    const path = join(scratch.path, 'repository');
    run('ostree', 'init', `--repo=${path}`, '--mode=bare');
    ostree(path, 'commit', '--branch=os', `--tree=dir=${root}`, '--add-metadata-string=version=1');
    const repository = Repository.open(path);
    const components = await componentsOf(repository, repository.resolve('os'));
    const file = join(scratch.path, 'contentmeta.json');
    write(file, formatContentMetadata(components, { created: '2026-01-01T00:00:00Z', labels: { a: 'b' } }));

    const image = join(scratch.path, 'image');
    const parameters = ['container', 'encapsulate', `--repo=${path}`, '--contentmeta', file, 'os', `oci:${image}`];
    run(await ensurePeer(() => {}), ...parameters);
    const componentNames = components.map(({ name }) => name);
    const read = async (layout: string) => {
      const { manifest, config } = await readLayout(layout);
      const layers = manifest.layers.slice(1).map(({ annotations }) => annotations?.['ostree.components']);
      return { label: config.config.Labels['a'], layers };
    };
    const made = { label: 'b', layers: [...componentNames, ''] };
    assert.deepEqual(await read(image), made);
    const ours = join(scratch.path, 'ours');
    const argv = ['--repo', path, '--contentmeta', file, 'os', `oci:${ours}:1`];
    const { status, stderr } = await treeline(['encapsulate', ...argv]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await read(ours), { ...made, layers: componentNames });
  });
});

function described(packages: readonly InstalledPackage[]): readonly string[] {
  return packages
    .map(({ name, version, architecture, source, size }) =>
      [name, version, architecture, source, size / 1024].join(' '),
    )
    .toSorted();
}

function dpkgPackages(admin: string): readonly string[] {
  const fields = ['Package', 'Version', 'Architecture', 'source:Package', 'Installed-Size', 'db:Status-Status'];
  const format = `${fields.map((field) => `\${${field}}`).join('\t')}\n`;
  return words(run('dpkg-query', `--admindir=${admin}`, '--show', `--showformat=${format}`))
    .map((line) => line.split('\t'))
    .filter((values) => values[5] !== 'config-files' && values[5] !== 'not-installed')
    .map(([name, version, architecture, source, size]) => [name, version, architecture, source, Number(size)].join(' '))
    .toSorted();
}
