import type { Clock, Timer } from '../clock';
import type { TierConfig } from '../config';
import { InternError } from '../errors';
import type { ModelInfo } from '../models/catalogue';
import { thinkFor } from '../models/thinking';
import type { ChatRequest, KeepAlive, OllamaClient, RunOptions } from '../ollama/client';
import { modelKey } from '../ollama/names';
import type { BackendAnswer, AttemptListener, Prompted } from './call';
import { ask, Deadline, orAborted } from './deadline';
import type { LoadTimes } from './loads';
import { DEFAULT_REPEAT_PENALTY } from './profiles';
import type { Residency, ResidencyTracker } from './residency';
import { Writing } from './writing';

/** A load that takes longer than this is shown. Milliseconds. */
const SHOW_LOADING_AFTER_MS = 300;
const LOADING_TICK_MS = 1_000;
/** A look at the server's memory is good for this long: what runs through at once shares one. Milliseconds. */
const LOOK_IS_FRESH_MS = 1_000;
/** A resident model answers a load request at once; slower than this and it is really loading. Milliseconds. */
const RESIDENT_ANSWERS_WITHIN_MS = 1_000;
/** A load request with keep-alive 0 unloads the model; it is held this long for the call, which lets go of it. */
const HELD_FOR_THE_CALL = '1m';
/** For ever. */
const KEPT = -1;
const ZERO_DURATION = /^-?(?:0+(?:\.0+)?(?:ns|us|µs|ms|s|m|h))+$/;

export interface LocalTarget {
  model: string;
  numCtx: number;
  tier: TierConfig;
  info: ModelInfo;
  keepAlive: KeepAlive | undefined;
}

export interface Embedded extends BackendAnswer {
  vectors: Float32Array[];
}

/** Milliseconds. */
export interface Warmed {
  load_ms: number;
  residency: Residency | null;
}

/** Vectors are no text. */
const NO_ANSWER = {
  content: '',
  thinking: '',
  tool_calls: [],
  remote_host: undefined,
  done_reason: '',
  output_tokens: 0,
  prompt_ms: 0,
  output_ms: 0,
};

/** A call of ours on its way through a model's line. */
interface InLine {
  done: Promise<void>;
  isAnswering: boolean;
}

interface Dependencies {
  client: OllamaClient;
  clock: Clock;
  residency: ResidencyTracker;
  loads: LoadTimes;
  onEvicted: (models: string[]) => void;
}

/**
 * Runs calls on an Ollama server. The tier's budget starts when the model is resident and nothing of ours is ahead
 * of the call: a cold model is not a slow model, and a queue is not the call's fault.
 */
export class LocalBackend {
  readonly #d: Dependencies;
  /** Calls of ours that a model is busy with: the server takes one at a time. */
  readonly #busy = new Map<string, Set<InLine>>();
  /** The server loads one model at a time. */
  readonly #loading = new Set<Promise<void>>();

  constructor(dependencies: Dependencies) {
    this.#d = dependencies;
  }

  run(call: Prompted, target: LocalTarget, listener: AttemptListener): Promise<BackendAnswer> {
    return this.#attempt(target, listener, call.streamed, (attempt) => attempt.chat(call));
  }

  embed(texts: string[], target: LocalTarget, listener: AttemptListener): Promise<Embedded> {
    return this.#attempt(target, listener, false, (attempt) => attempt.embed(texts));
  }

  /** Gets a model into memory and asks it nothing. */
  warm(target: LocalTarget, listener: AttemptListener): Promise<Warmed> {
    return this.#attempt(target, listener, false, (attempt) => attempt.warm());
  }

  /**
   * Keeps a model in memory until it is unloaded. `numCtx` has to be the window that it is loaded with: for another one
   * the server would load it anew.
   */
  async keep(
    { model, numCtx, info }: Pick<LocalTarget, 'model' | 'numCtx' | 'info'>,
    signal?: AbortSignal,
  ): Promise<void> {
    const { client, clock, residency } = this.#d;
    const target = { model, numCtx, info, keepAlive: KEPT };
    await ask(clock, (s) => loadModel(client, target, s), signal);
    residency.keep(model);
  }

  /** Resolves when the server has heard of it; what still uses the model is answered first. */
  async unload(model: string, signal?: AbortSignal): Promise<void> {
    const { client, clock, residency } = this.#d;
    const stays = residency.unloading(model);
    try {
      await ask(clock, (s) => client.unload(model, s), signal);
    } catch (error) {
      stays();
      throw error;
    }
  }

