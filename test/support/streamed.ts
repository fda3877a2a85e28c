import { type Envelope, JOBS } from '../../src/core';

/** Jobs whose answers are shown while they are written. */
export type StreamedJob = 'summarize_fast' | 'summarize_deep' | 'draft';

/** The result that an envelope should have when this text was streamed as its answer. */
export function resultOf(
  job: StreamedJob,
  text: string,
  input: never,
  envelope: Envelope,
): unknown {
  return job === 'summarize_deep'
    ? { ...(envelope.result as object), summary: text.trim() }
    : JOBS[job].parse(text, input).result;
}
