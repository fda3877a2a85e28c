import { draft } from './draft';
import type { JobInput, JobResult } from './job';
import { summarizeDeep, summarizeFast } from './summarize';

/** All jobs. A new one is a file beside this and a line here. */
export const JOBS = {
  summarize_fast: summarizeFast,
  summarize_deep: summarizeDeep,
  draft,
} as const;

export type JobName = keyof typeof JOBS;
export type InputOf<N extends JobName> = JobInput<(typeof JOBS)[N]>;
export type ResultOf<N extends JobName> = JobResult<(typeof JOBS)[N]>;
