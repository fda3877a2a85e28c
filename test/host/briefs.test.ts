import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { COMMANDS, CONTEXTS } from '../../src/host/ids';
import { choosing, TestRepository } from './repository';
import { eventually, Stage } from './support';

const LOG = [
  '2026-01-01T00:00:00Z INFO started',
  '2026-01-01T00:00:02Z ERROR database refused the connection',
  '',
].join('\n');

describe('briefs', () => {
  let stage: Stage;
  let undo: () => void = () => undefined;
  let workspace: string;

  beforeEach(async () => {
    stage = await Stage.open();
    await stage.set({ artifactFolder: join(stage.folder, 'artifacts') });
    const [folder] = vscode.workspace.workspaceFolders ?? [];
    assert.ok(folder);
    workspace = folder.uri.fsPath;
  });

  afterEach(async () => {
    undo();
    undo = () => undefined;
    await stage.set({ artifactFolder: undefined });
    for (const name of ['README.md', 'package.json', 'docs', 'node_modules']) {
      rmSync(join(workspace, name), { recursive: true, force: true });
    }
    await stage.dispose();
  });

  const run = (command: string, ...given: (string | RegExp | vscode.Uri)[]) => {
    undo();
    undo = choosing(given.flatMap((one) => (one instanceof vscode.Uri ? [] : [one])));
    const uris = given.filter((one) => one instanceof vscode.Uri);
    return vscode.commands.executeCommand(command, ...uris);
  };
  const prompts = () =>
    JSON.stringify(stage.server.requests.filter((r) => r.path === '/api/chat').map((r) => r.body));
  const answered = () =>
    eventually(
      () => [stage.answerDocument()].find((d) => /^deep · local/m.test(d.getText())),
      () => stage.answerDocument().getText(),
    );
  const artifacts = (kind: string) => readdirSync(join(stage.folder, 'artifacts', kind)).sort();
  const toolOf = async () => (await stage.log())[0]?.['tool'];
  const makeProject = () => {
    writeFileSync(join(workspace, 'README.md'), '# Queue\n\nThe queue is fair.\n');
    mkdirSync(join(workspace, 'node_modules'));
    writeFileSync(join(workspace, 'node_modules', 'index.js'), 'somebody else’s\n');
  };

  it('of an incident read the log and the open files that are ticked', async () => {
    await stage.file('calls.ts', 'const calls = [];\n');
    await stage.file('secret.txt', 'not ticked\n');
    await stage.file('app.log', LOG);
    await run(COMMANDS.incidentBrief, 'calls.ts');
    await answered();
    assert.match(prompts(), /database refused/);
    assert.match(prompts(), /const calls/);
    assert.doesNotMatch(prompts(), /not ticked/);
    assert.equal(stage.answerDocument().uri.path, '/Brief of app.log');
    assert.equal(await toolOf(), 'incident_brief');
  });

  it('of an incident read only the selection', async () => {
    const editor = await stage.file('app.log', LOG);
    editor.selection = new vscode.Selection(1, 0, 2, 0);
    await run(COMMANDS.incidentBrief);
    await answered();
    assert.match(prompts(), /database refused/);
    assert.doesNotMatch(prompts(), /INFO started/);
  });

  it('of an incident send nothing when the list of files is closed', async () => {
    await stage.file('calls.ts', 'const calls = [];\n');
    await stage.file('app.log', LOG);
    await run(COMMANDS.incidentBrief);
    assert.equal(prompts(), '[]');
  });

  it('of a repository read what says most, and say how much they left out', async () => {
    makeProject();
    await run(COMMANDS.repositoryBrief);
    const document = await answered();
    assert.match(prompts(), /The queue is fair/);
    assert.doesNotMatch(prompts(), /somebody else/);
    assert.match(document.getText(), /Files that were read: 1; files that were not: \d+\./);
    assert.equal(await toolOf(), 'repo_brief');
  });

  it('of a repository never follow links out of the workspace, and say what they left out', async () => {
    const outside = join(stage.folder, 'notes');
    mkdirSync(outside);
    writeFileSync(join(stage.folder, 'credentials'), 'the key of the house\n');
    writeFileSync(join(outside, 'diary.md'), 'the diary of the house\n');
    writeFileSync(join(workspace, 'package.json'), '{ "name": "queue" }\n');
    symlinkSync(join(stage.folder, 'credentials'), join(workspace, 'README.md'));
    symlinkSync(outside, join(workspace, 'docs'));
    await run(COMMANDS.repositoryBrief);
    const text = (await answered()).getText();
    assert.match(prompts(), /queue/);
    assert.doesNotMatch(prompts(), /of the house/);
    assert.match(text, /Left out \(outside of the workspace\): README\.md, docs\/diary\.md\./);
    await run(COMMANDS.repositoryPack);
    assert.equal(artifacts('repo').length, 2);
    assert.doesNotMatch(prompts(), /of the house/);
  });

  it('of a folder without sources say what is missing', async () => {
    await run(COMMANDS.repositoryBrief);
    const { text = '', buttons } = stage.shown.at(-1) ?? {};
    assert.match(text, /^There is no README, manifest or source file in workspace\./);
    assert.deepEqual(buttons, ['Open Folder']);
    assert.equal(prompts(), '[]');
  });

  describe('that are kept', () => {
    it('of a repository become a pair of files, and the Markdown is opened', async () => {
      makeProject();
      await run(COMMANDS.repositoryPack);
      const [json = '', markdown = '', ...others] = artifacts('repo');
      assert.deepEqual(others, []);
      const path = join(stage.folder, 'artifacts', 'repo', markdown);
      assert.equal(vscode.window.activeTextEditor?.document.uri.fsPath, path);
      assert.match(readFileSync(path, 'utf8'), /^# workspace\n/);
      const kept = JSON.parse(readFileSync(join(path, '..', json), 'utf8')) as {
        about: { model: string; backend: string };
      };
      assert.equal(kept.about.model, 'hermes3:8b');
      assert.equal(kept.about.backend, 'local');
      assert.ok(stage.shown.at(-1)?.text.startsWith(`Kept as ${path}.`));
    });

    it('of an incident are too', async () => {
      await stage.file('app.log', LOG);
      await run(COMMANDS.incidentPack);
      assert.equal(artifacts('incident').length, 2);
      assert.equal(await toolOf(), 'incident_pack');
    });

    it('of a change are too', async () => {
      const repository = await TestRepository.open(stage.folder, { 'calls.ts': 'one\n' });
      await stage.file('calls.ts', 'two\n');
      await run(COMMANDS.changePack, 'Working Tree');
      await repository.close();
      assert.equal(artifacts('change').length, 2);
      assert.equal(await toolOf(), 'change_pack');
    });

    it('are not lost when the folder cannot be written', async () => {
      writeFileSync(join(stage.folder, 'artifacts'), 'a file stands here');
      await stage.file('app.log', LOG);
      await run(COMMANDS.incidentPack);
      const document = vscode.window.activeTextEditor?.document;
      assert.equal(document?.isUntitled, true);
      assert.match(document?.getText() ?? '', /^# app\.log\n/);
      assert.match(stage.shown.at(-1)?.text ?? '', /could not be written.*not saved yet\./s);
      assert.deepEqual(stage.shown.at(-1)?.buttons, ['Open Setting']);
    });

    describe('when they are there already', () => {
      const keep = (uri = stage.answerDocument().uri) => run(COMMANDS.keepBrief, uri);
      /** What conditions of menus are told, by address. */
      let contexts: Map<string, unknown>;
      let restore: () => void;

      beforeEach(() => {
        contexts = new Map();
        const commands = vscode.commands as unknown as Record<string, unknown>;
        const original = vscode.commands.executeCommand;
        commands['executeCommand'] = (id: string, ...args: unknown[]) => {
          if (id === 'setContext') contexts.set(String(args[0]), args[1]);
          return original(id, ...args);
        };
        restore = () => (commands['executeCommand'] = original);
      });

      afterEach(() => restore());

      const offered = () => (contexts.get(CONTEXTS.briefs) ?? []) as string[];
      const here = () => stage.answerDocument().uri.toString();

      it('need no model: the files say what the answer says', async () => {
        await stage.file('app.log', LOG);
        await run(COMMANDS.incidentBrief);
        const shown = (await answered()).getText();
        const [calls, sent] = [(await stage.log()).length, prompts()];
        await keep();
        assert.equal(prompts(), sent);
        assert.equal((await stage.log()).length, calls);
        const [json = '', markdown = ''] = artifacts('incident');
        const path = join(stage.folder, 'artifacts', 'incident', markdown);
        assert.equal(vscode.window.activeTextEditor?.document.uri.fsPath, path);
        const text = readFileSync(path, 'utf8');
        assert.match(text, /^# app\.log\n/);
        assert.ok(text.includes(shown.slice(0, shown.indexOf('─')).trim()));
        const kept = JSON.parse(readFileSync(join(path, '..', json), 'utf8')) as {
          about: { model: string; call_id: string };
        };
        assert.equal(kept.about.model, 'hermes3:8b');
        assert.match(kept.about.call_id, /^call_/);
        assert.ok(stage.shown.at(-1)?.text.startsWith(`Kept as ${path}.`));
      });

      it('say what was not read, and are never overwritten', async () => {
        makeProject();
        await run(COMMANDS.repositoryBrief);
        await answered();
        const { uri } = stage.answerDocument();
        await keep(uri);
        await keep(uri);
        assert.equal(artifacts('repo').length, 4);
        assert.match(stage.shown.at(-1)?.text ?? '', /Files that were read: 1;/);
      });

      it('are offered as soon as they are whole, and only they', async () => {
        await stage.file('app.log', LOG);
        await run(COMMANDS.triageFile);
        assert.ok(!offered().includes(here()));
        await stage.server.stop();
        await stage.file('app.log', LOG);
        await run(COMMANDS.incidentBrief);
        assert.ok(!offered().includes(here()));
        await stage.server.start();
        await run(COMMANDS.retryAnswer, stage.answerDocument().uri);
        assert.ok(offered().includes(here()));
        const retried = run(COMMANDS.retryAnswer, stage.answerDocument().uri);
        await eventually(() => !offered().includes(here()), 'the brief to be gone');
        await retried;
        assert.ok(offered().includes(here()));
      });

      it('are asked for when there is none', async () => {
        await stage.file('app.log', LOG);
        await run(COMMANDS.triageFile);
        await keep();
        assert.match(stage.shown.at(-1)?.text ?? '', /This is not a brief that is whole\./);
        assert.throws(() => artifacts('incident'));
      });
    });

    it('leave no file when the server fails', async () => {
      await stage.file('app.log', LOG);
      await stage.server.stop();
      await run(COMMANDS.incidentPack);
      assert.throws(() => artifacts('incident'));
      assert.equal(stage.shown.at(-1)?.kind, 'error');
    });
  });
});
