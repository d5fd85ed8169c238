/** The result of the import benchmark as numbers and as a table for people. */
import type { Cost } from './measured-process.ts';

export interface ContenderResult extends Cost {
  readonly name: string;
  /** From the registry to the client, HTTP headers included. */
  readonly wireBytes: number;
}

export interface ScenarioResult {
  readonly title: string;
  /** Ours first, then the peer. */
  readonly contenders: readonly ContenderResult[];
}

/** Each number's own median: one slow run of several moves none of them. */
export function medianCost(costs: readonly Cost[]): Cost {
  return {
    wallSeconds: median(costs.map(({ wallSeconds }) => wallSeconds)),
    cpuSeconds: median(costs.map(({ cpuSeconds }) => cpuSeconds)),
    peakBytes: median(costs.map(({ peakBytes }) => peakBytes)),
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

const COLUMNS = ['', 'wall s', 'CPU s', 'peak MB', 'wire MB'] as const;

/** A Markdown table, with a row of ratios (peer to ours: above 1 we are better) under each pair. */
export function renderTable(results: readonly ScenarioResult[]): string {
  const rows: string[][] = [[...COLUMNS]];
  for (const { title, contenders } of results) {
    for (const one of contenders) {
      rows.push([
        `${title}: ${one.name}`,
        one.wallSeconds.toFixed(1),
        one.cpuSeconds.toFixed(1),
        (one.peakBytes / 1e6).toFixed(0),
        (one.wireBytes / 1e6).toFixed(1),
      ]);
    }
    const [ours, peer] = contenders;
    if (ours === undefined || peer === undefined) continue;
    const ratio = (pick: (result: ContenderResult) => number): string => `${(pick(peer) / pick(ours)).toFixed(2)}×`;
    rows.push([
      `${title}: ratio`,
      ratio((one) => one.wallSeconds),
      ratio((one) => one.cpuSeconds),
      ratio((one) => one.peakBytes),
      ratio((one) => one.wireBytes),
    ]);
  }
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |\n`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |\n`;
  const [head = [], ...body] = rows;
  return line(head) + rule + body.map(line).join('');
}
