/**
 * The engine that really thinks: llama.cpp inside this process, on the CPU, with whatever GGUF file
 * it is given. `ensureLlama()` and `ensureModel()` of llama-setup.mjs provide both.
 */
import os from 'node:os';
import type { Engine, ModelSpec } from './engine';
import { GrammarCache } from './llama-grammar';
import { LlamaHost, type LlamaRuntime } from './llama-model';
import { importLlama, type LlamaPackages } from './llama-native';
import { readSpec } from './llama-spec';

export interface LlamaEngineOptions {
  gguf: string;
  llamaDir: string;
  /** All cores but one unless said otherwise; see `defaultThreads`. */
  threads?: number;
  /** What the model is listed under; by default made of the file's name. */
  name?: string;
  /** A second model, for embeddings. */
  embedding?: { gguf: string; name?: string };
  /** Told what of a `format` the grammar cannot enforce. */
  onNote?: (text: string) => void;
}

/**
 * llama.cpp's threads spin while they wait for each other, so one that shares its core with a browser
 * or a compiler holds up all: on two busy cores, two threads wrote 1 to 8 tokens a second and one wrote
 * 40. On two idle cores both write about 80; only prompts gain by the second (360 against 220).
 */
function defaultThreads(): number {
  return Math.max(1, os.availableParallelism() - 1);
}

const COMPLAINTS_KEPT = 3;

/** On Apple silicon the only prebuilt binary is the one for Metal. */
const gpu = process.platform === 'darwin' && process.arch === 'arm64' ? 'auto' : false;

async function startLlama(
  packages: LlamaPackages,
  threads: number,
  onNote: (text: string) => void,
): Promise<LlamaRuntime> {
  const complaints: string[] = [];
  const llama = await packages.llama.getLlama({
    gpu,
    // Never compile or download: setup has put a prebuilt binary in place, or it has not.
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: threads,
    logLevel: 'error',
    logger: (_level, message) => {
      complaints.push(message.trim());
      complaints.splice(0, complaints.length - COMPLAINTS_KEPT);
    },
  });
  return {
    packages,
    llama,
    threads,
    grammars: new GrammarCache(llama, onNote),
    complaints: () => complaints.splice(0).join('; '),
  };
}

/** The server may list a copy under another name; the weights tell what it is. */
function findHost(hosts: readonly LlamaHost[], model: ModelSpec): LlamaHost {
  const host =
    hosts.find(({ spec }) => spec.name === model.name) ??
    hosts.find(({ spec }) => spec.size === model.size && spec.family === model.family);
  if (host) return host;
  const names = hosts.map(({ spec }) => spec.name).join(', ');
  throw new Error(`This engine has ${names}, not ${model.name}.`);
}

export async function createLlamaEngine(options: LlamaEngineOptions): Promise<Engine> {
  const packages = await importLlama(options.llamaDir);
  const files = [options, ...(options.embedding ? [options.embedding] : [])];
  const models = await Promise.all(
    files.map(async ({ gguf, name }) => ({
      gguf,
      ...(await readSpec(packages.llama, gguf, name)),
    })),
  );
  const threads = options.threads ?? defaultThreads();
  const runtime = await startLlama(packages, threads, options.onNote ?? (() => undefined));
  const hosts = models.map(({ gguf, spec, info }) => new LlamaHost(runtime, gguf, spec, info));

  return {
    models: hosts.map(({ spec }) => spec),
    load: async (model, numCtx, signal) => findHost(hosts, model).load(numCtx, signal),
    unload: async (model) => findHost(hosts, model).unload(),
    countPrompt: async (request) => findHost(hosts, request.model).countPrompt(request),
    generate: async (request, onPiece) => findHost(hosts, request.model).generate(request, onPiece),
    embed: async (model, inputs, signal) => findHost(hosts, model).embed(inputs, signal),
    dispose: async () => {
      for (const host of hosts) await host.unload();
      await runtime.llama.dispose();
    },
  };
}
