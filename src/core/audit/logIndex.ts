import {
  type CallFilter,
  type CallPage,
  type CallQuery,
  type CallRow,
  DEGRADED,
  type Facet,
  FACETS,
  type Facets,
  FAILED,
  type TrendQuery,
  type Trends,
} from './calls';
import { modelKey } from '../ollama/names';
import { jobOf, type LogLine } from './line';
import { spentBy } from './spent';
import { trendsOf } from './trends';

/** Where a line stands. */
export interface Place {
  /** A number that whoever reads the files gives to each. */
  file: number;
  /** Of its first byte. */
  offset: number;
  /** Bytes, without the end of the line. */
  length: number;
}

/** What is remembered of a line: enough to read it again, and to see that it is still the same one. */
export interface Mark extends Place {
  at: number;
  /** Of its call's id; 0: it has none. */
  hash: number;
}

export interface Eviction {
  model: string;
  at: number;
}

/** What a call is called by, and what else many calls have in common: kept once for all of them. */
export interface Traits {
  job: string;
  outcome: string;
  tier?: string | undefined;
  backend?: string | undefined;
  model?: string | undefined;
  surface?: string | undefined;
  profile?: string | undefined;
  degraded?: string | undefined;
  fallback_from?: string | undefined;
  truncated?: true | undefined;
  cut?: true | undefined;
  message?: string | undefined;
}

/** A number that is not known, in a column of whole numbers. */
export const ABSENT = 0xffff_ffff;

/** Rates are kept in hundredths. */
export const RATE_SCALE = 100;

/** One entry for each call, in the order of the log. */
function newColumns(capacity: number) {
  return {
    at: new Float64Array(capacity),
    /** Index into the traits. */
    traits: new Uint32Array(capacity),
    tokensIn: new Uint32Array(capacity),
    tokensOut: new Uint32Array(capacity),
    rate: new Uint32Array(capacity),
    elapsed: new Uint32Array(capacity),
    queued: new Uint32Array(capacity),
    failed: new Uint32Array(capacity),
    loading: new Uint32Array(capacity),
    reading: new Uint32Array(capacity),
    writing: new Uint32Array(capacity),
    /** NaN: not known. */
    cost: new Float64Array(capacity),
    warnings: new Uint16Array(capacity),
    hash: new Uint32Array(capacity),
    file: new Uint32Array(capacity),
    offset: new Float64Array(capacity),
    length: new Uint32Array(capacity),
  };
}
export type Columns = Readonly<ReturnType<typeof newColumns>>;

/** Calls that were found, in the order of the log. */
interface Found {
  key: string;
  matches: (traits: Traits) => boolean;
  /** For each of the traits: 0 is not known yet. */
  verdicts: Uint8Array;
  rows: Uint32Array;
  count: number;
  /** So many calls were looked at. */
  seen: number;
}

const FIRST_CAPACITY = 256;
const MOST_ROWS = 1_000_000;
const MOST_EVICTIONS = 100_000;
/** The same model pushed out within so many milliseconds is the same eviction, among so many before it. */
const ALIKE_MS = 10_000;
const MOST_ALIKE = 50;
/** Of the rows, and of the evictions: so many go at once when there are too many. */
const DROPPED = 0.1;
/** Further errors are not found by their words. */
const MOST_MESSAGES = 20_000;
const MOST_CHARACTERS = 300;
const MOST_VALUES = 1_000;
const MOST_PER_PAGE = 1_000;
const MOST_WARNINGS = 0xffff;
const NO = 1;
const YES = 2;

/** The names of a log are few and their combinations too; those with the most values come last. */
const BRANCHES = [
  'outcome',
  'tier',
  'backend',
  'surface',
  'profile',
  'degraded',
  'fallback_from',
  'truncated',
  'cut',
  'job',
  'model',
  'message',
] as const satisfies (keyof Traits)[];

