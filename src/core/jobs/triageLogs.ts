import * as z from 'zod';
import { toInternError } from '../errors';
import { type Entries, entries } from './entries';
import { dataRule, fence, plainName } from './fence';
import { oneSource, type SlashCommand, someText } from './handed';
import { defineSteps, type Outcome, type Question, type Settled, type Steps } from './job';
import { jsonSchema } from './json';
import { LogScan, type Match } from './logScan';
import { inlineText } from './markdown';
import { messagesOf } from './messages';
import { roomFor } from './room';
import { offerTool, onlySource } from './tool';
import { clip, counted } from './words';

/** Prompts that a log is shown in. Of one that needs more, a model sees only the lines that stand out. */
export const MOST_WINDOWS = 12;
/** Characters. Models overlook lines in larger ones. */
const LARGEST_WINDOW = 12_000;
/** Tokens. */
const ANSWER = 640;
const CAUSE_ANSWER = 256;
const LONGEST_MESSAGE = 300;
/** Groups that are told, of each kind, and lines of each. */
const MOST_GROUPS = 50;
const MOST_LINES = 5;
/** Groups that a cause may rest on. */
const MOST_EVIDENCE = 30;
/** The share of a message's words that its line has, where the model names the line and where it is looked for. */
const RELATED = 0.3;
const SAME = 0.5;

const inputSchema = z.object({
  text: z.string().refine((t) => /\S/.test(t), 'The log is empty.'),
  source: z.string().optional(),
  /** Words or parts of lines that matter to the person. */
  patterns: z
    .array(
      z
        .string()
        .max(200)
        .refine((p) => /\S/.test(p), 'A pattern has at least one character.')
        .refine((p) => !/[\r\n]/.test(p), 'A pattern is part of one line.'),
    )
    .max(20)
    .default([]),
});

type Input = z.output<typeof inputSchema>;

/** Lines that say the same, but for times, numbers and ids. */
export interface LogGroup {
  message: string;
  /** All such lines of the log, also those that no model saw. */
  count: number;
  first_line: number;
  last_line: number;
  /** Some of the lines. */
  lines: number[];
}

export interface Triage {
  errors: LogGroup[];
  warnings: LogGroup[];
  /** Null: the lines show none. */
  suspected_cause: { text: string; lines: number[] } | null;
  /** There are errors, and no cause that rests on lines of the log. */
  weak: boolean;
  /** Read by rules: all lines. */
  lines_read: number;
  lines_shown_to_model: number;
  /** Lines whose level or words say so; counted, not judged by a model. */
  error_lines: number;
  warning_lines: number;
  patterns: {
    pattern: string;
    count: number;
    first_line: number | null;
    last_line: number | null;
  }[];
}

const entrySchema = z.object({
  line: z.number().int().min(1),
  message: z.string().refine((t) => /\S/.test(t)),
});
const windowSchema = z.object({ errors: entries(entrySchema), warnings: entries(entrySchema) });
const causeSchema = z.object({
  cause: z.string().nullable(),
  lines: entries(z.number().int()),
});

type Entry = z.output<typeof entrySchema>;

const COMMAND: SlashCommand = {
  name: 'triage',
  description: 'The errors of a log and their likely cause; words that follow are counted',
  example: '#file:app.log timeout, refused',
};

