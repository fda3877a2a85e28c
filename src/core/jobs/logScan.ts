import { clip } from './words';

/** Of a longer line only the start is looked at. Characters. */
const LONGEST_LINE = 2_000;
/** Of a line that a model is shown: its start, and what it says where that stands further behind. */
const LONGEST_SHOWN = 300;
const SHOWN_START = 100;
/** Before what is shown further behind. */
const SHOWN_BEFORE = 40;
const LONGEST_TEMPLATE = 160;
/** Kinds of lines that are told apart, of each level; a log with more is all kinds of things. */
const MOST_TEMPLATES = 20_000;
/** Matches of a pattern that are kept. */
const MOST_MATCHES = 20;
/** Lines shown before and after one that stands out, and of a stack trace after it. */
const AROUND = 2;
const MOST_STACK = 10;
const FIRST_LINES = 3;
const LAST_LINES = 20;
/** A line without a level stands out when there are no more like it. */
const RARE = 2;
/** Of such lines; they are taken from all over the log. */
const MOST_RARE = 200;
/** The event loop is let go this often. Milliseconds. */
const SLICE_MS = 8;
const LINES_A_LOOK = 100;

export type Level = 'error' | 'warning' | 'odd' | 'plain';

/** Lines that differ only in their times, numbers, ids and paths. */
export interface Kind {
  level: Level;
  count: number;
  /** 1-based lines. */
  first: number;
  last: number;
}

export interface Match {
  pattern: string;
  count: number;
  /** The first ones, and the last. */
  lines: number[];
}

