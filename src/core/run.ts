import type { Attempt, DegradeReason, Envelope, Surface } from './audit/envelope';
import type { LogEvent } from './audit/log';
import type { Backends } from './backends';
import { sideBySide } from './batch';
import type { Clock } from './clock';
import type { TierConfig } from './config';
import { InternError, toInternError } from './errors';
import type { RunningCall, RunOptions } from './intern';
import type { Job, Outcome, Prompt, PromptJob, Question, Reply, Settled, Steps } from './jobs/job';
import { jsonSchema, readJson } from './jobs/json';
import { IMAGE_TOKENS, readPrompt, type TokenEstimator } from './models/estimator';
import { alwaysThinks, THINKING_ROOM } from './models/thinking';
import type { Call, Phase } from './routing/call';
import { checkAbilities } from './routing/abilities';
import type { Target } from './routing/route';
import { type Move, type Routed, RouteError, type Setup, Walk } from './routing/router';

/** What one call is, from its beginning to its end. */
export interface CallRecord {
  call_id: string;
  job: string;
  surface: Surface;
  /** Monotonic milliseconds. */
  startedAt: number;
  /** What the call would use first. */
  target: Target;
  setup: Setup;
}

interface Services {
  clock: Clock;
  estimator: TokenEstimator;
  backends: Backends;
  write: (event: LogEvent) => void;
  onPhase: (call: RunningCall) => void;
}

/** What is asked of a model, for any window. */
interface Asking extends Pick<PromptJob, 'temperature' | 'streamed' | 'shorten' | 'leftOut'> {
  input: unknown;
  prompt: (input: unknown) => Prompt;
}

/** How much text a model takes. Tokens, the answer's included. */
interface Window {
  model: string;
  numCtx: number;
  /** It thinks when it is asked to. */
  canThink: boolean;
}

/** A prompt that fits, as far as can be told. */
interface Prepared {
  prompt: Prompt;
  /** There is room for thoughts before the answer, as far as the window has it. */
  mayThink: boolean;
  texts: string[];
  images: number;
  /** Shortened when `truncated`. */
  input: unknown;
  truncated: boolean;
  warnings: string[];
}

/** An envelope names so many attempts of a call of many prompts: those that failed, and the latest. */
const MOST_ATTEMPTS = 20;
/** Texts that are embedded with one request. */
const EMBED_BATCH = 64;
/** A text is never planned to fill a window to the last token: an estimate is an estimate. */
const FILL = 0.9;

/** One call of one job: from its input to its envelope. */
export class Run {
  readonly #attempts: Attempt[] = [];
  /** What wrote last. */
  #last: Routed | undefined;
  /** Where the call went last, with success or without. */
  #latest: Target;
  /** No prompt was answered elsewhere. */
  #isFree = true;
  #degradeReason: DegradeReason | undefined;
  #calls = 0;
  /** undefined: a server did not count, as the next. */
  #tokensIn: number | undefined = 0;
  #tokensOut: number | undefined = 0;
  #outputMs = 0;
  #queuedMs = 0;
  #loadMs = 0;
  #wasCut = false;
  readonly #warnings: string[] = [];
  /** Progress of a job of many prompts stands before that of each. */
  #isMapping = false;

  constructor(
    private readonly s: Services,
    private readonly job: Job,
    private readonly record: CallRecord,
    private readonly options: RunOptions,
    private readonly running: RunningCall,
  ) {
    this.#latest = record.target;
  }

  /** Rejects with a RouteError, which tells of all that was tried. */
  async envelope(rawInput: unknown): Promise<Envelope> {
    const { job } = this;
    try {
      const input = readInput(job, rawInput);
      const outcome = await ('run' in job
        ? job.run(input, this.#steps())
        : this.#runPrompt(job, input));
      const { result, warnings = [], truncated = false } = outcome;
      this.#warnings.push(...warnings);
      return this.#envelope(result, truncated);
    } catch (thrown) {
      const error = toInternError(thrown);
      throw new RouteError(error, this.#shownAttempts(), this.#latest, Math.round(this.#queuedMs));
    }
  }

  async #runPrompt(job: PromptJob, input: unknown): Promise<Outcome<unknown>> {
    const { prepared, routed } = await this.#ask({
      ...job,
      input,
      prompt: (given) => job.prompt(given),
      shorten: job.shorten?.bind(job),
      leftOut: job.leftOut?.bind(job),
    });
    const { result, warnings = [], truncated } = job.parse(routed.answer.content, prepared.input);
    return {
      result,
      warnings: [...prepared.warnings, ...warnings],
      truncated: prepared.truncated || truncated,
    };
  }

