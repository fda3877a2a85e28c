import { createHash } from 'node:crypto';
import type { ModelSpec } from './engine';

/** An installed model: what the engine sees, plus what only the server knows about it. */
export interface InstalledModel extends ModelSpec {
  digest: string;
  modifiedAt: number;
  /**
   * Who turns messages into a prompt. `native`: llama-server and its Jinja template, which refuses
   * a last message that does not fit; `template`: Ollama itself, which cuts it silently.
   */
  rendering: 'native' | 'template';
  /** What /api/tags guesses; /api/show is the truth. They differ on some models. */
  listedCapabilities: readonly string[];
  /** Every load of this model fails with this text. */
  loadError?: string;
  /** Overrides the server's `loadMs`. */
  loadMs?: number;
  system?: string;
  /** As the Modelfile's PARAMETER lines. */
  parameters: Record<string, string | number>;
}

export type ModelDefinition = Partial<InstalledModel> & { name: string };

const UNITS: Record<string, number> = { B: 1e9, M: 1e6, K: 1e3 };

function parameterCountOf(size: string): number {
  const match = /^([\d.]+)([BMK])$/.exec(size);
  return match ? Math.round(Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1)) : 0;
}

/** Fills in what a test does not care about. */
export function defineModel(definition: ModelDefinition): InstalledModel {
  const name = withTag(definition.name);
  const parameterSize = definition.parameterSize ?? '1.0B';
  const parameterCount = definition.parameterCount ?? parameterCountOf(parameterSize);
  const capabilities = definition.capabilities ?? ['completion'];
  return {
    parameterSize,
    parameterCount,
    // About 4.7 bits a weight, which is what Q4_K_M comes to.
    size: Math.round(parameterCount * 0.585),
    family: 'llama',
    quantization: 'Q4_K_M',
    capabilities,
    contextLength: 8192,
    embeddingLength: 2048,
    digest: createHash('sha256').update(`model ${name}`).digest('hex'),
    modifiedAt: Date.UTC(2026, 0, 1),
    rendering: 'template',
    listedCapabilities: capabilities,
    parameters: {},
    ...definition,
    name,
  };
}

export function withTag(name: string): string {
  return name.lastIndexOf(':') > name.lastIndexOf('/') ? name : `${name}:latest`;
}

/** `hermes3:8b` → `registry.ollama.ai/library/hermes3:8b`, as some errors print it. */
export function fullName(name: string): string {
  const parts = withTag(name).split('/');
  if (parts.length === 1) parts.unshift('library');
  if (parts.length === 2) parts.unshift('registry.ollama.ai');
  return parts.join('/');
}

const PART = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;

export function isValidName(name: string): boolean {
  const parts = withTag(name).split('/');
  const [model = '', tag = ''] = (parts.pop() ?? '').split(':');
  return (
    parts.length <= 2 && [...parts, model, tag].every((part) => PART.test(part.replace(':', '')))
  );
}

/** A model that runs elsewhere, as it appears in the daemon's list. */
export function defineStub(name: string, remoteModel: string, host: string): InstalledModel {
  return defineModel({
    name,
    parameterSize: '',
    parameterCount: 0,
    size: 384,
    family: '',
    quantization: '',
    capabilities: ['completion', 'tools', 'thinking'],
    contextLength: 131_072,
    embeddingLength: 2880,
    remote: { model: remoteModel, host },
  });
}

export const defaultModels: readonly InstalledModel[] = [
  defineModel({
    name: 'hermes3:8b',
    parameterSize: '8.0B',
    parameterCount: 8_030_261_312,
    size: 4_661_226_402,
    quantization: 'Q4_0',
    capabilities: ['completion', 'tools'],
    contextLength: 131_072,
    embeddingLength: 4096,
  }),
  defineModel({
    name: 'qwen3:8b',
    parameterSize: '8.2B',
    parameterCount: 8_190_735_360,
    size: 5_225_388_164,
    family: 'qwen3',
    capabilities: ['completion', 'tools', 'thinking'],
    contextLength: 40_960,
    embeddingLength: 4096,
  }),
  defineModel({
    name: 'qwen3:14b',
    parameterSize: '14.8B',
    parameterCount: 14_768_307_200,
    size: 9_276_198_565,
    family: 'qwen3',
    capabilities: ['completion', 'tools', 'thinking'],
    contextLength: 40_960,
    embeddingLength: 5120,
  }),
  defineModel({
    name: 'nomic-embed-text:latest',
    parameterSize: '137M',
    parameterCount: 136_727_040,
    size: 274_302_450,
    family: 'nomic-bert',
    quantization: 'F16',
    capabilities: ['embedding'],
    contextLength: 2048,
    embeddingLength: 768,
  }),
  defineModel({
    name: 'gemma3:4b',
    parameterSize: '4.3B',
    parameterCount: 4_299_915_632,
    size: 3_338_801_804,
    family: 'gemma3',
    capabilities: ['completion', 'vision'],
    contextLength: 131_072,
    embeddingLength: 2560,
  }),
  defineModel({
    name: 'smollm2:135m',
    parameterSize: '134.52M',
    parameterCount: 134_515_584,
    size: 270_898_672,
    quantization: 'F16',
    capabilities: ['completion', 'tools'],
    contextLength: 8192,
    embeddingLength: 576,
  }),
];

/** What a pull finds in the registry beyond the models that are installed already. */
export const defaultCatalogue: readonly InstalledModel[] = [
  ...defaultModels,
  defineModel({
    name: 'llama3.2:latest',
    parameterSize: '3.2B',
    parameterCount: 3_212_749_888,
    size: 2_019_393_189,
    capabilities: ['completion', 'tools'],
    contextLength: 131_072,
    embeddingLength: 3072,
  }),
  defineModel({
    name: 'mxbai-embed-large:latest',
    parameterSize: '334M',
    parameterCount: 334_092_288,
    size: 669_615_493,
    family: 'bert',
    quantization: 'F16',
    capabilities: ['embedding'],
    contextLength: 512,
    embeddingLength: 1024,
  }),
  defineModel({
    name: 'qwen2.5-coder:7b',
    parameterSize: '7.6B',
    parameterCount: 7_615_616_512,
    size: 4_683_087_332,
    family: 'qwen2',
    capabilities: ['completion', 'tools', 'insert'],
    contextLength: 32_768,
    embeddingLength: 3584,
  }),
];

/** The models on disk. */
export class ModelStore implements Iterable<InstalledModel> {
  private readonly models = new Map<string, InstalledModel>();

  constructor(models: Iterable<ModelDefinition>) {
    for (const model of models) this.install(model);
  }

  install(definition: ModelDefinition): InstalledModel {
    const model = defineModel(definition);
    this.models.set(keyOf(model.name), model);
    return model;
  }

  /** True when there was such a model. */
  remove(name: string): boolean {
    return this.models.delete(keyOf(name));
  }

  find(name: string): InstalledModel | undefined {
    return this.models.get(keyOf(name));
  }

  get names(): string[] {
    return [...this].map((model) => model.name);
  }

  [Symbol.iterator](): IterableIterator<InstalledModel> {
    return this.models.values();
  }
}

function keyOf(name: string): string {
  return fullName(name).toLowerCase();
}
