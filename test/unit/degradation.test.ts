import assert from 'node:assert/strict';
import { BACKENDS } from '../../src/core';
import { degradeSentence, degradeWords } from '../../src/shared/degradation';
import { assertSentence } from './support';

const REASONS = ['timeout', '5xx', 'rate_limited', 'unreachable', 'auth_failed'] as const;

describe('the words for a degraded answer', () => {
  for (const backend of BACKENDS) {
    for (const reason of REASONS) {
      it(`${backend}_${reason} is told without its code`, () => {
        const code = `${backend}_${reason}`;
        const sentence = degradeSentence(code, backend === 'local' ? 'cloud' : 'local');
        assertSentence(sentence, code);
        assert.ok(!sentence.includes('_') && !degradeWords(code).includes('_'));
        assert.ok(degradeWords(code).startsWith(`${backend} `));
        assert.ok(degradeWords(code).length < 24, 'it stands in a narrow column');
      });
    }
  }

  it('name who answered instead', () => {
    assert.equal(
      degradeSentence('cloud_unreachable', 'local'),
      'Ollama Cloud could not be reached, so your own Ollama answered.',
    );
    assert.match(
      degradeSentence('local_timeout', 'cloud'),
      /^Ollama .*, so Ollama Cloud answered\./,
    );
    assert.equal(
      degradeSentence('local_timeout', 'local'),
      'Ollama did not answer in time, so another model there answered.',
    );
    assert.match(degradeSentence('circuit_open', 'gateway'), /so the gateway answered\.$/);
    assert.match(degradeSentence('circuit_open', 'elsewhere'), /so another backend answered\.$/);
    assert.equal(degradeWords('circuit_open'), 'paused after failures');
  });

  it('leave the reason of another product as it is', () => {
    assert.equal(degradeWords('no memory'), 'no memory');
    assert.equal(degradeWords('cloud_constructor'), 'cloud_constructor');
    assert.equal(degradeSentence('no memory', 'local'), 'The answer is degraded: no memory.');
  });
});
