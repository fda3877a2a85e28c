import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as vscode from 'vscode';
import type { Repository } from '../../src/host/git';
import { ComputedEngine } from '../support/ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../support/ollama/engine';

interface GitApi {
  openRepository(root: vscode.Uri): Promise<Repository | null>;
}

/** A real repository that the editor's Git extension has open. */
export class TestRepository {
  private constructor(
    readonly folder: string,
    readonly opened: Repository,
  ) {}

  /** With one commit of these files. */
  static async open(folder: string, files: Record<string, string>): Promise<TestRepository> {
    git(folder, 'init', '--initial-branch=main');
    write(folder, files);
    git(folder, 'add', '.');
    git(folder, 'commit', '-m', 'Begin the queue');
    const extension = vscode.extensions.getExtension<{ getAPI(version: 1): GitApi }>('vscode.git');
    assert.ok(extension, 'the Git extension');
    const api = (await extension.activate()).getAPI(1);
    const opened = await api.openRepository(vscode.Uri.file(folder));
    assert.ok(opened, 'the repository is open');
    return new TestRepository(folder, opened);
  }

  async write(files: Record<string, string>): Promise<void> {
    write(this.folder, files);
    await this.opened.status();
  }

  async git(...args: string[]): Promise<void> {
    git(this.folder, ...args);
    await this.opened.status();
  }

  async close(): Promise<void> {
    this.opened.inputBox.value = '';
    await vscode.commands.executeCommand('git.close', this.opened.rootUri);
  }
}

function write(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

function git(folder: string, ...args: string[]): void {
  const who = ['-c', 'user.name=Tester', '-c', 'user.email=tester@example.com'];
  execFileSync('git', [...who, ...args], { cwd: folder, stdio: 'pipe' });
}

/** Says the same whatever it is asked. */
export class FixedEngine extends ComputedEngine {
  constructor(private readonly answer: unknown) {
    super();
  }

  override async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    await onPiece({ kind: 'text', text: JSON.stringify(this.answer) });
    return { promptTokens: await this.countPrompt(request), outputTokens: 1, doneReason: 'stop' };
  }
}

/** Chooses by label in each list that comes up, and returns the way back. */
export function choosing(labels: (string | RegExp)[]): () => void {
  const window = vscode.window as unknown as Record<string, unknown>;
  const original = window['showQuickPick'];
  const rest = [...labels];
  window['showQuickPick'] = async (
    given: vscode.QuickPickItem[] | Promise<vscode.QuickPickItem[]>,
    options?: vscode.QuickPickOptions,
  ) => {
    const items = await given;
    const wanted = rest.shift();
    if (wanted === undefined) return undefined;
    const found = items.filter(({ label }) =>
      typeof wanted === 'string' ? label === wanted : wanted.test(label),
    );
    assert.ok(found.length > 0, `${String(wanted)} in ${items.map((i) => i.label).join(', ')}`);
    return options?.canPickMany ? found : found[0];
  };
  return () => (window['showQuickPick'] = original);
}
