import * as z from 'zod';
import { dataRule, fence } from './fence';
import { defineJob } from './job';

/** Room for an answer that rewrites the selection and adds to it. Tokens. */
const LEAST_ANSWER = 1024;
const CHARS_PER_TOKEN = 3;

export interface Draft {
  /** The text to put in place of the selection. */
  draft: string;
}

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
    ]
      .filter(Boolean)
      .join('\n');
    const user = [
      source ? `File: ${source}` : '',
      context?.text ?? '',
      text ? selection.text : 'The selection is empty: write new text for this place.',
      `Instruction: ${instruction}`,
    ]
      .filter(Boolean)
      .join('\n\n');
    return {
      messages: [
        { role: 'system', content: system },
        { role: 'user', content: user },
      ],
      numPredict: Math.max(LEAST_ANSWER, Math.ceil((text.length * 2) / CHARS_PER_TOKEN)),
    };
  },
  parse(answer, { text }) {
    const { code, outside } = unfence(answer);
    const warnings = outside
      ? ['The model wrote an explanation around the draft; it was left out.']
      : [];
    return { result: { draft: matchEdges(code, text) }, warnings };
  },
  show: (result) => result.draft,
});

const PROSE = new Set([
  'plaintext',
  'markdown',
  'latex',
  'restructuredtext',
  'asciidoc',
  'git-commit',
]);

/** The inside of a Markdown fence when the answer has one, and whether anything stood outside of it. */
export function unfence(answer: string): { code: string; outside: boolean } {
  const lines = answer.replace(/\r\n/g, '\n').split('\n');
  const open = lines.findIndex((line) => /^\s*(```|~~~)/.test(line));
  if (open === -1) return { code: answer, outside: false };
  const mark = /^\s*(`{3,}|~{3,})/.exec(lines[open] ?? '')?.[1] ?? '```';
  let close = lines.length;
  for (let i = lines.length - 1; i > open; i--) {
    if ((lines[i] ?? '').trim() === mark) {
      close = i;
      break;
    }
  }
  const rest = [...lines.slice(0, open), ...lines.slice(close + 1)].join('').trim();
  // A fence far into prose is part of a document, not a wrapper around code.
  if (rest.length > lines.slice(open + 1, close).join('\n').length)
    return { code: answer, outside: false };
  return { code: lines.slice(open + 1, close).join('\n'), outside: rest !== '' };
}

/** Gives the draft the blank edges of the text it replaces: models trim, files should not jump. */
function matchEdges(code: string, original: string): string {
  const body = code.replace(/^\s*\n/, '').trimEnd();
  const end = /\s*$/.exec(original)?.[0] ?? '';
  return original.trim() === '' ? body : body + end;
}
