import type { Clock } from '../clock';

/** Consecutive counted failures that open the breaker. Source: the product's design, as the next. */
export const OPENS_AFTER = 3;
/** How long it stays open unless the server names a time. Milliseconds. */
export const OPEN_MS = 20_000;

/** Why a backend is not asked, or an answer came from another one. */
export type FailureReason = 'timeout' | '5xx' | 'rate_limited' | 'unreachable' | 'auth_failed';

/** How an admitted call ended, as far as its backend is concerned. */
export type Verdict =
  | { kind: 'success' }
  | {
      kind: 'failure';
      reason: FailureReason;
      /** The server named a time that is still to come: opens at once, for so long. Milliseconds. */
      openForMs?: number | undefined;
      /** Opens at once, without waiting for more failures. */
      atOnce?: boolean | undefined;
    }
  /** 401 or 403: no later call can do better until somebody changes something. */
  | { kind: 'refused' }
  /** Cancelled, 404, 400: says nothing about the backend. */
  | { kind: 'none' };

/** Every state has an epoch; what was admitted in an earlier one has no say any more. */
export type BreakerState = Readonly<
  | { kind: 'closed'; epoch: number; failures: number }
  | { kind: 'open'; epoch: number; reason: FailureReason; since: number; forMs: number }
  /** One probe is on its way, or the next call will be it. */
  | { kind: 'half_open'; epoch: number; reason: FailureReason; probe: number | undefined }
  | { kind: 'misconfigured'; epoch: number; reason: 'auth_failed' }
>;

/** Leave to send one call. */
export interface Ticket {
  readonly id: number;
  readonly epoch: number;
  /** It was given though the state said no. */
  readonly isForced?: true;
}

export const CLOSED: BreakerState = { kind: 'closed', epoch: 0, failures: 0 };

/** The state as it is now: an open breaker whose time is over is half open. Monotonic milliseconds. */
export function current(state: BreakerState, now: number): BreakerState {
  if (state.kind !== 'open') return state;
  // A clock that went back must not lengthen the wait.
  const since = Math.min(state.since, now);
  if (now - since < state.forMs) return since === state.since ? state : { ...state, since };
  return { kind: 'half_open', epoch: state.epoch + 1, reason: state.reason, probe: undefined };
}

/** Whether a call may be sent now; the call's id has to be unique. */
export function admit(
  before: BreakerState,
  id: number,
  now: number,
): { state: BreakerState; ticket: Ticket | undefined } {
  const state = current(before, now);
  const ticket = { id, epoch: state.epoch };
  if (state.kind === 'closed') return { state, ticket };
  if (state.kind === 'half_open' && state.probe === undefined) {
    return { state: { ...state, probe: id }, ticket };
  }
  return { state, ticket: undefined };
}

/** What the end of an admitted call changes. */
export function settle(
  before: BreakerState,
  ticket: Ticket,
  verdict: Verdict,
  now: number,
): BreakerState {
  const state = current(before, now);
  if (ticket.epoch !== state.epoch) return state;
  const isAdmitted =
    state.kind === 'closed' || (state.kind === 'half_open' && state.probe === ticket.id);
  if (!isAdmitted && !(ticket.isForced && verdict.kind === 'success')) return state;
  const epoch = state.epoch + 1;
  switch (verdict.kind) {
    case 'success':
      if (state.kind === 'closed') return state.failures === 0 ? state : { ...state, failures: 0 };
      return { kind: 'closed', epoch, failures: 0 };
    case 'refused':
      return { kind: 'misconfigured', epoch, reason: 'auth_failed' };
    case 'none':
      return state.kind === 'half_open' ? { ...state, probe: undefined } : state;
    case 'failure': {
      const failures = state.kind === 'closed' ? state.failures + 1 : OPENS_AFTER;
      // A time that is over already names none.
      const named = Math.max(0, verdict.openForMs ?? 0);
      const opens = failures >= OPENS_AFTER || verdict.atOnce || named > 0;
      if (!opens && state.kind === 'closed') return { ...state, failures };
      const forMs = named || OPEN_MS;
      return { kind: 'open', epoch, reason: verdict.reason, since: now, forMs };
    }
  }
}

/** A breaker as surfaces show it. */
export interface BreakerStatus {
  state: BreakerState['kind'];
  /** Counted failures in a row, while closed. */
  failures: number;
  reason?: FailureReason;
  /** Until the next try, while open. Milliseconds. */
  retry_in_ms?: number;
}

/** Whether calls to one backend are admitted now. Each process has its own: windows do not speak of it. */
export class Breaker {
  #state: BreakerState = CLOSED;
  #ids = 0;

  /** `onChange` is told once of every change of kind; of the one that time makes, when somebody looks. */
  constructor(
    private readonly clock: Clock,
    private readonly onChange: (status: BreakerStatus, before: BreakerStatus) => void = () => {},
  ) {}

  get status(): BreakerStatus {
    return this.#describe(this.#look());
  }

  /** Leave to send a call, to be handed back with `settle`; undefined: not now. */
  admit(): Ticket | undefined {
    const { state, ticket } = admit(this.#state, ++this.#ids, this.clock.monotonic());
    this.#become(state);
    return ticket;
  }

  /** Leave to send whatever the state, when nothing else is left to ask: then only its success counts. */
  force(): Ticket {
    return this.admit() ?? { id: ++this.#ids, epoch: this.#state.epoch, isForced: true };
  }

  /** Whether nothing has changed since the ticket was given: a call may have queued meanwhile. */
  isCurrent(ticket: Ticket): boolean {
    return this.#look().epoch === ticket.epoch;
  }

  /** To be called once for each ticket. */
  settle(ticket: Ticket, verdict: Verdict): void {
    this.#become(settle(this.#state, ticket, verdict, this.clock.monotonic()));
  }

  /** The key or the host is another one, or a test of the connection succeeded. */
  reset(): void {
    this.#become({ kind: 'closed', epoch: this.#state.epoch + 1, failures: 0 });
  }

  /** There is no key, or it was refused by a test. */
  misconfigure(): void {
    if (this.#state.kind === 'misconfigured') return;
    this.#become({ kind: 'misconfigured', epoch: this.#state.epoch + 1, reason: 'auth_failed' });
  }

  /** The person does not want to wait: the next call is the probe. */
  retryNow(): void {
    const state = this.#look();
    if (state.kind === 'open') {
      const { epoch, reason } = state;
      this.#become({ kind: 'half_open', epoch: epoch + 1, reason, probe: undefined });
    }
  }

  /** The state as it is now. It is kept, or a clock that goes back could undo what was seen. */
  #look(): BreakerState {
    this.#become(current(this.#state, this.clock.monotonic()));
    return this.#state;
  }

  #become(state: BreakerState): void {
    const before = this.#state;
    this.#state = state;
    if (state.kind === before.kind) return;
    this.onChange(this.#describe(state), this.#describe(before));
  }

  #describe(state: BreakerState): BreakerStatus {
    return {
      state: state.kind,
      failures: state.kind === 'closed' ? state.failures : 0,
      ...('reason' in state && { reason: state.reason }),
      ...(state.kind === 'open' && { retry_in_ms: this.#remaining(state) }),
    };
  }

  /** Never more than the whole time, for a clock that went back or by rounding. */
  #remaining({ since, forMs }: Extract<BreakerState, { kind: 'open' }>): number {
    const elapsed = this.clock.monotonic() - since;
    return Math.min(forMs, Math.max(0, forMs - elapsed));
  }
}
