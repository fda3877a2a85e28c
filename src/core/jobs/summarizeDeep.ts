import * as z from 'zod';
import { InternError } from '../errors';
import { count, type Gaps, gapsOf, showGaps, type Unread, unreadOf, valuesOf } from './gaps';
import { defineSteps, type Question, type Reply, type Steps } from './job';
import { blockText } from './markdown';
import {
  type Excerpt,
  inGroups,
  type Material,
  material,
  noRoom,
  roomFor,
  sizeOf,
  type Source,
  sourcesInput,
  wholeSources,
  withoutMarks,
} from './sources';

const TOKENS_PER_WORD = 2.5;
/** Room for a model that thinks before it writes. */
const THINKING_TOKENS = 1000;
const NOTE_WORDS = 300;
const TEMPERATURE = 0.3;

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
export const summarizeMany = defineSteps({
  name: 'summarize_deep',
  title: 'Summarize in Depth',
  description: 'A thorough summary of whole files: purpose, structure, and what to watch out for.',
  version: 2,
  tier: 'deep',
  input,
  async run(given, steps) {
    const sources = sourcesOf(given);
    const whole = wholeSources(sources);
    const room = await roomFor(steps, finalQuestion(given, material([], TEXT)));
    const fits = sizeOf(whole, TEXT) <= room;
    const read = fits ? undefined : await readInParts(given, whole, room, steps);
    const question = read
      ? finalQuestion(given, material(read.notes, NOTES), true)
      : finalQuestion(given, material(whole, TEXT));
    const reply = await steps.ask({ ...question, streamed: true });
    const covered = read ? read.notes.flatMap(({ from }) => from) : whole;
    const { gaps, warnings, truncated } = gapsOf(sources, covered, read?.unread ?? []);
    const isCovered = new Set(covered.map(({ source }) => source));
    return {
      result: {
        summary: withoutMarks(wordsOf(reply)).trim(),
        covered_sources: sources.filter((_, i) => isCovered.has(i)).map(({ name }) => name),
        ...gaps,
        parts: read?.parts ?? 1,
      },
      warnings: [...warnings, ...(read?.warnings ?? [])],
      truncated,
    };
  },
  show: (result: DeepSummary) =>
    [blockText(result.summary), showGaps(result)].filter(Boolean).join('\n\n'),
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

function finalQuestion({ max_words, focus }: Input, text: Material, ofNotes = false): Question {
  return question(
    [
      'You are a careful assistant inside a code editor. You summarize for a software developer.',
      text.rule,
      ofNotes
        ? 'What you get are notes on the parts of one or several texts, in order. Write one summary of these texts: do not speak of notes or parts.'
        : '',
      `Begin with one sentence that says what it is for. Then cover the structure, the important parts and how they work together, and anything risky or surprising, in short paragraphs or a short list. Use at most ${max_words} words. Say only what the material says; name identifiers exactly as written.`,
      'Answer with the summary alone, in the language of the text (English for code), without a heading.',
    ],
    text,
    focusOf(focus),
    'Summarize it.',
    Math.ceil(max_words * TOKENS_PER_WORD) + THINKING_TOKENS,
  );
}

function notesQuestion({ focus }: Input, text: Material, ofNotes = false): Question {
  return question(
    [
      'You are a careful assistant inside a code editor. You take notes for a summary that a software developer will read.',
      text.rule,
      ofNotes
        ? 'What you get are notes on the parts of one or several texts, in order. Join them into shorter notes that keep what matters most.'
        : 'What you get is a part of a longer text, or of several.',
      `Note what it is for, its important parts, how they work together, and anything risky or surprising. Say which file it is about. Use at most ${NOTE_WORDS} words. Say only what the material says; name identifiers exactly as written.`,
      'Answer with the notes alone.',
    ],
    text,
    focusOf(focus),
    'Take the notes.',
    Math.ceil(NOTE_WORDS * TOKENS_PER_WORD) + THINKING_TOKENS,
  );
}

function question(
  system: string[],
  text: Material,
  focus: string,
  task: string,
  numPredict: number,
): Question {
  return {
    messages: [
      { role: 'system', content: system.filter(Boolean).join('\n') },
      { role: 'user', content: [text.text, focus, task].filter(Boolean).join('\n\n') },
    ],
    numPredict,
    temperature: TEMPERATURE,
  };
}

function focusOf(focus: string | undefined): string {
  return focus ? `Pay special attention to: ${focus}` : '';
}

/** What a model noted about excerpts. */
interface Note extends Excerpt {
  from: readonly Excerpt[];
}

/** Notes on all parts, few enough for one prompt. */
async function readInParts(given: Input, whole: Excerpt[], room: number, steps: Steps) {
  const noteRoom = await roomFor(steps, notesQuestion(given, material([], NOTES), true));
  const unread: Unread[] = [];
  let cut = 0;
  const takeNotes = async <E extends Excerpt>(
    groups: E[][],
    what: string,
    style: typeof TEXT,
    from: (excerpt: E) => readonly Excerpt[],
  ): Promise<Note[]> => {
    const settled = await steps.map(groups, what, async (group, index) => {
      const text = material(group, style);
      const reply = await steps.ask(notesQuestion(given, text, style === NOTES));
      const words = withoutMarks(wordsOf(reply)).trim();
      if (reply.done_reason === 'length') cut++;
      const names = [...new Set(group.map(({ name }) => name))].join(', ');
      return { id: `n${index + 1}`, name: names, text: words, from: group.flatMap(from) };
    });
    const sources = groups.map((group) => group.flatMap(from));
    unread.push(...unreadOf(sources, settled));
    return valuesOf(settled);
  };

  const groups = inGroups(whole, noteRoom, TEXT);
  let notes = await takeNotes(groups, 'part', TEXT, (excerpt) => [excerpt]);
  while (sizeOf(notes, NOTES) > room) {
    const fewer = inGroups(notes, noteRoom, NOTES) as Note[][];
    // Notes of which no two fit together would never become fewer.
    if (fewer.length >= notes.length) throw noRoom();
    notes = await takeNotes(fewer, 'summary', NOTES, ({ from }) => from);
  }
  const warnings = cut
    ? [`The notes on ${count(cut, 'part')} reached their length limit and may end too early.`]
    : [];
  return { notes, unread, warnings, parts: groups.length };
}

function wordsOf({ text, done_reason }: Reply): string {
  if (text.trim() !== '') return text;
  throw new InternError({
    code: 'server',
    message: `The model answered with nothing.${done_reason === 'length' ? ' It reached its length limit.' : ''}`,
    hint: 'Try again, or choose another model for this tier.',
    retryable: true,
    actions: [{ kind: 'retry' }, { kind: 'choose_profile' }],
  });
}
