/** What a GGUF file says about its model, in Ollama's words. */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { ModelSpec } from './engine';
import type { GgufInfo, LlamaModule } from './llama-native';

const UNITS: readonly [string, number, number][] = [
  ['B', 1e9, 1],
  ['M', 1e6, 2],
  ['K', 1e3, 0],
];

/** The way `ollama show` prints it: 134.52M, 8.0B. */
export function parameterSize(count: number): string {
  const unit = UNITS.find(([, size]) => count >= size);
  if (!unit) return String(count);
  const [letter, size, digits] = unit;
  return (count / size).toFixed(digits) + letter;
}

function countParameters(info: GgufInfo): number {
  const sizes = (info.fullTensorInfo ?? []).map(({ dimensions }) =>
    dimensions.reduce<number>((product, dimension) => product * Number(dimension), 1),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

const TOOL_TAG = '<tool_call>';

/** Tools are offered only where the template takes them and answers in the form we can read. */
function capabilitiesOf(info: GgufInfo): string[] {
  const { attention, pooling_type } = info.architectureMetadata;
  if (attention?.causal === false || pooling_type !== undefined) return ['embedding'];
  const template = info.metadata.tokenizer?.chat_template ?? '';
  const takesTools = /\btools\b/.test(template) && template.includes(TOOL_TAG);
  return takesTools ? ['completion', 'tools'] : ['completion'];
}

/** `Qwen2.5-0.5B-Instruct-Q4_K_M.gguf` becomes `qwen2.5-0.5b-instruct:q4_k_m`. */
export function nameOfFile(file: string): string {
  const base = path
    .basename(file)
    .replace(/\.gguf$/i, '')
    .toLowerCase();
  const [, name, quantization] = /^(.+?)[-.]((?:i?q\d|f16|f32|bf16)[^-.]*)$/.exec(base) ?? [];
  const clean = (text: string) => text.replace(/[^a-z0-9._-]+/g, '-');
  return `${clean(name ?? base)}:${clean(quantization ?? 'latest')}`;
}

export async function readSpec(
  llama: LlamaModule,
  gguf: string,
  name = nameOfFile(gguf),
): Promise<{ spec: ModelSpec; info: GgufInfo }> {
  const size = await fs.stat(gguf).then(
    (stat) => stat.size,
    () => Promise.reject(new Error(`There is no file ${gguf}.`)),
  );
  const options = { sourceType: 'filesystem', logWarnings: false } as const;
  const info = await llama.readGgufFileInfo(gguf, options).catch((error: unknown) => {
    throw new Error(`${gguf} is not a GGUF file that can be read`, { cause: error });
  });
  const { architecture, file_type } = info.metadata.general;
  const parameterCount = countParameters(info);
  const fileType = file_type === undefined ? undefined : llama.GgufFileType[file_type];
  const spec: ModelSpec = {
    name,
    parameterCount,
    parameterSize: parameterSize(parameterCount),
    size,
    family: architecture,
    quantization: fileType?.replace(/^(MOSTLY|ALL)_/, '') ?? 'unknown',
    capabilities: capabilitiesOf(info),
    contextLength: info.architectureMetadata.context_length ?? 2048,
    embeddingLength: info.architectureMetadata.embedding_length ?? 0,
  };
  return { spec, info };
}
