import { InternError, toInternError } from '../errors';
import type { Answer, ChatMessage, ChatRequest, StreamHandlers, ToolCall } from './client';
import { Http, type HttpOptions, type Sent } from './http';
import { type Chunk, chunkSchema, type Fragment, gatewayModelsSchema } from './schemas';
import { EventDecoder, type ServerEvent } from './sse';
import { Utterance } from './utterance';
import {
  httpError,
  incompleteError,
  protocolError,
  streamError,
  type WireContext,
} from './wireErrors';

export interface GatewayModel {
  id: string;
  /** Tokens, when the gateway tells. */
  contextLength: number | undefined;
}

/** Any OpenAI-compatible server: LiteLLM, vLLM, llama.cpp, LM Studio, Ollama itself. */
export class GatewayClient {
  readonly #http: Http;
  /** Not every server counts tokens in a stream, and some refuse to be asked. */
  #asksUsage = true;

  constructor(options: HttpOptions) {
    this.#http = new Http({ ...options, backend: 'gateway' });
  }

  /** Without `/v1`. */
  get baseUrl(): string {
    return this.#http.baseUrl;
  }

  async chat(
    body: ChatRequest,
    handlers: StreamHandlers = {},
    signal?: AbortSignal,
  ): Promise<Answer> {
    const sent = await this.#send(completionRequest(body), body.model, signal);
    const answer = new StreamedAnswer(body.model, handlers);
    const context = this.#http.context(body.model);
    const handle = ({ type, data }: ServerEvent): void => {
      if (data.trim() === '[DONE]') return;
      const value = parseObject(data);
      if (type === 'error' || value?.error || value?.object === 'error') {
        throw reportedError(value, sent.redact(data), context, answer.isPartial);
      }
      const chunk = chunkSchema.safeParse(value);
      if (!chunk.success) throw protocolError(context, answer.isPartial, chunk.error);
      try {
        answer.add(chunk.data);
      } catch (error) {
        // A listener's own failure says nothing about the connection.
        throw toInternError(error);
      }
    };
    try {
      for await (const event of eventsOf(sent)) {
        handle(event);
        handlers.onRead?.();
      }
    } catch (error) {
      // After the last piece only figures can be lost.
      const isWhole = answer.isFinished && !signal?.aborted && !(error instanceof InternError);
      if (!isWhole) throw this.#http.failure(error, signal, context, answer.isPartial);
    }
    // Not `[DONE]`: it says that the stream is over, not that the answer is whole.
    if (!answer.isFinished) throw incompleteError(context, answer.isPartial);
    const whole = answer.whole();
    if (!whole) throw protocolError(context, answer.isPartial);
    return whole;
  }

  /** The models that the gateway lists. */
  async models(signal?: AbortSignal): Promise<GatewayModel[]> {
    const { data } = await this.#http.parsed('GET', '/v1/models', undefined, gatewayModelsSchema, {
      signal,
    });
    return data.map(({ id, meta, ...model }) => ({
      id,
      contextLength:
        model.max_model_len ??
        model.context_length ??
        model.context_window ??
        model.max_context_length ??
        // What the server gives each request, before what the model was trained for.
        meta?.n_ctx ??
        meta?.n_ctx_train,
    }));
  }

  /**
   * Some servers refuse a request because of `stream_options` (Mistral, Databricks, old versions of vLLM). They say so
   * before they begin: the request is sent without it, and from then on all are.
   */
  async #send(request: object, model: string, signal: AbortSignal | undefined): Promise<Sent> {
    const send = (body: object): Promise<Sent> =>
      this.#http.send('POST', '/v1/chat/completions', body, { model, signal });
    if (!this.#asksUsage) return send(request);
    try {
      return await send({ ...request, stream_options: { include_usage: true } });
    } catch (error) {
      if (!refusesUsage(error)) throw error;
      this.#asksUsage = false;
      return send(request);
    }
  }
}

/** Gathers what the events say. */
class StreamedAnswer {
  readonly #said: Utterance;
  readonly #calls: { index: Fragment['index']; id: string; name: string; arguments: string }[] = [];
  #model: string;
  #reason: string | undefined;
  #usage: Chunk['usage'];
  #timings: Chunk['timings'];
  #hasBegun = false;

  constructor(
    model: string,
    private readonly handlers: StreamHandlers,
  ) {
    this.#model = model;
    this.#said = new Utterance(handlers);
  }

  get isPartial(): boolean {
    return this.#said.words !== '';
  }

  get isFinished(): boolean {
    return this.#reason !== undefined;
  }

