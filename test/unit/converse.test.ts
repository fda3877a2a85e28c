import assert from 'node:assert/strict';
import type { Intern, RunOptions, TurnRequest } from '../../src/core';
import type { ChatMessage, Tool, ToolCall } from '../../src/core/ollama/client';
import { chunk, gatewayFaults } from '../support/gateway/server';
import { faults, type RecordedRequest } from '../support/ollama/server';
import { chatsOf, isChat, onChat, Stage, TEXT, triesOf } from './stage';
import { assertHint, failure } from './support';

const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=';
const WEATHER = {
  name: 'get_weather',
  description: 'Weather of a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

const user = (content: string, ...images: string[]) => ({ role: 'user' as const, content, images });
const assistant = (content: string, more: object = {}) => ({
  role: 'assistant' as const,
  content,
  ...more,
});
const result = (tool_call_id: string, content: string, ...images: string[]) => ({
  role: 'tool' as const,
  tool_call_id,
  content,
  images,
});
const call = (id: string, name = 'get_weather') => ({ id, name, arguments: { city: id } });
const ask = (content: string, more: Partial<TurnRequest> = {}): TurnRequest => ({
  messages: [user(content)],
  ...more,
});

/** What a server was last asked. */
interface Sent {
  model: string;
  messages: ChatMessage[];
  tools?: Tool[];
  tool_choice?: string;
  think?: boolean;
  options: { num_ctx: number; num_predict: number; temperature: number };
}

const sentTo = ({ requests }: { requests: RecordedRequest[] }, path = '/api/chat'): Sent => {
  const last = requests.findLast((request) => request.path === path);
  assert.ok(last, `nothing was sent to ${path}`);
  return last.body as unknown as Sent;
};

/** Lines of an answer, as they are. */
const linesOf = (...lines: object[]) =>
  onChat({
    reply: {
      status: 200,
      headers: { 'Content-Type': 'application/x-ndjson' },
      body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    },
  });
const wireCall = (name: string, id?: string): ToolCall => ({
  ...(id && { id }),
  function: { name, arguments: { city: 'Paris' } },
});

describe('a turn of a conversation', () => {
  const stage = Stage.forEach();
  const converse = (
    intern: Intern,
    request: TurnRequest,
    options: Omit<RunOptions, 'overflow'> = {},
    tier: 'instant' | 'workhorse' | 'deep' = 'workhorse',
  ) => stage().finish(intern.converse(tier, request, options));

  it('is routed, enveloped and logged like a job', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    const pieces: string[] = [];
    const envelope = await converse(
      intern,
      ask(TEXT, { temperature: 0.1 }),
      { surface: 'language_model', onDelta: (text) => pieces.push(text) },
      'deep',
    );
    assert.ok(pieces.length > 1);
    assert.equal(pieces.join(''), envelope.result.text);
    assert.deepEqual(envelope.result.tool_calls, []);
    assert.equal(envelope.job, 'chat');
    assert.equal(envelope.tier_used, 'deep');
    assert.equal(envelope.surface, 'language_model');
    assert.equal(envelope.calls, undefined);
    assert.ok((envelope.tokens_in ?? 0) > 0 && (envelope.tokens_out ?? 0) > 0);
    assert.equal(sentTo(server).options.temperature, 0.1);
    const lines = await stage().logged(intern);
    assert.deepEqual(
      lines.map(({ kind, tool }) => [kind, tool]),
      [['call', 'chat']],
    );
    const logged = lines[0]?.envelope as { surface: string };
    assert.equal(logged.surface, 'language_model');
    assert.doesNotMatch(JSON.stringify(lines), /limiter/);
  });

  it('falls back like a job when the cloud fails', async () => {
    const { intern, cloud } = await stage().team();
    cloud.faults.next(onChat(faults.page(503)));
    const envelope = await converse(intern, ask(TEXT));
    assert.deepEqual(triesOf(envelope), ['cloud server', 'local answer']);
    assert.equal(envelope.degrade_reason, 'cloud_5xx');
  });

  it('is never told in two halves: not after text, not after a thought', async () => {
    const beginnings = [{ content: 'Half an' }, { content: '', thinking: 'Well' }];
    for (const message of beginnings) {
      const { intern, cloud, local } = await stage().team();
      const before = local.requests.length;
      cloud.faults.next(linesOf({ message, done: false }, { error: 'upstream failed' }));
      const seen: string[] = [];
      const note = (text: string): void => void seen.push(text);
      await failure(converse(intern, ask(TEXT), { onDelta: note, onThinking: note }));
      assert.deepEqual(seen, [message.thinking ?? message.content]);
      assert.equal(local.requests.length, before);
    }
  });

  it('of a thought that nobody saw goes on elsewhere', async () => {
    const { intern, cloud } = await stage().team();
    cloud.faults.next(
      linesOf({ message: { content: '', thinking: 'Well' }, done: false }, { error: 'failed' }),
    );
    const envelope = await converse(intern, ask(TEXT));
    assert.equal(envelope.backend, 'local');
  });

  it('that is cancelled stops the server', async () => {
    const server = await stage().serve({ tokenMs: 1_000 });
    const intern = stage().hire(server);
    const stop = new AbortController();
    const onDelta = (): void => stop.abort();
    const error = await failure(converse(intern, ask(TEXT), { signal: stop.signal, onDelta }));
    assert.equal(error.code, 'cancelled');
    await server.whenIdle();
    assert.equal(server.stats.active, 0);
    assert.equal(server.stats.cancelled, 1);
  });

  describe('sends', () => {
    async function sent(messages: TurnRequest['messages']): Promise<object[]> {
      const server = await stage().serve();
      await converse(stage().hire(server), { messages });
      return sentTo(server).messages;
    }

    it('every message as it is, in its order', async () => {
      const messages = [
        { role: 'system' as const, content: 'Be brief.' },
        { role: 'user' as const, content: 'One?' },
        { role: 'assistant' as const, content: 'Un.' },
        { role: 'user' as const, content: 'Two?' },
        { role: 'user' as const, content: 'And three?' },
      ];
      assert.deepEqual(await sent(messages), messages);
    });

    it('consecutive messages of the assistant as one', async () => {
      const [, merged, ...rest] = await sent([
        user('Weather?'),
        assistant('I will look.', { thinking: 'A tool' }),
        assistant('', { thinking: 'helps.', tool_calls: [call('Rome')] }),
        assistant('', { tool_calls: [call('Oslo')] }),
        result('Rome', 'sunny'),
        result('Oslo', 'rain'),
        assistant(''),
        user('So?'),
      ]);
      assert.deepEqual(merged, {
        role: 'assistant',
        content: 'I will look.',
        thinking: 'A tool\nhelps.',
        tool_calls: ['Rome', 'Oslo'].map((city) => ({
          id: city,
          function: { name: 'get_weather', arguments: { city } },
        })),
      });
      assert.deepEqual(rest, [
        { role: 'tool', content: 'sunny', tool_call_id: 'Rome', tool_name: 'get_weather' },
        { role: 'tool', content: 'rain', tool_call_id: 'Oslo', tool_name: 'get_weather' },
        { role: 'user', content: 'So?' },
      ]);
    });

    it('a result whose call is not there any more', async () => {
      const [, last] = await sent([user('Weather?'), result('gone', 'sunny')]);
      assert.deepEqual(last, { role: 'tool', content: 'sunny', tool_call_id: 'gone' });
    });
  });

  for (const [what, messages] of [
    ['no message', []],
    ['nothing but instructions', [{ role: 'system', content: 'Be brief.' }]],
    ['a role that is none', [{ role: 'robot', content: 'Hello' }]],
  ] as [string, never][]) {
    it(`refuses ${what} and sends nothing`, async () => {
      const server = await stage().serve();
      const error = await failure(converse(stage().hire(server), { messages }));
      assert.equal(error.code, 'bad_input');
      assert.notEqual(error.message, '');
      assert.equal(server.requests.length, 0);
    });
  }

  describe('with tools', () => {
    it('is a call, and after its result words', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const first = ask('Call get_weather for Paris.', { tools: [WEATHER] });
      const { result: turn } = await converse(intern, first);
      assert.equal(turn.text, '');
      assert.equal(turn.tool_calls.length, 1);
      const [wanted] = turn.tool_calls;
      assert.ok(wanted?.id);
      assert.equal(wanted.name, 'get_weather');
      assert.deepEqual(sentTo(server).tools, [{ type: 'function', function: WEATHER }]);

      const { result: last } = await converse(intern, {
        ...first,
        messages: [...first.messages, assistant('', turn), result(wanted.id, 'It is sunny.')],
      });
      assert.deepEqual(last.tool_calls, []);
      assert.notEqual(last.text, '');
    });

    it('has the calls of every line, each with an id of its own', async () => {
      const server = await stage().serve();
      server.faults.next(
        linesOf(
          {
            message: { content: '', tool_calls: [wireCall('a', 'x'), wireCall('b')] },
            done: false,
          },
          { message: { content: '', tool_calls: [wireCall('c')] }, done: true },
        ),
      );
      const { result: turn } = await converse(
        stage().hire(server),
        ask('Call them.', { tools: [WEATHER] }),
      );
      assert.deepEqual(
        turn.tool_calls.map(({ name }) => name),
        ['a', 'b', 'c'],
      );
      const ids = turn.tool_calls.map(({ id }) => id);
      assert.equal(ids[0], 'x');
      assert.equal(new Set(ids.filter(Boolean)).size, 3);
    });

    it('but neither a call nor a word is an error, and a call that nobody offered is none', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const silent = { message: { content: '' }, done: true };
      const calling = { message: { content: '', tool_calls: [wireCall('a')] }, done: true };
      for (const [line, tools] of [
        [silent, [WEATHER]],
        [calling, []],
      ] as const) {
        server.faults.next(linesOf(line));
        const error = await failure(converse(intern, ask('Go.', { tools: [...tools] })));
        assert.match(error.message, /answered with nothing/);
      }
    });

    it('describes a tool without parameters in a way that Ollama can read', async () => {
      const server = await stage().serve();
      await converse(stage().hire(server), ask(TEXT, { tools: [{ name: 'now' }] }));
      const [tool] = sentTo(server).tools ?? [];
      assert.deepEqual(tool?.function.parameters, { type: 'object', properties: {} });
    });

    it('describes one whose schema Ollama cannot parse in a way that it can', async () => {
      const server = await stage().serve();
      const odd = {
        type: ['object', 'null'],
        required: ['city', 3],
        properties: {
          city: { type: 'string', enum: 'Paris', description: 7 },
          anything: true,
          never: false,
          when: {
            anyOf: [{ type: 'string' }, true, { type: 'object', properties: { day: true } }],
          },
          list: { type: 'array', items: { type: 'object', properties: { x: true } } },
          inner: { type: {}, properties: [], required: true, additionalProperties: false },
        },
      };
      await converse(
        stage().hire(server),
        ask(TEXT, {
          tools: [
            { name: 'odd', parameters: odd },
            { name: 'none', parameters: { properties: null } },
          ],
        }),
      );
      const [first, second] = sentTo(server).tools ?? [];
      assert.deepEqual(first?.function.parameters, {
        type: 'object',
        required: ['city'],
        properties: {
          city: { type: 'string' },
          anything: {},
          never: {},
          when: { anyOf: [{ type: 'string' }, { type: 'object', properties: { day: {} } }] },
          list: { type: 'array', items: { type: 'object', properties: { x: {} } } },
          inner: { additionalProperties: false },
        },
      });
      assert.deepEqual(second?.function.parameters, { type: 'object', properties: {} });
    });

    it('says that one has to be called, and fails when none is', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const request = ask('Call get_weather for Paris.', {
        tools: [WEATHER],
        tool_mode: 'required',
      });
      const { result: turn } = await converse(intern, request);
      assert.equal(turn.tool_calls.length, 1);
      assert.match(sentTo(server).messages[0]?.content ?? '', /calling one of the tools/);
      server.faults.next(linesOf({ message: { content: 'No.' }, done: true }));
      const error = await failure(converse(intern, request));
      assert.equal(error.code, 'server');
      assert.match(error.message, /called no tool/);
      assert.ok(error.retryable);
    });

    it('has the time to write a call, which no server tells of', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const request = ask('Call get_weather for Paris.', { tools: [WEATHER] });
      await converse(intern, request, {}, 'instant');
      server.faults.next(onChat({ delayMs: 60_000 }));
      const { result: turn } = await converse(intern, request, {}, 'instant');
      assert.equal(turn.tool_calls.length, 1);
      server.faults.next(onChat({ delayMs: 95_000 }));
      assert.equal((await failure(converse(intern, request, {}, 'instant'))).code, 'timeout');
      server.faults.next(onChat({ delayMs: 60_000 }));
      assert.equal((await failure(converse(intern, ask(TEXT), {}, 'instant'))).code, 'timeout');
    });
  });

  describe('that needs what a model cannot do', () => {
    const cases: [capability: string, model: string, request: TurnRequest, why: RegExp][] = [
      ['tools', 'gemma3:4b', ask('Go.', { tools: [WEATHER] }), /gemma3:4b cannot call tools/],
      ['vision', 'hermes3:8b', { messages: [user('What is it?', PNG)] }, /cannot read images/],
    ];
    for (const [capability, model, request, why] of cases) {
      it(`fails for want of ${capability}, and sends nothing`, async () => {
        const server = await stage().serve();
        const intern = stage().hire(server);
        const error = await failure(converse(intern, request, { model: `local/${model}` }));
        assert.equal(error.code, 'bad_input');
        assert.match(error.message, why);
        assertHint(error.hint);
        assert.equal(error.details.capability, capability);
        assert.deepEqual(chatsOf(server), []);
        const [line] = await stage().logged(intern);
        assert.deepEqual(line?.attempts, []);
      });
    }

    it('is not put to a fallback that cannot do it: the first failure is told', async () => {
      const { intern, cloud, local } = await stage().team({
        mode: 'fallback',
        servers: { cloud: { models: [{ name: 'minimax-m3', capabilities: ['completion'] }] } },
      });
      local.faults.next(onChat(faults.page(500)));
      const before = chatsOf(cloud).length;
      const error = await failure(converse(intern, ask('Go.', { tools: [WEATHER] })));
      assert.equal(error.code, 'server');
      assert.doesNotMatch(error.message, /tools/);
      assert.equal(chatsOf(cloud).length, before);
    });

    it('is taken by a fallback further on that can', async () => {
      const local = await stage().serve();
      const gateway = await stage().serveGateway({
        models: [{ name: 'seer', capabilities: ['completion', 'vision'] }],
      });
      const intern = stage().hire(local, {
        gateway: { host: gateway.url },
        fallbacks: { 'gemma3:4b': ['local/hermes3:8b', 'gateway/seer'] },
        tiers: { workhorse: 'gemma3:4b' },
      });
      local.faults.next(onChat(faults.page(500)));
      const envelope = await converse(intern, { messages: [user(TEXT, PNG)] });
      assert.deepEqual(triesOf(envelope), ['local server', 'gateway answer']);
    });

    it('is told of a fallback when the first choice is left alone', async () => {
      const { intern, cloud } = await stage().team();
      cloud.faults.next(onChat(faults.rateLimited(600)));
      await converse(intern, ask(TEXT));
      const error = await failure(converse(intern, { messages: [user('What is it?', PNG)] }));
      assert.match(error.message, /hermes3:8b cannot read images/);
    });
  });

  it('shows an image to a model that sees', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    const { tokens_in } = await converse(
      intern,
      {
        messages: [
          user('What is it?', PNG),
          assistant('', { tool_calls: [call('x', 'screenshot')] }),
          result('x', 'done', PNG),
        ],
      },
      { model: 'local/gemma3:4b' },
    );
    assert.deepEqual(
      sentTo(server).messages.map(({ role, images }) => [role, images?.length ?? 0]),
      [
        ['user', 1],
        ['assistant', 0],
        ['tool', 0],
        ['user', 1],
      ],
    );
    assert.ok((tokens_in ?? 0) > 512);
  });

  describe('that may be thought about', () => {
    it('shows the thought, of a model that can', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const thoughts: string[] = [];
      const { result: turn } = await converse(intern, ask(TEXT, { think: true }), {
        model: 'local/qwen3:8b',
        onThinking: (text) => thoughts.push(text),
      });
      assert.ok(thoughts.length > 1);
      assert.equal(thoughts.join(''), turn.thinking);
      assert.equal(sentTo(server).think, true);
    });

    it('is answered all the same by a model that cannot', async () => {
      const server = await stage().serve();
      const { result: turn } = await converse(stage().hire(server), ask(TEXT, { think: true }), {
        model: 'local/hermes3:8b',
      });
      assert.equal(turn.thinking, '');
      assert.ok(!('think' in sentTo(server)));
    });

    it('is not, unless that is asked for', async () => {
      const server = await stage().serve();
      await converse(stage().hire(server), ask(TEXT), { model: 'local/qwen3:8b' });
      assert.equal(sentTo(server).think, false);
    });
  });

  describe('in a window', () => {
    const tiny = (server: { url: string }) =>
      stage().hire(server as never, { options: { contextWindow: 4096 } });

    it('of 4,096 tokens leaves a quarter to the answer', async () => {
      const server = await stage().serve();
      const intern = tiny(server);
      const envelope = await converse(intern, ask(TEXT));
      const { options } = sentTo(server);
      assert.deepEqual([options.num_ctx, options.num_predict], [4096, 1024]);
      assert.equal(envelope.num_ctx, 4096);
    });

    it('refuses a tool result of 1 MB, says what to do, and sends nothing', async () => {
      const server = await stage().serve();
      const error = await failure(
        converse(stage().hire(server), {
          messages: [
            user('Read it.'),
            assistant('', { tool_calls: [call('big', 'read_file')] }),
            result('big', 'word '.repeat(200_000)),
          ],
        }),
      );
      assert.equal(error.code, 'context_overflow');
      assert.match(error.hint, /what one tool returned: ask for less at once/);
      assert.deepEqual(error.actions, [
        { kind: 'open_setting', setting: 'ollamaIntern.options.contextWindow' },
      ]);
      assert.deepEqual(chatsOf(server), []);
    });

    it('takes 200 turns that fit, each of them', async () => {
      const server = await stage().serve();
      const turns = Array.from({ length: 200 }, (_, i) => [user(`Q${i}?`), assistant(`A${i}.`)]);
      const messages = [...turns.flat(), user('And now?')];
      await converse(stage().hire(server, { options: { contextWindow: 16_384 } }), { messages });
      assert.equal(sentTo(server).messages.length, 401);
    });

    it('refuses 200 turns that do not fit, and cuts none of them', async () => {
      const server = await stage().serve();
      const turns = Array.from({ length: 200 }, () => [user(TEXT), assistant(TEXT)]);
      const error = await failure(
        converse(tiny(server), { messages: [...turns.flat(), user('And now?')] }),
      );
      assert.equal(error.code, 'context_overflow');
      assert.match(error.hint, /^Begin a new conversation, or/);
      assert.deepEqual(chatsOf(server), []);
    });

    it('counts tools, calls and images', async () => {
      const server = await stage().serve();
      const many = Array.from({ length: 60 }, (_, i) => ({
        ...WEATHER,
        name: `tool_${i}`,
        description: 'words '.repeat(40),
      }));
      const big = { city: 'x'.repeat(20_000) };
      const requests: [TurnRequest, string, hint?: RegExp][] = [
        [ask('Go.', { tools: many }), 'hermes3:8b', /the tools that are offered: switch some off/],
        [
          {
            messages: [
              user('Go.'),
              assistant('', { tool_calls: [{ ...call('a'), arguments: big }] }),
              result('a', 'done'),
            ],
          },
          'hermes3:8b',
        ],
        [{ messages: [user('Go.', PNG, PNG, PNG, PNG)] }, 'gemma3:4b'],
      ];
      for (const [request, model, hint = /Begin a new|attach less/] of requests) {
        const error = await failure(converse(tiny(server), request, { model: `local/${model}` }));
        assert.match(error.hint, hint);
        assert.match(error.hint, /ollamaIntern\.options\.contextWindow/);
        assert.equal(error.code, 'context_overflow', JSON.stringify(request).slice(0, 60));
      }
      assert.deepEqual(chatsOf(server), []);
    });

    it('learns nothing about text from a prompt with an image', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const message = user(TEXT.repeat(24));
      const before = intern.countTokens('workhorse', message, 'local/gemma3:4b');
      await converse(
        intern,
        { messages: [user(TEXT.repeat(24), PNG)] },
        { model: 'local/gemma3:4b' },
      );
      assert.equal(intern.countTokens('workhorse', message, 'local/gemma3:4b'), before);
      await converse(intern, { messages: [message] }, { model: 'local/gemma3:4b' });
      assert.notEqual(intern.countTokens('workhorse', message, 'local/gemma3:4b'), before);
    });
  });

  describe('at a gateway', () => {
    const PATH = '/v1/chat/completions';

    it('has tools, a tool that is to be called, and calls that come in pieces', async () => {
      const gateway = await stage().serveGateway();
      const intern = stage().hire(await stage().serve(), {
        gateway: { host: gateway.url },
        tiers: { workhorse: 'gateway/qwen-coder-vllm' },
      });
      const piece = (index: number, fn: object, id?: string) => ({
        tool_calls: [{ index, ...(id && { id, type: 'function' }), function: fn }],
      });
      gateway.faults.next({
        ...gatewayFaults.events(
          chunk(piece(0, { name: 'get_weather', arguments: '' }, 'call_a')),
          chunk(piece(1, { name: 'get_weather', arguments: '{"city"' }, 'call_b')),
          chunk(piece(0, { arguments: '{"city":"Rome"}' })),
          chunk(piece(1, { arguments: ':"Oslo"}' })),
          chunk({}, 'tool_calls'),
          '[DONE]',
        ),
        match: ({ path }) => path === PATH,
      });
      const { result: turn } = await converse(intern, {
        messages: [
          user('Weather?'),
          assistant('', { tool_calls: [call('Bonn')] }),
          result('Bonn', 'fog'),
        ],
        tools: [WEATHER],
        tool_mode: 'required',
      });
      assert.deepEqual(turn.tool_calls, [
        { id: 'call_a', name: 'get_weather', arguments: { city: 'Rome' } },
        { id: 'call_b', name: 'get_weather', arguments: { city: 'Oslo' } },
      ]);
      const sent = sentTo(gateway, PATH);
      assert.equal(sent.tool_choice, 'required');
      assert.deepEqual(sent.messages.slice(2), [
        {
          role: 'assistant',
          content: '',
          tool_calls: [
            {
              id: 'Bonn',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Bonn"}' },
            },
          ],
        },
        { role: 'tool', content: 'fog', tool_call_id: 'Bonn' },
      ]);
    });

    it('sends images, and tells what a model cannot do when the gateway says so', async () => {
      const gateway = await stage().serveGateway({
        models: [{ name: 'seer', capabilities: ['completion', 'vision'] }, 'blind'],
      });
      const intern = stage().hire(await stage().serve(), { gateway: { host: gateway.url } });
      const request = { messages: [user('What is it?', PNG)] };
      await converse(intern, request, { model: 'gateway/seer' });
      assert.deepEqual(sentTo(gateway, PATH).messages, [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is it?' },
            { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } },
          ],
        },
      ]);
      const error = await failure(converse(intern, request, { model: 'gateway/blind' }));
      assert.match(error.message, /cannot read images/);
    });
  });

  describe('is described', () => {
    it('by the model that would take it, its window and what it can', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server, {
        tiers: { deep: 'qwen3:14b' },
        tierOptions: { deep: { contextWindow: 4096 } },
      });
      const { capabilities, ...taker } = await stage().finish(intern.describe('deep'));
      assert.deepEqual(taker, {
        backend: 'local',
        model: 'qwen3:14b',
        numCtx: 4096,
        maxInput: 3072,
        maxOutput: 1024,
      });
      assert.ok(capabilities.includes('tools') && capabilities.includes('thinking'));
      assert.ok(server.requests.every((request) => !isChat(request)));
    });

    it('by the next when the first is left alone', async () => {
      const { intern, cloud } = await stage().team();
      assert.equal((await stage().finish(intern.describe('workhorse'))).backend, 'cloud');
      cloud.faults.next(onChat(faults.rateLimited(600)));
      await converse(intern, ask(TEXT));
      assert.equal((await stage().finish(intern.describe('workhorse'))).backend, 'local');
    });

    it('with the limit that somebody set', async () => {
      const intern = stage().hire(await stage().serve(), {
        options: { contextWindow: 8192, numPredict: 500 },
      });
      const { maxOutput, maxInput } = await stage().finish(intern.describe('workhorse'));
      assert.deepEqual([maxOutput, maxInput], [500, 7692]);
    });

    it('by what is set, with the problem, when its server says nothing', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server, { options: { contextWindow: 4096 } });
      const missing = await stage().finish(intern.describe('deep', { model: 'nope:1b' }));
      assert.equal(missing.problem?.code, 'model_missing');
      await server.stop();
      intern.models.refresh();
      const away = await stage().finish(intern.describe('deep'));
      assert.equal(away.problem?.code, 'unreachable');
      assert.deepEqual([away.model, away.maxInput], ['hermes3:8b', 3072]);
      assert.ok(away.capabilities.includes('tools'));
    });
  });

  it('hears that what is known of the models is forgotten', async () => {
    const intern = stage().hire(await stage().serve());
    let heard = 0;
    intern.listen({ onModels: () => heard++ });
    intern.models.refresh();
    await stage().finish(intern.models.pull('llama3.2', () => {}));
    assert.equal(heard, 2);
  });
});
