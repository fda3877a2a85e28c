import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LineTooLongError, MAX_LINE_CHARS } from '../../src/core/ollama/ndjson';
import { EventDecoder, type ServerEvent } from '../../src/core/ollama/sse';

const bytes = (text: string) => new TextEncoder().encode(text);

function decode(chunks: Iterable<Uint8Array>): ServerEvent[] {
  const decoder = new EventDecoder();
  const events: ServerEvent[] = [];
  for (const chunk of chunks) events.push(...decoder.push(chunk));
  return [...events, ...decoder.end()];
}

const data = (...chunks: string[]) => decode(chunks.map(bytes)).map((event) => event.data);

describe('server-sent events', () => {
  it('are the same, wherever their bytes are cut', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('data: {"a":1}', 'data:', 'data', 'event: error', ': keep-alive', 'id: 1'),
      fc.constantFrom('\n', '\n\n', '\r\n', '\r\n\r\n', '\r', '\r\r', '日本語', '🎉', '\uFEFF'),
    );
    const text = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, fc.array(fc.nat(200), { maxLength: 20 }), (t, at) => {
        const all = bytes(t);
        const cuts = [0, ...at.map((n) => n % (all.length + 1)), all.length].sort((a, b) => a - b);
        const parts = cuts.slice(1).map((to, index) => all.subarray(cuts[index], to));
        assert.deepEqual(decode(parts), decode([all]));
        const single = Array.from(all, (byte) => Uint8Array.of(byte));
        assert.deepEqual(decode(single), decode([all]));
      }),
      { numRuns: 300 },
    );
  });

  it('say what was put into them, whatever ends their lines', () => {
    const line = fc.string({ unit: 'grapheme' }).map((t) => t.replace(/[\r\n]/g, ''));
    fc.assert(
      fc.property(
        fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 5 }),
        fc.constantFrom('\n', '\r\n', '\r'),
        (events, eol) => {
          const text = events
            .map((lines) => lines.map((one) => `data: ${one}${eol}`).join('') + eol)
            .join('');
          assert.deepEqual(
            data(text),
            events.map((lines) => lines.join('\n')),
          );
        },
      ),
      { numRuns: 200 },
    );
  });

  it('come out with the chunk that completes them, not later', () => {
    const decoder = new EventDecoder();
    assert.deepEqual(decoder.push(bytes('data: {"a"')), []);
    assert.deepEqual(decoder.push(bytes(':1}\n')), []);
    assert.deepEqual(decoder.push(bytes('\ndata: x\n\ndata: ')), [
      { type: 'message', data: '{"a":1}' },
      { type: 'message', data: 'x' },
    ]);
  });

  it('come out at once when a lone CR ends their lines', () => {
    const decoder = new EventDecoder();
    assert.equal(decoder.push(bytes('data: x\r\r')).length, 1);
    assert.deepEqual(decoder.push(bytes('\ndata: y\r\r')), [{ type: 'message', data: 'y' }]);
  });

  it('are not ended twice by a CRLF that is cut in two', () => {
    assert.deepEqual(data('data: a\r', '\ndata: b\r', '\n\r', '\n'), ['a\nb']);
  });

  it('need no space after the colon, and keep all but one', () => {
    assert.deepEqual(data('data:x\n\ndata:  y\n\n'), ['x', ' y']);
  });

  it('may be empty, and may have a type', () => {
    assert.deepEqual(decode([bytes('event: error\ndata: {}\n\ndata\n\n')]), [
      { type: 'error', data: '{}' },
      { type: 'message', data: '' },
    ]);
  });

  it('are not comments, other fields or a type alone', () => {
    const text =
      ': OPENROUTER PROCESSING\n\n: keep-alive\ndata: x\nid: 7\nretry: 9\n\nevent: ping\n\n';
    assert.deepEqual(decode([bytes(text)]), [{ type: 'message', data: 'x' }]);
  });

  it('may begin with a byte order mark', () => {
    assert.deepEqual(data('\uFEFFdata: x\n\n'), ['x']);
  });

  it('count without the last blank line, but not with half a line', () => {
    assert.deepEqual(data('data: x\n'), ['x']);
    assert.deepEqual(data('data: x\n\ndata: {"half'), ['x']);
    assert.deepEqual(data(), []);
  });

  describe('of more than 8 MB', () => {
    const block = 'x'.repeat(1024 * 1024);
    const blocks = MAX_LINE_CHARS / block.length;

    it('are refused in one line', () => {
      const decoder = new EventDecoder();
      decoder.push(bytes('data: '));
      for (let n = 1; n < blocks; n++) decoder.push(bytes(block));
      assert.throws(() => decoder.push(bytes(block)), LineTooLongError);
    });

    it('are refused in many lines', () => {
      const decoder = new EventDecoder();
      const line = bytes(`data: ${block}\n`);
      for (let n = 0; n < blocks; n++) decoder.push(line);
      assert.throws(() => decoder.push(line), LineTooLongError);
    });

    it('are no matter when they are several', () => {
      const decoder = new EventDecoder();
      const event = bytes(`data: ${block}\n\n`);
      for (let n = 0; n <= blocks; n++) assert.equal(decoder.push(event).length, 1);
    });
  });
});