  async #attempt<T>(
    asked: LocalTarget,
    listener: AttemptListener,
    streamed: boolean,
    work: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const target = this.#d.residency.isKept(asked.model) ? { ...asked, keepAlive: KEPT } : asked;
    const deadline = new Deadline(this.#d.clock, listener.signal);
    let finished!: () => void;
    const done = new Promise<void>((resolve) => (finished = resolve));
    const own: InLine = { done, isAnswering: false };
    const line = this.#join(target.model, own);
    const attempt = new Attempt(
      this.#d,
      target,
      listener,
      streamed,
      deadline,
      own,
      line,
      this.#loading,
    );
    try {
      return await work(attempt);
    } finally {
      attempt.end();
      finished();
      deadline.dispose();
    }
  }

  /** Adds a call to a model's line. */
  #join(model: string, own: InLine): Set<InLine> {
    const key = modelKey(model);
    const line = this.#busy.get(key) ?? new Set();
    this.#busy.set(key, line.add(own));
    void own.done.then(() => {
      line.delete(own);
      if (line.size === 0) this.#busy.delete(key);
    });
    return line;
  }
}

/** One call to one model. */
class Attempt {
  #loadMs = 0;
  #queuedMs = 0;
  #sentAt = 0;
  #answering = false;
  #budgetStarted = false;
  #rivals: InLine[] | undefined;
  /** What was in the line before this call. */
  readonly #ahead: Promise<void>[];
  readonly #writing: Writing;
  #over = false;
  #endProbe: () => void = noop;

  constructor(
    private readonly d: Dependencies,
    private readonly target: LocalTarget,
    private readonly listener: AttemptListener,
    private readonly streamed: boolean,
    private readonly deadline: Deadline,
    private readonly own: InLine,
    private readonly line: ReadonlySet<InLine>,
    private readonly loading: Set<Promise<void>>,
  ) {
    const { model, tier } = target;
    const { budgetMs } = tier;
    this.#writing = new Writing(d.clock, deadline, { model, budgetMs, streamed }, listener);
    this.#ahead = [...line].filter((other) => other !== own).map(({ done }) => done);
  }

