/**
 * The part of node-llama-cpp that the embedded engine uses. Its packages are installed beside the
 * project, not into it, so the types are spelled out here.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

export type Token = number;

export interface GgufTensor {
  dimensions: readonly (number | bigint)[];
}

export interface GgufInfo {
  metadata: {
    general: { architecture: string; name?: string; file_type?: number };
    tokenizer?: { chat_template?: string };
  };
  architectureMetadata: {
    context_length?: number;
    embedding_length?: number;
    pooling_type?: number;
    attention?: { causal?: boolean };
  };
  fullTensorInfo?: readonly GgufTensor[];
}

export interface Grammar {
  readonly grammar: string;
}

export interface EvaluateOptions {
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
  grammarEvaluationState?: object;
  repeatPenalty?: { punishTokens: () => Token[]; penalty: number };
  yieldEogToken?: boolean;
}

export interface LlamaSequence {
  readonly contextSize: number;
  readonly nextTokenIndex: number;
  readonly contextTokens: Token[];
  eraseContextTokenRanges(ranges: { start: number; end: number }[]): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: Token[]): Promise<void>;
  evaluate(tokens: Token[], options: EvaluateOptions): AsyncGenerator<Token, void, void>;
}

export interface LlamaContext {
  getSequence(): LlamaSequence;
  dispose(): Promise<void>;
}

export interface EmbeddingContext {
  getEmbeddingFor(tokens: Token[]): Promise<{ vector: readonly number[] }>;
  /** Counts the marks at both ends too. */
  calculateInputLength(tokens: Token[]): number;
  dispose(): Promise<void>;
}

export interface LlamaModel {
  readonly tokens: {
    readonly bos: Token | null;
    readonly eos: Token | null;
    readonly bosString: string | null;
    readonly eosString: string | null;
    readonly shouldPrependBosToken: boolean;
  };
  tokenize(text: string, specialTokens?: boolean): Token[];
  detokenize(tokens: readonly Token[], specialTokens?: boolean, last?: readonly Token[]): string;
  isEogToken(token: Token): boolean;
  createContext(options: {
    contextSize: number;
    batchSize: number;
    threads: number;
    createSignal?: AbortSignal;
  }): Promise<LlamaContext>;
  createEmbeddingContext(options: {
    contextSize: number;
    batchSize: number;
    threads: number;
    createSignal?: AbortSignal;
  }): Promise<EmbeddingContext>;
  dispose(): Promise<void>;
}

export interface Llama {
  loadModel(options: { modelPath: string; loadSignal?: AbortSignal }): Promise<LlamaModel>;
  createGrammar(options: { grammar: string }): Promise<Grammar>;
  createGrammarForJsonSchema(schema: object): Promise<Grammar>;
  getGrammarFor(type: 'json'): Promise<Grammar>;
  dispose(): Promise<void>;
}

export interface LlamaModule {
  getLlama(options: {
    gpu: 'auto' | false;
    build: 'never';
    skipDownload: boolean;
    progressLogs: boolean;
    maxThreads: number;
    logLevel: string;
    logger: (level: string, message: string) => void;
  }): Promise<Llama>;
  readGgufFileInfo(
    file: string,
    options: { sourceType: 'filesystem'; logWarnings: boolean },
  ): Promise<GgufInfo>;
  readonly GgufFileType: Readonly<Record<number, string>>;
  readonly LlamaGrammarEvaluationState: new (options: {
    model: LlamaModel;
    grammar: Grammar;
  }) => object;
}

export interface JinjaTemplate {
  render(values: Record<string, unknown>): string;
}

export interface JinjaModule {
  readonly Template: new (source: string) => JinjaTemplate;
}

export interface LlamaPackages {
  llama: LlamaModule;
  jinja: JinjaModule;
}

/** Imports from a folder that `ensureLlama()` of llama-setup.mjs made. */
export async function importLlama(llamaDir: string): Promise<LlamaPackages> {
  const load = async (...parts: string[]): Promise<unknown> =>
    import(pathToFileURL(path.join(llamaDir, 'node_modules', ...parts)).href);
  try {
    const llama = (await load('node-llama-cpp', 'dist', 'index.js')) as LlamaModule;
    const jinja = (await load('@huggingface', 'jinja', 'dist', 'index.js')) as JinjaModule;
    return { llama, jinja };
  } catch (error) {
    throw new Error(`node-llama-cpp could not be loaded from ${llamaDir}`, { cause: error });
  }
}
