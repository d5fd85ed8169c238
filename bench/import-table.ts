/** The result of the import benchmark as a table for people. */
import type { Cost } from './measured-process.ts';

export interface ContenderResult {
  readonly name: string;
  /** Of each timed run. */
  readonly costs: readonly Cost[];
  /** From the registry to the client, HTTP headers included; undefined when it was not counted. */
  readonly wireBytes: number | undefined;
}

export interface ScenarioResult {
  /** What `--scenario` calls it. */
  readonly scenario: string;
  readonly title: string;
  /** Ours first, then the peer. */
  readonly contenders: readonly ContenderResult[];
}

/** Each number's own median: one slow run of several moves none of them. NaN of nothing. */
export function medianCost(costs: readonly Cost[]): Cost {
  return {
    wallSeconds: median(costs.map(({ wallSeconds }) => wallSeconds)),
    cpuSeconds: median(costs.map(({ cpuSeconds }) => cpuSeconds)),
    peakBytes: median(costs.map(({ peakBytes }) => peakBytes)),
    peakProportionalBytes: median(costs.map(({ peakProportionalBytes }) => peakProportionalBytes)),
  };
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

interface Column {
  readonly title: string;
  readonly pick: (cost: Cost, result: ContenderResult) => number | undefined;
  readonly unit: number;
  readonly digits: number;
}

const COLUMNS: readonly Column[] = [
  { title: 'wall s', pick: ({ wallSeconds }) => wallSeconds, unit: 1, digits: 3 },
  { title: 'CPU s', pick: ({ cpuSeconds }) => cpuSeconds, unit: 1, digits: 3 },
  { title: 'peak MB', pick: ({ peakBytes }) => peakBytes, unit: 1e6, digits: 0 },
  { title: 'PSS MB', pick: ({ peakProportionalBytes }) => peakProportionalBytes, unit: 1e6, digits: 0 },
  { title: 'wire MB', pick: (_, { wireBytes }) => wireBytes, unit: 1e6, digits: 1 },
];

/** A Markdown table of medians, with a row of ratios (peer to ours: above 1 we are better) under each pair. */
export function renderImportTable(results: readonly ScenarioResult[]): string {
  const rows: string[][] = [];
  for (const { title, contenders } of results) {
    const values = contenders.map((one) => {
      const cost = medianCost(one.costs);
      return COLUMNS.map(({ pick }) => pick(cost, one));
    });
    for (const [index, { name }] of contenders.entries()) {
      const cells = COLUMNS.map(({ unit, digits }, column) => fixed(values[index]?.[column], unit, digits));
      rows.push([`${title}: ${name}`, ...cells]);
    }
    const [ours, peer] = values;
    if (ours === undefined || peer === undefined) continue;
    rows.push([`${title}: ratio`, ...COLUMNS.map((_, column) => ratio(peer[column], ours[column]))]);
  }
  return renderTable(['', ...COLUMNS.map(({ title }) => title)], rows);
}

function fixed(value: number | undefined, unit: number, digits: number): string {
  return value === undefined || Number.isNaN(value) ? '' : (value / unit).toFixed(digits);
}

function ratio(peer: number | undefined, ours: number | undefined): string {
  return peer === undefined || ours === undefined || Number.isNaN(peer / ours) ? '' : `${(peer / ours).toFixed(2)}×`;
}

/** A Markdown table whose first column is text and whose others are numbers. */
export function renderTable(head: readonly string[], body: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(3, title.length, ...body.map((row) => row[column]?.length ?? 0)));
  const cell = (text: string, column: number): string =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  const line = (row: readonly string[]): string =>
    `| ${widths.map((_, column) => cell(row[column] ?? '', column)).join(' | ')} |\n`;
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return line(head) + line(rule) + body.map(line).join('');
}