class Branch {
  /** Of the traits that end here. */
  id = -1;
  #next: Map<string | true | undefined, Branch> | undefined;

  find(value: string | true | undefined): Branch | undefined {
    return this.#next?.get(value);
  }

  add(value: string | true | undefined): Branch {
    const branch = new Branch();
    (this.#next ??= new Map<string | true | undefined, Branch>()).set(value, branch);
    return branch;
  }
}

/**
 * The calls of a log, so compact that hundreds of thousands can be searched and summed up in milliseconds. A row is the
 * number of a call, in the order of the log; when there are too many calls the oldest go, and each has another row.
 */
export class LogIndex {
  readonly #mostRows: number;
  #columns = newColumns(FIRST_CAPACITY);
  #capacity = FIRST_CAPACITY;
  #length = 0;
  #traits: Traits[] = [];
  /** How many rows have them. */
  #uses: number[] = [];
  /** What text is searched in, once it is asked for. */
  #searched: (string | undefined)[] = [];
  #root = new Branch();
  #messages = 0;
  #evictions: Eviction[] = [];
  #found: Found | undefined;
  #generation = 0;
  #isCut = false;

  constructor(mostRows = MOST_ROWS) {
    this.#mostRows = mostRows;
  }

  /** How many calls there are. */
  get length(): number {
    return this.#length;
  }

  /** Another number: rows are not what they were. */
  get generation(): number {
    return this.#generation;
  }

  /** There were more calls, the oldest of which are not held. */
  get isCut(): boolean {
    return this.#isCut;
  }

  get columns(): Columns {
    return this.#columns;
  }

  get traits(): readonly Traits[] {
    return this.#traits;
  }

  /** Takes the next line. false for one that should record a call but does not. */
  add(line: LogLine, place: Place): boolean {
    switch (line.kind) {
      case 'call':
        return isObject(line.envelope) && this.#addAnswer(line, line.envelope, place);
      case 'error':
      case 'timeout':
        return this.#addFailure(line, place);
      case 'eviction':
        return this.#addEviction(line);
      default:
        return true;
    }
  }

