import { toInternError } from '../errors';
import { Http, type HttpOptions, type LinesOptions, type Redact } from './http';
import { parseLines } from './ndjson';
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
import { Utterance } from './utterance';
import { incompleteError, protocolError, streamError } from './wireErrors';

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string;
  /** What an assistant thought before it wrote this. */
  thinking?: string;
  /** Base64 without a `data:` prefix. */
  images?: string[];
  tool_calls?: ToolCall[];
  tool_name?: string;
  /** The `id` of the call that this message answers. */
  tool_call_id?: string;
}

/** A function that a model may call. */
export interface Tool {
  type: 'function';
  /** `parameters` is a JSON schema of an object. */
  function: { name: string; description: string; parameters: Record<string, unknown> };
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
  tools?: Tool[];
  /** Ollama has no word for it and ignores it. */
  tool_choice?: 'required';
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
  /** After all that one packet brought: a token, or many when they are written faster than they are read. */
  onRead?: () => void;
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

  /**
   * Lets a model of any kind go from memory, where it may no longer be. The server answers at once; calls that run on
   * the model are finished first.
   */
  async unload(model: string, signal?: AbortSignal): Promise<void> {
    const body = { model, keep_alive: 0, stream: false };
    await this.#http.json('POST', '/api/generate', body, { model, signal });
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
    const reader = new AnswerReader(handlers);
    await this.#lines(
      path,
      { ...body, stream: true },
      { model: body.model, signal, isPartial: () => reader.isPartial },
      (line) => reader.read(line),
      handlers.onRead,
    );
    const answer = reader.answer(body.model);
    if (!answer) throw incompleteError(this.#http.context(body.model), reader.isPartial);
    return answer;
  }

  #lines(
    path: string,
    body: object,
    options: LinesOptions,
    onLine: (line: StreamLine) => void,
    onRead: () => void = noop,
  ): Promise<void> {
    const context = this.#http.context(options.model);
    const isPartial = (): boolean => options.isPartial?.() ?? false;
    const read = (line: unknown, redact: Redact): void => {
      if (!isStreamLine(line)) throw protocolError(context, isPartial());
      if (line.error !== undefined) {
        const message = typeof line.error === 'string' ? line.error : JSON.stringify(line.error);
        throw streamError(redact(message), context, isPartial());
      }
      onLine(line);
    };
    return this.#http.lines(path, body, options, (lines, redact) => {
      try {
        for (const line of parseLines(lines)) read(line, redact);
        onRead();
      } catch (error) {
        // A listener's own failure says nothing about the connection.
        throw toInternError(error);
      }
    });
  }
}

/** Gathers an answer from its lines. */
class AnswerReader {
  readonly #said: Utterance;
  readonly #toolCalls: ToolCall[] = [];
  #last: StreamLine | undefined;
  #hasBegun = false;

  constructor(private readonly handlers: StreamHandlers) {
    this.#said = new Utterance(handlers);
  }

  get isPartial(): boolean {
    return this.#said.words !== '';
  }

  read(line: StreamLine): void {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.handlers.onFirstLine?.();
    }
    const piece = line.message ?? line;
    const content = line.message ? line.message.content : line.response;
    if (piece.thinking) this.#said.think(piece.thinking);
    if (content) this.#said.say(content);
    // A call may come in any line, the last one included.
    if (piece.tool_calls) this.#toolCalls.push(...piece.tool_calls);
    if (line.done) {
      this.#said.end();
      this.#last = line;
    }
  }

  /** undefined: it is not complete. */
  answer(model: string): Answer | undefined {
    const last = this.#last;
    return (
      last && {
        content: this.#said.words,
        thinking: this.#said.thoughts,
        tool_calls: this.#toolCalls,
        model: last.model ?? model,
        remote_host: last.remote_host,
        done_reason: last.done_reason ?? '',
        prompt_tokens: last.prompt_eval_count ?? 0,
        output_tokens: last.eval_count ?? 0,
        load_ms: ms(last.load_duration),
        prompt_ms: ms(last.prompt_eval_duration),
        output_ms: ms(last.eval_duration),
      }
    );
  }
}

function isStreamLine(value: unknown): value is StreamLine {
  return typeof value === 'object' && value !== null;
}

/** Ollama counts in nanoseconds. */
function ms(nanoseconds: number | undefined): number {
  return (nanoseconds ?? 0) / 1e6;
}

function noop(): void {}
