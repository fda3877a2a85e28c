import request from 'undici/lib/api/api-request.js';
import type Dispatcher from 'undici/types/dispatcher';
import type { IncomingHttpHeaders } from 'undici/types/header';
import type { Backend } from '../audit/envelope';
import { cancelledError, InternError } from '../errors';
import { orAborted } from '../routing/deadline';
import type { Sender } from './network';
import { LineDecoder, LineTooLongError } from './ndjson';
import { receive } from './receive';
import { httpError, protocolError, transportError, type WireContext } from './wireErrors';

export interface HttpOptions {
  /** As `parseHost` returns it. */
  baseUrl: string;
  dispatcher: Sender;
  /** Asked for every request, with the secret that is among them. */
  headers?: () => Promise<{ headers: Record<string, string>; token: string | undefined }>;
  /** The proxy before the server, for messages. */
  proxy?: string | undefined;
  /** What the server is to the product, for messages. Default: `local`. */
  backend?: Backend;
  /** The time, for a `Retry-After` that is a date. Default: the system's. */
  now?: () => number;
}

export interface SendOptions {
  model?: string;
  signal?: AbortSignal | undefined;
}

/** Takes the token out of a text: a server may quote what it was sent. */
export type Redact = (text: string) => string;

export interface Sent {
  response: Dispatcher.ResponseData;
  redact: Redact;
}

export interface LinesOptions extends SendOptions {
  /** Whether the person has seen a part of the answer, for the error. Default: no. */
  isPartial?: (() => boolean) | undefined;
}

/** Requests to one server. Keeps no timers, no retries and follows no redirects; every failure is an InternError. */
export class Http {
  readonly baseUrl: string;
  readonly #dispatcher: Sender;
  readonly #headers: NonNullable<HttpOptions['headers']>;
  readonly #proxy: string | undefined;
  readonly #backend: Backend;
  readonly #now: () => number;
  readonly #origin: string;
  readonly #path: string;

  constructor(options: HttpOptions) {
    this.baseUrl = options.baseUrl;
    this.#dispatcher = options.dispatcher;
    this.#headers = options.headers ?? (() => Promise.resolve({ headers: {}, token: undefined }));
    this.#proxy = options.proxy;
    this.#backend = options.backend ?? 'local';
    this.#now = options.now ?? Date.now;
    const url = new URL(options.baseUrl);
    this.#origin = url.origin;
    this.#path = url.pathname.replace(/\/$/, '');
  }

  /** Sends, and turns every status but 200 into its error. */
  async send(
    method: 'GET' | 'POST',
    path: string,
    body: object | undefined,
    { model, signal }: SendOptions,
  ): Promise<Sent> {
    const context = this.context(model);
    try {
      const { request: options, redact } = await this.#request(method, path, body, signal);
      // undici hears an abort only once there is a connection, and that may take its time.
      const sent = request.call(this.#dispatcher, { ...options, signal });
      const response = await orAborted(sent, signal);
      if (response.statusCode === 200) return { response, redact };
      const text = await response.body.text();
      throw this.#refused(response.statusCode, redact(text), response.headers, context);
    } catch (error) {
      throw this.failure(error, signal, context, false);
    }
  }

  /** Sends, and hands over the lines of the answer without blank ones: at once all that one packet brings. */
  async lines(
    path: string,
    body: object,
    { model, signal, isPartial }: LinesOptions,
    onLines: (lines: string[], redact: Redact) => void,
  ): Promise<void> {
    const context = this.context(model);
    const decoder = new LineDecoder();
    try {
      const { request: options, redact } = await this.#request('POST', path, body, signal);
      const tell = (lines: string[]): void => {
        if (lines.length > 0) onLines(lines, redact);
      };
      const refusal = await receive(this.#dispatcher, options, signal, (data) =>
        tell(decoder.push(data)),
      );
      if (refusal) {
        throw this.#refused(refusal.statusCode, redact(refusal.text), refusal.headers, context);
      }
      tell(decoder.end());
    } catch (error) {
      throw this.failure(error, signal, context, isPartial?.() ?? false);
    }
  }

  async json(
    method: 'GET' | 'POST',
    path: string,
    body: object | undefined,
    options: SendOptions,
  ): Promise<unknown> {
    const context = this.context(options.model);
    const { response } = await this.send(method, path, body, options);
    let text: string;
    try {
      text = await response.body.text();
    } catch (error) {
      throw this.failure(error, options.signal, context, false);
    }
    try {
      return JSON.parse(text);
    } catch (error) {
      throw protocolError(context, false, error);
    }
  }

  /** `json`, with an answer that has to be of this shape. */
  async parsed<T>(
    method: 'GET' | 'POST',
    path: string,
    body: object | undefined,
    schema: { safeParse(value: unknown): { success: boolean; data?: T; error?: unknown } },
    options: SendOptions,
  ): Promise<T> {
    const result = schema.safeParse(await this.json(method, path, body, options));
    if (!result.success) throw protocolError(this.context(options.model), false, result.error);
    return result.data as T;
  }

  /** Whatever went wrong on the way, as an InternError. `partial`: the answer had begun. */
  failure(
    error: unknown,
    signal: AbortSignal | undefined,
    context: WireContext,
    partial: boolean,
  ): InternError {
    // The signal's own reason says why: a deadline's timeout, or the person's cancel.
    if (signal?.aborted)
      return signal.reason instanceof InternError ? signal.reason : cancelledError();
    if (error instanceof InternError) return error;
    if (error instanceof LineTooLongError) return protocolError(context, partial, error);
    return transportError(error, context, partial);
  }

  context(model: string | undefined): WireContext {
    return { baseUrl: this.baseUrl, model, proxy: this.#proxy, backend: this.#backend };
  }

  async #request(
    method: 'GET' | 'POST',
    path: string,
    body: object | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ request: Dispatcher.DispatchOptions; redact: Redact }> {
    // A store of secrets may wait for somebody to unlock it.
    const { headers, token } = await orAborted(this.#headers(), signal);
    return {
      request: {
        origin: this.#origin,
        path: this.#path + path,
        method,
        headers: body ? { 'content-type': 'application/json', ...headers } : headers,
        body: body ? JSON.stringify(body) : undefined,
      },
      redact: (text) => (token === undefined ? text : text.replaceAll(token, '***')),
    };
  }

  #refused(
    statusCode: number,
    text: string,
    headers: IncomingHttpHeaders,
    context: WireContext,
  ): InternError {
    return httpError(statusCode, text, context, retryAfter(headers['retry-after'], this.#now()));
  }
}

/** `Retry-After` is a number of seconds or a date. Milliseconds from now. */
export function retryAfter(header: string | string[] | undefined, now: number): number | undefined {
  const text = (Array.isArray(header) ? header[0] : header)?.trim() ?? '';
  if (/^-?\d+(?:\.\d+)?$/.test(text)) return Math.max(0, Number(text) * 1000);
  // `Date.parse` makes a date of nearly anything with a number in it.
  const date = /^[a-z]{3,9}, /i.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