/** Errors and warnings of a log of any size, and what may be behind them. */
export const triageLogs = defineSteps({
  name: 'triage_logs',
  title: 'Triage Log',
  description: 'The errors and warnings of a log, counted and grouped, and the likely cause.',
  version: 1,
  tier: 'instant',
  input: inputSchema,
  async run(input, steps): Promise<Outcome<Triage>> {
    const room = Math.min(await roomFor(steps, windowQuestion(input, '')), LARGEST_WINDOW);
    const scan = await LogScan.read(input.text, input.patterns);
    const windows = windowsOf(scan, room);
    const shown = windows.reduce((sum, { lines }) => sum + lines.length, 0);
    const settled = await steps.map(windows, 'window', ({ text }) =>
      steps.askFor(windowQuestion(input, text), windowSchema),
    );
    const collected = new Collected(scan);
    for (const [index, window] of windows.entries()) {
      collected.take(settled[index] as Settled<z.output<typeof windowSchema>>, window);
    }
    const { errors, warnings } = collected.groups();
    const told = collected.notes;
    const hasErrors = errors.length > 0 || scan.counts.error > 0;
    const cause = await causeOf(input, [...errors, ...warnings], scan, steps, told);
    if (scan.shownChars > 0 && shown < nonBlank(scan)) {
      told.unshift(
        `All ${counted(scan.lines, 'line')} were read by rules; the model saw ${shown.toLocaleString('en-US')} that stand out.`,
      );
    }
    const inPart = windows.flatMap(({ lines }) => lines).filter((n) => scan.isShownInPart(n));
    if (inPart.length > 0) {
      told.push(`The model saw only a part of ${counted(inPart.length, 'long line')}.`);
    }
    if (scan.cut > 0)
      told.push(`Only the start of ${counted(scan.cut, 'very long line')} was read.`);
    if (errors.length === 0 && scan.counts.error > 0) {
      told.push(
        `The model named no errors, though ${counted(scan.counts.error, 'line')} of the log look like some.`,
      );
    }
    const result: Triage = {
      errors,
      warnings,
      suspected_cause: cause,
      weak: hasErrors && cause === null,
      lines_read: scan.lines,
      lines_shown_to_model: shown,
      error_lines: scan.counts.error,
      warning_lines: scan.counts.warning,
      patterns: scan.matches.map(patternOf),
    };
    return { result, warnings: told, truncated: settled.some(({ ok }) => !ok) };
  },
  show(result) {
    const { errors, warnings, suspected_cause: cause, patterns } = result;
    const found = patterns.map(
      ({ pattern, count, first_line }) =>
        `- ${inlineText(pattern)}: ${count === 0 ? 'nowhere' : `${counted(count, 'line')}, first in line ${first_line}`}`,
    );
    return [
      `${counted(result.lines_read, 'line')}: ${counted(result.error_lines, 'error')}, ${counted(result.warning_lines, 'warning')} by their words.`,
      cause
        ? `**Suspected cause:** ${inlineText(cause.text)} (${linesText(cause.lines)})`
        : result.weak
          ? 'The lines do not show a cause.'
          : '',
      ...section('Errors', errors.map(groupText)),
      ...section('Warnings', warnings.map(groupText)),
      ...section('Patterns', found),
    ]
      .filter(Boolean)
      .join('\n\n');
  },
  tool: offerTool({
    name: 'triage_logs',
    description:
      'Counts and groups the errors and warnings of a log of any size, with the numbers of their lines, and names the likely cause. Use it instead of reading logs.',
    doing: 'Triaging',
    reads: 'log',
    parameters: z.object({
      patterns: z
        .array(z.string())
        .max(20)
        .optional()
        .describe('Words to count: the lines that contain them are counted and matter above all.'),
    }),
    input: ({ patterns }, material) => ({ ...onlySource(material), patterns }),
  }),
  handed: {
    command: COMMAND,
    input(handed) {
      const log = oneSource(handed, COMMAND);
      if (!log) return { text: someText(handed.request) };
      const patterns = handed.request.split(',').map((pattern) => pattern.trim());
      return { text: log.text, source: log.name, patterns: patterns.filter(Boolean) };
    },
    follow_ups: [
      {
        command: 'research',
        request: 'What causes the errors in this log?',
        label: 'Research the cause',
      },
      { command: 'brief', request: 'incident', label: 'Write an incident brief' },
    ],
  },
  cites({ errors }, { source }) {
    if (source === undefined) return [];
    return errors.map(({ first_line }) => ({ source, first_line, last_line: first_line }));
  },
});

function section(title: string, points: string[]): string[] {
  return points.length > 0 ? [`## ${title}`, points.join('\n')] : [];
}

function groupText({ message, count, first_line, last_line }: LogGroup): string {
  const where =
    count === 1 ? `line ${first_line}` : `${count}×, lines ${first_line} to ${last_line}`;
  return `- ${inlineText(message)} (${where})`;
}

function linesText(lines: readonly number[]): string {
  return lines.length === 1 ? `line ${lines[0]}` : `lines ${lines.join(', ')}`;
}

function patternOf({ pattern, count, lines }: Match): Triage['patterns'][number] {
  return { pattern, count, first_line: lines[0] ?? null, last_line: lines.at(-1) ?? null };
}

function nonBlank({ counts }: LogScan): number {
  return counts.error + counts.warning + counts.odd + counts.plain;
}

