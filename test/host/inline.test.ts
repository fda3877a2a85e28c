import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { COMMANDS } from '../../src/host/ids';
import { ScriptedEngine } from '../support/ollama/scripted';
import { choosing } from './repository';
import { eventually, Stage } from './support';

const CODE = `export function double(n: number): number {
  return n + n;
}

export const two = 2;
`;
const BLOCK = 'if (!isFinite(n)) throw new RangeError();\nreturn 2 * n;';
const REPLY = `Check it first:\n\n\`\`\`ts\n${BLOCK}\n\`\`\`\n\nIt throws then.`;
const CHECKED = '  if (!isFinite(n)) throw new RangeError();\n  return 2 * n;\n';

describe('an answer under the selection', () => {
  let stage: Stage;
  let engine: ScriptedEngine;
  let editor: vscode.TextEditor;

  beforeEach(async () => {
    engine = new ScriptedEngine(REPLY);
    await open();
  });

  afterEach(async () => {
    await run(COMMANDS.discardAnswer);
    await stage.dispose();
  });

  async function open(options: Parameters<typeof Stage.open>[0] = {}): Promise<void> {
    stage = await Stage.open({ engine, ...options });
    editor = await stage.file('double.ts', CODE);
    editor.selection = new vscode.Selection(1, 0, 2, 0);
    stage.typed = 'Must n be finite?';
  }

  async function reopen(options: Parameters<typeof Stage.open>[0]): Promise<void> {
    await stage.dispose();
    await open(options);
  }

  const run = (command: string, ...args: unknown[]) =>
    vscode.commands.executeCommand(command, ...args);
  const text = () => editor.document.getText();
  const prompts = () =>
    stage.server.requests
      .filter(({ path }) => path === '/api/chat')
      .map(({ body }) => JSON.stringify(body));

  async function change(build: (edit: vscode.WorkspaceEdit) => void): Promise<void> {
    const edit = new vscode.WorkspaceEdit();
    build(edit);
    assert.ok(await vscode.workspace.applyEdit(edit));
  }

  it('is asked for with the selection, and changes nothing', async () => {
    await run(COMMANDS.answerHere);
    assert.equal(text(), CODE);
    const [prompt = ''] = prompts();
    assert.match(prompt, /Must n be finite\?/);
    assert.match(prompt, /return n \+ n/);
    assert.doesNotMatch(prompt, /two = 2/);
    assert.deepEqual(stage.shown, []);
    const line = (await stage.log()).at(-1);
    assert.equal(line?.['tool'], 'chat');
  });

  it('is inserted below with its code alone, and one undo takes it back', async () => {
    await run(COMMANDS.answerHere);
    await run(COMMANDS.insertAnswer);
    assert.equal(
      text(),
      CODE.replace('  return n + n;\n', (line) => line + CHECKED),
    );
    await run('undo');
    assert.equal(text(), CODE);
  });

  it('replaces the selection, and is gone then', async () => {
    await run(COMMANDS.answerHere);
    await run(COMMANDS.replaceWithAnswer);
    const replaced = CODE.replace('  return n + n;\n', CHECKED);
    assert.equal(text(), replaced);
    await run(COMMANDS.insertAnswer);
    assert.equal(text(), replaced);
  });

  it('is accepted once, however often it is asked to be', async () => {
    await run(COMMANDS.answerHere);
    await Promise.all([run(COMMANDS.replaceWithAnswer), run(COMMANDS.replaceWithAnswer)]);
    assert.equal(text(), CODE.replace('  return n + n;\n', CHECKED));
    assert.deepEqual(stage.shown, []);
  });

  it('without code is taken as a whole', async () => {
    engine.answer = 'No, **not** really.';
    await run(COMMANDS.answerHere);
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), CODE.replace('  return n + n;', engine.answer));
  });

  it('with several code blocks asks which of them', async () => {
    engine.answer = `\`\`\`ts\nreturn 1;\n\`\`\`\nor\n\`\`\`ts\nreturn 2;\n\`\`\``;
    await run(COMMANDS.answerHere);
    let undo = choosing([]);
    await run(COMMANDS.replaceWithAnswer);
    undo();
    assert.equal(text(), CODE, 'nothing was chosen');
    undo = choosing(['Code Block 2']);
    await run(COMMANDS.replaceWithAnswer);
    undo();
    assert.equal(text(), CODE.replace('return n + n;', 'return 2;'));
  });

  it('is discarded without a trace', async () => {
    await run(COMMANDS.answerHere);
    await run(COMMANDS.discardAnswer);
    await run(COMMANDS.insertAnswer);
    assert.equal(text(), CODE);
    assert.equal(editor.document.isDirty, false);
  });

  it('that is discarded while it is written frees the model, and says nothing', async () => {
    engine.answer = 'word '.repeat(5_000);
    await reopen({ tokenMs: 5 });
    const asked = run(COMMANDS.answerHere);
    await eventually(() => stage.api.intern.running[0]?.phase?.phase === 'writing', 'words');
    assert.equal(stage.server.stats.active, 1);
    await run(COMMANDS.insertAnswer);
    assert.equal(text(), CODE, 'an unfinished answer was accepted');
    await run(COMMANDS.discardAnswer);
    await asked;
    await eventually(() => stage.server.stats.active === 0, 'the model to be free', 1_000);
    assert.equal(stage.server.stats.cancelled, 1);
    assert.deepEqual(stage.shown, []);
    assert.equal(text(), CODE);
  });

  it('that is stopped elsewhere cannot be accepted', async () => {
    engine.answer = 'word '.repeat(5_000);
    await reopen({ tokenMs: 5 });
    const asked = run(COMMANDS.answerHere);
    await eventually(() => stage.api.intern.running[0]?.phase?.phase === 'writing', 'words');
    await run(COMMANDS.stopCall);
    await asked;
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), CODE);
    assert.deepEqual(stage.shown, []);
  });

  it('gives way to that of a new question, whose call alone goes on', async () => {
    engine.answer = 'word '.repeat(5_000);
    await reopen({ tokenMs: 5 });
    const first = run(COMMANDS.answerHere);
    await eventually(() => stage.api.intern.running[0]?.phase?.phase === 'writing', 'words');
    engine.answer = 'Yes.';
    await run(COMMANDS.answerHere);
    await first;
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), CODE.replace('  return n + n;', 'Yes.'));
    assert.equal(stage.server.stats.cancelled, 1);
  });

  it('follows its text when the file changed elsewhere', async () => {
    await run(COMMANDS.answerHere);
    await change((edit) =>
      edit.insert(editor.document.uri, new vscode.Position(0, 0), '// first\n'),
    );
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), `// first\n${CODE.replace('  return n + n;\n', CHECKED)}`);
  });

  it('is refused when its text has changed, and can be copied', async () => {
    await run(COMMANDS.answerHere);
    await change((edit) =>
      edit.replace(editor.document.uri, new vscode.Range(1, 0, 1, 15), '  return 2 * n;'),
    );
    const before = text();
    stage.answer = ({ buttons }) => buttons.find((button) => button === 'Copy Answer');
    await run(COMMANDS.insertAnswer);
    assert.equal(text(), before);
    assert.match(stage.shown[0]?.text ?? '', /double\.ts has changed where the answer belongs/);
    assert.equal(await vscode.env.clipboard.readText(), BLOCK);
  });

  /** Edits the file while the question is typed. */
  async function askDuring(build: (edit: vscode.WorkspaceEdit) => void): Promise<void> {
    const window = vscode.window as unknown as Record<string, unknown>;
    const { showInputBox } = window;
    window['showInputBox'] = async () => {
      await change(build);
      return stage.typed;
    };
    try {
      await run(COMMANDS.answerHere);
    } finally {
      window['showInputBox'] = showInputBox;
    }
  }

  it('is about the text that was selected when the file changes behind the question', async () => {
    await askDuring((edit) =>
      edit.insert(editor.document.uri, new vscode.Position(0, 0), '// first\n'),
    );
    const [prompt = ''] = prompts();
    assert.match(prompt, /return n \+ n/);
    assert.doesNotMatch(prompt, /export function/);
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), `// first\n${CODE.replace('  return n + n;\n', CHECKED)}`);
  });

  it('is not asked for when the selected text itself changes behind the question', async () => {
    await askDuring((edit) =>
      edit.replace(editor.document.uri, new vscode.Range(1, 0, 1, 15), '  return 2 * n;'),
    );
    await eventually(() => stage.shown.length === 1, 'the message');
    assert.match(stage.shown[0]?.text ?? '', /double\.ts has changed while you wrote the question/);
    assert.equal(stage.server.requests.length, 0);
  });

  it('in a document without a file stays when its language changes, and goes with it', async () => {
    const show = async (): Promise<void> => {
      const document = await vscode.workspace.openTextDocument({ content: CODE });
      editor = await vscode.window.showTextDocument(document, { preview: false });
      editor.selection = new vscode.Selection(1, 0, 2, 0);
    };
    const close = () => run('workbench.action.revertAndCloseActiveEditor');
    await show();
    await run(COMMANDS.answerHere);
    await vscode.languages.setTextDocumentLanguage(editor.document, 'typescript');
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), CODE.replace('  return n + n;\n', CHECKED));
    await close();
    await show();
    const first = editor.document.uri.toString();
    await run(COMMANDS.answerHere);
    await close();
    const isOpen = () => vscode.workspace.textDocuments.some((one) => one.uri.toString() === first);
    await eventually(() => !isOpen(), 'the document to be closed');
    await show();
    assert.equal(editor.document.uri.toString(), first);
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), CODE, 'the answer outlived its document');
    await close();
  });

  it('that fails says why and what helps, and comes when it is tried again', async () => {
    await stage.server.stop();
    let tries = 0;
    stage.answer = ({ buttons }) => {
      if (tries++ > 0) return undefined;
      assert.deepEqual(buttons, ['Start Ollama', 'Try Again', 'Open Setting']);
      return undefined;
    };
    await run(COMMANDS.answerHere);
    await eventually(() => stage.shown.length === 1, 'the message');
    assert.match(stage.shown[0]?.text ?? '', /Ollama cannot be reached/);
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), CODE);
    stage.answer = ({ buttons }) => {
      void stage.server.start();
      return buttons.find((button) => button === 'Try Again');
    };
    await run(COMMANDS.answerHere);
    await eventually(() => prompts().length === 1, 'another try');
    await stage.server.whenIdle();
    await eventually(() => stage.api.intern.running.length === 0, 'the answer');
    await run(COMMANDS.replaceWithAnswer);
    assert.equal(text(), CODE.replace('  return n + n;\n', CHECKED));
  });

  it('goes into a file with CRLF as its lines', async () => {
    editor = await stage.file('crlf.ts', CODE.replaceAll('\n', '\r\n'));
    editor.selection = new vscode.Selection(1, 0, 2, 0);
    await run(COMMANDS.answerHere);
    await run(COMMANDS.replaceWithAnswer);
    const expected = CODE.replace('  return n + n;\n', CHECKED).replaceAll('\n', '\r\n');
    assert.equal(text(), expected);
  });

  for (const [what, selections, message] of [
    ['nothing is selected', [new vscode.Selection(1, 0, 1, 0)], /No text is selected/],
    [
      'several parts are',
      [new vscode.Selection(0, 0, 0, 6), new vscode.Selection(4, 0, 4, 6)],
      /Several parts of the text are selected/,
    ],
  ] as const) {
    it(`is not asked for when ${what}`, async () => {
      editor.selections = selections;
      await run(COMMANDS.answerHere);
      await eventually(() => stage.shown.length === 1, 'the message');
      assert.match(stage.shown[0]?.text ?? '', message);
      assert.equal(stage.server.requests.length, 0);
    });
  }

  it('is not asked for when comments are switched off and it would not be seen', async () => {
    const comments = vscode.workspace.getConfiguration('comments');
    await comments.update('visible', false, vscode.ConfigurationTarget.Global);
    try {
      await run(COMMANDS.answerHere);
      await eventually(() => stage.shown.length === 1, 'the message');
      assert.match(stage.shown[0]?.text ?? '', /comments\.visible/);
      assert.equal(stage.server.requests.length, 0);
    } finally {
      await comments.update('visible', undefined, vscode.ConfigurationTarget.Global);
    }
  });

  it('to no question does not come', async () => {
    stage.typed = undefined;
    await run(COMMANDS.answerHere);
    assert.equal(stage.server.requests.length, 0);
  });
});

