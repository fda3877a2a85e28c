/** POST /api/chat and /api/generate. */
import {
  acquire,
  findModel,
  requireCapability,
  runSettings,
  type Call,
  type RunSettings,
} from './daemon';
import type { EngineMessage, EngineRequest } from './engine';
import { ApiError, errors } from './errors';
import { generate, noContent, type Content, type Job, type Outcome } from './generation';
import type { InstalledModel } from './models';
import type { Lease } from './scheduler';
import { tokenIds } from './tokens';
import { checkImages, checkThink, decode, keepAlive, textOf, type Json } from './validate';
import { AnswerCut, omitEmpty, timestamp } from './wire';

/** How an answer's parts are named on the wire. */
interface Shape {
  content(content: Content): Json;
  /** Fields of the last line beyond the figures. */
  last(outcome: Outcome): Json;
}

const chatShape: Shape = {
  content: ({ text, thinking, toolCalls }) => ({
    message: {
      role: 'assistant',
      content: text,
      ...omitEmpty({ thinking, tool_calls: toolCalls }),
    },
  }),
  last: () => ({}),
};

const generateShape = (raw: boolean): Shape => ({
  content: ({ text, thinking, toolCalls }) => ({
    response: text,
    ...omitEmpty({ thinking, tool_calls: toolCalls }),
  }),
  last: (outcome) => (raw ? {} : { context: tokenIds(outcome.promptText + outcome.text) }),
});

export async function chat(call: Call): Promise<void> {
  const body = decode(call.request.bodyText, 'ChatRequest');
  const messages = ((body.messages ?? []) as EngineMessage[]).map((message) => ({
    ...message,
    role: String(message.role ?? '').toLowerCase() as EngineMessage['role'],
    content: message.content ?? '',
  }));
  for (const message of messages) checkImages(message.images);
  checkCommon(body);
  if (!body.model) throw errors.modelRequired();
  const asked = textOf(body.model);
  if (await call.daemon.cloud.forward(call, asked, body)) return;
  const model = findModel(call.daemon, asked);
  if (messages.length === 0) return loadOnly(call, asked, model, body, chatShape);
  requireCompletion(model, asked, 'chat');
  if (body._debug_render_only) return renderOnly(call, asked, messages);

  const tools = body.tools as EngineRequest['tools'] | undefined;
  if (tools?.length) requireCapability(model, 'tools');
  const job = newJob(call, model, body, asked, { kind: 'chat', messages, tools });
  await answer(call, asked, job, body.stream !== false, chatShape);
}

export async function generateText(call: Call): Promise<void> {
  const body = decode(call.request.bodyText, 'GenerateRequest');
  checkImages(body.images);
  checkCommon(body);
  const asked = textOf(body.model);
  if (asked && (await call.daemon.cloud.forward(call, asked, body))) return;
  const model = findModel(call.daemon, asked);
  const { prompt, system, suffix, template, context, images } = body as Partial<{
    prompt: string;
    system: string;
    suffix: string;
    template: string;
    context: number[];
    images: string[];
  }>;
  const raw = body.raw === true;
  if (raw && (template || system || context?.length)) throw errors.rawWithTemplate();
  if (!prompt) return loadOnly(call, asked, model, body, generateShape(raw));
  requireCompletion(model, asked, 'generate');
  if (suffix) requireCapability(model, 'insert');

  const messages: EngineMessage[] = [{ role: 'user', content: prompt, images }];
  const systemText = system ?? model.system;
  if (systemText) messages.unshift({ role: 'system', content: systemText });
  const job = newJob(call, model, body, asked, {
    kind: 'generate',
    messages,
    raw: raw ? prompt : undefined,
  });
  await answer(call, asked, job, body.stream !== false, generateShape(raw));
}

/** Checks that need no model. In Go most of them happen while the body is decoded. */
function checkCommon(body: Json): void {
  checkThink(body.think);
  keepAlive(body.keep_alive);
  const top = body.top_logprobs as number | undefined;
  if (top !== undefined && (top < 0 || top > 20)) throw errors.topLogprobs();
}

export function requireCompletion(
  model: InstalledModel,
  asked: string,
  wanted: 'chat' | 'generate',
): void {
  if (!model.capabilities.includes('completion')) throw errors.embeddingOnly(asked, wanted);
}

