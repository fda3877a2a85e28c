import assert from 'node:assert/strict';
import { progressText } from '../../src/host/chat/progress';

describe('a line of progress in chat', () => {
  const loading = (elapsed_ms: number) =>
    progressText({ phase: 'loading', model: 'qwen3:14b', elapsed_ms, expected_ms: 20_000 });

  it('is written anew only when there is news', () => {
    assert.equal(loading(1_000), 'loading qwen3:14b, 0 s of about 20 s');
    assert.equal(loading(9_900), loading(0));
    assert.equal(loading(14_000), 'loading qwen3:14b, 10 s of about 20 s');
  });

  it('counts a few steps one by one, and of many some', () => {
    const lines = (total: number) =>
      new Set(
        Array.from({ length: total }, (_, done) =>
          progressText({ phase: 'steps', what: 'part', done, total }),
        ),
      );
    assert.deepEqual([...lines(3)], ['part 1 of 3', 'part 2 of 3', 'part 3 of 3']);
    assert.equal(lines(10).size, 10);
    assert.ok(lines(200).size <= 10);
    assert.equal(progressText({ phase: 'steps', what: 'part', done: 0, total: 0 }), 'part 0 of 0');
  });

  it('tells a place in the queue, and who reads and writes', () => {
    assert.equal(progressText({ phase: 'queued', position: 2 }), 'queued, 2nd');
    assert.equal(progressText({ phase: 'reading', model: 'm' }), 'm is reading');
    assert.equal(progressText({ phase: 'writing', model: 'm', tokens: 3 }), 'm is writing');
  });
});
