/**
 * The engine behind the simulator by default: every answer is computed from the prompt, the same
 * each time, so that a test can check what it says.
 */
import { draft, asksForCode } from './draft';
import type { Engine, EnginePiece, EngineRequest, EngineResult, ModelSpec } from './engine';
import { fromSchema } from './fromSchema';
import { defaultModels } from './models';
import { contentWords, readPrompt, type Prompt } from './prompt';
import { summarize } from './summarize';
import { countTokens, tokenize } from './tokens';
import { vectorOf } from './vectors';

/** What a chat template adds to each message. */
const TEMPLATE_TOKENS = 4;
/** What gemma3 makes of an image. */
const IMAGE_TOKENS = 256;

export class ComputedEngine implements Engine {
  readonly models: readonly ModelSpec[] = defaultModels;

  async load(): Promise<void> {}

  async unload(): Promise<void> {}

  async dispose(): Promise<void> {}

  async countPrompt({
    messages,
    raw,
    tools,
  }: Pick<EngineRequest, 'model' | 'messages' | 'raw' | 'tools'>): Promise<number> {
    if (raw !== undefined) return countTokens(raw) + 1;
    return messages.reduce(
      (sum, { content, images = [], tool_calls }) =>
        sum +
        countTokens(content) +
        (tool_calls ? countTokens(JSON.stringify(tool_calls)) : 0) +
        IMAGE_TOKENS * images.length +
        TEMPLATE_TOKENS,
      tools ? 1 + countTokens(JSON.stringify(tools)) : 1,
    );
  }

  async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    const promptTokens = await this.countPrompt(request);
    const limit = request.numPredict ?? Infinity;
    let outputTokens = 0;
    for (const piece of answerPieces(request)) {
      if (outputTokens >= limit) return { promptTokens, outputTokens, doneReason: 'length' };
      request.signal.throwIfAborted();
      await onPiece(piece);
      outputTokens +=
        piece.kind === 'tool_call' ? countTokens(piece.name + JSON.stringify(piece.arguments)) : 1;
    }
    const doneReason = outputTokens >= limit ? 'length' : 'stop';
    return { promptTokens, outputTokens, doneReason };
  }

  async embed(
    model: ModelSpec,
    inputs: string[],
    signal: AbortSignal,
  ): Promise<{ vectors: number[][]; tokens: number }> {
    signal.throwIfAborted();
    return {
      vectors: inputs.map((input) => vectorOf(input, model.embeddingLength)),
      tokens: inputs.reduce((sum, input) => sum + countTokens(input) + 1, 0),
    };
  }
}

function* answerPieces(request: EngineRequest): Generator<EnginePiece> {
  const prompt = readPrompt(request);
  if (request.think) {
    for (const text of tokenize(thoughts(prompt))) yield { kind: 'thinking', text };
  }
  const call = toolCall(request, prompt);
  if (call) {
    yield call;
    return;
  }
  for (const text of tokenize(cutAtStop(answer(request, prompt), request.stop))) {
    yield { kind: 'text', text };
  }
}

function answer(request: EngineRequest, prompt: Prompt): string {
  const { format } = request;
  if (format === 'json') return JSON.stringify({ answer: summarize(prompt) });
  if (format) return JSON.stringify(fromSchema(format, prompt));
  if (asksForCode(prompt)) return draft(prompt);
  return summarize(prompt);
}

function thoughts(prompt: Prompt): string {
  const topics = [...new Set(contentWords(prompt.source))].slice(0, 6).join(', ');
  return `The text is about ${topics || 'nothing in particular'}. I should answer what is asked.`;
}

/**
 * The tool whose name or description the last message refers to. A result that has come back
 * already is answered in words.
 */
function toolCall(request: EngineRequest, prompt: Prompt): EnginePiece | undefined {
  const last = request.messages.at(-1);
  if (!request.tools?.length || !last || last.role === 'tool') return undefined;
  const asked = new Set(contentWords(last.content));
  const fits = ({ function: fn }: (typeof request.tools)[number]) => {
    const byName = contentWords(fn.name).filter((word) => asked.has(word)).length;
    const byDescription = contentWords(fn.description ?? '').filter((word) =>
      asked.has(word),
    ).length;
    return last.content.includes(fn.name) ? Infinity : byName * 2 + byDescription;
  };
  const [best] = [...request.tools].sort((a, b) => fits(b) - fits(a));
  const named = onlyTool(request);
  const chosen = named ?? (best && fits(best) >= 2 ? best : undefined);
  if (!chosen) return undefined;
  // The schema of the format may already say what the call looks like.
  const parameters = named ? argumentsOf(request.format) : chosen.function.parameters;
  const value = fromSchema((parameters ?? {}) as Record<string, unknown>, prompt);
  const args = typeof value === 'object' && value !== null ? value : {};
  return {
    kind: 'tool_call',
    name: chosen.function.name,
    arguments: args as Record<string, unknown>,
  };
}

/** A format that describes a call of a known tool forces that call. */
function onlyTool(request: EngineRequest): NonNullable<EngineRequest['tools']>[number] | undefined {
  const name = propertiesOf(request.format)?.name;
  const allowed = (name?.enum ?? []) as unknown[];
  return request.tools?.find((tool) => allowed.includes(tool.function.name));
}

function argumentsOf(format: EngineRequest['format']): unknown {
  return propertiesOf(format)?.arguments;
}

function propertiesOf(
  format: EngineRequest['format'],
): Record<string, Record<string, unknown>> | undefined {
  if (typeof format !== 'object') return undefined;
  return format.properties as Record<string, Record<string, unknown>> | undefined;
}

function cutAtStop(text: string, stop: string[] = []): string {
  const ends = stop.map((end) => text.indexOf(end)).filter((at) => at >= 0);
  return ends.length > 0 ? text.slice(0, Math.min(...ends)) : text;
}
