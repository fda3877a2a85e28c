/** A pending timer. */
export interface Timer {
  cancel(): void;
}

/** Time as the core sees it, so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since the epoch: for timestamps. */
  now(): number;
  /** Milliseconds that never run backwards: for durations. */
  monotonic(): number;
  setTimeout(callback: () => void, ms: number): Timer;
}

/** Timers keep the process alive only while somebody waits for their call, so they are never unref'd here. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(callback, ms) {
    // setTimeout fires at once for delays that do not fit 32 bits.
    const handle = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
    return { cancel: () => clearTimeout(handle) };
  },
};