export function newJob(
  call: Call,
  model: InstalledModel,
  body: Json,
  asked: string,
  rest: Pick<Job, 'kind' | 'messages' | 'raw' | 'tools'>,
): Job {
  const thinks = model.capabilities.includes('thinking');
  const think = body.think as boolean | string | undefined;
  if (think && !thinks) throw errors.noThinking(asked);
  return {
    ...rest,
    model,
    run: runSettings(call.daemon, model, body),
    format: body.format,
    // Unset on a model that can think means on.
    think: thinks ? (think ?? true) : undefined,
    truncate: body.truncate !== false,
    logprobs: body.logprobs === true,
    topLogprobs: (body.top_logprobs as number | undefined) ?? 0,
  };
}

/** A request without a prompt loads the model, or with `keep_alive: 0` unloads it. */
async function loadOnly(
  call: Call,
  asked: string,
  model: InstalledModel,
  body: Json,
  shape: Shape,
): Promise<void> {
  const run: RunSettings = runSettings(call.daemon, model, body);
  const unload = run.keepAliveMs === 0;
  if (unload) call.daemon.scheduler.expire(model);
  else (await acquire(call, model, run)).release();
  await call.reply.json(200, {
    model: asked,
    created_at: timestamp(call.daemon.clock.now()),
    ...shape.content(noContent()),
    done: true,
    done_reason: unload ? 'unload' : 'load',
  });
}

async function renderOnly(call: Call, asked: string, messages: EngineMessage[]): Promise<void> {
  await call.reply.json(200, {
    model: asked,
    created_at: timestamp(call.daemon.clock.now()),
    message: { role: '', content: '' },
    done: false,
    _debug_info: {
      rendered_template: messages.map((message) => `${message.content}\n`).join(''),
    },
  });
}

async function answer(
  call: Call,
  asked: string,
  job: Job,
  streamed: boolean,
  shape: Shape,
): Promise<void> {
  await withRunner(call, job, async (lease) => {
    const line = (content: Content, rest: Json) => ({
      model: asked,
      created_at: timestamp(call.daemon.clock.now()),
      ...shape.content(content),
      ...rest,
      ...omitEmpty({ logprobs: content.logprobs }),
    });
    const ending = (outcome: Outcome) => ({
      done: true,
      done_reason: outcome.doneReason,
      ...shape.last(outcome),
      ...omitEmpty(outcome.figures),
    });
    if (streamed) await stream(call, job, lease, line, ending);
    else await inOnePiece(call, job, lease, line, ending);
  });
}

type Line = (content: Content, rest: Json) => Json;
type Ending = (outcome: Outcome) => Json;

async function stream(
  call: Call,
  job: Job,
  lease: Lease,
  line: Line,
  ending: Ending,
): Promise<void> {
  try {
    refuseImages(job);
    const outcome = await generate(call, job, lease, (content) =>
      call.reply.line(line(content, { done: false })),
    );
    const last = line(noContent(), ending(outcome));
    if (outcome.undone) call.reply.end();
    else await call.reply.lastLine(last);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    await call.reply.failStream(error);
  }
}

async function inOnePiece(
  call: Call,
  job: Job,
  lease: Lease,
  line: Line,
  ending: Ending,
): Promise<void> {
  refuseImages(job);
  const outcome = await generate(call, job, lease, async () => undefined);
  await call.reply.json(200, line(outcome, outcome.undone ? { done: false } : ending(outcome)));
}

/** Only the runner notices that it cannot see. */
export function refuseImages(job: Job): void {
  const blind = !job.model.capabilities.includes('vision');
  if (blind && job.messages.some((message) => message.images?.length)) throw errors.noImages();
}

/** Holds the runner while the answer is made, and lets it go whatever happens. */
export async function withRunner<T>(
  call: Call,
  job: Job,
  use: (lease: Lease) => Promise<T>,
): Promise<T> {
  const lease = await acquire(call, job.model, job.run);
  call.daemon.stats.active++;
  call.daemon.changed();
  try {
    return await use(lease);
  } catch (error) {
    if (error instanceof AnswerCut && error.runnerDied) call.daemon.scheduler.kill(lease.runner);
    throw error;
  } finally {
    call.daemon.stats.active--;
    lease.release();
  }
}
