import assert from 'node:assert/strict';
import { ProgressDisplay } from '../../../cli/progress-display.ts';

function recorder(isTTY: boolean) {
  const written: string[] = [];
  return { written, terminal: { isTTY, columns: 60, write: (text: string) => void written.push(text) } };
}

const at = (bytesDone: number, stage = 'Pulling') => ({
  stage,
  layersDone: 1,
  layersTotal: 3,
  bytesDone,
  bytesTotal: 1000,
});

describe('the progress of a pull', () => {
  it('is a line for every 10 % and every stage where there is no terminal', () => {
    const { written, terminal } = recorder(false);
    using display = new ProgressDisplay(terminal);
    for (let bytes = 0; bytes <= 1000; bytes += 10) display.update(at(bytes));
    display.update(at(1000, 'Importing'));
    assert.equal(written.length, 12);
    assert.equal(written[5], 'Pulling:  50 %, 500 B of 1 kB, 1 of 3 layers\n');
    assert.ok(written.every((line) => !line.includes('\u001B')));
  });

  it('is one line with a bar on a terminal, repainted ten times a second at most, and gone at the end', () => {
    const { written, terminal } = recorder(true);
    let now = 0;
    const display = new ProgressDisplay(terminal, () => now);
    for (; now < 1000; now += 10) display.update(at(now));
    assert.equal(written.length, 10);
    const bar = `[${'#'.repeat(12)}${'.'.repeat(12)}]`;
    assert.equal(written[5]?.startsWith(`\r\u001B[KPulling   ${bar}  50 %`), true);
    assert.ok(
      written.every((line) => line.length < 60 + 4),
      'it never wraps',
    );
    display[Symbol.dispose]();
    assert.equal(written.at(-1), '\r\u001B[K');
  });

  it('is nothing where programs read', () => {
    using display = new ProgressDisplay(undefined);
    assert.doesNotThrow(() => display.update(at(1)));
  });

  it('says what is there already when nothing has to be fetched', () => {
    const { written, terminal } = recorder(false);
    using display = new ProgressDisplay(terminal);
    display.update({ stage: 'Importing', layersDone: 3, layersTotal: 3, bytesDone: 0, bytesTotal: 0 });
    assert.deepEqual(written, ['Importing: 3 of 3 layers present\n']);
  });
});
