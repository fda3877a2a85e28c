import * as z from 'zod/mini';

/** What travels between the extension and a webview. */
export interface Wire {
  name: string;
  params: unknown;
  /** Of a request and its reply. */
  id?: number | undefined;
}

/** One kind of message: its name, and a schema that both sides hold it to. */
export interface Message<P> {
  readonly name: string;
  readonly schema: z.ZodMiniType<P>;
  /** The message to post. */
  with(params: P): Wire;
}

/** Something happened in the extension; the webview hears of it. */
export type Event<P> = Message<P> & { readonly direction: 'event' };
/** The person wants something; the extension does it. */
export type Command<P> = Message<P> & { readonly direction: 'command' };
/** The webview wants to know something, and is told. */
export type Request<P, R> = Message<P> & {
  readonly direction: 'request';
  readonly reply: z.ZodMiniType<R>;
};

export function event<P>(name: string, schema: z.ZodMiniType<P>): Event<P> {
  return { direction: 'event', ...message(name, schema) };
}

export function command<P>(name: string, schema: z.ZodMiniType<P>): Command<P> {
  return { direction: 'command', ...message(name, schema) };
}

export function request<P, R>(
  name: string,
  schema: z.ZodMiniType<P>,
  reply: z.ZodMiniType<R>,
): Request<P, R> {
  return { direction: 'request', reply, ...message(name, schema) };
}

function message<P>(name: string, schema: z.ZodMiniType<P>): Message<P> {
  return { name, schema, with: (params) => ({ name, params }) };
}

const wireSchema = z.object({
  name: z.string(),
  params: z.unknown(),
  id: z.optional(z.number()),
});

/** How a request ended. */
const REPLY = 'reply';
const replySchema = z.union([
  z.object({ value: z.unknown() }),
  /** In a sentence for the person. */
  z.object({ problem: z.string() }),
]);

/** Hands each valid message to its handler. What it does not know, or what does not fit its schema, is dropped. */
export class Receiver {
  readonly #handlers = new Map<string, (params: unknown, id: number | undefined) => boolean>();

  on<P>(kind: Event<P> | Command<P>, handler: (params: P) => void): this {
    this.#handlers.set(kind.name, (params) => {
      const parsed = z.safeParse(kind.schema, params);
      if (parsed.success) handler(parsed.data);
      return parsed.success;
    });
    return this;
  }

  /** Replies through `post` with what `handler` gives, or with the message of what it throws. */
  answer<P, R>(
    kind: Request<P, R>,
    post: (reply: Wire) => void,
    handler: (params: P) => R | Promise<R>,
  ): this {
    this.#handlers.set(kind.name, (params, id) => {
      const parsed = z.safeParse(kind.schema, params);
      if (!parsed.success || id === undefined) return false;
      const reply = (outcome: z.infer<typeof replySchema>): void =>
        post({ name: REPLY, params: outcome, id });
      void (async () => handler(parsed.data))().then(
        (value) => reply({ value }),
        (error: unknown) => reply({ problem: String((error as Error | undefined)?.message) }),
      );
      return true;
    });
    return this;
  }

  /** Whether the message was taken. */
  receive(raw: unknown): boolean {
    const wire = z.safeParse(wireSchema, raw);
    if (!wire.success) return false;
    const { name, params, id } = wire.data;
    return this.#handlers.get(name)?.(params, id) ?? false;
  }
}

/** Asks through `post` and waits for the replies, which are to be given to `receive`. */
export class Requester {
  readonly #waiting = new Map<number, (outcome: z.infer<typeof replySchema>) => void>();
  // A reply to a page that is gone must not be taken for one to the next page.
  #last = Math.floor(Math.random() * 2 ** 48);

  constructor(private readonly post: (message: Wire) => void) {}

  /** Rejects with what the other side says when it fails; never settles when it is gone. */
  async ask<P, R>(kind: Request<P, R>, params: P): Promise<R> {
    const id = ++this.#last;
    const outcome = await new Promise<z.infer<typeof replySchema>>((resolve) => {
      this.#waiting.set(id, resolve);
      this.post({ ...kind.with(params), id });
    });
    if ('problem' in outcome) throw new Error(outcome.problem);
    return z.parse(kind.reply, outcome.value);
  }

  /** Whether the message was a reply that somebody waits for. */
  receive(raw: unknown): boolean {
    const wire = z.safeParse(wireSchema, raw);
    if (!wire.success || wire.data.name !== REPLY || wire.data.id === undefined) return false;
    const outcome = z.safeParse(replySchema, wire.data.params);
    const resolve = this.#waiting.get(wire.data.id);
    if (!outcome.success || !resolve) return false;
    this.#waiting.delete(wire.data.id);
    resolve(outcome.data);
    return true;
  }
}
