import * as z from 'zod/mini';

/** What travels between the extension and a webview. */
export interface Wire {
  name: string;
  params: unknown;
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

export function event<P>(name: string, schema: z.ZodMiniType<P>): Event<P> {
  return { direction: 'event', ...message(name, schema) };
}

export function command<P>(name: string, schema: z.ZodMiniType<P>): Command<P> {
  return { direction: 'command', ...message(name, schema) };
}

function message<P>(name: string, schema: z.ZodMiniType<P>): Message<P> {
  return { name, schema, with: (params) => ({ name, params }) };
}

const wireSchema = z.object({ name: z.string(), params: z.unknown() });

/** Hands each valid message to its handler. What it does not know, or what does not fit its schema, is dropped. */
export class Receiver {
  readonly #handlers = new Map<string, (params: unknown) => boolean>();

  on<P>(kind: Message<P>, handler: (params: P) => void): this {
    this.#handlers.set(kind.name, (params) => {
      const parsed = z.safeParse(kind.schema, params);
      if (parsed.success) handler(parsed.data);
      return parsed.success;
    });
    return this;
  }

  /** Whether the message was taken. */
  receive(raw: unknown): boolean {
    const wire = z.safeParse(wireSchema, raw);
    return wire.success && (this.#handlers.get(wire.data.name)?.(wire.data.params) ?? false);
  }
}
