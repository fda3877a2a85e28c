/** Where things are in a chart: ticks, stacks and paths, without a page to draw on. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** What is measured: whole things, any number, a share between 0 and 1, or milliseconds. */
export type Measure = 'count' | 'number' | 'share' | 'ms';

/** Above a minute, round times are not round numbers of milliseconds. */
const TIMES = [
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000].map((hours) => hours * HOUR),
];

/** What an axis shows when there is nothing to show. */
const LEAST: Record<Measure, number> = { count: 1, number: 1, share: 0.1, ms: SECOND };

/** Round values from 0 to the first that is not below `max`, with at most `most` steps between them. */
export function ticks(max: number, measure: Measure, most = 4): number[] {
  const highest = max > 0 ? max : LEAST[measure];
  const step = roundStep(highest / most, measure);
  // A sum of floats may be a hair above its tick.
  const steps = Math.max(1, Math.ceil(highest / step - 1e-9));
  return Array.from({ length: steps + 1 }, (_, index) => index * step);
}

/** The first round step that is not below `least`. */
function roundStep(least: number, measure: Measure): number {
  if (measure === 'count' && least <= 1) return 1;
  if (measure === 'ms' && least > 30 * SECOND) {
    return TIMES.find((time) => time >= least) ?? least;
  }
  if (measure === 'ms' && least > 20 * SECOND) return 30 * SECOND;
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9)) ?? 10) * power;
}

const DAY_MINUTES = 24 * 60;
/** Steps between moments, in minutes. */
const CLOCK_STEPS = [
  ...[1, 2, 5, 10, 15, 30],
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * 60),
  ...[1, 2, 3, 5, 7, 10, 15].map((days) => days * DAY_MINUTES),
];

/** At most about `most` moments from `from` to `to` that are round on the person's clock. */
export function timeTicks(from: number, to: number, most: number): number[] {
  const least = (to - from) / MINUTE / Math.max(1, most);
  const step = CLOCK_STEPS.find((minutes) => minutes >= least) ?? CLOCK_STEPS.at(-1)!;
  const first = new Date(from);
  const found: number[] = [];
  // By the calendar and not by adding: a day may have 23 hours.
  for (let days = 0; ; days += Math.max(1, step / DAY_MINUTES)) {
    const at = (minutes: number): number =>
      new Date(first.getFullYear(), first.getMonth(), first.getDate() + days, 0, minutes).getTime();
    if (at(0) > to) return found;
    for (let minutes = 0; minutes < DAY_MINUTES; minutes += step) {
      const moment = at(minutes);
      if (moment >= from && moment <= to && moment > (found.at(-1) ?? -Infinity)) {
        found.push(moment);
      }
    }
  }
}

/** Whether a day begins at this moment. */
export function isMidnight(at: number): boolean {
  const date = new Date(at);
  return date.getHours() === 0 && date.getMinutes() === 0;
}

export interface Stacked {
  /** Of the layer's own value; between them lies what is drawn. */
  from: number;
  to: number;
}

/** Puts layers on top of each other, bucket by bucket. */
export function stack(layers: readonly (readonly (number | undefined)[])[]): Stacked[][] {
  const heights: number[] = [];
  return layers.map((layer) =>
    layer.map((value, index) => {
      const from = heights[index] ?? 0;
      const to = (heights[index] = from + (value ?? 0));
      return { from, to };
    }),
  );
}

export interface Point {
  x: number;
  y: number;
}

/** Stretches of points without a gap. */
export function runs(points: readonly (Point | undefined)[]): Point[][] {
  const found: Point[][] = [];
  let open: Point[] | undefined;
  for (const point of points) {
    if (!point) {
      open = undefined;
    } else if (open) {
      open.push(point);
    } else {
      found.push((open = [point]));
    }
  }
  return found;
}

/** Of an SVG path through the points. */
export function pathOf(points: readonly Point[]): string {
  return points
    .map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${round(x)} ${round(y)}`)
    .join('');
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The bucket at `x` of `width` pixels. */
export function bucketAt(x: number, width: number, buckets: number): number {
  return Math.min(buckets - 1, Math.max(0, Math.floor((x / width) * buckets)));
}
