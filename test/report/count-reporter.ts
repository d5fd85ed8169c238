/**
 * A mocha reporter: one line a test as it ends, failures in full at the end, and the counts as JSON in the file that
 * TREELINE_TEST_COUNTS names, so that `test/main.ts` can add up several mocha runs from the runner's own figures.
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { inspect, styleText } from 'node:util';
import Mocha from 'mocha';

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const { EVENT_RUN_END, EVENT_TEST_FAIL, EVENT_TEST_PASS, EVENT_TEST_PENDING } = Mocha.Runner.constants;
const SLOW_MS = 2000;

// oxlint-disable-next-line typescript/no-extraneous-class -- mocha makes reporters with `new`
export default class CountReporter {
  constructor(runner: Mocha.Runner) {
    const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
    const failures: { title: string; file: string; error: unknown }[] = [];
    const write = (text: string): void => void process.stdout.write(`${text}\n`);

    runner.on(EVENT_TEST_PASS, (test) => {
      counts.passed += 1;
      const duration = test.duration ?? 0;
      write(
        `  ${styleText('green', '✓')} ${test.fullTitle()}${duration > SLOW_MS ? ` (${(duration / 1000).toFixed(1)} s)` : ''}`,
      );
    });
    runner.on(EVENT_TEST_PENDING, (test) => {
      counts.skipped += 1;
      write(`  ${styleText('yellow', '-')} ${test.fullTitle()}`);
    });
    // A failing hook arrives here too, and the tests behind it never run: it counts as one failure.
    runner.on(EVENT_TEST_FAIL, (test, error) => {
      counts.failed += 1;
      failures.push({ title: test.fullTitle(), file: relative(process.cwd(), test.file ?? ''), error });
      write(`  ${styleText('red', '✗')} ${test.fullTitle()}`);
    });
    runner.once(EVENT_RUN_END, () => {
      for (const { title, file, error } of failures) {
        write(`\n${styleText('red', title)}\n  ${file}\n${describe(error)}`);
      }
      const target = process.env['TREELINE_TEST_COUNTS'];
      if (target !== undefined) writeFileSync(target, JSON.stringify(counts));
    });
  }
}

function describe(error: unknown): string {
  return inspect(error, { depth: 4 }).replaceAll(/^/gm, '    ');
}
