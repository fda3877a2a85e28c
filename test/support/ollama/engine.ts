/**
 * What stands behind the simulated Ollama server: something that answers prompts.
 * The server keeps Ollama's rules (framing, errors, scheduling, residency); an engine only computes.
 */

/** A model as the server lists it. */
export interface ModelSpec {
  /** As `ollama list` prints it, tag included: `hermes3:8b`. */
  name: string;
  /** Decides the load allowance that clients give it, e.g. `8.0B`. */
  parameterSize: string;
  parameterCount: number;
  /** Bytes of the weights, as /api/tags and /api/ps report them. */
  size: number;
  family: string;
  quantization: string;
  /** What /api/show says: completion, tools, thinking, vision, embedding, insert. */
  capabilities: readonly string[];
  /** The context length the model was trained with. */
  contextLength: number;
  embeddingLength: number;
  /** Set for a model that the daemon runs in the cloud. */
  remote?: { model: string; host: string };
}

export interface EngineMessage {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string;
  /** Base64, as on the wire. */
  images?: string[];
  tool_calls?: { id?: string; function: { name: string; arguments: Record<string, unknown> } }[];
  tool_name?: string;
}

export interface EngineRequest {
  model: ModelSpec;
  messages: EngineMessage[];
  /** `raw` text of /api/generate: no chat template. */
  raw?: string;
  /** `"json"` or a JSON schema. */
  format?: 'json' | Record<string, unknown>;
  tools?: {
    type: 'function';
    function: { name: string; description?: string; parameters?: unknown };
  }[];
  think?: boolean | string;
  numCtx: number;
  /** Undefined: the engine's own bound. */
  numPredict?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  repeatPenalty?: number;
  seed?: number;
  stop?: string[];
  /** Aborted when the client goes away: the engine stops computing at once. */
  signal: AbortSignal;
}

/** One streamed piece; each is one token's worth of text. */
export type EnginePiece =
  | { kind: 'text'; text: string }
  | { kind: 'thinking'; text: string }
  | { kind: 'tool_call'; name: string; arguments: Record<string, unknown> };

export interface EngineResult {
  promptTokens: number;
  outputTokens: number;
  doneReason: 'stop' | 'length';
}

export interface Engine {
  readonly models: readonly ModelSpec[];
  /** Makes the model ready to answer with this window. Real engines take their time; computed ones return at once. */
  load(model: ModelSpec, numCtx: number, signal: AbortSignal): Promise<void>;
  unload(model: ModelSpec): Promise<void>;
  /** Tokens of the prompt as the model would see it (chat template included when it has one). */
  countPrompt(
    request: Pick<EngineRequest, 'model' | 'messages' | 'raw' | 'tools'>,
  ): Promise<number>;
  generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult>;
  /** L2-normalised vectors of `model.embeddingLength` numbers. */
  embed(
    model: ModelSpec,
    inputs: string[],
    signal: AbortSignal,
  ): Promise<{ vectors: number[][]; tokens: number }>;
  /** Frees everything. */
  dispose(): Promise<void>;
}
