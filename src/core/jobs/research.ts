import * as z from 'zod';
import { count, type Gaps, gapsOf, readOf, showGaps, showPlace, unreadOf, valuesOf } from './gaps';
import { someSources, type SlashCommand } from './handed';
import { defineSteps, type Question, type Steps } from './job';
import { blockText, inlineText } from './markdown';
import { messagesOf } from './messages';
import { type Place, QuotedText } from './quotes';
import { roomFor } from './room';
import {
  type Excerpt,
  inGroups,
  mapGroups,
  type Material,
  material,
  sizeOf,
  type Source,
  sourcesInput,
  wholeSources,
  withoutMarks,
} from './sources';
import { offerTool } from './tool';

const TOKENS_PER_WORD = 2.5;
/** Room for the citations, and for a model that thinks before it writes. */
const OTHER_TOKENS = 1500;
const PASSAGES_TOKENS = 1500;
const TEMPERATURE = 0.3;

/** A cited range is never longer: it would point at nothing. */
const MOST_LINES = 60;
const MOST_CHARS = 4000;
/** What is shown around a passage to the model that answers. */
const MARGIN_LINES = 2;
const MARGIN_CHARS = 600;
/** How often passages are narrowed down. */
const MOST_ROUNDS = 3;

export interface Citation {
  /** The name of the source. */
  source: string;
  first_line: number;
  last_line: number;
  /** As it stands in the source. */
  quote: string;
}

export interface Research extends Gaps {
  /** [1] is the first of the citations. */
  answer: string;
  citations: Citation[];
  /** The model says that the sources do not answer the question. */
  abstained: boolean;
  /** No citation holds: nothing shows that the answer comes from the sources. */
  weak: boolean;
  /** Citations of places or words that do not exist. */
  dropped_citations: number;
  /** Sources that no citation points at. */
  unaddressed_sources: string[];
  /** How many prompts the sources were read in. */
  parts: number;
}

const input = z.object({
  question: z.string().refine((t) => t.trim() !== '', 'There is no question.'),
  sources: sourcesInput.refine(
    (sources) => sources.some(({ text }) => text.trim() !== ''),
    'There is no text in the sources.',
  ),
  max_words: z.number().int().min(20).max(1500).default(300),
});

type Input = z.output<typeof input>;

const COMMAND: SlashCommand = {
  name: 'research',
  description: 'An answer from the attached files or folders alone, with citations',
  example: '#file:src Where are calls cancelled?',
};

/** [1], or [1, 2] */
const MARKS = /([ \t]?)\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]/g;

const claimedCitation = z.object({
  source: z.string(),
  first_line: z.number(),
  last_line: z.number(),
  quote: z.string(),
});
type ClaimedCitation = z.output<typeof claimedCitation>;

const claimedAnswer = z.object({
  // Marks alone say nothing.
  answer: z.string().refine((t) => /\S/.test(t.replace(MARKS, '')), 'It says nothing.'),
  citations: z.array(claimedCitation),
  abstained: z.boolean(),
});
const claimedPassages = z.object({ passages: z.array(claimedCitation) });

/** An answer from sources alone. Each citation is looked up; what cannot be found is dropped. */
export const research = defineSteps({
  name: 'research',
  title: 'Research',
  description: 'An answer to a question from given files, with citations that were checked.',
  version: 1,
  tier: 'deep',
  input,
  async run(given, steps) {
    const whole = wholeSources(given.sources);
    const checker = new Checker(given.sources);
    const room = await roomFor(steps, answerQuestion(given, material([], STYLE)));
    const read =
      sizeOf(whole, STYLE) <= room
        ? { passages: whole, read: whole, unread: [], parts: 1, leftOut: 0 }
        : await findPassages(given, whole, room, checker, steps);
    const { gaps, warnings, truncated } = gapsOf(given.sources, read.read, read.unread);
    const facts = { ...gaps, parts: read.parts };
    if (read.passages.length === 0) {
      return { result: { ...nothingFound(given.sources), ...facts }, warnings, truncated };
    }
    const question = answerQuestion(given, material(read.passages, STYLE));
    const claimed = await steps.askFor(question, claimedAnswer);
    if (read.leftOut > 0) {
      warnings.push(`${count(read.leftOut, 'passage')} did not fit beside the others.`);
    }
    return {
      result: { ...checkAnswer(claimed, given.sources, checker), ...facts },
      warnings,
      truncated: truncated || read.leftOut > 0,
    };
  },
  show(result: Research) {
    const citations = result.citations.map(
      ({ source, first_line, last_line, quote }, index) =>
        `${index + 1}. ${showPlace(source, [first_line, last_line])}: “${inlineText(quote)}”`,
    );
    const notes = [
      result.weak && !result.abstained
        ? 'No citation of this answer could be found in the sources.'
        : '',
      result.dropped_citations > 0
        ? `${count(result.dropped_citations, 'citation')} could not be found and left out.`
        : '',
    ];
    return [
      blockText(result.answer),
      citations.length ? `**Sources**\n\n${citations.join('\n')}` : '',
      ...notes.map((note) => (note ? `*${note}*` : '')),
      showGaps(result),
    ]
      .filter(Boolean)
      .join('\n\n');
  },
  tool: offerTool({
    name: 'research',
    description:
      'Answers a question from files and folders of the workspace with a local model, with citations whose lines and quotes are looked up. Says so when the files do not answer it.',
    doing: 'Researching in',
    reads: 'sources',
    parameters: z.object({ question: z.string() }),
    input: ({ question }, { sources }) => ({ question, sources: [...sources] }),
  }),
  handed: {
    command: COMMAND,
    input: (handed) => ({ question: handed.request, sources: someSources(handed) }),
  },
  cites: ({ citations }) => citations,
});

