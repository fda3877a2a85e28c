import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  LineDecoder,
  LineTooLongError,
  MAX_LINE_CHARS,
  parseLines,
} from '../../src/core/ollama/ndjson';

function decode(chunks: Iterable<Uint8Array>): string[] {
  const decoder = new LineDecoder();
  const lines: string[] = [];
  for (const chunk of chunks) lines.push(...decoder.push(chunk));
  return [...lines, ...decoder.end()];
}

const bytes = (text: string) => new TextEncoder().encode(text);

/** The text's bytes, cut at these positions. */
function* cut(text: string, positions: number[]): Generator<Uint8Array> {
  const all = bytes(text);
  let from = 0;
  for (const to of [...positions].sort((a, b) => a - b)) {
    yield all.subarray(from, Math.min(to, all.length));
    from = Math.min(to, all.length);
  }
  yield all.subarray(from);
}

describe('NDJSON lines', () => {
  it('are those of the text, wherever its bytes are cut', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\n', '\n\n', '\r\n', 'Köln', '日本語', '🎉', '{"a":1}'),
    );
    const text = fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join(''));
    const positions = fc.array(fc.nat(200), { maxLength: 20 });
    fc.assert(
      fc.property(text, positions, (t, at) => {
        // White space around a line means nothing in JSON.
        const trimmed = (lines: string[]) => lines.map((l) => l.trim()).filter(Boolean);
        assert.deepEqual(trimmed(decode(cut(t, at))), trimmed(t.split('\n')));
      }),
      { numRuns: 200 },
    );
  });

  it('are whole when every byte comes alone', () => {
    const text = '{"a":"Grüße"}\n{"b":"日本語 🎉"}\n';
    const single = Array.from(bytes(text), (byte) => Uint8Array.of(byte));
    assert.deepEqual(decode(single), ['{"a":"Grüße"}', '{"b":"日本語 🎉"}']);
  });

  it('come out with the chunk that completes them, not later', () => {
    const decoder = new LineDecoder();
    assert.deepEqual(decoder.push(bytes('{"a"')), []);
    assert.deepEqual(decoder.push(bytes(':1}\n{"b":2}\n{')), ['{"a":1}', '{"b":2}']);
  });

  it('may end with CRLF', () => {
    const lines = decode([bytes('{"a":1}\r\n{"b":2}\r\n')]);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line) as unknown),
      [{ a: 1 }, { b: 2 }],
    );
  });

  it('count without a newline at the end too', () => {
    assert.deepEqual(decode([bytes('{"a":1}\n{"b":2}')]), ['{"a":1}', '{"b":2}']);
  });

  it('that are blank are left out', () => {
    assert.deepEqual(decode([bytes('\n\n{"a":1}\n \r\n\n')]), ['{"a":1}']);
    assert.deepEqual(decode([]), []);
  });

  it('of a broken character show the replacement character and do not fail', () => {
    assert.deepEqual(decode([Uint8Array.of(0x61, 0xe2, 0x82)]), ['a\uFFFD']);
  });

  it('of the greatest length are still taken', () => {
    const block = bytes('x'.repeat(1024 * 1024));
    const decoder = new LineDecoder();
    for (let i = 0; i < MAX_LINE_CHARS / block.length; i++) {
      assert.deepEqual(decoder.push(block), []);
    }
    assert.equal(decoder.push(bytes('\n'))[0]?.length, MAX_LINE_CHARS);
  });

  it('that never end are refused instead of filling the memory', () => {
    const block = bytes('x'.repeat(1024 * 1024));
    const decoder = new LineDecoder();
    assert.throws(() => {
      for (let i = 0; i <= MAX_LINE_CHARS / block.length; i++) decoder.push(block);
    }, LineTooLongError);
  });
});

describe('the values of NDJSON lines', () => {
  it('are those of each line, however many there are', () => {
    assert.deepEqual(parseLines([]), []);
    assert.deepEqual(parseLines(['{"a":1}']), [{ a: 1 }]);
    assert.deepEqual(parseLines(['{"a":1}\r', ' {"b":"日本\\n"}', 'null']), [
      { a: 1 },
      { b: '日本\n' },
      null,
    ]);
  });

  it('are missing where a line is not JSON, and only there', () => {
    assert.deepEqual(parseLines(['<html>']), [undefined]);
    assert.deepEqual(parseLines(['{"a":1}', '<html>', '{"b":2}']), [{ a: 1 }, undefined, { b: 2 }]);
  });

  for (const [what, lines] of [
    ['an object', ['{"a":1', '"b":2}']],
    ['an array', ['[1', '2]']],
    ['a string', ['"a', 'b"']],
  ] as const) {
    it(`are not made from ${what} that is cut in two`, () => {
      assert.deepEqual(parseLines(lines), [undefined, undefined]);
    });
  }

  it('are not made from a line with two of them', () => {
    assert.deepEqual(parseLines(['{"a":1},{"b":2}', '{"c":3}']), [undefined, { c: 3 }]);
  });
});
