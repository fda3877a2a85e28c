import * as vscode from 'vscode';
import { InternError, type TurnMessage, type TurnRequest } from '../core';

/** The runtime has it before the API does: what a model thinks, apart from what it says. */
type ThinkingPart = new (value: string | string[]) => vscode.LanguageModelTextPart;
export const ThinkingPart = (vscode as { LanguageModelThinkingPart?: ThinkingPart })
  .LanguageModelThinkingPart;

/** Characters of a media type that are told. */
const MOST_TYPE = 60;

type Message = Pick<vscode.LanguageModelChatRequestMessage, 'role' | 'content'>;
type Options = Pick<
  vscode.ProvideLanguageModelChatResponseOptions,
  'modelOptions' | 'toolMode' | 'tools'
>;

/** A request of the editor in the core's words. Throws an InternError for what no model here can be given. */
export function turnRequest(
  messages: readonly Message[],
  { modelOptions = {}, toolMode, tools = [] }: Options,
): TurnRequest {
  const temperature: unknown = modelOptions.temperature;
  const think: unknown = modelOptions.think;
  return {
    messages: messages.flatMap(turnMessages),
    tools: tools.map(({ name, description, inputSchema = {} }) => ({
      name,
      description,
      parameters: { ...inputSchema },
    })),
    tool_mode: toolMode === vscode.LanguageModelChatToolMode.Required ? 'required' : 'auto',
    ...(typeof temperature === 'number' && { temperature }),
    ...(typeof think === 'boolean' && { think }),
  };
}

/** One message of the editor: the results of tools stand before what is said beside them, as servers want it. */
export function turnMessages({ role, content: parts }: Message): TurnMessage[] {
  const { content, images, thinking, tool_calls, results } = readParts(parts);
  switch (role) {
    case vscode.LanguageModelChatMessageRole.Assistant:
      return [{ role: 'assistant', content: content.join(''), thinking, tool_calls }];
    case vscode.LanguageModelChatMessageRole.User: {
      const said = { role: 'user' as const, content: content.join('\n'), images };
      return said.content === '' && images.length === 0 ? results : [...results, said];
    }
    // The API names two roles; the runtime has a third, for instructions.
    default:
      return [{ role: 'system', content: content.join('\n') }];
  }
}

interface Parts {
  content: string[];
  images: string[];
  thinking: string;
  tool_calls: { id: string; name: string; arguments: Record<string, unknown> }[];
  results: TurnMessage[];
}

/** What a tool returned stays in the conversation, so what cannot be read of it must not end that. */
function readParts(parts: readonly unknown[], ofTool = false): Parts {
  const read: Parts = { content: [], images: [], thinking: '', tool_calls: [], results: [] };
  for (const part of parts) {
    if (part instanceof vscode.LanguageModelToolCallPart) {
      read.tool_calls.push({ id: part.callId, name: part.name, arguments: { ...part.input } });
    } else if (part instanceof vscode.LanguageModelToolResultPart) {
      const { content, images } = readParts(part.content, true);
      const { callId: tool_call_id } = part;
      read.results.push({ role: 'tool', tool_call_id, content: content.join('\n'), images });
    } else if (ThinkingPart && part instanceof ThinkingPart) {
      read.thinking += [part.value].flat().join('');
    } else if (part instanceof vscode.LanguageModelDataPart) {
      if (ofTool && kindOf(part) === 'unreadable') read.content.push(unreadableText(part));
      else readData(part, read);
    } else if (part instanceof vscode.LanguageModelPromptTsxPart) {
      read.content.push(tsxText(part.value));
    } else if (part instanceof vscode.LanguageModelTextPart) {
      read.content.push(part.value);
    }
  }
  return read;
}

function kindOf({
  mimeType,
}: vscode.LanguageModelDataPart): 'text' | 'image' | 'unreadable' | 'other' {
  // An SVG is an image that only its text says anything of to a model.
  if (/^text\/|[/+](json|xml|yaml|x-yaml)\b/.test(mimeType)) return 'text';
  if (mimeType.startsWith('image/')) return 'image';
  return mimeType.includes('/') ? 'unreadable' : 'other';
}

function readData(part: vscode.LanguageModelDataPart, read: Parts): void {
  const { data, mimeType } = part;
  switch (kindOf(part)) {
    case 'text':
      read.content.push(new TextDecoder().decode(data));
      break;
    case 'image':
      read.images.push(Buffer.from(data).toString('base64'));
      break;
    case 'unreadable':
      throw new InternError({
        code: 'bad_input',
        message: `Models of the intern read text and images, and this is ${mimeType.slice(0, MOST_TYPE)}.`,
        hint: 'Leave it out and ask again. Nothing was sent.',
      });
    case 'other':
    // Data without a media type, such as marks for a cache, is meant for other providers.
  }
}

/** `[audio/wav, 12 KB: not readable by this model]` */
function unreadableText({ mimeType, data }: vscode.LanguageModelDataPart): string {
  const kilobytes = Math.ceil(data.byteLength / 1_000).toLocaleString('en-US');
  return `[${mimeType.slice(0, MOST_TYPE)}, ${kilobytes} KB: not readable by this model]`;
}

/** The texts in what a tool made with prompt-tsx, which arrives as the tree of its nodes. */
function tsxText(node: unknown): string {
  if (Array.isArray(node)) return node.map(tsxText).join('');
  if (typeof node !== 'object' || node === null) return '';
  const { text, lineBreakBefore, node: inner, children } = node as Record<string, unknown>;
  if (typeof text === 'string') return `${lineBreakBefore ? '\n' : ''}${text}`;
  return tsxText(inner) + tsxText(children);
}
