import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { assertRefName, escapeRefPath, unescapeRefPath } from '../../../ostree/repository/ref-name.ts';

// From the ostree-container format.
const TABLE: readonly [text: string, escaped: string][] = [
  ['sha256:2c26b4', 'sha256_3A_2c26b4'],
  ['docker://quay.io/ex/os:latest', 'docker_3A__2F__2F_quay_2E_io/ex/os_3A_latest'],
  ['docker://localhost:5000/foo_bar:latest', 'docker_3A__2F__2F_localhost_3A_5000/foo__bar_3A_latest'],
  ['docker://quay.io/ex/os@sha256:abab', 'docker_3A__2F__2F_quay_2E_io/ex/os_40_sha256_3A_abab'],
  ['docker://ghcr.io/ublue-os/bazzite:stable', 'docker_3A__2F__2F_ghcr_2E_io/ublue-os/bazzite_3A_stable'],
  [
    'docker://registry.example.com/a--b/c.d__e:1.0',
    'docker_3A__2F__2F_registry_2E_example_2E_com/a--b/c_2E_d____e_3A_1_2E_0',
  ],
  ['oci:/var/lib/images/os:v1', 'oci_3A__2F_var/lib/images/os_3A_v1'],
  ['containers-storage:localhost/bootc:latest', 'containers-storage_3A_localhost/bootc_3A_latest'],
  ['dir:/a/', 'dir_3A__2F_a_2F_'],
  ['docker://x.io/ü:latest', 'docker_3A__2F__2F_x_2E_io/_FC__3A_latest'],
];

describe('escaping of ref paths', () => {
  for (const [text, escaped] of TABLE) {
    it(`stores ${text} under the name that other tools look for`, () => {
      assert.equal(escapeRefPath(text), escaped);
      assert.equal(unescapeRefPath(escaped), text);
    });
  }

  it('can be undone, whatever the text', () => {
    const text = fc
      .string({
        minLength: 1,
        unit: fc.oneof(
          fc.constantFrom('/', '_', '-', ':', '.', 'a', '9'),
          fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
        ),
      })
      .filter((value) => value !== '' && value.isWellFormed() && !value.includes('\0'));
    fc.assert(fc.property(text, (value) => assert.equal(unescapeRefPath(escapeRefPath(value)), value)));
  });

  it('gives names that libostree accepts for every reference whose segments begin with a letter or digit', () => {
    const segment = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,10}$/);
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 4 }), segment, (path, tag) => {
        assertRefName(`ostree/container/image/${escapeRefPath(`docker://${path.join('/')}:${tag}`)}`);
      }),
    );
  });

  it('refuses what cannot be escaped, and what no escaping gives', () => {
    for (const text of ['', 'a\0b', '\ud800']) assert.throws(() => escapeRefPath(text), { code: 'InvalidRef' });
    for (const text of ['a:b', 'a_3A', 'a_xyz_', 'ü', 'a_1234567_', 'a_FFFFFF_']) {
      assert.throws(() => unescapeRefPath(text), { code: 'InvalidRef' }, text);
    }
  });

  it('never crashes on any escaped text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          unescapeRefPath(text);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'InvalidRef');
        }
      }),
    );
  });
});

describe('names of refs', () => {
  it('are those that libostree accepts', () => {
    for (const name of ['a', 'a/b', 'fedora/x86_64/stable', 'a.b-c/_d', '0/1']) assertRefName(name);
    for (const name of ['', '/a', 'a/', 'a//b', '-a', 'a/-b', '.', '..', 'a/../b', 'a b', 'a:b', 'a\n']) {
      assert.throws(() => assertRefName(name), { code: 'InvalidRef' }, name);
    }
  });
});
