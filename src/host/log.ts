import { stat } from 'node:fs/promises';
import * as vscode from 'vscode';
import {
  backendsOf,
  type Follower,
  followLog,
  type Intern,
  jobOf,
  lineText,
  LOG_KINDS,
  type LogFilter,
  outcomeOf,
  readLog,
  systemClock,
} from '../core';
import { SCHEMES } from './ids';
import { Disposer } from './lifecycle';
import { plain } from './plain';

/** What a document shows; it stands in its address, so that a restored window shows the same again. */
interface Shown {
  live: boolean;
  filter: LogFilter;
  /** When it was opened: one that is not live shows what there was then. */
  at: number;
}

/** A document that is open. */
interface View {
  path: string;
  lines: string[];
  /** Of a live one. */
  follower?: Follower;
}

interface Choice extends vscode.QuickPickItem {
  group?: Group;
  value?: string;
}

type Group = 'kinds' | 'jobs' | 'backends' | 'outcomes';
const GROUPS: Record<Group, string> = {
  kinds: 'Kind',
  jobs: 'Job',
  backends: 'Backend',
  outcomes: 'Outcome',
};

/** A document holds this many entries, the newest. */
const MOST_ENTRIES = 1_000;
/** Values to choose from are looked for in this many entries. */
const SEARCHED_ENTRIES = 10_000;

/** Read-only documents with entries of the audit log, one a line, newest last. Live ones grow while they are open. */
export class LogDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #disposer = new Disposer();
  readonly #changed = this.#disposer.own(new vscode.EventEmitter<vscode.Uri>());
  readonly onDidChange = this.#changed.event;
  readonly #views = new Map<string, View>();
  /** What was chosen last. */
  #filter: LogFilter = {};

  constructor(private readonly intern: Intern) {
    this.#disposer.own(vscode.workspace.registerTextDocumentContentProvider(SCHEMES.log, this));
    this.#disposer.own(vscode.window.tabGroups.onDidChangeTabs((event) => this.#onTabs(event)));
    this.#disposer.own(vscode.workspace.onDidChangeTextDocument(keepAtEnd));
    this.#disposer.own(intern.listen({ onConfig: ({ logPath }) => this.#onPath(logPath) }));
  }

  dispose(): void {
    for (const key of this.#views.keys()) this.#forget(key);
    this.#disposer.dispose();
  }

  /** Asks which entries, and shows them: those there are, or also those to come. */
  async show(live: boolean): Promise<void> {
    await this.intern.flush();
    if (!live && !(await this.#hasLog())) return this.#tellNoLog();
    const filter = await this.#ask(live ? 'Tail Log' : 'Show Log');
    if (!filter) return;
    this.#filter = filter;
    const uri = toAddress({ live, filter, at: Date.now() });
    await showAtEnd(uri);
    // The editor does not hear of entries that come before a document is open.
    if (live) this.#changed.fire(uri);
  }

  /** Asks again which entries a document is to show. */
  async refilter(uri: vscode.Uri | undefined): Promise<void> {
    await this.show(uri?.scheme === SCHEMES.log && readAddress(uri).live);
  }

  /** The file itself. */
  async openFile(): Promise<void> {
    await this.intern.flush();
    if (!(await this.#hasLog())) return this.#tellNoLog();
    await showAtEnd(vscode.Uri.file(this.intern.config.logPath));
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    try {
      const shown = readAddress(uri);
      if (!shown.live) return content(await this.#read(shown.filter), shown);
      const view = this.#views.get(uri.toString()) ?? (await this.#follow(uri, shown.filter));
      return content(view, shown);
    } catch (error) {
      return `${this.intern.config.logPath} cannot be read: ${(error as Error).message}\n`;
    }
  }

  async #read(filter: LogFilter): Promise<View> {
    const path = this.intern.config.logPath;
    const lines = await readLog(path, { ...filter, limit: MOST_ENTRIES });
    return { path, lines: lines.reverse().map(lineText) };
  }

  /** Resolves when the entries that are there have been read. */
  #follow(uri: vscode.Uri, filter: LogFilter): Promise<View> {
    const view: View = { path: this.intern.config.logPath, lines: [] };
    this.#views.set(uri.toString(), view);
    return new Promise((resolve) => {
      view.follower = followLog(
        view.path,
        { ...filter, limit: MOST_ENTRIES },
        (lines) => {
          view.lines = [...view.lines, ...lines.map(lineText)].slice(-MOST_ENTRIES);
          resolve(view);
          this.#changed.fire(uri);
        },
        systemClock,
      );
    });
  }

  #forget(key: string): void {
    this.#views.get(key)?.follower?.close();
    this.#views.delete(key);
  }

  /** The editor keeps a document for minutes after its tab is closed, and may show it again meanwhile. */
  #onTabs({ opened, closed }: vscode.TabChangeEvent): void {
    const open = new Set(
      vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs.flatMap(addressOf)),
    );
    for (const key of closed.flatMap(addressOf)) if (!open.has(key)) this.#forget(key);
    for (const key of opened.flatMap(addressOf)) {
      if (!this.#views.has(key)) this.#changed.fire(vscode.Uri.parse(key));
    }
  }

  /** Live documents follow the log to another place. */
  #onPath(path: string): void {
    for (const [key, view] of this.#views) {
      if (view.path === path) continue;
      this.#forget(key);
      this.#changed.fire(vscode.Uri.parse(key));
    }
  }

  async #hasLog(): Promise<boolean> {
    return stat(this.intern.config.logPath).then(
      () => true,
      () => false,
    );
  }

  #tellNoLog(): void {
    void vscode.window.showInformationMessage(
      `Nothing has been logged yet. Calls will be recorded in ${this.intern.config.logPath}, without prompts and answers.`,
    );
  }

  async #ask(title: string): Promise<LogFilter | undefined> {
    const chosen = await vscode.window.showQuickPick<Choice>(this.#choices(), {
      title,
      placeHolder: 'Show which entries? None chosen: all.',
      canPickMany: true,
      matchOnDescription: true,
    });
    if (!chosen) return undefined;
    const filter: LogFilter = {};
    for (const { group, value } of chosen) {
      if (group && value) filter[group] = [...(filter[group] ?? []), value];
    }
    return filter;
  }

  /** All kinds, and of the rest what occurs in the log or was chosen before. */
  async #choices(): Promise<Choice[]> {
    const lines = await readLog(this.intern.config.logPath, { limit: SEARCHED_ENTRIES }).catch(
      () => [],
    );
    const found: Record<Group, (string | undefined)[]> = {
      kinds: [...LOG_KINDS, ...lines.map(({ kind }) => kind)],
      jobs: lines.map(jobOf).sort(),
      backends: lines.flatMap(backendsOf).sort(),
      outcomes: lines.map(outcomeOf).sort(),
    };
    return (Object.keys(GROUPS) as Group[]).flatMap((group): Choice[] => {
      const before = this.#filter[group] ?? [];
      const values = new Set([...found[group], ...before].filter((value) => value !== undefined));
      const name = GROUPS[group];
      const choices = [...values].map((value) => ({
        label: plain(value),
        value,
        description: name.toLowerCase(),
        picked: before.includes(value),
        group,
      }));
      if (choices.length === 0) return [];
      return [{ label: name, kind: vscode.QuickPickItemKind.Separator }, ...choices];
    });
  }
}

