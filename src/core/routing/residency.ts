import type { Clock } from '../clock';
import { modelKey } from '../ollama/names';
import type { PsModel } from '../ollama/schemas';

/** Where a model's weights lie. Bytes. */
export interface Residency {
  /** false: not loaded. Loaded without a byte in VRAM (a machine without a GPU) is true with 0 bytes. */
  in_vram: boolean;
  size_bytes: number;
  size_vram_bytes: number;
  /** Seen resident before by this product, and pushed out since, or left with fewer bytes in VRAM. */
  evicted: boolean;
}

interface Seen {
  sizeVram: number;
  numCtx: number | undefined;
  /** Milliseconds since the epoch; after that the server unloads it on schedule, which is no eviction. */
  expiresAt: number;
}

interface Warm {
  numCtx: number;
  /** Monotonic milliseconds. */
  at: number;
}

/** A model that answered this recently, with nothing else loaded since, is taken for resident without asking. */
const TRUST_MS = 30_000;
/** The server's timers and ours differ a little. */
const EXPIRY_SLACK_MS = 2_000;

/** What the product has seen of a server's memory. */
export class ResidencyTracker {
  readonly #clock: Clock;
  readonly #seen = new Map<string, Seen>();
  readonly #warm = new Map<string, Warm>();
  readonly #lost = new Set<string>();
  /** What the person has unloaded, until a look finds it gone. */
  readonly #leaving = new Set<string>();
  readonly #kept = new Set<string>();
  #latest = new Map<string, PsModel>();
  /** Monotonic milliseconds. */
  #lookedAt = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes in an answer of /api/ps. Returns the names of models that were evicted since the last one. */
  record(models: readonly PsModel[]): string[] {
    const now = this.#clock.now();
    const evicted: string[] = [];
    this.#lookedAt = this.#clock.monotonic();
    this.#latest = new Map(models.map((m) => [modelKey(m.name), m]));

    for (const known of [this.#warm, this.#kept]) {
      for (const key of known.keys()) if (!this.#latest.has(key)) known.delete(key);
    }
    for (const [key, seen] of this.#seen) {
      if (this.#latest.has(key)) continue;
      this.#seen.delete(key);
      if (now < seen.expiresAt - EXPIRY_SLACK_MS && !this.#leaving.has(key)) {
        this.#lost.add(key);
        evicted.push(key);
      }
    }
    for (const key of this.#leaving) if (!this.#latest.has(key)) this.#leaving.delete(key);
    for (const [key, model] of this.#latest) {
      const before = this.#seen.get(key);
      const comparable = before && before.numCtx === model.context_length;
      if (comparable && model.size_vram < before.sizeVram && !this.#lost.has(key)) {
        this.#lost.add(key);
        evicted.push(key);
      }
      this.#seen.set(key, {
        sizeVram: comparable ? Math.max(before.sizeVram, model.size_vram) : model.size_vram,
        numCtx: model.context_length,
        expiresAt: Date.parse(model.expires_at) || Infinity,
      });
    }
    return evicted;
  }

  /** Whether the last look is younger than this. Milliseconds. */
  isFresh(ms: number): boolean {
    return this.#clock.monotonic() - this.#lookedAt < ms;
  }

  /** The model's place in memory as last seen. */
  read(model: string): Residency {
    const found = this.#latest.get(modelKey(model));
    return {
      in_vram: found !== undefined,
      size_bytes: found?.size ?? 0,
      size_vram_bytes: found?.size_vram ?? 0,
      evicted: this.#lost.has(modelKey(model)),
    };
  }

  /** All models in memory as last seen. */
  get resident(): PsModel[] {
    return [...this.#latest.values()];
  }

  /** The loss has been reported on an envelope: the next call starts clean. */
  forgive(model: string): void {
    this.#lost.delete(modelKey(model));
    const found = this.#latest.get(modelKey(model));
    const seen = this.#seen.get(modelKey(model));
    if (found && seen) seen.sizeVram = found.size_vram;
  }

  /** A byte of an answer arrived: the model is resident with this window. */
  touched(model: string, numCtx: number): void {
    this.#warm.set(modelKey(model), { numCtx, at: this.#clock.monotonic() });
  }

  /** Something was loaded: anything else may have been pushed out. */
  loaded(model: string): void {
    this.#lookedAt = -Infinity;
    for (const key of this.#warm.keys()) if (key !== modelKey(model)) this.#warm.delete(key);
  }

  /** The person unloads it, which is no eviction. The function that it returns says that it stays after all. */
  unloading(model: string): () => void {
    const key = modelKey(model);
    this.#lookedAt = -Infinity;
    this.#warm.delete(key);
    this.#lost.delete(key);
    this.#kept.delete(key);
    this.#leaving.add(key);
    return () => this.#leaving.delete(key);
  }

  /** The person keeps it in memory: no call of ours may put an end to that. */
  keep(model: string): void {
    this.#kept.add(modelKey(model));
  }

  isKept(model: string): boolean {
    return this.#kept.has(modelKey(model));
  }

  /** The server went away or was changed: nothing is known any more. */
  reset(): void {
    this.#warm.clear();
    this.#seen.clear();
    this.#lost.clear();
    this.#leaving.clear();
    this.#kept.clear();
    this.#latest.clear();
    this.#lookedAt = -Infinity;
  }

  /** Whether the model may be called without making sure first that it is loaded. */
  trusted(model: string, numCtx: number): boolean {
    const warm = this.#warm.get(modelKey(model));
    return (
      warm !== undefined && warm.numCtx === numCtx && this.#clock.monotonic() - warm.at < TRUST_MS
    );
  }

  /** Whether the last look found the model in memory with this window. */
  isLoaded(model: string, numCtx: number): boolean {
    const found = this.#latest.get(modelKey(model));
    return found !== undefined && (found.context_length ?? numCtx) === numCtx;
  }
}
