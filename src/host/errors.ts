import { toInternError } from '../core';
import { showError } from './actions';

/** Shows what goes wrong before a job begins. */
export async function orError<T>(task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (thrown) {
    void showError(toInternError(thrown), '');
    return undefined;
  }
}

/** Runs a job until it succeeds, or a person has had enough of its errors. */
export async function withRemedies<T>(
  task: string,
  run: (overflow: 'refuse' | 'shorten') => Promise<T>,
): Promise<T | undefined> {
  let overflow: 'refuse' | 'shorten' = 'refuse';
  for (;;) {
    try {
      return await run(overflow);
    } catch (thrown) {
      const remedy = await showError(toInternError(thrown), task);
      if (!remedy) return undefined;
      if (remedy === 'shorten') overflow = 'shorten';
    }
  }
}
