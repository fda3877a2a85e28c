import { parseHost } from '../../src/core/address';
import { sameModel } from '../../src/core/ollama/names';
import { BUILTIN_PROFILES, DEFAULT_PROFILE } from '../../src/core/routing/profiles';
import { ensureEmbeddingModel, ensureLlama, ensureModel } from './llama-setup.mjs';
import { startOllama } from './ollama/server';

/** A server that speaks Ollama's API, and the model on it that does the writing. */
export interface Target {
  kind: 'ollama' | 'embedded' | 'computed';
  url: string;
  model: string;
  /** A model there that makes embeddings; undefined: there is none. */
  embedder: string | undefined;
  /** For people: what answers, and from where. */
  description: string;
  close(): Promise<void>;
}

interface Installed {
  name: string;
  size: number;
  capabilities?: string[];
  remote_host?: string;
}

/** The Ollama at `OLLAMA_HOST` or at its usual address; undefined where none answers or it has no model. */
export async function findOllama(
  host = process.env['OLLAMA_HOST'] ?? '',
): Promise<Target | undefined> {
  const url = parseHost(host);
  try {
    const version = ((await get(`${url}/api/version`)) as { version: string }).version;
    const { models } = (await get(`${url}/api/tags`)) as { models: Installed[] };
    const model = chooseModel(models ?? []);
    if (!model) return undefined;
    return {
      kind: 'ollama',
      url,
      model,
      embedder: models.find(isEmbedder)?.name,
      description: `Ollama ${version} at ${url}, model ${model}`,
      close: async () => {},
    };
  } catch {
    return undefined;
  }
}

/** Real inference without Ollama, or the reason why there is none. Embeddings take another model, which is fetched too. */
export async function startEmbedded(
  gguf?: string,
  { embeds = false } = {},
): Promise<Target | { reason: string }> {
  const llama = await ensureLlama();
  if ('reason' in llama) return llama;
  const weights = await ensureModel({ gguf });
  if ('reason' in weights) return weights;
  const { createLlamaEngine } = await import('./ollama/llama');
  const vectors = embeds ? await ensureEmbeddingModel() : undefined;
  const embedding =
    vectors && !('reason' in vectors) ? { gguf: vectors.path, name: vectors.name } : undefined;
  const engine = await createLlamaEngine({
    gguf: weights.path,
    embedding,
    llamaDir: llama.dir,
    name: weights.name,
  });
  const server = await startOllama({ engine, vram: 0 });
  const model = engine.models[0]?.name ?? '';
  return {
    kind: 'embedded',
    url: server.url,
    model,
    embedder: engine.models.find(({ capabilities }) => capabilities.includes('embedding'))?.name,
    description: `the embedded engine (llama.cpp on the CPU), model ${model}`,
    close: async () => {
      await server.close();
      await engine.dispose();
    },
  };
}

/** Answers computed from the prompt: no model at all. */
export async function startComputed(): Promise<Target> {
  const server = await startOllama({ tokenMs: 12 });
  return {
    kind: 'computed',
    url: server.url,
    model: 'hermes3:8b',
    embedder: 'nomic-embed-text',
    description:
      'a simulated server whose answers are computed from the prompt, not written by a model',
    close: () => server.close(),
  };
}

/** The default profile's model where it is installed; else the smallest that can write. */
function chooseModel(models: Installed[]): string | undefined {
  const wanted =
    process.env['INTERN_TEST_MODEL'] ?? BUILTIN_PROFILES[DEFAULT_PROFILE]?.tiers.instant ?? '';
  const local = models.filter((m) => !m.remote_host && !isEmbedder(m));
  const writing = local.filter((m) => m.capabilities?.includes('completion') ?? true);
  const found =
    writing.find((m) => sameModel(m.name, wanted)) ??
    writing.toSorted((a, b) => a.size - b.size)[0];
  return found?.name;
}

/** Older servers list no capabilities. */
function isEmbedder({ name, capabilities, remote_host }: Installed): boolean {
  if (remote_host) return false;
  return capabilities?.includes('embedding') ?? /embed|minilm|bert/i.test(name);
}

async function get(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(3_000) });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}
