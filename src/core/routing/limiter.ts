import { abortReason } from './deadline';

interface Waiter {
  admit: () => void;
  onPosition: ((position: number) => void) | undefined;
}

/** How many calls run at once; the others wait, first come first served. Waiting can be cancelled. */
export class Limiter {
  #limit: number;
  #running = 0;
  readonly #waiting: Waiter[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  setLimit(limit: number): void {
    this.#limit = limit;
    this.#admitNext();
  }

  /**
   * Waits for a permit. `onPosition` tells the place in the queue, 1 for the next; it is not called when nobody
   * has to wait. The returned function gives the permit back; calling it twice does no harm.
   */
  async acquire(
    signal?: AbortSignal,
    onPosition?: (position: number) => void,
  ): Promise<() => void> {
    if (signal?.aborted) throw abortReason(signal);
    if (this.#running < this.#limit && this.#waiting.length === 0) return this.#permit();

    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(abortReason(signal));
        this.#tellPositions();
      };
      const waiter: Waiter = {
        onPosition,
        admit: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve(this.#permit());
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
      onPosition?.(this.#waiting.length);
    });
  }

  #permit(): () => void {
    this.#running++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#running--;
      this.#admitNext();
    };
  }

  #admitNext(): void {
    let moved = false;
    while (this.#running < this.#limit) {
      const next = this.#waiting.shift();
      if (!next) break;
      next.admit();
      moved = true;
    }
    if (moved) this.#tellPositions();
  }

  #tellPositions(): void {
    this.#waiting.forEach((waiter, index) => waiter.onPosition?.(index + 1));
  }
}
