/** A part of a text, with the lines that it covers. */
export interface Part {
  text: string;
  /** 1-based, both included. */
  firstLine: number;
  lastLine: number;
}

/**
 * Splits a text into parts of at most `size` characters, at the best place that keeps them at least half full: before
 * a heading or a definition at the margin, after a blank line, or else between lines. Only a line longer than a part
 * is cut itself. Joined, the parts are the text.
 */
export function splitText(text: string, size: number): Part[] {
  if (size < 1) throw new RangeError('A part has at least one character.');
  const parts: Part[] = [];
  let start = 0;
  let line = 1;
  while (start < text.length) {
    const end = text.length - start <= size ? text.length : bestEnd(text, start, size);
    const piece = text.slice(start, end);
    const breaks = countBreaks(piece);
    const endsLine = piece.endsWith('\n');
    parts.push({ text: piece, firstLine: line, lastLine: line + breaks - (endsLine ? 1 : 0) });
    line += breaks;
    start = end;
  }
  return parts;
}

/** How good it is to end a part before this line, whose predecessor may be blank. */
function score(text: string, lineStart: number): number {
  const isAfterBlank = text[lineStart - 2] === '\n' || text.startsWith('\r\n', lineStart - 4);
  const isAtMargin = /[^\s})\]]/.test(text[lineStart] ?? ' ');
  return (isAfterBlank ? 2 : 0) + (isAtMargin ? 1 : 0);
}

function bestEnd(text: string, start: number, size: number): number {
  const limit = start + size;
  const least = start + Math.floor(size / 2);
  let best: number | undefined;
  let bestScore = -1;
  for (
    let at = text.lastIndexOf('\n', limit - 1) + 1;
    at > least;
    at = text.lastIndexOf('\n', at - 2) + 1
  ) {
    const found = score(text, at);
    if (found > bestScore) [best, bestScore] = [at, found];
    if (bestScore === BEST_SCORE) break;
  }
  if (best !== undefined) return best;
  const line = text.lastIndexOf('\n', limit - 1) + 1;
  if (line > start) return line;
  // One very long line is cut between characters, never inside a surrogate pair.
  const isPair = /[\uD800-\uDBFF]/.test(text[limit - 1] ?? '') && size > 1;
  return isPair ? limit - 1 : limit;
}

const BEST_SCORE = 3;

function countBreaks(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
