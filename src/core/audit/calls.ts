/**
 * What the index of the log tells about calls: rows, what they can be filtered by, and how they developed. Times are
 * milliseconds; moments are milliseconds since the epoch.
 */

/** Where the time of a call went. What is not known is in none of them. */
export interface Spent {
  queued: number;
  /** Tries of other targets that gave no answer. */
  failed: number;
  loading: number;
  reading: number;
  writing: number;
}

/** A call as it stands in a list. */
export interface CallRow {
  /** Of this index: it grows with the log, and is another one after the log was read anew. */
  row: number;
  /** When the call ended. */
  at: number;
  job: string;
  /** `answer`, or the code of the error. */
  outcome: string;
  tier?: string | undefined;
  backend?: string | undefined;
  model?: string | undefined;
  surface?: string | undefined;
  profile?: string | undefined;
  tokens_in?: number | undefined;
  tokens_out?: number | undefined;
  tokens_per_second?: number | undefined;
  elapsed_ms?: number | undefined;
  spent: Spent;
  /** Why the answer is degraded; empty when no reason is known. */
  degraded?: string | undefined;
  /** The tier that was asked for, when a lower one answered. */
  fallback_from?: string | undefined;
  /** The model did not see the whole input. */
  truncated?: true | undefined;
  /** The answer was cut at its limit. */
  cut?: true | undefined;
  /** How many warnings the envelope has. */
  warnings?: number | undefined;
}

/** One call: by its row, which is another one when the log was read anew, or by its id. */
export type WhichCall = { row: number } | { call_id: string };

/** What calls can be chosen by, in the order in which it is shown. */
export const FACETS = ['job', 'tier', 'model', 'backend', 'surface', 'outcome', 'profile'] as const;
export type Facet = (typeof FACETS)[number];

/** The outcome by which all calls are chosen that failed and were not cancelled. */
export const FAILED = 'failed';
/** The outcome by which all answers are chosen that are degraded. */
export const DEGRADED = 'degraded';

/** What a call has to be, each where it is given; '': it has none. */
export type CallFilter = { [F in Facet]?: string | undefined } & {
  /** Each of its words occurs in a name of the row, its reason or its error, in any case. */
  text?: string | undefined;
  /** Not before this moment. */
  since?: number | undefined;
};

export interface CallQuery {
  filter: CallFilter;
  /** Counted from the oldest call that matches; absent: so that the last one is the newest. */
  from?: number | undefined;
  count: number;
}

export interface CallPage {
  /** All that match. */
  total: number;
  from: number;
  /** Oldest first. */
  rows: CallRow[];
}

export type Facets = Record<Facet, { value: string; count: number }[]>;

/** How far the log is read. */
export type LogState =
  /** `calls`: so far. Bytes. */
  | { state: 'reading'; read: number; size: number; calls: number }
  | {
      state: 'known';
      calls: number;
      /** Lines that no program could read: broken, or too long. */
      skipped: number;
      /** There are older calls in the log than are held here. */
      more: boolean;
    }
  | { state: 'failed'; message: string };

export const RANGES = ['1h', '24h', '7d', '30d'] as const;
export type Range = (typeof RANGES)[number];

export interface TrendQuery {
  range: Range;
  /** Figures of different machines are never mixed. Absent: that of the latest call in the range that names one. */
  profile?: string | undefined;
  /** The end of the range. */
  now: number;
}

/** Figures of some calls; what is not known, or would be of none, is absent. */
export interface Figures {
  /** That ended, with an answer or without; cancelled ones too. */
  calls: number;
  failed: number;
  cancelled: number;
  /** Degraded answers, and those of a lower tier. */
  fallbacks: number;
  tokens_in: number;
  tokens_out: number;
  /** Of answers, from call to end. */
  p50_ms?: number | undefined;
  p95_ms?: number | undefined;
  /** Median over answers. */
  tokens_per_second?: number | undefined;
  /** Sum. */
  elapsed_ms: number;
  /** Sum over the calls whose cost is known; absent when that of none is. */
  cost_usd?: number | undefined;
}

export interface TrendGroup extends Figures {
  /** '': those that name none. */
  name: string;
  /** For each bucket of the range. */
  buckets: { calls: number; tokens: number }[];
}

export interface Trends {
  from: number;
  /** The end of the last bucket, in which `now` lies. */
  to: number;
  bucket_ms: number;
  /** Those with calls in the range, that of the latest call first; '', of calls that name none, last. */
  profiles: ({ profile: string } & Figures)[];
  /** Whose figures follow; absent when there is no call in the range. */
  profile?: string | undefined;
  total: Figures & {
    /** Models pushed out of memory. The log says of no profile where. */
    evictions: number;
  };
  buckets: (Figures & { at: number; evictions: number })[];
  /** Those with the most calls first. */
  by: Record<'backend' | 'tier' | 'model', TrendGroup[]>;
  /** Calls dated after `now`: a clock was wrong. They are in no figure. */
  future: number;
}
