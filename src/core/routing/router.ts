import { type Attempt, type Backend, BACKEND_NAMES, type DegradeReason } from '../audit/envelope';
import type { Clock } from '../clock';
import type { Config } from '../config';
import { InternError, toInternError } from '../errors';
import { isCloudName } from '../ollama/names';
import { lacksAbility } from './abilities';
import type { Breaker, Ticket, Verdict } from './breaker';
import type { BackendAnswer, Call, CallListener } from './call';
import { orAborted } from './deadline';
import type { Driver, Ready } from './drivers';
import type { Limiter } from './limiter';
import { outcomeOf } from './outcome';
import { lesserTargets, routeOf, type Target } from './route';

/** How often a prompt that proves too long is made anew for the same target. */
const MOST_ROUNDS = 3;

/** What decides whether and when a backend is asked; lives longer than the driver. */
export interface Gate {
  breaker: Breaker;
  limiter: Limiter;
  /** Failures that the breaker has heard of. */
  counted: WeakSet<InternError>;
}

/** What a call works with from beginning to end, whatever is configured meanwhile. */
export interface Setup {
  config: Config;
  drivers: Readonly<Record<Backend, Driver>>;
}

export interface Routed extends BackendAnswer {
  target: Target;
  /** Where the model ran. */
  ranIn: Backend;
  attempts: Attempt[];
  /** undefined: it is not known. */
  numCtx: number | undefined;
  /** Set when a backend before this one was to answer. */
  degrade_reason: DegradeReason | undefined;
}

/** A move away from a target, for the log. */
export interface Move {
  from: Target;
  to: Target;
  reason: string;
}

/** One target's turn. */
interface Turn {
  readonly target: Target;
  readonly driver: Driver;
  /** It is asked whatever its breaker says. */
  readonly isForced: boolean;
  /** undefined: the breaker takes its leave back. */
  ticket: Ticket | undefined;
  /** Monotonic milliseconds; undefined: it waits for a permit. */
  startedAt: number | undefined;
  ranIn: Backend;
  /** The person saw the answer begin. */
  shown: boolean;
  /** What it means for the breaker. */
  verdict: Verdict;
}

interface Left {
  target: Target;
  reason: string;
}

interface Dependencies {
  clock: Clock;
  gates: Readonly<Record<Backend, Gate>>;
  /** Whether calls may still go there: consent may be withdrawn while one waits. */
  isAllowed: (backend: Backend) => boolean;
  /** A call's config, without what has been forbidden since. */
  consented: (config: Config) => Config;
  /** Whether that server is still the backend's: how another one does says nothing about it. */
  isServing: (backend: Backend, host: string) => boolean;
  /** Takes in a server's count of a prompt that proved too long. */
  correct: (model: string, promptTokens: number) => void;
  /** How an attempt ended; an error only when it says something about the backend. */
  onAttempt: (backend: Backend, error: InternError | undefined) => void;
  /** To a lesser tier of the same backend. */
  onTierFallback: (move: Move) => void;
  /** To another backend. */
  onBackendFallback: (move: Move) => void;
}

/** The failed call's attempts travel with its error. */
export class RouteError extends Error {
  constructor(
    readonly error: InternError,
    readonly attempts: Attempt[],
    readonly target: Target,
    readonly queuedMs: number,
  ) {
    super(error.message, { cause: error });
  }
}

/**
 * Walks the targets of one call, in the order that was fixed before the first byte was sent. The only retry loop of
 * the product.
 */
export class Walk {
  readonly #route: Target[];
  readonly #attempts: Attempt[] = [];
  /** Where the answer was to come from: the first target that may be asked at all. */
  #first: Target | undefined;
  /** Targets that were tried and failed, latest last. */
  readonly #failed: { target: Target; error: InternError }[] = [];
  /** The first target further on that lacks what the prompt needs. */
  #unable: { target: Target; error: InternError } | undefined;
  /** Targets whose breaker said no. */
  readonly #skipped: Target[] = [];
  /** Why the route moved on from its first target. */
  #degraded: DegradeReason | undefined;
  /** Targets that were left since the last one was reached. */
  #left: Left[] = [];
  #queuedMs = 0;
  #timeouts = 0;

  constructor(
    private readonly d: Dependencies,
    private readonly setup: Setup,
    private readonly call: Call,
    private readonly listener: CallListener,
  ) {
    this.#route = routeOf(setup.config, call.tier, call.model);
    this.#first = this.#route[0];
  }

