import { locale, t } from './l10n';

const number = new Intl.NumberFormat(locale);
const tenths = new Intl.NumberFormat(locale, {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const percents = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 1 });
/** English is written as in the rest of the product: 24 hours, the day first. */
const dates = locale.startsWith('en') ? 'en-GB' : locale;
const time = new Intl.DateTimeFormat(dates, { timeStyle: 'medium', hourCycle: 'h23' });
const minute = new Intl.DateTimeFormat(dates, { timeStyle: 'short', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(dates, { day: 'numeric', month: 'short' });
const moment = new Intl.DateTimeFormat(dates, {
  dateStyle: 'medium',
  timeStyle: 'medium',
  hourCycle: 'h23',
});
const dollars = new Intl.NumberFormat(locale, {
  style: 'currency',
  currency: 'USD',
  maximumFractionDigits: 4,
});
const compacts = new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 1 });
const stretch = new Intl.DateTimeFormat(dates, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});

/** From here a time is not `60.0 s` but a minute. */
const MINUTE_MS = 59_950;

/** What is not known. */
export const NONE = '–';

export function count(value: number | undefined): string {
  return value === undefined ? NONE : number.format(value);
}

export function rate(value: number | undefined): string {
  return value === undefined ? NONE : tenths.format(value);
}

/** `4.2 %`, of a share between 0 and 1. */
export function percent(share: number | undefined): string {
  return share === undefined ? NONE : percents.format(share);
}

/** `42 ms`, `0.3 s`, `5.1 s`, `2:05`: short, and of one shape where it can, so that digits stand below each other. */
export function took(ms: number | undefined): string {
  if (ms === undefined) return NONE;
  if (ms < 100) return t('{0} ms', Math.round(ms));
  return ms < MINUTE_MS ? t('{0} s', tenths.format(ms / 1000)) : clock(ms);
}

/** For a sentence or a field of its own: `340 ms`, `5.1 s`, `2 min 5 s`, `3 h 20 min`. */
export function duration(ms: number | undefined): string {
  if (ms === undefined) return NONE;
  if (ms < 999.5) return t('{0} ms', Math.round(ms));
  if (ms < MINUTE_MS) return t('{0} s', tenths.format(ms / 1000));
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return t('{0} min {1} s', Math.floor(seconds / 60), seconds % 60);
  const minutes = Math.round(seconds / 60);
  return t('{0} h {1} min', number.format(Math.floor(minutes / 60)), minutes % 60);
}

/** Whole seconds of something that goes on: `9 s`, `1:05`. */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return seconds < 60 ? t('{0} s', seconds) : clock(seconds * 1000);
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
  return dayOf(at) === today ? time.format(date) : `${day.format(date)}, ${minute.format(date)}`;
}

export function fullMoment(at: number): string {
  return moment.format(at);
}

/** `14:30` */
export function shortTime(at: number): string {
  return minute.format(at);
}

/** `3 Jun` */
export function shortDay(at: number): string {
  return day.format(at);
}

export function ago(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  return minutes < 1 ? t('just now') : t('{0} min ago', minutes);
}

/** Decimal gigabytes, as Ollama counts them. */
export function gigabytes(bytes: number): string {
  return tenths.format(bytes / 1e9);
}

/** `$0.00` */
export function money(usd: number): string {
  return dollars.format(usd);
}

/** For an axis: `12K`, `1.5M`. */
export function compact(value: number): string {
  return compacts.format(value);
}

/** `1 Jun, 14:00 – 14:30` */
export function period(from: number, to: number): string {
  return stretch.formatRange(from, to);
}
