import type { z } from 'zod';
import type { ChatMessage } from '../ollama/client';
import type { GenerativeTier } from '../routing/tiers';

/** What a job asks of a model. */
export interface Prompt {
  messages: ChatMessage[];
  /** Most tokens of the answer. */
  numPredict: number;
}

/** What a job made of an answer. */
export interface Outcome<R> {
  result: R;
  /** Sentences for the envelope. */
  warnings?: string[];
}

/**
 * One kind of work. Everything that surfaces show or accept is made from this, so that a job added to the registry
 * appears everywhere.
 */
export interface Job<I extends z.ZodType = z.ZodType, R = unknown> {
  name: string;
  /** For menus and headings. */
  title: string;
  description: string;
  /** Goes up when the prompt changes, so that results of different prompts are never compared as equals. */
  version: number;
  tier: GenerativeTier;
  input: I;
  temperature: number;
  /** Free text, shown while it is written: the budget is the longest silence. Otherwise it is the total. */
  streamed: boolean;
  prompt(input: z.output<I>): Prompt;
  parse(answer: string, input: z.output<I>): Outcome<R>;
  /** The text of a result for people. */
  show(result: R): string;
  /** The same input with about this share (0 to 1) of its text, from the start; absent when nothing can be left out. */
  shorten?(input: z.output<I>, share: number): z.output<I>;
}

/** Keeps the types of input and result together while a job is written. */
export function defineJob<I extends z.ZodType, R>(job: Job<I, R>): Job<I, R> {
  return job;
}

export type JobInput<J> = J extends Job<infer I> ? z.input<I> : never;
export type JobResult<J> = J extends Job<z.ZodType, infer R> ? R : never;