interface Window {
  lines: number[];
  text: string;
}

/** The lines that a model sees, in no more windows than are worth their time, and as many of them as fit there. */
function windowsOf(scan: LogScan, room: number): Window[] {
  // What marks and the last lines of windows take is known when they are packed.
  for (let fill = 1.1; ; fill -= 0.05) {
    const windows = packed(scan, scan.select(Math.floor(room * MOST_WINDOWS * fill)), room);
    if (windows.length <= MOST_WINDOWS) return windows;
  }
}

/** Lines with their numbers, in windows of a size; a mark stands where lines are left out. */
function packed(scan: LogScan, lines: readonly number[], size: number): Window[] {
  const windows: Window[] = [];
  let window: Window | undefined;
  for (const number of lines) {
    const shown = clip(scan.shown(number), size - 2);
    if (!window || window.text.length + shown.length + 3 > size) {
      window = { lines: [number], text: shown };
      windows.push(window);
      continue;
    }
    const isNext = number === (window.lines.at(-1) ?? 0) + 1;
    window.text += isNext ? `\n${shown}` : `\n…\n${shown}`;
    window.lines.push(number);
  }
  return windows;
}

function windowQuestion({ source, patterns }: Input, text: string): Question {
  const fenced = fence('LOG', text);
  const system = [
    'You read a part of a log for a software developer.',
    dataRule(fenced),
    'Each line begins with its number; … stands for lines that are left out.',
    'List the errors and the warnings in it, the most important first, at most eight of each, and one line for those that repeat. The message says in one short sentence what happened, with the words of the line. A line that reports success is neither. Empty lists are a good answer.',
    patterns.length > 0
      ? `These matter to the reader above all: ${patterns.map((p) => JSON.stringify(p)).join(', ')}.`
      : '',
    'Answer with JSON alone: {"errors": [{"line": …, "message": …}], "warnings": [{"line": …, "message": …}]}.',
  ];
  const about = source ? `The log is from "${plainName(source)}".` : '';
  return {
    messages: messagesOf(system, [about, fenced.text, 'List its errors and warnings.']),
    numPredict: ANSWER,
    temperature: 0.2,
    format: jsonSchema(windowSchema),
  };
}

/** What the model named in all windows, held to the lines that are really there. */
class Collected {
  readonly notes: string[] = [];
  readonly #errors = new Map<unknown, LogGroup>();
  readonly #warnings = new Map<unknown, LogGroup>();
  #dropped = 0;
  #moved = 0;

  constructor(private readonly scan: LogScan) {}

  take(outcome: Settled<z.output<typeof windowSchema>>, window: Window): void {
    if (!outcome.ok) {
      const [first, last] = [window.lines[0], window.lines.at(-1)];
      this.notes.push(`Lines ${first} to ${last} could not be read: ${outcome.error.message}`);
      return;
    }
    this.#add(outcome.value.errors, window, this.#errors);
    this.#add(outcome.value.warnings, window, this.#warnings);
  }

  groups(): { errors: LogGroup[]; warnings: LogGroup[] } {
    for (const kind of this.#errors.keys()) this.#warnings.delete(kind);
    if (this.#moved > 0) {
      this.notes.push(
        `Moved to the line that they quote: ${counted(this.#moved, 'entry', 'entries')}.`,
      );
    }
    if (this.#dropped > 0) {
      const left = counted(this.#dropped, 'entry', 'entries');
      this.notes.push(`Left out as malformed, or as not what the log says: ${left}.`);
    }
    return { errors: this.#told(this.#errors), warnings: this.#told(this.#warnings) };
  }

  #told(groups: ReadonlyMap<unknown, LogGroup>): LogGroup[] {
    const all = [...groups.values()].sort((a, b) => a.first_line - b.first_line);
    if (all.length > MOST_GROUPS) {
      this.notes.push(
        `Left out: ${counted(all.length - MOST_GROUPS, 'later entry', 'later entries')}.`,
      );
    }
    return all.slice(0, MOST_GROUPS);
  }

  #add(found: Entries<Entry>, window: Window, groups: Map<unknown, LogGroup>): void {
    this.#dropped += found.dropped;
    for (const entry of found.kept) {
      const line = this.#lineOf(entry, window);
      if (line === undefined) {
        this.#dropped++;
        continue;
      }
      if (line !== entry.line) this.#moved++;
      const kind = this.scan.kindOf(line);
      const group = groups.get(kind) ?? {
        message: clip(entry.message.trim(), LONGEST_MESSAGE),
        count: kind.count,
        first_line: kind.first,
        last_line: kind.last,
        lines: [kind.first],
      };
      const lines = [...new Set([...group.lines, line])].slice(0, MOST_LINES);
      groups.set(kind, { ...group, lines: lines.sort((a, b) => a - b) });
    }
  }

  /** The line that a message is about: the one that is named when its words agree, or the one that agrees best. */
  #lineOf({ line, message }: Entry, window: Window): number | undefined {
    const words = wordsOf(message);
    if (window.lines.includes(line) && shared(words, this.scan.line(line)) >= RELATED) return line;
    let best: number | undefined;
    let most = SAME;
    for (const number of window.lines) {
      const share = shared(words, this.scan.line(number));
      if (share > most || (share === most && best === undefined)) [best, most] = [number, share];
    }
    return best;
  }
}

