/** The /v1 surface (OpenAI's and Anthropic's shapes) over the same runners. */
import { newJob, refuseImages, requireCompletion, withRunner } from './chat';
import { findModel, requireCapability, type Call } from './daemon';
import { computeVectors, inputsOf } from './embedding';
import type { EngineMessage, EngineRequest } from './engine';
import { type ApiError, errors } from './errors';
import { generate, type Content, type Job, type Outcome } from './generation';
import { hash } from './tokens';
import { parse, textOf, type Json } from './validate';
import { goJson } from './wire';

const JSON_TYPE = 'application/json';

interface Compat {
  asked: string;
  body: Json;
}

function errorType(status: number): string {
  if (status === 404) return 'not_found_error';
  return status < 500 ? 'invalid_request_error' : 'api_error';
}

/** OpenAI's error object. */
export async function refuseOpenAi(call: Call, error: ApiError): Promise<void> {
  const { message, status } = error;
  const body = { error: { message, type: errorType(status), param: null, code: null } };
  await call.reply.send(status, `${goJson(body)}\n`, { 'Content-Type': JSON_TYPE });
}

/** Anthropic's. */
export async function refuseAnthropic(call: Call, error: ApiError): Promise<void> {
  const body = {
    type: 'error',
    error: { type: errorType(error.status), message: error.message },
    request_id: `req_${id(call, 24)}`,
  };
  await call.reply.send(error.status, `${goJson(body)}\n`, { 'Content-Type': JSON_TYPE });
}

async function send(call: Call, value: Json): Promise<void> {
  await call.reply.send(200, `${goJson(value)}\n`, { 'Content-Type': JSON_TYPE });
}

function id(call: Call, length: number): string {
  const seed = `${call.request.id} ${call.request.path}`;
  return Array.from({ length: 4 }, (_, part) =>
    hash(`${seed} ${part}`).toString(16).padStart(8, '0'),
  )
    .join('')
    .slice(0, length);
}

const seconds = (call: Call) => Math.floor(call.daemon.clock.now() / 1000);

/** Undefined when the cloud has answered already. */
async function open(call: Call): Promise<Compat | undefined> {
  const body = parse(call.request.bodyText) as Json;
  const asked = textOf(body.model);
  if (await call.daemon.cloud.forward(call, asked, body)) return undefined;
  return { asked, body };
}

function jobOf(
  call: Call,
  { asked, body }: Compat,
  messages: EngineMessage[],
  options: Json,
  format?: unknown,
): Job {
  const model = findModel(call.daemon, asked);
  requireCompletion(model, asked, 'chat');
  const tools = body.tools as EngineRequest['tools'] | undefined;
  if (tools?.length) requireCapability(model, 'tools');
  return newJob(call, model, { options, format }, asked, { kind: 'chat', messages, tools });
}

async function whole(call: Call, job: Job): Promise<Outcome> {
  return withRunner(call, job, (lease) => {
    refuseImages(job);
    return generate(call, job, lease, async () => undefined);
  });
}

/** OpenAI's message: content in parts, and arguments as text. */
interface OpenAiMessage extends Omit<EngineMessage, 'content' | 'tool_calls'> {
  content: string | { type: string; text?: string; image_url?: { url: string } }[];
  tool_calls?: { id?: string; function: { name: string; arguments: string } }[];
}

function engineMessage({ content, tool_calls, ...rest }: OpenAiMessage): EngineMessage {
  const parts = typeof content === 'string' ? [{ type: 'text', text: content }] : content;
  const images = parts.flatMap((part) =>
    'image_url' in part && part.image_url ? part.image_url.url.replace(/^data:[^,]*,/, '') : [],
  );
  return {
    ...rest,
    content: parts.map(({ text = '' }) => text).join('\n'),
    ...(images.length > 0 && { images }),
    tool_calls: tool_calls?.map(({ id, function: { name, arguments: args } }) => ({
      id,
      function: { name, arguments: JSON.parse(args) as Json },
    })),
  };
}

export async function chatCompletions(call: Call): Promise<void> {
  const compat = await open(call);
  if (!compat) return;
  const { body } = compat;
  const job = jobOf(
    call,
    compat,
    (body.messages as OpenAiMessage[]).map(engineMessage),
    omitUndefined({
      num_predict: body.max_tokens ?? body.max_completion_tokens,
      seed: body.seed,
      temperature: body.temperature,
      stop: typeof body.stop === 'string' ? [body.stop] : body.stop,
    }),
    responseFormat(body.response_format),
  );
  if (body.stream === true) return streamCompletion(call, compat, job);
  const outcome = await whole(call, job);
  const calls = toolCalls(outcome);
  await send(call, {
    ...completionHead(call, compat, 'chat.completion'),
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: outcome.text,
          ...(outcome.thinking && { reasoning: outcome.thinking }),
          ...(calls.length > 0 && { tool_calls: calls }),
        },
        finish_reason: finishReason(outcome),
      },
    ],
    usage: openAiUsage(outcome),
  });
}

