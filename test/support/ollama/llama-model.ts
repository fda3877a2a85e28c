/** One GGUF file: loaded on demand, one request at a time. */
import type { EnginePiece, EngineRequest, EngineResult, ModelSpec } from './engine';
import type { GrammarCache } from './llama-grammar';
import type {
  EmbeddingContext,
  EvaluateOptions,
  GgufInfo,
  Llama,
  LlamaContext,
  LlamaModel,
  LlamaPackages,
  LlamaSequence,
  Token,
} from './llama-native';
import { type Prompt, PromptRenderer } from './llama-prompt';
import { CharacterAssembler, StopFilter, ToolCallReader } from './llama-text';

export interface LlamaRuntime {
  packages: LlamaPackages;
  llama: Llama;
  threads: number;
  grammars: GrammarCache;
  /** What llama.cpp complained about lately: its exceptions rarely say. */
  complaints: () => string;
}

interface Window {
  numCtx: number;
  context: LlamaContext;
  sequence: LlamaSequence;
  /** Prompt tokens at the start of the sequence that were computed in whole chunks. */
  computed: Token[];
}

/** So many prompt tokens are computed between two looks at the signal: 0.3 s of a small model. */
const CHUNK = 128;
const LONGEST_EMBEDDING = 2048;
/** How far back Ollama looks for repetitions. */
const REPEAT_LAST_N = 64;
const DEFAULTS = { temperature: 0.8, topK: 40, topP: 0.9 };

