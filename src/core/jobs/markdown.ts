/**
 * What a model wrote is untrusted: shown as Markdown, it must not become a link, an image or HTML. Code stays as it is,
 * since nothing in it comes alive.
 */

/** What is escaped outside of code; a pair of a backslash and a sign is escaped already. */
const ALIVE =
  /\\[!-/:-@[-`{-~]|`+|<(?=[a-z/!?])|\](?=[(:])|:(?=\/\/)|www(?=\.)|(?<=[\w.+-])@(?=\w)/gi;

/** A text as one line of Markdown. */
export function inlineText(text: string): string {
  return escapeLine(text.replace(/[\p{Z}\p{C}]+/gu, ' ').trim(), false);
}

/** A text as a code block, whatever fences it holds. */
export function codeBlock(text: string, language = ''): string {
  const longest = [...text.matchAll(/`{3,}/g)].reduce(
    (most, [run]) => Math.max(most, run.length),
    2,
  );
  const mark = '`'.repeat(longest + 1);
  return `${mark}${language}\n${text}\n${mark}`;
}

/** A Markdown text of several paragraphs, with its code blocks. */
export function blockText(text: string): string {
  let fence: { indent: string; mark: string } | undefined;
  // Where this and a renderer may disagree on what is code, the rest is taken for text.
  let isUnclear = false;
  return text
    .split(/\r\n?|\n/)
    .map((line) => {
      const [, indent = '', mark = '', rest = ''] = /^( {0,3})(`{3,}|~{3,})(.*)$/.exec(line) ?? [];
      if (fence && !isUnclear) {
        const isMark = mark.startsWith(fence.mark) && rest.trim() === '';
        if (isMark && indent === fence.indent) fence = undefined;
        else if (isMark || !isInside(line, fence.indent)) isUnclear = true;
        if (!isUnclear) return line;
      }
      const opens = mark !== '' && !(mark.startsWith('`') && rest.includes('`'));
      if (opens && !isUnclear) {
        fence = { indent, mark };
        return line;
      }
      return escapeLine(line, true);
    })
    .join('\n');
}

/** A line that is indented less than a fence may end the list that the fence stands in. */
function isInside(line: string, indent: string): boolean {
  return line.trim() === '' || line.startsWith(indent);
}

/** In a table, a cell ends at a bar even inside of code. */
function escapeLine(line: string, mayBeTable: boolean): string {
  let escaped = '';
  let done = 0;
  for (ALIVE.lastIndex = 0; ;) {
    const match = ALIVE.exec(line);
    if (!match) return escaped + line.slice(done);
    const [sign] = match;
    escaped += line.slice(done, match.index);
    done = ALIVE.lastIndex;
    if (!sign.startsWith('`')) {
      escaped += sign.startsWith('\\') ? sign : sign.length > 1 ? `${sign}\\` : `\\${sign}`;
      continue;
    }
    const end = endOfCode(line, done, sign);
    if (end === undefined || (mayBeTable && line.slice(done, end).includes('|'))) {
      escaped += '\\`'.repeat(sign.length);
    } else {
      escaped += line.slice(match.index, end);
      done = ALIVE.lastIndex = end;
    }
  }
}

function endOfCode(line: string, start: number, mark: string): number | undefined {
  for (const { 0: run, index } of line.slice(start).matchAll(/`+/g)) {
    if (run === mark) return start + index + run.length;
  }
  return undefined;
}
