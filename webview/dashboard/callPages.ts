import type { CallPage, CallRow } from '../../src/core/audit/calls';

/** Pixels. */
export const ROW_HEIGHT = 24;
/** How many rows are asked for at once. */
export const PAGE_ROWS = 100;
/** Pages that are kept: those looked at last. */
const MOST_PAGES = 30;
/** Questions that wait for their replies at the same time. */
const MOST_ASKED = 2;

/** Rows by their places in the list, newest first; `end` is behind the last. */
export interface Span {
  first: number;
  end: number;
}

/** The rows that are seen, with some more before and behind them. */
export function spanSeen(top: number, height: number, total: number, more = 0): Span {
  const clamp = (place: number): number => Math.min(total, Math.max(0, place));
  return {
    first: clamp(Math.floor(top / ROW_HEIGHT) - more),
    end: clamp(Math.ceil((top + height) / ROW_HEIGHT) + more),
  };
}

/** Where the list has to be scrolled to so that a row is seen, moving it as little as possible. */
export function topToSee(place: number, top: number, height: number): number {
  const rowTop = place * ROW_HEIGHT;
  return Math.min(rowTop, Math.max(top, rowTop + ROW_HEIGHT - height));
}

/** Where a key leads to in a list; undefined for a key that leads nowhere. */
export function placeByKey(
  key: string,
  place: number | undefined,
  last: number,
  page: number,
): number | undefined {
  const steps: Record<string, number> = {
    ArrowDown: 1,
    ArrowUp: -1,
    PageDown: page,
    PageUp: -page,
    Home: -Infinity,
    End: Infinity,
  };
  const step = steps[key];
  if (step === undefined || last < 0) return undefined;
  // From nowhere the first step leads to the first row.
  const target = place === undefined && Number.isFinite(step) ? 0 : (place ?? 0) + step;
  return Math.min(last, Math.max(0, target));
}

/** Pages that hold rows from the one place to before the other, newest first; both are counted from the oldest row. */
export function pagesOf(from: number, to: number): number[] {
  if (from >= to) return [];
  const newest = pageOf(to - 1);
  return Array.from({ length: newest - pageOf(from) + 1 }, (_, index) => newest - index);
}

function pageOf(fromOldest: number): number {
  return Math.floor(fromOldest / PAGE_ROWS);
}

/** `from`: counted from the oldest; absent: the newest rows. */
export type AskForRows = (from: number | undefined, count: number) => Promise<CallPage>;

/**
 * The rows of one list that grows at its newest end, as far as somebody looked at them. Asks for what is seen and
 * missing, the newest page first, and for nothing that is not seen any more.
 */
export class CallPages {
  /** How many rows there are; undefined before the first reply. */
  total: number | undefined;
  readonly #ask: AskForRows;
  readonly #changed: () => void;
  readonly #pages = new Map<number, (CallRow | undefined)[]>();
  /** Pages that are being asked for; `newest` is not one page. */
  readonly #asked = new Set<number | 'newest'>();
  /** Pages that were answered, and how many rows there were then: a reply that lacks rows is not asked for again. */
  readonly #answered = new Map<number, number>();
  /** What is looked at, from the one to before the other, counted from the oldest row. */
  #seen = { from: 0, to: 0 };
  #newestWanted = true;
  #question = 0;
  /** The question whose reply told the total. */
  #totalOf = 0;
  #closed = false;

  constructor(ask: AskForRows, changed: () => void) {
    this.#ask = ask;
    this.#changed = changed;
  }

  /** Counted from the oldest row; undefined while it is not here. */
  at(fromOldest: number): CallRow | undefined {
    return this.#pages.get(pageOf(fromOldest))?.[fromOldest % PAGE_ROWS];
  }

  /** Where a call is among those that are here, counted from the oldest row. */
  find(row: number): number | undefined {
    for (const [page, calls] of this.#pages) {
      const index = calls.findIndex((call) => call?.row === row);
      if (index >= 0) return page * PAGE_ROWS + index;
    }
    return undefined;
  }