const STYLE = { label: 'SOURCE', numbered: true };

const QUOTING =
  'Name the source by its id (such as s1), the first and the last line of the place by their numbers, and quote the few words that matter exactly as they stand there, without the line number.';

function answerQuestion({ question, max_words }: Input, { rule, text }: Material): Question {
  return {
    messages: messagesOf(
      [
        'You are a careful researcher inside a code editor. You answer a question of a software developer from sources, and from nothing else.',
        rule,
        'Each line of a source begins with its number and "|".',
        `Answer with JSON: "answer" (text of at most ${max_words} words), "citations" (a list of {"source", "first_line", "last_line", "quote"}) and "abstained" (true or false).`,
        'In the answer, put [1] behind what the first citation shows, [2] for the second, and so on. Write code in backticks.',
        `In the citations: ${QUOTING}`,
        'When the sources do not answer the question, set "abstained" to true, say in one sentence what is missing, and cite nothing. Never fill a gap with what you know from elsewhere.',
      ],
      [text, `Question: ${question}`],
    ),
    numPredict: Math.ceil(max_words * TOKENS_PER_WORD) + OTHER_TOKENS,
    temperature: TEMPERATURE,
  };
}

function passagesQuestion({ question }: Input, { rule, text }: Material): Question {
  return {
    messages: messagesOf(
      [
        'You are a careful researcher inside a code editor. You find the places in sources that help to answer a question.',
        rule,
        'Each line of a source begins with its number and "|". What you get is a part of more material.',
        'Answer with JSON: "passages" (a list of at most 10 {"source", "first_line", "last_line", "quote"}), the most important first.',
        `${QUOTING} When nothing here helps, the list is empty.`,
      ],
      [text, `Question: ${question}`],
    ),
    numPredict: PASSAGES_TOKENS,
    temperature: TEMPERATURE,
  };
}

/** Looks up what models claim to have found. */
class Checker {
  readonly #texts = new Map<number, QuotedText>();

  constructor(private readonly sources: readonly Source[]) {}

  text(source: number): QuotedText {
    let text = this.#texts.get(source);
    if (!text) this.#texts.set(source, (text = new QuotedText(this.sources[source]?.text ?? '')));
    return text;
  }

  /** The place of a citation, its lines corrected when the words stand elsewhere. */
  check({ source, first_line, last_line, quote }: ClaimedCitation) {
    const index = this.#indexOf(source);
    if (index === undefined) return undefined;
    const text = this.text(index);
    const found = text.find(withoutMarks(quote), first_line);
    if (!found) return undefined;
    const range = text.range(first_line, last_line);
    const isRange =
      [first_line, last_line].every(Number.isInteger) &&
      first_line >= 1 &&
      first_line <= found.firstLine &&
      found.lastLine <= last_line &&
      last_line <= text.lines &&
      last_line - first_line < MOST_LINES &&
      range.end - range.start <= MOST_CHARS;
    return { index, quote: found, range: isRange ? range : found };
  }

  #indexOf(claimed: string): number | undefined {
    const id = /^\W*s(\d+)\W*$/i.exec(claimed)?.[1];
    const index = id
      ? Number(id) - 1
      : this.sources.findIndex(({ name }) => name === claimed.trim());
    return this.sources[index] && index;
  }
}