  #steps(): Steps {
    return {
      ask: (question) => this.#step(question),
      askFor: async (question, schema) => {
        const format = jsonSchema(schema);
        const first = await this.#step({ ...question, format });
        const read = readJson(first.text, schema);
        if (read.ok) return read.value;
        const messages = [...question.messages, ...repair(first.text, read.problems)];
        const second = await this.#step({ ...question, messages, format }).catch(
          (thrown: unknown) => {
            // With the first answer behind it, the question may be too long for the window.
            const isTooLong = thrown instanceof InternError && thrown.code === 'context_overflow';
            throw isTooLong ? this.#misfit(read.problems, first.done_reason) : thrown;
          },
        );
        const again = readJson(second.text, schema);
        if (again.ok) return again.value;
        throw this.#misfit(again.problems, second.done_reason);
      },
      room: (question) => this.#room(question),
      map: (items, what, work) => this.#map(items, what, work),
      embed: (texts) => this.#embed(texts),
    };
  }

  async #embed(texts: readonly string[]): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (let start = 0; start < texts.length; start += EMBED_BATCH) {
      const batch = texts.slice(start, start + EMBED_BATCH);
      if (texts.length > EMBED_BATCH) {
        this.#tellPhase({ phase: 'steps', what: 'text', done: start, total: texts.length });
      }
      let made: Float32Array[] = [];
      await this.#walk({
        tier: 'embed',
        model: this.job.tier === 'embed' ? this.options.model : undefined,
        mayShorten: false,
        streamed: false,
        prepare: (_, ready) => {
          const { embed } = ready;
          if (!embed) throw new Error('Only the local backend embeds.');
          return async (listener) => {
            const embedded = await embed(batch, listener);
            made = embedded.vectors;
            return embedded;
          };
        },
      });
      vectors.push(...made);
    }
    return vectors;
  }

  async #step(question: Question): Promise<Reply> {
    const { temperature, streamed = false } = question;
    const asking = { temperature, streamed, shorten: undefined, input: undefined };
    const { routed } = await this.#ask({ ...asking, prompt: () => question });
    const { content: text, thinking, tool_calls, done_reason } = routed.answer;
    return { text, thinking, tool_calls, done_reason };
  }

  /** The window is that of the target that would answer now. */
  async #room(question: Question): Promise<number> {
    const { estimator, backends } = this.s;
    const { config, drivers } = this.record.setup;
    const { texts, images } = readPrompt(question);
    const target = backends.targetNow(config, this.job.tier, this.options.model);
    const numCtx = await drivers[target.backend]
      .ready(target, backends.consented(config), this.options.signal)
      .then(
        (ready) => ready.numCtx,
        // What is wrong with it is told by the question itself, or does not matter to the next target.
        () => config.tiers[this.job.tier].numCtx,
      );
    const numPredict = answerLimit(config.tiers[this.job.tier], question, numCtx);
    const left = numCtx * FILL - numPredict - estimator.count(target.model, texts, images);
    const perToken = estimator.charsPerToken(target.model, '');
    return Math.max(0, Math.floor(left * perToken));
  }

  async #map<T, R>(
    items: readonly T[],
    what: string,
    work: (item: T, index: number) => Promise<R>,
  ): Promise<Settled<R>[]> {
    const { maxConcurrent } = this.record.setup.config;
    const { signal } = this.options;
    let done = 0;
    const tell = (): void =>
      this.#tellPhase({ phase: 'steps', what, done, total: items.length }, true);
    const onSettled = (): void => {
      done++;
      tell();
    };
    this.#isMapping = true;
    tell();
    let settled: Settled<R>[];
    try {
      settled = await sideBySide(items, { maxConcurrent, signal, onSettled }, work);
    } finally {
      this.#isMapping = false;
    }
    const failures = settled.filter((one) => !one.ok);
    if (failures[0] && failures.length === items.length) throw failures[0].error;
    return settled;
  }

  #misfit(problems: string[], doneReason: string): InternError {
    const model = this.#last?.target.model ?? 'The model';
    return new InternError({
      code: 'server',
      message: `${model} did not answer in the form that was asked for.`,
      hint:
        doneReason === 'length'
          ? 'The answer was cut at its length limit. Try a smaller input, or raise numPredict.'
          : 'Try again, or choose a larger model for this tier.',
      retryable: true,
      actions: [{ kind: 'retry' }, { kind: 'choose_profile' }],
      details: { model },
      serverMessage: problems.join(' '),
    });
  }

  /** One prompt over the route. */
  async #ask(asking: Asking): Promise<{ prepared: Prepared; routed: Routed }> {
    let prepared: Prepared | undefined;
    try {
      const routed = await this.#walk(
        {
          tier: this.job.tier,
          model: this.options.model,
          mayShorten: asking.shorten !== undefined && this.options.overflow === 'shorten',
          streamed: asking.streamed,
          prepare: ({ model }, ready) => {
            const canThink = ready.capabilities.includes('thinking');
            prepared = this.#prepare(asking, { model, numCtx: ready.numCtx, canThink });
            const { temperature, streamed } = asking;
            const prompted = { ...prepared.prompt, temperature, streamed };
            checkAbilities(prompted, ready, model);
            return (listener) => ready.run(prompted, listener);
          },
        },
        (model, tokens) => {
          if (prepared)
            this.s.estimator.correct(model, charsOf(prepared.texts), textTokens(prepared, tokens));
        },
      );
      const asked = prepared as unknown as Prepared;
      this.#learn(asked, routed);
      const { answer, target } = routed;
      const { tools, think } = asked.prompt;
      // Whatever it was told.
      const hasThought = answer.thinking !== '' && !think;
      if (hasThought) this.s.backends.thinkers.add(target.model);
      const isCall = tools !== undefined && answer.tool_calls.length > 0;
      if (answer.content.trim() === '' && !isCall) {
        if (hasThought && !asked.mayThink) return await this.#ask(asking);
        throw emptyAnswer(routed);
      }
      return { prepared: asked, routed };
    } catch (thrown) {
      // The server's own overflow offers to shorten, whatever is asked.
      throw thrown instanceof InternError && !asking.shorten ? withoutShorten(thrown) : thrown;
    }
  }

  /** What was tried stays with the call; whoever asks hears of the error alone. */
  async #walk(
    call: Call,
    correct: (model: string, promptTokens: number) => void = () => {},
  ): Promise<Routed> {
    const { clock, backends } = this.s;
    const walk = new Walk(
      {
        clock,
        gates: backends.gates,
        isAllowed: (backend) => backends.isAllowed(backend),
        consented: (config) => backends.consented(config),
        isServing: (backend, host) => backends.isServing(backend, host),
        correct,
        onAttempt: (backend, error) => backends.onAttempt(backend, error),
        onTierFallback: (move) => this.#logMove('fallback', move),
        onBackendFallback: (move) => this.#logMove('backend_fallback', move),
      },
      this.record.setup,
      call,
      {
        signal: this.options.signal,
        onDelta: (text) => call.streamed && this.options.onDelta?.(text),
        onThinking: call.streamed ? this.options.onThinking : undefined,
        onTarget: ({ model }, backend) => Object.assign(this.running, { model, backend }),
        onPhase: (phase) => this.#tellPhase(phase),
      },
    );
    try {
      const routed = await walk.run();
      this.#count(routed);
      return routed;
    } catch (thrown) {
      if (!(thrown instanceof RouteError)) throw thrown;
      this.#latest = thrown.target;
      this.#attempts.push(...thrown.attempts);
      this.#queuedMs += thrown.queuedMs;
      throw thrown.error;
    }
  }

  #learn(prepared: Prepared, { answer, target }: Routed): void {
    const { estimator } = this.s;
    const { texts, images } = prepared;
    const tokens = textTokens(prepared, answer.prompt_tokens);
    const wasCut = estimator.wasCut(target.model, texts, tokens);
    if (wasCut) this.#warnings.push(cutWarning(target.model, answer.prompt_tokens));
    // What an image takes is too rough a guess to learn from the rest.
    else if (images === 0) estimator.learn(target.model, charsOf(texts), tokens);
    this.#wasCut ||= wasCut;
  }

  #count(routed: Routed): void {
    const { answer, target, ranIn } = routed;
    this.#calls++;
    this.#latest = target;
    this.#isFree &&= ranIn === 'local';
    // A job that writes is told by what wrote, whatever it embedded on the way.
    if (target.tier !== 'embed' || this.job.tier === 'embed') this.#last = routed;
    this.#degradeReason ??= routed.degrade_reason;
    this.#attempts.push(...routed.attempts);
    this.#tokensIn = plus(this.#tokensIn, answer.prompt_tokens);
    if (target.tier !== 'embed') this.#tokensOut = plus(this.#tokensOut, answer.output_tokens);
    this.#outputMs += answer.output_ms;
    this.#queuedMs += routed.queued_ms;
    this.#loadMs += routed.load_ms;
  }

  /** The prompt for a window, once it is known to fit. */
  #prepare(asking: Asking, window: Window): Prepared {
    const { config } = this.record.setup;
    let { input } = asking;
    const warnings: string[] = [];
    for (let round = 0; ; round++) {
      const asked = asking.prompt(input);
      const numPredict = answerLimit(config.tiers[this.job.tier], asked, window.numCtx);
      const { texts, images } = readPrompt(asked);
      const promptTokens = this.s.estimator.count(window.model, texts, images);
      const available = window.numCtx - numPredict;
      if (promptTokens <= available) {
        const mayThink = (asked.think === true && window.canThink) || this.#thinks(window.model);
        const limit = mayThink
          ? Math.min(numPredict + THINKING_ROOM, window.numCtx - promptTokens)
          : numPredict;
        const prompt = { ...asked, numPredict: limit };
        return { prompt, mayThink, texts, images, input, warnings, truncated: round > 0 };
      }
      if (this.options.overflow !== 'shorten' || !asking.shorten || round === 4) {
        throw overflowError(window, promptTokens, numPredict, asking.shorten !== undefined);
      }
      // The instructions do not shrink with the text, so a first cut may not be enough.
      const share = Math.max(0, (available / promptTokens) * 0.95 ** (round + 1));
      const shorter = asking.shorten(input, share);
      warnings.splice(0, 1, asking.leftOut?.(shorter) ?? shortenedWarning(shorter, asking.input));
      input = shorter;
    }
  }

  #thinks(model: string): boolean {
    return alwaysThinks(model) || this.s.backends.thinkers.has(model);
  }

  #tellPhase(phase: Phase, ofMap = false): void {
    // Of many prompts at once only a load is worth more than how far they are.
    if (this.#isMapping && !ofMap && phase.phase !== 'loading') return;
    this.running.phase = phase;
    try {
      this.options.onPhase?.(phase);
      this.s.onPhase(this.running);
    } catch {
      // It is told from timers and from other calls' ends: a display must not fail any of them.
    }
  }

  #logMove(kind: 'fallback' | 'backend_fallback', { from, to, reason }: Move): void {
    const { call_id, job } = this.record;
    const models = { from_model: from.model, to_model: to.model };
    this.s.write({
      kind,
      call_id,
      tool: job,
      // A tier falls back inside its backend and only because of slowness; another backend may have other reasons.
      ...(kind === 'fallback'
        ? { from: from.tier, to: to.tier, ...models, backend: from.backend, reason: 'timeout' }
        : { from: from.backend, to: to.backend, ...models, tier: to.tier, reason }),
    });
  }

  #shownAttempts(): Attempt[] {
    if (this.#attempts.length <= MOST_ATTEMPTS) return this.#attempts;
    const failed = this.#attempts.filter((a) => a.outcome !== 'answer').slice(-MOST_ATTEMPTS + 1);
    const latest = this.#attempts.at(-1) as Attempt;
    return failed.includes(latest) ? failed : [...failed, latest];
  }

  #envelope(result: unknown, truncated: boolean): Envelope {
    const { job, record, options } = this;
    const { config } = record.setup;
    const last = this.#last;
    const warnings = [...new Set(this.#warnings)];
    if (last?.answer.done_reason === 'length') {
      warnings.push('The answer reached its length limit and may end too early.');
    }
    const { target, ranIn } = last ?? { target: record.target, ranIn: record.target.backend };
    return {
      call_id: record.call_id,
      job: job.name,
      surface: record.surface,
      result,
      tier_used: target.tier,
      model: target.model,
      hardware_profile: config.profile,
      backend: ranIn,
      tokens_in: this.#tokensIn,
      tokens_out: this.#tokensOut,
      elapsed_ms: Math.round(this.s.clock.monotonic() - record.startedAt),
      residency: last?.residency ?? null,
      ...(this.#degradeReason && { degraded: true, degrade_reason: this.#degradeReason }),
      ...(target.tier !== job.tier && { fallback_from: job.tier }),
      ...(options.model && { model_requested: options.model }),
      attempts: this.#shownAttempts(),
      ...(this.#calls !== 1 && { calls: this.#calls }),
      queued_ms: Math.round(this.#queuedMs),
      load_ms: this.#loadMs,
      first_token_ms: this.#calls === 1 ? last?.first_token_ms : undefined,
      tokens_per_second:
        this.#tokensOut !== undefined && this.#outputMs > 0
          ? round1((this.#tokensOut / this.#outputMs) * 1000)
          : undefined,
      num_ctx: last?.numCtx,
      ...((truncated || this.#wasCut) && { truncated: true }),
      done_reason: last?.answer.done_reason || undefined,
      ...(ranIn === 'local' && this.#isFree && { cost_usd: 0 }),
      warnings,
    };
  }
}

/** No text has no tokens: 0 means that nobody counted. */
function plus(total: number | undefined, tokens: number): number | undefined {
  return total === undefined || tokens === 0 ? undefined : total + tokens;
}

/** Most tokens of an answer in that window. */
export function answerLimit(
  { options }: TierConfig,
  { numPredict, answerShare = Infinity }: Pick<Prompt, 'numPredict' | 'answerShare'>,
  numCtx: number,
): number {
  return options.numPredict ?? Math.min(numPredict, Math.floor(numCtx * answerShare));
}

/** What a server counted, without the images. */
function textTokens({ images }: Prepared, tokens: number): number {
  return tokens - images * IMAGE_TOKENS;
}

function charsOf(texts: string[]): number {
  return texts.reduce((sum, text) => sum + text.length, 0);
}

/** The second question: what the answer was, and what is wrong with it. */
function repair(answer: string, problems: string[]): Prompt['messages'] {
  return [
    { role: 'assistant', content: answer },
    {
      role: 'user',
      content: `That is not in the form that was asked for. ${problems.join(' ')} Answer again, with the whole JSON alone.`,
    },
  ];
}

function shortenedWarning(shorter: unknown, given: unknown): string {
  const lengthOf = (value: unknown): number => JSON.stringify(value).length;
  const percent = Math.round((lengthOf(shorter) / lengthOf(given)) * 100);
  return `Only the first part of the text was read: it is about ${percent} % of the whole.`;
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

function withoutShorten(error: InternError): InternError {
  return error.with({ actions: error.actions.filter((action) => action.kind !== 'shorten') });
}

function emptyAnswer({ answer, target }: Routed): InternError {
  const why =
    answer.thinking !== ''
      ? ' It spent all its tokens on thinking.'
      : answer.done_reason === 'length'
        ? ' It reached its length limit at once.'
        : '';
  return new InternError({
    code: 'server',
    message: `${target.model} answered with nothing.${why}`,
    hint: 'Try again, or choose another model for this tier.',
    retryable: true,
    actions: [{ kind: 'retry' }, { kind: 'choose_profile' }],
    details: { model: target.model },
  });
}

function cutWarning(model: string, tokens: number): string {
  return `${model} counted only ${tokens.toLocaleString('en-US')} tokens: it may not have read the whole text.`;
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
