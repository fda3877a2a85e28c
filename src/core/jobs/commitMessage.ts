import * as z from 'zod';
import {
  type DiffPart,
  fileLine,
  type FileDiff,
  isGenerated,
  pathOf,
  plainLine,
  readDiff,
  splitDiff,
} from './diff';
import { dataRule, fence, plainName } from './fence';
import { badInput } from './handed';
import { defineSteps, type Outcome, type Question, type Settled, type Steps } from './job';
import { jsonSchema } from './json';
import { blockText } from './markdown';
import { messagesOf } from './messages';
import { roomFor } from './room';
import { clip, counted } from './words';

/** What git and its surfaces show of a subject. Characters. */
const LONGEST_SUBJECT = 72;
const BODY_WIDTH = 72;
/** Tokens. */
const MESSAGE = 512;
const NOTES = 384;
/** A diff that takes more prompts than this is read in part: every file gets its share. */
const MOST_PARTS = 12;
/** Files that are named to the model; of the others it hears the number. */
const MOST_NAMED = 60;
const MOST_SUBJECTS = 10;

/** The types of Conventional Commits. */
const TYPES = [
  ...['feat', 'fix', 'docs', 'style', 'refactor', 'perf'],
  ...['test', 'build', 'ci', 'chore', 'revert'],
] as const;

const inputSchema = z.object({
  diff: z.string().refine((t) => /\S/.test(t), 'There is no change to describe.'),
  /** `feat(scope): …`, after Conventional Commits. */
  conventional: z.boolean().default(false),
  /** To write in. Default: English. */
  language: z.string().optional(),
  /** Subjects of earlier commits, whose style is followed. */
  recent_subjects: z.array(z.string()).default([]),
});

type Input = z.output<typeof inputSchema>;

export interface CommitMessage {
  /** At most 72 characters, without a full stop. */
  subject: string;
  /** May be empty. */
  body: string;
}

const plainSchema = z.object({ subject: z.string().min(1), body: z.string() });
const conventionalSchema = z.object({
  type: z.enum(TYPES),
  scope: z.string().nullable(),
  ...plainSchema.shape,
});
const notesSchema = z.object({ changes: z.array(z.string()) });

/** A commit message for a diff. */
export const commitMessage = defineSteps({
  name: 'commit_message',
  title: 'Write Commit Message',
  description: 'A subject and a body for a commit, from its diff.',
  version: 1,
  tier: 'workhorse',
  input: inputSchema,
  async run(input, steps): Promise<Outcome<CommitMessage>> {
    const { files, warnings } = readDiff(input.diff);
    const listed = overview(files);
    const room = await roomFor(steps, finalQuestion(input, listed, ''));
    const { changes, truncated } = await describe(files, room, steps, warnings);
    const question = finalQuestion(input, listed, changes);
    const result = input.conventional
      ? conventional(await steps.askFor(question, conventionalSchema), input, files, warnings)
      : plain(await steps.askFor(question, plainSchema), input, files, warnings);
    return { result, warnings, truncated };
  },
  show: ({ subject, body }) => blockText(body ? `${subject}\n\n${body}` : subject),
  handed: {
    command: {
      name: 'commit',
      description: 'A commit message for the staged changes, or else the working tree',
      example: 'German',
    },
    needs: 'change',
    input: ({ request, change }) => ({
      ...change,
      diff: change?.diff ?? '',
      language: languageOf(request),
    }),
  },
});

/** The one word that may follow the command. */
function languageOf(request: string): string | undefined {
  if (/^\S*$/.test(request)) return request || undefined;
  throw badInput(
    'Only the language of the message can be said here.',
    'Write /commit alone, or with a language: /commit German',
  );
}

function overview(files: readonly FileDiff[]): string {
  const named = files.slice(0, MOST_NAMED).map((file) => `- ${fileLine(file)}`);
  const more = files.length - named.length;
  return [...named, ...(more > 0 ? [`- and ${counted(more, 'more file')}`] : [])].join('\n');
}

/** The diff itself when it fits, or else what a model noted about its parts. */
async function describe(
  files: readonly FileDiff[],
  room: number,
  steps: Steps,
  warnings: string[],
): Promise<{ changes: string; truncated: boolean }> {
  const readable = files.filter((file) => file.hunks.length > 0 && !isGenerated(file));
  const [only, ...others] = splitDiff(readable, room, plainLine);
  if (others.length === 0) {
    warnAboutLongLines([only], warnings);
    return { changes: only?.text ?? '', truncated: false };
  }
  const size = await roomFor(steps, partQuestion(''));
  const budget = MOST_PARTS * size;
  const { shares, cut } = shareOut(readable, budget);
  const parts = splitDiff(shares, size, plainLine);
  warnAboutLongLines(parts, warnings);
  if (cut > 0) {
    warnings.push(`The diff is very long: only the start of ${counted(cut, 'file')} was read.`);
  }
  const settled = await steps.map(parts, 'part', ({ text }) =>
    steps.askFor(partQuestion(text), notesSchema),
  );
  const notes = settled.flatMap((outcome, index) => notesOf(outcome, parts[index], warnings));
  const each = Math.floor(room / Math.max(1, notes.length)) - 1;
  return {
    changes: notes.map((note) => clip(note, Math.max(1, each))).join('\n'),
    truncated: cut > 0 || settled.some(({ ok }) => !ok),
  };
}

