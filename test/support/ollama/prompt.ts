/** What a prompt asks for, as far as simple rules can tell. */
import type { EngineRequest } from './engine';

export interface Prompt {
  /** Everything, instructions included. */
  whole: string;
  /** The text that the prompt is about. */
  source: string;
  /** The prompt without that text. */
  instruction: string;
}

const DELIMITED = [
  /```[^\n]*\n([\s\S]*?)```/g,
  /<([A-Za-z][\w-]*)[^>]*>([\s\S]*?)<\/\1>/g,
  /"""([\s\S]*?)"""/g,
  /^-{3,}\n([\s\S]*?)\n-{3,}$/gm,
];
const LEADS = [
  /^[^\n]{0,300}:[ \t]*\n+([\s\S]+)$/,
  /^(?:summari[sz]e|classify|explain|describe|extract|label|review)\b[^:\n]{0,200}:\s*([\s\S]+)$/i,
];
/** Shorter delimited parts are examples and labels, not the text. */
const LEAST_SOURCE = 40;

export function readPrompt(request: Pick<EngineRequest, 'messages' | 'raw'>): Prompt {
  const whole = request.raw ?? request.messages.map((message) => message.content).join('\n\n');
  const texts =
    request.raw === undefined
      ? request.messages
          .filter((message) => message.role === 'user' || message.role === 'tool')
          .map((message) => message.content)
      : [request.raw];
  const longest = texts.reduce((a, b) => (b.length > a.length ? b : a), '');
  const source = sourceIn(longest);
  return { whole, source, instruction: whole.replace(source, ' ') };
}

/** Texts between marks that are told by a code, of which there may be several. */
const MARKED = /^<<<(.+ [0-9a-f]{8,})>>>\n([\s\S]*?)\n<<<END \1>>>$/gm;

function sourceIn(text: string): string {
  const marked = [...text.matchAll(MARKED)].map((match) => match[2] ?? '').join('\n\n');
  if (marked.trim() !== '') return marked.trim();
  let best = '';
  for (const pattern of DELIMITED) {
    for (const match of text.matchAll(pattern)) {
      const inner = match[2] ?? match[1] ?? '';
      if (inner.length > best.length) best = inner;
    }
  }
  if (best.trim().length >= LEAST_SOURCE) return best.trim();
  // "Summarize the following:" and then the text.
  const afterLead = LEADS.map((lead) => lead.exec(text)?.[1] ?? '').find(Boolean) ?? '';
  return (afterLead.trim().length >= LEAST_SOURCE ? afterLead : text).trim();
}

const STOP_WORDS = new Set(
  (
    'a an and are as at be but by can did do does for from had has have how i if in into is it its ' +
    'me my no not of on or our so such than that the their them then there these they this to ' +
    'was we were what when which who why will with you your'
  ).split(' '),
);

/** Lower-case words that carry meaning, in order. */
export function contentWords(text: string): string[] {
  return words(text).filter((word) => word.length > 1 && !STOP_WORDS.has(word));
}

/** `camelCase` and `snake_case` count as their parts. */
export function words(text: string): string[] {
  const parts = text.replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2').toLowerCase();
  return parts.match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** The names in a text that look like code, most prominent first. */
export function identifiers(text: string): string[] {
  const found = [
    ...[...text.matchAll(/`([A-Za-z_]\w*)(?:\([^`]*\))?`/g)].map((match) => match[1] ?? ''),
    ...[...text.matchAll(/\b(?:named|called)\s+([A-Za-z_]\w*)/g)].map((match) => match[1] ?? ''),
    ...[...text.matchAll(/\b([A-Za-z_]\w*)\(/g)].map((match) => match[1] ?? ''),
    ...(text.match(/\b[a-z]+(?:[A-Z][a-z0-9]*)+\b|\b[a-z]+(?:_[a-z0-9]+)+\b/g) ?? []),
    ...(text.match(/\b[A-Z][a-z]+(?:[A-Z][a-z0-9]*)+\b/g) ?? []),
  ];
  return [...new Set(found.filter((name) => name.length > 1))];
}