const NAMED_LEVEL =
  /(?:^|[\s[("'<|:=])(trace|debug|info|notice|warn(?:ing)?|err(?:or)?|severe|fatal|crit(?:ical)?|panic|emerg(?:ency)?|alert)(?=[\s\])"'>|:,;]|$)/i;
/** As glog and Android write it, and as pino does: 40 is a warning. */
const SHORT_LEVEL = /^([EWFI])(?:\d{4}\s|\/\w)/;
const NUMBER_LEVEL = /"level":\s*([1-6]0)\b/;
const FAILURE =
  /\b(?:\w*(?:error|exception)|traceback|panicked|segfault|segmentation fault|core dumped|out of memory|oom-?kill\w*|unhandled|uncaught|fatal|failed|failure|refused|denied|timed out|timeout|cannot|unable to|unreachable|aborted|killed)\b|" 5\d\d /i;
/** Where a line of JSON says what happened. */
const MESSAGE = /"(?:msg|message)"\s*:/;
const VARIABLE =
  /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b0x[0-9a-f]+|\b(?=[a-f]{0,8}\d)[0-9a-f]{7,}\b|(?:[a-z]:\\|\/)[\w.@-]+(?:[\\/][\w.@-]+)+|\d+(?:[.,:]\d+)*/gi;
const STACK = /^(?:\s+\S|at |Caused by|\.\.\. \d+ more|goroutine )/;

/** How bad a line is, by its words: `odd` is a failure that the log itself takes lightly. */
export function levelOf(line: string): Level {
  const head = line.slice(0, 120);
  const number = NUMBER_LEVEL.exec(line)?.[1];
  const short = SHORT_LEVEL.exec(head)?.[1];
  const named = NAMED_LEVEL.exec(head)?.[1]?.toLowerCase();
  if (
    number
      ? number >= '50'
      : short
        ? /[EF]/.test(short)
        : /^(err|sev|fat|cri|pan|eme|ale)/.test(named ?? '')
  )
    return 'error';
  if (number ? number === '40' : short ? short === 'W' : named?.startsWith('warn'))
    return 'warning';
  if (!FAILURE.test(line)) return 'plain';
  return number || short || named ? 'odd' : 'error';
}

/** A line without what changes from one to the next. */
export function templateOf(line: string): string {
  return line.replace(VARIABLE, '#').slice(0, LONGEST_TEMPLATE);
}

/** All lines of a log, read by rules alone; nothing but numbers is kept for a line. */
export class LogScan {
  #starts = new Uint32Array(1024);
  readonly #kinds = new Map<string, Kind>();
  readonly #known: Record<Level, number> = { error: 0, warning: 0, odd: 0, plain: 0 };
  /** Lines, by their level. */
  readonly counts: Record<Level, number> = { error: 0, warning: 0, odd: 0, plain: 0 };
  readonly matches: Match[];
  lines = 0;
  /** Lines too long to be looked at whole. */
  cut = 0;
  /** What it would take to show all lines that are not blank. */
  shownChars = 0;

  private constructor(
    private readonly log: string,
    patterns: readonly string[],
  ) {
    this.matches = patterns.map((pattern) => ({ pattern, count: 0, lines: [] }));
  }

  static async read(log: string, patterns: readonly string[] = []): Promise<LogScan> {
    const scan = new LogScan(log, patterns);
    const wanted = patterns.map((pattern) => pattern.toLowerCase());
    let since = performance.now();
    for (let start = 0; start < log.length;) {
      const end = log.indexOf('\n', start);
      scan.#add(start, end === -1 ? log.length : end, wanted);
      start = end === -1 ? log.length : end + 1;
      if (scan.lines % LINES_A_LOOK === 0 && performance.now() - since > SLICE_MS) {
        await new Promise((resolve) => setImmediate(resolve));
        since = performance.now();
      }
    }
    return scan;
  }

  /** The start of a line, as it is looked at. */
  line(number: number): string {
    const start = this.#starts[number - 1] ?? this.log.length;
    const end = this.log.indexOf('\n', start);
    const limit = Math.min(end === -1 ? this.log.length : end, start + LONGEST_LINE);
    return this.log.slice(start, limit).trimEnd();
  }

  /** A line as a model is shown it. */
  shown(number: number): string {
    const line = this.line(number);
    return `${number}| ${line.length > LONGEST_SHOWN ? this.#partOf(line) : line}`;
  }

  /** Whether a model is shown a part of the line only. */
  isShownInPart(number: number): boolean {
    return this.line(number).length > LONGEST_SHOWN;
  }

  #partOf(line: string): string {
    const lower = line.toLowerCase();
    const at = [
      ...this.matches.map(({ pattern }) => lower.indexOf(pattern.toLowerCase())),
      line.search(MESSAGE),
      line.search(FAILURE),
    ].find((index) => index > LONGEST_SHOWN - SHOWN_BEFORE);
    if (at === undefined) return clip(line, LONGEST_SHOWN);
    const start = clip(line, SHOWN_START);
    const room = LONGEST_SHOWN - start.length;
    const from = Math.min(at - SHOWN_BEFORE, line.length - room);
    return start + clip(line.slice(from).replace(/^[\uDC00-\uDFFF]/, ''), room);
  }

  kindOf(number: number): Kind {
    const line = this.line(number);
    const level = levelOf(line);
    return this.#kinds.get(keyOf(level, line)) ?? { level, count: 1, first: number, last: number };
  }

  /** The lines that matter, in their order, as many as fit: all of them, or those that stand out and what is around them. */
  select(chars: number): number[] {
    const all = Array.from({ length: this.shownChars <= chars ? this.lines : 0 }, (_, i) => i + 1);
    if (all.length > 0) return all.filter((number) => this.line(number) !== '');
    const chosen = new Set<number>();
    let left = chars;
    for (const number of this.#candidates()) {
      if (chosen.has(number)) continue;
      const line = this.line(number);
      if (line === '') continue;
      left -= this.shown(number).length + GAP;
      if (left < 0) break;
      chosen.add(number);
    }
    return [...chosen].sort((a, b) => a - b);
  }

  /** The best first. */
  *#candidates(): Generator<number> {
    for (let i = 1; i <= FIRST_LINES; i++) yield i;
    for (let i = 0; i < LAST_LINES; i++) yield this.lines - i;
    const kinds = [...this.#kinds.values()];
    const matched = this.matches.flatMap(({ lines }) => lines);
    for (const number of matched) yield* this.#around(number);
    for (const wanted of ['error', 'warning', 'odd'] as const) {
      for (const { level, first, last } of kinds) {
        if (level !== wanted) continue;
        yield* this.#around(first);
        yield last;
      }
    }
    const rare = kinds.filter(({ level, count }) => level === 'plain' && count <= RARE);
    const step = Math.ceil(rare.length / MOST_RARE);
    for (const [index, { first }] of rare.entries()) if (index % step === 0) yield first;
  }

  *#around(number: number): Generator<number> {
    yield number;
    for (let i = number - AROUND; i <= number + AROUND; i++) {
      if (i >= 1 && i <= this.lines) yield i;
    }
    for (let i = number + 1; i <= Math.min(number + MOST_STACK, this.lines); i++) {
      if (!STACK.test(this.line(i))) break;
      yield i;
    }
  }

  #add(start: number, end: number, wanted: readonly string[]): void {
    if (this.lines === this.#starts.length) {
      const grown = new Uint32Array(this.#starts.length * 2);
      grown.set(this.#starts);
      this.#starts = grown;
    }
    this.#starts[this.lines++] = start;
    // What is left out has to be more than blanks.
    const behind = start + LONGEST_LINE;
    if (end > behind && /\S/.test(this.log.slice(behind, end))) this.cut++;
    const line = this.line(this.lines);
    if (line === '') return;
    this.shownChars += Math.min(line.length, LONGEST_SHOWN) + String(this.lines).length + GAP;
    if (wanted.length > 0) this.#match(line.toLowerCase(), wanted);
    const level = levelOf(line);
    this.counts[level]++;
    const key = keyOf(level, line);
    const kind = this.#kinds.get(key);
    if (kind) {
      kind.count++;
      kind.last = this.lines;
    } else if (this.#known[level] < MOST_TEMPLATES) {
      this.#known[level]++;
      this.#kinds.set(key, { level, count: 1, first: this.lines, last: this.lines });
    }
  }

  #match(line: string, wanted: readonly string[]): void {
    for (const [index, pattern] of wanted.entries()) {
      const match = this.matches[index];
      if (!match || !line.includes(pattern)) continue;
      match.count++;
      if (match.lines.length > MOST_MATCHES) match.lines.pop();
      match.lines.push(this.lines);
    }
  }
}

/** Between number and text, and for the end of the line or a mark that lines are left out. */
const GAP = 5;

function keyOf(level: Level, line: string): string {
  return `${level} ${templateOf(line)}`;
}
