import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { type CommandId, COMMANDS, SCHEMES } from '../../src/host/ids';
import { faults, type RecordedRequest } from '../support/ollama/server';
import { eventually, isOutput, replacing, showOutput, Stage } from './support';

const LOG = [
  '2026-01-01T00:00:00Z INFO started',
  '2026-01-01T00:00:01Z ERROR database refused the connection',
  '',
].join('\n');
const SCHEMA =
  '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}';
const BINARY = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 13, 0, 1, 2, 3]);

describe('batches', () => {
  let stage: Stage;
  let folder: string;
  let boxes: vscode.InputBoxOptions[];
  const undo: (() => void)[] = [];

  const replace = (name: string, value: unknown): void =>
    void undo.push(replacing(vscode.window, { [name]: value }));

  beforeEach(async () => {
    stage = await Stage.open();
    const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
    assert.ok(root);
    folder = await mkdtemp(join(root, 'batch-'));
    boxes = [];
    replace('showInputBox', async (options: vscode.InputBoxOptions) => {
      boxes.push(options);
      return stage.typed;
    });
    replace('showQuickPick', async (items: vscode.QuickPickItem[]) =>
      items.find(({ label }) => label === 'JSON Schema'),
    );
    stage.typed = 'bug, feature';
  });

  afterEach(async () => {
    for (const restore of undo.splice(0).reverse()) restore();
    await stage.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const run = (command: CommandId, ...args: unknown[]) =>
    vscode.commands.executeCommand(command, ...args);
  const at = (name: string) => vscode.Uri.file(join(folder, name));
  async function put(...files: [name: string, content: string | Uint8Array][]) {
    for (const [name, content] of files) await writeFile(join(folder, name), content);
    return files.map(([name]) => at(name));
  }
  const asks = (text: string) => (request: RecordedRequest) =>
    request.path === '/api/chat' && JSON.stringify(request.body).includes(text);
  const prompts = () => stage.server.requests.filter(asks(''));
  const answers = () =>
    vscode.window.visibleTextEditors
      .map(({ document }) => document)
      .filter(({ uri }) => uri.scheme === SCHEMES.answer);
  async function answered(pattern: RegExp): Promise<string> {
    const text = () => answers().at(-1)?.getText() ?? '';
    await eventually(
      () => pattern.test(text()),
      () => `${pattern.source} in: ${text()} ${JSON.stringify(stage.shown)}`,
    );
    return text();
  }
  const json = () =>
    vscode.window.visibleTextEditors
      .map(({ document }) => document)
      .findLast(({ isUntitled, languageId }) => isUntitled && languageId === 'json');
  const data = async () => {
    const document = await eventually(json, () => `the data: ${JSON.stringify(stage.shown)}`);
    return JSON.parse(document.getText()) as Record<string, unknown>[];
  };

  describe('of selections', () => {
    async function select(...lines: number[]): Promise<void> {
      const editor = await stage.file('note.txt', 'It crashes.\n\nAdd a button.\nA [link](x).\n');
      editor.selections = lines.map((line) => {
        const { range } = editor.document.lineAt(line);
        return new vscode.Selection(range.start, range.end);
      });
    }

    it('classify each on its own, in one document', async () => {
      await select(2, 0, 3);
      await run(COMMANDS.classifySelection);
      const text = await answered(/^3 selections · /m);
      const [first = '', second = '', third = ''] = text.split('\n');
      assert.match(
        first,
        /^- line 1, It crashes\.: (\*\*(bug|feature)\*\* \(\d+ % sure\)|No label)/,
      );
      assert.match(second, /^- line 3, Add a button\.: /);
      assert.match(third, /^- line 4, A \\\[link\]\(x\)\.: /);
      assert.match(text, /^3 selections · \S+ m?s · \d+→\d+ tokens$/m);
      assert.match(text, /^instant · local · hermes3:8b$/m);
      assert.equal(answers().length, 1);
      assert.equal(prompts().length, 3);
      const calls = (await stage.log()).map(({ tool }) => tool);
      assert.deepEqual(calls, ['classify', 'classify', 'classify']);
    });

    it('run all of them again', async () => {
      await select(0, 2);
      await run(COMMANDS.classifySelection);
      await answered(/^2 selections · /m);
      const [document] = answers();
      await run(COMMANDS.retryAnswer, document?.uri);
      await answered(/^2 selections · /m);
      assert.equal(prompts().length, 4);
      assert.equal(answers().length, 1);
    });

    it('of which one alone is not blank are no batch', async () => {
      await select(0, 1);
      await run(COMMANDS.classifySelection);
      await answered(/^instant · local · hermes3:8b · /m);
      assert.equal(prompts().length, 1);
    });
  });

  describe('of files', () => {
    it('classify each, and say what was left out before labels are asked for', async () => {
      await put(['a.txt', 'It crashes.\n'], ['b.txt', 'Add a button.\n'], ['c.png', BINARY]);
      await run(COMMANDS.classifyFiles, at('.'), [at('.')]);
      const text = await answered(/^2 files · /m);
      assert.match(text, /^- batch-\w+\/a\.txt: .*\n- batch-\w+\/b\.txt: /);
      for (const told of [text, boxes[0]?.prompt ?? '']) {
        assert.match(told, /Left out \(not text\): batch-\w+\/c\.png\./);
      }
      assert.equal(answers()[0]?.uri.path, '/Labels of 2 files');
    });

    it('classify nothing outside of the workspace', async () => {
      const outside = join(stage.folder, 'outside.txt');
      await writeFile(outside, 'secret\n');
      await run(COMMANDS.classifyFiles, vscode.Uri.file(outside));
      assert.match(stage.shown.at(-1)?.text ?? '', /nothing to read\. Left out \(outside/);
      assert.deepEqual(boxes, []);
      assert.deepEqual(prompts(), []);
    });

    it('triage each under a heading of its own', async () => {
      const uris = await put(['one.log', LOG], ['two.log', LOG + LOG]);
      await run(COMMANDS.triageFile, uris[0], uris);
      const text = await answered(/^2 files · /m);
      assert.match(text, /^# batch-\w+\/one\.log\n\n2 lines: 1 error/);
      assert.match(text, /^# batch-\w+\/two\.log\n\n4 lines: 2 errors/m);
      assert.equal((await stage.log()).filter((l) => l['tool'] === 'triage_logs').length, 2);
    });

    it('go on when one fails, offer to try again, and then ask only for that one', async () => {
      const uris = await put(['a.txt', 'It crashes.\n'], ['b.txt', 'Add a button.\n']);
      stage.server.faults.next({ ...faults.status(500, 'boom'), match: asks('crashes') });
      let tried = 0;
      stage.answer = ({ buttons }) =>
        tried++ === 0 ? buttons.find((button) => button === 'Try Again') : undefined;
      await run(COMMANDS.classifyFiles, uris[0], uris);
      const message = await eventually(() => stage.shown[0], 'the message');
      assert.match(message.text, /^1 of 2 files failed\. /);
      assert.ok(message.buttons.includes('Try Again'), message.buttons.join());
      await answered(/^2 files · /m);
      assert.equal(prompts().length, 3);
      assert.equal(prompts().filter(asks('Add a button')).length, 1);
    });

    it('say of each what is wrong when all fail', async () => {
      const uris = await put(['a.txt', 'It crashes.\n'], ['b.txt', 'Add a button.\n']);
      await stage.server.stop();
      await run(COMMANDS.classifyFiles, uris[0], uris);
      const text = await answered(/^0 of 2 files · /m);
      assert.equal(text.match(/^- \S+: Ollama cannot be reached/gm)?.length, 2);
      const message = await eventually(() => stage.shown[0], 'the message');
      assert.match(message.text, /^2 of 2 files failed\. Ollama cannot be reached/);
      assert.ok(message.buttons.includes('Start Ollama'));
    });

    it('end at once when they are cancelled, and keep what there is', async () => {
      await stage.set({ maxConcurrent: 1 });
      const uris = await put(['a.txt', 'One.\n'], ['b.txt', 'Two.\n'], ['c.txt', 'Three.\n']);
      stage.server.faults.next({ ...faults.hang(), match: asks('Two.') });
      const { withProgress } = vscode.window;
      let cancel: (() => void) | undefined;
      replace('withProgress', (options: vscode.ProgressOptions, task: (...a: unknown[]) => never) =>
        withProgress(options, (progress) => {
          const source = new vscode.CancellationTokenSource();
          cancel = () => source.cancel();
          return task(progress, source.token);
        }),
      );
      const running = run(COMMANDS.classifyFiles, uris[0], uris);
      const hung = await stage.server.waitForRequest(asks('Two.'));
      await answered(/^file 2 of 3$/m);
      cancel?.();
      await running;
      const text = await answered(/Stopped by you\. What stands above is incomplete\./);
      assert.match(text, /a\.txt: (\*\*|No).*\n- \S+b\.txt: …\n- \S+c\.txt: …\n/);
      await stage.server.waitFor(() => hung.abortedAt);
      assert.equal(prompts().length, 2);
      assert.deepEqual(stage.shown, []);
    });

    describe('whose data is extracted', () => {
      beforeEach(() => {
        stage.typed = SCHEMA;
      });

      it('give one list, with the source of each', async () => {
        const uris = await put(['a.txt', 'Ada.\n'], ['b.txt', 'Grace.\n']);
        await run(COMMANDS.extractFromFile, uris[0], uris);
        const list = await data();
        assert.deepEqual(
          list.map((one) => [String(one['source']).replace(/.*\//, ''), Object.keys(one)]),
          [
            ['a.txt', ['source', 'data']],
            ['b.txt', ['source', 'data']],
          ],
        );
        assert.equal(typeof (list[0]?.['data'] as { name: unknown }).name, 'string');
        assert.deepEqual(answers(), []);
        assert.equal(boxes.length, 1);
      });

      it('lose none that failed or was left out', async () => {
        const uris = await put(['a.txt', 'Ada.\n'], ['b.txt', 'Grace.\n'], ['c.png', BINARY]);
        stage.server.faults.next({ ...faults.status(500, 'boom'), match: asks('Ada.') });
        await run(COMMANDS.extractFromFile, uris[0], uris);
        const list = await data();
        assert.equal(list.length, 3);
        assert.match(String(list[0]?.['problems']), /Ollama/);
        assert.ok('data' in (list[1] ?? {}));
        assert.deepEqual(list[2]?.['problems'], ['Left out: not text.']);
        const shown = stage.shown.map(({ text }) => text).join('\n');
        assert.match(shown, /Left out \(not text\)/);
        assert.match(shown, /^1 of 2 files failed\. /m);
      });

      it('say of each what does not fit the schema', async () => {
        const uris = await put(['a.txt', 'Ada.\n'], ['b.txt', 'Grace.\n']);
        stage.typed = '{"type": "object", "properties": {"a": {"not": {}}}, "required": ["a"]}';
        await run(COMMANDS.extractFromFile, uris[0], uris);
        const list = await data();
        assert.equal(list.length, 2);
        for (const one of list) assert.ok(Array.isArray(one['problems']));
      });

      it('ask for nothing when the schema is not given', async () => {
        const uris = await put(['a.txt', 'Ada.\n'], ['b.txt', 'Grace.\n']);
        stage.typed = undefined;
        await run(COMMANDS.extractFromFile, uris[0], uris);
        assert.deepEqual(prompts(), []);
        assert.equal(json(), undefined);
      });

      it('leave the way of a single file as it was', async () => {
        const uris = await put(['a.txt', 'Ada.\n']);
        await run(COMMANDS.extractFromFile, uris[0], uris);
        const found = (await data()) as unknown as { name: unknown };
        assert.equal(typeof found.name, 'string');
      });
    });

    it('in folders are read with what is below', async () => {
      await mkdir(join(folder, 'logs'));
      await put(['logs/one.log', LOG], ['two.log', LOG]);
      await run(COMMANDS.triageFile, at('two.log'), [at('logs'), at('two.log')]);
      assert.match(await answered(/^2 files · /m), /logs\/one\.log\n/);
    });
  });
});

describe('Triage Output', () => {
  let stage: Stage;
  let output: vscode.OutputChannel;

  beforeEach(async () => {
    stage = await Stage.open();
    output = vscode.window.createOutputChannel('batch-of-tests');
  });

  afterEach(async () => {
    output.dispose();
    await vscode.commands.executeCommand('workbench.action.closePanel');
    await stage.dispose();
  });

  it('reads what the panel shows', async () => {
    output.append(LOG);
    await showOutput(output);
    await vscode.commands.executeCommand(COMMANDS.triageOutput);
    const whole = () => /^instant · local/m.test(stage.answerDocument().getText());
    await eventually(whole, () => stage.answerDocument().getText());
    assert.match(stage.answerDocument().getText(), /^2 lines: 1 error/);
    assert.equal(stage.answerDocument().uri.path, '/Triage of the output');
  });

  it('says that the panel shows nothing', async () => {
    output.show();
    const isShown = () =>
      vscode.window.visibleTextEditors.some(({ document }) => isOutput(document, output));
    await eventually(isShown, 'the panel');
    await vscode.commands.executeCommand(COMMANDS.triageOutput);
    assert.match(stage.shown.at(-1)?.text ?? '', /^The Output panel shows nothing\. /);
    assert.deepEqual(stage.shown.at(-1)?.buttons, ['Open Output']);
  });
});
