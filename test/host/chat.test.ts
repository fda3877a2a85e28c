import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { createIntern, type Intern } from '../../src/core';
import { ChatParticipant, followUps, type Request } from '../../src/host/chat/participant';
import { COMMANDS, MODEL_VENDOR } from '../../src/host/ids';
import { ComputedEngine } from '../support/ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../support/ollama/engine';
import { type OllamaOptions, type OllamaServer, startOllama } from '../support/ollama/server';
import { TestRepository } from './repository';
import { withFolders } from './support';

const TEXT = 'The limiter admits two calls at once.\nThe others wait in line.\nWaiting can end.\n';
const LOG = 'INFO started\nERROR database refused the connection\nINFO goes on\n';
/** As `LIVE` in the unit tests, and a link that would run a command. */
const HOSTILE =
  '[Run](command:workbench.action.terminal.new) ![p](https://evil.example/p.png) <img src=x> www.evil.example';
const ENVELOPE = /^(instant|workhorse|deep) · local · hermes3:8b · [\d,]+→[\d,]+ tokens/m;

/** Writes what it is told to, word by word. */
class Writer extends ComputedEngine {
  constructor(private readonly answer: string | object) {
    super();
  }

  override async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    const text = typeof this.answer === 'string' ? this.answer : JSON.stringify(this.answer);
    const words = text.match(/\s*\S+|\s+$/g) ?? [];
    for (const word of words) await onPiece({ kind: 'text', text: word });
    const promptTokens = await this.countPrompt(request);
    return { promptTokens, outputTokens: words.length, doneReason: 'stop' };
  }
}

/** What came into the chat view. */
class View {
  readonly pieces: string[] = [];
  readonly anchors: (vscode.Uri | vscode.Location)[] = [];
  readonly titles: (string | undefined)[] = [];
  readonly buttons: vscode.Command[] = [];
  readonly references: string[] = [];
  readonly lines: string[] = [];

  get text(): string {
    return this.pieces.join('');
  }

  markdown(value: string | vscode.MarkdownString): void {
    assert.equal(typeof value, 'string', 'nothing is trusted');
    this.pieces.push(value as string);
  }

  anchor(value: vscode.Uri | vscode.Location, title?: string): void {
    this.anchors.push(value);
    this.titles.push(title);
  }

  button(command: vscode.Command): void {
    this.buttons.push(command);
  }

  reference(value: vscode.Uri | vscode.Location): void {
    this.references.push(vscode.workspace.asRelativePath(value as vscode.Uri));
  }

  progress(text: string): void {
    this.lines.push(text);
  }
}

const MODEL = { vendor: 'somebody', id: 'a-model' };
const file = (value: vscode.Uri, id = 'vscode.file') => ({ id, value });

