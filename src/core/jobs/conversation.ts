import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { InternError, toInternError } from '../errors';
import type { ChatMessage, Tool } from '../ollama/client';
import type { GenerativeTier } from '../routing/tiers';
import { defineSteps, type JobInput, type Prompt } from './job';
import { blockText } from './markdown';
import { isObject, mapShape, type Shape } from './shape';

/** Most tokens of a turn, thoughts and calls of tools included, and how much of the window it may take. */
export const TURN_LIMITS: Pick<Prompt, 'numPredict' | 'answerShare'> = {
  numPredict: 8192,
  answerShare: 1 / 4,
};
const TEMPERATURE = 0.7;

const toolCallSchema = z.object({
  /** What the result names. */
  id: z.string(),
  name: z.string(),
  arguments: z.record(z.string(), z.unknown()),
});

const messageSchema = z.discriminatedUnion('role', [
  z.object({ role: z.literal('system'), content: z.string() }),
  z.object({
    role: z.literal('user'),
    content: z.string(),
    /** Base64 without a `data:` prefix. */
    images: z.array(z.string()).default([]),
  }),
  z.object({
    role: z.literal('assistant'),
    content: z.string(),
    thinking: z.string().default(''),
    tool_calls: z.array(toolCallSchema).default([]),
  }),
  /** What a tool returned. */
  z.object({
    role: z.literal('tool'),
    tool_call_id: z.string(),
    content: z.string(),
    images: z.array(z.string()).default([]),
  }),
]);

const requestSchema = z.object({
  /** The whole conversation, the oldest message first. Nothing of it is ever left out. */
  messages: z
    .array(messageSchema)
    .refine((messages) => messages.some(({ role }) => role !== 'system'), 'There is no question.'),
  tools: z
    .array(
      z.object({
        name: z.string().min(1),
        description: z.string().default(''),
        /** The JSON schema of an object. */
        parameters: z.record(z.string(), z.unknown()).default({}),
      }),
    )
    .default([]),
  /** `required`: the answer has to call a tool. */
  tool_mode: z.enum(['auto', 'required']).default('auto'),
  /** Whether a model that can think does so first. */
  think: z.boolean().default(false),
  temperature: z.number().min(0).max(2).default(TEMPERATURE),
});

type Message = z.output<typeof messageSchema>;
type ToolCall = z.output<typeof toolCallSchema>;

/** An answer in somebody else's conversation: text, or tools to call first, or both. */
export interface Turn {
  text: string;
  thinking: string;
  tool_calls: ToolCall[];
}

export type TurnRequest = JobInput<ReturnType<typeof conversation>>;
export type TurnMessage = TurnRequest['messages'][number];

/**
 * One turn of a conversation that its client keeps: what it sends is what the model reads. No surface makes a menu of
 * it, so it is in no registry; the log knows it as `chat`.
 */
export function conversation(tier: GenerativeTier) {
  return defineSteps({
    name: 'chat',
    title: 'Chat',
    description: 'One turn of a conversation that is kept elsewhere.',
    version: 1,
    tier,
    input: requestSchema,
    async run(request, steps) {
      const { temperature, think, tool_mode } = request;
      const tools = request.tools.map(wireTool);
      const isRequired = tool_mode === 'required' && tools.length > 0;
      const messages = wireMessages(request.messages);
      const prompt = {
        messages: isRequired ? withRule(messages, REQUIRED) : messages,
        ...(tools.length > 0 && { tools }),
        ...(isRequired && { toolChoice: 'required' as const }),
        ...TURN_LIMITS,
      };
      const reply = await steps
        .ask({ ...prompt, think, temperature, streamed: true })
        .catch((thrown: unknown) => {
          throw toldApart(toInternError(thrown), request);
        });
      if (isRequired && reply.tool_calls.length === 0) throw noCallError();
      const tool_calls = reply.tool_calls.map(({ id, function: called }) => ({
        ...called,
        // Whoever returns a result has to name the call, and not every server names it.
        id: id || `call_${randomUUID()}`,
      }));
      return { result: { text: reply.text, thinking: reply.thinking, tool_calls } };
    },
    show: (turn: Turn) => blockText(turn.text),
  });
}

/** What these messages are to a model, for counting. */
export function turnPrompt(messages: TurnMessage[]): { messages: ChatMessage[] } {
  return { messages: wireMessages(messages.map((message) => messageSchema.parse(message))) };
}

/** Ollama has no other word for it. */
const REQUIRED = 'Answer by calling one of the tools, and write nothing else.';

function withRule([first, ...rest]: ChatMessage[], rule: string): ChatMessage[] {
  if (first?.role !== 'system') {
    return [{ role: 'system', content: rule }, ...(first ? [first] : []), ...rest];
  }
  return [{ ...first, content: `${first.content}\n\n${rule}` }, ...rest];
}

function wireTool({
  name,
  description,
  parameters,
}: z.output<typeof requestSchema>['tools'][0]): Tool {
  // Without a type and properties, Ollama makes of a schema what templates cannot read.
  const schema = { properties: {}, ...mapShape(parameters, withoutOddities), type: 'object' };
  return { type: 'function', function: { name, description, parameters: schema } };
}

