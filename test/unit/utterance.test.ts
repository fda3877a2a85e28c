import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Utterance } from '../../src/core/ollama/utterance';

/** What becomes of an answer that arrives in these pieces, with what a listener heard of it. */
function hear(pieces: readonly string[]): { words: string; thoughts: string } {
  const heard = { words: '', thoughts: '' };
  const utterance = new Utterance({
    onText: (text) => {
      assert.notEqual(text, '');
      heard.words += text;
    },
    onThinking: (text) => {
      assert.notEqual(text, '');
      heard.thoughts += text;
    },
  });
  for (const piece of pieces) utterance.say(piece);
  utterance.end();
  assert.deepEqual(heard, { words: utterance.words, thoughts: utterance.thoughts });
  return heard;
}

describe('words and thoughts', () => {
  const cases: [name: string, text: string, thoughts: string, words: string][] = [
    ['words alone', 'It waits.\n', '', 'It waits.\n'],
    ['thoughts before the words', '<think>\nHm.\n</think>\n\nIt waits.', '\nHm.\n', 'It waits.'],
    ['blank lines before the thoughts', '\n <think>Hm.</think>So.', 'Hm.', 'So.'],
    ['no thoughts between the tags', '<think>\n\n</think>\n\nSo.', '\n\n', 'So.'],
    ['thoughts that never end', '<think>Hm. </thin', 'Hm. </thin', ''],
    ['thoughts alone', '<think>Hm.</think>\n', 'Hm.', ''],
    ['a tag later on', 'The tag <think>a</think> is old.', '', 'The tag <think>a</think> is old.'],
    ['a tag of another kind', '<thinking>a</thinking>', '', '<thinking>a</thinking>'],
    ['a second tag', '<think>a</think><think>b</think>', 'a', '<think>b</think>'],
    ['indented words', '  return 1;', '', '  return 1;'],
    ['the start of a tag alone', ' <thi', '', ' <thi'],
    ['nothing', '', '', ''],
  ];
  for (const [name, text, thoughts, words] of cases) {
    it(`are told apart: ${name}`, () => {
      assert.deepEqual(hear([text]), { words, thoughts });
      assert.deepEqual(hear([...text]), { words, thoughts }, 'character by character');
    });
  }

  it('are the same in whatever pieces they arrive', () => {
    const part = fc.constantFrom('<think>', '</think>', '<thi', 'nk>', '</', ' ', '\n', 'a', '<');
    fc.assert(
      fc.property(fc.array(part), fc.array(fc.nat(40)), (parts, cuts) => {
        const text = parts.join('');
        const places = [...new Set([0, ...cuts, text.length])].sort((a, b) => a - b);
        const pieces = places.slice(1).map((end, i) => text.slice(places[i], end));
        assert.deepEqual(hear(pieces.filter((piece) => piece !== '')), hear(text ? [text] : []));
      }),
    );
  });

  it('come at once when it is known what they are', () => {
    const words: string[] = [];
    const utterance = new Utterance({ onText: (text) => words.push(text) });
    for (const piece of ['<b', 'old>', ' ', 'x']) utterance.say(piece);
    assert.deepEqual(words, ['<b', 'old>', ' ', 'x']);
  });
});
