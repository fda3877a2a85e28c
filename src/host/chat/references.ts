import * as vscode from 'vscode';
import type { Source, SourcePlace } from '../../core';
import { documentOf } from '../documents';
import { type Doubt, type LeftOut, LIMITS, readingNotes } from '../files';
import { readWorkspace } from '../sources';

/** Where a text that was attached comes from. */
interface Origin {
  uri: vscode.Uri;
  /** Of the text's first line in the file. From 0. */
  line: number;
}

/** What came with a request, as texts. */
export interface Attached {
  sources: Source[];
  /** By the names of the sources; a text that is in no file has none. */
  origins: ReadonlyMap<string, Origin>;
  /** Somebody attached something, and there is no text in any of it. */
  nothingRead: boolean;
  /** What was left out, and why. */
  notes: string[];
}

/** What VS Code attaches to every request by itself: instructions for its own agent. */
const INSTRUCTIONS = /^vscode\.(prompt|instructions|customizations)\./;

/** What VS Code attaches because it is open. Nobody asked for it, so it may be anything. */
const IMPLICIT = 'vscode.implicit';

/** Whether a person attached it. */
export function isHandedOver({ id }: vscode.ChatPromptReference): boolean {
  return !INSTRUCTIONS.test(id);
}

/**
 * Reads what was attached: files and folders of the workspace, parts of them, documents that are open, and plain text.
 * What cannot be read is left out and told. Rejects only when cancelled.
 */
export async function readReferences(
  references: readonly vscode.ChatPromptReference[],
  signal: AbortSignal,
  limits = LIMITS,
): Promise<Attached> {
  const reading = new Reading(signal, limits);
  // The last one in the text of the request is the first in the list.
  for (const reference of references.toReversed()) await reading.take(reference);
  const { sources, origins } = reading;
  const nothingRead = sources.length === 0 && references.some(({ id }) => !id.startsWith(IMPLICIT));
  return { sources, origins, nothingRead, notes: readingNotes(reading) };
}

/** Where a place is in the files that were attached. Undefined: it names none of them. */
export function locate(
  { source, first_line, last_line = first_line }: SourcePlace,
  { origins }: Attached,
): vscode.Uri | vscode.Location | undefined {
  const origin = origins.get(source);
  if (!origin || first_line === undefined) return origin?.uri;
  const [first, last] = [first_line, last_line ?? first_line].map((line) => line - 1 + origin.line);
  return new vscode.Location(origin.uri, new vscode.Range(first ?? 0, 0, last ?? 0, 0));
}

/** The request without the marks of what is attached to it, such as `#file:queue.ts`. */
export function withoutMarks(
  prompt: string,
  references: readonly vscode.ChatPromptReference[],
): string {
  const ranges = references.flatMap(({ range }) => (range ? [range] : []));
  const cut = ranges
    .toSorted(([a], [b]) => b - a)
    .reduce((text, [start, end]) => text.slice(0, start) + text.slice(end), prompt);
  return cut.replace(/[^\S\n]+/g, ' ').trim();
}

class Reading {
  readonly sources: Source[] = [];
  readonly origins = new Map<string, Origin>();
  readonly leftOut: LeftOut[] = [];
  readonly doubts: Doubt[] = [];
  /** What is read already: files, and parts of them. */
  readonly #seen = new Set<string>();

  constructor(
    private readonly signal: AbortSignal,
    private readonly limits: typeof LIMITS,
  ) {}

  async take({ id, value }: vscode.ChatPromptReference): Promise<void> {
    if (value instanceof vscode.Uri) return this.#takeUri(value);
    if (value instanceof vscode.Location) return this.#takePart(value);
    if (typeof value === 'string') {
      if (value.trim()) this.#add({ name: 'attached text', text: value });
      return;
    }
    const isImage = typeof (value as { mimeType?: unknown } | null)?.mimeType === 'string';
    this.leftOut.push({ name: id, reason: isImage ? 'images are not read' : 'not text' });
  }

