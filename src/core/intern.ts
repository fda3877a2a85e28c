import { randomUUID } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { parseHost } from './address';
import type { Backend, Envelope, Surface } from './audit/envelope';
import { AuditLog } from './audit/log';
import { Backends, type BackendStatus } from './backends';
import { type Clock, systemClock } from './clock';
import { type Config, type Environment, resolveConfig, type Settings } from './config';
import { cancelledError, InternError, toInternError } from './errors';
import type { Job, Prompt } from './jobs/job';
import { type InputOf, type JobName, JOBS, type ResultOf } from './jobs/registry';
import { TokenEstimator } from './models/estimator';
import type { PullProgress } from './ollama/client';
import type { PsModel } from './ollama/schemas';
import type { TokenSource } from './ollama/tokens';
import type { BreakerStatus } from './routing/breaker';
import type { Phase, Window } from './routing/call';
import type { KeySource } from './routing/cloudKeys';
import { abortReason, ask } from './routing/deadline';
import { routeOf, type Target } from './routing/route';
import { type Move, type Routed, RouteError, type Setup, Walk } from './routing/router';
import { MemoryStore, type Store } from './store';

export interface InternOptions {
  /** What somebody set explicitly. Default: nothing. */
  settings?: Settings;
  /** Default: the process's. */
  env?: Environment;
  /** Keeps what is learned about models. Default: forgets at the end of the process. */
  store?: Store;
  clock?: Clock;
  /** Where the tokens of servers behind a reverse proxy are kept. Default: only those of `setToken`. */
  tokens?: TokenSource;
  /** Where the keys of the cloud are kept. Default: only those of `setCloudKey`, and `OLLAMA_API_KEY`. */
  cloudKeys?: TokenSource;
  /** Finds the address of a host name. Default: the system does. */
  lookup?: LookupFunction;
}

export interface RunOptions {
  signal?: AbortSignal;
  /** Text of the answer as it is written; only streamed jobs have any. */
  onDelta?: (text: string) => void;
  onPhase?: (phase: Phase) => void;
  /** For the audit trail. Default: `library`. */
  surface?: Surface;
  /** A model to use instead of the tier's. */
  model?: string;
  /** What to do with an input that does not fit the model's window. Default: refuse it with `context_overflow`. */
  overflow?: 'refuse' | 'shorten';
}

/** A call that is running now. */
export interface RunningCall {
  call_id: string;
  job: string;
  /** Where the call is now: it may move on. */
  backend: Backend;
  model: string;
  /** Milliseconds since the epoch. */
  started_at: number;
  phase: Phase | undefined;
}

/** Hears of what happens; none of its methods may throw. */
export interface InternListener {
  onCallStarted?(call: RunningCall): void;
  onPhase?(call: RunningCall): void;
  onEnvelope?(envelope: Envelope): void;
  onError?(error: InternError, job: string): void;
  onConfig?(config: Config): void;
  /** A breaker, or what is known of a backend, changed. */
  onBackend?(status: BackendStatus, before: BreakerStatus): void;
  onLogProblem?(error: Error): void;
}

export interface Intern {
  /** What is in force now. */
  readonly config: Config;
  /** Runs a job to its end. Rejects with an InternError. */
  run<N extends JobName>(
    job: N,
    input: InputOf<N>,
    options?: RunOptions,
  ): Promise<Envelope<ResultOf<N>>>;
  readonly running: readonly RunningCall[];
  /** Cancels a running call; false when there is none of that id. */
  stop(callId: string): boolean;
  readonly models: Models;
  /** The backends that calls may go to now. */
  readonly backends: BackendStatus[];
  /** Takes over new settings at once; running calls keep theirs. */
  configure(settings: Settings): void;
  /** The bearer token of a reverse proxy before that server; undefined: none. It cannot be read back. */
  setToken(address: string, token: string | undefined): void;
  /** The key of the cloud at that address; undefined: the environment's, if any. It cannot be read back. */
  setCloudKey(address: string, key: string | undefined): void;
  /** Where the key of the cloud comes from. */
  cloudKey(): Promise<KeySource>;
  /** Asks a backend whether it would answer. Rejects with an InternError. The cloud is sent the word "ping". */
  test(backend: Backend, signal?: AbortSignal): Promise<void>;
  /** The next call tries a backend that is left alone after failures. */
  retryNow(backend: Backend): void;
  listen(listener: InternListener): { dispose(): void };
  /** Resolves when the audit trail is written. */
  flush(): Promise<void>;
  dispose(): Promise<void>;
}

