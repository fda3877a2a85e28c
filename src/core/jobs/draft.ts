import * as z from 'zod';
import { dataRule, fence, plainName } from './fence';
import { oneSource, type SlashCommand } from './handed';
import { defineJob } from './job';
import { codeBlock } from './markdown';
import { messagesOf } from './messages';

/** Room for an answer that rewrites the selection and adds to it. Tokens. */
const LEAST_ANSWER = 1024;
const CHARS_PER_TOKEN = 3;

export interface Draft {
  /** The text to put in place of the selection. */
  draft: string;
  /** The editor's language id of what it belongs to. */
  language?: string;
}

const COMMAND: SlashCommand = {
  name: 'draft',
  description: 'Code or prose after an instruction, starting from the attached text',
  example: '#selection Add a constant for the longest pause.',
};

/** Code or prose after an instruction, as a replacement for the given text. */
export const draft = defineJob({
  name: 'draft',
  title: 'Draft',
  description: 'Code or prose after an instruction, starting from the selected text.',
  version: 1,
  tier: 'workhorse',
  temperature: 0.6,
  streamed: true,
  input: z.object({
    instruction: z.string().refine((t) => t.trim() !== '', 'Say what should be written.'),
    /** What the draft replaces; may be empty. */
    text: z.string().default(''),
    source: z.string().optional(),
    language: z.string().optional(),
    /** Text right before and after, for orientation. */
    before: z.string().default(''),
    after: z.string().default(''),
  }),
  prompt({ instruction, text, source, language, before, after }) {
    const selection = fence('SELECTION', text);
    const context =
      before || after
        ? fence('CONTEXT', `${before}\n[the selection is here]\n${after}`)
        : undefined;
    const kind = language && !PROSE.has(language) ? `${language} code` : 'text';
    const system = [
      `You are a careful assistant inside a code editor. You write ${kind} that replaces the selected part of a file.`,
      dataRule(selection),
      context ? dataRule(context) : '',
      'Keep the style, the indentation and the names of what surrounds it. Change nothing that the instruction does not ask for.',
      'Answer with the replacement alone: no explanation, no Markdown fence around it.',
    ];
    const user = [
      source ? `File: "${plainName(source)}"` : '',
      context?.text ?? '',
      text ? selection.text : 'The selection is empty: write new text for this place.',
      `Instruction: ${instruction}`,
    ];
    return {
      messages: messagesOf(system, user),
      numPredict: Math.max(LEAST_ANSWER, Math.ceil((text.length * 2) / CHARS_PER_TOKEN)),
    };
  },
  parse(answer, { text, language }) {
    const { code, outside } = unfence(answer, language);
    const warnings = outside
      ? ['The model wrote an explanation around the draft; it was left out.']
      : [];
    const result: Draft = { draft: matchEdges(code, text), ...(language && { language }) };
    return { result, warnings };
  },
  show: ({ draft, language = '' }) =>
    codeBlock(draft.replace(/\n$/, ''), /^[\w-]*$/.test(language) ? language : ''),
  handed: {
    command: COMMAND,
    input(handed) {
      const { text, name, language } = oneSource(handed, COMMAND) ?? {};
      return { instruction: handed.request, text, source: name, language };
    },
  },
});

const PROSE = new Set([
  'plaintext',
  'markdown',
  'latex',
  'restructuredtext',
  'asciidoc',
  'git-commit',
]);

/** Languages of a fence that holds a whole text. */
const WHOLE = new Set(['', 'md', 'markdown', 'text', 'txt', 'plaintext']);

/**
 * The inside of the Markdown fence that the whole answer is wrapped in, and whether anything stood outside of it.
 * Where prose is written a fence may well belong to the text; where code is written one at the edge of a line does not.
 */
export function unfence(answer: string, language?: string): { code: string; outside: boolean } {
  const lines = answer.replace(/\r\n/g, '\n').split('\n');
  const open = lines.findIndex((line) => /^ {0,3}(```|~~~)/.test(line));
  const [, mark = '', info = ''] = /^ {0,3}(`{3,}|~{3,})\s*(\S*)/.exec(lines[open] ?? '') ?? [];
  if (open === -1) return { code: answer, outside: false };
  const last = lines.findLastIndex((line) => line.trim() === mark);
  const close = last > open ? last : lines.length;
  const code = lines.slice(open + 1, close).join('\n');
  const rest = [...lines.slice(0, open), ...lines.slice(close + 1)].join('').trim();
  const isProse = !language || PROSE.has(language);
  const isWrapper = (WHOLE.has(info) || info === language) && rest.length <= code.length;
  if (isProse && !isWrapper) return { code: answer, outside: false };
  return { code, outside: rest !== '' };
}

/** Gives the draft the blank edges of the text it replaces: models trim, files should not jump. */
function matchEdges(code: string, original: string): string {
  const body = code.replace(/^\s*\n/, '').trimEnd();
  if (original.trim() === '') return body;
  const start = /^(?:[^\S\n]*\n)*/.exec(original)?.[0] ?? '';
  const end = /\s*$/.exec(original)?.[0] ?? '';
  return start + body + end;
}
