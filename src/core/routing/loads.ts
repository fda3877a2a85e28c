import { modelKey } from '../ollama/names';
import type { Store } from '../store';

/** Source: the product's table; between the points by interpolation. */
const ALLOWANCE_POINTS: readonly (readonly [billions: number, seconds: number])[] = [
  [1, 60],
  [7, 120],
  [70, 600],
];
const UNKNOWN_ALLOWANCE_MS = 300_000;
const REMEMBERED = 5;
/** A load may be this much slower than the slowest one seen here: a cold disk against a warm page cache. */
const LEARNED_MARGIN = 4;
const LEAST_LEARNED_MS = 30_000;
/** Quicker than this is not a load from disk and says nothing about the next one. */
const LEAST_LOAD_MS = 50;

/** Milliseconds that a model of this size may take to load; `undefined` parameters mean unknown. */
export function allowanceBySize(parameters: number | undefined): number {
  if (parameters === undefined || parameters <= 0) return UNKNOWN_ALLOWANCE_MS;
  const billions = parameters / 1e9;
  const [first] = ALLOWANCE_POINTS;
  if (!first || billions <= first[0]) return (first?.[1] ?? 60) * 1000;
  for (let i = 1; i < ALLOWANCE_POINTS.length; i++) {
    const [x0, y0] = ALLOWANCE_POINTS[i - 1] as readonly [number, number];
    const [x1, y1] = ALLOWANCE_POINTS[i] as readonly [number, number];
    if (billions <= x1) return (y0 + ((billions - x0) / (x1 - x0)) * (y1 - y0)) * 1000;
  }
  return (ALLOWANCE_POINTS.at(-1)?.[1] ?? 600) * 1000;
}

/** How long models take to load on this machine. */
export class LoadTimes {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  learn(host: string, model: string, elapsedMs: number): void {
    if (elapsedMs < LEAST_LOAD_MS) return;
    const seen = [...this.#seen(host, model), Math.round(elapsedMs)].slice(-REMEMBERED);
    this.#store.set(key(host, model), seen);
  }

  /** The usual load time in milliseconds, once there has been one. */
  expected(host: string, model: string): number | undefined {
    const sorted = this.#seen(host, model).toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }

  /** Milliseconds to wait for a load before giving up. */
  allowance(host: string, model: string, parameters: number | undefined): number {
    const seen = this.#seen(host, model);
    if (seen.length === 0) return allowanceBySize(parameters);
    return Math.max(LEAST_LEARNED_MS, LEARNED_MARGIN * Math.max(...seen));
  }

  #seen(host: string, model: string): number[] {
    const value = this.#store.get(key(host, model));
    return Array.isArray(value) ? value.filter((v): v is number => typeof v === 'number') : [];
  }
}

function key(host: string, model: string): string {
  return `load:${host}:${modelKey(model)}`;
}