/** The models of the local server. */
export interface Models {
  installed(signal?: AbortSignal): Promise<{ name: string; size: number; remote: boolean }[]>;
  /** In memory now. */
  resident(signal?: AbortSignal): Promise<PsModel[]>;
  pull(
    model: string,
    onProgress: (progress: PullProgress) => void,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Forgets what was remembered about installed models. */
  refresh(): void;
  version(signal?: AbortSignal): Promise<string>;
}

/** Builds the whole product but its surfaces. Sends nothing until the first call. */
export function createIntern(options: InternOptions = {}): Intern {
  return new InternCore(options);
}

class InternCore implements Intern {
  readonly #clock: Clock;
  readonly #env: Environment;
  readonly #listeners = new Set<InternListener>();
  readonly #running = new Map<string, RunningCall>();
  readonly #stops = new Map<string, AbortController>();
  readonly #calls = new Set<Promise<unknown>>();
  readonly #estimator: TokenEstimator;
  readonly #backends: Backends;
  #config: Config;
  #log: AuditLog;

  constructor(options: InternOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#env = options.env ?? process.env;
    const store = options.store ?? new MemoryStore();
    const settings = options.settings ?? {};
    this.#config = resolveConfig(settings, this.#env);
    this.#estimator = new TokenEstimator(store);
    this.#log = this.#newLog();
    this.#backends = new Backends({
      config: this.#config,
      settings,
      env: this.#env,
      clock: this.#clock,
      store,
      tokens: options.tokens,
      cloudKeys: options.cloudKeys,
      lookup: options.lookup,
      onEvicted: (models) => this.#onEvicted(models),
      onChange: (status, before) => this.#onBackend(status, before),
      onProblem: () => this.#tellConfig(),
    });
  }

  get config(): Config {
    const config = this.#config;
    return { ...config, problems: [...config.problems, ...this.#backends.problems] };
  }

  get running(): RunningCall[] {
    return [...this.#running.values()];
  }

  stop(callId: string): boolean {
    const stop = this.#stops.get(callId);
    stop?.abort(cancelledError());
    return stop !== undefined;
  }

  get models(): Models {
    const { client, catalogue, residency } = this.#backends.local;
    return {
      installed: async (signal) =>
        (await catalogue.list(signal)).map(({ name, size, remote_host, remote_model }) => ({
          name,
          size,
          remote: Boolean(remote_host ?? remote_model),
        })),
      resident: async (signal) => {
        const models = await ask(this.#clock, (s) => client.ps(s), signal);
        this.#onEvicted(residency.record(models));
        return models;
      },
      pull: async (model, onProgress, signal) => {
        await client.pull(model, onProgress, signal);
        catalogue.refresh();
      },
      refresh: () => catalogue.refresh(),
      version: (signal) => ask(this.#clock, (s) => client.version(s), signal),
    };
  }

  get backends(): BackendStatus[] {
    return this.#backends.status;
  }

  configure(settings: Settings): void {
    const before = this.#config;
    this.#config = resolveConfig(settings, this.#env);
    this.#backends.configure(this.#config, settings);
    if (before.logPath !== this.#config.logPath) this.#log = this.#newLog();
    this.#tellConfig();
  }

  setToken(address: string, token: string | undefined): void {
    this.#backends.setToken(parseHost(address), token);
  }

  setCloudKey(address: string, key: string | undefined): void {
    this.#backends.setCloudKey(parseHost(address), key);
  }

  cloudKey(): Promise<KeySource> {
    return this.#backends.cloudKey();
  }

  test(backend: Backend, signal?: AbortSignal): Promise<void> {
    return this.#backends.test(backend, signal);
  }

  retryNow(backend: Backend): void {
    this.#backends.retryNow(backend);
  }

  listen(listener: InternListener): { dispose(): void } {
    this.#listeners.add(listener);
    return { dispose: () => this.#listeners.delete(listener) };
  }

  async run<N extends JobName>(
    name: N,
    input: InputOf<N>,
    options: RunOptions = {},
  ): Promise<Envelope<ResultOf<N>>> {
    const call = this.#call(name, input, options);
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  async #call<N extends JobName>(
    name: N,
    input: InputOf<N>,
    options: RunOptions,
  ): Promise<Envelope<ResultOf<N>>> {
    const config = this.#config;
    const record: CallRecord = {
      call_id: `call_${randomUUID()}`,
      job: name,
      surface: options.surface ?? 'library',
      startedAt: this.#clock.monotonic(),
      target: routeOf(config, JOBS[name].tier, options.model)[0] as Target,
      setup: { config, drivers: this.#backends.drivers },
    };
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(abortReason(options.signal));
    if (options.signal?.aborted) onAbort();
    else options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#stops.set(record.call_id, stop);
    const release = this.#backends.use();
    try {
      const stoppable = { ...options, signal: stop.signal };
      const envelope = await this.#run(JOBS[name], input, stoppable, record);
      this.#log.write({ kind: 'call', tool: name, envelope: { ...envelope, result: undefined } });
      this.#tell('onEnvelope', envelope);
      return envelope as Envelope<ResultOf<N>>;
    } catch (thrown) {
      const failure = thrown instanceof RouteError ? thrown.error : toInternError(thrown);
      // Calls that waited for the same question share its failure, but not their ids.
      const error = failure.callId === undefined ? failure : failure.with({});
      error.callId = record.call_id;
      this.#log.write(this.#errorEvent(error, record, thrown));
      this.#tell('onError', error, name);
      throw error;
    } finally {
      release();
      options.signal?.removeEventListener('abort', onAbort);
      this.#stops.delete(record.call_id);
      this.#running.delete(record.call_id);
    }
  }

  async flush(): Promise<void> {
    await this.#log.flush();
  }

  async dispose(): Promise<void> {
    for (const stop of this.#stops.values()) stop.abort(cancelledError());
    await Promise.allSettled(this.#calls);
    await this.#log.flush();
    await this.#backends.destroy();
  }

  async #run(
    job: Job,
    rawInput: unknown,
    options: RunOptions,
    record: CallRecord,
  ): Promise<Envelope> {
    const input = readInput(job, rawInput);
    const running: RunningCall = {
      call_id: record.call_id,
      job: job.name,
      backend: record.target.backend,
      model: record.target.model,
      started_at: this.#clock.now(),
      phase: undefined,
    };
    this.#running.set(record.call_id, running);
    this.#tell('onCallStarted', running);

    const { prepared, routed } = await this.#route(job, input, options, running, record);
    const { answer, target } = routed;
    const chars = charsOf(prepared.prompt);
    const wasCut = this.#estimator.wasCut(target.model, prepared.texts, answer.prompt_tokens);
    if (!wasCut) this.#estimator.learn(target.model, chars, answer.prompt_tokens);
    if (answer.content.trim() === '') throw emptyAnswer(routed);
    const { result, warnings } = job.parse(answer.content, prepared.input);
    return this.#envelope(job, record, options, routed, result, {
      warnings: [
        ...prepared.warnings,
        ...(wasCut ? [cutWarning(target.model, answer.prompt_tokens)] : []),
        ...(warnings ?? []),
      ],
      truncated: prepared.truncated || wasCut,
    });
  }

  async #route(
    job: Job,
    input: unknown,
    options: RunOptions,
    running: RunningCall,
    { call_id, setup }: CallRecord,
  ): Promise<{ prepared: Prepared; routed: Routed }> {
    let prepared: Prepared | undefined;
    const onMove = (kind: 'fallback' | 'backend_fallback', move: Move): void =>
      this.#log.write({ kind, call_id, tool: job.name, ...moveEvent(kind, move) });
    const walk = new Walk(
      {
        clock: this.#clock,
        gates: this.#backends.gates,
        isAllowed: (backend) => this.#backends.isAllowed(backend),
        isServing: (backend, host) => this.#backends.isServing(backend, host),
        correct: (model, tokens) => {
          if (prepared) this.#estimator.correct(model, charsOf(prepared.prompt), tokens);
        },
        onAttempt: (backend, error) => this.#backends.onAttempt(backend, error),
        onTierFallback: (move) => onMove('fallback', move),
        onBackendFallback: (move) => onMove('backend_fallback', move),
      },
      setup,
      {
        tier: job.tier,
        model: options.model,
        mayShorten: job.shorten !== undefined && options.overflow === 'shorten',
        prepare: (window) => {
          prepared = this.#prepare(job, input, options, setup, window);
          const { messages, numPredict } = prepared.prompt;
          return { messages, numPredict, temperature: job.temperature, streamed: job.streamed };
        },
      },
      {
        signal: options.signal,
        onDelta: (text) => job.streamed && options.onDelta?.(text),
        onTarget: ({ model }, backend) => Object.assign(running, { model, backend }),
        onPhase: (phase) => {
          running.phase = phase;
          try {
            options.onPhase?.(phase);
            this.#tell('onPhase', running);
          } catch {
            // It is told from timers and from other calls' ends: a display must not fail any of them.
          }
        },
      },
    );
    try {
      const routed = await walk.run();
      return { prepared: prepared as unknown as Prepared, routed };
    } catch (thrown) {
      // The server's own overflow offers to shorten, whatever the job.
      throw thrown instanceof RouteError && !job.shorten ? withoutShorten(thrown) : thrown;
    }
  }

  /** The prompt for a window, once it is known to fit. */
  #prepare(
    job: Job,
    given: unknown,
    options: RunOptions,
    { config }: Setup,
    window: Window,
  ): Prepared {
    let input = given;
    const warnings: string[] = [];
    for (let round = 0; ; round++) {
      const prompt = job.prompt(input);
      prompt.numPredict = config.tiers[job.tier].options.numPredict ?? prompt.numPredict;
      const texts = prompt.messages.map((m) => m.content);
      const promptTokens = this.#estimator.count(window.model, texts);
      const available = window.numCtx - prompt.numPredict;
      if (promptTokens <= available) {
        return { prompt, texts, input, warnings, truncated: round > 0 };
      }
      if (options.overflow !== 'shorten' || !job.shorten || round === 4) {
        throw overflowError(window, promptTokens, prompt.numPredict, job.shorten !== undefined);
      }
      // The instructions do not shrink with the text, so a first cut may not be enough.
      const share = Math.max(0, (available / promptTokens) * 0.95 ** (round + 1));
      const shorter = job.shorten(input, share);
      const lengthOf = (value: unknown): number => JSON.stringify(value).length;
      warnings.splice(
        0,
        1,
        `Only the first part of the text was read: it is about ${Math.round((lengthOf(shorter) / lengthOf(given)) * 100)} % of the whole.`,
      );
      input = shorter;
    }
  }

  #envelope(
    job: Job,
    record: CallRecord,
    options: RunOptions,
    routed: Routed,
    result: unknown,
    { warnings, truncated }: { warnings: string[]; truncated: boolean },
  ): Envelope {
    const { answer, target, ranIn } = routed;
    if (answer.done_reason === 'length') {
      warnings.push('The answer reached its length limit and may end too early.');
    }
    return {
      call_id: record.call_id,
      job: job.name,
      surface: record.surface,
      result,
      tier_used: target.tier,
      model: target.model,
      hardware_profile: record.setup.config.profile,
      backend: ranIn,
      tokens_in: answer.prompt_tokens,
      tokens_out: answer.output_tokens,
      elapsed_ms: Math.round(this.#clock.monotonic() - record.startedAt),
      residency: routed.residency,
      ...(routed.degrade_reason && {
        degraded: true as const,
        degrade_reason: routed.degrade_reason,
      }),
      ...(target.tier !== job.tier && { fallback_from: job.tier }),
      ...(options.model && { model_requested: options.model }),
      attempts: routed.attempts,
      queued_ms: routed.queued_ms,
      load_ms: routed.load_ms,
      first_token_ms: routed.first_token_ms,
      tokens_per_second:
        answer.output_ms > 0 ? round1((answer.output_tokens / answer.output_ms) * 1000) : undefined,
      num_ctx: routed.numCtx,
      ...(truncated && { truncated: true as const }),
      done_reason: answer.done_reason || undefined,
      ...(ranIn === 'local' && { cost_usd: 0 }),
      warnings,
    };
  }

  #errorEvent(error: InternError, record: CallRecord, thrown: unknown) {
    const route = thrown instanceof RouteError ? thrown : undefined;
    const target = route?.target ?? record.target;
    return {
      kind: error.code === 'timeout' ? ('timeout' as const) : ('error' as const),
      tool: record.job,
      call_id: record.call_id,
      surface: record.surface,
      code: error.code,
      message: error.message,
      details: error.details,
      tier: target.tier,
      model: target.model,
      backend: target.backend,
      attempts: route?.attempts ?? [],
      queued_ms: route?.queuedMs ?? 0,
      hardware_profile: record.setup.config.profile,
      elapsed_ms: Math.round(this.#clock.monotonic() - record.startedAt),
    };
  }

  #tell<K extends keyof InternListener>(
    event: K,
    ...args: Parameters<NonNullable<InternListener[K]>>
  ): void {
    for (const listener of this.#listeners) {
      (listener[event] as ((...a: typeof args) => void) | undefined)?.apply(listener, args);
    }
  }

  #onEvicted(models: string[]): void {
    for (const model of models) this.#log.write({ kind: 'eviction', model, backend: 'local' });
  }

  #onBackend(status: BackendStatus, before: BreakerStatus): void {
    const { backend, breaker } = status;
    if (before.state !== breaker.state) {
      this.#log.write({
        kind: 'breaker',
        backend,
        from: before.state,
        to: breaker.state,
        reason: breaker.reason ?? before.reason,
        retry_in_ms: breaker.retry_in_ms,
      });
    }
    this.#tell('onBackend', status, before);
  }

  #tellConfig(): void {
    this.#tell('onConfig', this.config);
  }

  #newLog(): AuditLog {
    return new AuditLog(
      this.#config.logPath,
      () => this.#clock.now(),
      (error) => this.#tell('onLogProblem', error),
    );
  }
}

