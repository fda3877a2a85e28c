import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import * as vscode from 'vscode';
import type { Api } from '../../src/extension';
import { EXTENSION_ID, SCHEMES } from '../../src/host/ids';
import { type OllamaOptions, type OllamaServer, startOllama } from '../support/ollama/server';

/** A message that was shown, and the buttons under it. */
export interface Shown {
  kind: 'error' | 'warning' | 'information';
  text: string;
  buttons: string[];
  /** The small print of a modal message; undefined when it is none. */
  modal: string | undefined;
}

type Message = string | { title: string };
type Item = Message | vscode.MessageOptions;

/**
 * The product in the real extension host, with a simulated server behind it and a person who answers messages as the
 * test says. Undo everything with `dispose`.
 */
export class Stage {
  readonly shown: Shown[] = [];
  /** Chooses a button by its title; undefined closes the message. */
  answer: (shown: Shown) => string | undefined = () => undefined;
  /** What is typed into the next input box. */
  typed: string | undefined;
  /** Titles of what was waited for with a progress. */
  readonly progress: string[] = [];
  readonly #undo: (() => void)[] = [];

  private constructor(
    readonly server: OllamaServer,
    readonly api: Api,
    readonly folder: string,
  ) {}

  static async open(options: OllamaOptions = {}): Promise<Stage> {
    const extension = vscode.extensions.getExtension<Api>(EXTENSION_ID);
    assert.ok(extension);
    const api = await extension.activate();
    const server = await startOllama(options);
    const folder = await mkdtemp(join(tmpdir(), 'intern-host-'));
    const stage = new Stage(server, api, folder);
    await stage.set({ host: server.url, logPath: join(folder, 'log.ndjson') });
    stage.#interceptMessages();
    return stage;
  }

  async dispose(): Promise<void> {
    for (const undo of this.#undo.splice(0)) undo();
    await vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor');
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    await this.server.close();
    const keys = [
      'host',
      'logPath',
      'profile',
      'tiers.instant',
      'budgets.instant',
      'maxConcurrent',
      'gateway.host',
      'cloud.mode',
      'cloud.host',
      'cloud.model',
      'tiers.deep',
      'options.contextWindow',
      'options.numPredict',
      'languageModels.installed',
    ];
    await this.set(Object.fromEntries(keys.map((key) => [key, undefined])));
    await this.api.intern.flush();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Changes settings and waits until the extension has heard of it: the update alone resolves earlier. */
  async set(settings: Record<string, unknown>): Promise<void> {
    for (const [key, value] of Object.entries(settings)) {
      const config = vscode.workspace.getConfiguration('ollamaIntern');
      if (config.inspect(key)?.globalValue === value) continue;
      let listener: vscode.Disposable | undefined;
      const heard = new Promise<void>((resolve) => {
        listener = vscode.workspace.onDidChangeConfiguration((event) => {
          if (event.affectsConfiguration(`ollamaIntern.${key}`)) setImmediate(resolve);
        });
      });
      await config.update(key, value, vscode.ConfigurationTarget.Global);
      await heard;
      listener?.dispose();
    }
  }

  /** Opens a file with this content; selects all of it when asked to. */
  async file(
    name: string,
    content: string | Uint8Array,
    select = false,
  ): Promise<vscode.TextEditor> {
    const path = join(this.folder, name);
    await writeFile(path, content);
    const editor = await vscode.window.showTextDocument(vscode.Uri.file(path), { preview: false });
    if (select) selectAll(editor);
    return editor;
  }

  /** The text of the newest answer document. */
  answerDocument(): vscode.TextDocument {
    const found = vscode.workspace.textDocuments.filter((d) => d.uri.scheme === SCHEMES.answer);
    const newest = found.at(-1);
    assert.ok(newest, 'no answer document is open');
    return newest;
  }

  async log(): Promise<Record<string, unknown>[]> {
    await this.api.intern.flush();
    const text = await readFile(this.api.intern.config.logPath, 'utf8');
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  #interceptMessages(): void {
    const replace = (name: string, value: unknown): void =>
      void this.#undo.push(replacing(vscode.window, { [name]: value }));
    for (const kind of ['error', 'warning', 'information'] as const) {
      const name = `show${kind[0]?.toUpperCase()}${kind.slice(1)}Message`;
      replace(name, async (text: string, ...given: Item[]) => {
        const title = (item: Message): string => (typeof item === 'string' ? item : item.title);
        const items = given.filter(
          (item): item is Message => typeof item === 'string' || 'title' in item,
        );
        const options = given.find(
          (item): item is vscode.MessageOptions => typeof item === 'object' && 'modal' in item,
        );
        const modal = options?.modal ? (options.detail ?? '') : undefined;
        const shown = { kind, text, buttons: items.map(title), modal };
        this.shown.push(shown);
        const chosen = this.answer(shown);
        return items.find((item) => title(item) === chosen);
      });
    }
    replace('showInputBox', async () => this.typed);
    const { withProgress } = vscode.window;
    replace('withProgress', (options: vscode.ProgressOptions, task: never) => {
      this.progress.push(options.title ?? '');
      return withProgress(options, task);
    });
  }
}

/** Puts other values in the place of what a namespace of the editor has, and returns the way back. */
export function replacing(namespace: object, values: Record<string, unknown>): () => void {
  const own = namespace as Record<string, unknown>;
  const before = Object.keys(values).map((name) => [name, own[name]] as const);
  Object.assign(own, values);
  return () => void Object.assign(own, Object.fromEntries(before));
}

/** Makes these the folders of the workspace, as far as an extension asks, and returns the way back. */
export function withFolders(...paths: string[]): () => void {
  const own = Object.getOwnPropertyDescriptor(vscode.workspace, 'workspaceFolders');
  assert.ok(own);
  const folders = paths.map((path, index) => ({
    uri: vscode.Uri.file(path),
    name: basename(path),
    index,
  }));
  Object.defineProperty(vscode.workspace, 'workspaceFolders', {
    configurable: true,
    get: () => folders,
  });
  return () => void Object.defineProperty(vscode.workspace, 'workspaceFolders', own);
}

export function selectAll(editor: vscode.TextEditor): void {
  const { document } = editor;
  const end = document.lineAt(document.lineCount - 1).range.end;
  editor.selection = new vscode.Selection(new vscode.Position(0, 0), end);
}

/** Whether a document is what the panel shows of an output. */
export function isOutput({ uri }: vscode.TextDocument, { name }: vscode.OutputChannel): boolean {
  return uri.scheme === 'output' && uri.path.includes(name);
}

/** Shows an output in its panel, and waits until it is there. */
export async function showOutput(output: vscode.OutputChannel): Promise<void> {
  output.show();
  const documents = () => vscode.window.visibleTextEditors.map(({ document }) => document);
  await eventually(
    () => documents().some((one) => isOutput(one, output) && one.getText() !== ''),
    () =>
      `the output, but: ${documents()
        .map(({ uri }) => uri.toString())
        .join()}`,
  );
}

/** Waits until something is true; the editor's own events have no promise to wait for. */
export async function eventually<T>(
  look: () => T,
  what: string | (() => string),
  ms = 10_000,
): Promise<NonNullable<T>> {
  const until = Date.now() + ms;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > until)
      assert.fail(`waited in vain: ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
