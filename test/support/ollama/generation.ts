/** From a checked job to tokens: context limits, the engine, pacing and the figures at the end. */
import { pause } from './clock';
import type { Call, RunSettings } from './daemon';
import type { EngineMessage, EnginePiece, EngineRequest, EngineResult } from './engine';
import { errors } from './errors';
import type { InstalledModel } from './models';
import type { Lease } from './scheduler';
import { hash } from './tokens';
import { checkFormat, type Json } from './validate';

export interface Job {
  model: InstalledModel;
  run: RunSettings;
  messages: EngineMessage[];
  /** /api/generate with `raw`. */
  raw?: string;
  /** Both differ in what happens to a prompt that does not fit. */
  kind: 'chat' | 'generate';
  format?: unknown;
  tools?: EngineRequest['tools'];
  think?: boolean | string;
  truncate: boolean;
  logprobs: boolean;
  topLogprobs: number;
}

export interface ToolCall {
  id: string;
  function: { index: number; name: string; arguments: Json };
}

export interface Logprob {
  token: string;
  logprob: number;
  bytes: number[];
  top_logprobs?: Omit<Logprob, 'top_logprobs'>[];
}

/** What one line carries, or the whole answer when nothing is streamed. */
export interface Content {
  text: string;
  thinking: string;
  toolCalls: ToolCall[];
  logprobs: Logprob[];
}

export interface Outcome extends Content {
  doneReason: 'stop' | 'length';
  /** The repeat guard ended the answer: no `done`, no figures. */
  undone: boolean;
  promptText: string;
  figures: Figures;
}

/** Nanoseconds and counts, in the order of the wire. */
export interface Figures {
  total_duration: number;
  load_duration: number;
  prompt_eval_count: number;
  prompt_eval_duration: number;
  eval_count: number;
  eval_duration: number;
}

export const noContent = (): Content => ({ text: '', thinking: '', toolCalls: [], logprobs: [] });

/** More equal tokens in a row than this, and Ollama stops without a last line. */
const REPEAT_LIMIT = 30;

class RepeatGuard extends Error {}

/** Counts equal tokens; only answers that Ollama itself renders are guarded. */
class RepeatCounter {
  private last = '';
  private repeats = 0;

  constructor(private readonly guarded: boolean) {}

  check(token: string): void {
    const trimmed = token.trim();
    this.repeats = trimmed === this.last ? this.repeats + 1 : 0;
    this.last = trimmed;
    if (this.guarded && this.repeats > REPEAT_LIMIT) throw new RepeatGuard();
  }
}

export async function generate(
  call: Call,
  job: Job,
  lease: Lease,
  onContent: (content: Content) => Promise<void>,
): Promise<Outcome> {
  const { clock, engine, settings, stats } = call.daemon;
  const started = clock.now() - lease.loadMs;
  const format = checkFormat(job.format);
  const fitted = await fitPrompt(call, job);
  const promptStart = clock.now();
  if (settings.promptTokensPerSecond > 0) {
    await pause(clock, (fitted.tokens / settings.promptTokensPerSecond) * 1000, call.signal);
  }

  const all = noContent();
  const repeats = new RepeatCounter(job.kind === 'generate' || job.model.rendering === 'template');
  let firstPiece: number | undefined;
  let pieces = 0;
  const onPiece = async (piece: EnginePiece) => {
    firstPiece ??= clock.now();
    if (settings.tokenMs > 0) await pause(clock, settings.tokenMs, call.signal);
    else call.signal.throwIfAborted();
    pieces++;
    stats.generatedTokens++;
    call.daemon.changed();
    if (piece.kind === 'text') repeats.check(piece.text);
    const content = contentOf(piece, job, all.toolCalls.length);
    append(all, content);
    await onContent(content);
  };

  let undone = call.reply.undone;
  let result: EngineResult = {
    promptTokens: fitted.tokens,
    outputTokens: 0,
    doneReason: 'stop',
  };
  try {
    result = await engine.generate(engineRequest(call, job, fitted, format), onPiece);
  } catch (error) {
    if (!(error instanceof RepeatGuard)) throw error;
    undone = true;
  }
  const finished = clock.now();
  return {
    ...all,
    undone,
    doneReason: result.doneReason,
    promptText: fitted.raw ?? fitted.messages.map((message) => message.content).join('\n'),
    figures: {
      total_duration: durationNs(finished - started),
      load_duration: durationNs(lease.loadMs),
      prompt_eval_count: result.promptTokens,
      prompt_eval_duration: durationNs((firstPiece ?? finished) - promptStart),
      eval_count: result.outputTokens || pieces,
      eval_duration: durationNs(finished - (firstPiece ?? finished)),
    },
  };
}

function engineRequest(
  call: Call,
  job: Job,
  fitted: FittedPrompt,
  format: EngineRequest['format'],
): EngineRequest {
  const { options, numCtx } = job.run;
  return {
    model: job.model,
    messages: fitted.messages,
    raw: fitted.raw,
    format,
    tools: job.tools,
    think: job.think,
    numCtx,
    numPredict: tokensAllowed(job, fitted.tokens),
    temperature: options.temperature,
    topP: options.topP,
    topK: options.topK,
    repeatPenalty: options.repeatPenalty,
    seed: options.seed,
    stop: options.stop,
    signal: call.signal,
  };
}

