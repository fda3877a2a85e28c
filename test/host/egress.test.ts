import assert from 'node:assert/strict';
import { ChildProcess } from 'node:child_process';
import dns from 'node:dns';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { type CommandId, COMMANDS, EXTENSION_ID, SCHEMES } from '../../src/host/ids';
import { CLOUD_KEY, type CloudServer, startCloud } from '../support/ollama/cloud';
import { choosing, TestRepository } from './repository';
import { eventually, showOutput, Stage } from './support';

/** TEST-NET-1: an address that nobody has. */
const ELSEWHERE = '192.0.2.1';
const TEXT = 'A sentence. Another sentence.';

/** Every connection that this process begins, every name that it looks up, and every program that the product starts. */
class Recorder {
  readonly hosts: string[] = [];
  readonly programs: string[] = [];
  readonly #undo: (() => void)[] = [];

  constructor(productPath: string) {
    const { hosts, programs } = this;
    // Whatever speaks TCP ends here: http, https, tls, fetch and undici.
    this.#patch(net.Socket.prototype, 'connect', (args) => {
      const host = hostOf(args);
      if (host !== undefined) hosts.push(host);
    });
    this.#patch(dns, 'lookup', ([name]) => hosts.push(String(name)));
    this.#patch(dns, 'resolve', ([name]) => hosts.push(String(name)));
    this.#patch(dns.promises, 'lookup', ([name]) => hosts.push(String(name)));
    this.#patch(ChildProcess.prototype, 'spawn', ([options]) => {
      // Other extensions live in this process too, the one for Git among them: who is nearest started it.
      const lines = new Error().stack?.split('\n') ?? [];
      const starter = lines.find((line) => /[\\/]dist[\\/]/.test(line));
      if (starter?.includes(join(productPath, 'dist')))
        programs.push((options as { file: string }).file);
    });
  }

  dispose(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  get elsewhere(): string[] {
    return this.hosts.filter((host) => !/^(localhost|127(\.\d+){3}|::1)$/.test(host));
  }

  #patch(target: object, name: string, see: (args: unknown[]) => void): void {
    const methods = target as Record<string, (...args: unknown[]) => unknown>;
    const original = methods[name];
    assert.ok(original);
    methods[name] = function (this: unknown, ...args: unknown[]) {
      see(args);
      return original.apply(this, args);
    };
    this.#undo.push(() => (methods[name] = original));
  }
}

/** What a socket is told to connect to; undefined for a pipe. */
function hostOf([first, second]: unknown[]): string | undefined {
  // net.connect hands its arguments on in one array.
  if (Array.isArray(first)) return hostOf(first);
  if (typeof first === 'number') return typeof second === 'string' ? second : 'localhost';
  if (typeof first !== 'object' || first === null) return undefined;
  const { path, host } = first as { path?: string; host?: string };
  return path ? undefined : (host ?? 'localhost');
}

