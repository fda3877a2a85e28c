import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { createIntern, type Envelope, type Intern, type Settings } from '../../src/core';
import { COMMANDS, MODEL_VENDOR } from '../../src/host/ids';
import { LanguageModels } from '../../src/host/languageModels';
import { CLOUD_KEY, startCloud } from '../support/ollama/cloud';
import {
  faults,
  type OllamaOptions,
  type OllamaServer,
  type RecordedRequest,
  startOllama,
} from '../support/ollama/server';
import { eventually, Stage } from './support';

const TEXT = 'The limiter admits two calls at once. Others wait in line.';
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=',
  'base64',
);
const WEATHER: vscode.LanguageModelChatTool = {
  name: 'get_weather',
  description: 'Weather of a city',
  inputSchema: { type: 'object', properties: { city: { type: 'string' } } },
};
type Said<R extends 'User' | 'Assistant'> = Parameters<
  (typeof vscode.LanguageModelChatMessage)[R]
>[0];
const User = (content: Said<'User'>) => vscode.LanguageModelChatMessage.User(content);
const Assistant = (content: Said<'Assistant'>) =>
  vscode.LanguageModelChatMessage.Assistant(content);
const isChat = ({ path }: RecordedRequest): boolean => path === '/api/chat';

/** What the runtime tells of a model beyond the API's types. */
type Model = vscode.LanguageModelChat & {
  capabilities: { supportsToolCalling: boolean; supportsImageToText: boolean };
};

