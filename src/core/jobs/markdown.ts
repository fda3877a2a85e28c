/**
 * A model's text as Markdown for people. Paragraphs, lists, emphasis and code stay; links, images, HTML and math
 * become their own source text, for whoever wrote the model's input may have put them there.
 */
export function blockText(text: string): string {
  const shown: string[] = [];
  let fence: string | undefined;
  for (const line of visible(text).split(/\r\n|\r|\n/)) {
    if (fence !== undefined) {
      const close = /^ {0,3}(`{3,})[ \t]*$/.exec(line)?.[1];
      shown.push(line);
      if (close && close.length >= fence.length) fence = undefined;
      continue;
    }
    // Only at the margin: what is indented may be part of a list, and end with it.
    const open = /^(`{3,})([^`]*)$/.exec(line);
    fence = open?.[1];
    shown.push(open ? `${fence}${/^[\w+#.-]*/.exec(open[2] ?? '')?.[0]}` : escapeLine(line));
  }
  if (fence !== undefined) shown.push(fence);
  return shown.join('\n');
}

/** The same for text that has to stay on its line, such as an item of a list. */
export function inlineText(text: string): string {
  return escapeLine(visible(text).replace(/\s+/g, ' ').trim());
}

/** Without characters that hide or reorder others. */
function visible(text: string): string {
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