  async #takeUri(uri: vscode.Uri): Promise<void> {
    const open = openDocument(uri);
    const isBelow = vscode.workspace.getWorkspaceFolder(uri) !== undefined;
    if (isBelow && uri.scheme === 'file') return this.#takePath(uri);
    // What is open in a tab can be seen by whoever attached it; all else stays closed.
    const document = open ?? (isBelow ? await openText(uri) : undefined);
    const name = vscode.workspace.asRelativePath(uri);
    if (!document) {
      this.leftOut.push({
        name,
        reason: isBelow ? 'could not be read' : 'outside of the workspace',
      });
    } else if (document.getText().trim() === '') this.leftOut.push({ name, reason: 'empty' });
    else this.#addDocument(document, name);
  }

  /** Links are followed, but never to the outside. */
  async #takePath(uri: vscode.Uri): Promise<void> {
    const { signal, limits } = this;
    const { sources, leftOut, doubts } = await readWorkspace([uri], { signal, limits });
    this.leftOut.push(...leftOut);
    this.doubts.push(...doubts);
    const [first, ...others] = sources;
    const isFile = others.length === 0 && first?.path === uri.fsPath;
    // Only the editor knows languages, and to ask it for those of a whole folder would open it all, or of a log open that.
    const mayOpen = isFile && first.text.length <= LIMITS.bytes;
    const document = mayOpen ? (openDocument(uri) ?? (await openText(uri))) : undefined;
    for (const { name, text, path } of sources) {
      const source = { name, text, ...(document && { language: document.languageId }) };
      this.#add(source, { uri: vscode.Uri.file(path), line: 0 });
    }
  }

  async #takePart({ uri, range }: vscode.Location): Promise<void> {
    if (range.isEmpty) return this.#takeUri(uri);
    const whole = new Reading(this.signal, this.limits);
    await whole.#takeUri(uri);
    this.leftOut.push(...whole.leftOut);
    this.doubts.push(...whole.doubts);
    const [source] = whole.sources;
    if (!source) return;
    const text = textIn(source.text, range);
    const lines = `${range.start.line + 1}-${range.end.line + 1}`;
    const name = `${source.name}:${lines}`;
    if (text.trim() === '') this.leftOut.push({ name, reason: 'empty' });
    else this.#add({ ...source, name, text }, { uri, line: range.start.line }, range);
  }

  #addDocument(document: vscode.TextDocument, name: string): void {
    const { uri, languageId: language } = document;
    this.#add({ name, text: document.getText(), language }, { uri, line: 0 });
  }

  /** What is attached twice is read once. What only shares the name of another gets one of its own. */
  #add(source: Source, origin?: Origin, range?: vscode.Range): void {
    const key = `${origin?.uri.toString()} ${JSON.stringify(range)}`;
    if (origin && this.#seen.has(key)) return;
    this.#seen.add(key);
    const name = this.#newName(source.name);
    this.sources.push({ ...source, name });
    if (origin) this.origins.set(name, origin);
  }

  #newName(name: string): string {
    const isTaken = (one: string): boolean => this.sources.some((source) => source.name === one);
    if (!isTaken(name)) return name;
    let count = 2;
    while (isTaken(`${name} ${count}`)) count++;
    return `${name} ${count}`;
  }
}

/** The document of a tab. */
function openDocument(uri: vscode.Uri): vscode.TextDocument | undefined {
  const key = uri.toString();
  const isShown = vscode.window.tabGroups.all.some(({ tabs }) =>
    tabs.some(({ input }) => input instanceof vscode.TabInputText && input.uri.toString() === key),
  );
  return isShown ? documentOf(uri) : undefined;
}

async function openText(uri: vscode.Uri): Promise<vscode.TextDocument | undefined> {
  return vscode.workspace.openTextDocument(uri).then(undefined, () => undefined);
}

function textIn(text: string, { start, end }: vscode.Range): string {
  const lines = text.split(/\r\n|\r|\n/).slice(start.line, end.line + 1);
  const last = lines.length - 1;
  return lines
    .map((line, index) =>
      line.slice(
        index === 0 ? start.character : 0,
        index === last && start.line + last === end.line ? end.character : undefined,
      ),
    )
    .join('\n');
}
