import { posix } from 'node:path';
import * as vscode from 'vscode';
import { type Finding, parseDiff, pathOf } from '../core';
import { setContext } from './contexts';
import { documentOf } from './documents';
import type { Change } from './git';
import { CONTEXTS } from './ids';
import { Disposer } from './lifecycle';

const SEVERITIES: Record<Finding['severity'], vscode.DiagnosticSeverity> = {
  critical: vscode.DiagnosticSeverity.Error,
  high: vscode.DiagnosticSeverity.Error,
  medium: vscode.DiagnosticSeverity.Warning,
  low: vscode.DiagnosticSeverity.Information,
  info: vscode.DiagnosticSeverity.Information,
};

interface Watched extends vscode.Disposable {
  uri: vscode.Uri;
  /** Drops the findings unless the file is as it was. */
  dropIfOther(): Promise<void>;
}

/** The findings of the latest review, at their lines. Those of a file go as soon as it changes on the disk. */
export class ReviewDiagnostics implements vscode.Disposable {
  readonly #collection = vscode.languages.createDiagnosticCollection('ollama-intern');
  /** By the files that have findings. */
  readonly #watchers = new Map<string, Watched>();
  #folders: vscode.Disposable | undefined;
  /** Counts the reviews: one that is overtaken shows nothing. */
  #review = 0;

  dispose(): void {
    this.#forget();
    this.#collection.dispose();
  }

  clear(): void {
    this.#review++;
    this.#forget();
    this.#collection.clear();
    this.#updateContext();
  }

