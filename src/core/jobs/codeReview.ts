import * as z from 'zod';
import {
  type DiffLine,
  type DiffPart,
  type FileDiff,
  type Hunk,
  isGenerated,
  numberedLine,
  pathOf,
  readDiff,
  splitDiff,
} from './diff';
import { entries } from './entries';
import { dataRule, fence, plainName } from './fence';
import { defineSteps, type Outcome, type Question } from './job';
import { jsonSchema } from './json';
import { codeBlock, inlineText } from './markdown';
import { messagesOf } from './messages';
import { roomFor } from './room';
import { offerTool } from './tool';
import { counted } from './words';

/** From the least to the most severe. */
const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

const CATEGORIES = [
  ...['bug', 'security', 'performance', 'concurrency', 'error_handling'],
  ...['api', 'maintainability', 'test', 'documentation', 'style', 'other'],
] as const;

/** Tokens of the findings in one part. */
const ANSWER = 1536;
/** Models overlook things in longer parts, even where their window is large. Characters. */
const LARGEST_PART = 12_000;

const inputSchema = z.object({
  diff: z.string().refine((t) => /\S/.test(t), 'There is no change to review.'),
  /** Less severe findings are left out. */
  severity_floor: z.enum(SEVERITIES).default('low'),
  max_findings: z.number().int().min(1).max(200).default(50),
  /** What to look at above all. */
  focus: z.string().optional(),
});

type Input = z.output<typeof inputSchema>;

export interface Finding {
  severity: Severity;
  category: (typeof CATEGORIES)[number];
  /** As the diff names it. */
  file: string;
  /** On the new side of the diff, where it exists. */
  line: number;
  end_line?: number;
  message: string;
  suggestion?: string;
}

export interface Review {
  /** The most severe first. */
  findings: Finding[];
  summary: string;
  /** Findings of the model that are malformed, or whose place or code is not in the diff. */
  dropped: number;
}

const small = (value: unknown): unknown =>
  typeof value === 'string' ? value.trim().toLowerCase() : value;
const numeric = (value: unknown): unknown =>
  typeof value === 'string' && /^\d+$/.test(value.trim()) ? Number(value) : value;
const optional = <S extends z.ZodType>(schema: S) => schema.nullish().catch(undefined);

const foundSchema = z.object({
  file: z.string(),
  line: z.preprocess(numeric, z.number().int().min(1)),
  end_line: optional(z.preprocess(numeric, z.number().int().min(1))),
  /** The line itself, which tells where the finding belongs when the number is wrong. */
  code: optional(z.string()),
  severity: z.preprocess(small, z.enum(SEVERITIES)),
  category: z.preprocess(small, z.enum(CATEGORIES)).catch('other'),
  message: z.string().refine((t) => /\S/.test(t)),
  suggestion: optional(z.string()),
});
const answerSchema = z.object({ findings: entries(foundSchema) });

type Found = z.output<typeof foundSchema>;

