import assert from 'node:assert/strict';
import path from 'node:path';
import { cache } from '../support/setup.mjs';
import { type OllamaServer, type RecordedRequest, startOllama } from '../support/ollama/server';
import { keepEvidence, openStage, poll, type Stage } from './support';

const pictures = path.join(cache, 'screenshots');
const isChat = ({ path: at }: RecordedRequest): boolean => at === '/api/chat';

/** What the agent sent, as far as it is looked at here. */
interface Sent {
  model: string;
  messages: { role: string; content: string; tool_name?: string }[];
  tools?: { function: { name: string } }[];
}

describe('the tiers in chat', () => {
  let server: OllamaServer;
  let wb: Stage;

  before(async () => {
    server = await startOllama();
    wb = await openStage({
      files: { 'src/a.ts': 'export const answer = 42;\n' },
      env: { OLLAMA_HOST: server.url },
      settings: {
        // No account: the editor's own agent runs with the models of extensions.
        'chat.allowAnonymousAccess': true,
        // Its tools alone take some 17,000 tokens.
        'ollamaIntern.options.contextWindow': 65_536,
        'ollamaIntern.tiers.deep': 'qwen3:8b',
      },
    });
    await wb.statusBarItem('ollamaIntern.status');
    await wb.runCommand('Chat: Open Chat');
    await pickerName().waitFor({ state: 'visible', timeout: 30_000 });
  });

  afterEach(async function () {
    await keepEvidence(this, wb);
    // A picker that stays open after a failure would take the clicks of the next test.
    await wb.page.keyboard.press('Escape');
  });

  after(async () => {
    await wb.close();
    await server.close();
  });

  const pickerName = () => wb.page.locator('.interactive-session .model-picker-name').first();
  const rows = () => wb.page.locator('.action-widget .monaco-list-row.action');

  /** What the picker shows, with what it shows only when it is asked to. */
  async function openPicker(): Promise<string> {
    await pickerName().click();
    await rows().first().waitFor({ state: 'visible' });
    const others = rows().filter({ hasText: 'Other Models' });
    if ((await others.count()) > 0) await others.first().click();
    let seen = '';
    await poll(
      async () => /Intern · Workhorse/.test((seen = (await rows().allInnerTexts()).join('\n'))),
      20_000,
      () => `the picker shows: ${seen}`,
    );
    return seen;
  }

  const sent = () => server.requests.filter(isChat).map(({ body }) => body as unknown as Sent);

  it('are in the picker from the start, and no server is asked for that', async () => {
    const seen = await openPicker();
    await wb.screenshot(path.join(pictures, 'language-models-picker.png'));
    for (const name of ['Instant', 'Workhorse', 'Deep']) assert.match(seen, new RegExp(name));
    assert.match(seen, /qwen3:8b · local · 64K/);
    assert.deepEqual(server.requests, []);
    await rows().filter({ hasText: 'Intern · Deep' }).first().click();
    await poll(
      async () => /Deep/.test(await pickerName().innerText()),
      10_000,
      () => 'the tier is not chosen',
    );
  });

  /** The next answer calls a tool. */
  function callOnce(name: string, args: object): void {
    const call = { function: { name, arguments: args } };
    server.faults.next({
      match: (request) => isChat(request) && request.bodyText.includes(`"name":"${name}"`),
      reply: {
        status: 200,
        headers: { 'Content-Type': 'application/x-ndjson' },
        body: [
          { message: { content: '', thinking: 'I have to look.' }, done: false },
          { message: { content: '', tool_calls: [call] }, done: true, done_reason: 'stop' },
        ]
          .map((line) => `${JSON.stringify(line)}\n`)
          .join(''),
      },
    });
  }

  /** What came back to the model from the tool that it called last. */
  const returned = (name: string) =>
    sent()
      .flatMap(({ messages }) => messages)
      .findLast(({ role, tool_name }) => role === 'tool' && tool_name === name)?.content;

  it('work as an agent: a tool is called, its result goes back, and words are shown', async () => {
    const filePath = path.join(wb.folder, 'src/a.ts');
    callOnce('read_file', { filePath, startLine: 1, endLine: 1 });
    await wb.page.locator('.interactive-input-part .monaco-editor').first().click();
    await wb.page.keyboard.type('What is the answer in a.ts?');
    await wb.page.keyboard.press('Enter');
    await poll(
      async () => sent().some(({ messages }) => messages.at(-1)?.role === 'tool'),
      60_000,
      () => `no result came back: ${JSON.stringify(sent().map((one) => one.messages.at(-1)))}`,
    );
    const last = sent().findLast(({ messages }) => messages.at(-1)?.role === 'tool');
    assert.equal(last?.model, 'qwen3:8b');
    assert.equal(last.messages.at(-1)?.tool_name, 'read_file');
    assert.match(last.messages.at(-1)?.content ?? '', /answer = 42/);
    assert.ok((last.tools?.length ?? 0) > 10);
    await server.whenIdle();
    const answer = wb.page.locator('.interactive-response').last();
    await poll(
      async () => /Read/.test(await answer.innerText()),
      20_000,
      () => 'no answer is shown',
    );
    await wb.screenshot(path.join(pictures, 'language-models-agent.png'));
  });

  it('work as an agent that hands work to the jobs', async () => {
    callOnce('ollama_intern_summarize', { files: ['src/a.ts'] });
    await wb.page.locator('.interactive-input-part .monaco-editor').first().click();
    await wb.page.keyboard.type('What is src about? Use #intern_summarize');
    // The list that comes up would take the key.
    await wb.page.keyboard.press('Escape');
    await wb.page.keyboard.press('Enter');
    await poll(
      async () => returned('ollama_intern_summarize') !== undefined,
      60_000,
      () => `no result came back: ${JSON.stringify(sent().map((one) => one.messages.at(-1)))}`,
    );
    assert.match(returned('ollama_intern_summarize') ?? '', /deep · local · qwen3:8b/);
    await server.whenIdle();
    const answer = wb.page.locator('.interactive-response').last();
    await poll(
      async () => /Summariz/.test(await answer.innerText()),
      20_000,
      () => 'what the tool does is not shown',
    );
    await wb.screenshot(path.join(pictures, 'language-models-tool.png'));
  });
});
