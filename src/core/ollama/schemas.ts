import * as z from 'zod';

/**
 * What the server answers, as far as the product reads it. Everything that a server may leave out (Go's omitempty)
 * has a default; unknown fields pass.
 */

const count = z.number().nonnegative().catch(0);

export const versionSchema = z.object({ version: z.string() });

const details = z
  .object({
    family: z.string().catch(''),
    parameter_size: z.string().catch(''),
    quantization_level: z.string().catch(''),
  })
  .partial()
  .catch({});

export const tagsSchema = z.object({
  models: z
    .array(
      z.object({
        name: z.string(),
        digest: z.string().catch(''),
        size: count,
        details,
        remote_model: z.string().optional(),
        remote_host: z.string().optional(),
      }),
    )
    .nullish()
    .transform((models) => models ?? []),
});

export const psSchema = z.object({
  models: z
    .array(
      z.object({
        name: z.string(),
        digest: z.string().catch(''),
        size: count,
        size_vram: count.default(0),
        expires_at: z.string().catch(''),
        context_length: count.optional(),
      }),
    )
    .nullish()
    .transform((models) => models ?? []),
});

export const showSchema = z.object({
  capabilities: z.array(z.string()).nullish(),
  details,
  model_info: z.record(z.string(), z.unknown()).nullish(),
  remote_model: z.string().optional(),
  remote_host: z.string().optional(),
});

export const embedSchema = z.object({
  model: z.string(),
  // Checked by hand in the client: a schema walk over a million numbers is slow.
  embeddings: z.custom<number[][]>((value) => Array.isArray(value)),
  prompt_eval_count: count.default(0),
  load_duration: count.default(0),
});

export type TagsModel = z.infer<typeof tagsSchema>['models'][number];
export type PsModel = z.infer<typeof psSchema>['models'][number];
export type ShowAnswer = z.infer<typeof showSchema>;
