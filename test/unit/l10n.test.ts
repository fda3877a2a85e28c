import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { titleOf } from '../../src/host/manifest';
import { bundles, folder, texts } from '../support/l10n';
import * as nls from '../support/manifest';

const LANGUAGES = ['de', 'zh-cn'];

interface Contributes {
  commands: { command: string; title: string }[];
  configuration: { properties: Record<string, object> }[];
}

/** What stands in bold or on a link. */
const NAMED = /\*\*(.+?)\*\*|(?<=\[)([^\]]+)(?=\]\()/g;

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
    assert.deepEqual([...bundles().keys()].sort(), LANGUAGES);
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

    it(`call a command by its title there (${language})`, () => {
      const titles = titlesIn(language);
      for (const [text, translated] of Object.entries(bundle)) {
        for (const [title, there] of titles) {
          if (text.includes(`run ${title} `)) assert.ok(translated.includes(there), translated);
        }
      }
    });
  }
});

describe('the texts of package.json', () => {
  const english = nls.texts();

  it('stand in package.nls.json alone', () => {
    assert.deepEqual(nls.bareTexts(), []);
  });

  it('have keys that say where they stand', () => {
    const { contributes } = nls.raw() as { contributes: Contributes };
    for (const { command, title } of contributes.commands) {
      assert.equal(title, `%command.${command.replace('ollamaIntern.', '')}%`);
    }
    for (const { properties } of contributes.configuration) {
      for (const [id, property] of Object.entries(properties)) {
        const prefix = `%setting.${id.replace('ollamaIntern.', '')}.`;
        for (const key of JSON.stringify(property).match(/%setting\.[^%"]+%/g) ?? []) {
          assert.ok(key.startsWith(prefix), key);
        }
      }
    }
  });

  it('have a key each, and no key is left over', () => {
    const keys = nls.keys();
    assert.deepEqual(Object.keys(english).sort(), [...keys].sort());
    assert.equal(new Set(keys).size, keys.length);
    for (const [key, text] of Object.entries(english)) assert.equal(text, text.trim(), key);
  });

  it('are there in the languages of the bundles, and packaged', () => {
    assert.deepEqual(nls.languages(), LANGUAGES);
    const ignored = fs.readFileSync(path.join(folder, '..', '.vscodeignore'), 'utf8');
    assert.match(ignored, /^!package\.nls\*\.json$/m);
  });

  for (const language of nls.languages()) {
    const own = nls.texts(language);

    it(`have the same keys, and none is empty (${language})`, () => {
      assert.deepEqual(Object.keys(own).sort(), Object.keys(english).sort());
      for (const [key, text] of Object.entries(own)) assert.notEqual(text.trim(), '', key);
    });

    it(`keep code, links and lines (${language})`, () => {
      for (const [key, text] of Object.entries(english)) {
        assert.deepEqual(fixed(own[key] ?? ''), fixed(text), key);
      }
    });

    it(`call a command by its title there (${language})`, () => {
      const titles = titlesIn(language);
      for (const [key, text] of Object.entries(english)) {
        // Names entries of the lightbulb, whose words stand in the code.
        if (key === 'setting.codeActions.description') continue;
        for (const name of namesIn(text)) {
          const there = titles.get(name);
          if (there) assert.ok(namesIn(own[key] ?? '').includes(there), `${key}: ${there}`);
        }
      }
    });

    it(`tell commands apart (${language})`, () => {
      const titles = [...titlesIn(language).values()];
      assert.equal(new Set(titles).size, titles.length);
    });
  }

  it('are what the editor hands on, with the English title of a command beside it', () => {
    assert.equal(titleOf({ title: 'Show Log' }), 'Show Log');
    // As it stands in `packageJSON` where the display language is German.
    const title = { value: 'Protokoll anzeigen', original: 'Show Log' };
    assert.equal(titleOf({ title }), 'Protokoll anzeigen');
  });
});

function namesIn(text: string): string[] {
  return [...text.matchAll(NAMED)].flatMap(([, bold, link]) => bold ?? link ?? []);
}

/** The titles of the commands in a language, by the English ones. */
function titlesIn(language: string): Map<string, string> {
  const english = nls.texts();
  const own = nls.texts(language);
  const commands = Object.keys(english).filter((key) => key.startsWith('command.'));
  return new Map(commands.map((key) => [english[key] ?? '', own[key] ?? '']));
}

/** What a translation leaves as it is: code, the ids of settings, where links lead, and that a link has its own line. */
function fixed(text: string): string[] {
  const kept = text.match(/`[^`]+`|#[\w.]+#|(?<=\]\()[^)]+(?=\))|\n(?=\[)/g) ?? [];
  return kept.sort();
}
