import assert from 'node:assert/strict';
import { renderChunking } from '../../../bench/chunking-table.ts';

describe('the table of the chunking benchmark', () => {
  it('compares updates, but not the first pull, with the floor and the base line', () => {
    const text = renderChunking(
      ['default', 'baseline'],
      [
        { step: 'base', first: true, floor: 100e6, bytes: { default: 110e6, baseline: 120e6 } },
        { step: 'kernel', first: false, floor: 10e6, bytes: { default: 11e6, baseline: 22e6 } },
        { step: 'big', first: false, floor: 20e6, bytes: { default: 26e6, baseline: 26e6 } },
      ],
    );
    const rows = text.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
    assert.deepEqual(rows[2], ['', 'base', '100.0', '110.0', '120.0', '']);
    assert.deepEqual(rows[5], ['', 'all updates, of the floor', '', '1.23×', '1.60×', '']);
    assert.deepEqual(rows[6], ['', 'of the base line, on average', '', '0.75×', '1.00×', '']);
  });
});
