/** Extractive summaries: whole sentences of the text, chosen by how central their words are. */
import { contentWords, words, type Prompt } from './prompt';

const NUMBERS: Record<string, number> = {
  a: 1,
  one: 1,
  two: 2,
  three: 3,
  four: 4,
  five: 5,
  six: 6,
};
const DEFAULT_SENTENCES = 3;

interface Request {
  sentences: number;
  bullets: boolean;
  maxWords: number;
}

export function summarize(prompt: Prompt): string {
  const wanted = wantedShape(prompt.instruction);
  const units = unitsOf(prompt.source);
  if (units.length === 0) return 'There is no text to work on.';
  const chosen = mostCentral(units, wanted.sentences);
  const limited = withinWords(chosen, wanted.maxWords);
  if (wanted.bullets) return limited.map((unit) => `- ${unit}`).join('\n');
  if (isShort(prompt.source)) return reply(prompt.source, limited.join(' '));
  return limited.join(' ');
}

/** There is nothing to choose from in a few words: say them back, and what they are about. */
function reply(source: string, text: string): string {
  const topics = [...new Set(contentWords(source))].slice(0, 5).join(', ');
  const about = topics ? ` In short, this is about ${topics}.` : '';
  return `You wrote: ${text}${about} I have nothing more to add to so short a text.`;
}

function isShort(source: string): boolean {
  return words(source).length < 12;
}

function wantedShape(instruction: string): Request {
  const count =
    /\b(\d+|one|two|three|four|five|six)\b[- ](?:\w+ ){0,2}?(sentence|bullet|point)/i.exec(
      instruction,
    );
  const single = /\b(one|single|a)[- ](?:\w+ )?(sentence|line)\b/i.test(instruction);
  const limit = /\b(?:at most|under|max(?:imum)?(?: of)?|up to|within)\s+(\d+)\s+words/i.exec(
    instruction,
  );
  const number = count?.[1] ?? '';
  return {
    sentences: count
      ? (NUMBERS[number.toLowerCase()] ?? Number(number))
      : single
        ? 1
        : DEFAULT_SENTENCES,
    bullets: /\bbullet/i.test(instruction),
    maxWords: limit ? Number(limit[1]) : Infinity,
  };
}

/** Sentences of prose; of code, the comments and the signatures. */
export function unitsOf(source: string): string[] {
  return looksLikeCode(source) ? codeUnits(source) : sentences(source);
}

export function looksLikeCode(source: string): boolean {
  const lines = source.split('\n').filter((line) => line.trim());
  const codeLike = lines.filter((line) =>
    /[{};]\s*$|^\s*(import|from|def|class|function|const|let|var|return|if|for|fn|pub|func|export|#include|public|private)\b|=>|^\s*(\/\/|\/?\*|#)/.test(
      line,
    ),
  );
  return lines.length > 2 && codeLike.length > lines.length / 3;
}

const COMMENT = /^\s*(?:\/\*\*?|\*\/?|\/\/+!?|#+(?!!)|"""|''')\s?/;
const SIGNATURE =
  /^\s*(?:export |default |async |public |private |protected |static |pub |final |abstract )*(?:function|class|interface|type|enum|def|fn|func|struct|trait|impl|const|namespace|module)\s+[A-Za-z_][^;{]*/;

function codeUnits(source: string): string[] {
  const units: string[] = [];
  let comment: string[] = [];
  const flush = () => {
    const text = comment.join(' ').replace(/\s+/g, ' ').trim();
    if (text) units.push(...sentences(text));
    comment = [];
  };
  for (const line of source.split('\n')) {
    if (COMMENT.test(line)) {
      comment.push(line.replace(COMMENT, '').replace(/\*\/\s*$|"""\s*$/, ''));
      continue;
    }
    flush();
    const signature = SIGNATURE.exec(line)?.[0]
      .trim()
      .replace(/[=:(,]+\s*$/, '');
    if (signature) units.push(`\`${signature}\``);
  }
  flush();
  return units.length > 0 ? units : sentences(source);
}

export function sentences(source: string): string[] {
  return source
    .split(/(?<=[.!?])\s+(?=[\p{Lu}\p{N}"'`(])|\n{2,}|\n(?=\s*(?:[-*#\d]))|\n(?=\S.{0,80}$)/mu)
    .map((part) =>
      part
        .replace(/^\s*(?:[-*#>]+|\d+\.)\s+/, '')
        .replace(/\s+/g, ' ')
        .trim(),
    )
    .filter((part) => /[\p{L}\p{N}]/u.test(part));
}

/** Ranked by the average weight of their words; given in the order of the text. */
export function mostCentral(units: string[], count: number): string[] {
  const frequency = new Map<string, number>();
  for (const unit of units) {
    for (const word of new Set(contentWords(unit))) {
      frequency.set(word, (frequency.get(word) ?? 0) + 1);
    }
  }
  const scores = units.map((unit, index) => {
    const own = contentWords(unit);
    const weight = own.reduce((sum, word) => sum + (frequency.get(word) ?? 0), 0);
    // Short sentences say little and openings say much.
    const average = weight / Math.max(own.length, 6);
    return { index, score: average * (index === 0 ? 1.5 : 1) };
  });
  return scores
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, Math.max(1, count))
    .sort((a, b) => a.index - b.index)
    .map(({ index }) => units[index] ?? '');
}

function withinWords(units: string[], maxWords: number): string[] {
  if (maxWords === Infinity) return units;
  const kept: string[] = [];
  let left = maxWords;
  for (const unit of units) {
    const own = unit.split(' ');
    if (own.length > left) {
      if (kept.length === 0) kept.push(own.slice(0, left).join(' '));
      break;
    }
    kept.push(unit);
    left -= own.length;
  }
  return kept;
}