export class LlamaHost {
  private loading: Promise<LlamaModel> | undefined;
  private window: Window | undefined;
  private embedder: EmbeddingContext | undefined;
  private readonly renderer: PromptRenderer;
  private tail: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly runtime: LlamaRuntime,
    private readonly gguf: string,
    readonly spec: ModelSpec,
    info: GgufInfo,
  ) {
    this.renderer = new PromptRenderer(info, runtime.packages.jinja);
  }

  load(numCtx: number, signal: AbortSignal): Promise<void> {
    return this.exclusive(signal, async () => {
      if (this.isEmbedding) await this.model();
      else await this.open(numCtx, signal);
      signal.throwIfAborted();
    });
  }

  unload(): Promise<void> {
    return this.exclusive(undefined, async () => {
      await this.window?.context.dispose();
      await this.embedder?.dispose();
      const model = await this.loading?.catch(() => undefined);
      await model?.dispose();
      this.window = this.embedder = this.loading = undefined;
    });
  }

  async countPrompt(prompt: Prompt): Promise<number> {
    const model = await this.model();
    if (!this.isEmbedding) return this.renderer.tokens(prompt, model).length;
    const text = prompt.raw ?? prompt.messages.map(({ content }) => content).join('\n');
    return model.tokenize(text).length + marks(model).length;
  }

  generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    return this.exclusive(request.signal, async () => {
      if (this.isEmbedding) throw new Error(`${this.spec.name} only computes embeddings.`);
      const model = await this.model();
      const window = await this.open(request.numCtx, request.signal);
      const prompt = this.renderer.tokens(request, model);
      assertFits(prompt, window.sequence.contextSize);
      const state = request.format && (await this.grammarState(model, request.format));
      await computePrompt(window, prompt.slice(0, -1), request.signal);
      const options = samplingOptions(request, window.sequence, state);
      const tokens = window.sequence.evaluate(prompt.slice(-1), options);
      const writer = new AnswerWriter(model, request, this.spec);
      const limit = tokenLimit(request, prompt.length, window.sequence.contextSize);
      const answer = await write(tokens, writer, limit, request.signal, onPiece);
      const used = prompt.length + answer.outputTokens;
      // Past its end the window has been shifted: what it starts with is no longer the prompt.
      if (used >= window.sequence.contextSize) window.computed = [];
      return { promptTokens: prompt.length, ...answer };
    });
  }

  embed(inputs: string[], signal: AbortSignal): Promise<{ vectors: number[][]; tokens: number }> {
    return this.exclusive(signal, async () => {
      const model = await this.model();
      const size = Math.min(this.spec.contextLength, LONGEST_EMBEDDING);
      this.embedder ??= await this.createEmbedder(model, size);
      const vectors: number[][] = [];
      let tokens = 0;
      for (const input of inputs) {
        signal.throwIfAborted();
        // Room for the marks at both ends, and one that llama.cpp keeps free.
        const content = input === '' ? marks(model) : model.tokenize(input).slice(0, size - 3);
        tokens += this.embedder.calculateInputLength([...content]);
        vectors.push(normalised((await this.embedder.getEmbeddingFor(content)).vector));
      }
      return { vectors, tokens };
    });
  }

  private get isEmbedding(): boolean {
    return this.spec.capabilities.includes('embedding');
  }

  /** One thing at a time: a context cannot compute two answers. */
  private exclusive<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const turn = this.tail.then(() => {
      signal?.throwIfAborted();
      return work();
    });
    this.tail = turn.catch(() => undefined);
    return turn;
  }

  private model(): Promise<LlamaModel> {
    this.loading ??= this.runtime.llama
      .loadModel({ modelPath: this.gguf })
      .catch((error: unknown) => {
        this.loading = undefined;
        throw this.failure(`llama.cpp could not load ${this.gguf}`, error);
      });
    return this.loading;
  }

  private async open(numCtx: number, signal: AbortSignal): Promise<Window> {
    if (this.window?.numCtx === numCtx) return this.window;
    const model = await this.model();
    await this.window?.context.dispose();
    this.window = undefined;
    const context = await model
      .createContext({
        contextSize: numCtx,
        batchSize: CHUNK,
        threads: this.runtime.threads,
        createSignal: signal,
      })
      .catch((error: unknown) => {
        signal.throwIfAborted();
        throw this.failure(`llama.cpp could not make a window of ${numCtx} tokens`, error);
      });
    this.window = { numCtx, context, sequence: context.getSequence(), computed: [] };
    return this.window;
  }

  private async createEmbedder(model: LlamaModel, size: number): Promise<EmbeddingContext> {
    // A text has to fit into one batch: its tokens look at each other in both directions.
    const options = { contextSize: size, batchSize: size, threads: this.runtime.threads };
    return model.createEmbeddingContext(options).catch((error: unknown) => {
      throw this.failure('llama.cpp could not prepare for embeddings', error);
    });
  }

  private async grammarState(model: LlamaModel, format: NonNullable<EngineRequest['format']>) {
    const grammar = await this.runtime.grammars.get(format);
    return new this.runtime.packages.llama.LlamaGrammarEvaluationState({ model, grammar });
  }

  private failure(what: string, cause: unknown): Error {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const said = this.runtime.complaints();
    return new Error(`${what}: ${reason}${said && ` (${said})`}`, { cause });
  }
}

function assertFits(prompt: Token[], contextSize: number): void {
  if (prompt.length === 0) throw new Error('The prompt is empty.');
  if (prompt.length < contextSize) return;
  throw new Error(
    `The prompt has ${prompt.length} tokens, which leaves no room in a window of ${contextSize}.`,
  );
}

/**
 * Computes a prompt, keeping what the window already holds of it. Only whole chunks are kept, so
 * the same prompt is always computed in the same portions and a seed gives the same answer again.
 */
async function computePrompt(window: Window, tokens: Token[], signal: AbortSignal): Promise<void> {
  const { sequence } = window;
  const differing = window.computed.findIndex((token, index) => token !== tokens[index]);
  const common = differing < 0 ? window.computed.length : differing;
  const kept = common - (common % CHUNK);
  window.computed = tokens.slice(0, kept);
  if (sequence.nextTokenIndex > kept) {
    await sequence.eraseContextTokenRanges([{ start: kept, end: sequence.nextTokenIndex }]);
  }
  for (let start = kept; start < tokens.length; start += CHUNK) {
    signal.throwIfAborted();
    const chunk = tokens.slice(start, start + CHUNK);
    await sequence.evaluateWithoutGeneratingNewTokens(chunk);
    if (chunk.length === CHUNK) window.computed = tokens.slice(0, start + CHUNK);
  }
  signal.throwIfAborted();
}

