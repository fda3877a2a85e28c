import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { cardOf, type JobName } from '../../src/core';
import { Tool } from '../../src/host/tools';
import type { OllamaOptions } from '../support/ollama/server';
import { TestRepository } from './repository';
import { eventually, Stage, withFolders } from './support';

const NOTE = 'The limiter admits two calls at once.\n\nThe others wait in line until one ends.\n';
const LOG = '2026-01-01T00:00:01Z INFO started\n2026-01-01T00:00:02Z ERROR refused\n';
const SCHEMA = { type: 'object', properties: { limit: { type: 'integer' } }, required: ['limit'] };

/** What a tool returned, its parts apart. */
const texts = ({ content }: vscode.LanguageModelToolResult): string[] =>
  content.map((part) => (part as vscode.LanguageModelTextPart).value);

describe('tools', () => {
  let stage: Stage;
  let folder: string;
  let inner: string;

  const open = async (options: OllamaOptions = {}): Promise<void> => {
    stage = await Stage.open(options);
    const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
    assert.ok(root);
    folder = await mkdtemp(join(root, 'tools-'));
    inner = folder.slice(root.length + 1);
    await writeFile(join(folder, 'note.md'), NOTE);
    await writeFile(join(folder, 'server.log'), LOG);
  };

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
    await stage.dispose();
  });

  const invoke = async (
    name: string,
    input: object,
    more: Partial<vscode.LanguageModelToolInvocationOptions<object>> = {},
    token?: vscode.CancellationToken,
  ): Promise<string[]> => {
    const options = { input, toolInvocationToken: undefined, ...more };
    return texts(await vscode.lm.invokeTool(`ollama_intern_${name}`, options, token));
  };
  const failing = async (work: Promise<unknown>): Promise<Error> => {
    const error: unknown = await work.then(
      () => assert.fail('it was answered'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof Error);
    return error;
  };
  const prompts = () => stage.server.requests.filter(({ path }) => path === '/api/chat');

  const CALLS: Record<string, (file: (name: string) => string) => [object, string]> = {
    classify: (file) => [{ labels: ['bug', 'idea'], files: [file('note.md')] }, 'classify'],
    triage_logs: (file) => [{ files: [file('server.log')] }, 'triage_logs'],
    extract: (file) => [{ schema: SCHEMA, files: [file('note.md')] }, 'extract'],
    summarize: () => [{ files: [inner] }, 'summarize_deep'],
    research: (file) => [{ question: 'Who waits?', files: [file('note.md')] }, 'research'],
    embed_search: (file) => [{ query: 'who waits', files: [file('note.md')] }, 'embed_search'],
  };
  for (const [name, call] of Object.entries(CALLS)) {
    it(`${name} reads files of the workspace and returns a result with its envelope`, async () => {
      await open();
      const [input, job] = call((file) => `${inner}/${file}`);
      const [result = '', origin = ''] = await invoke(name, input);
      assert.notEqual(result.trim(), '');
      assert.match(origin, /^(instant|workhorse|deep|embed) · local · /);
      const [line] = (await stage.log()) as { tool: string; envelope: { surface: string } }[];
      assert.equal(line?.tool, job);
      assert.equal(line.envelope.surface, 'tool');
    });
  }

  it('are told workspace folders of one name apart by more of their paths', async () => {
    await open();
    const roots = ['api', 'web'].map((name) => join(folder, name, 'src'));
    for (const root of roots) {
      await mkdir(root, { recursive: true });
      await writeFile(join(root, 'note.md'), `This is the note of ${root}.\n`);
    }
    const restore = withFolders(...roots);
    try {
      await invoke('summarize', { files: ['web/src/note.md'] });
    } finally {
      restore();
    }
    const sent = JSON.stringify(prompts().map(({ body }) => body as unknown));
    assert.match(sent, /the note of \S*web/);
    assert.doesNotMatch(sent, /the note of \S*api/);
  });

  it('code_review reads the change in git, or the diff that it is given', async () => {
    await open();
    const repository = await TestRepository.open(stage.folder, { 'calls.ts': 'let limit = 2;\n' });
    try {
      await vscode.window.showTextDocument(vscode.Uri.file(join(stage.folder, 'calls.ts')));
      await repository.write({ 'calls.ts': 'let limit = 3;\n' });
      await repository.git('add', '.');
      const [, origin = ''] = await invoke('code_review', {});
      assert.match(origin, /What was read: /);
      assert.match(JSON.stringify(prompts().at(-1)?.body), /limit = 3/);
    } finally {
      await repository.close();
    }
    const diff = ['--- a/x.ts', '+++ b/x.ts', '@@ -1 +1 @@', '-let a = 1;', '+let a = 7;', ''];
    await invoke('code_review', { text: diff.join('\n') });
    assert.match(JSON.stringify(prompts().at(-1)?.body), /let a = 7/);
  });

  it('take a text instead of files', async () => {
    await open();
    await invoke('summarize', { text: NOTE });
    assert.match(JSON.stringify(prompts()[0]?.body), /two calls at once/);
  });

  it('read a log that is larger than other files may be', async () => {
    await open();
    const lines = Math.ceil(6_000_000 / LOG.length);
    await writeFile(join(folder, 'big.log'), LOG.repeat(lines));
    const [result = ''] = await invoke('triage_logs', { files: [`${inner}/big.log`] });
    assert.match(result, new RegExp(lines.toLocaleString('en-US')));
  });

  it('read nothing outside of the workspace, wherever a path or a link leads', async () => {
    await open();
    const outside = await mkdtemp(join(tmpdir(), 'outside-'));
    try {
      await writeFile(join(outside, 'secret.txt'), 'the secret of the house');
      await symlink(join(outside, 'secret.txt'), join(folder, 'link.txt'));
      const paths = [
        join(outside, 'secret.txt'),
        `${inner}/link.txt`,
        `${inner}/../../${outside.slice(1)}/secret.txt`,
        '../'.repeat(12) + `${outside.slice(1)}/secret.txt`,
      ];
      for (const path of paths) {
        const { message } = await failing(invoke('summarize', { files: [path] }));
        assert.match(message, /nothing to read/, path);
      }
      assert.deepEqual(prompts(), []);
    } finally {
      await rm(outside, { recursive: true });
    }
  });

  it('say what they could not read', async () => {
    await open();
    const files = [`${inner}/note.md`, `${inner}/gone.md`];
    const [, origin = ''] = await invoke('summarize', { files });
    assert.match(origin, /Left out .*gone\.md/);
    const { message } = await failing(invoke('summarize', { files: [`${inner}/gone.md`] }));
    assert.match(message, /gone\.md/);
  });

  it('return an error with what to do about it, and nothing is sent', async () => {
    await open();
    const { message } = await failing(
      invoke('classify', { labels: ['bug', 'BUG'], files: [`${inner}/note.md`] }),
    );
    assert.match(message, /Two of the labels are the same/);
    assert.deepEqual(prompts(), []);
  });

  it('stop the model at once when the caller has had enough', async () => {
    await open({ tokenMs: 200 });
    const source = new vscode.CancellationTokenSource();
    const running = invoke('summarize', { files: [`${inner}/note.md`] }, {}, source.token);
    await stage.server.waitFor(() => stage.server.stats.generatedTokens > 2);
    source.cancel();
    await failing(running);
    await stage.server.waitFor(() => stage.server.stats.active === 0);
    assert.equal(stage.server.stats.cancelled, 1);
  });

  it('return no more than was asked for, and say what is left out', async () => {
    await open();
    const countTokens = (text: string): Thenable<number> =>
      Promise.resolve(Math.ceil(text.length / 4));
    const [result = '', origin = ''] = await invoke(
      'summarize',
      { files: [inner] },
      { tokenizationOptions: { tokenBudget: 50, countTokens } },
    );
    assert.match(result, /left out/);
    assert.match(origin, /^deep · local/);
  });

  it('say before they run what will run where, and let no name of a file come alive', async () => {
    await open();
    const said = async (job: JobName, input: Record<string, unknown>): Promise<unknown> => {
      const { tool } = cardOf(job);
      assert.ok(tool);
      const prepared = await new Tool(stage.api.intern, job, tool).prepareInvocation({ input });
      return prepared.invocationMessage;
    };
    assert.equal(
      await said('summarize_deep', { files: ['src/a.ts', 'b.md'] }),
      'Summarizing src/a.ts, b.md with hermes3:8b (local)',
    );
    assert.equal(
      await said('code_review', {}),
      'Reviewing the change in Git with hermes3:8b (local)',
    );
    assert.equal(
      await said('embed_search', { text: 'x' }),
      'Searching in a text with nomic-embed-text (local)',
    );
    const live = await said('summarize_deep', { files: ['[run](command:workbench.action.quit)'] });
    assert.doesNotMatch(String(live), /\]\(/);
    const { intern } = stage.api;
    const host = 'http://127.0.0.1:9';
    await stage.set({ 'cloud.host': host });
    intern.setCloudKey(host, 'a-key');
    await stage.set({ 'cloud.mode': 'primary' });
    assert.match(
      String(await said('summarize_deep', { text: 'x' })),
      /minimax-m3:cloud \(cloud\)$/,
    );
    // Without a key it is left alone.
    intern.setCloudKey(host, undefined);
    const isLeftAlone = () =>
      intern.backends.some(({ breaker }) => breaker.state === 'misconfigured');
    await eventually(isLeftAlone, 'the cloud to be left alone');
    assert.match(
      String(await said('summarize_deep', { text: 'x' })),
      / with hermes3:8b \(local\)$/,
    );
    await stage.set({ 'cloud.mode': 'fallback' });
    assert.match(
      String(await said('summarize_deep', { text: 'x' })),
      /hermes3:8b \(local\); when that fails, minimax-m3:cloud \(cloud\)$/,
    );
    await stage.set({ 'cloud.mode': undefined });
    assert.deepEqual(prompts(), []);
  });

  it('are offered to agents, under names of the product', async () => {
    await open();
    const names = vscode.lm.tools
      .filter(({ tags }) => tags.includes('ollama-intern'))
      .map(({ name }) => name);
    assert.deepEqual(
      names.toSorted(),
      [...Object.keys(CALLS), 'code_review'].map((name) => `ollama_intern_${name}`).toSorted(),
    );
  });
});
