import type { Clock, Timer } from '../clock';
import { cancelledError, InternError } from '../errors';

/** When a timer is later than this, the machine slept or hung. Milliseconds. */
const SLEPT_MS = 5000;

/**
 * One abort signal for a call: aborts with a reason when its time is over or when the caller cancels.
 * Re-arming is a few assignments, so that every token of a fast stream can afford it.
 */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #parent: AbortSignal | undefined;
  #timer: Timer | undefined;
  #armedMs = 0;
  #expiresAt = Infinity;
  /** When the timer fires: no later than the armed time. */
  #wakesAt = Infinity;
  #disposed = false;
  #onExpiry: (() => void) | undefined;
  readonly #onParentAbort = (): void => this.abort(abortReason(this.#parent));

  constructor(clock: Clock, parent?: AbortSignal) {
    this.#clock = clock;
    this.#parent = parent;
    if (parent?.aborted) this.#onParentAbort();
    else parent?.addEventListener('abort', this.#onParentAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs `onExpiry` once `ms` milliseconds have passed without another call of `arm` or `disarm`. */
  arm(ms: number, onExpiry: () => void): void {
    if (this.#disposed) return;
    this.#onExpiry = onExpiry;
    this.#expireIn(ms);
  }

  /** Starts the armed time again, with this length; nothing when it is not armed. */
  extend(ms: number): void {
    if (this.#expiresAt !== Infinity) this.#expireIn(ms);
  }

  #expireIn(ms: number): void {
    this.#armedMs = ms;
    this.#expiresAt = this.#clock.monotonic() + ms;
    if (this.#timer && this.#wakesAt <= this.#expiresAt) return;
    this.#timer?.cancel();
    this.#timer = this.#startTimer(ms);
  }

  disarm(): void {
    this.#expiresAt = Infinity;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  abort(reason: InternError): void {
    this.disarm();
    if (!this.signal.aborted) this.#controller.abort(reason);
  }

  /** Lets go of the timer and of the caller's signal. */
  dispose(): void {
    this.#disposed = true;
    this.disarm();
    this.#parent?.removeEventListener('abort', this.#onParentAbort);
  }

  #startTimer(ms: number): Timer {
    this.#wakesAt = this.#clock.monotonic() + ms;
    return this.#clock.setTimeout(() => {
      this.#timer = undefined;
      if (this.#expiresAt === Infinity) return;
      const now = this.#clock.monotonic();
      // Whoever has to answer slept as well, and gets the whole time again.
      if (now - this.#wakesAt > SLEPT_MS) this.#expiresAt = now + this.#armedMs;
      const left = this.#expiresAt - now;
      if (left > 0) this.#timer = this.#startTimer(left);
      else {
        this.#expiresAt = Infinity;
        this.#onExpiry?.();
      }
    }, ms);
  }
}

/** Why a signal aborted, as an InternError: a deadline's own, or the person's cancel. */
export function abortReason(signal: AbortSignal | undefined): InternError {
  return signal?.reason instanceof InternError ? signal.reason : cancelledError();
}

/** Rejects with the signal's reason when it aborts before the promise settles. */
export async function orAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (!signal) return promise;
  if (signal.aborted) {
    promise.catch(() => {});
    throw abortReason(signal);
  }
  let onAbort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(abortReason(signal));
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Short questions to a server (what is installed, what is loaded) get this long. Milliseconds. */
const QUESTION_MS = 10_000;

/** Asks a server a short question: an answer within ten seconds, or a `timeout`. */
export async function ask<T>(
  clock: Clock,
  question: (signal: AbortSignal) => Promise<T>,
  parent?: AbortSignal,
  server = 'Ollama',
): Promise<T> {
  const deadline = new Deadline(clock, parent);
  deadline.arm(QUESTION_MS, () =>
    deadline.abort(
      new InternError({
        code: 'timeout',
        message: `${server} did not answer in 10 s.`,
        hint: 'It may be stuck: look at its log, or restart it.',
        retryable: true,
        actions: [{ kind: 'retry' }],
      }),
    ),
  );
  try {
    return await question(deadline.signal);
  } finally {
    deadline.dispose();
  }
}