function content({ path, lines }: View, { live, filter }: Shown): string {
  const chosen = (Object.keys(GROUPS) as Group[]).flatMap((group) => {
    const values = filter[group];
    return values?.length ? `${GROUPS[group].toLowerCase()} ${values.join(' or ')}` : [];
  });
  const which = lines.length < MOST_ENTRIES ? 'all' : `the newest ${MOST_ENTRIES}`;
  const head = `${path}: ${which} entries${chosen.length > 0 ? `, ${chosen.join(', ')}` : ''}`;
  const none = live ? 'None yet. They appear here as they come.' : 'None.';
  return [head, '', ...(lines.length > 0 ? lines : [none]), ''].join('\n');
}

/** The name ends in `.log`, so that the editor colours it as one. */
function toAddress(shown: Shown): vscode.Uri {
  return vscode.Uri.from({
    scheme: SCHEMES.log,
    path: shown.live ? '/Ollama Intern, live.log' : '/Ollama Intern.log',
    query: JSON.stringify(shown),
  });
}

function readAddress({ query }: vscode.Uri): Shown {
  return JSON.parse(query) as Shown;
}

/** Of the live document in a tab. */
function addressOf({ input }: vscode.Tab): string[] {
  const uri = input instanceof vscode.TabInputText ? input.uri : undefined;
  return uri?.scheme === SCHEMES.log && readAddress(uri).live ? [uri.toString()] : [];
}

async function showAtEnd(uri: vscode.Uri): Promise<void> {
  const document = await vscode.workspace.openTextDocument(uri);
  toEnd(await vscode.window.showTextDocument(document, { preview: true }));
}

function toEnd(editor: vscode.TextEditor): void {
  const { document } = editor;
  const { end } = document.lineAt(document.lineCount - 1).range;
  editor.selection = new vscode.Selection(end, end);
  editor.revealRange(new vscode.Range(end, end));
}

/** Whoever looks at the end of a document goes on seeing its end. */
function keepAtEnd({ document, contentChanges }: vscode.TextDocumentChangeEvent): void {
  if (document.uri.scheme !== SCHEMES.log) return;
  const added = contentChanges.reduce(
    (sum, { range, text }) =>
      sum + text.split('\n').length - 1 - (range.end.line - range.start.line),
    0,
  );
  const lastLine = document.lineCount - 1 - added;
  for (const editor of vscode.window.visibleTextEditors) {
    const seen = editor.document === document ? editor.visibleRanges.at(-1) : undefined;
    if (seen && seen.end.line >= lastLine) toEnd(editor);
  }
}
