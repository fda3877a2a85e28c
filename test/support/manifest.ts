/**
 * package.json as the editor shows it: each `%key%` in it stands for a text of `package.nls.json`, or of
 * `package.nls.LANGUAGE.json` where that has it.
 */
import fs from 'node:fs';
import path from 'node:path';
import { root } from './setup.mjs';

export type Texts = Record<string, string>;

/** A text of package.json that a person reads, with the way to it. */
export interface Shown {
  place: string[];
  text: string;
}

const KEY = /^%(.+)%$/;

/** Properties whose values the editor shows. */
const SHOWN = new Set([
  ...['title', 'shortTitle', 'label', 'description', 'markdownDescription', 'altText', 'contents'],
  ...['enumDescriptions', 'markdownEnumDescriptions', 'enumItemLabels', 'patternErrorMessage'],
  ...['errorMessage', 'deprecationMessage', 'markdownDeprecationMessage', 'displayName'],
  'userDescription',
]);
/** What only models read. */
const FOR_MODELS = new Set(['inputSchema', 'disambiguation', 'modelDescription']);

/** package.json as it is written. */
export function raw(): Record<string, unknown> {
  return readJson('package.json') as Record<string, unknown>;
}

/** package.json in a language. */
export function manifest(language = 'en'): unknown {
  const english = texts();
  const own = language === 'en' ? english : texts(language);
  return resolved(raw(), (key) => own[key] ?? english[key]);
}

/** A command as the palette lists it. */
export function inPalette(command: string, language = 'en'): string {
  const { contributes } = manifest(language) as {
    contributes: { commands: { command: string; title: string; category: string }[] };
  };
  const found = contributes.commands.find((one) => one.command === command);
  if (!found) throw new Error(`no command ${command}`);
  return `${found.category}: ${found.title}`;
}

/** The texts of package.json in a language, by their keys. */
export function texts(language?: string): Texts {
  return readJson(language ? `package.nls.${language}.json` : 'package.nls.json') as Texts;
}

/** The languages that package.json is translated to. */
export function languages(): string[] {
  return fs
    .readdirSync(root)
    .flatMap((name) => /^package\.nls\.(.+)\.json$/.exec(name)?.[1] ?? [])
    .sort();
}

/** The keys that package.json names. */
export function keys(): string[] {
  return leaves(raw(), []).flatMap(({ text }) => KEY.exec(text)?.[1] ?? []);
}

/** What stands in package.json itself, though a person reads it. The product's own name is the same everywhere. */
export function bareTexts(): Shown[] {
  const { displayName: name, ...rest } = raw();
  return leaves(rest, []).filter(
    ({ place, text }) => isShown(place) && text !== name && !KEY.test(text),
  );
}

function isShown(place: string[]): boolean {
  // The items of a list are what the list is.
  const named = place.filter((step) => !/^\d+$/.test(step));
  const property = named.at(-1) ?? '';
  if (named.some((step) => FOR_MODELS.has(step))) return false;
  return SHOWN.has(property) || (property === 'name' && named[1] === 'views');
}

function leaves(value: unknown, place: string[]): Shown[] {
  if (typeof value === 'string') return [{ place, text: value }];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...place, key]));
}

function resolved(value: unknown, text: (key: string) => string | undefined): unknown {
  if (typeof value === 'string') return text(KEY.exec(value)?.[1] ?? '') ?? value;
  if (Array.isArray(value)) return value.map((inner) => resolved(inner, text));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, resolved(inner, text)]),
  );
}

function readJson(name: string): unknown {
  return JSON.parse(fs.readFileSync(path.join(root, name), 'utf8'));
}
