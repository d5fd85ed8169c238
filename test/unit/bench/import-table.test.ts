import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { median, medianCost, renderImportTable, renderTable } from '../../../bench/import-table.ts';

const cost = (wallSeconds: number, cpuSeconds = 1, peakBytes = 1e6, peakProportionalBytes = 1e6) => ({
  wallSeconds,
  cpuSeconds,
  peakBytes,
  peakProportionalBytes,
});

describe('the median', () => {
  it('is the middle value, or half way between the two middle ones, in whatever order they come', () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([10, 1, 3, 2]), 2.5);
    assert.equal(median([7]), 7);
    assert.ok(Number.isNaN(median([])));
  });

  it('has as many values below as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const middle = median(values);
        assert.ok(values.filter((value) => value < middle).length <= values.length / 2);
        assert.ok(values.filter((value) => value > middle).length <= values.length / 2);
      }),
    );
  });

  it('is taken of each number by itself, so that one odd run moves none', () => {
    assert.deepEqual(medianCost([cost(1, 9, 5, 6), cost(2, 1, 900, 7), cost(300, 2, 4, 8)]), cost(2, 2, 5, 7));
  });
});

describe('the table of the import benchmark', () => {
  it('has a row for each contender and the ratio of the peer to us', () => {
    const table = renderImportTable([
      {
        scenario: 'single',
        title: 'cold',
        contenders: [
          { name: 'treeline', costs: [cost(2, 4, 200e6, 100e6)], wireBytes: 50e6 },
          { name: 'ostree-ext', costs: [cost(5, 3, 50e6, 25e6)], wireBytes: 50e6 },
        ],
      },
    ]);
    assert.equal(
      table,
      `|                  | wall s | CPU s | peak MB | PSS MB | wire MB |
| ---------------- | -----: | ----: | ------: | -----: | ------: |
| cold: treeline   |  2.000 | 4.000 |     200 |    100 |    50.0 |
| cold: ostree-ext |  5.000 | 3.000 |      50 |     25 |    50.0 |
| cold: ratio      |  2.50× | 0.75× |   0.25× |  0.25× |   1.00× |
`,
    );
  });

  it('leaves open what was not measured, and has no ratio of one contender alone', () => {
    const contenders = [{ name: 'treeline', costs: [], wireBytes: undefined }];
    const table = renderImportTable([{ scenario: 'single', title: 'cold', contenders }]);
    assert.deepEqual(
      table
        .split('\n')
        .slice(2)
        .map((line) => line.replaceAll(/ +/g, ' ')),
      ['| cold: treeline | | | | | |', ''],
    );
  });

  it('keeps every row as wide as its head', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.stringMatching(/^[a-z ]{0,30}$/), fc.stringMatching(/^\d{0,9}$/))), (rows) => {
        const lines = renderTable(['', 'n'], rows).trimEnd().split('\n');
        assert.equal(lines.length, rows.length + 2);
        assert.equal(new Set(lines.map((line) => line.length)).size, 1);
      }),
    );
  });
});
