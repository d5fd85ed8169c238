/** Reads what a process serves under /metrics (Prometheus text format, version 0.0.4). */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Every sample of `text`; comments and what is not a sample are passed over. */
export function readMetrics(text: string): readonly Sample[] {
  return text.split('\n').flatMap((line): Sample[] => {
    const [, name, labels = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return [];
    const pairs = labels.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g).map(([, key = '', text = '']) => [key, text]);
    return [{ name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) }];
  });
}

/** Sum of the samples of `name` that `keep` accepts. */
export function total(
  samples: readonly Sample[],
  name: string,
  keep: (sample: Sample) => boolean = () => true,
): number {
  return samples.filter((sample) => sample.name === name && keep(sample)).reduce((sum, { value }) => sum + value, 0);
}