function notesOf(
  outcome: Settled<z.output<typeof notesSchema>>,
  part: DiffPart | undefined,
  warnings: string[],
): string[] {
  const paths = part?.files.map(({ file }) => plainName(pathOf(file))) ?? [];
  const names = paths.slice(0, 3).join(', ') + (paths.length > 3 ? ' and others' : '');
  if (!outcome.ok) {
    warnings.push(`The changes in ${names} were not read: ${outcome.error.message}`);
    return [];
  }
  return outcome.value.changes.map((change) => `- ${names}: ${change.replace(/\s+/g, ' ')}`);
}

function warnAboutLongLines(parts: readonly (DiffPart | undefined)[], warnings: string[]): void {
  const cut = parts.reduce((sum, part) => sum + (part?.cut ?? 0), 0);
  if (cut > 0) warnings.push(`Only the start of ${counted(cut, 'very long line')} was read.`);
}

/** Cuts the longest files until all fit, so that every file has its say. */
function shareOut(files: readonly FileDiff[], chars: number): { shares: FileDiff[]; cut: number } {
  const lengthOf = ({ hunks }: FileDiff): number =>
    hunks.reduce((sum, { lines }) => lines.reduce((s, { text }) => s + text.length + 2, sum), 0);
  const sized = files.map((file) => ({ file, length: lengthOf(file) }));
  const limits = new Map<FileDiff, number>();
  let left = chars;
  for (const [index, { file, length }] of sized.toSorted((a, b) => a.length - b.length).entries()) {
    const limit = Math.floor(left / (files.length - index));
    if (length > limit) limits.set(file, limit);
    left -= Math.min(length, limit);
  }
  return {
    shares: files.map((file) => {
      const limit = limits.get(file);
      return limit === undefined ? file : firstPart(file, limit);
    }),
    cut: limits.size,
  };
}

function firstPart(file: FileDiff, chars: number): FileDiff {
  let left = chars;
  const hunks = file.hunks.map((hunk) => ({
    ...hunk,
    lines: hunk.lines.filter(({ text }) => (left -= text.length + 2) >= 0),
  }));
  return { ...file, hunks: hunks.filter(({ lines }) => lines.length > 0) };
}

function partQuestion(text: string): Question {
  const fenced = fence('DIFF', text);
  return {
    messages: messagesOf(
      [
        'You read one part of a longer diff, for somebody who will write the commit message.',
        dataRule(fenced),
        'Note what this part changes, in at most four short sentences, the most important first. Say only what the lines show.',
        'Answer with JSON alone: {"changes": ["…"]}.',
      ],
      [fenced.text, 'Note what it changes.'],
    ),
    numPredict: NOTES,
    temperature: 0.2,
    format: jsonSchema(notesSchema),
  };
}

function finalQuestion(input: Input, listed: string, changes: string): Question {
  const fenced = fence('CHANGES', `Files:\n${listed}\n\n${changes}`);
  const subjects = input.recent_subjects
    .slice(0, MOST_SUBJECTS)
    .map((subject) => clip(subject.replace(/\s+/g, ' '), 2 * LONGEST_SUBJECT))
    .join('\n');
  const style = subjects ? fence('STYLE', subjects) : undefined;
  const system = [
    'You write the commit message for a change. Below are its files, and their diff or notes about it.',
    dataRule(fenced),
    style ? dataRule(style) : '',
    'Say only what the change shows: no reasons, issue numbers, names or trailers that are not in it.',
    `The subject says what the commit does, as an order ("Add …", "Fix …"), in at most ${input.conventional ? 50 : 60} characters, without a full stop.`,
    'The body says what changed and what a reader has to know, in one to four short lines. It is empty when the subject says it all.',
    input.conventional
      ? 'The type is that of Conventional Commits; the scope is one word for the part of the code, or null. The subject holds neither.'
      : '',
    style ? 'The subjects of earlier commits show the style to follow, not what to say.' : '',
    `Write in ${plainName(input.language ?? 'English')}.`,
    input.conventional
      ? 'Answer with JSON alone: {"type": …, "scope": …, "subject": …, "body": …}.'
      : 'Answer with JSON alone: {"subject": …, "body": …}.',
  ];
  const user = [
    style ? `Earlier subjects:\n${style.text}` : '',
    fenced.text,
    'Write the commit message.',
  ];
  return {
    messages: messagesOf(system, user),
    numPredict: MESSAGE,
    temperature: 0.3,
    format: jsonSchema(input.conventional ? conventionalSchema : plainSchema),
  };
}

function plain(
  answer: z.output<typeof plainSchema>,
  input: Input,
  files: readonly FileDiff[],
  warnings: string[],
): CommitMessage {
  return message('', answer, input, files, warnings);
}

