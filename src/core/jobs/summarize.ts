import * as z from 'zod';
import { defineJob, type PromptJob } from './job';
import { dataRule, fence, plainName } from './fence';
import { blockText } from './markdown';

/** Words to tokens, with room for a sentence more than asked for. */
const TOKENS_PER_WORD = 2.5;

const input = (defaultWords: number, mostWords: number) =>
  z.object({
    text: z.string().refine((t) => t.trim() !== '', 'There is no text to summarize.'),
    /** Where the text comes from, for the model: a file name. */
    source: z.string().optional(),
    /** The editor's language id. */
    language: z.string().optional(),
    /** What the summary should pay attention to. */
    focus: z.string().optional(),
    max_words: z.number().int().min(10).max(mostWords).default(defaultWords),
  });

type SummaryInput = ReturnType<typeof input>;
export interface Summary {
  summary: string;
}

function defineSummary(
  about: Pick<PromptJob, 'name' | 'title' | 'description' | 'tier'>,
  schema: SummaryInput,
  style: string,
): PromptJob<SummaryInput, Summary> {
  return defineJob({
    ...about,
    version: 1,
    input: schema,
    temperature: 0.3,
    streamed: true,
    prompt({ text, source, language, focus, max_words }) {
      const fenced = fence('TEXT', text);
      const system = [
        'You are a careful assistant inside a code editor. You summarize for a software developer.',
        dataRule(fenced),
        `${style} Use at most ${max_words} words. Say only what the text says; name identifiers exactly as written.`,
        'Answer with the summary alone, in the language of the text (English for code), without a heading.',
      ].join('\n');
      const what = [
        source ? `The text is from "${plainName(source)}"` : 'Here is the text',
        language ? ` (${language})` : '',
        focus ? `. Pay special attention to: ${focus}` : '',
      ].join('');
      return {
        messages: [
          { role: 'system', content: system },
          { role: 'user', content: `${what}.\n\n${fenced.text}\n\nSummarize it.` },
        ],
        numPredict: Math.ceil(max_words * TOKENS_PER_WORD),
      };
    },
    parse: (answer) => ({ result: { summary: answer.trim() } }),
    show: (result) => blockText(result.summary),
    shorten: (given, share) => ({
      ...given,
      text: cutAtLine(given.text, Math.floor(given.text.length * share)),
    }),
  });
}

/** The start of a text, up to the last whole line that fits. */
export function cutAtLine(text: string, chars: number): string {
  if (chars >= text.length) return text;
  const line = text.lastIndexOf('\n', chars);
  // One very long line is cut between characters, never inside a surrogate pair.
  const end = line > chars / 2 ? line : chars;
  return text.slice(0, end).replace(/[\uD800-\uDBFF]$/, '');
}

export const summarizeFast = defineSummary(
  {
    name: 'summarize_fast',
    title: 'Summarize',
    description: 'A short summary of a piece of text or code.',
    tier: 'instant',
  },
  input(80, 400),
  'Write two to four plain sentences: what it is for and what matters in it.',
);

export const summarizeDeep = defineSummary(
  {
    name: 'summarize_deep',
    title: 'Summarize in Depth',
    description:
      'A thorough summary of a whole file: purpose, structure, and what to watch out for.',
    tier: 'deep',
  },
  input(250, 1500),
  'Begin with one sentence that says what it is for. Then cover its structure, the important parts and how they work together, and anything risky or surprising, in short paragraphs or a short list.',
);