/** In nearly every entry, so they tell nothing of its line. */
const COMMON = new Set([
  'error',
  'warning',
  'warn',
  'the',
  'and',
  'was',
  'for',
  'with',
  'has',
  'line',
]);

/** Words of at least three letters; scripts without spaces count by the character. */
function wordsOf(text: string): Set<string> {
  const words = text
    .toLowerCase()
    .match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}]{3,}/gu);
  const all = new Set(words);
  const telling = new Set([...all].filter((word) => !COMMON.has(word)));
  return telling.size > 0 ? telling : all;
}

/** The share of the words that a line has. */
function shared(words: ReadonlySet<string>, line: string): number {
  if (words.size === 0) return 0;
  const has = line.toLowerCase();
  return [...words].filter((word) => has.includes(word)).length / words.size;
}

/** What may be behind the errors, with the lines it rests on; without such lines it is a guess, and not told. */
async function causeOf(
  input: Input,
  groups: readonly LogGroup[],
  scan: LogScan,
  steps: Steps,
  notes: string[],
): Promise<Triage['suspected_cause']> {
  if (groups.length === 0) return null;
  try {
    const room = await roomFor(steps, causeQuestion(input, ''));
    const evidence = groups
      .slice(0, MOST_EVIDENCE)
      .flatMap(({ lines, count }) =>
        lines.map(
          (line) => [line, scan.shown(line) + (count > 1 ? ` (${count} such lines)` : '')] as const,
        ),
      )
      .sort(([a], [b]) => a - b);
    const lines: number[] = [];
    let text = '';
    for (const [line, shown] of evidence) {
      if (lines.includes(line) || text.length + shown.length + 1 > room) continue;
      lines.push(line);
      text += `${shown}\n`;
    }
    const answer = await steps.askFor(causeQuestion(input, text.trimEnd()), causeSchema);
    const cited = [...new Set(answer.lines.kept)].filter((line) => lines.includes(line));
    if (!answer.cause?.trim()) return null;
    if (cited.length > 0) {
      return {
        text: clip(answer.cause.trim(), 2 * LONGEST_MESSAGE),
        lines: cited.sort((a, b) => a - b),
      };
    }
    notes.push('The model named a cause without a line of the log behind it; it was left out.');
  } catch (thrown) {
    const error = toInternError(thrown);
    if (error.code === 'cancelled') throw error;
    notes.push(`No cause was looked for: ${error.message}`);
  }
  return null;
}

function causeQuestion({ source }: Input, text: string): Question {
  const fenced = fence('LOG', text);
  const system = [
    'You look for the cause of the errors in a log, for a software developer. You are given the lines that matter, each with its number.',
    dataRule(fenced),
    'Say in one or two sentences what most likely went wrong first and led to the rest, and name the numbers of the lines that show it. Say only what the lines show. When they do not show a cause, it is null: that is better than a guess.',
    'Answer with JSON alone: {"cause": …, "lines": […]}.',
  ];
  const about = source ? `The log is from "${plainName(source)}".` : '';
  return {
    messages: messagesOf(system, [about, fenced.text, 'What is the cause?']),
    numPredict: CAUSE_ANSWER,
    temperature: 0.2,
    format: jsonSchema(causeSchema),
  };
}
