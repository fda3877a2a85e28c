import { randomUUID } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { parseHost } from './address';
import type { Backend, Envelope, Surface } from './audit/envelope';
import { AuditLog, type LogEvent } from './audit/log';
import { Backends, type BackendStatus } from './backends';
import { type Clock, systemClock } from './clock';
import { type Config, type Environment, resolveConfig, type Settings } from './config';
import { cancelledError, InternError, toInternError } from './errors';
import {
  conversation,
  type Turn,
  TURN_LIMITS,
  type TurnMessage,
  turnPrompt,
  type TurnRequest,
} from './jobs/conversation';
import type { Job } from './jobs/job';
import { type InputOf, type JobName, JOBS, type ResultOf } from './jobs/registry';
import { type ModelInfo, UNKNOWN_CAPABILITIES } from './models/catalogue';
import { readPrompt, TokenEstimator } from './models/estimator';
import type { PullProgress } from './ollama/client';
import { isCloudName, modelKey, sameModel } from './ollama/names';
import type { PsModel } from './ollama/schemas';
import type { TokenSource } from './ollama/tokens';
import type { BreakerStatus } from './routing/breaker';
import type { Phase } from './routing/call';
import { isCloudHost } from './routing/cloud';
import type { KeySource } from './routing/cloudKeys';
import { abortReason, ask } from './routing/deadline';
import { parseModelRef, refKey, routeOf, type Target } from './routing/route';
import type { Driver } from './routing/drivers';
import { isEmbedder } from './routing/local';
import { RouteError } from './routing/router';
import { type GenerativeTier, type Tier, TIERS } from './routing/tiers';
import { answerLimit, type CallRecord, Run } from './run';
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
  /** What a model thinks before it writes, where it is asked to. */
  onThinking?: (text: string) => void;
  onPhase?: (phase: Phase) => void;
  /** For the audit trail. Default: `library`. */
  surface?: Surface;
  /** A model to use instead of the tier's. */
  model?: string;
  /** What to do with an input that does not fit the model's window. Default: refuse it with `context_overflow`. */
  overflow?: 'refuse' | 'shorten';
}

export interface DescribeOptions {
  signal?: AbortSignal;
  /** false: no server is asked, and what is set is all that is said. Default: true. */
  ask?: boolean;
  /** A model to use instead of the tier's. */
  model?: string;
}

/** What would take a turn of a conversation. Tokens. */
export interface Taker {
  /** Where the model runs. */
  backend: Backend;
  model: string;
  /** Prompt and answer together. */
  numCtx: number;
  maxInput: number;
  maxOutput: number;
  /** As /api/show spells them. */
  capabilities: readonly string[];
  /** Why its server said nothing: the rest is what is set, and what a model is taken for. */
  problem?: InternError;
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
  /** These were seen to have been pushed out of the local server's memory. */
  onEvicted?(models: readonly string[]): void;
  /** A model was pulled, or what was known of the installed ones is forgotten. */
  onModels?(): void;
  /** The key of the cloud was set or cleared. */
  onCloudKey?(): void;
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
  /**
   * One turn of a conversation that its client keeps, by a tier, or by the model in `options`. Routed, enveloped and
   * logged like a job; the whole conversation is sent or none of it. Rejects with an InternError.
   */
  converse(
    tier: GenerativeTier,
    request: TurnRequest,
    options?: Omit<RunOptions, 'overflow'>,
  ): Promise<Envelope<Turn>>;
  /** What would take a turn of `converse` now, as far as its server says; its `problem` is told, not thrown. */
  describe(tier: GenerativeTier, options?: DescribeOptions): Promise<Taker>;
  /** About how many tokens a text, or a message of `converse`, would take; learned from what servers counted. */
  countTokens(tier: GenerativeTier, content: string | TurnMessage, model?: string): number;
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
  /** Cancels what runs and closes all connections; later calls are refused. */
  dispose(): Promise<void>;
}