describe('what leaves the machine while the cloud is off', () => {
  let stage: Stage;
  let cloud: CloudServer;
  let recorder: Recorder;

  beforeEach(async () => {
    cloud = await startCloud();
    // A server that would pass cloud models on at once.
    stage = await Stage.open({ cloud: { url: cloud.url, signedIn: true, disabled: false } });
    await stage.set({ 'cloud.host': cloud.url, 'cloud.model': 'gpt-oss:120b-cloud' });
    stage.typed = CLOUD_KEY;
    await run(COMMANDS.setCloudKey);
    const extension = vscode.extensions.getExtension(EXTENSION_ID);
    assert.ok(extension);
    recorder = new Recorder(extension.extensionPath);
  });

  afterEach(async () => {
    recorder.dispose();
    await run(COMMANDS.clearCloudKey);
    await run(COMMANDS.clearServerToken);
    await stage.set({ 'cloud.mode': undefined });
    await stage.dispose();
    await cloud.close();
  });

  const run = (command: string, ...args: unknown[]) =>
    vscode.commands.executeCommand(command, ...args);

  async function withDraft(command: string): Promise<void> {
    stage.typed = 'Write it again';
    await stage.file('draft.txt', TEXT, true);
    const drafting = run(COMMANDS.draftFromSelection);
    const isOpen = () =>
      vscode.window.visibleTextEditors.find((e) => e.document.uri.scheme === SCHEMES.draft);
    await eventually(isOpen, 'the draft');
    await drafting;
    await run(command, isOpen()?.document.uri);
  }

  async function withInlineAnswer(command: string): Promise<void> {
    stage.typed = 'What is this?';
    await stage.file('question.txt', TEXT, true);
    await run(COMMANDS.answerHere);
    assert.ok(stage.server.requests.some(({ path }) => path === '/api/chat'));
    await run(command);
    await run(COMMANDS.discardAnswer);
  }

  async function withAnswer(command: string): Promise<void> {
    await stage.file('answer.txt', TEXT, true);
    await run(COMMANDS.summarizeSelection);
    await run(command, stage.answerDocument().uri);
  }

  async function withQuickPick(command: string): Promise<void> {
    const done = run(command);
    let isDone = false;
    void done.then(() => (isDone = true));
    // The first key may come before the list is there.
    while (!isDone) {
      await run('workbench.action.acceptSelectedQuickOpenItem');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await done;
  }

  async function withWorkspaceFile(command: string): Promise<void> {
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
    assert.ok(folder);
    const file = vscode.Uri.joinPath(folder, 'marked.txt');
    await vscode.workspace.fs.writeFile(file, Buffer.from(TEXT));
    await run(command, file);
    await vscode.workspace.fs.delete(file);
  }

  async function withLabels(command: string): Promise<void> {
    stage.typed = 'bug, question';
    await stage.file('classify.txt', TEXT, true);
    await run(command);
  }

  async function withSchema(command: string): Promise<void> {
    stage.typed = '{"type": "object", "properties": {"name": {"type": "string"}}}';
    await stage.file('extract.txt', TEXT, true);
    await withQuickPick(command);
  }

  async function withProblem(command: string): Promise<void> {
    const { document } = await stage.file('problem.txt', TEXT);
    const problems = vscode.languages.createDiagnosticCollection('test');
    problems.set(document.uri, [new vscode.Diagnostic(new vscode.Range(0, 0, 0, 1), 'A problem.')]);
    await run(command);
    problems.dispose();
    assert.ok(stage.server.requests.some(({ path }) => path === '/api/chat'));
  }

  async function withLog(command: string): Promise<void> {
    await stage.api.intern.run('summarize_fast', { text: TEXT });
    await stage.api.intern.flush();
    await withQuickPick(command);
  }

  async function withChange(command: string): Promise<void> {
    const repository = await TestRepository.open(stage.folder, { 'calls.txt': 'one\n' });
    await stage.file('calls.txt', TEXT);
    await repository.git('add', '.');
    const undo = choosing(['Staged Changes']);
    await run(command);
    undo();
    await repository.close();
    assert.ok(stage.server.requests.some(({ path }) => path === '/api/chat'));
  }

  async function withOpenFile(command: string): Promise<void> {
    await stage.file('app.log', TEXT);
    await run(command);
  }

  async function withProject(command: string): Promise<void> {
    const [folder] = vscode.workspace.workspaceFolders ?? [];
    assert.ok(folder);
    const readme = vscode.Uri.joinPath(folder.uri, 'README.md');
    await vscode.workspace.fs.writeFile(readme, new TextEncoder().encode(TEXT));
    await run(command);
    await vscode.workspace.fs.delete(readme);
  }

  const withPack = (perform: (command: string) => Promise<void>) => async (command: string) => {
    await stage.set({ artifactFolder: join(stage.folder, 'artifacts') });
    await perform(command);
    await stage.set({ artifactFolder: undefined });
    assert.match(stage.shown.at(-1)?.text ?? '', /^Kept as /);
  };

  /** How each command is run: one that is new has to be added here. */
  const COMMAND_RUNS: Record<CommandId, (id: string) => PromiseLike<unknown>> = {
    [COMMANDS.summarizeSelection]: async (id) => {
      await stage.file('selection.txt', TEXT, true);
      await run(id);
    },
    [COMMANDS.summarizeFile]: async (id) => {
      await stage.file('file.txt', TEXT);
      await run(id);
    },
    [COMMANDS.classifySelection]: withLabels,
    [COMMANDS.extractFromSelection]: withSchema,
    [COMMANDS.extractFromFile]: withSchema,
    [COMMANDS.triageSelection]: async (id) => {
      await stage.file('selection.log', TEXT, true);
      await run(id);
    },
    [COMMANDS.triageFile]: async (id) => {
      await stage.file('file.log', TEXT);
      await run(id);
    },
    [COMMANDS.triageTerminal]: run,
    [COMMANDS.askSelection]: async (id) => {
      stage.typed = 'What is it about?';
      await stage.file('selection.txt', TEXT, true);
      await run(id);
    },
    [COMMANDS.embedSelection]: async (id) => {
      await stage.file('selection.txt', TEXT, true);
      await run(id);
    },
    [COMMANDS.searchByMeaning]: async (id) => {
      stage.typed = 'sentences';
      await stage.file('selection.txt', TEXT, true);
      await run(id);
    },
    [COMMANDS.explainProblem]: withProblem,
    [COMMANDS.draftFix]: async (id) => {
      stage.typed = 'Correct it';
      await withProblem(id);
    },
    [COMMANDS.runJob]: withQuickPick,
    [COMMANDS.triageOutput]: async (id) => {
      const output = vscode.window.createOutputChannel('egress');
      output.append(TEXT);
      await showOutput(output);
      await run(id);
      output.dispose();
    },
    [COMMANDS.classifyFiles]: (id) => {
      stage.typed = 'bug, question';
      return withWorkspaceFile(id);
    },
    [COMMANDS.askFiles]: (id) => {
      stage.typed = 'What is it about?';
      return withWorkspaceFile(id);
    },
    [COMMANDS.summarizeFiles]: withWorkspaceFile,
    [COMMANDS.draftFromSelection]: withDraft,
    [COMMANDS.acceptDraft]: withDraft,
    [COMMANDS.discardDraft]: withDraft,
    [COMMANDS.retryDraft]: withDraft,
    [COMMANDS.retryAnswer]: withAnswer,
    [COMMANDS.retryAnswerWithModel]: async (id) => {
      await withAnswer(COMMANDS.copyAnswer);
      await vscode.window.showTextDocument(stage.answerDocument());
      await withQuickPick(id);
    },
    [COMMANDS.copyAnswer]: withAnswer,
    [COMMANDS.answerHere]: withInlineAnswer,
    [COMMANDS.insertAnswer]: withInlineAnswer,
    [COMMANDS.replaceWithAnswer]: withInlineAnswer,
    [COMMANDS.discardAnswer]: withInlineAnswer,
    [COMMANDS.stopCall]: run,
    [COMMANDS.showLog]: withLog,
    [COMMANDS.tailLog]: withLog,
    [COMMANDS.filterLog]: async (id) => {
      await withLog(COMMANDS.tailLog);
      await withQuickPick(id);
    },
    [COMMANDS.openLogFile]: withLog,
    [COMMANDS.showDashboard]: async (id) => {
      await run(id);
      await stage.server.waitForRequest(({ path }) => path === '/api/ps');
    },
    [COMMANDS.selectProfile]: withQuickPick,
    [COMMANDS.pullModel]: (id) => run(id, 'qwen3:8b'),
    [COMMANDS.loadModels]: run,
    [COMMANDS.startServer]: run,
    [COMMANDS.setServerToken]: (id) => {
      stage.typed = 'a-token';
      return run(id);
    },
    [COMMANDS.clearServerToken]: run,
    [COMMANDS.setCloudKey]: (id) => {
      stage.typed = CLOUD_KEY;
      return run(id);
    },
    [COMMANDS.clearCloudKey]: run,
    [COMMANDS.testCloud]: run,
    [COMMANDS.enableCloud]: run,
    [COMMANDS.disableCloud]: run,
    [COMMANDS.retryCloud]: run,
    [COMMANDS.openSettings]: run,
    [COMMANDS.writeCommitMessage]: withChange,
    [COMMANDS.reviewChanges]: withChange,
    [COMMANDS.clearReview]: run,
    [COMMANDS.changeBrief]: withChange,
    [COMMANDS.changePack]: withPack(withChange),
    [COMMANDS.incidentBrief]: withOpenFile,
    [COMMANDS.incidentPack]: withPack(withOpenFile),
    [COMMANDS.keepBrief]: withPack(async (id) => {
      await withOpenFile(COMMANDS.incidentBrief);
      await run(id, stage.answerDocument().uri);
    }),
    [COMMANDS.repositoryBrief]: withProject,
    [COMMANDS.repositoryPack]: withPack(withProject),
    [COMMANDS.useForUtilityModels]: run,
    [COMMANDS.openArtifact]: withPack(async (id) => {
      await withOpenFile(COMMANDS.incidentPack);
      const undo = choosing([/./, 'Open']);
      await run(id);
      undo();
    }),
  };

  it('is known for every command', () => {
    assert.deepEqual(Object.keys(COMMAND_RUNS).sort(), Object.values(COMMANDS).sort());
  });

  it('would be seen, whatever it is sent with', async () => {
    const url = `http://${ELSEWHERE}:11434`;
    net
      .connect(9, ELSEWHERE)
      .on('error', () => undefined)
      .destroy();
    const request = http.get(url).on('error', () => undefined);
    const stop = new AbortController();
    const fetched = fetch(url, { signal: stop.signal }).catch(() => undefined);
    await eventually(
      () => recorder.elsewhere.length === 3,
      () => `three attempts, but there was: ${recorder.hosts.join(', ')}`,
    );
    request.destroy();
    stop.abort();
    await fetched;
    assert.deepEqual(new Set(recorder.elsewhere), new Set([ELSEWHERE]));
  });

  for (const [id, perform] of Object.entries(COMMAND_RUNS)) {
    it(`is nothing after ${id}`, async () => {
      await perform(id);
      await stage.server.whenIdle();
      assert.deepEqual(recorder.elsewhere, []);
      assert.deepEqual(recorder.programs, []);
      assert.equal(cloud.requests.length, 0);
    });
  }

  it('is nothing when a tier has a model of the cloud', async () => {
    await stage.set({ 'tiers.instant': 'gpt-oss:120b-cloud' });
    await stage.file('selection.txt', TEXT, true);
    await run(COMMANDS.summarizeSelection);
    assert.match(stage.shown.at(-1)?.text ?? '', /runs in the cloud, and nothing may leave/);
    assert.deepEqual(recorder.elsewhere, []);
    assert.equal(cloud.requests.length, 0);
  });

  it('is seen to begin with the product’s own connections', async () => {
    await stage.api.intern.run('summarize_fast', { text: TEXT });
    assert.ok(recorder.hosts.includes('127.0.0.1'), recorder.hosts.join());
  });

  it('would reach the stand-in for the cloud if it were on', async () => {
    stage.answer = ({ buttons }) => buttons.find((button) => button === 'Cloud First');
    await run(COMMANDS.enableCloud);
    await stage.api.intern.run('summarize_fast', { text: TEXT });
    assert.ok(cloud.requests.length > 0);
  });
});