  async show({ repository, diff }: Change, findings: readonly Finding[]): Promise<void> {
    this.clear();
    const review = this.#review;
    const { rootUri } = repository;
    const lines = newLines(diff);
    for (const path of new Set(findings.map(({ file }) => file))) {
      if (!isInside(path)) continue;
      const uri = vscode.Uri.joinPath(rootUri, path);
      // What is only in the index, or deleted since, has no lines here; the document has all findings.
      const file = await readText(uri);
      if (review !== this.#review) return;
      if (!file) continue;
      const diagnostics = findings
        .filter((finding) => finding.file === path)
        .flatMap((finding) => diagnosticOf(finding, file.lines, lines.get(path)) ?? []);
      if (diagnostics.length === 0) continue;
      this.#collection.set(uri, diagnostics);
      this.#watch(uri, file.bytes);
    }
    if (this.#watchers.size > 0) this.#folders = this.#watchFolders(rootUri);
    this.#updateContext();
  }

  #watch(uri: vscode.Uri, reviewed: Uint8Array): void {
    const key = uri.toString();
    if (this.#watchers.has(key)) return;
    const folder = vscode.Uri.joinPath(uri, '..');
    const watcher = new Disposer();
    const files = watcher.own(
      vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(folder, '*')),
    );
    // A change from just before the review is reported late, and is no change since.
    const dropIfOther = async (): Promise<void> => {
      const bytes = await readBytes(uri);
      const isOther = !bytes || Buffer.compare(bytes, reviewed) !== 0;
      if (isOther && this.#watchers.get(key) === watched) this.#drop(key);
    };
    const watched = { uri, dropIfOther, dispose: () => watcher.dispose() };
    this.#watchers.set(key, watched);
    const isIt = (changed: vscode.Uri): boolean => changed.toString() === key;
    watcher.own(files.onDidChange((changed) => void (isIt(changed) && dropIfOther())));
    watcher.own(files.onDidDelete((gone) => isIt(gone) && this.#drop(key)));
    // Sooner than the watcher, which collects changes for a while.
    watcher.own(
      vscode.workspace.onDidSaveTextDocument((saved) => isIt(saved.uri) && this.#drop(key)),
    );
  }

  /** Of a folder that is deleted the editor tells only itself, and nothing of what was in it. */
  #watchFolders(root: vscode.Uri): vscode.Disposable {
    const pattern = new vscode.RelativePattern(root, '**');
    const watcher = new Disposer();
    const folders = watcher.own(vscode.workspace.createFileSystemWatcher(pattern, true, true));
    watcher.own(
      folders.onDidDelete((gone) => {
        const above = `${gone.toString()}/`;
        for (const [key, watched] of this.#watchers) {
          if (key.startsWith(above)) void watched.dropIfOther();
        }
      }),
    );
    return watcher;
  }

  #drop(key: string): void {
    const watched = this.#watchers.get(key);
    if (!watched) return;
    this.#collection.delete(watched.uri);
    this.#watchers.delete(key);
    watched.dispose();
    if (this.#watchers.size === 0) this.#forget();
    this.#updateContext();
  }

  #forget(): void {
    this.#folders?.dispose();
    this.#folders = undefined;
    for (const watcher of this.#watchers.values()) watcher.dispose();
    this.#watchers.clear();
  }

  #updateContext(): void {
    const isShown = this.#watchers.size > 0;
    setContext(CONTEXTS.reviewShown, isShown);
  }
}

/** A name in a diff is only text: it may lead anywhere. */
export function isInside(path: string): boolean {
  const way = posix.normalize(path.replaceAll('\\', '/'));
  return !posix.isAbsolute(way) && !/^[a-z]:/i.test(way) && way !== '..' && !way.startsWith('../');
}

/** What the lines of each file say on the new side of a diff. */
function newLines(diff: string): Map<string, Map<number, string>> {
  return new Map(
    parseDiff(diff).files.map((file) => {
      const lines = file.hunks.flatMap((hunk) => hunk.lines);
      const numbered = lines.flatMap(({ new_line, text }): [number, string][] =>
        new_line === undefined ? [] : [[new_line, text]],
      );
      return [pathOf(file), new Map(numbered)];
    }),
  );
}

async function readBytes(uri: vscode.Uri): Promise<Uint8Array | undefined> {
  return vscode.workspace.fs.readFile(uri).then(undefined, () => undefined);
}

/**
 * A file, and its lines as the editor shows them, or will as soon as it notices that the file was changed elsewhere.
 * Undefined: it cannot be read.
 */
async function readText(
  uri: vscode.Uri,
): Promise<{ bytes: Uint8Array; lines: string[] } | undefined> {
  const bytes = await readBytes(uri);
  if (!bytes) return undefined;
  const open = documentOf(uri);
  const text = open?.isDirty ? open.getText() : new TextDecoder().decode(bytes);
  return { bytes, lines: text.split(/\r\n|\r|\n/) };
}

/** Undefined: its line is not there any more. */
function diagnosticOf(
  { line, end_line = line, severity, category, message, suggestion }: Finding,
  there: readonly string[],
  lines: ReadonlyMap<number, string> | undefined,
): vscode.Diagnostic | undefined {
  const start = placeOf(there, line - 1, lines?.get(line));
  if (start === undefined) return undefined;
  const end = Math.min(start + end_line - line, there.length - 1);
  const range = new vscode.Range(
    start,
    (there[start] as string).search(/\S|$/),
    end,
    (there[end] as string).length,
  );
  const text = suggestion ? `${message}\n\nSuggestion: ${suggestion}` : message;
  const diagnostic = new vscode.Diagnostic(range, text, SEVERITIES[severity]);
  diagnostic.source = 'Ollama Intern';
  diagnostic.code = category;
  return diagnostic;
}

/** Where a line of the diff is now: a file has moved on from what is staged or committed. Undefined: nowhere. */
function placeOf(
  there: readonly string[],
  wanted: number,
  text: string | undefined,
): number | undefined {
  const last = there.length - 1;
  const expected = Math.min(wanted, last);
  if (text === undefined) return expected;
  // The mark of a file's encoding is in no document.
  const sought = text.replace(/^\uFEFF/, '');
  const isIt = (line: number): boolean => there[line] === sought;
  for (let away = 0; away <= Math.max(wanted, last); away++) {
    if (isIt(wanted - away)) return wanted - away;
    if (isIt(wanted + away)) return wanted + away;
  }
  // Git’s text is read as UTF-8, whatever the file is.
  return text.includes('\uFFFD') ? expected : undefined;
}