  async run(): Promise<Routed> {
    for (const target of this.#route) {
      const answer = await this.#try(target);
      if (answer) return answer;
    }
    return (await this.#lastResort()) ?? (await this.#lesserTiers()) ?? this.#giveUp();
  }

  /** The person's own server is asked even while its breaker is open, when nothing else is left: it costs nothing. */
  async #lastResort(): Promise<Routed | undefined> {
    const local = this.#skipped.find(({ backend }) => backend === 'local');
    return local && this.#try(local, true);
  }

  /**
   * Only slowness is a reason for a lesser model, and only on the one backend that was tried: two backends that were
   * both too slow are a long enough wait.
   */
  async #lesserTiers(): Promise<Routed | undefined> {
    const slow = this.#failed.at(-1);
    if (this.#timeouts !== 1 || slow?.error.code !== 'timeout' || this.call.model) return undefined;
    // Whatever was passed over since: it is the slow one that is left.
    const at = this.#left.findLastIndex((left) => left.target === slow.target);
    this.#left = this.#left.slice(0, at + 1);
    for (const target of lesserTargets(this.setup.config, slow.target)) {
      const answer = await this.#try(target, target.backend === 'local');
      if (answer) return answer;
      if (this.#failed.at(-1)?.error.code !== 'timeout') break;
    }
    return undefined;
  }

  /** The answer; undefined when the route goes on. Throws what has to be told. */
  async #try(target: Target, force = false): Promise<Routed | undefined> {
    if (!this.d.isAllowed(target.backend)) return this.#passBy(target);
    const { breaker } = this.d.gates[target.backend];
    const ticket = force ? breaker.force() : breaker.admit();
    if (!ticket) return this.#skip(target);
    const turn: Turn = {
      target,
      driver: this.setup.drivers[target.backend],
      isForced: force,
      ticket,
      startedAt: undefined,
      ranIn: target.backend,
      shown: false,
      verdict: { kind: 'none' },
    };
    let release: (() => void) | undefined;
    try {
      release = await this.#permit(turn);
      return await this.#run(turn);
    } catch (thrown) {
      return this.#fail(turn, toInternError(thrown));
    } finally {
      release?.();
      this.#settle(turn);
    }
  }

