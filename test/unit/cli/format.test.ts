import assert from 'node:assert/strict';
import { formatBytes, formatTable, shortDigest } from '../../../cli/format.ts';

describe('text for people', () => {
  it('shows bytes with at most one decimal and never 1000 of a unit', () => {
    const shown = [0, 999, 1000, 1536, 99_960, 999_499, 999_500, 2_500_000_000].map(formatBytes);
    assert.deepEqual(shown, ['0 B', '999 B', '1 kB', '1.5 kB', '100 kB', '999 kB', '1 MB', '2.5 GB']);
  });

  it('aligns columns without trailing blanks', () => {
    assert.equal(
      formatTable([
        ['A', 'B'],
        ['long', '-'],
      ]),
      'A     B\nlong  -',
    );
  });

  it('shortens digests', () => {
    assert.equal(shortDigest(`sha256:${'0123456789abcdef'.repeat(4)}`), 'sha256:0123456789ab');
  });
});
