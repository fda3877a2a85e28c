/** How answers go onto the wire: Go's JSON, NDJSON framing, and the ways in which it can fail. */
import type { ServerResponse } from 'node:http';
import { pause, type Clock } from './clock';
import { ApiError, errors } from './errors';
import type { Fault } from './faults';
import type { RecordedRequest } from './recorder';

export const JSON_TYPE = 'application/json; charset=utf-8';
export const NDJSON_TYPE = 'application/x-ndjson';
/** Go buffers this much before it gives up on a Content-Length and sends chunks. */
const GO_BUFFER = 2048;

const ESCAPES: Record<string, string> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

/** `json.Marshal` escapes what HTML might mind. */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (found) => ESCAPES[found] ?? found);
}

let counter = 0;

/** The present, as RFC 3339 with nanoseconds. */
export function timestamp(ms: number): string {
  // A running count stands in for the part that no clock here has, so that no two are equal.
  counter = (counter + 1_237) % 1_000_000;
  return rfc3339(ms, counter);
}

/** As Go prints it: without trailing zeros. */
export function rfc3339(ms: number, nanoseconds = 0): string {
  const fraction = String(Math.floor(ms) % 1000).padStart(3, '0');
  const digits = (fraction + String(nanoseconds).padStart(6, '0')).replace(/0+$/, '');
  return `${new Date(ms).toISOString().slice(0, 19)}${digits && `.${digits}`}Z`;
}

/** Go's `omitempty`: zero, empty and absent values are left out. */
export function omitEmpty<T extends object>(value: T): Partial<T> {
  const kept = Object.entries(value).filter(
    ([, field]) =>
      field !== undefined &&
      field !== '' &&
      field !== 0 &&
      !(Array.isArray(field) && field.length === 0),
  );
  return Object.fromEntries(kept) as Partial<T>;
}

/** Thrown to stop a handler whose answer a fault has ended already. */
export class AnswerCut extends Error {
  constructor(readonly runnerDied = false) {
    super('the answer was cut by a fault');
  }
}