async function streamCompletion(call: Call, compat: Compat, job: Job): Promise<void> {
  const head = completionHead(call, compat, 'chat.completion.chunk');
  const chunk = (rest: Json) => call.reply.event(goJson({ ...head, ...rest }));
  const choice = (delta: Json, reason: string | null) =>
    chunk({ choices: [{ index: 0, delta, finish_reason: reason }] });
  let first = true;
  const deltaOf = (content: Content): Json => {
    const calls = toolCalls(content);
    const delta = {
      ...(first && { role: 'assistant' }),
      content: content.text,
      ...(content.thinking && { reasoning: content.thinking }),
      ...(calls.length > 0 && { tool_calls: calls }),
    };
    first = false;
    return delta;
  };
  const options = (compat.body.stream_options ?? {}) as Json;
  await withRunner(call, job, async (lease) => {
    refuseImages(job);
    const outcome = await generate(call, job, lease, (content) => choice(deltaOf(content), null));
    await choice({}, finishReason(outcome));
    if (options.include_usage) await chunk({ choices: [], usage: openAiUsage(outcome) });
  });
  await call.reply.event('[DONE]');
  call.reply.end();
}

function completionHead(call: Call, { asked }: Compat, object: string): Json {
  return {
    id: `chatcmpl-${hash(`completion ${call.request.id}`) % 1000}`,
    object,
    created: seconds(call),
    model: asked,
    system_fingerprint: 'fp_ollama',
  };
}

function toolCalls(content: Content): Json[] {
  return content.toolCalls.map(({ id: callId, function: { index, name, arguments: args } }) => ({
    id: callId,
    index,
    type: 'function',
    function: { name, arguments: JSON.stringify(args) },
  }));
}

function finishReason(outcome: Outcome): string {
  return outcome.toolCalls.length > 0 ? 'tool_calls' : outcome.doneReason;
}

function responseFormat(format: unknown): unknown {
  const { type, json_schema } = (format ?? {}) as { type?: string; json_schema?: Json };
  if (type === 'json_object') return 'json';
  return type === 'json_schema' ? json_schema?.schema : undefined;
}

function openAiUsage({ figures }: Outcome): Json {
  const { prompt_eval_count, eval_count } = figures;
  return {
    prompt_tokens: prompt_eval_count,
    completion_tokens: eval_count,
    total_tokens: prompt_eval_count + eval_count,
  };
}

export async function compatEmbeddings(call: Call): Promise<void> {
  const compat = await open(call);
  if (!compat) return;
  const { asked, body } = compat;
  const inputs = inputsOf(body.input);
  const model = findModel(call.daemon, asked, errors.modelNotFoundForEmbed);
  const { vectors, tokens } = await computeVectors(call, model, body, inputs);
  const dimensions = (body.dimensions as number | undefined) ?? model.embeddingLength;
  await send(call, {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      embedding: vector.slice(0, dimensions),
      index,
    })),
    model: asked,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

export async function compatModels(call: Call): Promise<void> {
  await send(call, {
    object: 'list',
    data: [...call.daemon.models].map((model) => ({
      id: model.name,
      object: 'model',
      created: Math.floor(model.modifiedAt / 1000),
      owned_by: 'library',
    })),
  });
}

/** Anthropic's route. */
export async function messages(call: Call): Promise<void> {
  const compat = await open(call);
  if (!compat) return;
  const { body, asked } = compat;
  const job = jobOf(
    call,
    compat,
    body.messages as EngineMessage[],
    omitUndefined({ num_predict: body.max_tokens }),
  );
  const outcome = await whole(call, job);
  await send(call, {
    id: `msg_${id(call, 24)}`,
    type: 'message',
    role: 'assistant',
    model: asked,
    content: [{ type: 'text', text: outcome.text }],
    stop_reason: outcome.doneReason === 'length' ? 'max_tokens' : 'end_turn',
    usage: {
      input_tokens: outcome.figures.prompt_eval_count,
      output_tokens: outcome.figures.eval_count,
    },
  });
}

export async function responses(call: Call): Promise<void> {
  const compat = await open(call);
  if (!compat) return;
  const { body, asked } = compat;
  const prompt: EngineMessage[] = [{ role: 'user', content: textOf(body.input) }];
  const limits = omitUndefined({ num_predict: body.max_output_tokens });
  const { text, figures } = await whole(call, jobOf(call, compat, prompt, limits));
  const { prompt_eval_count: input, eval_count: output } = figures;
  await send(call, {
    id: `resp_${id(call, 6)}`,
    object: 'response',
    created_at: seconds(call),
    completed_at: seconds(call),
    status: 'completed',
    incomplete_details: null,
    model: asked,
    previous_response_id: null,
    instructions: null,
    output: [
      {
        id: `msg_${id(call, 6)}`,
        type: 'message',
        status: 'completed',
        role: 'assistant',
        content: [{ type: 'output_text', text, annotations: [], logprobs: [] }],
      },
    ],
    error: null,
    tools: [],
    tool_choice: 'auto',
    truncation: 'disabled',
    parallel_tool_calls: true,
    text: { format: { type: 'text' } },
    top_p: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    top_logprobs: 0,
    temperature: 1,
    reasoning: null,
    usage: {
      input_tokens: input,
      output_tokens: output,
      total_tokens: input + output,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    },
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: null,
    store: false,
    background: false,
    service_tier: 'default',
    metadata: {},
    safety_identifier: null,
    prompt_cache_key: null,
  });
}

function omitUndefined(value: Json): Json {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
}
