/**
 * The texts that are translated. `npm run l10n` writes those of the code to `l10n/bundle.l10n.json`, from which a new
 * language starts, and says what the languages there are lack. Those of package.json stand in `package.nls.json`.
 */
import fs from 'node:fs';
import path from 'node:path';
import * as nls from './manifest';
import { root } from './setup.mjs';

export const folder = path.join(root, 'l10n');
const template = path.join(folder, 'bundle.l10n.json');

/** A call of `t`, and its first argument if that is a text. */
const CALL = /(?<![\w.$])(?:vscode\.l10n\.)?t\(\s*(?:(['"])((?:\\.|(?!\1).)*)\1)?/g;

/** All texts of the product that are given to `t`, sorted. */
export function texts(): string[] {
  const found = new Set<string>();
  for (const file of sourceFiles()) {
    const source = fs.readFileSync(file, 'utf8');
    for (const [, quote, literal] of source.matchAll(CALL)) {
      if (quote === undefined || literal === undefined) {
        throw new Error(
          `${path.relative(root, file)}: t() is called with something else than a text`,
        );
      }
      found.add(literal.replaceAll(/\\(.)/g, '$1'));
    }
  }
  return [...found].sort();
}

/** The bundles by language. */
export function bundles(): Map<string, Record<string, string>> {
  const named = fs.readdirSync(folder).flatMap((name) => {
    const language = /^bundle\.l10n\.(.+)\.json$/.exec(name)?.[1];
    return language ? ([[language, name]] as const) : [];
  });
  return new Map(
    named.map(([language, name]) => [
      language,
      JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')) as Record<string, string>,
    ]),
  );
}

function sourceFiles(): string[] {
  return ['src', 'webview'].flatMap((name) =>
    fs
      .readdirSync(path.join(root, name), { recursive: true, encoding: 'utf8' })
      .filter(
        (file) =>
          /\.(?:ts|svelte)$/.test(file) && !file.endsWith(path.join('dashboard', 'l10n.ts')),
      )
      .map((file) => path.join(root, name, file)),
  );
}

/** Says what a language lacks, and what it has for nothing. */
function compare(name: string, there: nls.Texts, wanted: readonly string[]): void {
  const missing = wanted.filter((key) => !(key in there));
  const unused = Object.keys(there).filter((key) => !wanted.includes(key));
  console.log(`${name}: ${missing.length} missing, ${unused.length} not used any more`);
  for (const key of missing) console.log(`  + ${key}`);
  for (const key of unused) console.log(`  - ${key}`);
}

function update(): void {
  const all = texts();
  const english = Object.fromEntries(all.map((text) => [text, text]));
  fs.writeFileSync(template, `${JSON.stringify(english, null, 2)}\n`);
  console.log(`${all.length} texts`);
  for (const [language, bundle] of bundles()) compare(language, bundle, all);

  const keys = nls.keys();
  const bare = nls.bareTexts();
  console.log(`\npackage.json: ${keys.length} texts, ${bare.length} without a key`);
  for (const { place, text } of bare) console.log(`  ${place.join('.')}: ${text}`);
  compare('en', nls.texts(), keys);
  for (const language of nls.languages()) compare(language, nls.texts(language), keys);
}

if (process.argv[1] && path.resolve(process.argv[1]) === path.join(root, 'test/support/l10n.ts'))
  update();
