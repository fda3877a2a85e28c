import { modelKey } from '../core/ollama/names';
import type { EvictedModel, ResidentModel } from './dashboard';

/** An eviction is news for this long. */
const NEWS_MS = 15 * 60_000;
/** The server's timers and ours differ a little. */
const EXPIRY_SLACK_MS = 2_000;

/** Which models were pushed out lately: from the log, and from what successive looks at the server's memory show. */
export class Evictions {
  readonly #evicted = new Map<string, EvictedModel>();
  #seen = new Map<string, ResidentModel>();
  /** What the person has unloaded, until a look finds it gone. */
  readonly #leaving = new Set<string>();

  /** Takes in what the log tells about the time before the first look. */
  learn(evicted: readonly EvictedModel[]): void {
    for (const { name, at } of evicted) this.#add(name, at);
  }

  /** Models that are out of memory because others pushed them out, latest first. */
  look(models: readonly ResidentModel[], now: number): EvictedModel[] {
    const present = new Map(models.map((model) => [modelKey(model.name), model]));
    for (const [key, { name, expires_at = Infinity }] of this.#seen) {
      // A model that was due to be unloaded was not pushed out.
      const isEarly = now < expires_at - EXPIRY_SLACK_MS && !this.#leaving.has(key);
      if (!present.has(key) && isEarly) this.#add(name, now);
    }
    for (const key of this.#leaving) if (!present.has(key)) this.#leaving.delete(key);
    this.#seen = present;
    for (const [key, { at }] of this.#evicted) {
      if (present.has(key) || now - at > NEWS_MS) this.#evicted.delete(key);
    }
    return [...this.#evicted.values()].sort((a, b) => b.at - a.at);
  }

  /** The person unloads it: nothing pushes it out. The function that it returns says that it stays after all. */
  unloading(name: string): () => void {
    const key = modelKey(name);
    this.#leaving.add(key);
    return () => this.#leaving.delete(key);
  }

  /** Another server: nothing is known of it. */
  reset(): void {
    this.#evicted.clear();
    this.#seen.clear();
    this.#leaving.clear();
  }

  #add(name: string, at: number): void {
    const key = modelKey(name);
    const known = this.#evicted.get(key);
    if (!known || known.at < at) this.#evicted.set(key, { name, at });
  }
}
