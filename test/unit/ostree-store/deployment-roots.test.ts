import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { variant } from '../../../ostree/gvariant/value.ts';
import { encodeDictionary } from '../../../ostree/objects/commit.ts';
import { readDeploymentRoots } from '../../../ostree/store/deployment-roots.ts';

const [A, B, C] = ['a', 'b', 'c'].map((digit) => digit.repeat(64));

describe('what the deployments of a sysroot need', () => {
  let sysroot: string;

  beforeEach(() => {
    sysroot = mkdtempSync(join(tmpdir(), 'treeline-roots-'));
  });

  afterEach(() => {
    rmSync(sysroot, { recursive: true });
  });

  function write(path: string, content: string | Buffer): void {
    mkdirSync(dirname(join(sysroot, path)), { recursive: true });
    writeFileSync(join(sysroot, path), content);
  }

  it('is nothing where there is no sysroot', () => {
    assert.deepEqual(readDeploymentRoots(sysroot), []);
  });

  it('is the commit of every checkout, the image of every origin, and what is staged', () => {
    mkdirSync(join(sysroot, `ostree/deploy/one/deploy/${A}.0`), { recursive: true });
    mkdirSync(join(sysroot, `ostree/deploy/two/deploy/${B}.3`), { recursive: true });
    write(
      `ostree/deploy/two/deploy/${B}.3.origin`,
      '[libostree-transient]\npinned=true\n[origin]\ncontainer-image-reference=ostree-unverified-registry:quay.io/a/b:c\n',
    );
    write('ostree/deploy/two/deploy/unrelated', '');
    write('ostree/deploy/one/var/file', '');
    const target = variant.dictionary([['name', variant.string(`${C}.0`)]]);
    write('run/ostree/staged-deployment', encodeDictionary([['target', target]]));
    assert.deepEqual(readDeploymentRoots(sysroot), [
      { name: `one/${A}.0`, commit: A },
      { name: `two/${B}.3`, commit: B, image: { transport: 'registry', name: 'quay.io/a/b:c' } },
      { name: 'staged', commit: C },
    ]);
  });

  it('is unknown, which is an error, when something cannot be understood', () => {
    write(`ostree/deploy/one/deploy/${A}.0.origin`, '[origin]\ncontainer-image-reference=moon:image\n');
    assert.throws(() => readDeploymentRoots(sysroot), { code: 'InvalidData', message: /origin names an image/ });
    rmSync(join(sysroot, 'ostree'), { recursive: true });
    for (const staged of [
      Buffer.from('garbage'),
      encodeDictionary([]),
      encodeDictionary([['target', variant.dictionary([['name', variant.string('not-a-checksum.0')]])]]),
    ]) {
      write('run/ostree/staged-deployment', staged);
      assert.throws(() => readDeploymentRoots(sysroot), { code: 'InvalidData', message: /staged is unknown/ });
    }
  });
});
