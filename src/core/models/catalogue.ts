import { BACKEND_NAMES } from '../audit/envelope';
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

/** What a server was asked, remembered for an hour. Those who ask at the same time share one question. */
export class Remembered<T> {
  readonly #clock: Clock;
  readonly #entries = new Map<string, { value: Promise<T>; at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: string, question: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    let entry = this.#entries.get(key);
    if (!entry || this.#clock.monotonic() - entry.at >= CACHE_MS) {
      const fresh = { value: question(), at: this.#clock.monotonic() };
      entry = fresh;
      this.#entries.set(key, fresh);
      // A failure is not remembered.
      fresh.value.catch(() => this.#entries.get(key) === fresh && this.#entries.delete(key));
    }
    return orAborted(entry.value, signal);
  }

  clear(): void {
    this.#entries.clear();
  }
}

/** The error with up to eight names that exist. */
export function withNames(error: InternError, lead: string, names: string[]): InternError {
  if (names.length === 0) return error;
  const available = names.slice(0, MOST_NAMES);
  const more = names.length > MOST_NAMES ? ', …' : '';
  return error.with({
    hint: `${error.hint} ${lead}: ${available.join(', ')}${more}.`,
    details: { available },
  });
}

/** The server's models, remembered for an hour. */
export class Catalogue {
  readonly #client: OllamaClient;
  readonly #clock: Clock;
  readonly #tags: Remembered<TagsModel[]>;
  readonly #info: Remembered<ModelInfo>;

  constructor(
    client: OllamaClient,
    clock: Clock,
    private readonly backend: 'local' | 'cloud' = 'local',
  ) {
    this.#client = client;
    this.#clock = clock;
    this.#tags = new Remembered(clock);
    this.#info = new Remembered(clock);
  }

  /** Forgets everything: after a pull, for another server, or because a person asked. */
  refresh(): void {
    this.#tags.clear();
    this.#info.clear();
  }

  /** The installed models. */
  list(signal?: AbortSignal): Promise<TagsModel[]> {
    return this.#tags.get('', () => this.#question((s) => this.#client.tags(s)), signal);
  }

  /** What one model can do. A model that is not installed is a `model_missing` that names those that are. */
  info(model: string, signal?: AbortSignal): Promise<ModelInfo> {
    return this.#info.get(modelKey(model), () => this.#ask(model), signal);
  }

  /** Up to eight names that exist, for an error about one that does not. */
  async explainMissing(error: InternError): Promise<InternError> {
    this.refresh();
    const installed = await this.list().catch(() => undefined);
    if (!installed) return error;
    if (installed.length === 0 && this.backend === 'local') {
      const model = error.details.model ?? 'a model';
      return error.with({
        code: 'config',
        message: 'Ollama is running, but no models are pulled.',
        hint: `Pull ${model} (ollama pull ${model}), then run this again.`,
      });
    }
    const lead = this.backend === 'local' ? 'Installed' : 'Available';
    return withNames(
      error,
      lead,
      installed.map((m) => m.name),
    );
  }

  #question<T>(question: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return ask(this.#clock, question, undefined, BACKEND_NAMES[this.backend]);
  }

  async #ask(model: string): Promise<ModelInfo> {
    try {
      const answer = await this.#question((signal) => this.#client.show(model, signal));
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
}

function positiveNumber(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined;
}
