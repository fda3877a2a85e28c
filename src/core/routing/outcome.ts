import type { InternError } from '../errors';
import type { FailureReason, Verdict } from './breaker';

/** What the end of an attempt means for its breaker and for the rest of the route. */
export interface Outcome {
  verdict: Verdict;
  /** Whether the next target may be tried. */
  next: boolean;
  reason: FailureReason | undefined;
}

const SAYS_NOTHING: Outcome = { verdict: { kind: 'none' }, next: false, reason: undefined };

/** The one table of outcomes, for every backend. `shown`: the person saw the answer begin, so nothing is spliced on. */
export function outcomeOf(error: InternError, shown: boolean): Outcome {
  const reason = failureReason(error);
  if (!reason) return SAYS_NOTHING;
  return { verdict: verdictOf(reason, error), next: !shown, reason };
}

function verdictOf(reason: FailureReason, { details }: InternError): Verdict {
  switch (reason) {
    case 'auth_failed':
      return { kind: 'refused' };
    case 'rate_limited':
      return {
        kind: 'failure',
        reason,
        openForMs: details.retry_after_ms,
        atOnce: details.usage_limit,
      };
    default:
      return { kind: 'failure', reason };
  }
}

export function failureReason({ code, details }: InternError): FailureReason | undefined {
  const { status, partial } = details;
  if (status === 429) return 'rate_limited';
  switch (code) {
    case 'timeout':
      return 'timeout';
    case 'unreachable':
      return 'unreachable';
    case 'auth_failed':
      // A proxy on the way that wants credentials says nothing about the key.
      return status === 407 ? 'unreachable' : 'auth_failed';
    case 'out_of_memory':
      return '5xx';
    case 'server':
      // `partial` is set by whatever read the wire; a failure of our own has neither.
      return (status ?? 0) >= 500 || (status === undefined && partial !== undefined)
        ? '5xx'
        : undefined;
    default:
      return undefined;
  }
}