  async #permit(turn: Turn): Promise<() => void> {
    const { clock, gates } = this.d;
    const queuedAt = clock.monotonic();
    const { limiter } = gates[turn.target.backend];
    try {
      const release = await limiter.acquire(this.listener.signal, (position) =>
        this.listener.onPhase({ phase: 'queued', position }),
      );
      turn.startedAt = clock.monotonic();
      return release;
    } finally {
      this.#queuedMs += clock.monotonic() - queuedAt;
    }
  }

  /** undefined: it may not be asked any more. */
  async #run(turn: Turn): Promise<Routed | undefined> {
    const { target, driver } = turn;
    const { signal } = this.listener;
    if (!this.#mayGo(turn)) return undefined;
    const ready = await driver.ready(target, this.d.consented(this.setup.config), signal);
    turn.ranIn = ready.ranIn;
    if (!this.#mayGo(turn)) return undefined;
    this.listener.onTarget(target, ready.ranIn);
    const answer = await this.#ask(turn, ready).catch((thrown: unknown) =>
      this.#explain(thrown, driver),
    );
    // The server has the last word: its model may have become one of the cloud since it was asked about it.
    if (answer.answer.remote_host !== undefined) turn.ranIn = 'cloud';
    turn.verdict = { kind: 'success' };
    this.#tell(turn, undefined);
    this.#record(turn, 'answer');
    return {
      ...answer,
      residency: turn.ranIn === 'local' ? answer.residency : null,
      queued_ms: Math.round(this.#queuedMs + answer.queued_ms),
      target,
      ranIn: turn.ranIn,
      attempts: this.#attempts,
      numCtx: ready.isGuess ? undefined : ready.numCtx,
      degrade_reason: this.#isFirstChoice(target) ? undefined : this.#degraded,
    };
  }

  /** What the person decided and the others learned while this call waited holds for it too. */
  #mayGo(turn: Turn): boolean {
    const { target, ticket, isForced, ranIn } = turn;
    if (!this.d.isAllowed(ranIn)) {
      this.#passBy(target);
      return false;
    }
    const { breaker } = this.d.gates[target.backend];
    if (isForced || (ticket && breaker.isCurrent(ticket))) return true;
    turn.ticket = breaker.admit();
    if (!turn.ticket) this.#skip(target);
    return turn.ticket !== undefined;
  }

  /** Goes on with the route, or throws what has to be told. */
  #fail(turn: Turn, error: InternError): undefined {
    const { target } = turn;
    if (error.code === 'config' && !this.d.isAllowed(turn.ranIn)) return this.#passBy(target);
    const { verdict, reason, next } = outcomeOf(error, turn.shown);
    const blamed = blamedFor(turn, error);
    if (blamed === target.backend) {
      const { counted } = this.d.gates[target.backend];
      // Calls that waited for the same question share its failure: it is one.
      if (!counted.has(error)) turn.verdict = verdict;
      counted.add(error);
      if (reason) this.#tell(turn, error);
    }
    const isSent = wasSent(error);
    if (turn.startedAt !== undefined && isSent) this.#record(turn, error.code);
    // The next window may be smaller than the first: what failed before is the better story then.
    if (!isSent && this.#failed.length > 0) return undefined;
    // One after it may have what this one lacks; the first choice is never swapped for that.
    if (lacksAbility(error) && target !== this.#first) {
      this.#unable ??= { target, error };
      return undefined;
    }
    if (!next || !reason) throw this.#failure(target, error);
    this.#failed.push({ target, error });
    if (error.code === 'timeout') this.#timeouts++;
    this.#leave(target, `${blamed}_${reason}`);
    return undefined;
  }

  #isServing({ target, driver }: Turn): boolean {
    return this.d.isServing(target.backend, driver.host);
  }

  /** A call that began under an older state has no say in what is known now. */
  #tell(turn: Turn, error: InternError | undefined): void {
    const { target, ticket } = turn;
    const { breaker } = this.d.gates[target.backend];
    if (ticket && breaker.isCurrent(ticket) && this.#isServing(turn)) {
      this.d.onAttempt(target.backend, error);
    }
  }

  #settle(turn: Turn): void {
    const { target, ticket, verdict } = turn;
    const { breaker } = this.d.gates[target.backend];
    if (ticket) breaker.settle(ticket, this.#isServing(turn) ? verdict : { kind: 'none' });
  }

  /** Runs the prompt; one that the server counts as too long is shortened again when it may be. */
  async #ask(turn: Turn, ready: Ready): Promise<BackendAnswer> {
    const { target } = turn;
    const { onThinking } = this.listener;
    for (let round = 1; ; round++) {
      const startedAt = this.d.clock.monotonic();
      const send = this.call.prepare(target, ready);
      this.#arriveAt(target);
      try {
        return await send({
          ...this.listener,
          onDelta: (text) => {
            turn.shown ||= this.call.streamed;
            this.listener.onDelta(text);
          },
          onThinking:
            onThinking &&
            ((text) => {
              turn.shown = true;
              onThinking(text);
            }),
        });
      } catch (thrown) {
        const error = toInternError(thrown);
        const counted = error.code === 'context_overflow' ? error.details.prompt_tokens : undefined;
        if (!counted) throw thrown;
        this.d.correct(target.model, counted);
        // On a lesser tier the first model has just timed out, and a shorter text will not help it.
        const mayShorten = this.call.mayShorten && target.tier === this.call.tier;
        if (!mayShorten || round === MOST_ROUNDS) throw thrown;
        this.#record({ ...turn, startedAt }, error.code);
      }
    }
  }

  /** The catalogue knew the model, so one that is missing now has been removed since. */
  async #explain(thrown: unknown, driver: Driver): Promise<never> {
    const missing = thrown instanceof InternError && thrown.code === 'model_missing';
    throw missing ? await orAborted(driver.explainMissing(thrown), this.listener.signal) : thrown;
  }

  /** Nobody wants it to be asked any more, so an answer from the next one is not a worse one. */
  #passBy(target: Target): undefined {
    if (target === this.#first) this.#first = this.#route[this.#route.indexOf(target) + 1];
  }

  #skip(target: Target): undefined {
    this.#skipped.push(target);
    const { state } = this.d.gates[target.backend].breaker.status;
    this.#leave(target, state === 'misconfigured' ? authFailed(target.backend) : 'circuit_open');
  }

  #leave(target: Target, reason: string): void {
    this.#degraded ??= reason as DegradeReason;
    this.#left.push({ target, reason });
  }

  /** Whether the answer comes from where the route began; a lesser tier there is told as `fallback_from`. */
  #isFirstChoice(target: Target): boolean {
    const first = this.#first;
    return target === first || (target.backend === first?.backend && target.tier !== first.tier);
  }

  /** A prompt for the target is there, so it is really sent. */
  #arriveAt(target: Target): void {
    // One that is asked after all was not left.
    const left = this.#left.filter((l) => l.target !== target);
    this.#left = [];
    const last = left.at(-1);
    if (!last) return;
    const isLesser = last.target.backend === target.backend && last.target.tier !== target.tier;
    const elsewhere = isLesser ? left.findLast((l) => l.target.backend !== target.backend) : last;
    const moveFrom = ({ target: from, reason }: Left): Move => ({ from, to: target, reason });
    if (elsewhere) this.d.onBackendFallback(moveFrom(elsewhere));
    if (isLesser) this.d.onTierFallback(moveFrom(last));
  }

  #record({ target, ranIn, startedAt = 0 }: Turn, outcome: Attempt['outcome']): void {
    this.#attempts.push({
      backend: ranIn,
      model: target.model,
      outcome,
      elapsed_ms: Math.round(this.d.clock.monotonic() - startedAt),
    });
  }

  /** Nothing answered. */
  #giveUp(): never {
    const last = this.#failed.at(-1);
    if (last) {
      this.#failed.pop();
      throw this.#failure(last.target, last.error);
    }
    if (this.#unable) throw this.#failure(this.#unable.target, this.#unable.error);
    const target = this.#skipped.at(-1);
    if (target) {
      throw this.#failure(target, pausedError(target, this.d.gates[target.backend].breaker));
    }
    throw this.#failure(this.#route[0] as Target, turnedOffError());
  }

  /** The error to tell, with what failed before it. */
  #failure(target: Target, error: InternError): RouteError {
    const earlier = this.#failed.filter((f) => f.target.backend !== target.backend);
    const told =
      earlier.length === 0 || error.code === 'cancelled'
        ? error
        : error.with({
            message: [error.message, ...earlier.map((f) => `Before that: ${f.error.message}`)].join(
              ' ',
            ),
          });
    return new RouteError(told, this.#attempts, target, Math.round(this.#queuedMs));
  }
}

