import { formatDuration, formatTokens } from './envelope';

/** A line as it was read: others write to the same file, so nothing but `kind` and `ts` is certain. */
export interface LogLine {
  kind: string;
  ts: string;
  [field: string]: unknown;
}

/** What a line has to be, each where it is given and not empty. A line that has no such thing is not it. */
export interface LogFilter {
  kinds?: readonly string[];
  jobs?: readonly string[];
  backends?: readonly string[];
  outcomes?: readonly string[];
  /** Occurs in the line, in any case. */
  text?: string;
}

/** undefined for what is no line of a log. */
export function parseLogLine(text: string): LogLine | undefined {
  // Some editors put a mark before the first.
  const json = text.startsWith('\uFEFF') ? text.slice(1) : text;
  if (!json.startsWith('{')) return undefined;
  try {
    const line = JSON.parse(json) as Partial<LogLine>;
    if (typeof line.kind !== 'string' || typeof line.ts !== 'string') return undefined;
    // Others log answers and vectors. Nobody here reads them, and a thousand of them would fill the memory.
    delete envelopeOf(line)?.result;
    return line as LogLine;
  } catch {
    return undefined;
  }
}

export function jobOf(line: LogLine): string | undefined {
  return string(envelopeOf(line)?.job) ?? string(line.tool);
}

/** Where it ran; both for a change from one to the other. */
export function backendsOf(line: LogLine): string[] {
  const { kind, backend, from, to } = line;
  const named = kind === 'backend_fallback' ? [from, to] : [envelopeOf(line)?.backend ?? backend];
  return named.filter((name) => typeof name === 'string');
}

/** `answer`, `degraded`, or the code of the error; undefined for a line that is not the end of a call. */
export function outcomeOf(line: LogLine): string | undefined {
  if (line.kind === 'error' || line.kind === 'timeout') return string(line.code) ?? line.kind;
  const envelope = line.kind === 'call' ? envelopeOf(line) : undefined;
  return envelope && (envelope.degraded === true ? 'degraded' : 'answer');
}

export function matchesFilter(line: LogLine, filter: LogFilter): boolean {
  const has = (wanted: readonly string[] | undefined, values: (string | undefined)[]): boolean =>
    !wanted?.length || values.some((value) => value !== undefined && wanted.includes(value));
  return (
    has(filter.kinds, [line.kind]) &&
    has(filter.jobs, [jobOf(line)]) &&
    has(filter.backends, backendsOf(line)) &&
    has(filter.outcomes, [outcomeOf(line)]) &&
    (!filter.text || JSON.stringify(line).toLowerCase().includes(filter.text.toLowerCase()))
  );
}

/** One line to read: the moment, kind, job and outcome in columns, then what is known of the rest. */
export function lineText(line: LogLine): string {
  const columns = [
    timeText(line.ts),
    shown(line.kind)?.padEnd(16),
    (shown(jobOf(line)) ?? '').padEnd(16),
    (shown(outcomeOf(line)) ?? '').padEnd(16),
  ];
  return [...columns, detailsOf(line).join(', ')].join('  ').trimEnd();
}

/** Only fields that hold names and numbers: others may have logged a prompt in any other. */
function detailsOf(line: LogLine): string[] {
  const record = envelopeOf(line) ?? line;
  const { tokens_in: tokensIn, tokens_out: tokensOut, elapsed_ms: elapsed } = record;
  const backend = line.kind === 'backend_fallback' ? undefined : shown(backendsOf(line)[0]);
  const model = shown(record.model) ?? change(line.from_model, line.to_model);
  const details = [
    change(line.from, line.to),
    [backend, model].filter(Boolean).join(' · '),
    typeof tokensIn === 'number' && typeof tokensOut === 'number'
      ? formatTokens(tokensIn, tokensOut)
      : undefined,
    typeof elapsed === 'number' ? formatDuration(elapsed) : undefined,
    shown(record.fallback_from) && `instead of ${shown(record.fallback_from)}`,
    line.success === false ? 'failed' : undefined,
    shown(record.degrade_reason) ?? shown(line.reason),
    shown(line.message) ?? shown(line.error),
    typeof line.retry_in_ms === 'number'
      ? `next try in ${formatDuration(line.retry_in_ms)}`
      : undefined,
  ];
  return details.filter((detail): detail is string => Boolean(detail));
}

function change(from: unknown, to: unknown): string | undefined {
  return shown(from) && shown(to) && `${shown(from)} → ${shown(to)}`;
}

function timeText(ts: string): string {
  const at = new Date(ts);
  if (Number.isNaN(at.getTime())) return (shown(ts) ?? '').padEnd(19);
  return `${dayText(at)} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':')}`;
}

/** `2026-06-01`, on the person's calendar. */
export function dayText(at: Date): string {
  return [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join('-');
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** Others' texts too stay on their line, and do not push everything else out of sight. */
const MOST_CHARACTERS = 300;

function shown(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const text = value.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text || undefined;
}

function envelopeOf({ envelope }: Partial<LogLine>): Record<string, unknown> | undefined {
  return typeof envelope === 'object' && envelope !== null
    ? (envelope as Record<string, unknown>)
    : undefined;
}

function string(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