/** Without a limit of its own, an answer ends with the window. */
function tokenLimit({ numPredict }: EngineRequest, promptTokens: number, size: number): number {
  return numPredict !== undefined && numPredict > 0 ? numPredict : size - promptTokens;
}

function samplingOptions(
  request: EngineRequest,
  sequence: LlamaSequence,
  grammarEvaluationState: object | undefined,
): EvaluateOptions {
  const { seed, repeatPenalty = 1 } = request;
  return {
    temperature: request.temperature ?? DEFAULTS.temperature,
    topK: request.topK ?? DEFAULTS.topK,
    topP: request.topP ?? DEFAULTS.topP,
    // Ollama's -1 means: another one each time.
    ...(seed !== undefined && seed >= 0 && { seed }),
    ...(grammarEvaluationState && { grammarEvaluationState }),
    ...(repeatPenalty !== 1 && {
      repeatPenalty: {
        penalty: repeatPenalty,
        punishTokens: () => sequence.contextTokens.slice(-REPEAT_LAST_N),
      },
    }),
    yieldEogToken: true,
  };
}

/** Turns tokens into pieces; knows when a stop string has ended the answer. */
class AnswerWriter {
  private readonly characters: CharacterAssembler;
  private readonly stops: StopFilter;
  private readonly calls: ToolCallReader | undefined;

  constructor(
    private readonly model: LlamaModel,
    request: EngineRequest,
    spec: ModelSpec,
  ) {
    this.characters = new CharacterAssembler(model);
    this.stops = new StopFilter(request.stop ?? []);
    const withTools = request.tools?.length && spec.capabilities.includes('tools');
    this.calls = withTools ? new ToolCallReader() : undefined;
  }

  isEnd(token: Token): boolean {
    return this.model.isEogToken(token);
  }

  get stopped(): boolean {
    return this.stops.stopped;
  }

  push(token: Token): EnginePiece[] {
    return this.pieces(this.stops.push(this.characters.push(token)));
  }

  end(): EnginePiece[] {
    const rest = this.stops.push(this.characters.end()) + this.stops.end();
    return [...this.pieces(rest), ...(this.calls?.end() ?? [])];
  }

  private pieces(text: string): EnginePiece[] {
    if (text === '') return [];
    return this.calls?.push(text) ?? [{ kind: 'text', text }];
  }
}

async function write(
  tokens: AsyncIterable<Token>,
  writer: AnswerWriter,
  limit: number,
  signal: AbortSignal,
  onPiece: (piece: EnginePiece) => void | Promise<void>,
): Promise<Pick<EngineResult, 'outputTokens' | 'doneReason'>> {
  let outputTokens = 0;
  let doneReason: EngineResult['doneReason'] = 'stop';
  // Leaving the loop, by an exception too, ends the generation.
  for await (const token of tokens) {
    signal.throwIfAborted();
    outputTokens++;
    // llama-server counts the end mark as well: it was computed like any other token.
    if (writer.isEnd(token)) break;
    for (const piece of writer.push(token)) await onPiece(piece);
    if (writer.stopped) break;
    if (outputTokens < limit) continue;
    doneReason = 'length';
    break;
  }
  for (const piece of writer.end()) await onPiece(piece);
  return { outputTokens, doneReason };
}

/** What stands at both ends of a text; all that there is of an empty one. */
function marks(model: LlamaModel): Token[] {
  const { bos, eos } = model.tokens;
  return [bos, eos].filter((mark) => mark !== null);
}

function normalised(vector: readonly number[]): number[] {
  const length = Math.hypot(...vector);
  return vector.map((value) => (length > 0 ? value / length : 0));
}
