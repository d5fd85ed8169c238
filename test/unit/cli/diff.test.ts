import assert from 'node:assert/strict';
import { difference } from '../../../cli/diff/difference.ts';
import { differencePage } from '../../../cli/diff/page.ts';
import type { Side } from '../../../cli/diff/side.ts';
import { differenceText } from '../../../cli/diff/text.ts';
import type { InstalledPackage } from '../../../ostree/index.ts';

function one(name: string, version: string, size: number): InstalledPackage {
  const id = `${name}-${version}.x86_64`;
  return {
    manager: 'rpm',
    id,
    name,
    version,
    architecture: 'x86_64',
    source: name,
    size,
    changeTimes: [],
    files: [],
    records: [],
  };
}

const layer = (digit: string, size: number, components: readonly string[]) => ({
  digest: `sha256:${digit.repeat(64)}`,
  size,
  components,
});
const BEFORE: Side = {
  name: 'quay.io/example/os:1',
  version: '1.0',
  digest: `sha256:${'a'.repeat(64)}`,
  layers: [layer('1', 1000, ['bash']), layer('2', 2_000_000, ['kernel', 'gone'])],
  packages: [one('bash', '5.2.1-1', 7_000_000), one('kernel', '6.1-1', 90_000_000), one('gone', '1-1', 1000)],
};
const AFTER: Side = {
  name: 'quay.io/example/os:2',
  version: '<2>',
  digest: `sha256:${'b'.repeat(64)}`,
  layers: [layer('1', 1000, ['bash']), layer('3', 3_000_000, ['kernel', 'come'])],
  packages: [one('bash', '5.2.1-1', 7_000_000), one('kernel', '6.0-1', 80_000_000), one('come', '2-1', 2000)],
};

function withoutPackages(side: Side): Side {
  const { packages: _packages, ...rest } = side;
  return rest;
}

describe('the difference of two operating systems', () => {
  it('tells a terminal what is to pull, which packages change, and which layers', () => {
    const said = differenceText(difference(BEFORE, AFTER));
    for (const expected of [
      /^From: +quay\.io\/example\/os:1 +1\.0 +sha256:aaaaaaaaaaaa$/m,
      /^To pull: 3 MB, 1 of 2 layers are new, 1 are shared$/m,
      /^Packages: 1 updated, 1 added, 1 removed, 1 unchanged$/m,
      /^ +v +kernel +6\.1-1 → 6\.0-1 \(downgrade\) +80 MB +-10 MB$/m,
      /^ +\+ +come +2-1 +2 kB$/m,
      /^ +- +gone +1-1 +1 kB$/m,
      /^ +sha256:333333333333 +3 MB +because of kernel, come, and because gone is gone$/m,
    ]) {
      assert.match(said, expected);
    }
  });

  it('is one of names where package databases were not read, and says how they would be', () => {
    const found = difference(withoutPackages(BEFORE), AFTER);
    assert.equal(found.packages, null);
    assert.deepEqual(found.packageNames, { added: ['come'], removed: ['gone'], maybeUpdated: ['kernel'] });
    assert.match(differenceText(found), /--fetch-packages/);
  });

  it('of what is no image has neither layers nor bytes to pull', () => {
    const { layers: _layers, ...commit } = BEFORE;
    const found = difference(commit, AFTER, { added: { objects: 3, bytes: 5000 }, removed: { objects: 0, bytes: 0 } });
    assert.deepEqual([found.layers, found.bytesToPull], [null, null]);
    assert.match(differenceText(found), /^Content: 3 new files with 5 kB/m);
  });

  it('is a page that needs nothing from elsewhere and runs nothing of what it shows', () => {
    const hostile = { ...AFTER, packages: [one('<script>alert(1)</script>', '"><img src=x>', 1)] };
    for (const page of [differencePage(difference(BEFORE, AFTER)), differencePage(difference(BEFORE, hostile))]) {
      assert.doesNotMatch(page, /https?:|src=x>|<img|<link|url\(|@import|alert\(1\)<\/script>/);
      assert.equal(page.match(/<script/g)?.length, 1);
      assert.ok(page.includes('&lt;2&gt;'));
    }
    const page = differencePage(difference(BEFORE, AFTER));
    for (const expected of ['3 MB', '1 of 2 layers', 'kernel', 'downgraded', 'come', 'gone'])
      assert.ok(page.includes(expected));
    assert.ok(differencePage(difference(withoutPackages(BEFORE), AFTER)).includes('tell no versions'));
  });
});
