import assert from 'node:assert/strict';
import { codeBlocks } from '../../src/core';
import { acceptHint, asLines, asReplacement, partsOf } from '../../src/host/answerText';

const fenced = (code: string, language = 'ts') => `\`\`\`${language}\n${code}\n\`\`\``;

describe('what of an answer goes into the file', () => {
  const texts = (reply: string) => partsOf(reply).map(({ text }) => text);

  it('is its code, when there is one block of it', () => {
    const reply = `Use this:\n\n${fenced('a();\nb();')}\n\nIt is quick.`;
    assert.deepEqual(partsOf(reply), [{ kind: 'code', text: 'a();\nb();' }]);
    assert.match(acceptHint(reply), /take the code block/);
  });

  it('is all of it, when there is no code', () => {
    assert.deepEqual(partsOf('\nHello.\n'), [{ kind: 'whole', text: 'Hello.' }]);
    assert.match(acceptHint('Hello.'), /whole answer/);
  });

  it('is for a person to choose, when there are several blocks', () => {
    const reply = `${fenced('a')}\nor\n${fenced('b')}`;
    assert.deepEqual(texts(reply), ['a', 'b', reply]);
    assert.match(acceptHint(reply), /which of the 2 code blocks/);
  });

  it('is nothing that hides', () => {
    assert.deepEqual(texts(fenced('a\u202eb\u0000c')), ['abc']);
    assert.deepEqual(texts('x\u2066y'), ['xy']);
  });

  it('is what is shown as code and no other', () => {
    assert.deepEqual(codeBlocks('1. x\n   ```ts\n   a\n   ```\n'), []);
    assert.deepEqual(codeBlocks('````md\n```\na\n```\n````'), ['```\na\n```']);
    assert.deepEqual(codeBlocks('```ts\na\n  ```\nb'), ['a']);
    assert.deepEqual(codeBlocks('```ts\ncut'), ['cut'], 'a block that breaks off');
    assert.deepEqual(codeBlocks('```ts\n\n```'), [], 'a blank block');
  });
});

describe('code in the place of the selection', () => {
  const code = (text: string) => ({ kind: 'code', text }) as const;
  const original = (before: string, replaced: string, after = '') => ({ before, replaced, after });
  const put = (text: string, o: ReturnType<typeof original>) =>
    o.before + asReplacement(code(text), o) + o.after;

  it('moves to the margin of the selected lines', () => {
    assert.equal(
      put('if (x) {\n  y();\n}', original('f() {\n', '    y();\n', '}\n')),
      'f() {\n    if (x) {\n      y();\n    }\n}\n',
    );
    assert.equal(put('        a\n          b', original('', '  x\n')), '  a\n    b\n');
  });

  it('does so too when the selection begins behind the margin', () => {
    assert.equal(put('a();\nb();', original('{\n  ', 'x();', '\n}')), '{\n  a();\n  b();\n}');
  });

  it('goes on in a line that begins before the selection', () => {
    assert.equal(put('  g(2)', original('  const a = ', 'f(1)', ';\n')), '  const a = g(2);\n');
  });

  it('keeps the blank edges of what was selected', () => {
    assert.equal(put('\na\n\n', original('x\n', '\n  y\n\n', 'z')), 'x\n\n  a\n\nz');
    assert.equal(put('a', original('x\r\n', '  y\r\n', 'z')), 'x\r\n  a\r\nz');
  });

  it('has no white space on blank lines', () => {
    assert.equal(put('a\n  \nb', original('', '  x')), '  a\n\n  b');
  });

  it('is not moved when it is the whole answer', () => {
    const whole = { kind: 'whole', text: 'One.\n\n  - two' } as const;
    assert.equal(asReplacement(whole, original('', 'Eins.\n')), 'One.\n\n  - two\n');
    assert.equal(asLines(whole, original('', '  x')), whole.text);
  });

  it('below the selection has its margin as well', () => {
    assert.equal(asLines(code('a\n  b'), original('{\n  ', 'x')), '  a\n    b');
  });
});