interface CallRecord {
  call_id: string;
  job: string;
  surface: Surface;
  startedAt: number;
  /** What the call would use first. */
  target: Target;
  setup: Setup;
}

/** A prompt that fits, as far as can be told. */
interface Prepared {
  prompt: Prompt;
  texts: string[];
  /** Of the job; shortened when `truncated`. */
  input: unknown;
  truncated: boolean;
  warnings: string[];
}

function charsOf(prompt: Prompt): number {
  return prompt.messages.reduce((sum, message) => sum + message.content.length, 0);
}

function readInput(job: Job, input: unknown): unknown {
  const parsed = job.input.safeParse(input);
  if (parsed.success) return parsed.data;
  const first = parsed.error.issues[0];
  const where = first?.path.join('.');
  throw new InternError({
    code: 'bad_input',
    message:
      first?.code === 'custom'
        ? first.message
        : `The input of ${job.title} is not valid: ${where ? `${where}: ` : ''}${first?.message ?? ''}`,
    hint: 'Correct the input and run it again.',
  });
}

function overflowError(
  { model, numCtx }: Window,
  promptTokens: number,
  numPredict: number,
  canShorten: boolean,
): InternError {
  const n = (value: number): string => value.toLocaleString('en-US');
  return new InternError({
    code: 'context_overflow',
    message: `The text is too long for ${model}: about ${n(promptTokens)} tokens and up to ${n(numPredict)} for the answer, in a window of ${n(numCtx)}.`,
    hint: 'Select a shorter part, or give the tier a larger context window. Nothing was sent.',
    actions: [
      ...(canShorten ? [{ kind: 'shorten' } as const] : []),
      { kind: 'open_setting', setting: 'ollamaIntern.options.contextWindow' },
    ],
    details: { model, prompt_tokens: promptTokens, num_ctx: numCtx },
  });
}