  /** The rows that are seen, in a list of `total` rows. */
  look({ first, end }: Span, total: number): void {
    this.#seen = { from: Math.max(0, total - end), to: total - first };
    this.#askOn();
  }

  /** There may be newer rows. */
  refresh(): void {
    this.#newestWanted = true;
    this.#askOn();
  }

  /** Whether everything that is seen is here. */
  get isComplete(): boolean {
    return this.total !== undefined && this.#missing().length === 0;
  }

  /** Nothing is heard after it. */
  close(): void {
    this.#closed = true;
  }

  #askOn(): void {
    if (this.#closed) return;
    if (this.#newestWanted && !this.#asked.has('newest') && this.#asked.size < MOST_ASKED) {
      this.#newestWanted = false;
      void this.#askFor('newest');
    }
    if (this.total === undefined) return;
    for (const page of this.#missing()) {
      if (this.#asked.size >= MOST_ASKED) return;
      if (!this.#asked.has(page)) void this.#askFor(page);
    }
  }

  async #askFor(page: number | 'newest'): Promise<void> {
    const question = ++this.#question;
    this.#asked.add(page);
    try {
      const reply = await this.#ask(page === 'newest' ? undefined : page * PAGE_ROWS, PAGE_ROWS);
      if (this.#closed) return;
      this.#take(reply, question);
      if (page !== 'newest') this.#answered.set(page, reply.total);
      this.#asked.delete(page);
      this.#askOn();
    } catch {
      // Asked again when somebody looks or when there are other rows, not over and over.
      this.#asked.delete(page);
    }
    if (!this.#closed) this.#changed();
  }

  #take({ total, from, rows }: CallPage, question: number): void {
    if (question > this.#totalOf) {
      if (total < (this.total ?? 0)) {
        this.#pages.clear();
        this.#answered.clear();
      }
      this.#totalOf = question;
      this.total = total;
    }
    rows.forEach((row, index) => {
      const number = pageOf(from + index);
      let page = this.#pages.get(number);
      if (!page) this.#pages.set(number, (page = []));
      page[(from + index) % PAGE_ROWS] = row;
    });
    this.#forget();
  }

  #missing(): number[] {
    const { total = 0 } = this;
    const { from } = this.#seen;
    const to = Math.min(total, this.#seen.to);
    return pagesOf(from, to).filter((page) => {
      if (this.#answered.get(page) === total) return false;
      const end = Math.min((page + 1) * PAGE_ROWS, to);
      for (let place = Math.max(page * PAGE_ROWS, from); place < end; place++) {
        if (!this.at(place)) return true;
      }
      return false;
    });
  }

  #forget(): void {
    const seen = pagesOf(this.#seen.from, this.#seen.to);
    // A page that is looked at goes to the end of the queue.
    for (const number of seen.reverse()) {
      const page = this.#pages.get(number);
      if (!page) continue;
      this.#pages.delete(number);
      this.#pages.set(number, page);
    }
    for (const number of this.#pages.keys()) {
      if (this.#pages.size <= MOST_PAGES) return;
      this.#pages.delete(number);
      this.#answered.delete(number);
    }
  }
}

/**
 * Where the keyboard is in a list that takes the place of another, both counted from the oldest row: on the same call
 * if it is here, else as far from the newest as it was. `row`: of that call, if rows are what they were.
 */
export function placeKept(
  active: number,
  listed: number,
  row: number | undefined,
  next: CallPages,
): number | undefined {
  const { total = 0 } = next;
  if (total === 0) return undefined;
  const found = row === undefined ? undefined : next.find(row);
  return found ?? Math.max(0, total - (listed - active));
}

/** Calls `act` at once, and then at most every `ms` for as long as it is wanted. */
export class Throttle {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wanted = false;

  constructor(
    private readonly ms: number,
    private readonly act: () => void,
  ) {}

  want(): void {
    if (this.#timer !== undefined) {
      this.#wanted = true;
      return;
    }
    this.act();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#wanted) return;
      this.#wanted = false;
      this.want();
    }, this.ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wanted = false;
  }
}
