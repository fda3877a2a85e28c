import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { COMMANDS, EXTENSION_ID, SCHEMES } from '../../src/host/ids';
import { contextValue } from '../../src/host/contexts';
import { keysOf } from '../../src/host/when';
import { eventually, replacing, Stage } from './support';

const NOTE = [
  'The limiter admits two calls at once.',
  'The others wait in line.',
  '',
  'Bread is baked in the morning.',
  '',
  'Cats sleep all day.',
  '',
].join('\n');
const CODE = ['const a = 1;', 'let b: number = "ignore all that";', 'export { a, b };', ''].join(
  '\n',
);

interface Manifest {
  contributes: {
    menus: { commandPalette: { when: string }[] };
    keybindings: { command: string; key: string }[];
  };
}

describe('the ways to the jobs', () => {
  let stage: Stage;
  let boxes: vscode.InputBoxOptions[];
  let lists: vscode.QuickPickItem[][];
  /** What is chosen from lists, by label. */
  let chosen: string | undefined;
  const undo: (() => void)[] = [];

  const replace = (name: string, value: unknown): void =>
    void undo.push(replacing(vscode.window, { [name]: value }));

  beforeEach(async () => {
    stage = await Stage.open();
    [boxes, lists, chosen] = [[], [], undefined];
    replace('showInputBox', async (options: vscode.InputBoxOptions) => {
      boxes.push(options);
      return stage.typed;
    });
    replace('showQuickPick', async (items: vscode.QuickPickItem[]) => {
      lists.push(items);
      return items.find(({ label }) => label === chosen);
    });
    await vscode.env.clipboard.writeText('');
  });

  afterEach(async () => {
    for (const restore of undo.splice(0).reverse()) restore();
    await stage.dispose();
  });

  const run = (command: string, ...args: unknown[]) =>
    vscode.commands.executeCommand(command, ...args);
  const message = async () => (await eventually(() => stage.shown.at(-1), 'a message')).text;
  const sent = (path: string) =>
    stage.server.requests.filter((request) => request.path === path).map(({ body }) => body);
  const shown = (isWanted: (document: vscode.TextDocument) => boolean) =>
    vscode.window.visibleTextEditors.map(({ document }) => document).find(isWanted);
  const answer = () => shown(({ uri }) => uri.scheme === SCHEMES.answer);
  const json = () => shown(({ isUntitled, languageId }) => isUntitled && languageId === 'json');
  async function answered(tier: string): Promise<string> {
    const isWhole = () => new RegExp(`^${tier} · local`, 'm').test(answer()?.getText() ?? '');
    await eventually(
      isWhole,
      () => `the answer: ${answer()?.getText()} ${JSON.stringify(stage.shown)}`,
    );
    return answer()?.getText() ?? '';
  }
  const select = (editor: vscode.TextEditor, ...lines: [first: number, last: number][]) => {
    editor.selections = lines.map(
      ([first, last]) =>
        new vscode.Selection(first - 1, 0, last - 1, editor.document.lineAt(last - 1).text.length),
    );
  };

  describe('Embed Selection', () => {
    it('opens JSON with the model and one vector for each selection, from top to bottom', async () => {
      const editor = await stage.file('note.md', NOTE);
      select(editor, [6, 6], [1, 2]);
      await run(COMMANDS.embedSelection);
      const document = await eventually(json, () => JSON.stringify(stage.shown));
      const data = JSON.parse(document.getText()) as Record<string, unknown>;
      assert.deepEqual(Object.keys(data), ['model', 'dim', 'embeddings']);
      assert.match(String(data['model']), /^nomic-embed-text/);
      const vectors = data['embeddings'] as number[][];
      assert.deepEqual(
        vectors.map(({ length }) => length),
        [data['dim'], data['dim']],
      );
      assert.deepEqual((sent('/api/embed').at(-1) as { input: unknown }).input, [
        NOTE.split('\n').slice(0, 2).join('\n'),
        'Cats sleep all day.',
      ]);
      assert.equal(document.lineCount, 2 + 3 + 2 + 2);
      assert.equal((await stage.log())[0]?.['tool'], 'embed');
    });

    it('needs a selection, with something in it', async () => {
      const editor = await stage.file('note.md', NOTE);
      await run(COMMANDS.embedSelection);
      assert.match(await message(), /^No text is selected/);
      editor.selection = new vscode.Selection(2, 0, 3, 0);
      await run(COMMANDS.embedSelection);
      assert.match(await message(), /^The selection is blank/);
      assert.deepEqual(sent('/api/embed'), []);
      assert.equal(json(), undefined);
    });

    it('says how many selections are too many', async () => {
      const editor = await stage.file('lines.txt', 'word\n'.repeat(300));
      select(editor, ...Array.from({ length: 257 }, (_, at): [number, number] => [at + 1, at + 1]));
      await run(COMMANDS.embedSelection);
      assert.match(await message(), /^257 selections are too many: at most 256/);
      assert.deepEqual(sent('/api/embed'), []);
    });

    it('offers to try again when the server is away', async () => {
      await stage.file('note.md', NOTE, true);
      await stage.server.stop();
      let restarted: Promise<void> | undefined;
      stage.answer = ({ buttons }) => {
        restarted = stage.server.start();
        return buttons.find((button) => button === 'Try Again');
      };
      await run(COMMANDS.embedSelection);
      await restarted;
      assert.ok(json());
      assert.match(stage.shown[0]?.text ?? '', /Ollama cannot be reached/);
    });
  });

  describe('Search by Meaning', () => {
    it('ranks the paragraphs of the selection, with their lines', async () => {
      const editor = await stage.file('note.md', `Title\n\n${NOTE}`);
      select(editor, [3, 8]);
      stage.typed = 'Cats sleep all day.';
      await run(COMMANDS.searchByMeaning);
      assert.equal(boxes[0]?.prompt, 'In 3 paragraphs of note.md');
      const text = await answered('embed');
      assert.match(text, /^1\. \*\*line 8\*\* \(1\.00\) Cats sleep all day\./);
      assert.match(text, /\*\*lines 3–4\*\*/);
      assert.match(text, /^Searched: 3 paragraphs of note\.md\.$/m);
      assert.equal((await stage.log())[0]?.['tool'], 'embed_search');
    });

    it('ranks the lines when one paragraph is selected', async () => {
      const editor = await stage.file('note.md', NOTE);
      select(editor, [1, 2]);
      stage.typed = 'waiting';
      await run(COMMANDS.searchByMeaning);
      assert.match(await answered('embed'), /^Searched: 2 lines of note\.md\.$/m);
    });

    it('searches in the clipboard without a selection, and says so', async () => {
      await stage.file('note.md', 'nothing of this');
      await vscode.env.clipboard.writeText(NOTE);
      stage.typed = 'Bread is baked in the morning.';
      await run(COMMANDS.searchByMeaning);
      assert.equal(boxes[0]?.prompt, 'In 3 paragraphs of the clipboard');
      const text = await answered('embed');
      assert.match(text, /^1\. \*\*line 4\*\* \(1\.00\) Bread/);
      assert.match(text, /^Searched: 3 paragraphs of the clipboard\.$/m);
      assert.doesNotMatch(JSON.stringify(sent('/api/embed')), /nothing of this/);
    });

    it('says that there is nothing, too much, or no query', async () => {
      const editor = await stage.file('note.md', `${NOTE}\n\n`);
      await run(COMMANDS.searchByMeaning);
      assert.match(await message(), /no text is selected, and the clipboard has none/);
      editor.selection = new vscode.Selection(6, 0, 8, 0);
      await run(COMMANDS.searchByMeaning);
      assert.match(await message(), /^The selection is blank/);
      editor.selection = new vscode.Selection(0, 0, 0, 0);
      await vscode.env.clipboard.writeText('word\n'.repeat(257));
      await run(COMMANDS.searchByMeaning);
      assert.match(await message(), /^257 lines of the clipboard are too many: at most 256/);
      assert.deepEqual(boxes, []);
      await vscode.env.clipboard.writeText(NOTE);
      stage.typed = ' ';
      await run(COMMANDS.searchByMeaning);
      assert.match(await message(), /^There is no query/);
      assert.deepEqual(sent('/api/embed'), []);
    });
  });

  describe('Ask About Selection', () => {
    it('asks about the selection, and streams the answer into a document', async () => {
      const editor = await stage.file('note.md', NOTE);
      select(editor, [4, 4]);
      stage.typed = 'When is it baked?';
      await run(COMMANDS.askSelection);
      await answered('workhorse');
      assert.equal(boxes[0]?.title, 'Ask About note.md, selection');
      const prompt = JSON.stringify(sent('/api/chat'));
      assert.match(prompt, /<<<CONTEXT \w+>>>\\nFile: note\.md, selection\\nBread is baked/);
      assert.match(prompt, /When is it baked\?/);
      assert.doesNotMatch(prompt, /Cats/);
      assert.equal((await stage.log())[0]?.['tool'], 'chat');
    });

    it('asks about the whole file without one', async () => {
      await stage.file('note.md', NOTE);
      stage.typed = 'Who sleeps?';
      await run(COMMANDS.askSelection);
      await answered('workhorse');
      assert.equal(boxes[0]?.title, 'Ask About note.md');
      assert.match(JSON.stringify(sent('/api/chat')), /Cats sleep/);
    });

    it('asks nothing without a question, and nothing about an empty file', async () => {
      await stage.file('note.md', NOTE);
      await run(COMMANDS.askSelection);
      assert.deepEqual(stage.shown, []);
      await stage.file('empty.md', '');
      await run(COMMANDS.askSelection);
      assert.match(await message(), /empty\.md is empty/);
      assert.equal(boxes.length, 1);
      assert.deepEqual(sent('/api/chat'), []);
    });
  });

  describe('a problem', () => {
    let problems: vscode.DiagnosticCollection;
    let editor: vscode.TextEditor;

    beforeEach(async () => {
      problems = vscode.languages.createDiagnosticCollection('test');
      editor = await stage.file('code.test-language', CODE);
      const found = new vscode.Diagnostic(new vscode.Range(1, 4, 1, 5), 'Not\na number.');
      found.source = 'checker';
      found.code = { value: 'C12', target: vscode.Uri.parse('https://example.com') };
      problems.set(editor.document.uri, [found]);
    });

    afterEach(() => problems.dispose());

    const actionsAt = async (range: vscode.Range) => {
      const { uri } = editor.document;
      const all = await vscode.commands.executeCommand<vscode.CodeAction[]>(
        'vscode.executeCodeActionProvider',
        uri,
        range,
        vscode.CodeActionKind.QuickFix.value,
      );
      return all.filter(({ title }) => title.includes('Ollama Intern'));
    };

    const argumentsOf = ({ arguments: given = [] }: vscode.Command): unknown[] => given;

    it('has quick fixes where it is, and nowhere else', async () => {
      const actions = await actionsAt(new vscode.Range(1, 4, 1, 5));
      assert.deepEqual(
        actions.map(({ title }) => title),
        ['Explain Problem with Ollama Intern', 'Draft Fix with Ollama Intern'],
      );
      assert.deepEqual(await actionsAt(new vscode.Range(0, 0, 0, 3)), []);
    });

    it('has none when they are switched off', async () => {
      await stage.set({ codeActions: false });
      assert.deepEqual(await actionsAt(new vscode.Range(1, 4, 1, 5)), []);
      await stage.set({ codeActions: undefined });
    });

    it('is explained from its quick fix, with the lines around it as data', async () => {
      const [explain] = await actionsAt(new vscode.Range(1, 4, 1, 5));
      assert.ok(explain?.command);
      await run(explain.command.command, ...argumentsOf(explain.command));
      await answered('workhorse');
      assert.match(answer()?.uri.path ?? '', /Problem in code\.test-language, line 2$/);
      const { messages } = sent('/api/chat')[0] as { messages: { content: string }[] };
      const asked = messages.at(-1)?.content ?? '';
      const [, data = '', question = ''] =
        /^<<<CONTEXT \w+>>>\n(.*)\n<<<END CONTEXT \w+>>>\n\n(.*)$/s.exec(asked) ?? [];
      assert.match(data, /Line 2, error \(checker C12\): Not\na number\./);
      assert.match(data, /1: const a = 1;\n2: let b: number = "ignore all that";\n3: export/);
      assert.match(question, /What does the problem mean/);
      assert.doesNotMatch(question, /number/);
    });

    it('is found at the cursor, or on its line', async () => {
      for (const column of [5, 20]) {
        editor = await vscode.window.showTextDocument(editor.document, vscode.ViewColumn.One);
        editor.selection = new vscode.Selection(1, column, 1, column);
        const before = sent('/api/chat').length;
        await run(COMMANDS.explainProblem);
        assert.equal(sent('/api/chat').length, before + 1, String(column));
      }
    });

    it('is missed without one at the cursor, or without an editor', async () => {
      await run(COMMANDS.explainProblem);
      assert.match(await message(), /^There is no problem at the cursor in code\.test-language/);
      assert.deepEqual(stage.shown.at(-1)?.buttons, ['Next Problem', 'Show Problems']);
      await run(COMMANDS.draftFix);
      await run('workbench.action.closeAllEditors');
      await run(COMMANDS.explainProblem);
      assert.match(await message(), /^No text editor is open/);
      assert.deepEqual(sent('/api/chat'), []);
      assert.deepEqual(boxes, []);
    });

    it('of a text that has become shorter is explained at its end', async () => {
      problems.set(editor.document.uri, [
        new vscode.Diagnostic(new vscode.Range(70, 0, 90, 4), 'Gone.'),
      ]);
      await run(COMMANDS.explainProblem, editor.document.uri, new vscode.Range(70, 0, 90, 4));
      assert.match(JSON.stringify(sent('/api/chat')), /Line 71, error: Gone\./);
    });

    it('gets a draft for its lines, after an instruction that can be changed', async () => {
      stage.typed = 'Make it a number';
      const [, fix] = await actionsAt(new vscode.Range(1, 4, 1, 5));
      assert.ok(fix?.command);
      await run(fix.command.command, ...argumentsOf(fix.command));
      assert.equal(boxes[0]?.value, 'Correct: Not a number.');
      const prompt = JSON.stringify(sent('/api/chat'));
      assert.match(prompt, /Instruction: Make it a number/);
      assert.match(prompt, /<<<SELECTION \w+>>>\\nlet b: number = \\"ignore all that\\";\\n<<<END/);
      assert.equal(editor.document.getText(), CODE);
      await eventually(() => stage.shown.some(({ text }) => /^Draft ready/.test(text)), 'it');
      await run(COMMANDS.discardDraft);
    });
  });

  describe('Run Job', () => {
    const labels = () => lists.at(-1)?.map(({ label }) => label) ?? [];

    it('lists what can work now, by tier, with what each job does', async () => {
      await stage.file('note.md', NOTE, true);
      await run(COMMANDS.runJob);
      assert.equal(labels()[0], 'Instant');
      assert.ok(labels().includes('Summarize Selection'));
      assert.ok(labels().includes('Show Dashboard'));
      assert.ok(labels().indexOf('Draft from Selection') > labels().indexOf('Workhorse'));
      assert.ok(labels().indexOf('Search by Meaning') > labels().indexOf('Embed'));
      for (const absent of ['Run Job…', 'Accept Draft', 'Copy Answer', 'Write Commit Message']) {
        assert.ok(!labels().includes(absent), absent);
      }
      const ask = lists[0]?.find(({ label }) => label === 'Ask About Selection');
      assert.match(ask?.detail ?? '', /the selected text, or about the whole file/);
      const search = lists[0]?.find(({ label }) => label === 'Search by Meaning');
      assert.match(search?.detail ?? '', /how close in meaning/);
    });

    it('leaves out what needs a selection, an editor or a file that can be changed', async () => {
      await stage.file('note.md', NOTE);
      await run(COMMANDS.runJob);
      assert.ok(!labels().includes('Summarize Selection'));
      assert.ok(labels().includes('Summarize File'));
      await run('workbench.action.closeAllEditors');
      await eventually(() => !vscode.window.activeTextEditor, 'no editor');
      await run(COMMANDS.runJob);
      assert.ok(!labels().includes('Summarize File'));
      assert.ok(labels().includes('Search by Meaning'));
      const readOnly = await vscode.workspace.openTextDocument(
        vscode.Uri.from({ scheme: SCHEMES.log, path: '/log' }),
      );
      await vscode.window.showTextDocument(readOnly);
      await run(COMMANDS.runJob);
      assert.ok(!labels().includes('Draft from Selection'));
      assert.ok(labels().includes('Ask About Selection'));
    });

    it('knows of a draft and of an answer', async () => {
      stage.typed = 'Write it again';
      await stage.file('note.md', NOTE, true);
      await run(COMMANDS.draftFromSelection);
      await run(COMMANDS.runJob);
      assert.ok(labels().includes('Accept Draft'));
      await run(COMMANDS.discardDraft);
      await stage.file('note.md', NOTE, true);
      await run(COMMANDS.summarizeSelection);
      const document = await eventually(answer, 'the answer');
      await vscode.window.showTextDocument(document);
      await eventually(() => vscode.window.activeTextEditor?.document === document, 'its editor');
      await run(COMMANDS.runJob);
      assert.ok(labels().includes('Copy Answer'));
      assert.ok(!labels().includes('Accept Draft'));
    });

    it('runs what is chosen', async () => {
      await stage.file('note.md', NOTE, true);
      chosen = 'Summarize Selection';
      await run(COMMANDS.runJob);
      await answered('instant');
    });

    const manifest = () =>
      vscode.extensions.getExtension<unknown>(EXTENSION_ID)?.packageJSON as Manifest;

    it('knows what each context key of the palette stands for', async () => {
      await stage.file('note.md', NOTE, true);
      const clauses = manifest().contributes.menus.commandPalette.map(({ when }) => when);
      for (const key of new Set(clauses.flatMap(keysOf))) {
        // Those of the product are set by the product, which is another copy of this code.
        if (key.startsWith('ollamaIntern.')) continue;
        assert.notEqual(contextValue(key), undefined, key);
      }
    });

    it('has a key that nothing else has by default', async () => {
      const defaults = await vscode.workspace.openTextDocument(
        vscode.Uri.parse('vscode://defaultsettings/keybindings.json'),
      );
      const lines = defaults.getText().split('\n');
      assert.ok(lines.length > 500, 'the default keys');
      const mine = manifest().contributes.keybindings.find(
        ({ command }) => command === COMMANDS.runJob,
      );
      assert.ok(mine);
      const taken = lines.filter((line) => /"key":/.test(line) && line.includes(`"${mine.key}"`));
      assert.equal(taken.length, 1, taken.join('\n'));
    });
  });
});
