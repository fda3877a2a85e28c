import { InternError } from '../errors';
import { plainName } from './fence';
import { clip, counted } from './words';

export interface DiffLine {
  kind: 'context' | 'added' | 'removed';
  text: string;
  /** 1-based; absent on the side where the line does not exist. */
  old_line?: number;
  new_line?: number;
}

export interface Hunk {
  old_start: number;
  new_start: number;
  /** What git writes behind the numbers: the function around the hunk. */
  heading: string;
  lines: DiffLine[];
}

export interface FileDiff {
  /** Null: the file is new. */
  old_path: string | null;
  /** Null: the file is deleted. */
  new_path: string | null;
  status: 'added' | 'deleted' | 'modified' | 'renamed' | 'copied';
  binary: boolean;
  mode_changed: boolean;
  hunks: Hunk[];
  /** Lines. */
  added: number;
  removed: number;
}

export interface Diff {
  files: FileDiff[];
  /** Files of a merge that has several old sides: their changes cannot be read. */
  combined: string[];
  /** Hunks that end before the lines that they announce. */
  damaged: number;
}

/** Reads a unified diff, from git or another tool. What is not part of one is skipped; nothing makes it throw. */
export function parseDiff(text: string): Diff {
  return new Parser(text).parse();
}

/** The files of a diff, and what could not be read of it; a text without any is an error. */
export function readDiff(text: string): { files: FileDiff[]; warnings: string[] } {
  const { files, combined, damaged } = parseDiff(text);
  if (files.length === 0) throw combined.length > 0 ? combinedError() : noDiffError();
  const warnings: string[] = [];
  if (combined.length > 0) {
    const names = counted(combined.length, 'file');
    warnings.push(`The changes of ${names} could not be read: they merge several old sides.`);
  }
  if (damaged > 0) {
    warnings.push(`The diff is damaged: ${counted(damaged, 'part')} of it ended too early.`);
  }
  return { files, warnings };
}

function combinedError(): InternError {
  return new InternError({
    code: 'bad_input',
    message: 'This is the diff of a merge with several old sides, which cannot be read.',
    hint: 'Compare the merge with one of its parents, for example with git diff HEAD^ HEAD.',
  });
}

function noDiffError(): InternError {
  return new InternError({
    code: 'bad_input',
    message: 'There is no changed file in this diff.',
    hint: 'Give a unified diff with file names, such as git diff writes.',
  });
}

/** What the file is called now, or was when it is deleted. */
export function pathOf(file: FileDiff): string {
  return file.new_path ?? file.old_path ?? '';
}

/** Where hunks begin, and how many lines they announce. */
const HUNK = /^@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@ ?(.*)$/;

class Parser {
  readonly #diff: Diff = { files: [], combined: [], damaged: 0 };
  #at = 0;
  #file: FileDiff | undefined;
  /** The name in the `---` line. */
  #minus: string | null = null;
  /** Inside of a combined diff, until the next one of git. */
  #isCombined = false;

  constructor(private readonly text: string) {}

  parse(): Diff {
    for (let line = this.#next(); line !== undefined; line = this.#next()) this.#header(line);
    this.#endFile();
    return this.#diff;
  }

  #next(): string | undefined {
    const line = this.#peek();
    if (line !== undefined) this.#at = this.#endOfLine() + 1;
    return line;
  }

  #peek(): string | undefined {
    if (this.#at >= this.text.length) return undefined;
    const line = this.text.slice(this.#at, this.#endOfLine());
    return line.endsWith('\r') ? line.slice(0, -1) : line;
  }

  #endOfLine(): number {
    const end = this.text.indexOf('\n', this.#at);
    return end === -1 ? this.text.length : end;
  }

  #header(line: string): void {
    const hunk = HUNK.exec(line);
    if (hunk) return this.#hunk(hunk);
    const [, word = '', rest = ''] =
      /^(diff --git|diff --cc|diff --combined|---|\+\+\+|rename from|rename to|copy from|copy to|old mode|new mode|new file mode|deleted file mode|Binary files|GIT binary patch) ?(.*)$/.exec(
        line,
      ) ?? [];
    switch (word) {
      case 'diff --git':
        return this.#begin(gitPaths(rest));
      case 'diff --cc':
      case 'diff --combined':
        this.#endFile();
        this.#isCombined = true;
        this.#diff.combined.push(unquote(rest));
        return;
      case '---':
        return this.#oldName(rest);
      case '+++':
        return this.#newName(rest);
    }
    const file = this.#file;
    if (!file || file.hunks.length > 0) return;
    switch (word) {
      case 'rename from':
      case 'copy from':
        file.old_path = unquote(rest);
        break;
      case 'rename to':
      case 'copy to':
        file.new_path = unquote(rest);
        file.status = word === 'copy to' ? 'copied' : 'renamed';
        break;
      case 'new mode':
        file.mode_changed = true;
        break;
      case 'new file mode':
        Object.assign(file, { status: 'added', old_path: null });
        break;
      case 'deleted file mode':
        Object.assign(file, { status: 'deleted', new_path: null });
        break;
      case 'Binary files':
      case 'GIT binary patch':
        file.binary = true;
    }
  }