  row(row: number): CallRow | undefined {
    const traits = this.#traits[this.#columns.traits[row] ?? -1];
    if (!(row < this.#length) || !traits) return undefined;
    const c = this.#columns;
    const { [row]: rate = ABSENT } = c.rate;
    return {
      row,
      at: c.at[row] as number,
      job: traits.job,
      outcome: traits.outcome,
      tier: traits.tier,
      backend: traits.backend,
      model: traits.model,
      surface: traits.surface,
      profile: traits.profile,
      degraded: traits.degraded,
      fallback_from: traits.fallback_from,
      truncated: traits.truncated,
      cut: traits.cut,
      tokens_in: known(c.tokensIn[row]),
      tokens_out: known(c.tokensOut[row]),
      tokens_per_second: rate === ABSENT ? undefined : rate / RATE_SCALE,
      elapsed_ms: known(c.elapsed[row]),
      spent: {
        queued: c.queued[row] as number,
        failed: c.failed[row] as number,
        loading: c.loading[row] as number,
        reading: c.reading[row] as number,
        writing: c.writing[row] as number,
      },
      warnings: c.warnings[row] || undefined,
    };
  }

  query({ filter, from, count }: CallQuery): CallPage {
    let { rows, count: total } = this.#find(filter);
    const { since } = filter;
    if (since !== undefined) {
      const { at } = this.#columns;
      rows = rows.subarray(0, total).filter((row) => (at[row] as number) >= since);
      total = rows.length;
    }
    const most = Math.min(Math.max(0, Math.floor(count)), MOST_PER_PAGE);
    const begin = Math.max(0, Math.min(Math.floor(from ?? total - most), total));
    const page = Array.from(rows.subarray(begin, Math.min(begin + most, total)));
    return { total, from: begin, rows: page.flatMap((row) => this.row(row) ?? []) };
  }

  /** The most frequent first. */
  facets(): Facets {
    return Object.fromEntries(FACETS.map((facet) => [facet, this.#values(facet)])) as Facets;
  }

  trends(query: TrendQuery): Trends {
    return trendsOf(this, query);
  }

  /** In the order of the log. */
  evictions(since = -Infinity): Eviction[] {
    return this.#evictions.filter(({ at }) => at >= since);
  }

  mark(row: number): Mark | undefined {
    if (!Number.isInteger(row) || row < 0 || row >= this.#length) return undefined;
    const { at, hash, file, offset, length } = this.#columns;
    return {
      at: at[row] as number,
      hash: hash[row] as number,
      file: file[row] as number,
      offset: offset[row] as number,
      length: length[row] as number,
    };
  }

  /** Rows of calls that may have this id, newest first. */
  candidates(callId: string): number[] {
    const wanted = hashOf(callId);
    const { hash } = this.#columns;
    const rows: number[] = [];
    for (let row = this.#length - 1; row >= 0; row--) if (hash[row] === wanted) rows.push(row);
    return rows;
  }

  /** Calls at the beginning go when their file is gone. */
  dropFiles(gone: ReadonlySet<number>): void {
    const { file } = this.#columns;
    let count = 0;
    while (count < this.#length && gone.has(file[count] as number)) count++;
    this.#drop(count);
  }

  #addAnswer(line: LogLine, envelope: Fields, place: Place): boolean {
    const isDegraded = envelope.degraded === true;
    const traits: Traits = {
      job: name(jobOf(line)) ?? name(line.tool) ?? 'unknown',
      outcome: 'answer',
      tier: name(envelope.tier_used),
      backend: name(envelope.backend),
      model: name(envelope.model),
      surface: name(envelope.surface),
      profile: name(envelope.hardware_profile),
      degraded: isDegraded ? (name(envelope.degrade_reason) ?? '') : undefined,
      fallback_from: name(envelope.fallback_from),
      truncated: envelope.truncated === true || undefined,
      cut: envelope.done_reason === 'length' || undefined,
    };
    return this.#addRow(line, envelope, traits, place);
  }

  #addFailure(line: LogLine, place: Place): boolean {
    const traits: Traits = {
      job: name(jobOf(line)) ?? name(line.tool) ?? 'unknown',
      outcome: name(line.code) ?? line.kind,
      tier: name(line.tier),
      backend: name(line.backend),
      model: name(line.model),
      surface: name(line.surface),
      profile: name(line.hardware_profile),
      message: name(line.message),
    };
    return this.#addRow(line, line, traits, place);
  }

  #addRow(line: LogLine, record: Fields, traits: Traits, place: Place): boolean {
    const at = Date.parse(line.ts);
    if (Number.isNaN(at)) return false;
    if (this.#length >= this.#mostRows) {
      this.#isCut = true;
      this.#drop(Math.ceil(this.#mostRows * DROPPED));
    }
    if (this.#length === this.#capacity) this.#grow();
    const row = this.#length++;
    const c = this.#columns;
    const id = this.#intern(traits);
    this.#uses[id] = (this.#uses[id] ?? 0) + 1;
    const spent = spentBy({
      elapsed_ms: number(record.elapsed_ms),
      queued_ms: number(record.queued_ms),
      load_ms: number(record.load_ms),
      first_token_ms: number(record.first_token_ms),
      tokens_out: number(record.tokens_out),
      tokens_per_second: number(record.tokens_per_second),
      attempts: attemptsOf(record.attempts),
    });
    c.at[row] = at;
    c.traits[row] = id;
    c.tokensIn[row] = whole(record.tokens_in);
    c.tokensOut[row] = whole(record.tokens_out);
    c.rate[row] = whole(record.tokens_per_second, RATE_SCALE);
    c.elapsed[row] = whole(record.elapsed_ms);
    c.queued[row] = spent.queued;
    c.failed[row] = spent.failed;
    c.loading[row] = spent.loading;
    c.reading[row] = spent.reading;
    c.writing[row] = spent.writing;
    c.cost[row] = number(record.cost_usd) ?? NaN;
    c.warnings[row] = Array.isArray(record.warnings)
      ? Math.min(record.warnings.length, MOST_WARNINGS)
      : 0;
    c.hash[row] = hashOf(record.call_id);
    c.file[row] = place.file;
    c.offset[row] = place.offset;
    c.length[row] = place.length;
    return true;
  }

  #addEviction(line: LogLine): boolean {
    const at = Date.parse(line.ts);
    const model = name(line.model);
    if (Number.isNaN(at) || model === undefined) return false;
    if (this.#isEvicted(model, at)) return true;
    if (this.#evictions.length >= MOST_EVICTIONS) {
      this.#evictions.splice(0, MOST_EVICTIONS * DROPPED);
    }
    this.#evictions.push({ model, at });
    return true;
  }

  /** Each window that looks at the memory logs what it finds to be pushed out. */
  #isEvicted(model: string, at: number): boolean {
    const key = modelKey(model);
    return this.#evictions
      .slice(-MOST_ALIKE)
      .some((one) => Math.abs(at - one.at) < ALIKE_MS && modelKey(one.model) === key);
  }

  #grow(): void {
    this.#capacity *= 2;
    const larger = newColumns(this.#capacity);
    for (const column of Object.keys(larger) as (keyof Columns)[]) {
      larger[column].set(this.#columns[column]);
    }
    this.#columns = larger;
  }

  /** The oldest go, and the traits that only they had. */
  #drop(count: number): void {
    if (count === 0) return;
    for (const column of Object.values(this.#columns)) column.copyWithin(0, count, this.#length);
    this.#length -= count;
    this.#found = undefined;
    this.#generation++;

    const before = this.#traits;
    this.#traits = [];
    this.#uses = [];
    this.#searched = [];
    this.#root = new Branch();
    this.#messages = 0;
    const { traits } = this.#columns;
    for (let row = 0; row < this.#length; row++) {
      const id = this.#intern(before[traits[row] as number] as Traits);
      traits[row] = id;
      this.#uses[id] = (this.#uses[id] ?? 0) + 1;
    }
  }

  #intern(traits: Traits): number {
    let branch = this.#root;
    for (const key of BRANCHES) {
      const value = traits[key];
      const next = branch.find(value);
      if (!next && key === 'message' && value !== undefined) {
        if (this.#messages >= MOST_MESSAGES) return this.#intern({ ...traits, message: undefined });
        this.#messages++;
      }
      branch = next ?? branch.add(value);
    }
    if (branch.id < 0) branch.id = this.#traits.push(traits) - 1;
    return branch.id;
  }

  /** A filter is answered once for all calls with the same traits; then it is one pass over numbers. */
  #find(filter: CallFilter): Found {
    const words = wordsOf(filter.text);
    const key = JSON.stringify([FACETS.map((facet) => filter[facet] ?? null), words]);
    if (this.#found?.key !== key) {
      this.#found = {
        key,
        matches: (traits) => matchesFacets(traits, filter),
        verdicts: new Uint8Array(this.#traits.length),
        rows: new Uint32Array(this.#capacity),
        count: 0,
        seen: 0,
      };
    }
    const found = this.#found;
    if (found.verdicts.length < this.#traits.length) {
      const { verdicts } = found;
      found.verdicts = new Uint8Array(2 * this.#traits.length);
      found.verdicts.set(verdicts);
    }
    if (found.rows.length < this.#length) {
      const { rows } = found;
      found.rows = new Uint32Array(this.#capacity);
      found.rows.set(rows);
    }
    const { verdicts, rows } = found;
    const { traits } = this.#columns;
    for (let row = found.seen; row < this.#length; row++) {
      const id = traits[row] as number;
      verdicts[id] ||=
        found.matches(this.#traits[id] as Traits) && this.#hasWords(id, words) ? YES : NO;
      if (verdicts[id] === YES) rows[found.count++] = row;
    }
    found.seen = this.#length;
    return found;
  }

  #hasWords(id: number, words: readonly string[]): boolean {
    if (words.length === 0) return true;
    const text = (this.#searched[id] ??= searchedIn(this.#traits[id] as Traits));
    return words.every((word) => text.includes(word));
  }

  #values(facet: Facet): { value: string; count: number }[] {
    const counts = new Map<string, number>();
    this.#traits.forEach(({ [facet]: value }, id) => {
      if (value !== undefined) {
        counts.set(value, (counts.get(value) ?? 0) + (this.#uses[id] as number));
      }
    });
    return [...counts]
      .map(([value, count]) => ({ value, count }))
      .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1))
      .slice(0, MOST_VALUES);
  }
}

export function isAnswer({ outcome }: Traits): boolean {
  return outcome === 'answer';
}

/** An answer from a lesser place than asked for. */
export function isFallback({ degraded, fallback_from: from }: Traits): boolean {
  return degraded !== undefined || from !== undefined;
}

export function isFailure({ outcome }: Traits): boolean {
  return outcome !== 'answer' && outcome !== 'cancelled';
}

/** Of a line: that of its call. */
export function callIdOf(line: LogLine): unknown {
  return line.kind === 'call' && isObject(line.envelope) ? line.envelope.call_id : line.call_id;
}

/** 32 bits; 0 for what is no id. */
export function hashOf(callId: unknown): number {
  if (typeof callId !== 'string') return 0;
  let hash = 0x811c9dc5;
  for (let at = 0; at < callId.length; at++) {
    hash = Math.imul(hash ^ callId.charCodeAt(at), 0x01000193);
  }
  return hash >>> 0 || 1;
}

type Fields = Record<string, unknown>;

function matchesFacets(traits: Traits, filter: CallFilter): boolean {
  return FACETS.every((facet) => {
    const wanted = filter[facet];
    if (wanted === undefined || (traits[facet] ?? '') === wanted) return true;
    if (facet !== 'outcome') return false;
    return (
      (wanted === FAILED && isFailure(traits)) ||
      (wanted === DEGRADED && traits.degraded !== undefined)
    );
  });
}

function wordsOf(text: string | undefined): string[] {
  return (text ?? '').toLowerCase().split(/\s+/).filter(Boolean);
}

function searchedIn(traits: Traits): string {
  return [
    ...FACETS.map((facet) => traits[facet]),
    traits.message,
    isFailure(traits) ? 'failed' : undefined,
    traits.degraded === undefined ? undefined : `degraded\n${traits.degraded}`,
    traits.truncated && 'truncated',
  ]
    .filter(Boolean)
    .join('\n')
    .toLowerCase();
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

/** Texts of others may be of any length. */
function name(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  if (value.length <= MOST_CHARACTERS) return value;
  // A copy: a part of a text keeps the whole of it in memory.
  return `${Buffer.from(value.slice(0, MOST_CHARACTERS)).toString()}…`;
}

/** What is no count of anything, or larger than any, is not known. */
function number(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && value < ABSENT - 1 ? value : undefined;
}

function whole(value: unknown, scale = 1): number {
  const scaled = typeof value === 'number' ? number(value * scale) : undefined;
  return scaled === undefined ? ABSENT : Math.round(scaled);
}

export function known(value: number | undefined): number | undefined {
  return value === ABSENT ? undefined : value;
}

function attemptsOf(value: unknown): { outcome?: string; elapsed_ms?: number | undefined }[] {
  if (!Array.isArray(value)) return [];
  return (value as unknown[]).filter(isObject).map(({ outcome, elapsed_ms: ms }) => ({
    outcome: typeof outcome === 'string' ? outcome : undefined,
    elapsed_ms: number(ms),
  }));
}