function withoutShorten({ error, attempts, target, queuedMs }: RouteError): RouteError {
  const actions = error.actions.filter((action) => action.kind !== 'shorten');
  return new RouteError(error.with({ actions }), attempts, target, queuedMs);
}

function emptyAnswer(routed: Routed): RouteError {
  const { answer, target } = routed;
  const why =
    answer.thinking !== ''
      ? ' It spent all its tokens on thinking.'
      : answer.done_reason === 'length'
        ? ' It reached its length limit at once.'
        : '';
  const error = new InternError({
    code: 'server',
    message: `${target.model} answered with nothing.${why}`,
    hint: 'Try again, or choose another model for this tier.',
    retryable: true,
    actions: [{ kind: 'retry' }, { kind: 'choose_profile' }],
    details: { model: target.model },
  });
  return new RouteError(error, routed.attempts, target, routed.queued_ms);
}

function cutWarning(model: string, tokens: number): string {
  return `${model} counted only ${tokens.toLocaleString('en-US')} tokens: it may not have read the whole text.`;
}

/** A tier falls back inside its backend and only because of slowness; another backend may have other reasons. */
function moveEvent(kind: 'fallback' | 'backend_fallback', { from, to, reason }: Move) {
  const models = { from_model: from.model, to_model: to.model };
  return kind === 'fallback'
    ? { from: from.tier, to: to.tier, ...models, backend: from.backend, reason: 'timeout' }
    : { from: from.backend, to: to.backend, ...models, tier: to.tier, reason };
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
