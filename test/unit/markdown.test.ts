import assert from 'node:assert/strict';
import fc from 'fast-check';
import { blockText, codeBlock, inlineText } from '../../src/core/jobs/markdown';

/** What a renderer would make a link, an image or HTML of, were it not escaped. */
const ALIVE = /(?<!\\)(\\\\)*(\]\(|\]:|<[a-z/!?])|https?:\/\/|www\./i;

describe('text of models as one line of Markdown', () => {
  const cases: [what: string, text: string, expected: string][] = [
    ['plain words', 'It limits calls to 2 (per host).', 'It limits calls to 2 (per host).'],
    ['a link', '[run](command:rm)', '[run\\](command:rm)'],
    ['an image', '![x](https://evil.example/a.png)', '![x\\](https\\://evil.example/a.png)'],
    ['a link that is escaped already', '[x\\](y)', '[x\\](y)'],
    ['a link whose escape is escaped', '[x\\\\](y)', '[x\\\\\\](y)'],
    ['a definition', '[x]: command:y', '[x\\]: command:y'],
    ['HTML', '<img src=x onerror=y>', '\\<img src=x onerror=y>'],
    ['an end of HTML and a comment', '</b><!-- -->', '\\</b>\\<!-- -->'],
    ['a comparison', 'a < b and c <= d', 'a < b and c <= d'],
    ['an index', 'list[0] and [x]', 'list[0] and [x]'],
    ['addresses', 'see www.evil.example or a@b.example', 'see www\\.evil.example or a\\@b.example'],
    ['a decorator', 'the @Override', 'the @Override'],
    ['code', 'use `Map<string, a[]>` here', 'use `Map<string, a[]>` here'],
    ['code with a bar', '`a || <b>`', '`a || <b>`'],
    ['code with backticks inside', '`` a`b <c> ``', '`` a`b <c> ``'],
    ['code that never ends', '`<b> [x](y)', '\\`\\<b> [x\\](y)'],
    ['code whose start is escaped', '\\`<b>`', '\\`\\<b>\\`'],
    ['several lines', 'one\r\n# two\u2028<b>', 'one # two \\<b>'],
  ];
  for (const [what, text, expected] of cases) {
    it(`leaves nothing alive of ${what}`, () => assert.equal(inlineText(text), expected));
  }

  it('is one line without anything alive outside of code, whatever it is', () => {
    const piece = fc.constantFrom(
      '[',
      ']',
      '(',
      ')',
      '<',
      '!',
      '\\',
      '`',
      'a',
      ':',
      '//',
      '\n',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const line = inlineText(pieces.join(''));
        assert.doesNotMatch(line, /\n/);
        assert.doesNotMatch(outsideCode(line), ALIVE);
      }),
      { numRuns: 2000 },
    );
  });
});

/** A line without its code, read by the rules of CommonMark. */
function outsideCode(line: string): string {
  return line.replace(/\\[\s\S]|(?<!`)(`+)(?!`)[\s\S]*?(?<!`)\1(?!`)/g, (all, mark?: string) =>
    mark === undefined ? all : ' ',
  );
}

describe('text of models as Markdown', () => {
  const kept: [what: string, text: string][] = [
    ['a code block', '```html\n<b>[x](y)</b>\n```\ntext'],
    ['a block of tildes', '~~~\n<b>\n~~~'],
    ['a block with a shorter fence inside', '````md\n```\n<b>\n```\n````'],
    ['a block in a list', '- item\n\n  ```ts\n  const a: Map<string>;\n\n  ```'],
    ['a block that never ends', '```\n<b>'],
    ['headings and lists', '# Title\n\n- **one**\n- two'],
  ];
  for (const [what, text] of kept) {
    it(`keeps ${what}`, () => assert.equal(blockText(text), text));
  }

  const escaped: [what: string, text: string, expected: string][] = [
    ['after a block', '```\na\n```\n<b>', '```\na\n```\n\\<b>'],
    ['before a block', '<b>\n```\n<b>', '\\<b>\n```\n<b>'],
    ['where a list ends the block', '- x\n  ```\n<b>', '- x\n  ```\n\\<b>'],
    [
      'after a block whose end is unclear',
      '  ```\n   ```\n<b>\n```\n<b>',
      '  ```\n   \\`\\`\\`\n\\<b>\n\\`\\`\\`\n\\<b>',
    ],
    ['after a fence that is none', '``` `a\n<b>', '\\`\\`\\` \\`a\n\\<b>'],
    ['in indented text', '    ```\n    <b>', '    \\`\\`\\`\n    \\<b>'],
    ['where code would go over lines', '- `a\n- b` <b>', '- \\`a\n- b\\` \\<b>'],
    ['in a table, where a bar ends code', '| `a | [x](y)` |', '| \\`a | [x\\](y)\\` |'],
  ];
  for (const [what, text, expected] of escaped) {
    it(`leaves nothing alive ${what}`, () => assert.equal(blockText(text), expected));
  }
});

describe('a code block', () => {
  it('is fenced by more than the text holds', () => {
    assert.equal(codeBlock('a'), '```\na\n```');
    assert.equal(codeBlock('````\n</b>', 'json'), '`````json\n````\n</b>\n`````');
  });
});
