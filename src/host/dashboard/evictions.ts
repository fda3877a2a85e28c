import { modelKey } from '../../core/ollama/names';
import type { EvictedModel, ResidentModel } from '../../shared/dashboard';

/** An eviction is news for this long. */
export const NEWS_MS = 15 * 60_000;

/** Which models were pushed out lately and are still out of memory. The core says which are pushed out. */
export class Evictions {
  readonly #evicted = new Map<string, EvictedModel>();

  learn(evicted: readonly EvictedModel[]): void {
    for (const { name, at } of evicted) {
      const key = modelKey(name);
      const known = this.#evicted.get(key);
      if (!known || known.at < at) this.#evicted.set(key, { name, at });
    }
  }

  /** Those that are no news any more, or are back in memory, are forgotten. Latest first. */
  without(models: readonly ResidentModel[], now: number): EvictedModel[] {
    const present = new Set(models.map(({ name }) => modelKey(name)));
    for (const [key, { at }] of this.#evicted) {
      if (present.has(key) || now - at > NEWS_MS) this.#evicted.delete(key);
    }
    return [...this.#evicted.values()].sort((a, b) => b.at - a.at);
  }

  /** Another server: nothing is known of it. */
  reset(): void {
    this.#evicted.clear();
  }
}
