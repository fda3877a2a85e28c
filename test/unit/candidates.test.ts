import assert from 'node:assert/strict';
import { candidatesOf } from '../../src/core/jobs/candidates';

const TEXT = 'one\nstill one\n\n  \ntwo\r\n\r\nthree\r\nstill three\r\n';

describe('what is searched by meaning', () => {
  it('is the paragraphs of a text, with the lines where they stand', () => {
    assert.deepEqual(candidatesOf([{ text: TEXT, firstLine: 10 }]), {
      list: [
        { id: 'lines 10–11', text: 'one\nstill one' },
        { id: 'line 14', text: 'two' },
        { id: 'lines 16–17', text: 'three\nstill three' },
      ],
      count: '3 paragraphs',
    });
  });

  it('is the lines when there is one paragraph only', () => {
    assert.deepEqual(candidatesOf([{ text: '\n  red\ngreen\n\n', firstLine: 1 }]), {
      list: [
        { id: 'line 2', text: '  red' },
        { id: 'line 3', text: 'green' },
      ],
      count: '2 lines',
    });
  });

  it('is the whole of several selections, each place once', () => {
    const selections = [
      { text: 'red', firstLine: 3 },
      { text: 'green', firstLine: 3 },
      { text: 'blue\nand green', firstLine: 7 },
    ];
    assert.deepEqual(candidatesOf(selections), {
      list: [
        { id: 'line 3', text: 'red' },
        { id: 'line 3 (2)', text: 'green' },
        { id: 'lines 7–8', text: 'blue\nand green' },
      ],
      count: '3 paragraphs',
    });
  });

  it('is one line when there is one, and nothing when all is blank', () => {
    assert.deepEqual(candidatesOf([{ text: 'red', firstLine: 1 }]), {
      list: [{ id: 'line 1', text: 'red' }],
      count: '1 paragraph',
    });
    assert.deepEqual(candidatesOf([{ text: ' \n\n', firstLine: 1 }]).list, []);
  });
});
