import { reasonWords } from '../../src/shared/degradation';
import type { BackendState, Phase } from '../../src/shared/dashboard';
import { clock, count, elapsed, rate } from './format';
import { t } from './l10n';

/** `loading, 14 s of about 20 s`; the model stands beside it. */
export function phaseText(phase: Phase): string {
  switch (phase.phase) {
    case 'starting':
      return t('starting');
    case 'queued':
      return phase.position <= 1 ? t('queued, next') : t('queued, number {0}', phase.position);
    case 'loading': {
      const { elapsed_ms: since, expected_ms: expected } = phase;
      return expected
        ? t('loading, {0} of about {1}', elapsed(since), elapsed(Math.max(1_000, expected)))
        : t('loading, {0}', elapsed(since));
    }
    case 'reading':
      return t('reading the prompt');
    case 'writing': {
      const tokens =
        phase.tokens === 1
          ? t('writing · 1 token')
          : t('writing · {0} tokens', count(phase.tokens));
      return phase.tokens_per_second === undefined
        ? tokens
        : `${tokens} · ${t('{0} tok/s', rate(phase.tokens_per_second))}`;
    }
    case 'steps':
      return t(
        '{0} {1} of {2}',
        phase.what,
        count(Math.min(phase.done + 1, phase.total)),
        count(phase.total),
      );
  }
}

export type Tone = 'good' | 'warning' | 'error' | 'quiet';

/** How a backend does, in a few words. */
export function backendText(
  { state, reason, retry_at: retryAt, backend, version }: BackendState,
  now: number,
): { text: string; tone: Tone } {
  const why = reasonWords(reason, t);
  switch (state) {
    case 'unknown':
      return { text: t('not asked yet'), tone: 'quiet' };
    case 'answers':
      return {
        text: version && backend === 'local' ? t('Ollama {0}', version) : t('answers'),
        tone: 'good',
      };
    case 'failing':
      return { text: why, tone: 'warning' };
    case 'open':
      return {
        text:
          retryAt !== undefined && retryAt > now
            ? t('{0} · next try in {1}', why, clock(retryAt - now))
            : t('{0} · tried with the next call', why),
        tone: 'warning',
      };
    case 'half_open':
      return { text: t('{0} · tried with the next call', why), tone: 'warning' };
    case 'misconfigured':
      return { text: t('no valid key'), tone: 'error' };
  }
}
