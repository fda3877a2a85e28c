import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { COMMANDS } from '../../src/host/ids';
import type { OllamaOptions } from '../support/ollama/server';
import { choosing, FixedEngine, TestRepository } from './repository';
import { eventually, replacing, Stage } from './support';

const CODE = 'const calls = [];\nconst limit = 2;\nexport { calls, limit };\n';
const CHANGED = CODE.replace('limit = 2;\n', 'limit = 3;\nconst first = calls[0].id;\n');
const MESSAGE = { subject: 'Raise the limit', body: 'Three calls run at once.' };
const FINDING = {
  file: 'src/calls.ts',
  line: 3,
  code: 'const first = calls[0].id;',
  severity: 'high',
  category: 'bug',
  message: 'The list is empty here.',
  suggestion: 'Look before you leap.',
};

describe('changes', () => {
  let stage: Stage;
  let repository: TestRepository;
  let undo: () => void = () => undefined;

  /** Of the repository. */
  let folder: string;

  async function start(options: OllamaOptions = {}, where?: string): Promise<void> {
    stage = await Stage.open(options);
    folder = where ?? stage.folder;
    repository = await TestRepository.open(folder, { 'src/calls.ts': CODE });
    await vscode.window.showTextDocument(fileUri());
  }

  afterEach(async () => {
    undo();
    undo = () => undefined;
    await vscode.commands.executeCommand(COMMANDS.clearReview);
    await stage.set({ 'commit.conventional': undefined });
    await repository.close();
    await stage.dispose();
  });

  const fileUri = () => vscode.Uri.file(join(folder, 'src/calls.ts'));
  const run = (command: string, ...choices: (string | RegExp)[]) => {
    undo();
    undo = choosing(choices);
    return vscode.commands.executeCommand(command);
  };
  const prompts = () =>
    JSON.stringify(stage.server.requests.filter((r) => r.path === '/api/chat').map((r) => r.body));
  const stageChange = async () => {
    await repository.write({ 'src/calls.ts': CHANGED });
    await repository.git('add', '.');
  };
  const message = () => repository.opened.inputBox.value;
  /** Others have diagnostics for the file too. */
  const findings = () =>
    vscode.languages.getDiagnostics(fileUri()).filter(({ source }) => source === 'Ollama Intern');

  describe('Write Commit Message', () => {
    const writeMessage = () => run(COMMANDS.writeCommitMessage);

    it('describes what is staged, in the style of earlier commits', async () => {
      await start({ engine: new FixedEngine(MESSAGE) });
      await stageChange();
      await repository.write({ 'src/calls.ts': `${CHANGED}// not staged\n` });
      await writeMessage();
      assert.equal(message(), 'Raise the limit\n\nThree calls run at once.');
      assert.match(prompts(), /Begin the queue/);
      assert.match(prompts(), /limit = 3/);
      assert.doesNotMatch(prompts(), /not staged/);
      assert.deepEqual(stage.shown, []);
      assert.equal((await stage.log())[0]?.['tool'], 'commit_message');
    });

    it('describes the working tree when nothing is staged, and says so', async () => {
      await start({ engine: new FixedEngine(MESSAGE) });
      await repository.write({ 'src/calls.ts': CHANGED, 'new.txt': 'new\n' });
      await writeMessage();
      assert.match(message(), /^Raise the limit/);
      const said = stage.shown.at(-1)?.text ?? '';
      assert.match(said, /^Nothing is staged: the message describes the working tree\./);
      assert.match(said, /Files that Git does not know yet are not in it: 1\./);
    });

    it('replaces a message only when told to', async () => {
      await start({ engine: new FixedEngine(MESSAGE) });
      await stageChange();
      repository.opened.inputBox.value = 'My own words';
      await writeMessage();
      assert.equal(message(), 'My own words');
      assert.deepEqual(stage.shown.at(-1)?.buttons, ['Replace', 'Copy Instead']);
      stage.answer = () => 'Replace';
      await writeMessage();
      assert.match(message(), /^Raise the limit/);
    });

    it('follows Conventional Commits when set to', async () => {
      const engine = new FixedEngine({ type: 'feat', scope: 'calls', ...MESSAGE });
      await start({ engine });
      await stage.set({ 'commit.conventional': true });
      await stageChange();
      await writeMessage();
      assert.match(message(), /^feat\(calls\): raise the limit/);
    });

    it('says that nothing is changed', async () => {
      await start();
      await writeMessage();
      assert.match(stage.shown.at(-1)?.text ?? '', /^Nothing is changed in intern-host-/);
      assert.deepEqual(stage.shown.at(-1)?.buttons, ['Show Source Control']);
      assert.equal(prompts(), '[]');
    });

    it('leaves the message alone when the server fails', async () => {
      await start();
      await stageChange();
      await stage.server.stop();
      await writeMessage();
      assert.equal(message(), '');
      assert.equal(stage.shown.at(-1)?.kind, 'error');
    });
  });

  describe('Review Changes', () => {
    const review = (...choices: (string | RegExp)[]) => run(COMMANDS.reviewChanges, ...choices);

    it('shows the findings in a document and at their lines', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await stageChange();
      await review('Staged Changes');
      const [found, ...others] = await eventually(
        () => (findings().length > 0 ? findings() : undefined),
        'the finding',
      );
      assert.equal(others.length, 0);
      assert.equal(found?.range.start.line, 2);
      assert.equal(found?.severity, vscode.DiagnosticSeverity.Error);
      assert.equal(found?.source, 'Ollama Intern');
      assert.equal(found?.code, 'bug');
      assert.equal(found?.message, 'The list is empty here.\n\nSuggestion: Look before you leap.');
      await eventually(
        () => /src\/calls\.ts:3: The list is empty/.test(stage.answerDocument().getText()),
        'the review',
      );
    });

    it('finds the line again where the file has moved on', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await stageChange();
      await repository.write({ 'src/calls.ts': `// one\n// two\n${CHANGED}` });
      await review('Staged Changes');
      await eventually(() => findings()[0]?.range.start.line === 4, 'the line');
    });

    it('shows no finding at another line when its own is gone, but in the document', async () => {
      const other = { ...FINDING, line: 2, code: 'const limit = 3;', message: 'It is high.' };
      await start({ engine: new FixedEngine({ findings: [FINDING, other] }) });
      await stageChange();
      const [gone = ''] = CHANGED.match(/^const first.*\n/m) ?? [];
      await repository.write({ 'src/calls.ts': `// one\n${CHANGED.replace(gone, '')}` });
      await review('Staged Changes');
      await eventually(() => findings().length > 0, 'the finding');
      assert.deepEqual(
        findings().map(({ message, range }) => [message.split('\n')[0], range.start.line]),
        [['It is high.', 2]],
      );
      await eventually(
        () => /src\/calls\.ts:3: The list is empty/.test(stage.answerDocument().getText()),
        'both in the document',
      );
    });

    it('finds the line while the editor still shows the file as it was', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await stageChange();
      const old = await vscode.workspace.openTextDocument({ content: CODE });
      const { openTextDocument } = vscode.workspace;
      const restore = replacing(vscode.workspace, {
        openTextDocument: (uri: vscode.Uri) =>
          uri.scheme === 'file' ? Promise.resolve(old) : openTextDocument(uri),
      });
      try {
        await review('Staged Changes');
        await eventually(() => findings()[0]?.range.start.line === 2, 'the finding');
      } finally {
        restore();
      }
    });

    it('goes by text that is not saved, and keeps the finding while the file stays as it was', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await stageChange();
      const document = await vscode.workspace.openTextDocument(fileUri());
      await eventually(() => document.getText() === CHANGED, 'the change in the editor');
      const editor = await vscode.window.showTextDocument(document);
      await editor.edit((edit) => edit.insert(new vscode.Position(0, 0), '// not saved\n'));
      await review('Staged Changes');
      await eventually(() => findings()[0]?.range.start.line === 3, 'the finding');
      const pattern = new vscode.RelativePattern(vscode.Uri.joinPath(fileUri(), '..'), '*');
      const watcher = vscode.workspace.createFileSystemWatcher(pattern);
      const told = new Promise<unknown>((resolve) => watcher.onDidChange(resolve));
      await repository.write({ 'src/calls.ts': CHANGED });
      await told;
      watcher.dispose();
      // Whoever heard of it as well has read the file by then.
      await vscode.workspace.fs.readFile(fileUri());
      assert.equal(findings().length, 1);
      await vscode.commands.executeCommand('workbench.action.files.revert');
    });

    it('finds the first line of a file with a mark of its encoding', async () => {
      const first = { ...FINDING, line: 1, code: 'const calls = [1];' };
      await start({ engine: new FixedEngine({ findings: [first] }) });
      await repository.write({ 'src/calls.ts': `\uFEFF${CODE.replace('[]', '[1]')}` });
      await review('Working Tree');
      await eventually(() => findings()[0]?.range.start.line === 0, 'the finding');
    });

    it('says that it is run again on the change as it was', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await stageChange();
      await review('Staged Changes');
      const said = () => /Run again on the change as it was/.test(stage.answerDocument().getText());
      await eventually(() => findings().length > 0, 'the finding');
      assert.ok(!said());
      const { uri } = stage.answerDocument();
      for (let time = 0; time < 2; time++) {
        await vscode.commands.executeCommand(COMMANDS.retryAnswer, uri);
        await eventually(said, 'the note');
      }
      assert.equal(
        stage
          .answerDocument()
          .getText()
          .match(/Run again on/g)?.length,
        1,
      );
    });

    it('drops the findings of a file that is saved', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await repository.write({ 'src/calls.ts': CHANGED });
      await review('Working Tree');
      await eventually(() => findings().length > 0, 'the finding');
      const editor = await vscode.window.showTextDocument(fileUri());
      await editor.edit((edit) => edit.insert(new vscode.Position(0, 0), '// fixed\n'));
      assert.equal(findings().length, 1);
      await editor.document.save();
      await eventually(() => findings().length === 0, 'no finding');
    });

    it('drops the findings of a file whose folder is deleted', async () => {
      // Here the editor watches all of a workspace folder at once, and tells of a folder that goes nothing but its name.
      const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
      assert.ok(root);
      await start(
        { engine: new FixedEngine({ findings: [FINDING] }) },
        mkdtempSync(join(root, 'review-')),
      );
      try {
        await stageChange();
        await review('Staged Changes');
        await eventually(() => findings().length > 0, 'the finding');
        // It takes a moment until it watches what is new.
        await new Promise((resolve) => setTimeout(resolve, 2_000));
        rmSync(join(folder, 'src'), { recursive: true });
        await eventually(() => findings().length === 0, 'no finding');
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

    it('reads the group of changes that was clicked, without asking', async () => {
      await start({ engine: new FixedEngine({ findings: [] }) });
      await stageChange();
      await repository.write({ 'src/calls.ts': `${CHANGED}// not staged\n` });
      for (const [id, seen] of [
        ['index', /limit = 3/],
        ['workingTree', /not staged/],
      ] as const) {
        const before = prompts().length;
        undo();
        undo = choosing([]);
        const group = { id, resourceStates: [{ resourceUri: fileUri() }] };
        await vscode.commands.executeCommand(COMMANDS.reviewChanges, group);
        assert.match(prompts().slice(before - 1), seen);
        assert.equal(/not staged/.test(prompts()), id === 'workingTree');
      }
    });

    it('is cleared by Clear Review', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await stageChange();
      await review('Staged Changes');
      await eventually(() => findings().length > 0, 'the finding');
      await run(COMMANDS.clearReview);
      assert.deepEqual(findings(), []);
    });

    it('compares with a branch', async () => {
      await start({ engine: new FixedEngine({ findings: [FINDING] }) });
      await repository.git('checkout', '-b', 'topic');
      await stageChange();
      await repository.git('commit', '-m', 'Raise the limit');
      await review(/^Compared/, 'main');
      await eventually(() => findings().length > 0, 'the finding');
      assert.match(stage.answerDocument().uri.path, /^\/Review of changes since main/);
    });

    it('offers the working tree when nothing is staged', async () => {
      await start({ engine: new FixedEngine({ findings: [] }) });
      await repository.write({ 'src/calls.ts': CHANGED });
      stage.answer = ({ buttons }) => buttons.find((b) => b === 'Use the Working Tree');
      await review('Staged Changes');
      await eventually(
        () => /No findings in 1 file/.test(stage.answerDocument().getText()),
        'the review',
      );
    });

    it('does nothing when no change is chosen', async () => {
      await start();
      await stageChange();
      await review();
      assert.equal(prompts(), '[]');
      assert.deepEqual(stage.shown, []);
    });

    it('says what to do without Git', async () => {
      await start();
      const extensions = vscode.extensions as unknown as Record<string, unknown>;
      const original = extensions['getExtension'];
      extensions['getExtension'] = () => undefined;
      try {
        await review('Staged Changes');
      } finally {
        extensions['getExtension'] = original;
      }
      assert.match(stage.shown.at(-1)?.text ?? '', /^The Git extension is missing/);
      assert.deepEqual(stage.shown.at(-1)?.buttons, ['Show Extensions']);
    });
  });

  describe('Change Brief', () => {
    it('is written into a document', async () => {
      await start();
      await stageChange();
      await run(COMMANDS.changeBrief, 'Staged Changes');
      await eventually(
        () => /^deep · local/m.test(stage.answerDocument().getText()),
        () => stage.answerDocument().getText(),
      );
      assert.match(stage.answerDocument().getText(), /\*\*Change summary\*\*/);
      assert.equal((await stage.log())[0]?.['tool'], 'change_brief');
    });
  });
});
