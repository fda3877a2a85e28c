import type { Clock } from '../clock';
import { InternError } from '../errors';
import type { OllamaClient } from '../ollama/client';
import { modelKey } from '../ollama/names';
import type { TagsModel } from '../ollama/schemas';
import { ask, orAborted } from '../routing/deadline';

/** What a model can do, from /api/show. */
export interface ModelInfo {
  name: string;
  capabilities: readonly string[];
  /** Tokens that the model was trained for. */
  contextLength: number | undefined;
  parameters: number | undefined;
  /** It runs elsewhere, though the local server answers for it. */
  remote: boolean;
}

/** How long what the server said about its models is believed. */
const CACHE_MS = 60 * 60 * 1000;
export const MOST_NAMES = 8;

interface Cached<T> {
  value: Promise<T>;
  at: number;
}

/** The server's models, remembered for an hour. */
export class Catalogue {
  readonly #client: () => OllamaClient;
  readonly #clock: Clock;
  #tags: Cached<TagsModel[]> | undefined;
  readonly #info = new Map<string, Cached<ModelInfo>>();

  constructor(client: () => OllamaClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Forgets everything: after a pull, for another server, or because a person asked. */
  refresh(): void {
    this.#tags = undefined;
    this.#info.clear();
  }

  /** The installed models. */
  async list(signal?: AbortSignal): Promise<TagsModel[]> {
    if (!this.#isFresh(this.#tags)) {
      const entry = {
        value: ask(this.#clock, (s) => this.#client().tags(s)),
        at: this.#clock.monotonic(),
      };
      this.#tags = entry;
      // A failure is not remembered.
      entry.value.catch(() => this.#tags === entry && (this.#tags = undefined));
    }
    return orAborted((this.#tags as Cached<TagsModel[]>).value, signal);
  }

  /** What one model can do. A model that is not installed is a `model_missing` that names those that are. */
  async info(model: string, signal?: AbortSignal): Promise<ModelInfo> {
    const key = modelKey(model);
    let entry = this.#info.get(key);
    if (!this.#isFresh(entry)) {
      const fresh = { value: this.#ask(model), at: this.#clock.monotonic() };
      entry = fresh;
      this.#info.set(key, fresh);
      fresh.value.catch(() => this.#info.get(key) === fresh && this.#info.delete(key));
    }
    return orAborted((entry as Cached<ModelInfo>).value, signal);
  }

  /** Up to eight names that exist, for an error about one that does not. */
  async explainMissing(error: InternError): Promise<InternError> {
    this.refresh();
    const installed = await this.list().catch(() => undefined);
    if (!installed) return error;
    if (installed.length === 0) {
      const model = error.details.model ?? 'a model';
      return error.with({
        code: 'config',
        message: 'Ollama is running, but no models are pulled.',
        hint: `Pull ${model} (ollama pull ${model}), then run this again.`,
      });
    }
    const available = installed.slice(0, MOST_NAMES).map((m) => m.name);
    const more = installed.length > MOST_NAMES ? ', …' : '';
    return error.with({
      hint: `${error.hint} Installed: ${available.join(', ')}${more}.`,
      details: { available },
    });
  }

  async #ask(model: string): Promise<ModelInfo> {
    try {
      const answer = await ask(this.#clock, (signal) => this.#client().show(model, signal));
      const info = answer.model_info ?? {};
      const architecture = info['general.architecture'];
      return {
        name: model,
        capabilities: answer.capabilities ?? ['completion'],
        contextLength:
          positiveNumber(info[`${String(architecture)}.context_length`]) ??
          positiveNumber(info['context_length']),
        parameters: positiveNumber(info['general.parameter_count']),
        remote: Boolean(answer.remote_host ?? answer.remote_model),
      };
    } catch (error) {
      if (error instanceof InternError && error.code === 'model_missing') {
        throw await this.explainMissing(error);
      }
      throw error;
    }
  }

  #isFresh(entry: { at: number } | undefined): boolean {
    return entry !== undefined && this.#clock.monotonic() - entry.at < CACHE_MS;
  }
}

function positiveNumber(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined;
}
