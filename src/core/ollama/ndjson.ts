import { StringDecoder } from 'node:string_decoder';

/** The longest line Ollama's own client accepts (8 MB); more is not an answer. */
export const MAX_LINE_CHARS = 8 * 1024 * 1024;

export class LineTooLongError extends Error {}

/**
 * Cuts a byte stream into lines. Bytes may split anywhere, inside a character too.
 * One pass a chunk: a stream of many small lines costs no more than its parsing.
 */
export class LineDecoder {
  /** On chunks of one small line it takes a third of the time of a TextDecoder. */
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** The lines that this chunk completes, without blank ones. */
  push(chunk: Uint8Array): string[] {
    return this.#take(this.#decoder.write(chunk));
  }

  /** The last line, when the stream ended without a newline. */
  end(): string[] {
    const lines = this.#take(this.#decoder.end());
    const last = this.#rest.trim();
    this.#rest = '';
    return last ? [...lines, last] : lines;
  }

  #take(text: string): string[] {
    const cut = text.lastIndexOf('\n');
    if (cut === -1) {
      this.#rest += text;
      if (this.#rest.length > MAX_LINE_CHARS) throw new LineTooLongError();
      return [];
    }
    const lines = (this.#rest + text.slice(0, cut)).split('\n');
    this.#rest = text.slice(cut + 1);
    // Looking at one character is all that nearly every line costs.
    return lines.filter((line) => line.startsWith('{') || line.trim() !== '');
  }
}

/**
 * The values of lines; undefined where a line is not JSON. Many lines are parsed as one array, which takes a tenth less
 * time. The newline between them stays, so that a string cut in two is none; that an object cut in two is none shows in
 * the number of values.
 */
export function parseLines(lines: readonly string[]): unknown[] {
  if (lines.length > 1) {
    const values = parsed(`[${lines.join(',\n')}]`) as unknown[] | undefined;
    if (values?.length === lines.length) return values;
  }
  return lines.map(parsed);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