/**
 * A schema without what Ollama cannot parse, for which it would refuse the whole request: `true` is a schema too, but
 * not to its parser. The tool itself still holds calls against the schema that it has.
 */
function withoutOddities({
  properties,
  anyOf,
  required,
  enum: choices,
  type,
  description,
  ...rest
}: Shape): Shape {
  const isText = (value: unknown): boolean => typeof value === 'string';
  const isTexts = Array.isArray(type) && type.every(isText);
  return {
    ...((isText(type) || isTexts) && { type }),
    ...(isText(description) && { description }),
    ...(isObject(properties) && { properties: schemasIn(properties) }),
    ...(Array.isArray(anyOf) && { anyOf: anyOf.filter(isObject) }),
    ...(Array.isArray(required) && { required: required.filter(isText) }),
    ...(Array.isArray(choices) && { enum: choices }),
    ...rest,
  };
}

function schemasIn(properties: Shape): Shape {
  const entries = Object.entries(properties);
  return Object.fromEntries(entries.map(([name, one]) => [name, isObject(one) ? one : {}]));
}

/**
 * The messages as servers take them: one message an assistant's turn, a result with the name of its tool, and the
 * images of results after them, from the user: OpenAI's servers take images from nobody else.
 */
function wireMessages(messages: readonly Message[]): ChatMessage[] {
  const names = new Map<string, string>();
  const wire: ChatMessage[] = [];
  let images: string[] = [];
  const handOverImages = (): void => {
    if (images.length > 0) wire.push({ role: 'user', content: FROM_TOOLS, images });
    images = [];
  };
  for (const message of messages) {
    if (message.role !== 'tool') handOverImages();
    switch (message.role) {
      case 'system':
        wire.push({ role: 'system', content: message.content });
        break;
      case 'user':
        wire.push({
          role: 'user',
          content: message.content,
          ...(message.images.length > 0 && { images: message.images }),
        });
        break;
      case 'assistant':
        for (const { id, name } of message.tool_calls) names.set(id, name);
        addAssistant(wire, message);
        break;
      case 'tool': {
        const { content, tool_call_id } = message;
        const tool_name = names.get(tool_call_id);
        wire.push({ role: 'tool', content, tool_call_id, ...(tool_name && { tool_name }) });
        images.push(...message.images);
      }
    }
  }
  handOverImages();
  return wire;
}

const FROM_TOOLS = 'These images are from the tools.';

/** Clients send one turn in parts; templates want it whole. */
function addAssistant(wire: ChatMessage[], message: Extract<Message, { role: 'assistant' }>): void {
  const last = wire.at(-1);
  const own: Partial<ChatMessage> = last?.role === 'assistant' ? last : {};
  const join = (...parts: (string | undefined)[]): string => parts.filter(Boolean).join('\n');
  const content = join(own.content, message.content);
  const thinking = join(own.thinking, message.thinking);
  const tool_calls = [
    ...(own.tool_calls ?? []),
    ...message.tool_calls.map(({ id, name, arguments: args }) => ({
      id,
      function: { name, arguments: args },
    })),
  ];
  // A turn that was cut before its first word says nothing.
  if (content === '' && tool_calls.length === 0) return;
  if (last?.role === 'assistant') wire.pop();
  wire.push({
    role: 'assistant',
    content,
    ...(thinking && { thinking }),
    ...(tool_calls.length > 0 && { tool_calls }),
  });
}

/** A conversation is never cut here: whoever keeps it knows better what can go. */
function toldApart(
  error: InternError,
  { messages, tools }: z.output<typeof requestSchema>,
): InternError {
  if (error.code !== 'context_overflow') return error;
  // As JSON, so that images and the arguments of calls count.
  const sizeOf = (value: object): number => JSON.stringify(value).length;
  const longest = messages.reduce((a, b) => (sizeOf(b) > sizeOf(a) ? b : a));
  const isMostOfIt = sizeOf(longest) > sizeOf(messages) / 2;
  const areToolsMost = sizeOf(tools) > sizeOf(messages);
  const what = areToolsMost
    ? 'Most of it is the tools that are offered: switch some off'
    : isMostOfIt && longest.role === 'tool'
      ? 'Most of it is what one tool returned: ask for less at once'
      : isMostOfIt && longest.role === 'user'
        ? 'Most of it is one message: attach less'
        : 'Begin a new conversation';
  // Chat has no buttons for what its models say, so the setting is named.
  return error.with({
    hint: `${what}, or give the tier a larger context window (ollamaIntern.options.contextWindow). Nothing was left out of it.`,
  });
}

function noCallError(): InternError {
  return new InternError({
    code: 'server',
    message: 'The model called no tool, although it had to.',
    hint: 'Try again, or choose another model for this tier.',
    retryable: true,
    actions: [{ kind: 'retry' }, { kind: 'choose_profile' }],
  });
}