describe('language models', () => {
  let stage: Stage;

  const open = async (options: OllamaOptions = {}): Promise<Stage> => {
    stage = await Stage.open(options);
    return stage;
  };
  afterEach(() => stage.dispose());

  const list = async (): Promise<Model[]> =>
    (await vscode.lm.selectChatModels({ vendor: MODEL_VENDOR })) as Model[];
  const model = async (id: string): Promise<Model> => {
    const found = (await list()).find((one) => one.id === id);
    assert.ok(found, `no model ${id}`);
    return found;
  };
  interface Answer {
    text: string;
    calls: vscode.LanguageModelToolCallPart[];
    thought: string;
    usage: Record<string, number> | undefined;
    pieces: number;
  }
  async function ask(
    id: string,
    messages: vscode.LanguageModelChatMessage[],
    options: vscode.LanguageModelChatRequestOptions = {},
    token?: vscode.CancellationToken,
  ): Promise<Answer> {
    const response = await (await model(id)).sendRequest(messages, options, token);
    const answer: Answer = { text: '', calls: [], thought: '', usage: undefined, pieces: 0 };
    for await (const part of response.stream) {
      answer.pieces++;
      if (part instanceof vscode.LanguageModelTextPart) answer.text += part.value;
      else if (part instanceof vscode.LanguageModelToolCallPart) answer.calls.push(part);
      else if (part instanceof vscode.LanguageModelDataPart) {
        assert.equal(part.mimeType, 'usage');
        answer.usage = JSON.parse(new TextDecoder().decode(part.data)) as Record<string, number>;
      } else answer.thought += (part as { value: string }).value;
    }
    return answer;
  }
  const failing = async (asking: Promise<unknown>): Promise<Error & { code?: string }> => {
    const error: unknown = await asking.then(
      () => assert.fail('it was answered'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof Error);
    return error;
  };
  const sent = () =>
    stage.server.requests.filter(isChat).at(-1)?.body as unknown as {
      model: string;
      messages: object[];
      think?: boolean;
    };

  it('are the three tiers, with their windows and what their models can', async () => {
    await open();
    await stage.set({ 'options.contextWindow': 4096, 'tiers.deep': 'gemma3:4b' });
    const models = await list();
    assert.deepEqual(
      models.map(({ id, name, family, maxInputTokens, capabilities }) => [
        id,
        name,
        family,
        maxInputTokens,
        capabilities.supportsToolCalling,
        capabilities.supportsImageToText,
      ]),
      [
        ['instant', 'Intern · Instant', 'hermes3', 3072, true, false],
        ['workhorse', 'Intern · Workhorse', 'hermes3', 3072, true, false],
        ['deep', 'Intern · Deep', 'gemma3', 3072, false, true],
      ],
    );
    assert.ok(!stage.server.requests.some(isChat));
  });

  it('are the installed ones too, when that is wanted', async () => {
    await open();
    await stage.set({ 'languageModels.installed': true });
    const ids = (await list()).map(({ id }) => id);
    assert.deepEqual(ids.slice(0, 3), ['instant', 'workhorse', 'deep']);
    assert.ok(ids.includes('local/gemma3:4b'));
    assert.ok(!ids.some((id) => id.includes('nomic')), 'one that only embeds is no chat model');
    await ask('local/gemma3:4b', [User(TEXT)]);
    assert.equal(sent().model, 'gemma3:4b');
  });

  const shown = (name: string) =>
    stage.server.requests.some(({ path, body }) => path === '/api/show' && body.model === name);

  it('are listed again when a setting changes, and no server is asked because of it', async () => {
    await open();
    await list();
    const { length } = stage.server.requests;
    await stage.set({ 'tiers.deep': 'gemma3:4b' });
    assert.equal(stage.server.requests.length, length);
    await list();
    await stage.server.waitFor(() => shown('gemma3:4b'), 'the question about the new model');
    // The editor tells of ids alone.
    let listener: vscode.Disposable | undefined;
    const changed = new Promise<void>((resolve) => {
      listener = vscode.lm.onDidChangeChatModels(() => resolve());
    });
    await stage.set({ 'languageModels.installed': true });
    await changed;
    listener?.dispose();
  });

  it('are listed without a server, and again with what they can once it answers', async () => {
    await open();
    await stage.set({ 'tiers.deep': 'gemma3:4b' });
    await stage.server.stop();
    stage.api.intern.models.refresh();
    const models = await list();
    assert.deepEqual(
      models.map(({ id }) => id),
      ['instant', 'workhorse', 'deep'],
    );
    assert.equal(models[2]?.capabilities.supportsToolCalling, true, 'chat would hide it');
    assert.match((await failing(ask('instant', [User(TEXT)]))).message, /Ollama/);
    await stage.server.start();
    assert.ok(!shown('gemma3:4b'));
    await models[0]?.sendRequest([User(TEXT)]);
    await stage.server.waitFor(() => shown('gemma3:4b'), 'the question about the other model');
    assert.equal((await model('deep')).capabilities.supportsToolCalling, false);
  });

  it('are listed within seconds by a server that does not answer', async () => {
    await open();
    stage.api.intern.models.refresh();
    stage.server.faults.next({
      ...faults.hang(),
      match: ({ path }) => path === '/api/show',
      times: 9,
    });
    const before = Date.now();
    assert.equal((await list()).length, 3);
    assert.ok(Date.now() - before < 8_000, 'it waited for the server');
    stage.server.faults.clear();
  });

  it('stream, count, and leave an envelope and a line in the log', async () => {
    await open();
    let envelope: Envelope | undefined;
    const listener = stage.api.intern.listen({ onEnvelope: (one) => (envelope = one) });
    const answer = await ask('workhorse', [User(TEXT)]);
    listener.dispose();
    assert.match(answer.text, /limiter/);
    assert.ok(answer.usage?.prompt_tokens && answer.usage.completion_tokens);
    assert.equal(
      answer.usage.total_tokens,
      answer.usage.prompt_tokens + answer.usage.completion_tokens,
    );
    assert.equal(envelope?.surface, 'language_model');
    assert.equal(envelope.job, 'chat');
    assert.equal(envelope.tier_used, 'workhorse');
    assert.equal(envelope.tokens_in, answer.usage.prompt_tokens);
    const [line] = await stage.log();
    assert.equal(line?.tool, 'chat');
    assert.ok(!JSON.stringify(line).includes('limiter'));
  });

  it('call a tool, and answer with its result', async () => {
    await open();
    const question = User('Call get_weather for Paris.');
    const first = await ask('workhorse', [question], { tools: [WEATHER] });
    const [call] = first.calls;
    assert.ok(call);
    assert.equal(call.name, 'get_weather');
    const result = new vscode.LanguageModelToolResultPart(call.callId, [
      new vscode.LanguageModelTextPart('It is sunny.'),
    ]);
    const messages = [
      question,
      Assistant([new vscode.LanguageModelTextPart('Let me see. ')]),
      Assistant([call]),
      User([result, new vscode.LanguageModelTextPart('So?')]),
    ];
    const last = await ask('workhorse', messages, { tools: [WEATHER] });
    assert.equal(last.calls.length, 0);
    assert.notEqual(last.text, '');
    assert.deepEqual(sent().messages, [
      { role: 'user', content: 'Call get_weather for Paris.' },
      {
        role: 'assistant',
        content: 'Let me see. ',
        tool_calls: [{ id: call.callId, function: { name: 'get_weather', arguments: call.input } }],
      },
      {
        role: 'tool',
        content: 'It is sunny.',
        tool_call_id: call.callId,
        tool_name: 'get_weather',
      },
      { role: 'user', content: 'So?' },
    ]);
  });

  it('think aloud where the editor can show it, but not the instant tier', async () => {
    await open();
    await stage.set({ 'tiers.deep': 'qwen3:8b', 'tiers.instant': 'qwen3:8b' });
    const deep = await ask('deep', [User(TEXT)]);
    assert.equal(sent().think, true);
    const isShown = 'LanguageModelThinkingPart' in vscode;
    assert.equal(/The text is about/.test(deep.thought), isShown);
    assert.doesNotMatch(deep.text, /The text is about/);
    await ask('instant', [User(TEXT)]);
    assert.equal(sent().think, false);
  });

  it('say that an answer was cut at its limit, but not in a title', async () => {
    await open();
    await stage.set({ 'options.numPredict': 4 });
    const cut = await ask('workhorse', [User(TEXT)]);
    assert.match(cut.text, /\n\n\[The answer reached its length limit/);
    assert.doesNotMatch((await ask('instant', [User(TEXT)])).text, /length limit/);
    await stage.set({ 'options.numPredict': undefined });
    assert.doesNotMatch((await ask('workhorse', [User(TEXT)])).text, /length limit/);
  });

  it('free the server at once when they are cancelled', async () => {
    await open({ tokenMs: 200 });
    const stop = new vscode.CancellationTokenSource();
    const asking = ask('workhorse', [User(TEXT.repeat(20))], {}, stop.token).catch(() => undefined);
    await stage.server.waitFor(() => stage.server.stats.generatedTokens > 2);
    stop.cancel();
    await stage.server.waitFor(() => stage.server.stats.active === 0);
    assert.equal(stage.server.stats.cancelled, 1);
    await eventually(() => stage.api.intern.running.length === 0, 'the end of the call');
    await asking;
  });

  it('say what to do about a tool result of 1 MB, and send nothing', async () => {
    await open();
    const call = new vscode.LanguageModelToolCallPart('big', 'read_file', { path: 'a' });
    const result = new vscode.LanguageModelToolResultPart('big', [
      new vscode.LanguageModelTextPart('word '.repeat(200_000)),
    ]);
    const messages = [User('Read it.'), Assistant([call]), User([result])];
    const error = await failing(ask('workhorse', messages));
    assert.match(error.message, /too long for hermes3:8b.*what one tool returned: ask for less/s);
    assert.ok(!stage.server.requests.some(isChat));
  });

  it('do not take an image to a model that sees none, and take one that sees', async () => {
    await open();
    await stage.set({ 'tiers.deep': 'gemma3:4b' });
    const image = vscode.LanguageModelDataPart.image(PNG, 'image/png');
    const messages = [User([new vscode.LanguageModelTextPart('What is it?'), image])];
    const error = await failing(ask('workhorse', messages));
    assert.match(error.message, /cannot read images.*vision capability/s);
    await ask('deep', messages);
    assert.deepEqual(sent().messages, [
      { role: 'user', content: 'What is it?', images: [PNG.toString('base64')] },
    ]);
  });

  it('do not take a file that no model reads', async () => {
    await open();
    const pdf = new vscode.LanguageModelDataPart(new Uint8Array([1]), 'application/pdf');
    const error = await failing(ask('workhorse', [User([pdf])]));
    assert.match(error.message, /application\/pdf/);
  });

  it('go on after a tool that returned what no model reads', async () => {
    await open();
    await stage.set({ 'tiers.deep': 'gemma3:4b' });
    const call = new vscode.LanguageModelToolCallPart('a', 'record', {});
    const svg = '<svg><title>A limiter</title></svg>';
    const data = (bytes: Uint8Array, type: string) => new vscode.LanguageModelDataPart(bytes, type);
    const result = new vscode.LanguageModelToolResultPart('a', [
      new vscode.LanguageModelTextPart('Recorded.'),
      data(new Uint8Array(11_500), 'audio/wav'),
      data(Buffer.from(svg), 'image/svg+xml'),
      data(Buffer.from('calls: 2'), 'application/yaml'),
      data(PNG, 'image/png'),
    ]);
    await ask('deep', [User('Record it.'), Assistant([call]), User([result])]);
    const { messages } = sent() as unknown as { messages: { role: string; content: string }[] };
    assert.equal(
      messages.find(({ role }) => role === 'tool')?.content,
      ['Recorded.', '[audio/wav, 12 KB: not readable by this model]', svg, 'calls: 2'].join('\n'),
    );
    assert.deepEqual((messages.at(-1) as { images?: string[] }).images, [PNG.toString('base64')]);
  });

  it('fail in the words of the API where it has them', async () => {
    await open();
    await stage.set({ 'tiers.deep': 'nope:1b' });
    const error = await failing(ask('deep', [User(TEXT)]));
    assert.equal(error.code, vscode.LanguageModelError.NotFound.name);
    assert.match(error.message, /nope:1b is not installed.*hermes3:8b/s);
  });

  it('count tokens as they have learned to', async () => {
    await open();
    const workhorse = await model('workhorse');
    assert.equal(await workhorse.countTokens(''), 0);
    const guess = await workhorse.countTokens(TEXT);
    assert.ok(guess > 8 && guess < 30, String(guess));
    assert.ok((await workhorse.countTokens(User(TEXT))) > guess, 'a message is more than its text');
  });

  describe('for the small tasks of the editor', () => {
    const KEYS = ['chat.utilityModel', 'chat.utilitySmallModel'];
    const values = () =>
      KEYS.map((key) => vscode.workspace.getConfiguration().inspect(key)?.globalValue);
    const choosing = (...titles: string[]) => {
      stage.answer = ({ buttons }) => buttons.find((button) => titles.includes(button));
    };
    const run = () => vscode.commands.executeCommand(COMMANDS.useForUtilityModels);

    beforeEach(() => open());
    afterEach(async () => {
      for (const key of KEYS)
        await vscode.workspace.getConfiguration().update(key, undefined, true);
    });

    it('are the instant tier, once the person agrees', async () => {
      await run();
      assert.deepEqual(values(), [undefined, undefined]);
      assert.match(stage.shown[0]?.modal ?? '', /hermes3:8b\. Nothing leaves this machine/);
      choosing('Use Intern');
      await run();
      assert.deepEqual(values(), ['ollama-intern/instant', 'ollama-intern/instant']);
      assert.deepEqual(stage.shown.at(-1)?.buttons, ['Undo']);
    });

    it('are what they were before, when it is undone', async () => {
      await vscode.workspace.getConfiguration().update('chat.utilityModel', 'copilot/x', true);
      choosing('Use Intern', 'Undo');
      await run();
      assert.deepEqual(values(), ['copilot/x', undefined]);
    });

    it('can be given back later', async () => {
      choosing('Use Intern');
      await run();
      choosing('Undo');
      await run();
      assert.deepEqual(values(), [undefined, undefined]);
    });
  });
});

/** What the editor itself is given; it tells others less. */
describe('the list of language models', () => {
  let server: OllamaServer;
  let folder: string;
  let intern: Intern;
  let models: LanguageModels;
  let settings: Settings;
  let changes: number;

  beforeEach(async () => {
    server = await startOllama();
    folder = await mkdtemp(join(tmpdir(), 'intern-models-'));
    settings = { host: server.url, logPath: join(folder, 'log.ndjson') };
    intern = createIntern({ settings, env: {} });
    const kept = new Map<string, unknown>();
    const memento = {
      keys: () => [...kept.keys()],
      get: (key: string) => kept.get(key),
      update: async (key: string, value: unknown) => void kept.set(key, value),
    } as vscode.Memento;
    // The extension has registered its own.
    const lm = vscode.lm as unknown as Record<string, unknown>;
    const { registerLanguageModelChatProvider } = lm;
    lm['registerLanguageModelChatProvider'] = () => new vscode.Disposable(() => {});
    try {
      models = new LanguageModels(intern, memento);
    } finally {
      lm['registerLanguageModelChatProvider'] = registerLanguageModelChatProvider;
    }
    changes = 0;
    models.onDidChangeLanguageModelChatInformation(() => changes++);
  });

  afterEach(async () => {
    models.dispose();
    await intern.dispose();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const list = () => models.provideLanguageModelChatInformation();
  const workhorse = async () => (await list()).find(({ id }) => id === 'workhorse');

  it('is made again when other settings let prompts leave this machine', async () => {
    assert.match((await workhorse())?.tooltip ?? '', /Nothing leaves this machine\.$/);
    await list();
    const gateway = { host: 'https://gateway.example' };
    const cloud = (host: string) => ({ cloud: { mode: 'fallback', host } });
    const cases: [host: string, more: Settings][] = [
      ['gateway.example', { gateway, fallbacks: { '*': ['gateway/big'] } }],
      ['one.example', cloud('https://one.example')],
      ['two.example', cloud('https://two.example')],
    ];
    for (const [host, more] of cases) {
      const before = changes;
      intern.configure({ ...settings, ...more });
      assert.ok(changes > before, host);
      const tooltip = (await workhorse())?.tooltip ?? '';
      assert.ok(tooltip.includes(host), tooltip);
    }
  });

  it("is made again when the cloud's window is another", async () => {
    const cloud = { mode: 'primary', host: 'http://127.0.0.1:9' } as const;
    intern.setCloudKey(cloud.host, 'a-key');
    intern.configure({ ...settings, cloud: { ...cloud, contextWindow: 32_768 } });
    const before = (await workhorse())?.maxInputTokens ?? 0;
    intern.configure({ ...settings, cloud: { ...cloud, contextWindow: 65_536 } });
    assert.ok(changes > 0);
    assert.ok(((await workhorse())?.maxInputTokens ?? 0) > before);
  });

  it('keeps the installed models when their server does not answer, and asks again', async () => {
    const config = vscode.workspace.getConfiguration('ollamaIntern');
    await config.update('languageModels.installed', true, vscode.ConfigurationTarget.Global);
    const cloud = await startCloud();
    try {
      const model = 'gpt-oss:120b-cloud';
      intern.configure({ ...settings, cloud: { mode: 'primary', host: cloud.url, model } });
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      await list();
      const ids = (await list()).map(({ id }) => id);
      assert.ok(ids.includes('local/gemma3:4b'));
      await server.stop();
      intern.models.refresh();
      assert.deepEqual(
        (await list()).map(({ id }) => id),
        ids,
      );
      const before = changes;
      const envelope = await intern.run('summarize_fast', { text: TEXT });
      assert.equal(envelope.backend, 'cloud');
      assert.ok(changes > before, 'nobody asks again');
    } finally {
      await config.update('languageModels.installed', undefined, vscode.ConfigurationTarget.Global);
      await cloud.close();
    }
  });
});
