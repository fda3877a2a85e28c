import { codeBlocks, visible } from '../core';
import type { Original } from './place';

/** A part of an answer that may go into the file. */
export interface Part {
  kind: 'code' | 'whole';
  text: string;
}

/**
 * What of an answer may go into the file: its code, or all of it where it has none. With several code blocks each of
 * them or all of the answer: a person has to choose. Nothing in it is hidden from who reads it.
 */
export function partsOf(reply: string): Part[] {
  const whole: Part = { kind: 'whole', text: visible(reply).trim() };
  const codes = codeBlocks(reply).map((text): Part => ({ kind: 'code', text }));
  return codes.length === 1 ? codes : [...codes, whole];
}

/** Which of them it will be, for whoever is about to accept. */
export function acceptHint(reply: string): string {
  const blocks = codeBlocks(reply).length;
  if (blocks === 0) return 'Insert and Replace take the whole answer.';
  if (blocks === 1) return 'Insert and Replace take the code block, without the text around it.';
  return `Insert and Replace ask which of the ${blocks} code blocks you want.`;
}

/** A part as it takes the place of the selection: code is moved to its margin, blank edges stay as they were. */
export function asReplacement({ kind, text }: Part, original: Original): string {
  const { before, replaced } = original;
  const top = /^(?:[^\S\n]*\n)*/.exec(replaced)?.[0] ?? '';
  const bottom = /\s*$/.exec(replaced)?.[0] ?? '';
  const body = kind === 'code' ? moved(text, original) : text;
  // What stands before the selection on its line stays there.
  const margin = top === '' ? lineStart(before) : '';
  const first = /\S/.test(margin) ? body.trimStart() : withoutPrefix(body, margin);
  return top + first + bottom;
}

/** A part as lines of its own, below the selection. */
export function asLines({ kind, text }: Part, original: Original): string {
  return kind === 'code' ? moved(text, original) : text;
}

/** Code with the margin of the lines that it belongs to. */
function moved(code: string, { before, replaced }: Original): string {
  const lines = code
    .replace(/^(?:[^\S\n]*\n)+/, '')
    .trimEnd()
    .split('\n');
  const own = marginOf(lines).length;
  const wanted = marginOf((lineStart(before) + replaced).split('\n'));
  return lines.map((line) => (line.trim() === '' ? '' : wanted + line.slice(own))).join('\n');
}

/** The white space that all lines begin with, but for blank ones. */
function marginOf(lines: readonly string[]): string {
  const margins = lines.filter((line) => line.trim() !== '').map((line) => /^\s*/.exec(line)![0]);
  return margins.reduce((a, b) => (a.length <= b.length ? a : b), margins[0] ?? '');
}

function lineStart(before: string): string {
  return before.slice(before.lastIndexOf('\n') + 1);
}

function withoutPrefix(text: string, prefix: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}
