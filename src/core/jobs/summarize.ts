import * as z from 'zod';
import { dataRule, fence, plainName } from './fence';
import { type Handed, oneSource, type SlashCommand, someText } from './handed';
import { defineJob } from './job';
import { blockText } from './markdown';
import { messagesOf } from './messages';

/** Words to tokens, with room for a sentence more than asked for. */
const TOKENS_PER_WORD = 2.5;

const input = z.object({
  text: z.string().refine((t) => t.trim() !== '', 'There is no text to summarize.'),
  /** Where the text comes from, for the model: a file name. */
  source: z.string().optional(),
  /** The editor's language id. */
  language: z.string().optional(),
  /** What the summary should pay attention to. */
  focus: z.string().optional(),
  max_words: z.number().int().min(10).max(400).default(80),
});

export interface Summary {
  summary: string;
}

/** A text of at most so many characters is short enough for the fast summary. */
const SHORT_TEXT = 6000;

export const SUMMARIZE: SlashCommand = {
  name: 'summarize',
  description: 'A summary of the attached files or selections, or of text that you paste',
  example: '#file:queue.ts',
};

/** What is to be summarized: pasted text is the request itself. */
function shortText({ request, sources }: Handed): string | undefined {
  const [text = '', more] = sources.length === 0 ? [request] : sources.map((s) => s.text);
  return more === undefined && text.length <= SHORT_TEXT ? text : undefined;
}

export const summarizeFast = defineJob({
  name: 'summarize_fast',
  title: 'Summarize',
  description: 'A short summary of a piece of text or code.',
  version: 1,
  tier: 'instant',
  input,
  temperature: 0.3,
  streamed: true,
  prose: true,
  prompt({ text, source, language, focus, max_words }) {
    const fenced = fence('TEXT', text);
    const what = [
      source ? `The text is from "${plainName(source)}"` : 'Here is the text',
      language ? ` (${language})` : '',
      focus ? `. Pay special attention to: ${focus}` : '',
    ].join('');
    return {
      messages: messagesOf(
        [
          'You are a careful assistant inside a code editor. You summarize for a software developer.',
          dataRule(fenced),
          `Write two to four plain sentences: what it is for and what matters in it. Use at most ${max_words} words. Say only what the text says; name identifiers exactly as written.`,
          'Answer with the summary alone, in the language of the text (English for code), without a heading.',
        ],
        [`${what}.`, fenced.text, 'Summarize it.'],
      ),
      numPredict: Math.ceil(max_words * TOKENS_PER_WORD),
    };
  },
  parse: (answer): { result: Summary } => ({ result: { summary: answer.trim() } }),
  show: (result: Summary) => blockText(result.summary),
  cites: (_result, { source }) => (source === undefined ? [] : [{ source }]),
  handed: {
    command: SUMMARIZE,
    suits: (handed) => shortText(handed) !== undefined,
    input(handed) {
      const source = oneSource(handed, SUMMARIZE);
      if (!source) return { text: someText(handed.request) };
      const { text, name, language } = source;
      return { text, source: name, language, focus: handed.request || undefined };
    },
  },
  shorten: (given, share) => ({
    ...given,
    text: cutAtLine(given.text, Math.floor(given.text.length * share)),
  }),
});

/** The start of a text, up to the last whole line that fits. */
export function cutAtLine(text: string, chars: number): string {
  if (chars >= text.length) return text;
  const line = text.lastIndexOf('\n', chars);
  // One very long line is cut between characters, never inside a surrogate pair.
  const end = line > chars / 2 ? line : chars;
  return text.slice(0, end).replace(/[\uD800-\uDBFF]$/, '');
}