  async chat(call: Prompted): Promise<BackendAnswer> {
    const { residency, client } = this.d;
    const { model, numCtx } = this.target;
    await this.#begin();
    let looked: Promise<boolean> | undefined;
    const answer = await client.chat(
      this.#request(call),
      {
        onFirstLine: () => {
          // The model is resident now: look at its place in memory while it writes, not after.
          looked = this.#look();
          this.#onFirstLine();
        },
        onText: (text) => this.#writing.onText(text),
        onThinking: (text) => this.#writing.onThinking(text),
        onRead: () => this.#writing.onRead(),
      },
      this.deadline.signal,
    );
    this.deadline.disarm();
    residency.touched(model, numCtx);
    return {
      answer,
      residency: (await looked) ? this.#readResidency() : null,
      load_ms: Math.round(this.#loadMs + answer.load_ms),
      first_token_ms:
        this.#writing.firstTokenAt &&
        Math.round(this.#writing.firstTokenAt - this.#sentAt - this.#queuedMs),
      queued_ms: Math.round(this.#queuedMs),
    };
  }

  async embed(texts: string[]): Promise<Embedded> {
    const { residency, client } = this.d;
    const { model, numCtx, keepAlive } = this.target;
    await this.#begin();
    const { embeddings, prompt_tokens, load_ms } = await client.embed(
      {
        model,
        input: texts,
        options: { num_ctx: numCtx },
        keep_alive: keepAlive,
        truncate: false,
      },
      this.deadline.signal,
    );
    this.deadline.disarm();
    residency.touched(model, numCtx);
    return {
      vectors: embeddings.map((vector) => Float32Array.from(vector)),
      answer: { ...NO_ANSWER, model, prompt_tokens, load_ms },
      residency: (await this.#look()) ? this.#readResidency() : null,
      load_ms: Math.round(this.#loadMs + load_ms),
      first_token_ms: undefined,
      queued_ms: Math.round(this.#queuedMs),
    };
  }

  async warm(): Promise<Warmed> {
    await this.#ensureLoaded();
    this.d.residency.touched(this.target.model, this.target.numCtx);
    const residency = (await this.#look()) ? this.#readResidency() : null;
    return { load_ms: Math.round(this.#loadMs), residency };
  }

  /** The model is loaded, as far as can be told, and the budget of what is sent now runs. */
  async #begin(): Promise<void> {
    const { residency, clock } = this.d;
    const { model, numCtx } = this.target;
    const trusted = !this.#unloadsAtOnce && residency.trusted(model, numCtx);
    if (!trusted) await this.#ensureLoaded();
    this.listener.onPhase({ phase: 'reading', model });
    this.#sentAt = clock.monotonic();
    this.#startBudget(trusted);
  }

  /** Nothing of the call may go on, or be told, after it. */
  end(): void {
    this.#over = true;
    this.#endProbe();
  }

  get #unloadsAtOnce(): boolean {
    const { keepAlive } = this.target;
    return keepAlive === 0 || (typeof keepAlive === 'string' && ZERO_DURATION.test(keepAlive));
  }

  async #load(signal: AbortSignal): Promise<void> {
    const keepAlive = this.#unloadsAtOnce ? HELD_FOR_THE_CALL : this.target.keepAlive;
    await loadModel(this.d.client, { ...this.target, keepAlive }, signal);
  }

  #request(call: Prompted): ChatRequest {
    const { target } = this;
    return {
      model: target.model,
      messages: call.messages,
      tools: call.tools,
      format: call.format,
      options: this.#options(call),
      keep_alive: target.keepAlive,
      think: thinkFor(target.info, call.think),
      truncate: false,
    };
  }

  #options({ numPredict, temperature }: Prompted): RunOptions {
    const { options } = this.target.tier;
    return {
      num_ctx: this.target.numCtx,
      num_predict: numPredict,
      temperature: options.temperature ?? temperature,
      top_p: options.topP,
      top_k: options.topK,
      repeat_penalty: options.repeatPenalty ?? DEFAULT_REPEAT_PENALTY,
    };
  }

  /** Asks the server to load the model and waits for it, however long such a model may take. */
  async #ensureLoaded(): Promise<void> {
    const { residency, client, clock, loads } = this.d;
    const { model, numCtx, info } = this.target;
    await ask(clock, (signal) => this.#lookOrFail(signal), this.deadline.signal);
    const cold = !residency.isLoaded(model, numCtx);

    const startedAt = clock.monotonic();
    const allowance = loads.allowance(client.baseUrl, model, info.parameters);
    const others = [...this.loading];
    let loaded = false;
    // A model that was resident all along is through before the loads that it was put behind.
    const arm = (): void => {
      if (!loaded) this.deadline.arm(allowance, () => this.#giveUpLoading(allowance));
    };
    if (others.length > 0) void Promise.all(others).then(arm);
    else arm();

    const load = this.#load(this.deadline.signal);
    const settled = load.then(noop, noop);
    this.loading.add(settled);
    const stopTicking = this.#tickWhileLoading(startedAt);
    try {
      await load;
    } finally {
      loaded = true;
      stopTicking();
      this.loading.delete(settled);
      this.deadline.disarm();
    }
    const elapsed = clock.monotonic() - startedAt;
    // The server lists a model already while it loads for somebody else.
    if (cold || elapsed > RESIDENT_ANSWERS_WITHIN_MS) this.#loadMs = elapsed;
    if (!cold) return;
    residency.loaded(model);
    // Behind another model's load it took longer than it does.
    if (others.length === 0) loads.learn(client.baseUrl, model, this.#loadMs);
  }

  #tickWhileLoading(startedAt: number): () => void {
    const { clock, loads, client } = this.d;
    const { model } = this.target;
    const expected = loads.expected(client.baseUrl, model);
    const tick = (): void => {
      const elapsed = clock.monotonic() - startedAt;
      timer = clock.setTimeout(tick, LOADING_TICK_MS);
      this.listener.onPhase({
        phase: 'loading',
        model,
        elapsed_ms: elapsed,
        expected_ms: expected,
      });
    };
    let timer = clock.setTimeout(tick, SHOW_LOADING_AFTER_MS);
    return () => timer.cancel();
  }

  /** The budget runs from now, or from when the calls ahead of this one are through. */
  #startBudget(trusted: boolean): void {
    const { clock } = this.d;
    const budget = this.target.tier.budgetMs;
    const arm = (): void => {
      if (this.#answering || this.deadline.signal.aborted) return;
      this.#budgetStarted = true;
      this.deadline.arm(budget, () => void this.#onBudgetOver(trusted));
    };
    if (this.#ahead.length === 0) return arm();
    void Promise.all(this.#ahead).then(() => {
      if (!this.#answering) this.#queuedMs = clock.monotonic() - this.#sentAt;
      arm();
    });
  }

  /**
   * Two requests on two connections may change places: then the other one has the model first. Only those that were
   * there when the budget first ran out, or a busy line would keep a stuck call waiting for good.
   */
  #overtakers(): Promise<void>[] {
    this.#rivals ??= [...this.line].filter((other) => other !== this.own);
    return this.#rivals
      .filter((other) => other.isAnswering && this.line.has(other))
      .map(({ done }) => done);
  }

  /** The first line: from here the budget is the silence between tokens, or what is left of the total. */
  #onFirstLine(): void {
    this.#answering = true;
    this.own.isAnswering = true;
    this.d.residency.touched(this.target.model, this.target.numCtx);
    if (this.streamed || !this.#budgetStarted) {
      this.deadline.arm(this.target.tier.budgetMs, () => this.#timeOut());
    }
  }

  /**
   * No byte within the budget. A model that was taken for resident may have been pushed out by somebody else and be
   * loading again: that is asked before the call is given up.
   */
  async #onBudgetOver(trusted: boolean): Promise<void> {
    // What the first line starts from here is a new budget.
    this.#budgetStarted = false;
    const overtakers = this.#overtakers();
    if (overtakers.length > 0) {
      await Promise.all(overtakers);
      if (this.#answering || this.#over || this.deadline.signal.aborted) return;
      this.#queuedMs = this.d.clock.monotonic() - this.#sentAt;
      this.#budgetStarted = true;
      this.deadline.arm(this.target.tier.budgetMs, () => void this.#onBudgetOver(trusted));
      return;
    }
    if (!trusted || !(await this.#isReloading())) this.#timeOut();
  }

  async #isReloading(): Promise<boolean> {
    const { clock, client, loads } = this.d;
    const { model, info } = this.target;
    const startedAt = clock.monotonic();
    const probe = new AbortController();
    const load = this.#load(probe.signal).then(
      () => true,
      () => true,
    );
    let patience!: Timer;
    const grace = new Promise<false>((resolve) => {
      patience = clock.setTimeout(() => resolve(false), RESIDENT_ANSWERS_WITHIN_MS);
    });
    let stopTicking = noop;
    this.#endProbe = () => {
      patience.cancel();
      stopTicking();
      probe.abort();
    };
    const resident = await Promise.race([load, grace]);
    if (resident || this.#answering || this.#over || this.deadline.signal.aborted) {
      this.#endProbe();
      return this.#answering || this.#over;
    }
    const allowance = loads.allowance(client.baseUrl, model, info.parameters);
    this.deadline.arm(allowance, () => this.#giveUpLoading(allowance));
    stopTicking = this.#tickWhileLoading(startedAt);
    void load.then(() => {
      stopTicking();
      if (this.#answering || this.#over || this.deadline.signal.aborted) return;
      // How long it took is in the server's own count of this call.
      this.listener.onPhase({ phase: 'reading', model });
      this.deadline.arm(this.target.tier.budgetMs, () => this.#timeOut());
    });
    return true;
  }

  #timeOut(): void {
    const seconds = Math.round(this.target.tier.budgetMs / 1000);
    const { model } = this.target;
    this.deadline.abort(
      new InternError({
        code: 'timeout',
        message: this.#writing.isShown
          ? `${model} stopped writing: nothing came for ${seconds} s.`
          : `${model} did not answer within ${seconds} s.`,
        hint: 'The machine may be busy or the model too large for it. Try again, raise the budget, or choose a smaller profile.',
        retryable: true,
        actions: [
          { kind: 'retry' },
          { kind: 'open_setting', setting: 'ollamaIntern.budgets' },
          { kind: 'choose_profile' },
        ],
        details: { model, partial: this.#writing.isShown },
      }),
    );
  }

  #giveUpLoading(allowanceMs: number): void {
    this.deadline.abort(
      new InternError({
        code: 'timeout',
        message: `${this.target.model} did not finish loading within ${Math.round(allowanceMs / 1000)} s.`,
        hint: 'It may be too large for this machine. Try again, or choose a profile with smaller models.',
        retryable: true,
        actions: [{ kind: 'retry' }, { kind: 'choose_profile' }],
        details: { model: this.target.model },
      }),
    );
  }

  async #lookOrFail(signal: AbortSignal): Promise<void> {
    this.d.onEvicted(this.d.residency.record(await this.d.client.ps(signal)));
  }

  /** Whether the look at the server's memory succeeded. A call never fails because of it. */
  #look(): Promise<boolean> {
    if (this.d.residency.isFresh(LOOK_IS_FRESH_MS)) return Promise.resolve(true);
    return orAborted(
      ask(this.d.clock, (signal) => this.#lookOrFail(signal), this.deadline.signal),
      this.deadline.signal,
    ).then(
      () => true,
      () => false,
    );
  }

  #readResidency(): Residency {
    const found = this.d.residency.read(this.target.model);
    this.d.residency.forgive(this.target.model);
    return found;
  }
}

/** Returns when it is resident; at once when it already is, with this window. */
async function loadModel(
  client: OllamaClient,
  { model, numCtx, info, keepAlive }: Omit<LocalTarget, 'tier'>,
  signal: AbortSignal,
): Promise<void> {
  const options = { num_ctx: numCtx };
  // A model that only embeds refuses to be loaded for writing.
  if (!isEmbedder(info)) await client.load(model, options, keepAlive, signal);
  else await client.embed({ model, input: [], options, keep_alive: keepAlive }, signal);
}

/** Makes embeddings and cannot write. */
export function isEmbedder({ capabilities }: ModelInfo): boolean {
  return capabilities.includes('embedding') && !capabilities.includes('completion');
}

function noop(): void {}
