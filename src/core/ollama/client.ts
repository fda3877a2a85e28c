import { toInternError } from '../errors';
import { Http, type HttpOptions, type SendOptions } from './http';
import { LineDecoder } from './ndjson';
import {
  embedSchema,
  psSchema,
  type PsModel,
  showSchema,
  type ShowAnswer,
  tagsSchema,
  type TagsModel,
  versionSchema,
} from './schemas';
import { incompleteError, protocolError, streamError } from './wireErrors';

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string;
  /** Base64 without a `data:` prefix. */
  images?: string[];
  tool_calls?: ToolCall[];
  tool_name?: string;
  /** The `id` of the call that this message answers. */
  tool_call_id?: string;
}

export interface ToolCall {
  id?: string;
  function: { name: string; arguments: Record<string, unknown> };
}

/** Generation options under Ollama's names; all others are ignored by the server. */
export interface RunOptions {
  num_ctx?: number;
  num_predict?: number;
  temperature?: number;
  top_p?: number;
  top_k?: number;
  repeat_penalty?: number;
  seed?: number;
  stop?: string[];
}

export type KeepAlive = number | string;

interface CommonRequest {
  model: string;
  options?: RunOptions;
  keep_alive?: KeepAlive;
  /** Only for a model whose capabilities contain `thinking`: others answer 400. */
  think?: boolean | 'low' | 'medium' | 'high' | 'max';
  /** `"json"` or a JSON schema. */
  format?: 'json' | Record<string, unknown>;
  /** false: a prompt that does not fit is an error and not cut. */
  truncate?: boolean;
}

export interface ChatRequest extends CommonRequest {
  messages: ChatMessage[];
  tools?: unknown[];
}

export interface GenerateRequest extends CommonRequest {
  prompt: string;
  system?: string;
  suffix?: string;
  raw?: boolean;
  images?: string[];
}

export interface EmbedRequest {
  model: string;
  input: string[];
  truncate?: boolean;
  dimensions?: number;
  keep_alive?: KeepAlive;
  options?: RunOptions;
}

/** What the server says when the answer is complete. Durations in milliseconds. */
export interface Answer {
  content: string;
  thinking: string;
  tool_calls: ToolCall[];
  /** As the server names the model; a cloud model may lose its suffix. */
  model: string;
  /** Set when a local daemon had the model run elsewhere. */
  remote_host: string | undefined;
  done_reason: string;
  prompt_tokens: number;
  output_tokens: number;
  load_ms: number;
  prompt_ms: number;
  output_ms: number;
}

export interface StreamHandlers {
  /** The first line arrived: the model is loaded and has read the prompt. */
  onFirstLine?: () => void;
  onText?: (text: string) => void;
  onThinking?: (text: string) => void;
}

export interface PullProgress {
  status: string;
  /** Bytes of the layer being fetched, when known. */
  completed: number | undefined;
  total: number | undefined;
}

/** One line of a chat, generate or pull stream; absent fields are Go's omitempty. */
interface StreamLine {
  model?: string;
  remote_host?: string;
  message?: { content?: string; thinking?: string; tool_calls?: ToolCall[] };
  response?: string;
  thinking?: string;
  tool_calls?: ToolCall[];
  done?: boolean;
  done_reason?: string;
  error?: unknown;
  status?: string;
  completed?: number;
  total?: number;
  load_duration?: number;
  prompt_eval_count?: number;
  prompt_eval_duration?: number;
  eval_count?: number;
  eval_duration?: number;
}

/**
 * Ollama's HTTP API. Keeps no timers and no retries: the deadline and the route belong to the router.
 * Every failure is an InternError; an aborted signal closes the connection, which stops the server at once.
 */
export class OllamaClient {
  readonly #http: Http;

  constructor(options: HttpOptions) {
    this.#http = new Http(options);
  }

  get baseUrl(): string {
    return this.#http.baseUrl;
  }

  /** Always streamed on the wire, for answers in one piece too: the first line tells that the model is loaded. */
  chat(body: ChatRequest, handlers: StreamHandlers = {}, signal?: AbortSignal): Promise<Answer> {
    return this.#answer('/api/chat', body, handlers, signal);
  }

  generate(
    body: GenerateRequest,
    handlers: StreamHandlers = {},
    signal?: AbortSignal,
  ): Promise<Answer> {
    return this.#answer('/api/generate', body, handlers, signal);
  }

