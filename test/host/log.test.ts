import assert from 'node:assert/strict';
import fs, { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { LOG_KINDS } from '../../src/core';
import { COMMANDS, SCHEMES } from '../../src/host/ids';
import { eventually, Stage } from './support';

const TEXT = 'A sentence. Another sentence.';

describe('the log', () => {
  let stage: Stage;
  /** What the last quick pick offered. */
  let offered: vscode.QuickPickItem[];
  /** The labels to choose; undefined closes the quick pick. */
  let choice: string[] | undefined;
  let restore: () => void;

  beforeEach(async () => {
    stage = await Stage.open();
    offered = [];
    choice = [];
    const window = vscode.window as unknown as Record<string, unknown>;
    const original = window.showQuickPick;
    window.showQuickPick = async (items: Promise<vscode.QuickPickItem[]>) => {
      offered = await items;
      return choice && offered.filter(({ label, kind }) => !kind && choice?.includes(label));
    };
    restore = () => (window.showQuickPick = original);
  });
  afterEach(async () => {
    // What was chosen last is remembered for as long as the window is open.
    choice = [];
    await vscode.commands.executeCommand(COMMANDS.tailLog);
    restore();
    await stage.dispose();
  });

  const show = () => vscode.commands.executeCommand(COMMANDS.showLog);
  const tail = () => vscode.commands.executeCommand(COMMANDS.tailLog);
  const document = () => {
    const shown = vscode.window.activeTextEditor?.document;
    assert.ok(shown, 'no document is shown');
    return shown;
  };
  const entries = () => document().getText().split('\n').slice(2, -1);
  const labels = (items = offered) => items.filter(({ kind }) => !kind).map(({ label }) => label);
  const summarize = async (model?: string) => {
    const { intern } = stage.api;
    await intern.run('summarize_fast', { text: TEXT }, { model }).catch(() => undefined);
    await intern.flush();
  };
  const append = (fields: object) =>
    appendFile(
      stage.api.intern.config.logPath,
      `${JSON.stringify({ ts: '2026-01-02T03:04:05Z', ...fields })}\n`,
    );

  it('says when there is none yet, and asks nothing', async () => {
    await show();
    await vscode.commands.executeCommand(COMMANDS.openLogFile);
    assert.equal(stage.shown.length, 2);
    for (const { text } of stage.shown) assert.match(text, /^Nothing has been logged yet\./);
    assert.deepEqual(offered, []);
  });

  it('is shown one entry a line, newest last, in a document that nobody can change', async () => {
    await summarize();
    await summarize('nope:1b');
    await show();
    assert.equal(document().uri.scheme, SCHEMES.log);
    assert.ok(
      document().getText().startsWith(`${stage.api.intern.config.logPath}: all entries\n\n`),
    );
    const [answer = '', failure = '', ...rest] = entries();
    assert.deepEqual(rest, []);
    assert.match(
      answer,
      /^[\d-]{10} [\d:]{8} {2}call {2,}summarize_fast {2,}answer {2,}local · hermes3:8b, [\d,]+→[\d,]+ tokens, /,
    );
    assert.match(
      failure,
      /error {2,}summarize_fast {2,}model_missing {2,}local · nope:1b, .*nope:1b/,
    );
    const before = document().version;
    const changed = await vscode.window.activeTextEditor?.edit((edit) =>
      edit.insert(new vscode.Position(0, 0), 'x'),
    );
    assert.ok(!changed || document().version === before, 'it was changed');
    assert.deepEqual(stage.shown, []);
  });

  it('is filtered by what occurs in it, and remembers what was chosen', async () => {
    await summarize();
    await summarize('nope:1b');
    await append({
      kind: 'breaker',
      backend: 'cloud',
      from: 'closed',
      to: 'open',
      reason: 'cloud_5xx',
    });
    await append({ kind: 'guardrail', tool: 'classify', rule: 'confidence' });
    choice = ['error', 'breaker'];
    await show();
    assert.deepEqual(
      offered.filter(({ kind }) => kind).map(({ label }) => label),
      ['Kind', 'Job', 'Backend', 'Outcome'],
    );
    assert.deepEqual(labels(), [
      ...LOG_KINDS,
      'guardrail',
      ...['classify', 'summarize_fast', 'cloud', 'local', 'answer', 'model_missing'],
    ]);
    assert.equal(entries().length, 2);
    assert.match(entries()[0] ?? '', / error .* model_missing /);
    assert.match(entries()[1] ?? '', / breaker {2,}closed → open, cloud, cloud_5xx$/);
    assert.match(document().getText(), /: all entries, kind error or breaker\n/);

    choice = ['local', 'answer'];
    await vscode.commands.executeCommand(COMMANDS.filterLog);
    assert.deepEqual(labels(offered.filter(({ picked }) => picked)), ['error', 'breaker']);
    assert.equal(entries().length, 1);
    assert.match(entries()[0] ?? '', / answer /);

    choice = undefined;
    await show();
    assert.deepEqual(labels(offered.filter(({ picked }) => picked)), ['local', 'answer']);
    assert.equal(entries().length, 1, 'a quick pick that is closed changes nothing');
  });

  it('shown again has what came since', async () => {
    await summarize();
    await show();
    assert.equal(entries().length, 1);
    await summarize();
    await show();
    assert.equal(entries().length, 2);
  });

  it('is shown live, with what others write, and follows the setting', async () => {
    choice = ['error'];
    await tail();
    assert.deepEqual(entries(), ['None yet. They appear here as they come.']);
    await summarize();
    await append({ kind: 'error', tool: 'draft', code: 'out_of_memory', message: 'No room.' });
    await eventually(
      () => /error {2,}draft {2,}out_of_memory {2,}No room\.$/.test(entries()[0] ?? ''),
      () => `the entry in ${document().getText()}`,
    );
    await append({ kind: 'error', tool: 'draft', code: 'cancelled' });
    await eventually(() => entries().length === 2, 'the second entry');
    await stage.set({ logPath: join(stage.folder, 'other.ndjson') });
    await eventually(() => entries()[0]?.startsWith('None yet.'), 'the other log');
    await append({ kind: 'error', tool: 'draft', code: 'timeout' });
    await eventually(() => / timeout$/.test(entries()[0] ?? ''), 'the entry of the other log');
  });

  it('is left alone when the live document is closed, and followed again when it is back', async () => {
    await tail();
    await append({ kind: 'eviction', model: 'm' });
    await eventually(() => / m$/.test(entries()[0] ?? ''), 'the entry');
    const { uri } = document();
    await vscode.commands.executeCommand('workbench.action.closeActiveEditor');
    const { open } = fs;
    let looks = 0;
    fs.open = (...args) => {
      looks++;
      return open(...args);
    };
    try {
      await new Promise((resolve) => setTimeout(resolve, 1_200));
      assert.equal(looks, 0);
    } finally {
      fs.open = open;
    }
    await append({ kind: 'eviction', model: 'n' });
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri));
    await eventually(() => / n$/.test(entries()[1] ?? ''), 'what came meanwhile');
    await append({ kind: 'eviction', model: 'o' });
    await eventually(() => / o$/.test(entries()[2] ?? ''), 'what comes now');
  });

  it('keeps its end in sight while it is shown live, unless somebody looks elsewhere', async () => {
    for (let n = 0; n < 200; n++) await append({ kind: 'eviction', model: `before-${n}` });
    await tail();
    const lastSeen = () => vscode.window.activeTextEditor?.visibleRanges.at(-1)?.end.line ?? 0;
    await eventually(() => lastSeen() >= document().lineCount - 2, 'the end at first');
    await append({ kind: 'eviction', model: 'after-1' });
    await eventually(() => entries().length === 201, 'the new entry');
    await eventually(() => lastSeen() >= document().lineCount - 2, 'the end of what came');
    const top = new vscode.Range(0, 0, 0, 0);
    vscode.window.activeTextEditor?.revealRange(top, vscode.TextEditorRevealType.AtTop);
    await eventually(() => lastSeen() < 150, 'the beginning');
    await append({ kind: 'eviction', model: 'after-2' });
    await eventually(() => entries().length === 202, 'another entry');
    assert.ok(lastSeen() < 150, 'it was taken away from what somebody looks at');
  });

  it('file is opened at its end', async () => {
    await summarize();
    await vscode.commands.executeCommand(COMMANDS.openLogFile);
    assert.equal(document().uri.fsPath, stage.api.intern.config.logPath);
    assert.match(document().getText(), /"kind":"call"/);
    assert.equal(vscode.window.activeTextEditor?.selection.active.line, document().lineCount - 1);
  });
});
