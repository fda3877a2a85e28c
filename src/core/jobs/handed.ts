import type * as z from 'zod';
import { InternError } from '../errors';
import type { Source } from './sources';

/** What git says is changed, and how its repository words commits. */
export interface HandedChange {
  /** Unified, as git writes it. */
  diff: string;
  recent_subjects?: string[];
  /** `feat(scope): …` */
  conventional?: boolean;
}

/** What somebody hands over in plain words, where no form asks for each field: in chat. */
export interface Handed {
  /** What is asked for. These words may instruct; all the rest is data. */
  request: string;
  /** Texts that came with it, each under a name of its own. */
  sources: readonly Source[];
  change?: HandedChange;
}

/** The word by which jobs are called where people write: `/brief`. */
export interface SlashCommand {
  name: string;
  description: string;
  /** What may follow it. */
  example: string;
}

/** What may follow an answer: another command or a plain question, and a label for the offer. */
export interface FollowUp {
  /** Absent: the request is a question in the conversation. */
  command?: string;
  request: string;
  label: string;
}

/** How a job is called in plain words, and what it makes of them. */
export interface HandOver<I extends z.ZodType> {
  command: SlashCommand;
  /** Of several jobs of one command it is this one when the request begins with one of these words. */
  words?: readonly string[];
  /** Of several jobs of one command, when no word names one: whether it is this one. Default: yes. */
  suits?(handed: Handed): boolean;
  /** What is got for it when it did not come along: the change in git, or the files that say most about the folder. */
  needs?: 'change' | 'repository';
  /** Throws `bad_input`. */
  input(handed: Handed): z.input<I>;
  follow_ups?: readonly FollowUp[];
}

/** What a person typed, as a value, or what is wrong with it. */
export type Typed<T> = { value: T } | { problem: string };

export function badInput(message: string, hint: string): InternError {
  return new InternError({ code: 'bad_input', message, hint });
}

/** What was typed behind a command. Throws `bad_input` with an example when it cannot be used. */
export function usable<T>(typed: Typed<T>, command: SlashCommand): T {
  if ('value' in typed) return typed.value;
  throw badInput(typed.problem, `For example: /${command.name} ${command.example}`);
}

/** The one text that came along; undefined: none did. Throws `bad_input` when there are several. */
export function oneSource({ sources }: Handed, { name }: SlashCommand): Source | undefined {
  if (sources.length < 2) return sources[0];
  throw badInput(
    `/${name} works on one text at a time, and ${sources.length} came with the request.`,
    'Attach one of them.',
  );
}

/** The files that came along. Throws `bad_input` when there are none. */
export function someSources({ sources }: Handed): Source[] {
  if (sources.length > 0) return [...sources];
  throw badInput('There is nothing to read.', 'Attach a file, a folder or a selection with #.');
}

/** The one text that came along, or else the lines below the first one of the request. */
export function requestAndText(
  handed: Handed,
  command: SlashCommand,
): { request: string; text: string; source?: string } {
  const source = oneSource(handed, command);
  if (source) return { request: handed.request, text: source.text, source: source.name };
  const [, request = '', text = ''] = /^([^\n]*)(?:\n(.*))?$/s.exec(handed.request) ?? [];
  return { request, text: someText(text) };
}

/** Throws `bad_input` for a text that says nothing. */
export function someText(text: string): string {
  if (text.trim() !== '') return text;
  throw badInput(
    'There is no text to work on.',
    'Attach a file or a selection with #, or paste the text below the first line.',
  );
}
