import assert from 'node:assert/strict';
import { placeOf } from '../../src/host/place';

describe('the place of a draft', () => {
  const original = { before: 'a\n', replaced: 'b()\n', after: 'c\n' };

  it('is where it was in a file that did not change', () => {
    assert.equal(placeOf('a\nb()\nc\n', original), 2);
    assert.equal(placeOf('ac', { before: 'a', replaced: '', after: 'c' }), 1);
  });

  it('is where the text has moved to', () => {
    assert.equal(placeOf('new\na\nb()\nc\n', original), 6);
  });

  it('is unknown when the text is gone, stands there twice, or is blank', () => {
    assert.equal(placeOf('a\nc\n', original), undefined);
    assert.equal(placeOf('a\nb()\nb()\nc\n', original), undefined);
    assert.equal(placeOf('a c', { before: 'a', replaced: '', after: 'c' }), undefined);
  });

  it('is unknown when the one that is left may be another', () => {
    const twice = { before: '', replaced: 'x = 1\n', after: 'y\nx = 1\n' };
    assert.equal(placeOf('x = 2\ny\nx = 1\n', twice), undefined);
  });
});
