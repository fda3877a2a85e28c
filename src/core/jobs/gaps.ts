import { inlineText } from './markdown';
import type { Excerpt, GroupOutcome, Source } from './sources';

/** A part of the input that no model has read, because its prompt failed. */
export interface UnreadPart {
  name: string;
  first_line: number;
  last_line: number;
  reason: string;
}

/** What a job of sources did not read. */
export interface Gaps {
  /** Sources of which nothing was read. */
  omitted_sources: { name: string; reason: string }[];
  unread_parts: UnreadPart[];
}

/** An excerpt that was not read, and why. */
export interface Unread {
  excerpt: Excerpt;
  reason: string;
}

/** The excerpts of the groups that did not fail. */
export function readOf<E>(outcomes: readonly GroupOutcome<E, unknown>[]): E[] {
  return outcomes.flatMap((outcome) => (outcome.ok ? outcome.group : []));
}

/** The excerpts of the groups that failed. */
export function unreadOf<E extends Excerpt>(
  outcomes: readonly GroupOutcome<E, unknown>[],
): (Unread & { excerpt: E })[] {
  return outcomes.flatMap((outcome) =>
    outcome.ok ? [] : outcome.group.map((excerpt) => ({ excerpt, reason: outcome.error.message })),
  );
}

/** The values of what did not fail. */
export function valuesOf<R>(outcomes: readonly GroupOutcome<unknown, R>[]): R[] {
  return outcomes.flatMap((outcome) => (outcome.ok ? [outcome.value] : []));
}

/** What was not read, and the words about it for the envelope. */
export function gapsOf(
  sources: readonly Source[],
  read: readonly Excerpt[],
  unread: readonly Unread[],
): { gaps: Gaps; warnings: string[]; truncated: boolean } {
  const wasRead = new Set(read.map(({ source }) => source));
  const omitted = sources.flatMap(({ name, text }, index) => {
    if (text.trim() === '') return [{ name, reason: 'It is empty.' }];
    if (wasRead.has(index)) return [];
    const reason = unread.find(({ excerpt }) => excerpt.source === index)?.reason;
    return [{ name, reason: reason ?? 'It was not read.' }];
  });
  const parts = unread.map(({ excerpt: { name, firstLine = 1, lastLine = 1 }, reason }) => ({
    name,
    first_line: firstLine,
    last_line: lastLine,
    reason,
  }));
  return {
    gaps: { omitted_sources: omitted, unread_parts: parts },
    warnings: parts.length
      ? [`${count(parts.length, 'part')} of the text could not be read: what is there is missing.`]
      : [],
    truncated: parts.length > 0,
  };
}

export function count(n: number, what: string): string {
  return `${n.toLocaleString('en-US')} ${what}${n === 1 ? '' : 's'}`;
}

/** The gaps for people; empty when there are none. */
export function showGaps({ omitted_sources, unread_parts }: Gaps): string {
  const omitted = omitted_sources.map(
    ({ name, reason }) => `- ${inlineText(name)}: ${inlineText(reason)}`,
  );
  const names = new Set(omitted_sources.map(({ name }) => name));
  const parts = unread_parts
    .filter(({ name }) => !names.has(name))
    .map(
      ({ name, first_line, last_line, reason }) =>
        `- ${showPlace(name, [first_line, last_line])}: ${inlineText(reason)}`,
    );
  const all = [...omitted, ...parts];
  return all.length ? `**Not read**\n\n${all.join('\n')}` : '';
}

/** Where in a source, for people: ranges of lines, or all of it. */
export function showPlace(name: string, ...ranges: [first: number, last: number][]): string {
  if (ranges.length === 0) return inlineText(name);
  const isOne = ranges.length === 1 && ranges.every(([first, last]) => first === last);
  const lines = ranges.map(([first, last]) => (first === last ? first : `${first}–${last}`));
  return `${inlineText(name)}, ${isOne ? 'line' : 'lines'} ${lines.join(', ')}`;
}
