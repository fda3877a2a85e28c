/** One measured figure beside what it is compared with in the same run. */
export interface Figure {
  bench: string;
  metric: string;
  value: number;
  unit: 'ms' | 'lines/s' | 'KB' | 'frames';
  baseline: number;
  /** value - baseline. */
  difference: number;
  /** value / baseline. */
  ratio: number;
  /** What it should be, where something is asked of it. */
  goal?: string;
  met?: boolean;
}

export interface Goal {
  text: string;
  isMet: (figure: Figure) => boolean;
}

export function figure(
  bench: string,
  metric: string,
  value: number,
  unit: Figure['unit'],
  baseline: number,
  goal?: Goal,
): Figure {
  const measured: Figure = {
    bench,
    metric,
    value: round(value),
    unit,
    baseline: round(baseline),
    difference: round(value - baseline),
    ratio: round(value / baseline),
  };
  return goal ? { ...measured, goal: goal.text, met: goal.isMet(measured) } : measured;
}

export function print(figures: Figure[], json: boolean): void {
  if (json) {
    for (const line of figures) console.log(JSON.stringify(line));
    return;
  }
  const rows = [
    ['bench', 'metric', 'value', 'unit', 'baseline', 'difference', 'ratio', '', 'goal'],
    ...figures.map((f) => [
      f.bench,
      f.metric,
      String(f.value),
      f.unit,
      String(f.baseline),
      String(f.difference),
      String(f.ratio),
      f.goal ? (f.met ? '✔' : '✘') : '',
      f.goal ?? '',
    ]),
  ];
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((r) => r[i]?.length ?? 0))) ?? [];
  const isNumber = (column: number): boolean => column >= 2 && column <= 6;
  for (const row of rows) {
    console.log(
      row
        .map((cell, i) =>
          isNumber(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    );
  }
}

/** The value that this share (0 to 1) of the samples does not exceed. */
export function quantile(samples: number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
