import assert from 'node:assert/strict';
import { holds, keysOf } from '../../src/host/when';

const values = (key: string): unknown =>
  ({
    yes: true,
    no: false,
    count: 2,
    scheme: 'file',
    schemes: ['http', 'file'],
    'intern.on': true,
  })[key];

describe('a condition of package.json', () => {
  for (const [clause, isTrue] of [
    [undefined, true],
    ['yes', true],
    ['no', false],
    ['missing', false],
    ['!missing', true],
    ['!yes', false],
    ['intern.on', true],
    ['yes && no', false],
    ['yes && !no && scheme', true],
    ['no || yes', true],
    ['no || yes && no', false],
    ['yes && no || yes', true],
    ['scheme == file', true],
    ['scheme==file', true],
    ['scheme != file', false],
    // As the editor hands it on: such a condition never held.
    ["scheme == 'file'", true],
    ["count != '0' && count > 1", true],
    ["scheme != 'file'", false],
    ['missing == file', false],
    ['missing != file', true],
    ['yes == true', true],
    ['count > 1', true],
    ['count > 2', false],
    ['count >= 2', true],
    ['count < 2', false],
    ['count <= 2', true],
    ['count != 0', true],
    ['missing > 0', false],
    ['scheme =~ /^F/i', true],
    ['scheme =~ /^F/', false],
    ['missing =~ /^x/', false],
    ['scheme in schemes', true],
    ["scheme in 'schemes'", true],
    ['yes in schemes', false],
    ['scheme in missing', false],
  ] as const) {
    it(`${clause} is ${isTrue}`, () => assert.equal(holds(clause, values), isTrue));
  }

  it('names the keys it asks for', () => {
    assert.deepEqual(keysOf('a && !b || c.d =~ /x/ && e in f'), ['a', 'b', 'c.d', 'e', 'f']);
  });

  for (const clause of ['', 'a &&', '(a)', 'a b', '!a == b', 'a in']) {
    it(`is none that is not understood: "${clause}"`, () => {
      assert.throws(() => holds(clause, () => true), /not a condition/);
      assert.throws(() => keysOf(clause), /not a condition/);
    });
  }
});
