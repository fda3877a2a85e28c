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

const window = z.number().positive().optional().catch(undefined);

/** What an OpenAI-compatible server lists. vLLM, LM Studio, OpenRouter, Groq and llama.cpp tell windows, each in its way. */
export const gatewayModelsSchema = z.object({
  data: z
    .array(
      z.object({
        id: z.string(),
        max_model_len: window,
        context_length: window,
        context_window: window,
        max_context_length: window,
        meta: z.object({ n_ctx: window, n_ctx_train: window }).nullish().catch(undefined),
      }),
    )
    .nullish()
    .transform((models) => models ?? []),
});

const text = z.string().nullish();

const delta = z
  .object({
    content: text,
    // vLLM, llama.cpp and LiteLLM; the next is Ollama's and OpenRouter's.
    reasoning_content: text,
    reasoning: text,
    tool_calls: z
      .array(
        z.object({
          index: z.number().optional().catch(undefined),
          id: text,
          function: z.object({ name: text, arguments: z.unknown().optional() }).nullish(),
        }),
      )
      .nullish(),
  })
  .nullish();

/** One event of a streamed completion; `message` is that of one in one piece. */
export const chunkSchema = z.object({
  model: text,
  choices: z.array(z.object({ delta, message: delta, finish_reason: text })).nullish(),
  usage: z
    .object({ prompt_tokens: count.default(0), completion_tokens: count.default(0) })
    .nullish()
    .catch(undefined),
  // llama.cpp's. Milliseconds.
  timings: z
    .object({ prompt_ms: count.default(0), predicted_ms: count.default(0) })
    .nullish()
    .catch(undefined),
});

export type Chunk = z.infer<typeof chunkSchema>;
export type Fragment = NonNullable<
  NonNullable<NonNullable<Chunk['choices']>[number]['delta']>['tool_calls']
>[number];
export type TagsModel = z.infer<typeof tagsSchema>['models'][number];
export type PsModel = z.infer<typeof psSchema>['models'][number];
export type ShowAnswer = z.infer<typeof showSchema>;
