import { type Backend, BACKEND_NAMES } from '../core/audit/envelope';
import type { FailureReason } from '../core/routing/breaker';

/** Puts `values` into a text; the dashboard's own says it in the person's language. */
export type Translate = (text: string, ...values: string[]) => string;

const inEnglish: Translate = (text, ...values) =>
  text.replace(/\{(\d)\}/g, (_, index) => values[Number(index)] ?? '');

/** Why a backend did not answer, in a word or two. */
const WORDS: Readonly<Record<FailureReason, (t: Translate) => string>> = {
  timeout: (t) => t('timed out'),
  '5xx': (t) => t('server error'),
  rate_limited: (t) => t('rate limited'),
  unreachable: (t) => t('unreachable'),
  auth_failed: (t) => t('no valid key'),
};

/** `rate limited`; `failed` for any other reason. */
export function reasonWords(reason: string | undefined, t = inEnglish): string {
  return reason !== undefined && isReason(reason) ? WORDS[reason](t) : t('failed');
}

/** `cloud rate limited`. Another product's reason stays as it is. */
export function degradeWords(reason: string, t = inEnglish): string {
  if (reason === 'circuit_open') return t('paused after failures');
  const known = parse(reason);
  if (!known) return reason;
  const { backend } = known;
  switch (known.why) {
    case 'timeout':
      return t('{0} timed out', backend);
    case '5xx':
      return t('{0} server error', backend);
    case 'rate_limited':
      return t('{0} rate limited', backend);
    case 'unreachable':
      return t('{0} unreachable', backend);
    case 'auth_failed':
      return t('{0} no valid key', backend);
  }
}

/** `Ollama Cloud could not be reached, so your own Ollama answered.` */
export function degradeSentence(
  reason: string,
  answeredBy: string | undefined,
  t = inEnglish,
): string {
  const known = parse(reason);
  const isSame = known !== undefined && known.backend === answeredBy;
  const who = isSame ? t('another model there') : nameOf(answeredBy, t);
  if (reason === 'circuit_open') {
    return t(
      'The backend that comes first failed before and is left alone for a while, so {0} answered.',
      who,
    );
  }
  if (!known) return t('The answer is degraded: {0}.', reason);
  const first = known.backend === 'gateway' ? t('The gateway') : BACKEND_NAMES[known.backend];
  switch (known.why) {
    case 'timeout':
      return t('{0} did not answer in time, so {1} answered.', first, who);
    case '5xx':
      return t('{0} had an error of its own, so {1} answered.', first, who);
    case 'rate_limited':
      return t('{0} refused the call because of a limit, so {1} answered.', first, who);
    case 'unreachable':
      return t('{0} could not be reached, so {1} answered.', first, who);
    case 'auth_failed':
      return t('{0} has no valid key, so {1} answered.', first, who);
  }
}

/** What a sentence calls a backend within it. */
export function nameOf(backend: string | undefined, t = inEnglish): string {
  switch (backend) {
    case 'local':
      return t('your own Ollama');
    case 'cloud':
      return BACKEND_NAMES.cloud;
    case 'gateway':
      return t('the gateway');
    default:
      return t('another backend');
  }
}

function parse(reason: string): { backend: Backend; why: FailureReason } | undefined {
  const [, backend, why] = /^(local|cloud|gateway)_(.+)$/.exec(reason) ?? [];
  return why !== undefined && isReason(why) ? { backend: backend as Backend, why } : undefined;
}

function isReason(reason: string): reason is FailureReason {
  return Object.hasOwn(WORDS, reason);
}
