import * as z from 'zod';
import type { ChatMessage } from '../ollama/client';
import { dataRule, fence, plainName } from './fence';
import { defineJob } from './job';
import { blockText } from './markdown';
import { cutAtLine } from './summarize';
import { counted } from './words';

/** Tokens of a reply. */
const ANSWER = 2048;

const messageSchema = z.object({
  role: z.enum(['system', 'user', 'assistant']),
  content: z.string(),
});

type Message = z.output<typeof messageSchema>;

export interface ChatReply {
  reply: string;
}

/** The next reply in a conversation about what is open in the editor. */
export const chat = defineJob({
  name: 'chat',
  title: 'Chat',
  description: 'The next reply in a conversation, with files or selections beside it.',
  version: 1,
  tier: 'workhorse',
  temperature: 0.7,
  streamed: true,
  prose: true,
  input: z.object({
    /** The conversation so far, the oldest message first. */
    messages: z
      .array(messageSchema)
      .refine(
        (messages) => messages.at(-1)?.role === 'user' && /\S/.test(messages.at(-1)?.content ?? ''),
        'The last message has to be a question from the user.',
      ),
    /** Files or parts of them that the question is about. */
    context: z.array(z.object({ name: z.string(), text: z.string() })).default([]),
    /** How many messages were left out because they do not fit. */
    left_out: z.number().int().min(0).default(0),
    /** Whether the files are not whole because they do not fit. */
    files_cut: z.boolean().default(false),
  }),
  prompt({ messages, context, left_out }) {
    const files = context.map(({ name, text }) => `File: ${plainName(name)}\n${text}`);
    const fenced = files.length > 0 ? fence('CONTEXT', files.join('\n\n')) : undefined;
    const system = [
      'You are a careful assistant inside a code editor. You talk with a software developer.',
      fenced ? dataRule(fenced) : '',
      'Be brief and exact. When you do not know something, or it is not in what you were given, say so.',
      'Answer in Markdown; put code into fenced blocks that name their language.',
      left_out > 0 ? 'The beginning of the conversation is left out.' : '',
      ...messages.filter(isSystem).map(({ content }) => content),
    ]
      .filter(Boolean)
      .join('\n');
    const turns: ChatMessage[] = messages.filter((message) => !isSystem(message));
    const question = turns.pop()?.content ?? '';
    return {
      messages: [
        { role: 'system', content: system },
        ...turns,
        { role: 'user', content: fenced ? `${fenced.text}\n\n${question}` : question },
      ],
      numPredict: ANSWER,
    };
  },
  parse: (answer) => ({ result: { reply: answer.trim() } }),
  leftOut({ left_out, files_cut }) {
    const parts = [
      ...(left_out > 0 ? [`the oldest ${counted(left_out, 'message')}`] : []),
      ...(files_cut || left_out === 0 ? ['the ends of the files'] : []),
    ];
    return `Left out to fit the window: ${parts.join(', and ')}.`;
  },
  show: (result) => blockText(result.reply),
  shorten(given, share) {
    const { messages, context } = given;
    const length = textLength(context);
    const limit = (lengthOf(messages) + length) * share;
    // A question may be about what was just said of a file, so a large one does not push that out.
    const kept = withoutOldest(messages, Math.max(limit / 2, limit - length));
    const left_out = given.left_out + messages.length - kept.length;
    const room = Math.max(0, limit - lengthOf(kept));
    const part = Math.min(1, room / Math.max(1, length));
    return {
      messages: kept,
      left_out,
      files_cut: given.files_cut || part < 1,
      context: context.map(({ name, text }) => ({
        name,
        text: cutAtLine(text, Math.floor(text.length * part)),
      })),
    };
  },
});

function isSystem({ role }: Message): boolean {
  return role === 'system';
}

function lengthOf(messages: readonly Message[]): number {
  return messages.reduce((sum, { content }) => sum + content.length, 0);
}

function textLength(context: readonly { text: string }[]): number {
  return context.reduce((sum, { text }) => sum + text.length, 0);
}

/** Leaves out whole turns from the oldest on, each from one question to the next, but never the last question. */
function withoutOldest(messages: Message[], chars: number): Message[] {
  let kept = messages;
  while (lengthOf(kept) > chars) {
    const first = kept.findIndex((message) => !isSystem(message));
    const next = kept.findIndex(({ role }, index) => role === 'user' && index > first);
    if (next === -1) break;
    kept = kept.filter((message, index) => isSystem(message) || index >= next);
  }
  return kept;
}
