import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { InstalledPackage, PackageManager } from '../../../ostree/packages/installed-package.ts';
import { comparePackages } from '../../../ostree/packages/package-changes.ts';
import { compareVersions } from '../../../ostree/packages/version-order.ts';

function one(name: string, version: string, more: Partial<InstalledPackage> = {}): InstalledPackage {
  const manager: PackageManager = 'dpkg';
  const [architecture, source] = ['amd64', name];
  const id = `${name}=${version}:${more.architecture ?? architecture}`;
  return {
    manager,
    id,
    name,
    version,
    architecture,
    source,
    size: 1,
    changeTimes: [],
    files: [],
    records: [],
    ...more,
  };
}

const names = (packages: readonly { readonly name: string }[]): readonly string[] => packages.map(({ name }) => name);

describe('the changes of packages', () => {
  it('are what was added, removed, and updated to which version', () => {
    const changes = comparePackages(
      [one('same', '1'), one('up', '1'), one('down', '2'), one('gone', '1')],
      [one('same', '1'), one('up', '2'), one('down', '1~rc'), one('come', '1')],
    );
    assert.deepEqual(names(changes.added), ['come']);
    assert.deepEqual(names(changes.removed), ['gone']);
    assert.deepEqual(
      changes.updated.map(({ before, after, direction }) => [after.name, before.version, after.version, direction]),
      [
        ['down', '2', '1~rc', 'downgrade'],
        ['up', '1', '2', 'upgrade'],
      ],
    );
    assert.equal(changes.unchanged, 1);
  });

  it('take a kernel whose name holds its release for an update of the one before', () => {
    const source = { source: 'linux-signed-amd64' };
    const { updated, added, removed } = comparePackages(
      [one('linux-image-6.1.0-18-amd64', '6.1.76-1', source), one('linux-headers-6.1.0-18', '6.1.76-1', source)],
      [one('linux-image-6.1.0-20-amd64', '6.1.85-1', source), one('lib6', '1')],
    );
    assert.deepEqual(
      updated.map(({ before, after }) => [before.name, after.name]),
      [['linux-image-6.1.0-18-amd64', 'linux-image-6.1.0-20-amd64']],
    );
    assert.deepEqual([names(added), names(removed)], [['lib6'], ['linux-headers-6.1.0-18']]);
  });

  it('do not guess which of several packages with one name became which', () => {
    const kernel = (version: string) => one('kernel', version, { manager: 'rpm', id: `kernel-${version}` });
    const changes = comparePackages([kernel('1'), kernel('2')], [kernel('2'), kernel('3')]);
    assert.deepEqual(
      changes.updated.map(({ before, after }) => [before.version, after.version]),
      [['1', '3']],
    );
    const more = comparePackages([kernel('1'), kernel('2')], [kernel('3'), kernel('4')]);
    assert.deepEqual([more.updated.length, more.added.length, more.removed.length], [0, 2, 2]);
  });

  it('add up, and are the opposite the other way round', () => {
    const packages = fc.uniqueArray(
      fc
        .record({ name: fc.constantFrom('a', 'b', 'c-1', 'c-2'), version: fc.constantFrom('1', '2', '3') })
        .map(({ name, version }) => one(name, version, { source: 's' })),
      { selector: ({ id }) => id, maxLength: 6 },
    );
    fc.assert(
      fc.property(packages, packages, (before, after) => {
        const there = comparePackages(before, after);
        assert.equal(there.added.length + there.updated.length + there.unchanged, after.length);
        assert.equal(there.removed.length + there.updated.length + there.unchanged, before.length);
        const back = comparePackages(after, before);
        assert.deepEqual([back.added, back.removed], [there.removed, there.added]);
        assert.equal(back.updated.length, there.updated.length);
      }),
    );
  });
});

describe('the order of versions', () => {
  it('is that of the package manager', () => {
    const orders: readonly [PackageManager, readonly string[]][] = [
      ['dpkg', ['1.0~rc1-1', '1.0-1', '1.0-1+b1', '1.0-1.1', '1.0a-1', '1.0+x-1', '1.2-1', '1.10-1', '1:0.1-1']],
      ['rpm', ['1.0~rc1-1', '1.0-1.fc40', '1.0-1.fc41', '1.0-10.fc40', '1.0^git1-1', '1.0a-1', '1.0.1-1', '1:0.1-1']],
    ];
    for (const [manager, versions] of orders) {
      for (const [at, version] of versions.entries()) {
        for (const [other, another] of versions.entries()) {
          const order = compareVersions(manager, version, another) ?? NaN;
          assert.equal(Math.sign(order), Math.sign(at - other), `${manager}: ${version}, ${another}`);
        }
      }
    }
    assert.equal(compareVersions('pacman', '1', '2'), undefined);
  });
});
