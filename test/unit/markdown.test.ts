import assert from 'node:assert/strict';
import fc from 'fast-check';
import { blockText, BlockStream, codeBlock, inlineText } from '../../src/core/jobs/markdown';
import { assertLifeless, LIVE } from './excerpts';

describe("a model's text as Markdown", () => {
  const shown: [what: string, text: string, expected: string][] = [
    ['paragraphs and lists', 'One.\n\n- *two*\n- **three**', 'One.\n\n- *two*\n- **three**'],
    ['code in a line', 'Use `Map<string>[0](x)`.', 'Use `Map<string>[0](x)`.'],
    ['a block of code', '```ts\na[0](b);\n```', '```ts\na[0](b);\n```'],
    ['a block that never ends', '```ts\na[0](b);', '```ts\na[0](b);\n```'],
    ['names and paths', 'snake_case @types/node C:\\x', 'snake_case @types/node C:\\\\x'],
    ['a link', '[a](b)', '\\[a](b)'],
    ['a link behind a backslash', '\\[a](b)', '\\\\\\[a](b)'],
    ['an image', '![a](b)', '!\\[a](b)'],
    ['a definition', '[a]: b', '\\[a]: b'],
    ['a tag and an entity', '<b>&lt;', '\\<b>\\&lt;'],
    ['an address', 'https://a.b //a.b www.a.b', 'https:\\//a.b \\//a.b www\\.a.b'],
    ['mail', 'me@a.b mailto:me', 'me\\@a.b mailto\\:me'],
    ['math that would swallow a mark', '$`$ [a](b) `', '\\$`$ [a](b) `'],
    ['code without an end', '`a [b](c)', '\\`a \\[b](c)'],
    ['double marks', '``a ` [b](c)', '\\`\\`a \\` \\[b](c)'],
    ['code over two cells', '| `a | [b](c)` |', '| \\`a | \\[b](c)\\` |'],
    ['code over two lines', '`a\n[b](c)`', '\\`a\n\\[b](c)\\`'],
    ['a block inside a list', '- a\n  ```\n[b](c)', '- a\n  \\`\\`\\`\n\\[b](c)'],
    ['a block of tildes', '~~~\n[b](c)', '\\~~~\n\\[b](c)'],
    ['characters that reorder', 'a\u202eb\u0000c', 'abc'],
  ];
  for (const [what, text, expected] of shown) {
    it(`shows ${what}`, () => assert.equal(blockText(text), expected));
  }

  it('closes a block only by a fence that is as long', () => {
    assert.equal(blockText('````\n```\n[a](b)\n````\n[a](b)'), '````\n```\n[a](b)\n````\n\\[a](b)');
  });

  it('keeps a line a line', () => {
    assert.equal(inlineText('a\n\n```\nb [c](d)\r\n# e'), 'a \\`\\`\\` b \\[c](d) # e');
  });

  it('leads nowhere, whatever the text', () => {
    const piece = fc.constantFrom('`', '```', '\n', ' ', '|', '\\', '[a](b)', LIVE, '<b>', '~~~');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        assertLifeless(inlineText(pieces.join('')));
        for (const line of blockText(pieces.join('\n').replaceAll('```', '')).split('\n')) {
          assertLifeless(line);
        }
      }),
      { numRuns: 300 },
    );
  });

  describe('that is written while it is shown', () => {
    const inPieces = (pieces: readonly string[]): string[] => {
      const stream = new BlockStream();
      return [...pieces.map((text) => stream.push(text)), stream.end()];
    };

    it('is the same as the whole, however it is cut', () => {
      const mark = fc.constantFrom(
        '`',
        '```',
        '\n',
        '\r\n',
        '\r',
        ' ',
        '\t',
        '~~~',
        '\\',
        '\u202e',
      );
      const live = fc.constantFrom(
        '[a](b)',
        LIVE,
        '<b>',
        'https://a.b',
        'me@a.b',
        'www.a',
        'mailto:a',
        '$x$',
        '|',
      );
      const piece = fc.oneof(mark, live, fc.constantFrom('a', 'word ', '``` ts', '  ```'));
      const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 9 });
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 14 }), sizes, (all, lengths) => {
          const text = all.join('');
          const pieces: string[] = [];
          for (let at = 0; at < text.length; at += pieces.at(-1)?.length ?? 0) {
            const length = lengths[pieces.length % lengths.length] ?? 1;
            pieces.push(text.slice(at, at + length));
          }
          assert.equal(inPieces(pieces).join(''), blockText(text));
        }),
        { numRuns: 2_000 },
      );
    });

    it('comes word by word, code line by line', () => {
      assert.deepEqual(inPieces(['Two wo', 'rds and', ' `a', '` b\n', '```ts\nco', 'de']), [
        'Two ',
        'words ',
        'and ',
        '`a` b\n',
        '```ts\nco',
        'de',
        '\n```',
      ]);
    });

    it('never shows a link that its end would complete', () => {
      const pieces = inPieces(['a [li', 'nk](command:x) ', '<img src="ht', 'tps://a.b">']);
      assert.equal(pieces.join(''), 'a \\[link](command:x) \\<img src="https:\\//a.b">');
      for (const piece of pieces) assertLifeless(piece);
    });
  });

  it('is fenced as a block of code by more than it holds', () => {
    assert.equal(codeBlock('a'), '```\na\n```');
    assert.equal(codeBlock('````\n</b>', 'json'), '`````json\n````\n</b>\n`````');
  });
});