export interface ModelOptions {
  signal?: AbortSignal;
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
  /**
   * Gets the models of these tiers into memory, one after the other, so that the first call need not wait. What fails
   * is in the log and does not end it; rejects only when cancelled. Returns the models that are resident now.
   */
  prewarm(tiers: readonly Tier[], signal?: AbortSignal): Promise<string[]>;
  /**
   * Gets a model into memory, with the window that calls to it have, and logs it as `prewarm`. Rejects with an
   * InternError, like the two below; a model that runs elsewhere is refused with `bad_input`.
   */
  load(model: string, options?: ModelOptions): Promise<void>;
  /**
   * Lets a model go from memory, which is no eviction. Ollama finishes the calls that run on it first, so that it may
   * still be there when this resolves.
   */
  unload(model: string, options?: ModelOptions): Promise<void>;
  /** Keeps a model that is in memory there, with the window that it has, until it is unloaded or pushed out. */
  keep(model: string, options?: ModelOptions): Promise<void>;
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
  #isDisposed = false;
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
    // Whoever keeps this outlives a change of the host: each of them asks the server of its own moment.
    return {
      installed: async (signal) =>
        (await this.#backends.local.catalogue.list(signal)).map(
          ({ name, size, remote_host, remote_model }) => ({
            name,
            size,
            remote: Boolean(remote_host ?? remote_model),
          }),
        ),
      resident: (signal) => this.#resident(signal),
      pull: async (model, onProgress, signal) => {
        await this.#backends.local.client.pull(model, onProgress, signal);
        this.#forgetModels();
      },
      prewarm: (tiers, signal) => this.#prewarm(tiers, signal),
      load: (model, { signal } = {}) => this.#load(model, signal),
      unload: async (model, { signal } = {}) => {
        const { backend } = this.#backends.local;
        const { name } = await this.#localModel(model, signal);
        await backend.unload(name, signal);
      },
      keep: (model, { signal } = {}) => this.#keep(model, signal),
      refresh: () => this.#forgetModels(),
      version: (signal) => ask(this.#clock, (s) => this.#backends.local.client.version(s), signal),
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
    this.#tell('onCloudKey');
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

  run<N extends JobName>(
    name: N,
    input: InputOf<N>,
    options: RunOptions = {},
  ): Promise<Envelope<ResultOf<N>>> {
    return this.#start<ResultOf<N>>(JOBS[name], input, options);
  }

  converse(
    tier: GenerativeTier,
    request: TurnRequest,
    options: Omit<RunOptions, 'overflow'> = {},
  ): Promise<Envelope<Turn>> {
    return this.#start<Turn>(conversation(tier), request, options);
  }

  async describe(
    tier: GenerativeTier,
    { model, ...options }: DescribeOptions = {},
  ): Promise<Taker> {
    const config = this.#backends.consented(this.#config);
    const target = this.#backends.targetNow(config, tier, model);
    const { numCtx, ...known } = await this.#ready(target, config, options);
    const maxOutput = answerLimit(config.tiers[tier], TURN_LIMITS, numCtx);
    const maxInput = Math.max(0, numCtx - maxOutput);
    return { ...known, model: target.model, numCtx, maxInput, maxOutput };
  }

  async #ready(
    target: Target,
    config: Config,
    { signal, ask: mayAsk = true }: DescribeOptions,
  ): Promise<Pick<Taker, 'backend' | 'numCtx' | 'capabilities' | 'problem'>> {
    const { backend, tier } = target;
    const set = {
      backend,
      numCtx: backend === 'cloud' ? config.cloud.numCtx : config.tiers[tier].numCtx,
      capabilities: UNKNOWN_CAPABILITIES,
    };
    if (!mayAsk) return set;
    const release = this.#backends.use();
    try {
      if (this.#isDisposed) throw disposedError();
      const ready = await this.#backends.drivers[backend].ready(target, config, signal);
      return { backend: ready.ranIn, numCtx: ready.numCtx, capabilities: ready.capabilities };
    } catch (thrown) {
      return { ...set, problem: toInternError(thrown) };
    } finally {
      release();
    }
  }

  countTokens(tier: GenerativeTier, content: string | TurnMessage, model?: string): number {
    const target = this.#backends.targetNow(this.#config, tier, model);
    if (typeof content === 'string') return this.#estimator.countText(target.model, content);
    const { texts, images } = readPrompt(turnPrompt([content]));
    return this.#estimator.count(target.model, texts, images);
  }

  async #start<R>(job: Job, input: unknown, options: RunOptions): Promise<Envelope<R>> {
    if (this.#isDisposed) throw disposedError();
    const call = this.#call(job, input, options);
    this.#calls.add(call);
    try {
      return (await call) as Envelope<R>;
    } finally {
      this.#calls.delete(call);
    }
  }

  async #call(job: Job, input: unknown, options: RunOptions): Promise<Envelope> {
    const { name } = job;
    const config = this.#config;
    const record: CallRecord = {
      call_id: `call_${randomUUID()}`,
      job: name,
      surface: options.surface ?? 'library',
      startedAt: this.#clock.monotonic(),
      target: routeOf(config, job.tier, options.model)[0] as Target,
      setup: { config, drivers: this.#backends.drivers },
    };
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(abortReason(options.signal));
    if (options.signal?.aborted) onAbort();
    else options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#stops.set(record.call_id, stop);
    const running: RunningCall = {
      call_id: record.call_id,
      job: name,
      backend: record.target.backend,
      model: record.target.model,
      started_at: this.#clock.now(),
      phase: undefined,
    };
    const release = this.#backends.use();
    try {
      this.#running.set(record.call_id, running);
      this.#tell('onCallStarted', running);
      const stoppable = { ...options, signal: stop.signal };
      const envelope = await this.#newRun(job, record, stoppable, running).envelope(input);
      this.#log.write({ kind: 'call', tool: name, envelope: { ...envelope, result: undefined } });
      this.#tell('onEnvelope', envelope);
      return envelope;
    } catch (thrown) {
      const route = thrown instanceof RouteError ? thrown : undefined;
      const failure = route?.error ?? toInternError(thrown);
      // Calls that waited for the same question share its failure, but not their ids.
      const error = failure.callId === undefined ? failure : failure.with({});
      error.callId = record.call_id;
      this.#log.write(this.#errorEvent(error, record, route));
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
    this.#isDisposed = true;
    for (const stop of this.#stops.values()) stop.abort(cancelledError());
    await Promise.allSettled(this.#calls);
    await this.#log.flush();
    await this.#backends.destroy();
  }

  async #prewarm(tiers: readonly Tier[], signal: AbortSignal | undefined): Promise<string[]> {
    const { config } = this;
    const driver = this.#backends.drivers.local;
    const release = this.#backends.use();
    const warm: string[] = [];
    const targets = tiers
      .flatMap((tier) => routeOf(config, tier))
      .filter(({ backend }) => backend === 'local');
    try {
      for (const { tier, model } of uniqueBy(targets, (t) => modelKey(t.model))) {
        try {
          const target: Target = { backend: 'local', tier, model };
          if (await this.#warm(driver, target, config, signal)) warm.push(model);
        } catch (thrown) {
          const error = toInternError(thrown);
          if (error.code === 'cancelled') throw error;
        }
      }
    } finally {
      release();
    }
    return warm;
  }

  /** Whether it is in memory now. What fails is logged, unless the person stopped it. */
  async #warm(
    driver: Driver,
    target: Target,
    config: Config,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { tier, model } = target;
    const startedAt = this.#clock.monotonic();
    const event = { kind: 'prewarm' as const, tier, model, backend: 'local' as const };
    const more = () => ({
      hardware_profile: config.profile,
      elapsed_ms: Math.round(this.#clock.monotonic() - startedAt),
    });
    try {
      const ready = await driver.ready(target, this.#backends.consented(config), signal);
      const warmed = await ready.warm?.({ signal, onPhase: () => {}, onDelta: () => {} });
      if (!warmed) return false;
      this.#log.write({ ...event, success: true, ...more(), residency: warmed.residency });
      return true;
    } catch (thrown) {
      const error = toInternError(thrown);
      if (error.code !== 'cancelled') {
        this.#log.write({ ...event, success: false, ...more(), error: error.code });
      }
      throw error;
    }
  }

  async #load(asked: string, signal: AbortSignal | undefined): Promise<void> {
    const { config } = this;
    const driver = this.#backends.drivers.local;
    const release = this.#backends.use();
    try {
      const info = await this.#localModel(asked, signal);
      const target: Target = { backend: 'local', tier: tierOf(config, info), model: info.name };
      await this.#warm(driver, target, config, signal);
    } finally {
      release();
    }
  }

  async #keep(asked: string, signal: AbortSignal | undefined): Promise<void> {
    const { backend } = this.#backends.local;
    const release = this.#backends.use();
    try {
      const info = await this.#localModel(asked, signal);
      const found = (await this.#resident(signal)).find(({ name }) => sameModel(name, info.name));
      if (!found) throw notLoadedError(info.name);
      const numCtx = found.context_length ?? this.config.tiers[tierOf(this.config, info)].numCtx;
      await backend.keep({ model: info.name, numCtx, info }, signal);
    } finally {
      release();
    }
  }

  /** What a model of the local server is; one that runs elsewhere has no place in its memory. */
  async #localModel(name: string, signal: AbortSignal | undefined): Promise<ModelInfo> {
    const { catalogue, client } = this.#backends.local;
    if (this.#isDisposed) throw disposedError();
    const { backend, model } = parseModelRef(name);
    const isElsewhere = backend !== 'local' || isCloudName(model) || isCloudHost(client.baseUrl);
    if (isElsewhere) throw elsewhereError(name);
    const info = await catalogue.info(model, signal);
    if (info.remote) throw elsewhereError(name);
    return info;
  }

  async #resident(signal: AbortSignal | undefined): Promise<PsModel[]> {
    const { client, residency } = this.#backends.local;
    const models = await ask(this.#clock, (s) => client.ps(s), signal);
    this.#onEvicted(residency.record(models));
    return models;
  }

  #newRun(job: Job, record: CallRecord, options: RunOptions, running: RunningCall): Run {
    const services = {
      clock: this.#clock,
      estimator: this.#estimator,
      backends: this.#backends,
      write: (event: LogEvent) => this.#log.write(event),
      onPhase: (call: RunningCall) => this.#tell('onPhase', call),
    };
    return new Run(services, job, record, options, running);
  }

  #errorEvent(error: InternError, record: CallRecord, route: RouteError | undefined) {
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

  #forgetModels(): void {
    this.#backends.local.catalogue.refresh();
    this.#tell('onModels');
  }

  #onEvicted(models: string[]): void {
    if (models.length === 0) return;
    for (const model of models) this.#log.write({ kind: 'eviction', model, backend: 'local' });
    this.#tell('onEvicted', models);
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

function uniqueBy<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [
    ...new Map(items.map((item) => [key(item), item] as const).toReversed()).values(),
  ].toReversed();
}

/** The tier whose window and options a local model has: its own, if one has it. */
function tierOf({ tiers }: Config, info: ModelInfo): Tier {
  const key = refKey({ backend: 'local', model: info.name });
  const own = TIERS.find((tier) => refKey(parseModelRef(tiers[tier].model)) === key);
  return own ?? (isEmbedder(info) ? 'embed' : 'workhorse');
}

function elsewhereError(model: string): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${model} does not run on your own Ollama, so it has no place in its memory.`,
    hint: 'Choose a model that is installed there.',
    details: { model },
  });
}

function notLoadedError(model: string): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${model} is not in memory, so it cannot be kept there.`,
    hint: 'Load it first.',
    details: { model },
  });
}

function disposedError(): InternError {
  return cancelledError().with({
    message: 'The intern was disposed, so nothing was sent.',
    retryable: false,
  });
}
