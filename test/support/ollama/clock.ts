/** Time as the simulator sees it: tests pass a `ManualClock` and never sleep. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the epoch, fractions allowed. */
  now(): number;
  setTimeout(run: () => void, ms: number): Timer;
}

export const realClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  setTimeout(run, ms) {
    // A forgotten timer (a keep-alive of five minutes) must not hold the test process.
    const handle = setTimeout(run, Math.min(ms, 2 ** 31 - 1)).unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

interface Due {
  at: number;
  order: number;
  run: () => void;
}

/** Stands still until `advance` is called. */
export class ManualClock implements Clock {
  private readonly due = new Set<Due>();
  private order = 0;

  constructor(private time = Date.UTC(2026, 0, 1)) {}

  now(): number {
    return this.time;
  }

  setTimeout(run: () => void, ms: number): Timer {
    const entry: Due = { at: this.time + Math.max(0, ms), order: this.order++, run };
    this.due.add(entry);
    return { cancel: () => void this.due.delete(entry) };
  }

  /** How many timers wait, for tests that must know that something is being timed. */
  get timers(): number {
    return this.due.size;
  }

  /** Moves time on, running each due timer at its own moment and letting what it started settle. */
  async advance(ms: number): Promise<void> {
    const target = this.time + ms;
    await settle();
    for (let next = this.next(target); next; next = this.next(target)) {
      this.due.delete(next);
      this.time = Math.max(this.time, next.at);
      next.run();
      await settle();
    }
    this.time = target;
  }

  /** Moves time on as a sleep of the machine does: the timers that were due meanwhile run after it, all late. */
  async jump(ms: number): Promise<void> {
    this.time += ms;
    await this.advance(0);
  }

  private next(until: number): Due | undefined {
    let first: Due | undefined;
    for (const entry of this.due) {
      if (entry.at > until) continue;
      if (!first || entry.at < first.at || (entry.at === first.at && entry.order < first.order)) {
        first = entry;
      }
    }
    return first;
  }
}

/** A few turns of the event loop: promise chains run and loopback sockets deliver. */
export async function settle(turns = 3): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Waits on the clock; rejects with the signal's reason as soon as it is aborted. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const onAbort = () => {
      timer.cancel();
      reject(signal.reason as Error);
    };
    const timer = clock.setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Settles as `work` does, or rejects when the signal is aborted first. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