  add(chunk: Chunk): void {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.handlers.onFirstLine?.();
    }
    if (chunk.model) this.#model = chunk.model;
    if (chunk.usage) this.#usage = chunk.usage;
    if (chunk.timings) this.#timings = chunk.timings;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    const piece = choice.delta ?? choice.message ?? {};
    const thought = piece.reasoning_content ?? piece.reasoning;
    if (thought) this.#said.think(thought);
    if (piece.content) this.#said.say(piece.content);
    for (const fragment of piece.tool_calls ?? []) this.#addFragment(fragment);
    // An answer that the server gave up is not finished.
    if (choice.finish_reason && !/^(?:error|abort)$/.test(choice.finish_reason)) {
      this.#said.end();
      this.#reason = choice.finish_reason;
    }
  }

  /** Undefined when a tool call's arguments are no object. */
  whole(): Answer | undefined {
    const toolCalls: ToolCall[] = [];
    for (const call of this.#calls) {
      const args = parseObject(call.arguments || '{}');
      if (!args) return undefined;
      toolCalls.push({
        ...(call.id && { id: call.id }),
        function: { name: call.name, arguments: args },
      });
    }
    return {
      content: this.#said.words,
      thinking: this.#said.thoughts,
      tool_calls: toolCalls,
      model: this.#model,
      remote_host: undefined,
      // As Ollama says it: that tools are wanted is in `tool_calls`.
      done_reason: (this.#reason ?? '').replace(/^(?:tool_calls|function_call)$/, 'stop'),
      prompt_tokens: this.#usage?.prompt_tokens ?? 0,
      output_tokens: this.#usage?.completion_tokens ?? 0,
      load_ms: 0,
      prompt_ms: this.#timings?.prompt_ms ?? 0,
      output_ms: this.#timings?.predicted_ms ?? 0,
    };
  }

  /** The name comes first, the arguments in pieces. */
  #addFragment({ index, id, function: called }: Fragment): void {
    let call = this.#calls.findLast((one) => index === undefined || one.index === index);
    // Servers that send whole calls may give all of them the same index, or none.
    const isAnother = id ? Boolean(call?.id) && id !== call?.id : index === undefined;
    if (!call || (called?.name && isAnother)) {
      call = { index, id: '', name: '', arguments: '' };
      this.#calls.push(call);
    }
    call.id ||= id ?? '';
    call.name ||= called?.name ?? '';
    const args = called?.arguments ?? '';
    call.arguments += typeof args === 'string' ? args : JSON.stringify(args);
  }
}

/** What the server sends; one that does not stream sends its one completion. */
async function* eventsOf({ response }: Sent): AsyncGenerator<ServerEvent> {
  const contentType = String(response.headers['content-type'] ?? '');
  // A page is one thing that is no stream at all: its lines would all be skipped.
  if (/^(?:application\/json|text\/html)/i.test(contentType)) {
    yield { type: 'message', data: await response.body.text() };
    return;
  }
  const decoder = new EventDecoder();
  for await (const chunk of response.body) yield* decoder.push(chunk as Uint8Array);
  yield* decoder.end();
}

/** An error inside a stream that had status 200. It may name the status that it would have had. */
function reportedError(
  value: Record<string, unknown> | undefined,
  text: string,
  context: WireContext,
  partial: boolean,
): InternError {
  const { code } = (value?.error ?? value ?? {}) as { code?: unknown };
  const status = Number(code);
  if (!partial && status >= 400 && status <= 599) return httpError(status, text, context);
  return streamError(text, context, partial);
}

function refusesUsage(error: unknown): boolean {
  return (
    error instanceof InternError &&
    (error.details.status === 400 || error.details.status === 422) &&
    /stream_options|include_usage/.test(error.serverMessage ?? '')
  );
}

/** Ollama's request in OpenAI's words. What OpenAI has no word for is left out: some servers refuse what they do not know. */
function completionRequest({
  model,
  messages,
  tools,
  tool_choice,
  options = {},
  format,
}: ChatRequest): object {
  const { num_predict: limit = 0 } = options;
  return {
    model,
    messages: messages.map(completionMessage),
    stream: true,
    // Ollama's negative numbers mean no limit.
    max_tokens: limit > 0 ? limit : undefined,
    temperature: options.temperature,
    top_p: options.top_p,
    stop: options.stop,
    seed: options.seed,
    response_format: responseFormat(format),
    tools,
    tool_choice,
  };
}

function responseFormat(format: ChatRequest['format']): object | undefined {
  if (!format) return undefined;
  if (format === 'json') return { type: 'json_object' };
  return { type: 'json_schema', json_schema: { name: 'answer', schema: format, strict: true } };
}

function completionMessage({
  role,
  content,
  images,
  tool_calls,
  tool_call_id,
}: ChatMessage): object {
  return {
    role,
    content: images?.length ? [{ type: 'text', text: content }, ...images.map(imagePart)] : content,
    tool_calls: tool_calls?.map(({ id, function: { name, arguments: args } }) => ({
      id,
      type: 'function',
      function: { name, arguments: JSON.stringify(args) },
    })),
    tool_call_id,
  };
}

/** How files of each kind begin, in base64. */
const IMAGE_TYPES: readonly [string, string][] = [
  ['iVBORw0KGgo', 'image/png'],
  ['/9j/', 'image/jpeg'],
  ['R0lGOD', 'image/gif'],
  ['UklGR', 'image/webp'],
];

function imagePart(base64: string): object {
  const type = IMAGE_TYPES.find(([magic]) => base64.startsWith(magic))?.[1] ?? 'image/png';
  return { type: 'image_url', image_url: { url: `data:${type};base64,${base64}` } };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
