import type { CallRow, Spent } from '../../src/core/audit/calls';
import { degradeSentence, degradeWords } from '../../src/shared/degradation';
import type { CallDetails, Stretch } from '../../src/shared/dashboard';
import { count, duration } from './format';
import { t } from './l10n';

export type Tone = 'plain' | 'muted' | 'warning' | 'error';

/** The parts of a call's time, in the order in which they pass. */
export const PARTS = [
  { key: 'queued', label: t('queued') },
  { key: 'failed', label: t('failed tries') },
  { key: 'loading', label: t('loading') },
  { key: 'reading', label: t('reading') },
  { key: 'writing', label: t('writing') },
] as const satisfies readonly { key: keyof Spent; label: string }[];

/** A load is worth a word from here. */
const LONG_LOAD_MS = 2_000;

/** What is remarkable about a call, in a few words. */
export function remark(call: CallRow): { text: string; tone: Tone } | undefined {
  const { outcome, degraded, fallback_from: wanted, spent, warnings = 0 } = call;
  if (outcome === 'cancelled') return { text: outcome, tone: 'muted' };
  if (outcome !== 'answer') return { text: outcome, tone: 'error' };
  if (degraded !== undefined) {
    return { text: degraded ? degradeWords(degraded, t) : t('degraded'), tone: 'warning' };
  }
  if (wanted !== undefined) return { text: t('instead of {0}', wanted), tone: 'warning' };
  if (call.truncated) return { text: t('input shortened'), tone: 'warning' };
  if (call.cut) return { text: t('cut at its limit'), tone: 'warning' };
  if (spent.loading >= LONG_LOAD_MS) {
    return { text: t('cold load {0}', duration(spent.loading)), tone: 'muted' };
  }
  if (warnings === 0) return undefined;
  return {
    text: warnings === 1 ? t('1 warning') : t('{0} warnings', count(warnings)),
    tone: 'warning',
  };
}

/** What is to be read about a call before its fields. */
export function notices({ row, warnings }: CallDetails): string[] {
  return row.degraded ? [degradeSentence(row.degraded, row.backend, t), ...warnings] : warnings;
}

/** `queued 0.3 s, loading 20.1 s, writing 5.6 s` */
export function spentText(spent: Spent): string {
  return PARTS.filter(({ key }) => spent[key] > 0)
    .map(({ key, label }) => `${label} ${duration(spent[key])}`)
    .join(', ');
}

/** The parts beside each other as a picture; what is not known stays empty at its end. */
export function spentPicture(spent: Spent, total: number): string {
  let end = 0;
  const bands = PARTS.filter(({ key }) => spent[key] > 0).map(({ key }) => {
    const start = end;
    end += (spent[key] / total) * 100;
    return `var(--part-${key}) ${start.toFixed(2)}% ${end.toFixed(2)}%`;
  });
  return bands.length > 0
    ? `linear-gradient(to right, ${bands.join(', ')}, transparent ${end.toFixed(2)}%)`
    : 'none';
}

/** What happened in a stretch, without its target. */
export function stretchText({ part, outcome }: Stretch): string {
  switch (part) {
    case 'queued':
      return t('Queued');
    case 'failed':
      return outcome ?? t('no answer');
    case 'loading':
      return t('Loading the model');
    case 'reading':
      return t('Reading the prompt');
    case 'writing':
      return t('Writing');
  }
}

/** A field of the record as it is shown. */
export function fieldText(name: string, value: unknown): string {
  if (value === null) return t('unknown');
  if (typeof value === 'number') return numberText(name, value);
  if (typeof value === 'boolean') return value ? t('yes') : t('no');
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) {
    const items = value.map((item) => fieldText(name, item));
    return items.join(name === 'attempts' ? '\n' : ', ') || t('none');
  }
  if (name === 'attempts') {
    const { backend, model, outcome, elapsed_ms: ms } = value as Record<string, unknown>;
    const tail = typeof ms === 'number' ? `, ${duration(ms)}` : '';
    const what = typeof outcome === 'string' && outcome ? outcome : t('unknown');
    return `${[backend, model].filter(Boolean).join('/')}: ${what}${tail}`;
  }
  return Object.entries(value as object)
    .map(([key, inner]) => `${key}: ${fieldText(key, inner)}`)
    .join('\n');
}

function numberText(name: string, value: number): string {
  if (name.endsWith('_ms')) return duration(value);
  if (name.endsWith('_bytes')) return `${(value / 1e9).toFixed(2)} GB`;
  if (name.endsWith('_usd')) return `$${value}`;
  return count(value);
}
