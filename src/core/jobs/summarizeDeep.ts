import * as z from 'zod';
import { InternError } from '../errors';
import { count, type Gaps, gapsOf, showGaps, type Unread, unreadOf, valuesOf } from './gaps';
import { someText } from './handed';
import { defineSteps, type Question, type Reply, type Steps } from './job';
import { blockText, inlineText } from './markdown';
import { messagesOf } from './messages';
import { noRoom, roomFor } from './room';
import { SUMMARIZE } from './summarize';
import {
  type Excerpt,
  inGroups,
  mapGroups,
  type Material,
  material,
  sizeOf,
  type Source,
  sourcesInput,
  type Style,
  wholeSources,
  withoutMarks,
} from './sources';
import { offerTool } from './tool';

const TOKENS_PER_WORD = 2.5;
/** Room for a model that thinks before it writes. */
const THINKING_TOKENS = 1000;
const NOTE_WORDS = 300;
const TEMPERATURE = 0.3;
/** Sources that are named to people as covered. */
const MOST_NAMES = 30;

const input = z
  .object({
    text: z.string().optional(),
    /** Where the text comes from: a file name. */
    source: z.string().optional(),
    /** The editor's language id of the text. */
    language: z.string().optional(),
    /** More texts, or all of them. */
    sources: sourcesInput.optional(),
    /** What the summary should pay attention to. */
    focus: z.string().optional(),
    max_words: z.number().int().min(20).max(1500).default(250),
  })
  .refine(
    (given) => sourcesOf(given).some(({ text }) => text.trim() !== ''),
    'There is no text to summarize.',
  );

type Input = z.output<typeof input>;

export interface DeepSummary extends Gaps {
  summary: string;
  /** Sources of which at least a part was read. */
  covered_sources: string[];
  /** How many prompts the text was read in. */
  parts: number;
}

/** A summary of any number of texts of any length: what does not fit one prompt is read in parts. */
export const summarizeDeep = defineSteps({
  name: 'summarize_deep',
  title: 'Summarize in Depth',
  description:
    'A thorough summary of files of any length: purpose, structure, and what to watch out for.',
  version: 2,
  tier: 'deep',
  input,
  async run(given, steps) {
    const sources = sourcesOf(given);
    const whole = wholeSources(sources);
    const short = await summaryOf(given, whole, TEXT, steps);
    const { reply, covered, unread, parts, warnings } = short
      ? { reply: short, covered: whole, unread: [], parts: 1, warnings: [] }
      : await summaryInParts(given, whole, steps);
    const told = gapsOf(sources, covered, unread);
    const isCovered = new Set(covered.map(({ source }) => source));
    return {
      result: {
        summary: wordsOf(reply),
        covered_sources: sources.filter((_, i) => isCovered.has(i)).map(({ name }) => name),
        ...told.gaps,
        parts,
      },
      warnings: [...told.warnings, ...warnings],
      truncated: told.truncated,
    };
  },
  show: (result: DeepSummary) =>
    [blockText(result.summary), showCovered(result), showGaps(result)].filter(Boolean).join('\n\n'),
  prose: true,
  handed: {
    command: SUMMARIZE,
    input: ({ request, sources }) =>
      sources.length === 0
        ? { text: someText(request) }
        : { sources: [...sources], focus: request || undefined },
  },
  tool: offerTool({
    name: 'summarize',
    description:
      'Summarizes files, folders or a text of any length with a local model. Use it to learn what long files are about without reading them yourself.',
    doing: 'Summarizing',
    reads: 'sources',
    parameters: z.object({
      focus: z.string().optional().describe('What the summary should pay attention to.'),
      max_words: z.number().int().min(20).max(1500).optional(),
    }),
    input: (given, { sources }) => ({ ...given, sources: [...sources] }),
  }),
  cites: ({ covered_sources }) => covered_sources.map((source) => ({ source })),
});

const TEXT = { label: 'TEXT' };
const NOTES = { label: 'NOTES' };

interface Texts extends Partial<Omit<Source, 'name'>> {
  source?: string;
  sources?: Source[];
}

function sourcesOf({ text, source, language, sources }: Texts): Source[] {
  const own = text === undefined ? [] : [{ name: source ?? 'the text', text, language }];
  return [...own, ...(sources ?? [])];
}

/** Nothing for a single source that was read: the title names it. */
function showCovered({ covered_sources: names, omitted_sources }: DeepSummary): string {
  if (names.length + omitted_sources.length < 2) return '';
  const more = names.length - MOST_NAMES;
  const named = names.slice(0, MOST_NAMES).map(inlineText).join(', ');
  return `**Read:** ${named}${more > 0 ? ` and ${count(more, 'more file')}` : ''}`;
}

