import { degradeSentence, degradeWords } from '../../src/shared/degradation';
import type { CallEntry, Spent } from '../../src/shared/dashboard';
import { count, duration } from './format';

export type Tone = 'plain' | 'muted' | 'warning' | 'error';

/** The parts of a call's time, in the order in which they pass. */
export const PARTS = [
  { key: 'queued', label: 'queued' },
  { key: 'failed', label: 'failed tries' },
  { key: 'loading', label: 'loading' },
  { key: 'reading', label: 'reading' },
  { key: 'writing', label: 'writing' },
] as const satisfies readonly { key: keyof Spent; label: string }[];

/** A load is worth a word from here. */
const LONG_LOAD_MS = 2_000;

/** What is remarkable about a call, in a few words. */
export function remark(call: CallEntry): { text: string; tone: Tone } | undefined {
  const { outcome, record, spent } = call;
  if (outcome === 'cancelled') return { text: outcome, tone: 'muted' };
  if (outcome !== 'answer') return { text: outcome, tone: 'error' };
  if (record.degraded) {
    const reason = text(record.degrade_reason);
    return { text: reason ? degradeWords(reason) : 'degraded', tone: 'warning' };
  }
  const wanted = text(record.fallback_from);
  if (wanted) return { text: `instead of ${wanted}`, tone: 'warning' };
  if (record.truncated) return { text: 'input shortened', tone: 'warning' };
  if (record.done_reason === 'length') return { text: 'cut at its limit', tone: 'warning' };
  if (spent.loading >= LONG_LOAD_MS) {
    return { text: `cold load ${duration(spent.loading)}`, tone: 'muted' };
  }
  const warnings = Array.isArray(record.warnings) ? record.warnings.length : 0;
  if (warnings === 0) return undefined;
  return { text: warnings === 1 ? '1 warning' : `${warnings} warnings`, tone: 'warning' };
}

/** What is to be read about a call before its fields. */
export function notices({ record, backend }: CallEntry): string[] {
  const reason = record.degraded ? text(record.degrade_reason) : undefined;
  const warnings: unknown[] = Array.isArray(record.warnings) ? record.warnings : [];
  return [...(reason ? [degradeSentence(reason, backend)] : []), ...warnings.map(String)];
}

/** Whether all words of the filter occur in what the row shows. */
export function matches(call: CallEntry, filter: string): boolean {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const { job, tier, backend, model, outcome } = call;
  const failed = outcome === 'answer' || outcome === 'cancelled' ? '' : 'failed';
  const shown = [job, tier, backend, model, outcome, failed, remark(call)?.text]
    .join(' ')
    .toLowerCase();
  return words.every((word) => shown.includes(word));
}

/** `queued 0.3 s, loading 20.1 s, writing 5.6 s` */
export function spentText(spent: Spent): string {
  return PARTS.filter(({ key }) => spent[key] > 0)
    .map(({ key, label }) => `${label} ${duration(spent[key])}`)
    .join(', ');
}

/** A field of the record as it is shown. */
export function fieldText(name: string, value: unknown): string {
  if (value === null) return 'unknown';
  if (typeof value === 'number') return numberText(name, value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) {
    const items = value.map((item) => fieldText(name, item));
    return items.join(name === 'attempts' ? '\n' : ', ') || 'none';
  }
  if (name === 'attempts') {
    const { backend, model, outcome, elapsed_ms: ms } = value as Record<string, unknown>;
    const tail = typeof ms === 'number' ? `, ${duration(ms)}` : '';
    return `${[backend, model].filter(Boolean).join('/')}: ${text(outcome) ?? 'unknown'}${tail}`;
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

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
