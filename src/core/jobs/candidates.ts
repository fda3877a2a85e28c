import { counted } from './words';

/** A text to search in, and where it begins. */
export interface Passage {
  text: string;
  /** 1-based. */
  firstLine: number;
}

export interface Candidates {
  /** `line 7`, `lines 7–9`: where each stands, each id once. */
  list: { id: string; text: string }[];
  /** `12 paragraphs`. */
  count: string;
}

/** The paragraphs of passages, or their lines when there is one paragraph only. Blank ones are none. */
export function candidatesOf(passages: readonly Passage[]): Candidates {
  const paragraphs = passages.flatMap(paragraphsOf);
  const [only, ...others] = paragraphs;
  const isLines = only !== undefined && others.length === 0 && only.lines.length > 1;
  const found = isLines
    ? only.lines.map((line, index) => ({ firstLine: only.firstLine + index, lines: [line] }))
    : paragraphs;
  const times = new Map<string, number>();
  const list = found.map(({ firstLine, lines }) => {
    const place =
      lines.length === 1
        ? `line ${firstLine}`
        : `lines ${firstLine}–${firstLine + lines.length - 1}`;
    // Two selections may be on one line.
    const time = (times.get(place) ?? 0) + 1;
    times.set(place, time);
    return { id: time === 1 ? place : `${place} (${time})`, text: lines.join('\n') };
  });
  return { list, count: counted(list.length, isLines ? 'line' : 'paragraph') };
}

interface Lines {
  /** 1-based. */
  firstLine: number;
  lines: string[];
}

function paragraphsOf({ text, firstLine }: Passage): Lines[] {
  const found: Lines[] = [];
  let isOpen = false;
  text.split(/\r\n|\r|\n/).forEach((line, index) => {
    const isBlank = line.trim() === '';
    if (!isBlank && isOpen) found.at(-1)?.lines.push(line);
    if (!isBlank && !isOpen) found.push({ firstLine: firstLine + index, lines: [line] });
    isOpen = !isBlank;
  });
  return found;
}
