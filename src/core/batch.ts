import type { Envelope } from './audit/envelope';
import { toInternError } from './errors';
import type { Intern, RunOptions } from './intern';
import type { Settled } from './jobs/job';
import type { InputOf, JobName, ResultOf } from './jobs/registry';
import type { Phase } from './routing/call';
import { abortReason } from './routing/deadline';

export interface BatchOptions<N extends JobName> extends Omit<RunOptions, 'onDelta' | 'onPhase'> {
  /** Where an item is while it runs. */
  onPhase?: (phase: Phase, index: number) => void;
  /** An item came to its end, well or not. */
  onSettled?: (settled: Settled<Envelope<ResultOf<N>>>, index: number) => void;
}

/**
 * Runs a job on many inputs side by side, each a call of its own with its own envelope and line in the log. The results
 * stand in the order of the inputs. A failed item does not end the others; rejects only when cancelled, which ends all.
 */
export function runBatch<N extends JobName>(
  intern: Pick<Intern, 'config' | 'run'>,
  job: N,
  inputs: readonly InputOf<N>[],
  { onPhase, onSettled, ...options }: BatchOptions<N> = {},
): Promise<Settled<Envelope<ResultOf<N>>>[]> {
  const { maxConcurrent } = intern.config;
  return sideBySide(inputs, { maxConcurrent, signal: options.signal, onSettled }, (input, index) =>
    intern.run(job, input, { ...options, onPhase: (phase) => onPhase?.(phase, index) }),
  );
}

interface SideBySide<R> {
  /** No more than run at once: the rest would stand in the queue before what a person asks meanwhile. */
  maxConcurrent: number;
  signal: AbortSignal | undefined;
  onSettled?: (settled: Settled<R>, index: number) => void;
}

/** Works on items side by side. A failed item does not end the others; rejects only when cancelled. */
export async function sideBySide<T, R>(
  items: readonly T[],
  { maxConcurrent, signal, onSettled }: SideBySide<R>,
  work: (item: T, index: number) => Promise<R>,
): Promise<Settled<R>[]> {
  const settled = new Array<Settled<R>>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      if (signal?.aborted) throw abortReason(signal);
      const one: Settled<R> = await work(items[index] as T, index).then(
        (value) => ({ ok: true, value }),
        (thrown: unknown) => ({ ok: false, error: toInternError(thrown) }),
      );
      if (!one.ok && signal?.aborted) throw abortReason(signal);
      settled[index] = one;
      onSettled?.(one, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(maxConcurrent, items.length) }, worker));
  return settled;
}