describe('the lightbulb of a selection', () => {
  let stage: Stage;
  const ALL = [
    'Answer Here with Ollama Intern…',
    'Draft from Selection with Ollama Intern…',
    'Summarize with Ollama Intern',
  ];

  beforeEach(async () => {
    stage = await Stage.open();
  });

  afterEach(() => stage.dispose());

  async function offered(
    { document }: { document: vscode.TextDocument },
    range: vscode.Range,
    kind?: string,
  ): Promise<string[]> {
    const ask = () =>
      vscode.commands.executeCommand<(vscode.CodeAction | vscode.Command)[]>(
        'vscode.executeCodeActionProvider',
        document.uri,
        range,
        kind,
      );
    // The editor takes the question back when the document is drawn anew meanwhile.
    const actions = await ask().then(undefined, (error: Error) => {
      if (error.name !== 'Canceled') throw error;
      return ask();
    });
    return actions
      .map(({ title }) => title)
      .filter((title) => title.includes('Ollama Intern'))
      .toSorted();
  }

  const line = new vscode.Selection(0, 0, 0, 6);

  it('offers what can be done with it', async () => {
    const editor = await stage.file('a.ts', CODE);
    assert.deepEqual(await offered(editor, line), ALL);
  });

  it('does what it says', async () => {
    const editor = await stage.file('a.txt', CODE);
    editor.selection = line;
    const actions = await vscode.commands.executeCommand<vscode.CodeAction[]>(
      'vscode.executeCodeActionProvider',
      editor.document.uri,
      line,
    );
    const summarize = actions.find(({ title }) => title === 'Summarize with Ollama Intern');
    assert.ok(summarize?.command);
    await vscode.commands.executeCommand(summarize.command.command);
    assert.match(stage.answerDocument().uri.path, /Summary of a\.txt, selection/);
  });

  it('has nothing of ours without a selection, for a blank one, or for the place of a problem', async () => {
    const editor = await stage.file('a.txt', 'word\n\n\n');
    assert.deepEqual(await offered(editor, new vscode.Selection(0, 0, 0, 0)), []);
    assert.deepEqual(await offered(editor, new vscode.Selection(1, 0, 2, 0)), []);
    assert.deepEqual(await offered(editor, new vscode.Range(0, 0, 0, 4)), []);
  });

  it('has nothing of ours for what runs when a file is saved, or fixes alone', async () => {
    const editor = await stage.file('a.txt', CODE);
    for (const kind of ['source.fixAll', 'source.organizeImports', 'quickfix']) {
      assert.deepEqual(await offered(editor, line, kind), [], kind);
    }
    const draft = ['Draft from Selection with Ollama Intern…'];
    assert.deepEqual(await offered(editor, line, 'refactor'), draft);
  });

  it('has no draft where nothing can be written', async () => {
    const provider = vscode.workspace.registerTextDocumentContentProvider('read-only', {
      provideTextDocumentContent: () => CODE,
    });
    const document = await vscode.workspace.openTextDocument(
      vscode.Uri.parse('read-only:/provided.txt'),
    );
    const [answer, , summarize] = ALL;
    assert.deepEqual(await offered({ document }, line), [answer, summarize]);
    provider.dispose();
  });

  it('offers a draft in a document that has no file yet', async () => {
    const document = await vscode.workspace.openTextDocument({ content: CODE });
    assert.deepEqual(await offered({ document }, line), ALL);
  });

  it('has nothing of ours in our own documents', async () => {
    await stage.file('a.txt', CODE, true);
    await vscode.commands.executeCommand(COMMANDS.summarizeSelection);
    assert.deepEqual(await offered({ document: stage.answerDocument() }, line), []);
  });

  it('has nothing of ours when it is switched off', async () => {
    const editor = await stage.file('a.txt', CODE);
    await stage.set({ codeActions: false });
    assert.deepEqual(await offered(editor, line), []);
    await stage.set({ codeActions: undefined });
  });
});
