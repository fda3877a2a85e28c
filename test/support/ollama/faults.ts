import type { RecordedRequest } from './recorder';

/** One way in which an answer goes wrong. Everything left out stays as it should be. */
export interface Fault {
  /** Which requests; default: the next one, whatever it is. */
  match?: (request: RecordedRequest) => boolean;
  /** How many matching requests; default 1. */
  times?: number;
  /** Before anything else, on the server's clock. */
  delayMs?: number;
  /** Never answers. */
  hang?: boolean;
  /** This instead of the real answer. A string body is sent as it is. */
  reply?: { status: number; body?: string | object; headers?: Record<string, string> };
  /** How many lines come through before `then` happens; default 0, that is before the headers. */
  afterLines?: number;
  then?:
    | 'reset'
    /** A clean end without a last `done` line. */
    | 'end'
    /** The runner process dies: an error, and the model is no longer loaded. */
    | 'runner-dies'
    | { error: string }
    /** This text as a line of its own; then the answer goes on. */
    | { raw: string };
  /** No `done:true`: the stream stops short of it, a one-piece answer says `done:false`. */
  undone?: boolean;
  /** Writes at most so many bytes at a time: lines and UTF-8 sequences arrive in parts. */
  chopBytes?: number;
  /** Between lines, on the server's clock. */
  lineDelayMs?: number;
  /** Only where the request needs a load: how that load fails. */
  load?: 'fails' | 'out-of-memory' | 'stalls' | { error: string };
}

export class Faults {
  private readonly waiting: { fault: Fault; left: number }[] = [];

  /** Arms a fault. Faults are tried in the order in which they were armed. */
  next(fault: Fault): void {
    this.waiting.push({ fault, left: fault.times ?? 1 });
  }

  clear(): void {
    this.waiting.length = 0;
  }

  /** How many faults still wait for a request. */
  get armed(): number {
    return this.waiting.length;
  }

  take(request: RecordedRequest): Fault | undefined {
    const index = this.waiting.findIndex(({ fault }) => fault.match?.(request) ?? true);
    const found = this.waiting[index];
    if (!found) return undefined;
    if (--found.left <= 0) this.waiting.splice(index, 1);
    return found.fault;
  }
}

/** The faults that tests ask for again and again. Spread `match` or `times` over them. */
export const faults = {
  status: (status: number, error: string, headers?: Record<string, string>): Fault => ({
    reply: { status, body: { error }, headers },
  }),
  rateLimited: (retryAfterSeconds?: number): Fault => ({
    reply: {
      status: 429,
      body: { error: 'too many requests' },
      ...(retryAfterSeconds === undefined
        ? {}
        : { headers: { 'Retry-After': String(retryAfterSeconds) } }),
    },
  }),
  page: (status: number): Fault => ({
    reply: {
      status,
      body: '<!DOCTYPE html><html><body><h1>Gateway</h1></body></html>',
      headers: { 'Content-Type': 'text/html' },
    },
  }),
  redirect: (location: string, status = 307): Fault => ({
    reply: { status, body: '', headers: { Location: location } },
  }),
  hang: (): Fault => ({ hang: true }),
  late: (delayMs: number): Fault => ({ delayMs }),
  resetAfter: (afterLines: number): Fault => ({ afterLines, then: 'reset' }),
  endAfter: (afterLines: number): Fault => ({ afterLines, then: 'end' }),
  errorAfter: (afterLines: number, error: string): Fault => ({ afterLines, then: { error } }),
  runnerDiesAfter: (afterLines: number): Fault => ({ afterLines, then: 'runner-dies' }),
  garbageAfter: (afterLines: number, raw = '<<not json>>'): Fault => ({
    afterLines,
    then: { raw },
  }),
  longLineAfter: (afterLines: number, bytes: number): Fault => ({
    afterLines,
    then: { raw: JSON.stringify({ padding: 'x'.repeat(bytes) }) },
  }),
  /** More than thirty equal tokens: Ollama stops without saying so. */
  repeatGuard: (): Fault => ({ undone: true }),
  chopped: (chopBytes: number): Fault => ({ chopBytes }),
  slow: (lineDelayMs: number): Fault => ({ lineDelayMs }),
};
