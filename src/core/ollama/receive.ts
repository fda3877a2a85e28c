import type Dispatcher from 'undici/types/dispatcher';
import type { IncomingHttpHeaders } from 'undici/types/header';
import type { Sender } from './network';

/** An answer with another status than 200, read in full. */
export interface Refusal {
  statusCode: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/**
 * Sends a request and hands over the body of a 200 as it comes, without a stream in between: at once all that one
 * packet brought, and `onBytes` is done with it when it returns. An aborted signal closes the connection at once, and
 * so does an exception of `onBytes`, which rejects as it is.
 */
export async function receive(
  sender: Sender,
  options: Dispatcher.DispatchOptions,
  signal: AbortSignal | undefined,
  onBytes: (bytes: Buffer) => void,
): Promise<Refusal | undefined> {
  signal?.throwIfAborted();
  const receiver = new Receiver();
  const onAbort = (): void => receiver.abort(signal?.reason as Error);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    sender.dispatch(options, receiver);
    return await receiver.read(onBytes);
  } catch (error) {
    receiver.abort(error as Error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** undici's parser is never entered again from what is done with the bytes: they are read when it is through. */
class Receiver implements Dispatcher.DispatchHandler {
  #controller: Dispatcher.DispatchController | undefined;
  #statusCode = 0;
  #headers: IncomingHttpHeaders = {};
  /** Every line of an answer is a chunk of its own, and a packet may bring many. */
  #chunks: Buffer[] = [];
  #end: { error?: Error } | undefined;
  #wake: () => void = noop;

  async read(onBytes: (bytes: Buffer) => void): Promise<Refusal | undefined> {
    for (;;) {
      if (this.#hasBytes) onBytes(this.#take());
      else if (!this.#end) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if (this.#end.error) throw this.#end.error;
      else if (this.#statusCode === 200) return undefined;
      else {
        const text = this.#take().toString();
        return { statusCode: this.#statusCode, headers: this.#headers, text };
      }
    }
  }

  /** What has arrived and was not handed over is dropped. */
  abort(reason: Error): void {
    this.#chunks = [];
    this.#end = { error: reason };
    this.#wake();
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // It was given up while the connection was being made.
    if (this.#end?.error) controller.abort(this.#end.error);
  }

  /** Comes again for every interim answer before the real one. */
  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: IncomingHttpHeaders,
  ): void {
    this.#statusCode = statusCode;
    this.#headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Waking more than once for a packet would cost more than the packet.
    if (this.#chunks.push(chunk) === 1 && this.#statusCode === 200) this.#wake();
  }

  onResponseEnd(): void {
    this.#finish();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finish(error);
  }

  get #hasBytes(): boolean {
    return this.#statusCode === 200 && this.#chunks.length > 0;
  }

  #take(): Buffer {
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  }

  /** The first end counts: what an abort makes of the connection says less than its reason. */
  #finish(error?: Error): void {
    this.#end ??= error ? { error } : {};
    this.#wake();
  }
}

function noop(): void {}
