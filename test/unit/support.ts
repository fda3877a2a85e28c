import assert from 'node:assert/strict';
import type { Clock } from '../../src/core';
import { InternError } from '../../src/core';
import type { ManualClock } from '../support/ollama/server';

/** The core's clock on the simulator's: one time for both. */
export function coreClock(clock: ManualClock): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.now(),
    setTimeout: (run, ms) => clock.setTimeout(run, ms),
  };
}

/** What a promise rejects with, which has to be an InternError. */
export async function failure(promise: Promise<unknown>): Promise<InternError> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    assert.ok(error instanceof InternError, `not an InternError: ${String(error)}`);
    return error;
  }
  assert.fail(`it did not fail, but gave ${JSON.stringify(value)}`);
}

/** What a function throws, which has to be an InternError. */
export function thrown(run: () => unknown): InternError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof InternError, `not an InternError: ${String(error)}`);
    return error;
  }
  assert.fail('it did not throw');
}

/** A capital (or a name in quotes) at the start, a full stop at the end, nothing left open in between. */
export function assertSentence(text: string, what: string): void {
  assert.match(text, /^["`]*[\p{L}\d]|^"" /u, `${what} does not begin like a sentence: ${text}`);
  assert.match(text, /\.$/, `${what} does not end with a full stop: ${text}`);
  assert.doesNotMatch(text, /undefined|null|\[object|NaN|!/, `${what} is not fit to read: ${text}`);
}

/** A hint tells what to do: it begins with a capital. */
export function assertHint(text: string): void {
  assertSentence(text, 'The hint');
  assert.match(text, /^\p{Lu}/u, `The hint does not begin with a capital: ${text}`);
}
