import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { type CommandId, COMMANDS, SCHEMES } from '../../src/host/ids';
import { eventually, replacing, Stage } from './support';

const NOTE = 'The limiter admits two calls at once. The others wait in line until one ends.\n';
const LOG = [
  '2026-01-01T00:00:00Z INFO started',
  '2026-01-01T00:00:01Z ERROR database refused the connection',
  '2026-01-01T00:00:02Z ERROR database refused the connection',
  '',
].join('\n');
const SCHEMA =
  '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}';
const BINARY = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 13, 0, 1, 2, 3, 255, 254, 0, 0]);

describe('the commands of jobs', () => {
  let stage: Stage;
  /** The boxes that were shown to type in. */
  let boxes: vscode.InputBoxOptions[];
  /** What is chosen from lists, by label. */
  let chosen: string | undefined;
  let schemaFile: vscode.Uri | undefined;
  const undo: (() => void)[] = [];

  const replace = (name: string, value: unknown): void =>
    void undo.push(replacing(vscode.window, { [name]: value }));

  beforeEach(async () => {
    stage = await Stage.open();
    boxes = [];
    [chosen, schemaFile] = [undefined, undefined];
    replace('showInputBox', async (options: vscode.InputBoxOptions) => {
      boxes.push(options);
      return stage.typed;
    });
    replace('showQuickPick', async (items: vscode.QuickPickItem[]) =>
      items.find(({ label }) => label === chosen),
    );
    replace('showOpenDialog', async () => schemaFile && [schemaFile]);
  });

  afterEach(async () => {
    for (const restore of undo.splice(0).reverse()) restore();
    await stage.dispose();
  });

  const run = (command: CommandId, ...args: unknown[]) =>
    vscode.commands.executeCommand(command, ...args);
  const write = async (name: string, content: string | Uint8Array): Promise<vscode.Uri> => {
    const path = join(stage.folder, name);
    await writeFile(path, content);
    return vscode.Uri.file(path);
  };
  const message = async () => (await eventually(() => stage.shown.at(-1), 'a message')).text;
  const prompts = () =>
    stage.server.requests.filter(({ path }) => path === '/api/chat').map(({ body }) => body);
  /** Documents stay for a while after their editors are closed. */
  const shown = (isWanted: (document: vscode.TextDocument) => boolean) =>
    vscode.window.visibleTextEditors.map(({ document }) => document).find(isWanted);
  const answer = () => shown(({ uri }) => uri.scheme === SCHEMES.answer);
  /** The answer with the line under it. */
  async function answered(tier: string): Promise<string> {
    const isWhole = () => new RegExp(`^${tier} · local`, 'm').test(answer()?.getText() ?? '');
    const seen = () => `the answer, but: ${answer()?.getText()} ${JSON.stringify(stage.shown)}`;
    await eventually(isWhole, seen);
    return answer()?.getText() ?? '';
  }
  function assertNothingSent(): void {
    assert.deepEqual(prompts(), []);
    assert.equal(answer()?.getText(), undefined);
  }

  describe('Classify Selection', () => {
    it('asks for labels and shows one, or says that none is sure', async () => {
      await stage.file('note.txt', NOTE, true);
      stage.typed = 'bug, feature: something new';
      await run(COMMANDS.classifySelection);
      assert.match(await answered('instant'), /bug|feature|No label/);
      assert.match(JSON.stringify(prompts()[0]), /something new/);
      assert.equal((await stage.log())[0]?.['tool'], 'classify');
    });

    it('remembers the labels', async () => {
      await stage.file('note.txt', NOTE, true);
      stage.typed = 'red, green';
      await run(COMMANDS.classifySelection);
      stage.typed = undefined;
      await run(COMMANDS.classifySelection);
      assert.equal(boxes[1]?.value, 'red, green');
    });

    it('says below the box what is wrong with the labels', async () => {
      await stage.file('note.txt', NOTE, true);
      stage.typed = 'bug, Bug';
      await run(COMMANDS.classifySelection);
      assert.equal(await boxes[0]?.validateInput?.('bug, Bug'), 'Two of the labels are the same.');
      assert.equal(await boxes[0]?.validateInput?.('bug, question'), undefined);
      assert.match(await message(), /Two of the labels are the same/);
      assertNothingSent();
    });

    it('does nothing when the box is closed', async () => {
      await stage.file('note.txt', NOTE, true);
      await run(COMMANDS.classifySelection);
      assert.equal(boxes.length, 1);
      assert.deepEqual(stage.shown, []);
      assertNothingSent();
    });

    it('asks for nothing without a selection', async () => {
      await stage.file('note.txt', NOTE);
      await run(COMMANDS.classifySelection);
      assert.match(await message(), /No text is selected/);
      assert.deepEqual(boxes, []);
    });
  });

  describe('Extract', () => {
    const json = () => shown(({ isUntitled, languageId }) => isUntitled && languageId === 'json');

    it('opens data from a selection as a JSON document', async () => {
      await stage.file('note.txt', NOTE, true);
      [chosen, stage.typed] = ['JSON Schema', SCHEMA];
      await run(COMMANDS.extractFromSelection);
      const document = await eventually(json, () => `the data: ${JSON.stringify(stage.shown)}`);
      const data = JSON.parse(document.getText()) as { name: unknown };
      assert.equal(typeof data.name, 'string');
      assert.equal((await stage.log())[0]?.['tool'], 'extract');
      assert.equal(answer()?.getText(), undefined);
    });

    it('reads a whole file, and makes the schema from an example', async () => {
      const uri = await write('note.txt', NOTE);
      [chosen, stage.typed] = ['Example of the Data', '{"born": 1815, "tags": ["poet"]}'];
      await run(COMMANDS.extractFromFile, uri);
      const document = await eventually(json, 'the data');
      const data = JSON.parse(document.getText()) as { born: unknown; tags: unknown };
      assert.equal(typeof data.born, 'number');
      assert.ok(Array.isArray(data.tags));
    });

    it('takes the schema from a file', async () => {
      await stage.file('note.txt', NOTE);
      [chosen, schemaFile] = ['JSON Schema from a File', await write('schema.json', SCHEMA)];
      await run(COMMANDS.extractFromFile);
      assert.ok(await eventually(json, 'the data'));
      assert.deepEqual(boxes, []);
    });

    it('says what is wrong with a schema from a file', async () => {
      await stage.file('note.txt', NOTE);
      [chosen, schemaFile] = ['JSON Schema from a File', await write('schema.json', '{"type": ')];
      await run(COMMANDS.extractFromFile);
      assert.match(await message(), /schema\.json is not a schema\. This is not JSON: /);
      assertNothingSent();
    });

    it('says what is wrong with JSON while it is typed, and keeps it', async () => {
      await stage.file('note.txt', NOTE, true);
      [chosen, stage.typed] = ['JSON Schema', '{"type": "object"'];
      await run(COMMANDS.extractFromSelection);
      const problem = await boxes[0]?.validateInput?.('{"type": ');
      assert.ok(typeof problem === 'string' && problem.startsWith('This is not JSON: '));
      assert.match(await message(), /This is not JSON: .* what you typed is still there\.$/);
      stage.typed = undefined;
      await run(COMMANDS.extractFromSelection);
      assert.equal(boxes[1]?.value, '{"type": "object"');
      assertNothingSent();
    });

    it('shows an answer that does not follow the schema, with what is wrong', async () => {
      await stage.file('note.txt', NOTE, true);
      chosen = 'JSON Schema';
      stage.typed = '{"type": "object", "properties": {"a": {"not": {}}}, "required": ["a"]}';
      await run(COMMANDS.extractFromSelection);
      assert.match(await answered('workhorse'), /The answer does not follow the schema:\n\n- /);
      assert.equal(json(), undefined);
    });

    it('does nothing when no schema is chosen', async () => {
      await stage.file('note.txt', NOTE, true);
      await run(COMMANDS.extractFromSelection);
      schemaFile = undefined;
      chosen = 'JSON Schema from a File';
      await run(COMMANDS.extractFromSelection);
      assert.deepEqual(stage.shown, []);
      assertNothingSent();
    });

    it('says of a text that the editor does not hand on that it is too large, and what reads it', async () => {
      const line = '2026-01-01T00:00:00Z INFO request 4711 took 12 ms, and all is well with it\n';
      const uri = await write('huge.log', line.repeat(Math.ceil(53_000_000 / line.length)));
      for (const command of [
        COMMANDS.extractFromFile,
        COMMANDS.summarizeFile,
        COMMANDS.incidentBrief,
      ]) {
        stage.shown.length = 0;
        await run(command, uri);
        assert.match(await message(), /^huge\.log is too large: .*Triage Log File reads a log/);
      }
      assertNothingSent();
    }).timeout(60_000);

    it('says that a binary file and one that is gone cannot be used', async () => {
      await run(COMMANDS.extractFromFile, await write('picture.bin', BINARY));
      assert.match(await message(), /picture\.bin is not a text file/);
      await run(COMMANDS.extractFromFile, vscode.Uri.file(join(stage.folder, 'gone.txt')));
      assert.match(await message(), /gone\.txt cannot be read/);
      assertNothingSent();
    });

    it('says that the server cannot be reached, and tries again', async () => {
      await stage.file('note.txt', NOTE, true);
      await stage.server.stop();
      [chosen, stage.typed] = ['JSON Schema', SCHEMA];
      let restarted: Promise<void> | undefined;
      stage.answer = ({ buttons }) => {
        restarted = stage.server.start();
        return buttons.find((button) => button === 'Try Again');
      };
      await run(COMMANDS.extractFromSelection);
      await restarted;
      assert.ok(json());
      assert.match(stage.shown[0]?.text ?? '', /Ollama cannot be reached/);
    });
  });

  describe('Triage Log', () => {
    it('reads a log from the explorer without opening it', async () => {
      const uri = await write('server.log', LOG);
      await run(COMMANDS.triageFile, uri);
      assert.match(await answered('instant'), /^3 lines: 2 errors/);
      assert.ok(!vscode.workspace.textDocuments.some((d) => d.uri.toString() === uri.toString()));
    });

    it('reads the log in the editor with what is not saved', async () => {
      const editor = await stage.file('server.log', LOG);
      await editor.edit((edit) =>
        edit.insert(new vscode.Position(0, 0), '2026-01-01T00:00:00Z ERROR not saved\n'),
      );
      await run(COMMANDS.triageFile);
      assert.match(await answered('instant'), /^4 lines: 3 errors/);
    });

    it('reads a selection', async () => {
      const editor = await stage.file('server.log', LOG);
      editor.selection = new vscode.Selection(0, 0, 1, 60);
      await run(COMMANDS.triageSelection);
      assert.match(await answered('instant'), /^2 lines: 1 error/);
    });

    it('reads a log that the editor would not open', async () => {
      const line = '2026-01-01T00:00:00Z INFO request 4711 took 12 ms, and all is well with it\n';
      const text = line.repeat(Math.ceil(51_000_000 / line.length)) + LOG;
      const uri = await write('huge.log', text);
      await run(COMMANDS.triageFile, uri);
      const lines = text.split('\n').length - 1;
      assert.ok(
        (await answered('instant')).startsWith(`${lines.toLocaleString('en-US')} lines: 2 errors`),
      );
    }).timeout(60_000);

    it('says that a binary file, an empty one and one that is gone cannot be used', async () => {
      await run(COMMANDS.triageFile, await write('picture.log', BINARY));
      assert.match(await message(), /picture\.log is not a text file/);
      await run(COMMANDS.triageFile, await write('empty.log', '\n'));
      assert.match(await message(), /empty\.log is empty/);
      await run(COMMANDS.triageFile, vscode.Uri.file(join(stage.folder, 'gone.log')));
      assert.match(await message(), /gone\.log cannot be read/);
      assertNothingSent();
    });

    describe('from a terminal', () => {
      let terminal: vscode.Terminal;
      const clipboard = vscode.env.clipboard;

      beforeEach(async () => {
        const written = new vscode.EventEmitter<string>();
        let isOpen = false;
        terminal = vscode.window.createTerminal({
          name: 'log',
          pty: {
            onDidWrite: written.event,
            open: () => {
              written.fire(LOG.replaceAll('\n', '\r\n'));
              isOpen = true;
            },
            close: () => written.dispose(),
          },
        });
        terminal.show();
        await eventually(() => isOpen, 'the terminal');
        await clipboard.writeText('what was there');
      });

      afterEach(() => terminal.dispose());

      it('reads the selection, and the clipboard has its text again', async () => {
        let text = '';
        while (!text.includes('refused')) {
          await vscode.commands.executeCommand('workbench.action.terminal.selectAll');
          await vscode.commands.executeCommand('workbench.action.terminal.copySelection');
          text = await clipboard.readText();
        }
        await clipboard.writeText('what was there');
        await run(COMMANDS.triageTerminal);
        assert.match(await answered('instant'), /2 errors/);
        assert.equal(await clipboard.readText(), 'what was there');
      });

      it('without a selection never takes the clipboard for a log', async () => {
        await vscode.commands.executeCommand('workbench.action.terminal.clearSelection');
        await run(COMMANDS.triageTerminal);
        assert.match(await message(), /No text is selected in the terminal/);
        assert.equal(await clipboard.readText(), 'what was there');
        assertNothingSent();
      });
    });
  });

  describe('Ask About Files', () => {
    let folder: string;

    beforeEach(async () => {
      const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
      assert.ok(root);
      folder = await mkdtemp(join(root, 'ask-'));
      await mkdir(join(folder, 'src'));
      await writeFile(join(folder, 'README.md'), NOTE);
      await writeFile(join(folder, 'src', 'limiter.ts'), 'export const limit = 2;\n');
      stage.typed = 'How many calls run at once?';
    });

    afterEach(() => rm(folder, { recursive: true, force: true }));

    const at = (...names: string[]) => vscode.Uri.file(join(folder, ...names));
    const sent = () => JSON.stringify(prompts());

    it('reads a folder and answers', async () => {
      await run(COMMANDS.askFiles, at(), [at()]);
      await answered('deep');
      assert.match(sent(), /How many calls run at once/);
      assert.match(sent(), /The limiter admits two calls/);
      assert.match(sent(), /export const limit/);
      assert.equal((await stage.log())[0]?.['tool'], 'research');
      assert.equal(boxes[0]?.title, 'Ask About 2 files');
    });

    it('reads all files that are marked, and no others', async () => {
      await writeFile(join(folder, 'other.txt'), 'Nobody asked for this.\n');
      await run(COMMANDS.askFiles, at('README.md'), [at('README.md'), at('src', 'limiter.ts')]);
      await answered('deep');
      assert.match(sent(), /export const limit/);
      assert.doesNotMatch(sent(), /Nobody asked/);
    });

    it('reads the active file, with what is not saved', async () => {
      const editor = await vscode.window.showTextDocument(at('README.md'));
      await editor.edit((edit) => edit.insert(new vscode.Position(0, 0), 'Not saved yet.\n'));
      await run(COMMANDS.askFiles);
      await answered('deep');
      assert.match(sent(), /Not saved yet/);
    });

    it('says what it left out, before it asks and under the answer', async () => {
      await writeFile(join(folder, 'picture.png'), BINARY);
      await writeFile(join(stage.folder, 'secret.txt'), 'the secret of the house\n');
      await symlink(join(stage.folder, 'secret.txt'), join(folder, 'link.txt'));
      await run(COMMANDS.askFiles, at(), [at()]);
      const whole = await answered('deep');
      for (const text of [whole, boxes[0]?.prompt ?? '']) {
        assert.match(text, /Left out \(not text\): .*picture\.png\./);
        assert.match(text, /Left out \(outside of the workspace\): .*link\.txt\./);
      }
      assert.doesNotMatch(sent(), /secret of the house/);
    });

    it('does nothing when the box is closed', async () => {
      stage.typed = undefined;
      await run(COMMANDS.askFiles, at(), [at()]);
      assert.equal(boxes.length, 1);
      assert.deepEqual(stage.shown, []);
      assertNothingSent();
    });

    it('wants a question', async () => {
      stage.typed = ' ';
      await run(COMMANDS.askFiles, at(), [at()]);
      assert.match(await message(), /There is no question/);
      assertNothingSent();
    });

    it('asks nothing when there is nothing to read', async () => {
      await writeFile(join(folder, 'picture.png'), BINARY);
      const outside = await write('outside.txt', NOTE);
      for (const [uri, why] of [
        [at('picture.png'), /nothing to read\. Left out \(not text\)/],
        [at('gone.txt'), /nothing to read\. Left out \(could not be read\)/],
        [outside, /nothing to read\. Left out \(outside of the workspace\)/],
        [vscode.Uri.parse('untitled:Untitled-1'), /not a file in the open folder/],
      ] as const) {
        await run(COMMANDS.askFiles, uri);
        assert.match(await message(), why);
      }
      assert.deepEqual(boxes, []);
      assertNothingSent();
    });
  });
});
