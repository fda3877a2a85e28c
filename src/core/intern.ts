import { randomUUID } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import type { Attempt, Envelope, Surface } from './audit/envelope';
import { AuditLog } from './audit/log';
import { type Clock, systemClock } from './clock';
import { parseHost } from './address';
import {
  type Config,
  type ConfigProblem,
  type Environment,
  resolveConfig,
  resolveNetwork,
  type Settings,
} from './config';
import { cancelledError, InternError, toInternError } from './errors';
import type { Job, Prompt } from './jobs/job';
import { type InputOf, type JobName, JOBS, type ResultOf } from './jobs/registry';
import { Catalogue } from './models/catalogue';
import { TokenEstimator } from './models/estimator';
import { OllamaClient, type PullProgress } from './ollama/client';
import { Connections, type NetworkConfig } from './ollama/network';
import type { PsModel } from './ollama/schemas';
import { Tokens, type TokenSource } from './ollama/tokens';
import type { Phase } from './routing/call';
import { abortReason, ask } from './routing/deadline';
import { Limiter } from './routing/limiter';
import { LoadTimes } from './routing/loads';
import { LocalBackend } from './routing/local';
import { ResidencyTracker } from './routing/residency';
import { type Routed, RouteError, Router, type Setup, type Target } from './routing/router';
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
  /** Takes over new settings at once; running calls keep theirs. */
  configure(settings: Settings): void;
  /** The bearer token of a reverse proxy before that server; undefined: none. It cannot be read back. */
  setToken(address: string, token: string | undefined): void;
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

/** One server and what is known about it. */
interface Server {
  client: OllamaClient;
  catalogue: Catalogue;
  residency: ResidencyTracker;
  local: LocalBackend;
}

class InternCore implements Intern {
  readonly #clock: Clock;
  readonly #env: Environment;
  readonly #store: Store;
  readonly #tokens: Tokens;
  readonly #lookup: LookupFunction | undefined;
  /** In use, and those before them that running calls still have. */
  readonly #allConnections = new Set<Connections>();
  readonly #listeners = new Set<InternListener>();
  readonly #running = new Map<string, RunningCall>();
  readonly #stops = new Map<string, AbortController>();
  readonly #calls = new Set<Promise<unknown>>();
  readonly #estimator: TokenEstimator;
  readonly #limiter: Limiter;
  readonly #router: Router;
  #config: Config;
  #network: NetworkConfig;
  #connections: Connections;
  /** Of certificate files: they are known only when the files are read. */
  #certificateProblems: ConfigProblem[] = [];
  #server: Server;
  #log: AuditLog;