function checkAnswer(
  { answer, citations, abstained }: z.output<typeof claimedAnswer>,
  sources: readonly Source[],
  checker: Checker,
): Omit<Research, keyof Gaps | 'parts'> {
  const kept: Citation[] = [];
  const cited = new Set<number>();
  /** What becomes of the mark of each citation. */
  const marks = citations.map((claimed) => {
    const found = checker.check(claimed);
    if (!found) return undefined;
    cited.add(found.index);
    const { text } = checker.text(found.index);
    return kept.push({
      source: sources[found.index]?.name ?? '',
      first_line: found.range.firstLine,
      last_line: found.range.lastLine,
      quote: text.slice(found.quote.start, found.quote.end),
    });
  });
  return {
    answer: replaceMarks(withoutMarks(answer).trim(), marks),
    citations: kept,
    abstained,
    weak: kept.length === 0,
    dropped_citations: citations.length - kept.length,
    unaddressed_sources: sources.filter((_, i) => !cited.has(i)).map(({ name }) => name),
  };
}

/** Gives the marks of an answer their new numbers; marks of nothing go away. Code has brackets of its own. */
function replaceMarks(answer: string, numbers: readonly (number | undefined)[]): string {
  return answer
    .split(/(```[\s\S]*?(?:```|$)|`[^`\n]*`)/)
    .map((piece, index) =>
      index % 2 === 1
        ? piece
        : piece.replace(MARKS, (_, space: string, list: string) => {
            const kept = list.split(',').flatMap((n) => numbers[Number(n) - 1] ?? []);
            return kept.length ? `${space}[${kept.join(', ')}]` : '';
          }),
    )
    .join('');
}

function nothingFound(sources: readonly Source[]): Omit<Research, keyof Gaps | 'parts'> {
  return {
    answer: 'Nothing in the sources answers the question.',
    citations: [],
    abstained: true,
    weak: true,
    dropped_citations: 0,
    unaddressed_sources: sources.map(({ name }) => name),
  };
}

/** The places in sources too long for one prompt that help with the question, few enough for one prompt. */
async function findPassages(
  given: Input,
  whole: Excerpt[],
  room: number,
  checker: Checker,
  steps: Steps,
) {
  const groupRoom = await roomFor(steps, passagesQuestion(given, material([], STYLE)));
  const search = (groups: Excerpt[][], what: string) =>
    mapGroups(groups, what, steps, async (group) => {
      const question = passagesQuestion(given, material(group, STYLE));
      const { passages } = await steps.askFor(question, claimedPassages);
      return passages.flatMap((claimed) => checker.check(claimed) ?? []);
    });
  const groups = inGroups(whole, groupRoom, STYLE);
  const first = await search(groups, 'part');
  let passages = excerptsOf(valuesOf(first).flat(), whole, checker);
  for (let round = 1; sizeOf(passages, STYLE) > room && round <= MOST_ROUNDS; round++) {
    const fewer = inGroups(passages, groupRoom, STYLE);
    const found = await search(fewer, 'passage');
    const narrower = [
      ...excerptsOf(valuesOf(found).flat(), whole, checker),
      // What could not be narrowed down is kept as it was.
      ...unreadOf(found).map(({ excerpt }) => excerpt),
    ];
    // A model that finds nothing, or all of it again, is no help.
    if (narrower.length === 0 || sizeOf(narrower, STYLE) >= sizeOf(passages, STYLE)) break;
    passages = narrower;
  }
  const fitting = inGroups(passages, room, STYLE);
  const leftOut = fitting.slice(1).flat().length;
  return {
    passages: fitting[0] ?? [],
    read: readOf(first),
    unread: unreadOf(first),
    parts: first.length,
    leftOut,
  };
}

/** Found places with what stands around them, in the order of the sources; those that touch become one. */
function excerptsOf(
  found: readonly { index: number; range: Place }[],
  whole: readonly Excerpt[],
  checker: Checker,
): Excerpt[] {
  const sorted = found
    .map(({ index, range }) => ({ index, ...widened(range, checker.text(index)) }))
    .sort((a, b) => a.index - b.index || a.start - b.start);
  const merged: typeof sorted = [];
  for (const place of sorted) {
    const last = merged.at(-1);
    if (last?.index === place.index && place.start <= last.end) {
      last.end = Math.max(last.end, place.end);
    } else merged.push(place);
  }
  return merged.flatMap(({ index, start, end }) => {
    const source = whole.find((excerpt) => excerpt.source === index);
    const text = checker.text(index);
    const { firstLine, lastLine } = text.place(start, end);
    return source ? [{ ...source, text: text.text.slice(start, end), firstLine, lastLine }] : [];
  });
}

function widened({ start, end, firstLine, lastLine }: Place, text: QuotedText) {
  const from = text.range(Math.max(1, firstLine - MARGIN_LINES), firstLine).start;
  const to = text.range(lastLine, Math.min(text.lines, lastLine + MARGIN_LINES)).end;
  // A line may be as long as a file.
  return { start: Math.max(from, start - MARGIN_CHARS), end: Math.min(to, end + MARGIN_CHARS) };
}