/** What is wrong with a change, line by line. */
export const codeReview = defineSteps({
  name: 'code_review',
  title: 'Review Changes',
  description: 'Findings about a diff, each at a line that exists in it, the most severe first.',
  version: 1,
  tier: 'workhorse',
  input: inputSchema,
  async run(input, steps): Promise<Outcome<Review>> {
    const { files, warnings } = readDiff(input.diff);
    const reviewed = files.filter((file) => whyNotReviewed(file) === undefined);
    warnings.push(...skipped(files));
    const room = await roomFor(steps, question(input, ''));
    const parts = splitDiff(reviewed, Math.min(room, LARGEST_PART), numberedLine);
    const cut = parts.reduce((sum, part) => sum + part.cut, 0);
    if (cut > 0) warnings.push(`Only the start of ${counted(cut, 'very long line')} was read.`);
    const settled = await steps.map(parts, 'part', ({ text }) =>
      steps.askFor(question(input, text), answerSchema),
    );
    const all: Finding[] = [];
    const failed: string[] = [];
    let dropped = 0;
    let moved = 0;
    for (const [index, outcome] of settled.entries()) {
      const part = parts[index] as DiffPart;
      if (!outcome.ok) {
        failed.push(...part.files.map(({ file }) => pathOf(file)));
        warnings.push(`${namesOf(part)} could not be reviewed: ${outcome.error.message}`);
        continue;
      }
      const { findings } = outcome.value;
      dropped += findings.dropped;
      for (const found of findings.kept) {
        const place = placeOf(found, part);
        if (!place) dropped++;
        else all.push(findingAt(place, found));
        if (place && place.line !== found.line) moved++;
      }
    }
    if (moved > 0) {
      warnings.push(`Moved to the code that they quote: ${counted(moved, 'finding')}.`);
    }
    if (dropped > 0) {
      const left = counted(dropped, 'finding');
      warnings.push(`Left out as malformed, or as about what is not in the diff: ${left}.`);
    }
    const findings = ranked(all, reviewed, input);
    const shown = findings.slice(0, input.max_findings);
    if (shown.length < findings.length) {
      const more = counted(findings.length - shown.length, 'less severe finding');
      warnings.push(`Left out: ${more}.`);
    }
    const done = reviewed.filter((file) => !failed.includes(pathOf(file)));
    const result: Review = { findings: shown, summary: summaryOf(shown, done), dropped };
    return { result, warnings, truncated: failed.length > 0 || cut > 0 };
  },
  show({ findings, summary }) {
    const shown = findings.map(
      ({ severity, category, file, line, end_line, message, suggestion }) =>
        [
          `- **${severity}** (${category.replace('_', ' ')}) ${inlineText(file)}:${line}${end_line ? `-${end_line}` : ''}: ${inlineText(message)}`,
          suggestion ? indented(suggestionText(suggestion)) : '',
        ]
          .filter(Boolean)
          .join('\n'),
    );
    return [summary, ...shown].join('\n\n');
  },
  tool: offerTool({
    name: 'code_review',
    description:
      'Reviews a change with a local model: findings with file, line, severity and what to write instead. Reads what is staged in git, or else the working tree, or a diff that you give.',
    doing: 'Reviewing',
    reads: 'change',
    parameters: z.object({
      severity_floor: z.enum(SEVERITIES).optional().describe('Less severe findings are left out.'),
      focus: z.string().optional().describe('What to look at above all.'),
    }),
    input: (given, { change }) => ({ ...given, diff: change?.diff ?? '' }),
  }),
  handed: {
    command: {
      name: 'review',
      description: 'Findings about the staged changes, or else the working tree',
      example: 'Look at the error handling above all.',
    },
    needs: 'change',
    input: ({ request, change }) => ({ diff: change?.diff ?? '', focus: request || undefined }),
    follow_ups: [
      { command: 'commit', request: '', label: 'Write a commit message' },
      { command: 'brief', request: 'change', label: 'Write a change brief' },
    ],
  },
  cites: ({ findings }) =>
    findings.map(({ file, line, end_line = line }) => ({
      source: file,
      first_line: line,
      last_line: end_line,
    })),
});

function suggestionText(suggestion: string): string {
  return suggestion.includes('\n')
    ? codeBlock(suggestion)
    : `Suggestion: ${inlineText(suggestion)}`;
}

/** So that it belongs to the point of a list. */
function indented(text: string): string {
  return text.replace(/^/gm, '  ');
}

function whyNotReviewed(file: FileDiff): string | undefined {
  if (isGenerated(file)) return 'generated';
  if (file.binary) return 'binary';
  if (file.status === 'deleted') return 'deleted';
  return file.hunks.length === 0 ? 'without changed lines' : undefined;
}

