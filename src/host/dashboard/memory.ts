import { type Intern, type InternError, type PsModel, toInternError } from '../../core';
import type { EvictedModel, ResidencyState, ResidentModel } from '../../shared/dashboard';
import { Evictions } from './evictions';

const POLL_MS = 3_000;
/** A server that does not answer is asked less often. */
const POLL_FAILED_MS = 5_000;

/** What is in the memory of the local server: asked again and again while somebody looks. */
export class MemoryWatch {
  readonly evictions = new Evictions();
  #state: ResidencyState = { state: 'asking' };
  #timer: NodeJS.Timeout | undefined;
  #asking: AbortController | undefined;
  #isWatched = false;

  /** `onChange` hears of every state that differs from the one before. */
  constructor(
    private readonly intern: Intern,
    private readonly onChange: (state: ResidencyState) => void,
  ) {}

  get state(): ResidencyState {
    return this.#state;
  }

  /** Asks now, and again from time to time until `rest`. */
  async look(): Promise<void> {
    clearTimeout(this.#timer);
    this.#isWatched = true;
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const state = await this.#read(asking.signal);
    if (asking.signal.aborted) return;
    this.#asking = undefined;
    this.#become(state);
    // Whoever looks away meanwhile has aborted it.
    const pause = state.state === 'failed' ? POLL_FAILED_MS : POLL_MS;
    this.#timer = setTimeout(() => void this.look(), pause);
  }

  /**
   * Looks at once, and again when it is known which models the log says were pushed out lately, before this look or by
   * other windows: a long log is read for a while.
   */
  async begin(lately: Promise<readonly EvictedModel[]>): Promise<void> {
    void this.look();
    const evicted = await lately.catch(() => []);
    this.evictions.learn(evicted, Date.now());
    if (evicted.length > 0) await this.stir();
  }

  /** Something has changed the memory. Resolves when that was looked at, if anybody wants to know. */
  async stir(): Promise<void> {
    if (this.#isWatched) await this.look();
  }

  rest(): void {
    this.#isWatched = false;
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = undefined;
  }

  /** Another server: nothing is known of it. */
  reset(): void {
    this.evictions.reset();
    this.#become({ state: 'asking' });
    void this.stir();
  }

  #become(state: ResidencyState): void {
    if (JSON.stringify(state) === JSON.stringify(this.#state)) return;
    this.#state = state;
    this.onChange(state);
  }

  async #read(signal: AbortSignal): Promise<ResidencyState> {
    try {
      const models = (await this.intern.models.resident(signal)).map(toResident);
      // An answer that nobody waits for any more may be another server's.
      const evicted = signal.aborted ? [] : this.evictions.without(models, Date.now());
      return { state: 'known', models, evicted };
    } catch (thrown) {
      return toFailed(toInternError(thrown));
    }
  }
}

function toFailed({ code, message, hint, actions }: InternError): ResidencyState {
  return {
    state: 'failed',
    code,
    message,
    hint,
    startable: actions.some(({ kind }) => kind === 'start_server'),
    setting: actions.find((action) => action.kind === 'open_setting')?.setting,
  };
}

function toResident(model: PsModel): ResidentModel {
  const { name, size, size_vram, context_length } = model;
  const expiresAt = Date.parse(model.expires_at);
  return {
    name,
    size,
    size_vram,
    context_length,
    expires_at: Number.isNaN(expiresAt) ? undefined : expiresAt,
  };
}
