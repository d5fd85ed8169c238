/** The result of the chunking benchmark as a table for people. */
import { renderTable } from './import-table.ts';

interface ChunkingTrait {
  readonly title: string;
  /** Of `treeline encapsulate --chunking`. */
  readonly chunking: 'default' | 'baseline' | 'none';
  /** Of layers as zstd:chunked the importer fetches parts. */
  readonly compression: 'gzip' | 'zstd:chunked';
}

export const CHUNKINGS = {
  default: { title: 'default', chunking: 'default', compression: 'gzip' },
  baseline: { title: 'base line', chunking: 'baseline', compression: 'gzip' },
  single: { title: 'single layer', chunking: 'none', compression: 'gzip' },
  'zstd-single': { title: 'single, zstd:chunked', chunking: 'none', compression: 'zstd:chunked' },
  'zstd-default': { title: 'default, zstd:chunked', chunking: 'default', compression: 'zstd:chunked' },
} as const satisfies Readonly<Record<string, ChunkingTrait>>;

export type ChunkingName = keyof typeof CHUNKINGS;

export const CHUNKING_NAMES = Object.keys(CHUNKINGS) as readonly ChunkingName[];

export interface StepResult {
  /** What happened since the version before. */
  readonly step: string;
  /** Into an empty repository: no update. */
  readonly first: boolean;
  /** Bytes of the changed files, compressed. */
  readonly floor: number;
  /** Bytes over the wire. */
  readonly bytes: Readonly<Partial<Record<ChunkingName, number>>>;
}

/** Megabytes for each step, then all updates together by the floor, and each by the base line, on average. */
export function renderChunking(names: readonly ChunkingName[], results: readonly StepResult[]): string {
  const megabytes = (bytes: number | undefined) => (bytes === undefined ? '' : (bytes / 1e6).toFixed(1));
  const updates = results.filter(({ first }) => !first);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const ratioRow = (title: string, ratio: (name: ChunkingName) => number): readonly string[] => [
    title,
    '',
    ...names.map(ratio).map((value) => (Number.isNaN(value) ? '' : `${value.toFixed(2)}×`)),
  ];
  const bytesOf = ({ bytes }: StepResult, name: ChunkingName) => bytes[name] ?? Number.NaN;
  return renderTable(
    ['MB pulled', 'floor', ...names.map((name) => CHUNKINGS[name].title)],
    [
      ...results.map(({ step, floor, bytes }) => [
        step,
        megabytes(floor),
        ...names.map((name) => megabytes(bytes[name])),
      ]),
      ratioRow('all updates, of the floor', (name) => {
        return sum(updates.map((result) => bytesOf(result, name))) / sum(updates.map(({ floor }) => floor));
      }),
      ratioRow('of the base line, on average', (name) => {
        return sum(updates.map((result) => bytesOf(result, name) / bytesOf(result, 'baseline'))) / updates.length;
      }),
    ],
  );
}
