import { modelKey } from '../../core/ollama/names';
import type { EvictedModel, ResidentModel } from '../../shared/dashboard';

/** An eviction is news for this long. */
export const NEWS_MS = 15 * 60_000;

/** What is dated later than this is of a clock that was wrong. */
const TOLERANCE_MS = 1_000;

/** Which models were pushed out lately and are still out of memory. The core says which are pushed out. */
export class Evictions {
  readonly #evicted = new Map<string, EvictedModel>();
  /** When models were last seen in memory: the log tells again and again what was before. */
  readonly #present = new Map<string, number>();

  learn(evicted: readonly EvictedModel[], now: number): void {
    for (const { name, at } of evicted) {
      const key = modelKey(name);
      const known = Math.max(this.#evicted.get(key)?.at ?? 0, this.#present.get(key) ?? 0);
      if (isNews(at, now) && at > known) this.#evicted.set(key, { name, at });
    }
  }

  /** Those that are no news any more, or are back in memory, are forgotten. Latest first. */
  without(models: readonly ResidentModel[], now: number): EvictedModel[] {
    for (const { name } of models) {
      this.#present.set(modelKey(name), now);
      this.#evicted.delete(modelKey(name));
    }
    for (const [key, { at }] of this.#evicted) if (!isNews(at, now)) this.#evicted.delete(key);
    for (const [key, at] of this.#present) if (!isNews(at, now)) this.#present.delete(key);
    return [...this.#evicted.values()].sort((a, b) => b.at - a.at);
  }

  /** Another server: nothing is known of it. */
  reset(): void {
    this.#evicted.clear();
    this.#present.clear();
  }
}

function isNews(at: number, now: number): boolean {
  return now - at <= NEWS_MS && at - now <= TOLERANCE_MS;
}
