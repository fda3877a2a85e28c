/** A place in a text. Offsets in characters, lines 1-based; the ends of lines are included, of offsets not. */
export interface Place {
  start: number;
  end: number;
  firstLine: number;
  lastLine: number;
}

/** Fewer letters and digits than this are found everywhere, and prove nothing. */
const LEAST_LETTERS = 3;
/** And so is a single word, if it is not as long as this or all that its line says. */
const LEAST_OF_A_WORD = 8;
const MOST_FINDS = 1000;

/** A text in which quotes are looked up as people see them: without regard to white space and case. */
export class QuotedText {
  readonly text: string;
  /** The text with single blanks and in lower case, and where each of its characters comes from. */
  readonly #plain: string;
  readonly #origins: number[];
  readonly #lineStarts: number[] = [0];

  constructor(text: string) {
    this.text = text;
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
      if (at + 1 < text.length) this.#lineStarts.push(at + 1);
    }
    [this.#plain, this.#origins] = simplify(text);
  }

  get lines(): number {
    return this.#lineStarts.length;
  }

  /** Where the quote stands, as near as can be to a line; `undefined`: nowhere, or it says too little. */
  find(quote: string, nearLine: number): Place | undefined {
    return this.#find(quote, nearLine) ?? this.#find(quote.replace(LINE_NUMBERS, ''), nearLine);
  }

  /** The lines of a range. */
  range(firstLine: number, lastLine: number): Place {
    return {
      start: this.#lineStarts[firstLine - 1] ?? this.text.length,
      end: this.#lineStarts[lastLine] ?? this.text.length,
      firstLine,
      lastLine,
    };
  }

  /** The lines of a stretch of text. */
  place(start: number, end: number): Place {
    return { start, end, firstLine: this.#lineOf(start), lastLine: this.#lineOf(end - 1) };
  }

  #find(quote: string, nearLine: number): Place | undefined {
    const needle = simplify(quote)[0].trim();
    const letters = needle.match(/[\p{L}\p{N}]/gu)?.length ?? 0;
    if (letters < LEAST_LETTERS) return undefined;
    const isTelling = letters >= LEAST_OF_A_WORD || (needle.match(WORDS)?.length ?? 0) > 1;
    let best: Place | undefined;
    let bestDistance = Infinity;
    let at = this.#plain.indexOf(needle);
    for (let n = 0; at !== -1 && n < MOST_FINDS; n++) {
      const last = this.#origins[at + needle.length - 1] ?? 0;
      const place = this.place(this.#origins[at] ?? 0, last + 1);
      const distance = Math.abs(place.firstLine - nearLine);
      if (distance < bestDistance && (isTelling || this.#isLine(place))) {
        [best, bestDistance] = [place, distance];
      }
      at = this.#plain.indexOf(needle, at + 1);
    }
    return best;
  }

  /** Whether a place is all that its lines say. */
  #isLine({ start, end, firstLine, lastLine }: Place): boolean {
    const line = this.range(firstLine, lastLine);
    return (this.text.slice(line.start, start) + this.text.slice(end, line.end)).trim() === '';
  }

  #lineOf(offset: number): number {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  }
}

/** Scripts without spaces count by the character. */
const WORDS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}\p{M}_]+/gu;

/** Models quote the numbers of lines along with them. */
const LINE_NUMBERS = /^\s*\d+\| ?/gm;

function simplify(text: string): [plain: string, origins: number[]] {
  let plain = '';
  const origins: number[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    const isBlank = /\s/.test(char);
    if (isBlank && plain.endsWith(' ')) continue;
    // One character may have a lower case of two.
    const lower = isBlank ? ' ' : char.toLowerCase();
    for (let i = 0; i < lower.length; i++) origins.push(at);
    plain += lower;
  }
  return [plain, origins];
}