/** An unlimited answer is bounded by ten windows; without context shift, by what is left of one. */
function tokensAllowed(job: Job, promptTokens: number): number {
  const { options, numCtx, shift } = job.run;
  const asked = options.numPredict ?? -1;
  const bound = asked > 0 ? asked : 10 * numCtx;
  return shift ? bound : Math.max(1, Math.min(bound, runnerWindow(numCtx) - promptTokens));
}

/** llama-server rounds its window up to the next multiple of this. */
const WINDOW_STEP = 256;

export function runnerWindow(numCtx: number): number {
  return Math.ceil(numCtx / WINDOW_STEP) * WINDOW_STEP;
}

interface FittedPrompt {
  messages: EngineMessage[];
  raw?: string;
  tokens: number;
}

/** Makes the prompt fit the window the way Ollama does, or refuses the way it does. */
async function fitPrompt(call: Call, job: Job): Promise<FittedPrompt> {
  const { engine } = call.daemon;
  const { numCtx, shift } = job.run;
  const window = runnerWindow(numCtx);
  let messages = job.messages;
  const count = (text?: string) =>
    engine.countPrompt({
      model: job.model,
      messages: text === undefined || job.raw !== undefined ? messages : withLast(messages, text),
      raw: job.raw === undefined ? undefined : (text ?? job.raw),
      tools: job.tools,
    });

  let tokens = await count();
  if (job.kind === 'chat' && job.truncate) {
    while (tokens > numCtx && messages.length > 1) {
      const shorter = withoutOldest(messages);
      if (shorter.length === messages.length) break;
      messages = shorter;
      tokens = await count();
    }
  }
  if (tokens < window) return { messages, raw: job.raw, tokens };
  const renderedByOllama = job.kind === 'generate' || job.model.rendering === 'template';
  if (!renderedByOllama || !job.truncate) throw errors.contextExceeded(tokens, window);
  if (!shift) throw errors.promptTooLong();

  const { numKeep } = job.run.options;
  const target = numKeep + 1 + Math.floor((numCtx - numKeep) / 2);
  const whole = job.raw ?? messages.at(-1)?.content ?? '';
  const kept = await longestFit(whole.length, async (length) => {
    return (await count(whole.slice(whole.length - length))) <= target;
  });
  const text = whole.slice(whole.length - kept);
  if (job.raw === undefined) messages = withLast(messages, text);
  return {
    messages,
    raw: job.raw === undefined ? undefined : text,
    tokens: await count(text),
  };
}

/** System messages and the last one stay; the oldest of the others goes. */
function withoutOldest(messages: EngineMessage[]): EngineMessage[] {
  const oldest = messages.findIndex(
    (message, index) => message.role !== 'system' && index < messages.length - 1,
  );
  return oldest < 0 ? messages : messages.filter((_, index) => index !== oldest);
}

function withLast(messages: EngineMessage[], content: string): EngineMessage[] {
  const last = messages.at(-1);
  return last ? [...messages.slice(0, -1), { ...last, content }] : messages;
}

/** The largest length up to `most` for which `fits` holds, given that shorter ones fit too. */
export async function longestFit(
  most: number,
  fits: (length: number) => Promise<boolean>,
): Promise<number> {
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (await fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

function contentOf(piece: EnginePiece, job: Job, callsSoFar: number): Content {
  const content = noContent();
  if (piece.kind === 'tool_call') {
    content.toolCalls.push({
      id: `call_${toolCallId(`${piece.name} ${callsSoFar} ${JSON.stringify(piece.arguments)}`)}`,
      function: { index: callsSoFar, name: piece.name, arguments: piece.arguments },
    });
    return content;
  }
  if (piece.kind === 'thinking') content.thinking = piece.text;
  else content.text = piece.text;
  if (job.logprobs) content.logprobs.push(logprobOf(piece.text, job.topLogprobs));
  return content;
}

function append(all: Content, part: Content): void {
  all.text += part.text;
  all.thinking += part.thinking;
  all.toolCalls.push(...part.toolCalls);
  all.logprobs.push(...part.logprobs);
}

function toolCallId(seed: string): string {
  return (hash(seed).toString(36) + hash(`${seed}!`).toString(36)).slice(0, 8).padEnd(8, '0');
}

function logprobOf(token: string, alternatives: number): Logprob {
  const own = { token, logprob: -(hash(token) % 1000) / 10_000, bytes: [...Buffer.from(token)] };
  if (alternatives === 0) return own;
  const others = [' the', ' a', ' and', ' of', ' to'].filter((other) => other !== token);
  const top = [own];
  for (let rank = 1; rank < alternatives; rank++) {
    const other = others[(rank - 1) % others.length] ?? ' ';
    top.push({ token: other, logprob: own.logprob - rank, bytes: [...Buffer.from(other)] });
  }
  return { ...own, top_logprobs: top };
}

/** A manual clock stands still while work is done; no real duration is ever zero. */
export function durationNs(ms: number): number {
  return Math.max(1_000, Math.round(ms * 1e6));
}
