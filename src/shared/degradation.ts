import { type Backend, BACKEND_NAMES } from '../core/audit/envelope';
import type { FailureReason } from '../core/routing/breaker';

/** Why a backend did not answer, in a word or two. */
const WORDS: Readonly<Record<FailureReason, string>> = {
  timeout: 'timed out',
  '5xx': 'server error',
  rate_limited: 'rate limited',
  unreachable: 'unreachable',
  auth_failed: 'no valid key',
};

const SENTENCES: Readonly<Record<FailureReason, string>> = {
  timeout: 'did not answer in time',
  '5xx': 'had an error of its own',
  rate_limited: 'refused the call because of a limit',
  unreachable: 'could not be reached',
  auth_failed: 'has no valid key',
};

const ANSWERED: Readonly<Record<Backend, string>> = {
  local: 'your own Ollama',
  cloud: 'Ollama Cloud',
  gateway: 'the gateway',
};

/** `rate limited` */
export function reasonWords(reason: FailureReason): string {
  return WORDS[reason];
}

/** `cloud rate limited`. Another product's reason stays as it is. */
export function degradeWords(reason: string): string {
  if (reason === 'circuit_open') return 'paused after failures';
  const known = parse(reason);
  return known ? `${known.backend} ${WORDS[known.why]}` : reason;
}

/** `Ollama Cloud could not be reached, so your own Ollama answered.` */
export function degradeSentence(reason: string, answeredBy: string | undefined): string {
  const known = parse(reason);
  const isSame = known !== undefined && known.backend === answeredBy;
  const who = isSame ? 'another model there' : nameOf(answeredBy);
  if (reason === 'circuit_open') {
    return `The backend that comes first failed before and is left alone for a while, so ${who} answered.`;
  }
  return known
    ? `${BACKEND_NAMES[known.backend]} ${SENTENCES[known.why]}, so ${who} answered.`
    : `The answer is degraded: ${reason}.`;
}

/** What a sentence calls a backend within it. */
export function nameOf(backend: string | undefined): string {
  return backend !== undefined && Object.hasOwn(ANSWERED, backend)
    ? ANSWERED[backend as Backend]
    : 'another backend';
}

function parse(reason: string): { backend: Backend; why: FailureReason } | undefined {
  const [, backend, why] = /^(local|cloud|gateway)_(.+)$/.exec(reason) ?? [];
  return why !== undefined && Object.hasOwn(WORDS, why)
    ? { backend: backend as Backend, why: why as FailureReason }
    : undefined;
}