describe('@intern in chat', () => {
  let server: OllamaServer;
  let intern: Intern;
  let view: View;
  let scratch: string;
  let folder: string;
  let history: vscode.ChatContext['history'];
  const undo: (() => unknown)[] = [];

  async function start(options: OllamaOptions = {}): Promise<void> {
    server = await startOllama(options);
    scratch = await mkdtemp(join(tmpdir(), 'intern-chat-'));
    intern = createIntern({
      settings: { host: server.url, logPath: join(scratch, 'log.ndjson') },
      env: {},
    });
    const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? assert.fail('no folder');
    folder = await mkdtemp(join(root, 'chat-'));
    view = new View();
    history = [];
  }

  afterEach(async () => {
    for (const restore of undo.splice(0).reverse()) await restore();
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    await intern.dispose();
    await server.close();
    await rm(folder, { recursive: true, force: true });
    await rm(scratch, { recursive: true, force: true });
  });

  async function put(name: string, content: string | Uint8Array): Promise<vscode.Uri> {
    await writeFile(join(folder, name), content);
    return vscode.Uri.file(join(folder, name));
  }

  async function ask(
    prompt: string,
    more: Partial<Request> & { token?: vscode.CancellationToken } = {},
  ): Promise<vscode.ChatResult> {
    const { token = new vscode.CancellationTokenSource().token, ...rest } = more;
    const request = { prompt, command: undefined, references: [], model: MODEL, ...rest };
    const result = await new ChatParticipant(intern).answer(request, history, view, token);
    const turns = [
      { ...request, participant: 'x' },
      { response: [], result },
    ];
    history = [...history, ...(turns as unknown as vscode.ChatContext['history'])];
    return result;
  }

  const prompts = () =>
    server.requests
      .filter(({ path }) => path === '/api/chat')
      .map(({ body }) => body as unknown as { messages: { role: string; content: string }[] });
  const sent = () => JSON.stringify(prompts());
  const relative = (uri: vscode.Uri) => vscode.workspace.asRelativePath(uri);
  const message = ({ errorDetails }: vscode.ChatResult) => errorDetails?.message ?? '';
  /** The answer, without what stands under it. */
  const answer = () => view.text.split('\n\n---\n\n')[0] ?? '';

  describe('given a job', () => {
    it('streams the answer, says where it comes from and keeps it for later turns', async () => {
      await start({ engine: new Writer('It limits calls, two at a time.') });
      const uri = await put('limiter.txt', TEXT);
      const result = await ask('#file:limiter.txt', {
        command: 'summarize',
        references: [{ ...file(uri), range: [0, 17] }],
      });
      assert.equal(result.errorDetails, undefined);
      assert.ok(view.pieces.length > 3, 'it came in pieces');
      assert.match(answer(), /^It limits calls, two at a time\.\s*$/);
      assert.match(view.text, ENVELOPE);
      assert.deepEqual(view.references, [relative(uri)]);
      assert.deepEqual(view.titles, ['limiter.txt']);
      const [details] = view.buttons;
      assert.equal(details?.command, COMMANDS.showDashboard);
      assert.deepEqual(result.metadata, {
        job: 'summarize_fast',
        said: 'It limits calls, two at a time.',
      });
      assert.doesNotMatch(sent(), /#file/);
      await intern.flush();
      const line = JSON.parse(await readFile(intern.config.logPath, 'utf8')) as {
        envelope: { surface: string; call_id: string };
      };
      assert.equal(line.envelope.surface, 'chat');
      assert.deepEqual(details.arguments, [line.envelope.call_id]);
    });

    for (const [what, code] of [
      ['after a line', 'foo();\n'],
      ['after blank lines', 'foo();\n\n  \n'],
      ['in the middle of a line', 'foo('],
    ] as const) {
      it(`shows an answer that ends inside a code block once: ${what}`, async () => {
        await start({ engine: new Writer(`Look:\n\`\`\`js\n${code}`) });
        await ask('How?');
        assert.equal(answer(), `Look:\n\`\`\`js\n${code.trimEnd()}\n\`\`\``);
        assert.equal(view.text.split('foo(').length, 2, view.text);
      });
    }

    it('reads what an editor holds, saved or not, and of a selection only that', async () => {
      await start();
      const uri = await put('limiter.txt', TEXT);
      const editor = await vscode.window.showTextDocument(uri);
      await editor.edit((edit) => edit.insert(new vscode.Position(1, 0), 'NOT SAVED '));
      undo.push(() => vscode.commands.executeCommand('workbench.action.files.revert'));
      const range = new vscode.Range(1, 4, 2, 7);
      await ask('', {
        command: 'summarize',
        references: [{ id: 'x', value: new vscode.Location(uri, range) }],
      });
      assert.match(sent(), /SAVED The others wait in line\.\\nWaiting/);
      assert.doesNotMatch(sent(), /NOT SAVED|admits|can end/);
    });

    it('points at the lines that an answer rests on', async () => {
      const quote = 'The others wait in line.';
      const citation = { source: 's1', first_line: 1, last_line: 1, quote };
      await start({
        engine: new Writer({ answer: 'They wait. [1]', citations: [citation], abstained: false }),
      });
      const uri = await put('limiter.txt', TEXT);
      // Line 1 of the selection is line 2 of the file.
      const value = new vscode.Location(uri, new vscode.Range(1, 0, 2, 16));
      await ask('Who waits?', { command: 'research', references: [{ id: 'x', value }] });
      const [anchor] = view.anchors;
      assert.ok(anchor instanceof vscode.Location);
      assert.equal(anchor.uri.toString(), uri.toString());
      assert.equal(anchor.range.start.line, 1);
      assert.deepEqual(view.titles, ['limiter.txt:2']);
    });

    it('takes folders, and says what it left out', async () => {
      await start();
      await mkdir(join(folder, 'src'));
      await put('src/a.txt', TEXT);
      await put('src/b.txt', TEXT);
      await put('src/p.png', Buffer.from([0x89, 0x50, 0, 1]));
      await ask('the end', { command: 'summarize', references: [file(vscode.Uri.file(folder))] });
      assert.equal(view.references.length, 2);
      assert.match(view.text, /^deep · local/m);
      assert.match(view.text, /Left out \(not text\): \S*p\.png\./);
      assert.match(sent(), /the end/);
    });

    it('reads a log that is larger than other files may be', async () => {
      await start();
      const lines = Math.ceil(6_000_000 / LOG.length);
      const uri = await put('big.log', LOG.repeat(lines));
      const result = await ask('', { command: 'triage', references: [file(uri)] });
      assert.equal(message(result), '');
      assert.match(view.text, new RegExp(lines.toLocaleString('en-US')));
      assert.deepEqual(view.references, [relative(uri)]);
      const opened = vscode.workspace.textDocuments.map((document) => document.uri.toString());
      assert.ok(!opened.includes(uri.toString()), 'it was opened for its language');
      // Without one it reads the same again; other commands have their own limit.
      view = new View();
      assert.equal(message(await ask('', { command: 'triage' })), '');
      const research = await ask('Why?', { command: 'research', references: [file(uri)] });
      assert.match(message(research), /more than 5 MB/);
    });

    it('reads files of one name in workspace folders of one name', async () => {
      await start();
      for (const name of ['api', 'web'])
        await mkdir(join(folder, name, 'src'), { recursive: true });
      const uris = [
        await put('api/src/index.txt', TEXT),
        await put('web/src/index.txt', 'The other index.\n'),
      ];
      undo.push(withFolders(join(folder, 'api', 'src'), join(folder, 'web', 'src')));
      await ask('', { command: 'summarize', references: uris.map((uri) => file(uri)) });
      assert.match(sent(), /api\/src\/index\.txt.*The limiter admits/);
      assert.match(sent(), /web\/src\/index\.txt.*The other index/);
      assert.equal(new Set(view.references).size, 2);
    });

    it('shows a draft as code once it is whole', async () => {
      await start({ engine: new Writer('```ts\nconst limit = 3;\n```') });
      const uri = await put('limit.ts', 'const limit = 2;\n');
      await ask('Make it three', { command: 'draft', references: [file(uri)] });
      assert.match(answer(), /^```typescript\nconst limit = 3;\n```\s*$/);
    });

    it('explains what is missing, with an example, and sends nothing', async () => {
      await start();
      const uri = await put('note.txt', TEXT);
      const result = await ask('bug', { command: 'classify', references: [file(uri)] });
      assert.match(message(result), /at least two labels\. For example: \/classify bug, feature/);
      assert.equal(view.text, '');
      assert.deepEqual(server.requests, []);
    });

    it('works on what was attached before when nothing else makes sense, and says so', async () => {
      await start();
      const uri = await put('app.log', LOG);
      const triage = await ask('', { command: 'triage', references: [file(uri)] });
      const [follow] = followUps(triage);
      assert.equal(follow?.command, 'research');
      view = new View();
      const result = await ask(follow.prompt, { command: follow.command });
      assert.equal(message(result), '');
      assert.deepEqual(view.references, [relative(uri)]);
      assert.match(view.text, /Read again, as nothing was attached: \S*app\.log\./);
      // What needs nothing attached does not take it.
      view = new View();
      await ask('A limerick', { command: 'draft' });
      assert.deepEqual(view.references, []);
    });
  });

  /** Asks all that is offered after an answer, and so on. */
  async function follow(result: vscode.ChatResult, asked = new Set<string>()): Promise<string[]> {
    assert.equal(message(result), '');
    for (const { command, prompt } of followUps(result)) {
      const key = `/${command ?? ''} ${prompt}`;
      if (asked.has(key)) continue;
      asked.add(key);
      view = new View();
      await follow(await ask(prompt, { command }), asked);
    }
    return [...asked];
  }

  it('offers nothing that fails after a brief of the repository', async () => {
    await start();
    const readme = join(folder, '..', 'README.md');
    await writeFile(readme, TEXT);
    undo.push(() => rm(readme));
    const asked = await follow(await ask('repo', { command: 'brief' }));
    assert.equal(asked.length, 1);
    const contents =
      prompts()
        .at(-1)
        ?.messages.map(({ content }) => content) ?? [];
    assert.ok(contents.includes('/brief repo'), 'the brief is not in the conversation');
  });

  it('offers nothing that fails after a triage', async () => {
    await start();
    const references = [file(await put('app.log', LOG))];
    const asked = await follow(await ask('', { command: 'triage', references }));
    assert.equal(asked.length, 2);
  });

  describe('given what it cannot read', () => {
    it('says that images are not read', async () => {
      await start();
      const image = { mimeType: 'image/png', data: async () => new Uint8Array() };
      await ask('What is this?', { references: [{ id: 'photo.png', value: image }] });
      assert.match(view.text, /Left out \(images are not read\): photo\.png\./);
      view = new View();
      const job = await ask('', { command: 'summarize', references: [{ id: 'p', value: image }] });
      assert.match(message(job), /Nothing that is attached could be read.*images are not read/);
    });

    for (const command of ['summarize', 'triage', 'draft', 'brief']) {
      it(`does not work on the words of the request instead: ${command}`, async () => {
        await start();
        const png = await put('diagram.png', Buffer.from([0x89, 0x50, 0, 1]));
        const outside = join(scratch, 'outside.log');
        await writeFile(outside, LOG);
        for (const uri of [png, vscode.Uri.file(outside)]) {
          view = new View();
          const result = await ask('timeout, refused', { command, references: [file(uri)] });
          assert.match(message(result), /Nothing that is attached could be read\..*Left out \(/);
          assert.equal(view.text, '');
        }
        assert.deepEqual(server.requests, []);
      });
    }

    it('works on the words of the request beside a picture that nobody attached', async () => {
      await start();
      const png = await put('open.png', Buffer.from([0x89, 0x50, 0, 1]));
      const references = [file(png, 'vscode.implicit.file')];
      const result = await ask(TEXT, { command: 'summarize', references });
      assert.equal(message(result), '');
      assert.match(sent(), /limiter admits/);
    });

    it('stays inside the workspace, wherever a link leads', async () => {
      await start();
      const secret = join(scratch, 'secret.txt');
      await writeFile(secret, 'the secret of the house');
      await symlink(secret, join(folder, 'link.txt'));
      for (const path of [secret, join(folder, 'link.txt')]) {
        view = new View();
        const references = [file(vscode.Uri.file(path))];
        const result = await ask('', { command: 'summarize', references });
        assert.match(message(result), /outside of the workspace/);
      }
      assert.deepEqual(server.requests, []);
    });

    it('reads a document outside of the workspace that is open in a tab', async () => {
      await start();
      const path = join(scratch, 'open.txt');
      await writeFile(path, TEXT);
      const { document } = await vscode.window.showTextDocument(vscode.Uri.file(path));
      const result = await ask('', { command: 'summarize', references: [file(document.uri)] });
      assert.equal(message(result), '');
      assert.match(sent(), /limiter admits/);
    });

    it('says that a file is gone, and that one is empty', async () => {
      await start();
      const gone = vscode.Uri.file(join(folder, 'gone.txt'));
      const empty = await put('empty.txt', ' \n');
      const result = await ask('', {
        command: 'summarize',
        references: [file(empty), file(gone)],
      });
      assert.match(message(result), /Left out \(could not be read\): \S*gone\.txt\./);
      assert.match(message(result), /Left out \(empty\): \S*empty\.txt\./);
    });

    it("leaves out the instructions that are meant for VS Code's own agent", async () => {
      await start();
      const uri = await put('AGENTS.md', 'Never say please.');
      const references = [file(uri, `vscode.instructions.file.root__${uri.toString()}`)];
      await ask('Hello', { references });
      assert.doesNotMatch(sent(), /please/);
      assert.deepEqual(view.references, []);
    });

    it('takes plain text that was attached', async () => {
      await start();
      await ask('', {
        command: 'summarize',
        references: [
          { id: 'b', value: 'Second text.' },
          { id: 'a', value: 'First text.' },
        ],
      });
      assert.match(sent(), /attached text.*First text\..*attached text 2.*Second text\./s);
    });
  });

  describe('in a conversation', () => {
    it('remembers the turns, but not those that failed', async () => {
      await start({ engine: new Writer('Two.') });
      await ask('How many calls run at once?');
      await ask(' ');
      await ask('Why?');
      const { messages } = prompts().at(-1) ?? assert.fail();
      assert.deepEqual(
        messages.slice(1).map(({ content }) => content),
        ['How many calls run at once?', 'Two.', 'Why?'],
      );
    });

    it('has the files of the question, or of the last one that had some', async () => {
      await start();
      const uri = await put('limiter.txt', TEXT);
      await ask('What is this?', { references: [file(uri)] });
      view = new View();
      await ask('And what else?');
      assert.match(prompts().at(-1)?.messages.at(-1)?.content ?? '', /limiter admits/);
      assert.match(view.text, /Read again/);
    });

    it('knows what it said of a file that does not fit, and says that it is cut', async () => {
      await start({ engine: new Writer('It waits in line.') });
      const uri = await put('big.txt', TEXT.repeat(1_500));
      await ask('', { command: 'summarize', references: [file(uri)] });
      view = new View();
      const result = await ask('Why does it wait?');
      assert.equal(message(result), '');
      const contents =
        prompts()
          .at(-1)
          ?.messages.map(({ content }) => content) ?? [];
      assert.ok(contents.includes('It waits in line.'), 'the summary is not there');
      assert.match(contents.at(-1) ?? '', /limiter admits/);
      assert.match(view.text, /Left out to fit the window: the ends of the files\./);
    });

    it('leaves out the oldest of 200 turns, and says so', async () => {
      await start();
      const said = 'word '.repeat(200);
      history = Array.from({ length: 200 }, (_, n) => [
        { prompt: `Question ${n}.`, references: [], participant: 'x' },
        { response: [], result: { metadata: { said } } },
      ]).flat() as unknown as vscode.ChatContext['history'];
      const result = await ask('And now?');
      assert.equal(message(result), '');
      assert.match(view.text, /Left out to fit the window: the oldest \d+ messages\./);
      const { messages } = prompts().at(-1) ?? assert.fail();
      assert.equal(messages.at(-1)?.content, 'And now?');
      assert.match(messages[1]?.content ?? '', /^Question \d+\.$/, 'a turn is left out whole');
      assert.match(messages.at(-3)?.content ?? '', /^Question 199\.$/);
    });

    it('uses the tier of the job, unless an installed model of ours was chosen', async () => {
      await start();
      await ask('Hello', { model: { vendor: 'copilot', id: 'qwen3:8b' } });
      await ask('Hello', { model: { vendor: MODEL_VENDOR, id: 'deep' } });
      await ask('Hello', { model: { vendor: MODEL_VENDOR, id: 'local/qwen3:8b' } });
      const models = server.requests
        .filter(({ path }) => path === '/api/chat')
        .map(({ body }) => (body as { model: string }).model);
      assert.deepEqual([...new Set(models.slice(0, -1))], ['hermes3:8b']);
      assert.equal(models.at(-1), 'qwen3:8b');
    });
  });

  describe('given an answer that tries to be more than text', () => {
    const assertLifeless = (text: string) =>
      assert.doesNotMatch(text, /(?<!\\)\[[^\]]*\]\(|(?<!\\)<[a-z]|(?<!\\)\/\/\w|\bwww\.\w/i);

    for (const command of [undefined, 'summarize'] as const) {
      it(`shows it as text: ${command ?? 'chat'}`, async () => {
        await start({ engine: new Writer(HOSTILE) });
        const uri = await put('limiter.txt', TEXT);
        await ask('Go', { command, references: [file(uri)] });
        for (const piece of view.pieces) assertLifeless(piece);
        assert.match(view.text, /\\\[Run\]\(command:workbench/);
        assert.deepEqual(
          view.buttons.map((button) => button.command),
          [COMMANDS.showDashboard],
        );
      });
    }

    it('shows it as text: research', async () => {
      const citation = { source: 's1', first_line: 1, last_line: 1, quote: HOSTILE };
      await start({
        engine: new Writer({ answer: HOSTILE, citations: [citation], abstained: false }),
      });
      const uri = await put('limiter.txt', `${HOSTILE}\n`);
      await ask('Who?', { command: 'research', references: [file(uri)] });
      assertLifeless(view.text);
      assert.equal(view.anchors.length, 1);
    });

    it('shows the words of a server as text', async () => {
      await start();
      server.faults.next({ match: isChat, reply: { status: 400, body: { error: HOSTILE } } });
      const result = await ask('Hello');
      assertLifeless(message(result));
      assert.match(message(result), /Run/);
    });
  });

  describe('working on changes', () => {
    const CODE = 'const calls = [];\nconst limit = 2;\n';
    const finding = (name: string) => ({
      file: name,
      line: 3,
      code: 'const first = calls[0];',
      severity: 'high',
      category: 'bug',
      message: 'The list is empty here.',
    });

    async function change(answer?: object): Promise<void> {
      await start(answer && { engine: new Writer(answer) });
      const repository = await TestRepository.open(scratch, { 'src/calls.ts': CODE });
      undo.push(() => repository.close());
      await vscode.window.showTextDocument(vscode.Uri.file(join(scratch, 'src/calls.ts')));
      await repository.write({ 'src/calls.ts': `${CODE}const first = calls[0];\n` });
    }

    it('reviews them, points at the lines and offers what comes next', async () => {
      await change({ findings: [finding('src/calls.ts')] });
      const result = await ask('', { command: 'review' });
      assert.match(view.text, /\*\*high\*\* \(bug\) src\/calls\.ts:3: The list is empty here\./);
      assert.match(view.text, /What was read: working tree/);
      const [anchor] = view.anchors;
      assert.ok(anchor instanceof vscode.Location);
      assert.equal(anchor.uri.fsPath, join(scratch, 'src/calls.ts'));
      assert.equal(anchor.range.start.line, 2);
      assert.deepEqual(
        followUps(result).map(({ command }) => command),
        ['commit', 'brief'],
      );
    });

    it('offers nothing that fails', async () => {
      await change();
      const asked = await follow(await ask('', { command: 'review' }));
      assert.deepEqual(asked.toSorted(), ['/brief change', '/commit ', '/review ']);
    });

    it('describes them', async () => {
      await change({ subject: 'Take the first call', body: '' });
      const result = await ask('', { command: 'commit' });
      assert.equal(message(result), '');
      assert.match(answer(), /^Take the first call\s*$/);
    });

    it('says that nothing is changed', async () => {
      await change({});
      const repository = undo.length;
      assert.ok(repository);
      await writeFile(join(scratch, 'src/calls.ts'), CODE);
      const result = await ask('change', { command: 'brief' });
      assert.match(message(result), /Nothing is changed in/);
      assert.deepEqual(
        view.buttons.map(({ title }) => title),
        ['Show Source Control'],
      );
    });
  });

  it('tells how a cold model loads, in few lines', async () => {
    await start({ loadMs: 1_500 });
    await ask('Hello');
    assert.match(view.lines.join('\n'), /^loading hermes3:8b, 0 s/m);
    assert.equal(new Set(view.lines).size, view.lines.length);
    assert.ok(view.lines.length <= 4, view.lines.join('\n'));
  });

  it('stops the server at once when it is stopped', async () => {
    await start({ tokenMs: 50 });
    const source = new vscode.CancellationTokenSource();
    const running = ask('Tell me a long story', { token: source.token });
    await server.waitFor(() => server.stats.generatedTokens > 3, 'some words');
    source.cancel();
    assert.deepEqual(await running, {});
    await server.whenIdle();
    assert.equal(server.stats.cancelled, 1);
    assert.deepEqual(intern.running, []);
  });

  it('says what is wrong when Ollama is not running, with a button to start it', async () => {
    await start();
    await server.stop();
    const result = await ask('Hello');
    assert.match(message(result), /^Ollama cannot be reached at 127\.0\.0\.1/);
    assert.ok(view.buttons.some(({ command }) => command === COMMANDS.startServer));
    assert.ok(view.buttons.every(({ title }) => title !== 'Try Again'));
  });

  it('offers nothing after an answer of another product', () => {
    assert.deepEqual(followUps({}), []);
    assert.deepEqual(followUps({ metadata: { job: 'toString' } }), []);
  });
});

function isChat({ path }: { path: string }): boolean {
  return path === '/api/chat';
}
