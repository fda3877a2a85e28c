import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TokenEstimator } from '../../src/core/models/estimator';
import { MemoryStore } from '../../src/core/store';

const prose = 'The limiter admits two calls at once and lets the others wait in line. ';
const symbols = '{}[]();=>&&||!==<>+-*/ ';

describe('token estimates', () => {
  let store: MemoryStore;
  let estimator: TokenEstimator;

  beforeEach(() => {
    store = new MemoryStore();
    estimator = new TokenEstimator(store);
  });

  it('count four characters of prose, three of symbols and one of Chinese or Japanese', () => {
    assert.equal(estimator.charsPerToken('m', prose), 4);
    assert.equal(estimator.charsPerToken('m', symbols), 3);
    assert.equal(estimator.charsPerToken('m', '日本語のテキストと漢字'), 1);
    assert.equal(estimator.charsPerToken('m', '한국어 텍스트'), 1);
    assert.equal(estimator.charsPerToken('m', ''), 4);
  });

  it('add a little for every message', () => {
    const one = estimator.count('m', [prose + prose]);
    assert.ok(estimator.count('m', [prose, prose]) > one);
    assert.ok(estimator.count('m', ['']) > 0);
    assert.equal(estimator.count('m', []), 0);
  });

  it('judge the script by the longest message, not by the instructions before it', () => {
    const japanese = '日本語'.repeat(200);
    assert.ok(estimator.count('m', [prose, japanese]) >= japanese.length);
  });

  it('grow with the text', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        assert.ok(estimator.count('m', [a, a + b]) >= estimator.count('m', [a]));
      }),
    );
  });

  it('learn from what the server counted, for every way of writing the model', () => {
    estimator.learn('phi-4', 5000, 1000);
    assert.equal(estimator.charsPerToken('library/phi-4:latest', prose), 5);
    assert.equal(estimator.count('phi-4', ['x'.repeat(5000)]), 1000 + 8);
    assert.equal(estimator.charsPerToken('other', prose), 4);
    assert.equal(new TokenEstimator(store).charsPerToken('phi-4', prose), 5, 'kept');
  });

  it('follow later counts without jumping', () => {
    estimator.learn('m', 5000, 1000);
    estimator.learn('m', 2000, 1000);
    const once = estimator.charsPerToken('m', prose);
    assert.ok(once > 2 && once < 5);
    for (let i = 0; i < 20; i++) estimator.learn('m', 2000, 1000);
    assert.ok(Math.abs(estimator.charsPerToken('m', prose) - 2) < 0.1);
  });

  it('learn nothing from a short prompt or a count that is missing', () => {
    estimator.learn('m', 399, 10);
    estimator.learn('m', 5000, 0);
    assert.equal(estimator.charsPerToken('m', prose), 4);
  });

  it('are not led astray by a count of a prompt that was cut', () => {
    estimator.learn('m', 1_000_000, 100);
    assert.equal(estimator.charsPerToken('m', prose), 8);
  });

  it('are never too low again for a text whose count is known', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 400, max: 100_000 }),
        fc.double({ min: 0.6, max: 8, noNaN: true }),
        (chars, perToken) => {
          const tokens = Math.ceil(chars / perToken);
          estimator.correct('m', chars, tokens);
          assert.ok(estimator.count('m', ['x'.repeat(chars)]) >= tokens);
        },
      ),
    );
    estimator.correct('m', 5000, 0);
    assert.ok(estimator.charsPerToken('m', prose) > 0);
  });

  it('survive a store that others have written to', () => {
    for (const garbage of ['x', null, 0, -1, NaN, {}]) {
      store.set('chars-per-token:m:latest', garbage);
      assert.equal(estimator.charsPerToken('m', prose), 4);
      assert.ok(Number.isFinite(estimator.count('m', [prose])));
    }
  });

  it('know from the count that a server cannot have read the whole text', () => {
    const texts = [prose.repeat(100)];
    const whole = texts[0]?.length ?? 0;
    assert.equal(estimator.wasCut('m', texts, whole / 4), false);
    assert.equal(estimator.wasCut('m', texts, whole / 9), false);
    assert.equal(estimator.wasCut('m', texts, whole / 12), true);
    assert.equal(estimator.wasCut('m', texts, 0), false, 'no count says nothing');
    assert.equal(estimator.wasCut('m', ['short'], 1), false);
    for (let i = 0; i < 20; i++) estimator.learn('m', 10_000, 5_000);
    assert.equal(estimator.wasCut('m', texts, whole / 6), true, 'by what the model taught');
  });
});
