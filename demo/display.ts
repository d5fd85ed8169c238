/** Shows a rollout: on a terminal as a table that is redrawn in place, elsewhere as plain lines when something changes. */
import { stripVTControlCharacters, styleText } from 'node:util';
import type { FleetView, NodeView } from './fleet-view.ts';

/** Faster than that nobody reads; slower feels stuck. */
const REDRAW_INTERVAL_MS = 100;

export interface DisplayStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const COLUMNS: readonly { readonly title: string; readonly value: (node: NodeView) => string }[] = [
  { title: 'NODE', value: (node) => node.name },
  { title: 'STATE', value: (node) => node.state },
  { title: 'PHASE', value: (node) => node.phase },
  { title: 'PULL', value: (node) => node.pull },
  { title: 'STAGED', value: (node) => node.staged },
  { title: 'BOOTED', value: (node) => node.booted },
];

/** The table as lines without colours, and the sentence below it. */
export function renderTable(view: FleetView): readonly string[] {
  const rows = [
    COLUMNS.map(({ title }) => title),
    ...view.nodes.map((node) => COLUMNS.map(({ value }) => value(node))),
  ];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('   ')
      .trimEnd(),
  );
  return [
    `Target: version ${view.target || '?'}, ${view.updatedOfTotal || '?'} updated`,
    ...lines,
    `→ ${view.waitingFor}`,
  ];
}

/** One line per thing that changed between two views. */
export function describeChanges(before: FleetView | undefined, after: FleetView): readonly string[] {
  const lines: string[] = [];
  for (const node of after.nodes) {
    const old = before?.nodes.find(({ name }) => name === node.name);
    const parts = [
      node.phase,
      node.state,
      node.pull === '' ? '' : `pull ${node.pull}`,
      node.staged === '' ? '' : `staged ${node.staged}`,
      node.booted === '' ? '' : `booted ${node.booted}`,
    ];
    const text = parts.filter((part) => part !== '').join(', ');
    const { name: _, ...was } = old ?? { name: '' };
    const { name, ...is } = node;
    if (JSON.stringify(was) !== JSON.stringify(is)) lines.push(`${name}: ${text}`);
  }
  if (before?.waitingFor !== after.waitingFor) lines.push(`→ ${after.waitingFor}`);
  return lines;
}

export class Display {
  readonly #stream: DisplayStream;
  #shown: FleetView | undefined;
  #drawnLines = 0;
  #timer: NodeJS.Timeout | undefined;
  #latest: FleetView | undefined;
  readonly #started = performance.now();

  constructor(stream: DisplayStream) {
    this.#stream = stream;
  }

  /** A sentence that stays. */
  say(sentence: string): void {
    this.#flush();
    this.#erase();
    this.#stream.write(`${this.#stream.isTTY === true ? styleText('bold', sentence) : this.#elapsed() + sentence}\n`);
    if (this.#shown !== undefined && this.#stream.isTTY === true) this.#draw(this.#shown);
  }

  /** Several lines as they are, for what other programs have written. */
  quote(text: string): void {
    this.end();
    for (const line of text.trimEnd().split('\n')) this.#stream.write(`  ${line}\n`);
  }

  /** Shows the newest view, at most ten times a second. */
  update(view: FleetView): void {
    this.#latest = view;
    this.#timer ??= setTimeout(() => this.#flush(), REDRAW_INTERVAL_MS);
  }

  /** Leaves what is drawn where it is. */
  end(): void {
    this.#flush();
    this.#drawnLines = 0;
    if (this.#stream.isTTY === true) this.#shown = undefined;
  }

  /** A log has no clock of its own; a terminal is watched live. */
  #elapsed(): string {
    return `${((performance.now() - this.#started) / 1000).toFixed(1).padStart(6)} s  `;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const view = this.#latest;
    if (view === undefined) return;
    this.#latest = undefined;
    if (this.#stream.isTTY === true) this.#draw(view);
    else for (const line of describeChanges(this.#shown, view)) this.#stream.write(`${this.#elapsed()}${line}\n`);
    this.#shown = view;
  }

  #draw(view: FleetView): void {
    this.#erase();
    const width = this.#stream.columns ?? 80;
    const lines = renderTable(view).map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line));
    this.#stream.write(`${lines.map((line, index) => colour(line, index, lines.length)).join('\n')}\n`);
    this.#drawnLines = lines.length;
  }

  #erase(): void {
    // Up to the first line drawn, then everything below it away (ECMA-48 CUU and ED).
    if (this.#drawnLines > 0) this.#stream.write(`\u001B[${this.#drawnLines}A\u001B[J`);
    this.#drawnLines = 0;
  }
}

function colour(line: string, index: number, count: number): string {
  if (index === count - 1) return styleText('yellow', line);
  if (index <= 1) return styleText('dim', line);
  if (line.includes('Updated')) return styleText('green', line);
  return stripVTControlCharacters(line);
}