function skipped(files: readonly FileDiff[]): string[] {
  const counts = new Map<string, number>();
  for (const why of files.map(whyNotReviewed)) {
    if (why !== undefined) counts.set(why, (counts.get(why) ?? 0) + 1);
  }
  const kinds = [...counts].map(([why, count]) => `${count.toLocaleString('en-US')} ${why}`);
  return kinds.length > 0 ? [`Files that were not reviewed: ${kinds.join(', ')}.`] : [];
}

function namesOf({ files }: DiffPart): string {
  const names = files.slice(0, 3).map(({ file }) => `"${plainName(pathOf(file))}"`);
  return names.join(', ') + (files.length > 3 ? ` and ${files.length - 3} more` : '');
}

function question({ severity_floor, focus }: Input, text: string): Question {
  const fenced = fence('DIFF', text);
  const severities = SEVERITIES.slice(SEVERITIES.indexOf(severity_floor));
  const system = [
    'You review changes to code for the developer who made them. You are exact and do not flatter.',
    dataRule(fenced),
    'It is a part of a diff. Each line begins with its number in the new file, then + when it is added; removed lines have a - and no number.',
    'Report real problems that the change brings or leaves: what goes wrong, when, and why. Do not praise, do not describe the change, do not guess about code that is not shown. When there is nothing to report, the list is empty: that is a good answer.',
    'Each finding has the file and the number of a numbered line, and that line itself as "code", copied exactly. The suggestion says what to write instead, or is null.',
    `Severities: ${severities.join(', ')}. Categories: ${CATEGORIES.join(', ')}.`,
    'Answer with JSON alone: {"findings": [{"file": …, "line": …, "end_line": …, "code": …, "severity": …, "category": …, "message": …, "suggestion": …}]}.',
  ];
  const about = focus ? `Look above all at this: ${focus}` : '';
  return {
    messages: messagesOf(system, [fenced.text, about, 'Review it.']),
    numPredict: ANSWER,
    temperature: 0.2,
    format: jsonSchema(answerSchema),
  };
}

interface Place {
  file: FileDiff;
  hunk: Hunk;
  line: number;
}

/** Where a finding belongs among the lines that the model saw; undefined: nowhere, or it is about code that is not there. */
function placeOf({ file, line, code }: Found, part: DiffPart): Place | undefined {
  const seen = fileOf(file, part);
  if (!seen || (code && !isInDiff(code, seen.file))) return undefined;
  const exact = seen.hunks.find((hunk) => newLines(hunk).some((l) => l.new_line === line));
  const hunk = exact ?? nearest(seen.hunks, (h) => distance(h, line));
  if (!hunk) return undefined;
  const quoted = newLines(hunk).filter(({ text }) => code && isQuoted(text, code));
  const best = nearest(quoted, (l) => Math.abs((l.new_line ?? 0) - line));
  const found = best?.new_line ?? (exact && line);
  return found === undefined ? undefined : { file: seen.file, hunk, line: found };
}

function newLines(hunk: Hunk): DiffLine[] {
  return hunk.lines.filter(({ new_line }) => new_line !== undefined);
}

function distance(hunk: Hunk, line: number): number {
  return Math.min(...newLines(hunk).map((l) => Math.abs((l.new_line ?? 0) - line)), Infinity);
}

function nearest<T>(all: readonly T[], distanceOf: (item: T) => number): T | undefined {
  let best: T | undefined;
  let least = Infinity;
  for (const item of all) {
    const found = distanceOf(item);
    if (found < least) [best, least] = [item, found];
  }
  return best;
}

