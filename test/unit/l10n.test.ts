import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { bundles, folder, texts } from '../support/l10n';

const placeholders = (text: string): string[] => (text.match(/\{\d+\}/g) ?? []).sort();

describe('the translations', () => {
  const all = texts();

  it('start from all texts of the product', () => {
    const template = JSON.parse(
      fs.readFileSync(path.join(folder, 'bundle.l10n.json'), 'utf8'),
    ) as Record<string, string>;
    assert.deepEqual(Object.keys(template), all, 'run npm run l10n');
  });

  it('are there in German and Simplified Chinese', () => {
    assert.deepEqual([...bundles().keys()].sort(), ['de', 'zh-cn']);
  });

  for (const [language, bundle] of bundles()) {
    it(`have each text, and no other (${language})`, () => {
      assert.deepEqual(Object.keys(bundle).sort(), all);
    });

    it(`have the values of each text (${language})`, () => {
      for (const [text, translated] of Object.entries(bundle)) {
        assert.notEqual(translated.trim(), '', text);
        assert.deepEqual(placeholders(translated), placeholders(text), text);
      }
    });
  }
});