/** One answer. Every byte the server sends goes through here, so every fault can be applied here. */
export class Reply {
  private linesSent = 0;
  private faultDone = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly record: RecordedRequest,
    private readonly clock: Clock,
    private readonly signal: AbortSignal,
    private readonly fault: Fault | undefined,
    private readonly onChange: () => void,
  ) {}

  get started(): boolean {
    return this.response.headersSent;
  }

  /** A complete JSON answer. */
  async json(status: number, value: unknown, contentType = JSON_TYPE): Promise<void> {
    await this.beforeLine();
    await this.send(status, goJson(value), { 'Content-Type': contentType });
  }

  async text(status: number, body: string): Promise<void> {
    await this.send(status, body, { 'Content-Type': 'text/plain' });
  }

  async empty(status: number): Promise<void> {
    await this.send(status, '', {});
  }

  /** Any one-piece answer. */
  async send(
    status: number,
    body: string | Buffer,
    headers: Record<string, string | string[]>,
  ): Promise<void> {
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body);
    const framing: Record<string, string> =
      bytes.length > GO_BUFFER && !('Content-Length' in headers)
        ? {}
        : { 'Content-Length': String(bytes.length) };
    this.head(status, { ...headers, ...framing });
    if (this.record.method !== 'HEAD') await this.write(bytes);
    this.end();
  }

  head(status: number, headers: Record<string, string | string[]>): void {
    this.record.status = status;
    // Go keeps connections without saying so, and says when it closes one.
    if (this.record.headers.connection !== 'close') this.response.removeHeader('Connection');
    this.response.writeHead(status, headers);
  }

  /** One NDJSON line. The headers travel with the first one, never before. */
  async line(value: unknown): Promise<void> {
    await this.raw(`${goJson(value)}\n`, NDJSON_TYPE);
  }

  /** One server-sent event of the /v1 surface. */
  async event(data: string): Promise<void> {
    await this.raw(`data: ${data}\n\n`, 'text/event-stream');
  }

  async raw(line: string, contentType: string): Promise<void> {
    await this.beforeLine(contentType);
    if (!this.started) this.head(200, { 'Content-Type': contentType });
    if (this.linesSent > 0 && this.fault?.lineDelayMs) {
      await pause(this.clock, this.fault.lineDelayMs, this.signal);
    }
    await this.write(Buffer.from(line));
    this.countLine();
  }

  /** The last line of a stream; a fault may hold it back. */
  async lastLine(value: unknown): Promise<void> {
    if (!this.fault?.undone) await this.line(value);
    this.end();
  }

  /** True when the one-piece answer must say `done:false`. */
  get undone(): boolean {
    return this.fault?.undone ?? false;
  }

  /**
   * An error in a streamed answer: with its status when nothing was sent yet, otherwise as a last
   * line inside the 200.
   */
  async failStream(error: ApiError): Promise<void> {
    if (this.started) {
      await this.write(Buffer.from(`${goJson(error.body())}\n`));
      this.countLine();
    } else {
      this.head(error.status, { 'Content-Type': 'application/json' });
      await this.write(Buffer.from(goJson(error.body())));
    }
    this.end();
  }

  async fail(error: ApiError): Promise<void> {
    await this.send(error.status, goJson(error.body()), {
      'Content-Type': JSON_TYPE,
      ...error.extra.headers,
    });
  }

  end(): void {
    if (this.response.writableEnded || this.response.destroyed) return;
    this.record.endedAt = this.clock.now();
    this.response.end();
    this.onChange();
  }

  /** Cuts the connection without a word. What was written before still arrives. */
  private async reset(): Promise<void> {
    const { socket } = this.response;
    this.record.endedAt = this.clock.now();
    // A reset would make the client's kernel drop lines that it has received already.
    if (!this.started) socket?.resetAndDestroy();
    else if (socket) await new Promise<void>((resolve) => socket.write('', () => resolve()));
    socket?.destroy();
    this.onChange();
  }

  /** Applies the fault that belongs before the line that is about to be written. */
  private async beforeLine(contentType?: string): Promise<void> {
    const then = this.fault?.then;
    if (!then || this.faultDone || this.linesSent < (this.fault.afterLines ?? 0)) return;
    this.faultDone = true;
    if (then === 'reset') {
      await this.reset();
      throw new AnswerCut();
    }
    if (then === 'end') {
      if (!this.started) this.head(200, { 'Content-Type': contentType ?? JSON_TYPE });
      this.end();
      throw new AnswerCut();
    }
    if (then === 'runner-dies') {
      const error = this.started ? errors.runnerDied() : this.deathBeforeFirstLine(contentType);
      await (contentType ? this.failStream(error) : this.fail(error));
      throw new AnswerCut(true);
    }
    if ('error' in then) {
      const error = new ApiError(500, then.error);
      // In a stream it is a line inside a 200, even when it is the first one.
      if (contentType && !this.started) this.head(200, { 'Content-Type': contentType });
      await (contentType ? this.failStream(error) : this.fail(error));
      throw new AnswerCut();
    }
    if (!this.started) this.head(200, { 'Content-Type': contentType ?? JSON_TYPE });
    await this.write(Buffer.from(`${then.raw}\n`));
    this.countLine();
  }

  /** Streamed: nothing was generated yet. In one piece: it died somewhere on the way. */
  private deathBeforeFirstLine(contentType: string | undefined): ApiError {
    return contentType ? errors.runnerStopped() : errors.runnerDied();
  }

  private countLine(): void {
    this.record.lines = ++this.linesSent;
    this.onChange();
  }

  private async write(bytes: Buffer): Promise<void> {
    const size = this.fault?.chopBytes ?? bytes.length;
    for (let from = 0; from < bytes.length; from += size) {
      await this.writeAll(bytes.subarray(from, from + size));
      // A turn of the loop between the parts keeps the kernel from joining them again.
      if (this.fault?.chopBytes) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Waits when the client reads too slowly, as a real server's socket would. */
  private writeAll(bytes: Buffer): Promise<void> {
    if (this.response.destroyed || this.response.write(bytes)) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.response.off('drain', done);
        this.response.off('close', done);
        resolve();
      };
      this.response.on('drain', done);
      this.response.on('close', done);
    });
  }
}