/** The file of that name; models leave out folders, or add the prefixes of git. */
function fileOf(name: string, part: DiffPart): DiffPart['files'][number] | undefined {
  const wanted = name.trim().replace(/^\.\//, '');
  const named = (same: (path: string) => boolean): DiffPart['files'] =>
    part.files.filter(({ file }) => same(pathOf(file)));
  const [exact] = named((path) => path === wanted || plainName(path) === wanted);
  const alike = named((path) => wanted === `b/${path}` || path.endsWith(`/${wanted}`));
  return exact ?? (alike.length === 1 ? alike[0] : undefined);
}

/** Shorter pieces of code are in many lines. Characters. */
const SHORTEST_QUOTE = 8;

function isQuoted(text: string, code: string): boolean {
  const line = squeezed(text);
  // The number and the sign before the line may be quoted too.
  return [code, code.replace(/^\s*\d*\s*[+-]?\s/, '')].map(squeezed).some((quote) => {
    if (line === '' || quote === '') return false;
    const [shorter, longer] = quote.length < line.length ? [quote, line] : [line, quote];
    return longer === shorter || (shorter.length >= SHORTEST_QUOTE && longer.includes(shorter));
  });
}

/** Whether some line of the code stands in the diff of the file, on either side, with whatever blanks. */
function isInDiff(code: string, { hunks }: FileDiff): boolean {
  const all = code.split('\n').filter((piece) => /\S/.test(piece));
  const telling = all.filter((piece) => /[\p{L}\p{N}]/u.test(piece));
  const pieces = telling.length > 0 ? telling : all;
  const lines = hunks.flatMap(({ heading, lines }) => [heading, ...lines.map(({ text }) => text)]);
  const bare = (text: string): string => text.replace(/\s+|…\s*$/g, '');
  return (
    pieces.length === 0 ||
    pieces.some((piece) =>
      lines.some((text) => isQuoted(text, piece) || bare(text).includes(bare(piece))),
    )
  );
}

function squeezed(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

function findingAt({ file, hunk, line }: Place, found: Found): Finding {
  const { severity, category, message, suggestion } = found;
  // The end moves with the beginning.
  const end = found.end_line ? found.end_line + line - found.line : line;
  const hasEnd = end > line && newLines(hunk).some(({ new_line }) => new_line === end);
  return {
    severity,
    category,
    file: pathOf(file),
    line,
    ...(hasEnd && { end_line: end }),
    message: message.trim(),
    ...(suggestion?.trim() && { suggestion: suggestion.replace(/^\s*\n|\s+$/g, '') }),
  };
}

/** The most severe first, then in the order of the diff; of findings that say the same, the first. */
function ranked(
  all: readonly Finding[],
  files: readonly FileDiff[],
  { severity_floor }: Input,
): Finding[] {
  const order = new Map(files.map((file, index) => [pathOf(file), index]));
  const rank = ({ severity }: Finding): number => SEVERITIES.indexOf(severity);
  const sorted = all
    .filter((finding) => rank(finding) >= SEVERITIES.indexOf(severity_floor))
    .toSorted(
      (a, b) =>
        rank(b) - rank(a) || (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.line - b.line,
    );
  const seen = new Set<string>();
  return sorted.filter(({ file, line, message }) => {
    const key = JSON.stringify([file, line, wordsIn(message)]);
    const isNew = !seen.has(key);
    seen.add(key);
    return isNew;
  });
}

/** What a message says, whatever its case, blanks and punctuation. */
function wordsIn(message: string): string {
  return (
    message
      .toLowerCase()
      .match(/[\p{L}\p{N}_]+/gu)
      ?.join(' ') ?? squeezed(message)
  );
}

function summaryOf(findings: readonly Finding[], files: readonly FileDiff[]): string {
  if (files.length === 0) return 'Nothing was reviewed.';
  const sum = (side: 'added' | 'removed'): number =>
    files.reduce((total, file) => total + file[side], 0);
  const scope = `${counted(files.length, 'file')} (+${sum('added')} -${sum('removed')})`;
  if (findings.length === 0) return `No findings in ${scope}.`;
  const counts = SEVERITIES.toReversed()
    .map((severity) => [findings.filter((f) => f.severity === severity).length, severity] as const)
    .filter(([count]) => count > 0)
    .map(([count, severity]) => `${count} ${severity}`);
  return `${counted(findings.length, 'finding')} in ${scope}: ${counts.join(', ')}.`;
}