  #begin([old_path, new_path]: [string | null, string | null]): void {
    this.#endFile();
    this.#isCombined = false;
    this.#file = {
      old_path,
      new_path,
      status: 'modified',
      binary: false,
      mode_changed: false,
      hunks: [],
      added: 0,
      removed: 0,
    };
  }

  #endFile(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file && pathOf(file) !== '') this.#diff.files.push(file);
  }

  #oldName(rest: string): void {
    // Without `+++` right after it, this is a line of something else.
    if (this.#isCombined || !this.#peek()?.startsWith('+++ ')) return;
    this.#minus = fileName(rest);
    const file = this.#file;
    if (!file || file.hunks.length > 0 || file.binary) this.#begin([null, null]);
  }

  #newName(rest: string): void {
    const file = this.#file;
    if (!file || file.hunks.length > 0) return;
    const fresh = fileName(rest);
    if (this.#minus === null) Object.assign(file, { status: 'added', old_path: null });
    if (fresh === null) Object.assign(file, { status: 'deleted', new_path: null });
    if (file.old_path !== null || file.new_path !== null) return;
    [file.old_path, file.new_path] = withoutPrefixes(this.#minus, fresh);
  }

  /** A hunk goes on as long as it announced lines: `--- x` in it is the removed line `-- x`. */
  #hunk([, oldStart, oldCount, newStart, newCount, heading]: RegExpExecArray): void {
    const old_start = Number(oldStart);
    const new_start = Number(newStart);
    const hunk: Hunk = { old_start, new_start, heading: heading ?? '', lines: [] };
    let olds = oldCount === undefined ? 1 : Number(oldCount);
    let news = newCount === undefined ? 1 : Number(newCount);
    let oldLine = old_start;
    let newLine = new_start;
    const isRead = this.#file !== undefined;
    while (olds > 0 || news > 0) {
      const line = this.#peek();
      const sign = line === '' ? ' ' : line?.[0];
      const text = line?.slice(1) ?? '';
      if (sign === '\\') {
        this.#next();
        continue;
      }
      if (sign === ' ' && olds > 0 && news > 0) {
        hunk.lines.push({ kind: 'context', text, old_line: oldLine++, new_line: newLine++ });
        olds--;
        news--;
      } else if (sign === '-' && olds > 0) {
        hunk.lines.push({ kind: 'removed', text, old_line: oldLine++ });
        olds--;
      } else if (sign === '+' && news > 0) {
        hunk.lines.push({ kind: 'added', text, new_line: newLine++ });
        news--;
      } else {
        if (isRead) this.#diff.damaged++;
        break;
      }
      this.#next();
    }
    const file = this.#file;
    if (!file || hunk.lines.length === 0) return;
    file.hunks.push(hunk);
    for (const { kind } of hunk.lines) {
      if (kind === 'added') file.added++;
      else if (kind === 'removed') file.removed++;
    }
  }
}

/** The two names after `diff --git`, which may hold spaces: the names of a file that is not renamed are the same. */
function gitPaths(rest: string): [string | null, string | null] {
  const quoted = /^("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*")$/.exec(rest);
  const first = /^("(?:[^"\\]|\\.)*") (\S.*)$/.exec(rest);
  const [, a, b] = quoted ?? first ?? [];
  if (a !== undefined && b !== undefined) return withoutPrefixes(unquote(a), unquote(b));
  const half = (rest.length - 1) / 2;
  const names = withoutPrefixes(rest.slice(0, half), rest.slice(half + 1));
  if (rest[half] === ' ' && names[0] === names[1]) return names;
  const [old = '', ...more] = rest.split(' ');
  return withoutPrefixes(old, more.join(' '));
}

/** The name in a `---` or `+++` line; other tools write a time behind a tab. */
function fileName(rest: string): string | null {
  const name = unquote(rest.startsWith('"') ? rest : (rest.split('\t')[0] ?? ''));
  return name === '/dev/null' ? null : name;
}

/** Prefixes that git puts before the two sides, also with `diff.mnemonicPrefix`. */
const PREFIXES = ['a/b/', 'i/w/', 'c/i/', 'c/w/', 'o/w/', '1/2/'];

function withoutPrefixes(old: string | null, fresh: string | null): [string | null, string | null] {
  const pair = `${old === null ? '' : old.slice(0, 2)}${fresh === null ? '' : fresh.slice(0, 2)}`;
  const isPrefixed = PREFIXES.some((both) =>
    old === null
      ? pair === both.slice(2)
      : fresh === null
        ? pair === both.slice(0, 2)
        : pair === both,
  );
  return isPrefixed ? [old?.slice(2) ?? null, fresh?.slice(2) ?? null] : [old, fresh];
}

const ESCAPES: Record<string, number> = {
  a: 7,
  b: 8,
  t: 9,
  n: 10,
  v: 11,
  f: 12,
  r: 13,
  '"': 34,
  '\\': 92,
};

