/**
 * The texts that are translated. `npm run l10n` writes them to `l10n/bundle.l10n.json`, from which a new language
 * starts, and says what the languages there are lack.
 */
import fs from 'node:fs';
import path from 'node:path';
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

function update(): void {
  const all = texts();
  const english = Object.fromEntries(all.map((text) => [text, text]));
  fs.writeFileSync(template, `${JSON.stringify(english, null, 2)}\n`);
  console.log(`${all.length} texts`);
  for (const [language, bundle] of bundles()) {
    const missing = all.filter((text) => !(text in bundle));
    const unused = Object.keys(bundle).filter((text) => !all.includes(text));
    console.log(`${language}: ${missing.length} missing, ${unused.length} not used any more`);
    for (const text of missing) console.log(`  + ${text}`);
    for (const text of unused) console.log(`  - ${text}`);
  }
}

if (process.argv[1] && path.resolve(process.argv[1]) === path.join(root, 'test/support/l10n.ts'))
  update();
