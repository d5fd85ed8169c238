import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { parseAdminStatus } from '../../../node-agent/host/deployments.ts';
import { formatOrigin, parseOrigin, withoutTransientState } from '../../../node-agent/host/origin-file.ts';
import { parseVersion } from '../../../node-agent/host/ostree-tool.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const C = 'c'.repeat(64);

describe('what ostree admin status says', () => {
  it('is read of an unbooted sysroot', () => {
    const text = `  testos ${A}.1\n    origin: <unknown origin type>\n  testos ${B}.0\n    Pinned: yes\n    origin: <unknown origin type>\n`;
    assert.deepEqual(parseAdminStatus(text), [
      { stateroot: 'testos', checksum: A, serial: 1, booted: false, staged: false, locked: false },
      { stateroot: 'testos', checksum: B, serial: 0, booted: false, staged: false, locked: false },
    ]);
  });

  it('is read of a booted host with something staged, locked or not', () => {
    const text = (note: string) =>
      `  fedora ${A}.0 (${note})\n* fedora ${B}.0\n    Version: 41\n  fedora ${C}.12 (rollback)\n`;
    const flags = (note: string) =>
      parseAdminStatus(text(note)).map(({ booted, staged, locked }) => [booted, staged, locked]);
    const others = [
      [true, false, false],
      [false, false, false],
    ];
    assert.deepEqual(flags('staged'), [[false, true, false], ...others]);
    assert.deepEqual(flags('finalization locked'), [[false, true, true], ...others]);
    assert.deepEqual(flags('pending'), [[false, false, false], ...others]);
    assert.equal(parseAdminStatus(text('staged'))[2]?.serial, 12);
  });

  it('is nothing when there are no deployments', () => {
    assert.deepEqual(parseAdminStatus('No deployments.\n'), []);
  });
});

describe('an origin file', () => {
  it('says the image and whether the deployment is pinned', () => {
    const text =
      '# comment\n[origin]\ncontainer-image-reference=ostree-image-signed:docker://a/b:c\n\n[libostree-transient]\npinned=true\n';
    assert.deepEqual(parseOrigin(text), {
      containerImageReference: 'ostree-image-signed:docker://a/b:c',
      pinned: true,
    });
  });

  it('goes to another deployment without what libostree notes about this one', () => {
    const origin = '[origin]\nrefspec=a:b\n\n';
    const pinned = '[libostree-transient]\npinned=true\n';
    assert.equal(withoutTransientState(`${origin}${pinned}`), origin);
    assert.equal(withoutTransientState(`${pinned}\n[packages]\nrequested=x\n`), '[packages]\nrequested=x\n');
    assert.equal(withoutTransientState(origin), origin);
  });

  it('of an ordinary ostree deployment names no image', () => {
    assert.deepEqual(parseOrigin('[origin]\nrefspec=fedora:fedora/41/x86_64\n'), { pinned: false });
  });

  it('keeps every reference that a line can hold, whatever is in it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.constantFrom('', '\n', '\t', '\\', '  '), (text, special) => {
        const reference = `${special}${text}${special}.`;
        assert.equal(parseOrigin(formatOrigin(reference)).containerImageReference, reference);
      }),
    );
  });
});

describe('the version of libostree', () => {
  it('is read from its YAML', () => {
    assert.deepEqual(parseVersion("libostree:\n Version: '2022.7'\n Features:\n  - libcurl\n"), [2022, 7]);
    assert.throws(() => parseVersion('bash: ostree: command not found'), { code: 'HostUnsupported' });
  });
});
