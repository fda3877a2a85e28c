/**
 * A model's text as Markdown for people. Paragraphs, lists, emphasis and code stay; links, images, HTML and math
 * become their own source text, for whoever wrote the model's input may have put them there.
 */
export function blockText(text: string): string {
  const stream = new BlockStream();
  return stream.push(text) + stream.end();
}

/** The same for a text that comes in pieces: what is returned, joined, is what `blockText` makes of the whole. */
export class BlockStream {
  /** What has come of the current line, and how much of that was returned. */
  #line = '';
  #sent = 0;
  /** The marks that opened the code block that the line is in. */
  #fence: string | undefined;

  /** As much as can be told now: whole lines, code as it comes, and of other lines the words before any code. */
  push(text: string): string {
    this.#line += visible(text);
    // A return may be half of a line's end.
    const end = /\r\n|\n|\r(?!$)/g;
    let shown = '';
    for (;;) {
      end.lastIndex = this.#sent;
      const found = end.exec(this.#line);
      if (!found) break;
      const rest = this.#line.slice(end.lastIndex);
      this.#line = this.#line.slice(0, found.index);
      shown += `${this.#endLine()}\n`;
      this.#line = rest;
    }
    return shown + this.#begin();
  }

  end(): string {
    const isBroken = this.#line.endsWith('\r');
    if (isBroken) this.#line = this.#line.slice(0, -1);
    const last = this.#endLine() + (isBroken ? '\n' : '');
    return this.#fence === undefined ? last : `${last}\n${this.#fence}`;
  }

  #begin(): string {
    const from = this.#sent;
    if (this.#fence !== undefined) this.#sent = this.#line.replace(/\r$/, '').length;
    // What a word is escaped by is in the word itself; only code spans reach further.
    else this.#sent = Math.max(from, lastBlank(this.#line.split('`', 1)[0] ?? '') + 1);
    const shown = this.#line.slice(from, this.#sent);
    return this.#fence === undefined ? escapeLine(shown) : shown;
  }

  /** The rest of a line that is whole now. */
  #endLine(): string {
    const line = this.#line;
    const rest = line.slice(this.#sent);
    this.#line = '';
    this.#sent = 0;
    if (this.#fence !== undefined) {
      if (closes(line, this.#fence)) this.#fence = undefined;
      return rest;
    }
    const open = OPEN.exec(line);
    if (!open) return escapeLine(rest);
    this.#fence = open[1];
    return `${this.#fence}${/^[\w+#.-]*/.exec(open[2] ?? '')?.[0]}`;
  }
}

function lastBlank(line: string): number {
  return Math.max(line.lastIndexOf(' '), line.lastIndexOf('\t'));
}

/** What stands in the code blocks that `blockText` shows, without blank ones. */
export function codeBlocks(text: string): string[] {
  const blocks: string[][] = [];
  let fence: string | undefined;
  for (const line of linesOf(text)) {
    if (fence === undefined) {
      fence = OPEN.exec(line)?.[1];
      if (fence !== undefined) blocks.push([]);
    } else if (closes(line, fence)) fence = undefined;
    else blocks.at(-1)?.push(line);
  }
  return blocks.map((lines) => lines.join('\n')).filter((code) => code.trim() !== '');
}

/** Only at the margin: what is indented may be part of a list, and end with it. */
const OPEN = /^(`{3,})([^`]*)$/;

function closes(line: string, fence: string): boolean {
  const close = /^ {0,3}(`{3,})[ \t]*$/.exec(line)?.[1];
  return close !== undefined && close.length >= fence.length;
}

function linesOf(text: string): string[] {
  return visible(text).split(/\r\n|\r|\n/);
}

/** `blockText` for text that has to stay on its line, such as an item of a list. */
export function inlineText(text: string): string {
  return escapeLine(visible(text).replace(/\s+/g, ' ').trim());
}

/** Without characters that hide or reorder others. */
export function visible(text: string): string {
  return text.replace(/(?![\t\n\r])\p{Cc}|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '');
}

/** A code span that every renderer sees alike: on one line, of single marks, not across the cells of a table. */
const SPAN = /(?<!`)`[^`|]+`(?!`)/g;
/** What begins a link, an image, a tag, an entity, math, or what renderers make a link of by themselves. */
const LIVE = /[\\[<&$`]|\/(?=\/)|(?<=\bmailto):|(?<=\bwww)\.|(?<=\S)@|~(?=~~)/gi;

function escapeLine(line: string): string {
  const isBalanced = !line.replace(SPAN, '').includes('`');
  const escaped = (text: string): string => text.replace(LIVE, '\\$&');
  if (!isBalanced) return escaped(line);
  let shown = '';
  let at = 0;
  for (const { index, 0: span } of line.matchAll(SPAN)) {
    shown += escaped(line.slice(at, index)) + span;
    at = index + span.length;
  }
  return shown + escaped(line.slice(at));
}

/** A text as a code block, whatever fences it holds: nothing in it comes alive. */
export function codeBlock(text: string, language = ''): string {
  const runs = [...text.matchAll(/`{3,}/g)].map(([run]) => run.length);
  const mark = '`'.repeat(Math.max(2, ...runs) + 1);
  return `${mark}${language}\n${text}\n${mark}`;
}