function conventional(
  answer: z.output<typeof conventionalSchema>,
  input: Input,
  files: readonly FileDiff[],
  warnings: string[],
): CommitMessage {
  const { type, scope, subject } = answer;
  const prefix = `${type}${isScope(scope, files) ? `(${scope})` : ''}: `;
  const rest = subject.replace(
    new RegExp(`^\\s*(${TYPES.join('|')})(\\([^)]*\\))?!?:\\s*`, 'i'),
    '',
  );
  return message(prefix, { ...answer, subject: rest }, input, files, warnings);
}

/** A scope is a word from the paths: anything else would be made up. */
function isScope(scope: string | null, files: readonly FileDiff[]): scope is string {
  if (!scope || !/^[\w.-]{1,20}$/.test(scope)) return false;
  return files.some((file) => pathOf(file).toLowerCase().includes(scope.toLowerCase()));
}

function message(
  prefix: string,
  answer: { subject: string; body: string },
  { language }: Input,
  files: readonly FileDiff[],
  warnings: string[],
): CommitMessage {
  let said = cleanSubject(answer.subject);
  if (said === '') {
    said = namesOf(files);
    warnings.push('The model gave no subject: this one only names what was changed.');
  }
  if (!language || /^en/i.test(language)) said = imperative(said);
  // After a prefix the subject goes on in small letters, unless it begins with a name.
  if (prefix) said = said.replace(/^\p{Lu}(?=\p{Ll}+\s)/u, (letter) => letter.toLowerCase());
  let body = withoutRepeat(cleanBody(answer.body), said);
  const subject = atWord(prefix + said, LONGEST_SUBJECT);
  if (subject !== prefix + said) {
    body = [said, body].filter(Boolean).join('\n\n');
    warnings.push('The subject was too long: all of it is in the body.');
  }
  return { subject, body: wrap(body) };
}

function cleanSubject(text: string): string {
  const line = text.trim().split(/\r?\n/)[0] ?? '';
  return line
    .replace(/[\p{C}\s]+/gu, ' ')
    .replace(/^(subject|title)\s*:\s*/i, '')
    .replace(/^(["'`*]+)(.*)\1$/u, '$2')
    .replace(/[\s.]+$/, '')
    .trim();
}

function namesOf(files: readonly FileDiff[]): string {
  const [first] = files;
  const name = first && plainName(pathOf(first).split('/').at(-1) ?? '');
  return files.length === 1 && name ? `Change ${name}` : `Change ${counted(files.length, 'file')}`;
}

const VERBS = [
  ...['add', 'fix', 'update', 'remove', 'change', 'improve', 'refactor', 'rename', 'move', 'use'],
  ...['make', 'support', 'handle', 'replace', 'introduce', 'implement', 'create', 'delete'],
];

/** `Added`, `Adds` and `Adding` as `Add`: models forget it. */
function imperative(subject: string): string {
  const [first = '', ...rest] = subject.split(' ');
  const word = first.toLowerCase();
  const verb = VERBS.find((v) => {
    const stem = v.replace(/e$/, '');
    return [`${v}s`, `${v}es`, `${stem}ed`, `${stem}ing`].includes(word);
  });
  if (!verb || rest.length === 0) return subject;
  const isCapital = first[0] !== word[0];
  return [isCapital ? `${verb[0]?.toUpperCase()}${verb.slice(1)}` : verb, ...rest].join(' ');
}

/** The start of a line up to the last whole word that fits. */
function atWord(text: string, chars: number): string {
  if (text.length <= chars) return text;
  const end = text.lastIndexOf(' ', chars);
  const cut = text.slice(0, end > chars / 2 ? end : chars);
  return cut.replace(/[\uD800-\uDBFF]$/, '').replace(/[\s.,;:]+$/, '');
}

/** Lines that only a person can vouch for. */
const TRAILER =
  /^\s*([\w-]+-by:|(fix(es)?|close[sd]?|resolve[sd]?|refs?|see|issue)[\s:]+#?\d+\s*\.?$)/i;

function cleanBody(body: string): string {
  return body
    .split(/\r\n?|\n/)
    .filter((line) => !TRAILER.test(line))
    .map((line) => line.trimEnd())
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

function withoutRepeat(body: string, subject: string): string {
  const [first = '', ...rest] = body.split('\n');
  return cleanSubject(first) === subject ? rest.join('\n').trim() : body;
}

function wrap(body: string): string {
  return body.split('\n').map(wrapLine).join('\n');
}

function wrapLine(line: string): string {
  const indent = /^\s*([-*]\s+)?/.exec(line)?.[0].replace(/\S/g, ' ') ?? '';
  const lines: string[] = [];
  let current = '';
  for (const word of line.split(' ')) {
    if (current.trim() !== '' && current.length + 1 + word.length > BODY_WIDTH) {
      lines.push(current);
      current = indent + word;
    } else {
      current = current === '' ? word : `${current} ${word}`;
    }
  }
  return [...lines, current].join('\n');
}
