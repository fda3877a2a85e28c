import type { z } from 'zod';
import type { InternError } from '../errors';
import type { ChatMessage, Tool, ToolCall } from '../ollama/client';
import type { GenerativeTier, Tier } from '../routing/tiers';
import type { HandOver } from './handed';
import type { ToolOffer } from './tool';

/** What a job asks of a model. */
export interface Prompt {
  messages: ChatMessage[];
  /** Most tokens of the answer. */
  numPredict: number;
  /** The answer gets no more than this share (0 to 1) of the window. Default: as much as it takes. */
  answerShare?: number;
  /** The JSON schema that the answer has to follow; absent: free text. */
  format?: Record<string, unknown>;
  /** What the model may call; only for a model that can. */
  tools?: Tool[];
  /** One of the tools has to be called, where a server can be told so. */
  toolChoice?: 'required';
  /** Whether a model that can think does so first. Default: no. */
  think?: boolean;
}

/** What a job made of an answer. */
export interface Outcome<R> {
  result: R;
  /** Sentences for the envelope. */
  warnings?: string[];
  /** Not all of the input was read. */
  truncated?: boolean;
}

/** A place that a result points at, in what the job was given. Lines are 1-based, both included; absent: all of it. */
export interface SourcePlace {
  /** A file's name as the job was given it, or as a diff has it. */
  source: string;
  first_line?: number;
  last_line?: number;
}

/** What every job says of itself, so that one added to the registry appears on every surface. */
interface JobCard<I extends z.ZodType, R> {
  name: string;
  /** For menus and headings. */
  title: string;
  description: string;
  /** Goes up when the prompt changes, so that results of different prompts are never compared as equals. */
  version: number;
  tier: Tier;
  input: I;
  /** The text of a result for people, in Markdown. */
  show(result: R): string;
  /** What is written is prose, so it can be read while it comes; else only the result is worth showing. */
  prose?: true;
  /** How it is called in plain words. Absent: it is not. */
  handed?: HandOver<I>;
  /** How agents call it. Absent: they do not. */
  tool?: ToolOffer<z.input<NoInfer<I>>>;
  cites?(result: R, input: z.input<I>): SourcePlace[];
}

/** A job of one prompt and one answer. */
export interface PromptJob<I extends z.ZodType = z.ZodType, R = unknown> extends JobCard<I, R> {
  tier: GenerativeTier;
  temperature: number;
  /** Free text, shown while it is written: the budget is the longest silence. Otherwise it is the total. */
  streamed: boolean;
  prompt(input: z.output<I>): Prompt;
  parse(answer: string, input: z.output<I>): Outcome<R>;
  /** The same input with about this share (0 to 1) of its text, from the start; absent when nothing can be left out. */
  shorten?(input: z.output<I>, share: number): z.output<I>;
  /** What a shortened input lacks, for the envelope. Absent: the end of its text. */
  leftOut?(input: z.output<I>): string;
}

/** A job of several prompts, such as one whose input is longer than a model's window. */
export interface StepsJob<I extends z.ZodType = z.ZodType, R = unknown> extends JobCard<I, R> {
  tier: GenerativeTier;
  run(input: z.output<I>, steps: Steps): Promise<Outcome<R>>;
}

/** A job that makes vectors and asks nothing. */
export interface EmbedJob<I extends z.ZodType = z.ZodType, R = unknown> extends JobCard<I, R> {
  tier: 'embed';
  run(input: z.output<I>, steps: Pick<Steps, 'embed'>): Promise<Outcome<R>>;
}

export type Job<I extends z.ZodType = z.ZodType, R = unknown> =
  PromptJob<I, R> | StepsJob<I, R> | EmbedJob<I, R>;

/** One prompt of a job of several. */
export interface Question extends Prompt {
  temperature: number;
  /** Shown while it is written, as the job's answer. Default: no. */
  streamed?: boolean;
}

export interface Reply {
  text: string;
  thinking: string;
  tool_calls: ToolCall[];
  /** `length`: the answer was cut at its limit. */
  done_reason: string;
}

export type Settled<T> = { ok: true; value: T } | { ok: false; error: InternError };

/** What a job of several prompts works with. Everything rejects with an InternError, and at once when cancelled. */
export interface Steps {
  ask(question: Question): Promise<Reply>;
  /**
   * An answer of a shape: the schema goes with the question and is checked. An answer that does not fit is sent back
   * once with what is wrong with it; then it is a `server` error.
   */
  askFor<S extends z.ZodType>(question: Omit<Question, 'format'>, schema: S): Promise<z.output<S>>;
  /** How many characters of text fit beside the words of this question and its answer. At least 0. */
  room(question: Question): Promise<number>;
  /**
   * Works on items side by side, as many as the backend takes at once, and tells the progress under this name (`part`,
   * `file`). A failed item does not end the others; when all fail, it rejects with the first failure.
   */
  map<T, R>(
    items: readonly T[],
    what: string,
    work: (item: T, index: number) => Promise<R>,
  ): Promise<Settled<R>[]>;
  /** Unit vectors, made by the embed tier on this machine. */
  embed(texts: readonly string[]): Promise<Float32Array[]>;
}

/** Keeps the types of input and result together while a job is written. */
export function defineJob<I extends z.ZodType, R>(job: PromptJob<I, R>): PromptJob<I, R> {
  return job;
}

export function defineSteps<I extends z.ZodType, R>(job: StepsJob<I, R>): StepsJob<I, R> {
  return job;
}

export function defineEmbed<I extends z.ZodType, R>(job: EmbedJob<I, R>): EmbedJob<I, R> {
  return job;
}

export type JobInput<J> = J extends { input: infer I extends z.ZodType } ? z.input<I> : never;
export type JobResult<J> = J extends { show(result: infer R): string } ? R : never;