/** A summary from one prompt, written while it is shown; undefined when that is too long for the window. */
async function summaryOf(
  given: Input,
  excerpts: readonly Excerpt[],
  style: Style,
  steps: Steps,
): Promise<Reply | undefined> {
  const room = await roomFor(steps, finalQuestion(given, material([], style), style));
  if (sizeOf(excerpts, style) > room) return undefined;
  const question = finalQuestion(given, material(excerpts, style), style);
  return steps.ask({ ...question, streamed: true }).catch((thrown: unknown) => {
    // The room was an estimate.
    if (thrown instanceof InternError && thrown.code === 'context_overflow') return undefined;
    throw thrown;
  });
}

/** What a model noted about excerpts. */
interface Note extends Excerpt {
  from: readonly Excerpt[];
}

/** A summary from notes on all parts. */
async function summaryInParts(given: Input, whole: readonly Excerpt[], steps: Steps) {
  const unread: Unread[] = [];
  let cut = 0;
  const takeNotes = async <E extends Excerpt>(
    excerpts: readonly E[],
    what: string,
    style: Style,
    from: (excerpt: E) => readonly Excerpt[],
  ): Promise<Note[]> => {
    const room = await roomFor(steps, notesQuestion(given, material([], style), style));
    const groups = inGroups(excerpts, room, style);
    const outcomes = await mapGroups(groups, what, steps, async (group): Promise<Note> => {
      const reply = await steps.ask(notesQuestion(given, material(group, style), style));
      const text = wordsOf(reply);
      if (reply.done_reason === 'length') cut++;
      const names = [...new Set(group.map(({ name }) => name))].join(', ');
      return { id: '', name: names, text, from: group.flatMap(from) };
    });
    for (const { excerpt, reason } of unreadOf(outcomes)) {
      unread.push(...from(excerpt).map((part) => ({ excerpt: part, reason })));
    }
    return valuesOf(outcomes).map((note, index) => ({ ...note, id: `n${index + 1}` }));
  };

  let notes = await takeNotes(whole, 'part', TEXT, (excerpt) => [excerpt]);
  const parts = notes.length;
  for (;;) {
    const reply = await summaryOf(given, notes, NOTES, steps);
    if (reply) {
      const covered = notes.flatMap(({ from }) => from);
      const warnings = cut
        ? [`The notes on ${count(cut, 'part')} reached their length limit and may end too early.`]
        : [];
      return { reply, covered, unread, parts, warnings };
    }
    const fewer = await takeNotes(notes, 'summary', NOTES, ({ from }) => from);
    // Notes of which no two fit together would never become fewer.
    if (fewer.length >= notes.length) throw noRoom();
    notes = fewer;
  }
}

function finalQuestion({ max_words, focus }: Input, text: Material, style: Style): Question {
  return question(
    [
      'You are a careful assistant inside a code editor. You summarize for a software developer.',
      text.rule,
      style === NOTES
        ? 'What you get are notes on the parts of one or several texts, in order. Write one summary of these texts: do not speak of notes or parts.'
        : '',
      `Begin with one sentence that says what it is for. Then cover the structure, the important parts and how they work together, and anything risky or surprising, in short paragraphs or a short list. Use at most ${max_words} words. Say only what the material says; name identifiers exactly as written.`,
      'Answer with the summary alone, in the language of the text (English for code), without a heading.',
    ],
    [text.text, focusOf(focus), 'Summarize it.'],
    max_words,
  );
}

function notesQuestion({ focus }: Input, text: Material, style: Style): Question {
  return question(
    [
      'You are a careful assistant inside a code editor. You take notes for a summary that a software developer will read.',
      text.rule,
      style === NOTES
        ? 'What you get are notes on the parts of one or several texts, in order. Join them into shorter notes that keep what matters most.'
        : 'What you get is a part of a longer text, or of several.',
      `Note what it is for, its important parts, how they work together, and anything risky or surprising. Say which file it is about. Use at most ${NOTE_WORDS} words. Say only what the material says; name identifiers exactly as written.`,
      'Answer with the notes alone.',
    ],
    [text.text, focusOf(focus), 'Take the notes.'],
    NOTE_WORDS,
  );
}

function question(system: string[], user: string[], words: number): Question {
  return {
    messages: messagesOf(system, user),
    numPredict: Math.ceil(words * TOKENS_PER_WORD) + THINKING_TOKENS,
    temperature: TEMPERATURE,
  };
}

function focusOf(focus: string | undefined): string {
  return focus ? `Pay special attention to: ${focus}` : '';
}

/** The words of an answer, without the marks that models repeat at times. */
function wordsOf({ text, done_reason }: Reply): string {
  const words = withoutMarks(text).trim();
  if (words !== '') return words;
  throw new InternError({
    code: 'server',
    message: `The model answered with nothing.${done_reason === 'length' ? ' It reached its length limit.' : ''}`,
    hint: 'Try again, or choose another model for this tier.',
    retryable: true,
    actions: [{ kind: 'retry' }, { kind: 'choose_profile' }],
  });
}
