const number = new Intl.NumberFormat('en-US');
const time = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const moment = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** From here a time is not `60.0 s` but a minute. */
const MINUTE_MS = 59_950;

/** What is not known. */
export const NONE = '–';

export function count(value: number | undefined): string {
  return value === undefined ? NONE : number.format(value);
}

export function rate(value: number | undefined): string {
  return value === undefined ? NONE : value.toFixed(1);
}

/** `42 ms`, `0.3 s`, `5.1 s`, `2:05`: short, and of one shape where it can, so that digits stand below each other. */
export function took(ms: number | undefined): string {
  if (ms === undefined) return NONE;
  if (ms < 100) return `${Math.round(ms)} ms`;
  return ms < MINUTE_MS ? `${(ms / 1000).toFixed(1)} s` : clock(ms);
}

/** For a sentence or a field of its own: `340 ms`, `5.1 s`, `2 min 5 s`. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < MINUTE_MS) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Whole seconds of something that goes on: `9 s`, `1:05`. */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return seconds < 60 ? `${seconds} s` : clock(seconds * 1000);
}

/** `4:12`, `1:02:09`. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const pad = (value: number): string => String(value).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes}:${pad(seconds % 60)}`
    : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(seconds % 60)}`;
}

/** Names the day of a moment; the same text means the same day. */
export function dayOf(at: number): string {
  return new Date(at).toDateString();
}

/** The time when it was today; the day as well for anything older. */
export function when(at: number, today: string): string {
  const date = new Date(at);
  return dayOf(at) === today
    ? time.format(date)
    : `${day.format(date)}, ${time.format(date).slice(0, 5)}`;
}

export function fullMoment(at: number): string {
  return moment.format(at);
}

export function ago(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  return minutes < 1 ? 'just now' : `${minutes} min ago`;
}

/** Decimal gigabytes, as Ollama counts them. */
export function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}
