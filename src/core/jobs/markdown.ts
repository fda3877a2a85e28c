/**
 * A model's text as Markdown for people. Paragraphs, lists, emphasis and code stay; links, images, HTML and math
 * become their own source text, for whoever wrote the model's input may have put them there.
 */
export function blockText(text: string): string {
  const shown: string[] = [];
  let fence: string | undefined;
  for (const line of linesOf(text)) {
    if (fence !== undefined) {
      shown.push(line);
      if (closes(line, fence)) fence = undefined;
      continue;
    }
    const open = OPEN.exec(line);
    fence = open?.[1];
    shown.push(open ? `${fence}${/^[\w+#.-]*/.exec(open[2] ?? '')?.[0]}` : escapeLine(line));
  }
  if (fence !== undefined) shown.push(fence);
  return shown.join('\n');
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