function authFailed(backend: Backend): DegradeReason {
  return `${backend}_auth_failed`;
}

/** Who has to answer for a failure. */
function blamedFor({ target, ranIn }: Turn, { code }: InternError): Backend {
  // That it is there at all is a server's own, though it passes a call on to the cloud.
  if (code === 'unreachable') return target.backend;
  const isPassedOn = target.backend === 'local' && isCloudName(target.model);
  return isPassedOn ? 'cloud' : ranIn;
}

/** Every outcome but that of a prompt which was found too long, or too much to ask, beforehand comes from a server, once there is a permit. */
function wasSent(error: InternError): boolean {
  if (lacksAbility(error)) return false;
  return error.code !== 'context_overflow' || error.details.status !== undefined;
}

function turnedOffError(): InternError {
  return new InternError({
    code: 'config',
    message: 'The cloud is off, so nothing was sent.',
    hint: 'Choose a local model, or enable the cloud.',
    actions: [{ kind: 'choose_profile' }],
  });
}

/** A target that was named alone is not asked now. */
function pausedError({ backend, model }: Target, { status }: Breaker): InternError {
  if (status.state === 'misconfigured') {
    return new InternError({
      code: 'auth_failed',
      message: `${BACKEND_NAMES[backend]} is not asked: it refused the last call, or has no key.`,
      hint: 'Set the key, or test the connection.',
      actions:
        backend === 'cloud'
          ? [{ kind: 'set_cloud_key' }, { kind: 'test_cloud' }]
          : [{ kind: 'set_token' }],
      details: { model },
    });
  }
  // Once the time is over one call tries it, and the others do not wait for how that ends.
  const seconds = Math.ceil((status.retry_in_ms ?? 0) / 1000);
  return new InternError({
    code: 'unreachable',
    message:
      seconds > 0
        ? `${BACKEND_NAMES[backend]} is not asked for another ${seconds} s, because calls to it failed (${status.reason ?? 'unreachable'}).`
        : `${BACKEND_NAMES[backend]} is just being tried by another call, because calls to it failed.`,
    hint: seconds > 0 ? 'Wait, or try it now.' : 'Try again in a moment.',
    retryable: true,
    actions:
      backend === 'cloud' ? [{ kind: 'retry_cloud' }, { kind: 'retry' }] : [{ kind: 'retry' }],
    details: { model },
  });
}
