import * as z from 'zod';
import { isPlausibleModelName } from '../ollama/names';
import { TIERS, type Tier } from './tiers';

const modelName = z
  .string()
  .trim()
  .refine(isPlausibleModelName, 'must be a model name as Ollama writes it, such as qwen3:8b');

/** Generation options under the names of the settings, with their ranges. */
export const generationOptionsSchema = z
  .object({
    temperature: z.number().min(0).max(2),
    topP: z.number().min(0).max(1),
    topK: z.number().int().min(0),
    /** Tokens of prompt and answer together. */
    contextWindow: z.number().int().min(256).max(1_048_576),
    /** Most tokens of an answer. */
    numPredict: z.number().int().min(1),
    repeatPenalty: z.number().min(0).max(2),
  })
  .partial()
  .strict();
export type GenerationOptions = z.infer<typeof generationOptionsSchema>;

export const profileSchema = z
  .object({
    label: z.string().optional(),
    tiers: z.object({
      instant: modelName,
      workhorse: modelName,
      deep: modelName,
      embed: modelName.default('nomic-embed-text'),
    }),
    options: z.partialRecord(z.enum(TIERS), generationOptionsSchema).default({}),
  })
  .strict();
export type Profile = z.infer<typeof profileSchema>;

/** The context window of a tier that neither its profile nor a setting sizes. */
export const DEFAULT_CONTEXT_WINDOW = 8192;
/** Source: the product's option table. */
export const DEFAULT_REPEAT_PENALTY = 1;
export const DEFAULT_PROFILE = 'dev-rtx5080';

function builtin(
  label: string,
  models: Record<Tier, string>,
  windows: Partial<Record<Tier, number>>,
): Profile {
  const options = Object.fromEntries(
    Object.entries(windows).map(([tier, contextWindow]) => [tier, { contextWindow }]),
  );
  return { label, tiers: models, options };
}

/** What the product knows about kinds of machines. The windows keep weights and cache together inside the VRAM. */
export const BUILTIN_PROFILES: Readonly<Record<string, Profile>> = {
  'dev-rtx5080': builtin(
    '16 GB of VRAM, one model for everything',
    {
      instant: 'hermes3:8b',
      workhorse: 'hermes3:8b',
      deep: 'hermes3:8b',
      embed: 'nomic-embed-text',
    },
    { instant: 4096, workhorse: 8192, deep: 16384 },
  ),
  'dev-rtx5080-qwen3': builtin(
    '16 GB of VRAM, Qwen 3',
    { instant: 'qwen3:8b', workhorse: 'qwen3:8b', deep: 'qwen3:14b', embed: 'nomic-embed-text' },
    { instant: 4096, workhorse: 8192, deep: 16384 },
  ),
  'm5-max': builtin(
    'Apple silicon with unified memory, Qwen 3',
    { instant: 'qwen3:14b', workhorse: 'qwen3:14b', deep: 'qwen3:32b', embed: 'nomic-embed-text' },
    { instant: 16384, workhorse: 16384, deep: 32768 },
  ),
};