  /** Loads a model with these options and returns when it is resident. Quick when it already is. */
  async load(
    model: string,
    options: RunOptions | undefined,
    keepAlive: KeepAlive | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#http.json(
      'POST',
      '/api/generate',
      { model, options, keep_alive: keepAlive, stream: false },
      {
        model,
        signal,
      },
    );
  }

  /** Unit vectors, one for each input. */
  async embed(
    body: EmbedRequest,
    signal?: AbortSignal,
  ): Promise<{ embeddings: number[][]; prompt_tokens: number; load_ms: number }> {
    const context = this.#http.context(body.model);
    const answer = await this.#http.parsed('POST', '/api/embed', body, embedSchema, {
      model: body.model,
      signal,
    });
    const wellFormed =
      answer.embeddings.length === body.input.length &&
      answer.embeddings.every((v) => Array.isArray(v) && v.length > 0 && typeof v[0] === 'number');
    if (!wellFormed) throw protocolError(context, false);
    return {
      embeddings: answer.embeddings,
      prompt_tokens: answer.prompt_eval_count,
      load_ms: ms(answer.load_duration),
    };
  }

  async version(signal?: AbortSignal): Promise<string> {
    return (await this.#http.parsed('GET', '/api/version', undefined, versionSchema, { signal }))
      .version;
  }

  /** The installed models. */
  async tags(signal?: AbortSignal): Promise<TagsModel[]> {
    return (await this.#http.parsed('GET', '/api/tags', undefined, tagsSchema, { signal })).models;
  }

  /** The models in memory now. A model is listed already while it loads. */
  async ps(signal?: AbortSignal): Promise<PsModel[]> {
    return (await this.#http.parsed('GET', '/api/ps', undefined, psSchema, { signal })).models;
  }

  show(model: string, signal?: AbortSignal): Promise<ShowAnswer> {
    return this.#http.parsed('POST', '/api/show', { model }, showSchema, { model, signal });
  }

  /** Fetches a model into the server's store. */
  async pull(
    model: string,
    onProgress: (progress: PullProgress) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    let succeeded = false;
    await this.#lines('/api/pull', { model, stream: true }, { model, signal }, (line) => {
      succeeded = line.status === 'success';
      onProgress({ status: line.status ?? '', completed: line.completed, total: line.total });
    });
    if (!succeeded) throw incompleteError(this.#http.context(model), false);
  }

  async #answer(
    path: string,
    body: ChatRequest | GenerateRequest,
    handlers: StreamHandlers,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    let content = '';
    let thinking = '';
    const toolCalls: ToolCall[] = [];
    let last: StreamLine | undefined;
    let first = true;
    const isPartial = (): boolean => content !== '';

    await this.#lines(
      path,
      { ...body, stream: true },
      { model: body.model, signal },
      (line) => {
        if (first) {
          first = false;
          handlers.onFirstLine?.();
        }
        const piece = line.message ?? line;
        const text = line.message ? line.message.content : line.response;
        if (piece.thinking) {
          thinking += piece.thinking;
          handlers.onThinking?.(piece.thinking);
        }
        if (text) {
          content += text;
          handlers.onText?.(text);
        }
        // A call may come in any line, the last one included.
        if (piece.tool_calls) toolCalls.push(...piece.tool_calls);
        if (line.done) last = line;
      },
      isPartial,
    );

    if (!last) throw incompleteError(this.#http.context(body.model), isPartial());
    return {
      content,
      thinking,
      tool_calls: toolCalls,
      model: last.model ?? body.model,
      remote_host: last.remote_host,
      done_reason: last.done_reason ?? '',
      prompt_tokens: last.prompt_eval_count ?? 0,
      output_tokens: last.eval_count ?? 0,
      load_ms: ms(last.load_duration),
      prompt_ms: ms(last.prompt_eval_duration),
      output_ms: ms(last.eval_duration),
    };
  }

  async #lines(
    path: string,
    body: object,
    options: SendOptions,
    onLine: (line: StreamLine) => void,
    isPartial: () => boolean = () => false,
  ): Promise<void> {
    const context = this.#http.context(options.model);
    const { response, redact } = await this.#http.send('POST', path, body, options);
    const decoder = new LineDecoder();
    const handle = (text: string): void => {
      const line = parseLine(text);
      if (!line) throw protocolError(context, isPartial());
      if (line.error !== undefined) {
        const message = typeof line.error === 'string' ? line.error : JSON.stringify(line.error);
        throw streamError(redact(message), context, isPartial());
      }
      try {
        onLine(line);
      } catch (error) {
        // A listener's own failure says nothing about the connection.
        throw toInternError(error);
      }
    };
    try {
      for await (const chunk of response.body) decoder.push(chunk as Uint8Array).forEach(handle);
      decoder.end().forEach(handle);
    } catch (error) {
      throw this.#http.failure(error, options.signal, context, isPartial());
    }
  }
}

function parseLine(text: string): StreamLine | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Ollama counts in nanoseconds. */
function ms(nanoseconds: number | undefined): number {
  return (nanoseconds ?? 0) / 1e6;
}