/** A name as git quotes it: bytes of UTF-8 in octal. */
function unquote(name: string): string {
  const inner = /^"((?:[^"\\]|\\.)*)"/.exec(name)?.[1];
  if (inner === undefined) return name;
  const pieces = [...inner.matchAll(/\\([0-7]{3})|\\(.)|[^\\]+/g)].map(([piece, octal, sign]) =>
    octal !== undefined
      ? Buffer.from([parseInt(octal, 8) & 255])
      : sign !== undefined
        ? Buffer.from(ESCAPES[sign] === undefined ? sign : [ESCAPES[sign]])
        : Buffer.from(piece),
  );
  return Buffer.concat(pieces).toString('utf8');
}

const GENERATED = [
  /(^|\/)(package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|bun\.lockb?|go\.sum|packages\.lock\.json|Package\.resolved|gradle\.lockfile)$/,
  /\.lock$/,
  /\.min\.(js|css|mjs)$/,
  /\.(js|css|mjs|cjs)\.map$/,
  /\.snap$/,
  /(\.pb\.(go|cc|h)|_pb2(_grpc)?\.pyi?|\.g\.dart|\.designer\.cs|[._]generated\.\w+)$/i,
  /(^|\/)(node_modules|vendor)\//,
];

/** Files that no person writes: lock files, minified and generated code. */
export function isGenerated(file: FileDiff): boolean {
  return GENERATED.some((pattern) => pattern.test(pathOf(file)));
}

/** A line for a model or a person: what happened to the file. */
export function fileLine(file: FileDiff): string {
  const { old_path, status, binary, mode_changed, hunks, added, removed } = file;
  const isMoved = status === 'renamed' || status === 'copied';
  const facts = [
    isMoved ? `${status} from "${plainName(old_path ?? '')}"` : status,
    isGenerated(file) ? 'generated' : '',
    binary ? 'binary' : '',
    mode_changed ? 'mode changed' : '',
    hunks.length > 0 ? `+${added} -${removed}` : '',
  ].filter(Boolean);
  return `"${plainName(pathOf(file))}" (${facts.join(', ')})`;
}

/** A part of a diff that fits a prompt: whole files and hunks where that is possible. */
export interface DiffPart {
  text: string;
  files: { file: FileDiff; hunks: Hunk[] }[];
  /** Lines that are too long to be shown whole. */
  cut: number;
}

/** Longer lines are cut where they are shown to a model: they are data or minified. Characters. */
const LONGEST_LINE = 400;

export type LineWriter = (line: DiffLine) => string;

const SIGNS = { context: ' ', added: '+', removed: '-' } as const;

/** As in the diff itself. */
export const plainLine: LineWriter = ({ kind, text }) => SIGNS[kind] + text;

/** With its number on the new side. */
export const numberedLine: LineWriter = ({ kind, text, new_line }) =>
  `${String(new_line ?? '').padStart(5)} ${SIGNS[kind]} ${text}`;

/** Splits files into parts of about `size` characters, between files and hunks; only a longer hunk is cut itself. */
export function splitDiff(files: readonly FileDiff[], size: number, write: LineWriter): DiffPart[] {
  const parts: DiffPart[] = [];
  let part: DiffPart | undefined;
  for (const file of files) {
    const heading = `File: ${fileLine(file)}\n`;
    for (const [hunk, text, cut] of pieces(file, size - heading.length, write)) {
      const last = part?.files.at(-1);
      const isSame = last?.file === file;
      const length = text.length + (isSame ? 0 : heading.length);
      if (!part || !last || part.text.length + length > size) {
        part = { text: heading + text, files: [{ file, hunks: [hunk] }], cut };
        parts.push(part);
        continue;
      }
      part.text += isSame ? text : heading + text;
      part.cut += cut;
      if (isSame) last.hunks.push(hunk);
      else part.files.push({ file, hunks: [hunk] });
    }
  }
  return parts;
}

type Piece = [hunk: Hunk, text: string, cut: number];

/** The hunks of a file as text, none longer than `size` unless it is a single line. */
function* pieces(file: FileDiff, size: number, write: LineWriter): Generator<Piece> {
  for (const hunk of file.hunks) {
    const heading = `@@ ${clip(hunk.heading, LONGEST_LINE)}\n`;
    let text = heading;
    let lines: DiffLine[] = [];
    let cut = 0;
    for (const line of hunk.lines) {
      const isLong = line.text.length > LONGEST_LINE;
      const written = `${write({ ...line, text: clip(line.text, LONGEST_LINE) })}\n`;
      if (lines.length > 0 && text.length + written.length > size) {
        yield [partOf(hunk, lines), text, cut];
        [text, lines, cut] = [heading, [], 0];
      }
      text += written;
      lines.push(line);
      if (isLong) cut++;
    }
    if (lines.length > 0) yield [partOf(hunk, lines), text, cut];
  }
}

function partOf(hunk: Hunk, lines: DiffLine[]): Hunk {
  return lines.length === hunk.lines.length ? hunk : { ...hunk, lines };
}
