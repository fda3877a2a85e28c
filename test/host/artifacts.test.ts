import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { ArtifactStore } from '../../src/core';
import { COMMANDS } from '../../src/host/ids';
import { choosing } from './repository';
import { Stage } from './support';

const DAY_MS = 24 * 60 * 60 * 1000;
const FACTS = {
  evidence: [],
  evidence_count: 0,
  dropped_claims: 0,
  unknown_ids: 0,
  weak: false,
  omitted_sources: [],
  unread_parts: [],
};

describe('Open Artifact', () => {
  let stage: Stage;
  let folder: string;
  let undo: () => void = () => undefined;

  beforeEach(async () => {
    stage = await Stage.open();
    folder = join(stage.folder, 'artifacts');
    await stage.set({ artifactFolder: folder });
  });

  afterEach(async () => {
    undo();
    undo = () => undefined;
    await stage.set({ artifactFolder: undefined });
    await stage.dispose();
  });

  const write = (title: string, daysAgo = 0) =>
    new ArtifactStore(folder, () => Date.now() - daysAgo * DAY_MS).write({
      kind: 'incident',
      title,
      brief: FACTS,
      markdown: `# ${title}\n`,
    });
  const run = (...choices: (string | RegExp)[]) => {
    undo();
    undo = choosing(choices);
    return vscode.commands.executeCommand(COMMANDS.openArtifact);
  };

  it('says when there is none', async () => {
    await run();
    assert.match(stage.shown.at(-1)?.text ?? '', /^There are no artifacts yet\./);
  });

  it('opens the Markdown of the one that is chosen', async () => {
    await write('The first outage', 1);
    const { markdown_path } = await write('The second outage');
    await run('The second outage', 'Open');
    assert.equal(vscode.window.activeTextEditor?.document.uri.fsPath, markdown_path);
  });

  it('compares two, the older on the left', async () => {
    const older = await write('The first outage', 1);
    const newer = await write('The second outage');
    await run('The second outage', 'Compare with Another…', 'The first outage');
    const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
    assert.ok(input instanceof vscode.TabInputTextDiff);
    assert.equal(input.original.fsPath, older.markdown_path);
    assert.equal(input.modified.fsPath, newer.markdown_path);
  });

  it('has nothing to compare the only one with', async () => {
    await write('The outage');
    await run('The outage', 'Compare with Another…');
    assert.equal(stage.shown.at(-1)?.text, 'There is no other incident artifact.');
  });

  it('exports a copy', async () => {
    await write('The outage');
    const path = join(stage.folder, 'copy.md');
    const window = vscode.window as unknown as Record<string, unknown>;
    const original = window['showSaveDialog'];
    window['showSaveDialog'] = async () => vscode.Uri.file(path);
    try {
      await run('The outage', 'Export…');
    } finally {
      window['showSaveDialog'] = original;
    }
    assert.equal(readFileSync(path, 'utf8'), '# The outage\n');
    assert.equal(stage.shown.at(-1)?.text, `Exported to ${path}.`);
  });

  it('deletes older ones only after it has said which', async () => {
    const older = await write('The first outage', 100);
    const newer = await write('The second outage');
    stage.typed = '30';
    await run('Delete Older Artifacts…');
    const question = stage.shown.at(-1);
    assert.match(question?.text ?? '', /^Delete 1 artifact \(1 KB\) for good\?/);
    assert.equal(question?.modal, 'The first outage (incident)');
    assert.ok(existsSync(older.json_path), 'nothing goes without a yes');
    stage.answer = () => 'Delete';
    await run('Delete Older Artifacts…');
    assert.ok(!existsSync(older.json_path));
    assert.ok(!existsSync(older.markdown_path));
    assert.ok(existsSync(newer.json_path));
    assert.equal(stage.shown.at(-1)?.text, 'Deleted 1 artifact.');
  });

  it('deletes none that was kept while it asked', async () => {
    const named = await write('The first outage', 100);
    stage.typed = '30';
    let since: Awaited<ReturnType<typeof write>> | undefined;
    const window = vscode.window as unknown as Record<string, unknown>;
    const original = window['showWarningMessage'];
    window['showWarningMessage'] = async (...[, , confirm]: unknown[]) => {
      since = await write('The second outage', 60);
      return confirm;
    };
    try {
      await run('Delete Older Artifacts…');
    } finally {
      window['showWarningMessage'] = original;
    }
    assert.ok(since && existsSync(since.json_path));
    assert.ok(!existsSync(named.json_path));
    assert.equal(stage.shown.at(-1)?.text, 'Deleted 1 artifact.');
  });

  it('says when none is so old', async () => {
    await write('The outage');
    stage.typed = '30';
    await run('Delete Older Artifacts…');
    assert.equal(stage.shown.at(-1)?.text, 'No artifact is older than 30 days.');
  });
});