  constructor(options: InternOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#env = options.env ?? process.env;
    this.#store = options.store ?? new MemoryStore();
    this.#tokens = new Tokens(options.tokens);
    this.#lookup = options.lookup;
    this.#config = resolveConfig(options.settings ?? {}, this.#env);
    this.#network = resolveNetwork(options.settings?.network, this.#env).network;
    this.#connections = this.#newConnections();
    this.#estimator = new TokenEstimator(this.#store);
    this.#limiter = new Limiter(this.#config.maxConcurrent);
    this.#server = this.#newServer();
    this.#log = this.#newLog();
    this.#router = new Router({
      clock: this.#clock,
      estimator: this.#estimator,
      limiter: this.#limiter,
      onFallback: (from, to, error) => this.#log.write(fallbackEvent(from, to, error)),
    });
  }

  get config(): Config {
    return this.#config;
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
    return {
      installed: async (signal) =>
        (await this.#server.catalogue.list(signal)).map(
          ({ name, size, remote_host, remote_model }) => ({
            name,
            size,
            remote: Boolean(remote_host ?? remote_model),
          }),
        ),
      resident: async (signal) => {
        const { client, residency } = this.#server;
        const models = await ask(this.#clock, (s) => client.ps(s), signal);
        this.#onEvicted(residency.record(models));
        return models;
      },
      pull: async (model, onProgress, signal) => {
        const { client, catalogue } = this.#server;
        await client.pull(model, onProgress, signal);
        catalogue.refresh();
      },
      refresh: () => this.#server.catalogue.refresh(),
      version: (signal) => ask(this.#clock, (s) => this.#server.client.version(s), signal),
    };
  }

  configure(settings: Settings): void {
    const before = this.#config;
    this.#config = resolveConfig(settings, this.#env);
    this.#limiter.setLimit(this.#config.maxConcurrent);
    const isOtherHost = before.host !== this.#config.host;
    const isOtherWay = this.#renewConnections(settings);
    if (isOtherHost) this.#server = this.#newServer();
    else if (isOtherWay) this.#server = this.#newServer(this.#server.residency);
    this.#config.problems.push(...this.#certificateProblems);
    if (before.logPath !== this.#config.logPath) this.#log = this.#newLog();
    this.#tell('onConfig', this.#config);
  }

  setToken(address: string, token: string | undefined): void {
    this.#tokens.set(parseHost(address), token);
    this.#server.catalogue.refresh();
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
      target: this.#router.route(config, JOBS[name].tier, options.model)[0] as Target,
      setup: { config, catalogue: this.#server.catalogue, local: this.#server.local },
    };
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(abortReason(options.signal));
    if (options.signal?.aborted) onAbort();
    else options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#stops.set(record.call_id, stop);
    const release = this.#connections.use();
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
    await Promise.all([...this.#allConnections].map((connections) => connections.destroy()));
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
      model: record.target.model,
      started_at: this.#clock.now(),
      phase: undefined,
    };
    this.#running.set(record.call_id, running);
    this.#tell('onCallStarted', running);

    const { prepared, routed } = await this.#ask(job, input, options, running, record.setup);
    const { answer } = routed;
    this.#estimator.learn(routed.target.model, charsOf(prepared.prompt), answer.prompt_tokens);
    if (answer.content.trim() === '') throw emptyAnswer(routed);
    const { result, warnings } = job.parse(answer.content, prepared.input);
    return this.#envelope(
      job,
      record,
      options,
      routed,
      result,
      [...prepared.warnings, ...(warnings ?? [])],
      prepared.truncated,
    );
  }

  /**
   * Prepares and routes. The server's own count has the last word on what fits: when it says that a text which may be
   * shortened is still too long, the estimate is corrected and the text shortened again.
   */
  async #ask(
    job: Job,
    input: unknown,
    options: RunOptions,
    running: RunningCall,
    setup: Setup,
  ): Promise<{ prepared: Prepared; routed: Routed }> {
    const earlier: Attempt[] = [];
    for (let round = 1; ; round++) {
      const prepared = await this.#prepare(job, input, options, setup);
      try {
        const routed = await this.#route(job, prepared, options, running, setup);
        return { prepared, routed: { ...routed, attempts: [...earlier, ...routed.attempts] } };
      } catch (thrown) {
        if (!(thrown instanceof RouteError)) throw thrown;
        if (!job.shorten) throw withoutShorten(thrown);
        thrown.attempts.unshift(...earlier.splice(0));
        const { code, details } = thrown.error;
        const counted = code === 'context_overflow' ? details.prompt_tokens : undefined;
        if (!counted) throw thrown;
        this.#estimator.correct(thrown.target.model, charsOf(prepared.prompt), counted);
        // Shortening is for the first target; on a lesser one the first has just timed out, and would again.
        const mayShorten = options.overflow === 'shorten' && thrown.target.tier === job.tier;
        if (!mayShorten || round === MOST_ROUNDS) throw thrown;
        earlier.push(...thrown.attempts);
      }
    }
  }

  #route(
    job: Job,
    { prompt, promptTokens }: Prepared,
    options: RunOptions,
    running: RunningCall,
    setup: Setup,
  ): Promise<Routed> {
    return this.#router.run(
      setup,
      {
        tier: job.tier,
        messages: prompt.messages,
        numPredict: prompt.numPredict,
        promptTokens,
        temperature: job.temperature,
        streamed: job.streamed,
        model: options.model,
      },
      {
        signal: options.signal,
        onDelta: (text) => job.streamed && options.onDelta?.(text),
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
  }

  /** The prompt, once it is known to fit the model's window. */
  async #prepare(job: Job, given: unknown, options: RunOptions, setup: Setup): Promise<Prepared> {
    let input = given;
    const warnings: string[] = [];
    for (let round = 0; ; round++) {
      const prompt = job.prompt(input);
      prompt.numPredict = setup.config.tiers[job.tier].options.numPredict ?? prompt.numPredict;
      const texts = prompt.messages.map((m) => m.content);
      const fit = await this.#router.fit(
        setup,
        { tier: job.tier, model: options.model, numPredict: prompt.numPredict },
        texts,
        options.signal,
      );
      if (fit.promptTokens <= fit.available) {
        return { prompt, input, warnings, promptTokens: fit.promptTokens, truncated: round > 0 };
      }
      if (options.overflow !== 'shorten' || !job.shorten || round === 4) {
        throw overflowError(fit, prompt.numPredict, job.shorten !== undefined);
      }
      // The instructions do not shrink with the text, so a first cut may not be enough.
      const share = Math.max(0, (fit.available / fit.promptTokens) * 0.95 ** (round + 1));
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
    warnings: string[],
    truncated: boolean,
  ): Envelope {
    const { answer, target } = routed;
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
      backend: target.backend,
      tokens_in: answer.prompt_tokens,
      tokens_out: answer.output_tokens,
      elapsed_ms: Math.round(this.#clock.monotonic() - record.startedAt),
      residency: routed.residency,
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
      cost_usd: 0,
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

  #newConnections(): Connections {
    const connections: Connections = new Connections({
      config: this.#network,
      lookup: this.#lookup,
      onProblem: (message) => {
        if (connections === this.#connections) this.#onCertificateProblem(message);
      },
    });
    this.#allConnections.add(connections);
    return connections;
  }

  /** Whether the network settings are other ones; calls that run keep their connections. */
  #renewConnections(settings: Settings): boolean {
    const { network } = resolveNetwork(settings.network, this.#env);
    if (JSON.stringify(network) === JSON.stringify(this.#network)) return false;
    const old = this.#connections;
    this.#network = network;
    this.#certificateProblems = [];
    this.#connections = this.#newConnections();
    void old.retire().then(() => this.#allConnections.delete(old));
    return true;
  }

  #onCertificateProblem(message: string): void {
    const problem = { setting: 'ollamaIntern.network.caFile', message };
    this.#certificateProblems.push(problem);
    this.#config = { ...this.#config, problems: [...this.#config.problems, problem] };
    this.#tell('onConfig', this.#config);
  }

  /** The server of the settings in force; what was seen of its memory is kept when only the way to it is new. */
  #newServer(residency = new ResidencyTracker(this.#clock)): Server {
    const { host } = this.#config;
    const { headers } = this.#network;
    const client = new OllamaClient({
      baseUrl: host,
      dispatcher: this.#connections,
      headers: () => this.#tokens.headers(host, headers),
      proxy: this.#connections.proxyLabel(host),
    });
    const local = new LocalBackend({
      client,
      clock: this.#clock,
      residency,
      loads: new LoadTimes(this.#store),
      onEvicted: (models) => this.#onEvicted(models),
    });
    return { client, catalogue: new Catalogue(() => client, this.#clock), residency, local };
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
  /** Of the job; shortened when `truncated`. */
  input: unknown;
  promptTokens: number;
  truncated: boolean;
  warnings: string[];
}

/** How often a text is shortened after the server has counted it. */
const MOST_ROUNDS = 3;

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
  fit: { target: Target; numCtx: number; promptTokens: number },
  numPredict: number,
  canShorten: boolean,
): InternError {
  const n = (value: number): string => value.toLocaleString('en-US');
  return new InternError({
    code: 'context_overflow',
    message: `The text is too long for ${fit.target.model}: about ${n(fit.promptTokens)} tokens and up to ${n(numPredict)} for the answer, in a window of ${n(fit.numCtx)}.`,
    hint: 'Select a shorter part, or give the tier a larger context window. Nothing was sent.',
    actions: [
      ...(canShorten ? [{ kind: 'shorten' } as const] : []),
      { kind: 'open_setting', setting: 'ollamaIntern.options.contextWindow' },
    ],
    details: { model: fit.target.model, prompt_tokens: fit.promptTokens, num_ctx: fit.numCtx },
  });
}

/** The server's own overflow offers to shorten, whatever the job. */
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

function fallbackEvent(from: Target, to: Target, error: InternError) {
  return {
    kind: 'fallback' as const,
    from: from.tier,
    to: to.tier,
    from_model: from.model,
    to_model: to.model,
    backend: from.backend,
    reason: error.code,
  };
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
