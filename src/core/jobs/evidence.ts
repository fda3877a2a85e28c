import { parseDiff, pathOf } from './diff';
import { type Excerpt, pieces, type Source, wholeSources } from './sources';

/** How long an item of evidence is, at most: short enough to point at something. Characters. */
const ITEM_CHARS = 1600;

export type EvidenceKind = 'log' | 'diff' | 'source';

/** A text that a brief may rest on. */
export interface EvidenceText extends Source {
  kind: EvidenceKind;
  /** Of the text in what it was taken from. Default: 1. */
  firstLine?: number;
}

/** An item of evidence as a brief shows it. Lines are 1-based, both included. */
export interface Evidence {
  id: string;
  kind: EvidenceKind;
  /** The name of a source or of a file in the diff; of the log: `log`. */
  source: string;
  /** In the source or the log; of a diff: in the text of the whole diff. */
  first_line: number;
  last_line: number;
  text: string;
}

/** All of the texts in items with the ids e1, e2, …, split where their structure allows. */
export function evidenceOf(texts: readonly EvidenceText[], room: number): Excerpt[] {
  const size = Math.min(ITEM_CHARS, Math.floor(room / 2));
  return wholeSources(texts)
    .map((whole) => ({ ...whole, firstLine: texts[whole.source ?? 0]?.firstLine ?? 1 }))
    .flatMap((whole) => pieces(whole, size))
    .filter(({ text }) => text.trim() !== '')
    .map((item, index) => ({ ...item, id: `e${index + 1}` }));
}

/** A log as a text of evidence. */
export function logText(text: string): EvidenceText {
  return { kind: 'log', name: 'log', language: 'log', text };
}

/** The files of a diff, each under its own name. */
export function diffTexts(diff: string): EvidenceText[] {
  const starts = [...diff.matchAll(/^diff --(?:git|cc|combined) /gm)].map(({ index }) => index);
  if (starts[0] !== 0) starts.unshift(0);
  let firstLine = 1;
  return starts
    .map((start, index) => {
      const text = diff.slice(start, starts[index + 1]);
      const item = { kind: 'diff' as const, name: changedFile(text), language: 'diff', text };
      const numbered = { ...item, firstLine };
      firstLine += text.split('\n').length - 1;
      return numbered;
    })
    .filter(({ text }) => text.trim() !== '');
}

function changedFile(text: string): string {
  const { files, combined } = parseDiff(text.split(/^@@+ /m, 1)[0] ?? '');
  return (files[0] && pathOf(files[0])) || combined[0] || 'the diff';
}

/** An item of a diff may begin inside of a hunk, whose lines are then unknown. */
const BEGINS_WHOLE = /^(?:diff --|--- .*\n\+\+\+ |@@ )/;

/** The lines of the changed file that an item of a diff shows, hunk by hunk; empty: none, or unknown ones. */
export function newSideOf(text: string): [first: number, last: number][] {
  if (!BEGINS_WHOLE.test(text)) return [];
  return parseDiff(`--- a\n+++ a\n${text}`)
    .files.flatMap(({ hunks }) => hunks)
    .flatMap(({ lines }): [number, number][] => {
      const numbers = lines.flatMap(({ new_line }) => new_line ?? []);
      const [first, last] = [numbers[0], numbers.at(-1)];
      return first === undefined || last === undefined ? [] : [[first, last]];
    });
}

/** Of the ids that a model cites, those that exist, and how many do not. */
export function checkIds(
  claimed: readonly string[],
  known: ReadonlySet<string>,
): { ids: string[]; unknown: number } {
  const found = claimed.flatMap((text) => text.toLowerCase().match(/\be\d+\b/g) ?? [text]);
  const ids = [...new Set(found.filter((id) => known.has(id)))];
  return { ids, unknown: found.filter((id) => !known.has(id)).length };
}

/** The same for ids that stand in brackets in a text: those that do not exist go away. */
export function checkMarks(
  text: string,
  known: ReadonlySet<string>,
): { text: string; ids: string[]; unknown: number } {
  const all: string[] = [];
  let unknownCount = 0;
  const checked = text.replace(/ ?\[(e\d+(?:\s*[,;]\s*e\d+)*)\]/gi, (mark, list: string) => {
    const { ids, unknown } = checkIds([list], known);
    all.push(...ids);
    unknownCount += unknown;
    return ids.length ? `${mark.startsWith(' ') ? ' ' : ''}[${ids.join(', ')}]` : '';
  });
  return { text: checked, ids: all, unknown: unknownCount };
}
