import type { IncomingHttpHeaders } from 'node:http';

/** What requests carry, as far as tests look at it. */
export interface RequestBody {
  model: string;
  messages: { role: string; content: string; images?: string[] }[];
  prompt: string;
  system: string;
  input: string | string[];
  stream: boolean;
  format: unknown;
  options: Record<string, unknown>;
  keep_alive: string | number;
  think: boolean | string;
  tools: { type: string; function: { name: string } }[];
  [field: string]: unknown;
}

/** One request as the server saw it; the times are filled in as they happen. */
export interface RecordedRequest {
  readonly id: number;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  /** The JSON body. A test that reads a field means it to be there. */
  body: RequestBody;
  bodyText: string;
  readonly startedAt: number;
  /** The client went away before the answer was complete. */
  abortedAt?: number;
  /** The answer was sent in full (or the server cut it on purpose). */
  endedAt?: number;
  status?: number;
  /** NDJSON lines sent so far. */
  lines: number;
}

/**
 * Wakes waiting tests whenever something happened on the server, so that they need not sleep.
 */
export class Happenings {
  private readonly waiting = new Set<() => void>();

  happened(): void {
    for (const check of [...this.waiting]) check();
  }

  /** Resolves with the first truthy value that `look` gives. */
  waitFor<T>(look: () => T, what = 'the condition', timeoutMs = 10_000): Promise<NonNullable<T>> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.waiting.delete(check);
        settle();
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`waited ${timeoutMs} ms in vain for ${what}`))),
        timeoutMs,
      );
      const check = () => {
        const found = look();
        if (found) finish(() => resolve(found));
      };
      this.waiting.add(check);
      check();
    });
  }
}
