import assert from 'node:assert/strict';
import { InternError } from '../../src/core/errors';
import { GatewayCatalogue } from '../../src/core/models/gatewayCatalogue';
import type { ChatRequest } from '../../src/core/ollama/client';
import { GatewayClient } from '../../src/core/ollama/gateway';
import { createAgent } from '../../src/core/ollama/network';
import {
  chunk,
  GATEWAY_KEY,
  GATEWAY_MODEL,
  gatewayFaults,
  type GatewayOptions,
  type GatewayServer,
  startGateway,
} from '../support/gateway/server';
import { settle } from '../support/ollama/clock';
import { type Fault, faults, ManualClock, startOllama } from '../support/ollama/server';
import { assertHint, assertSentence, coreClock, failure } from './support';

const TEXT = 'Others wait in line. Waiting can be cancelled. Grüße aus Köln, 日本語のテキスト 🎉.';

const request = (more: Partial<ChatRequest> = {}): ChatRequest => ({
  model: GATEWAY_MODEL,
  messages: [{ role: 'user', content: `Summarize: ${TEXT}` }],
  ...more,
});

const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather of a city',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', enum: ['Paris'] } },
      required: ['city'],
    },
  },
};

/** A part of a tool call, as it is streamed. */
const fragment = (parts: object[]) => chunk({ tool_calls: parts });
const STOP = chunk({}, 'stop');
const CALLS = chunk({}, 'tool_calls');
const DONE = '[DONE]';
const { events } = gatewayFaults;

describe('the gateway', () => {
  const agent = createAgent();
  let clock: ManualClock;
  let server: GatewayServer;
  let client: GatewayClient;

  function connect(token?: string): GatewayClient {
    return new GatewayClient({
      baseUrl: server.url,
      dispatcher: agent,
      headers: () => {
        const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
        return Promise.resolve({ headers, token });
      },
      now: () => clock.now(),
    });
  }

  async function serve(options: GatewayOptions = {}): Promise<void> {
    await server?.close();
    server = await startGateway({ clock, ...options });
    client = connect();
  }

  const sent = (index = -1) => server.requests.at(index)?.body;
  const chats = () => server.requests.filter(({ path }) => path === '/v1/chat/completions');

  /** The answer that these events make. */
  function answerOf(...parts: (object | string)[]) {
    server.faults.next(events(...parts));
    return client.chat(request());
  }

  /** The failure of a chat that this goes wrong with. */
  function failing(fault: Fault): Promise<InternError> {
    server.faults.next(fault);
    return failure(client.chat(request()));
  }

  function assertReadable(error: InternError): void {
    assertSentence(error.message, 'The message');
    assertHint(error.hint);
    assert.doesNotMatch(`${error.message} ${error.hint}`, /Ollama|ollama pull/);
    for (const action of error.actions) {
      assert.ok(!['start_server', 'pull_model', 'choose_profile'].includes(action.kind));
      if (action.kind === 'open_setting') assert.notEqual(action.setting, 'ollamaIntern.host');
    }
  }

  beforeEach(async () => {
    clock = new ManualClock();
    await serve();
  });
  afterEach(() => server.close());
  after(() => agent.destroy());

  describe('chat', () => {
    it('streams the text and gives the whole of it with its figures', async () => {
      const pieces: string[] = [];
      let firstLines = 0;
      const answer = await client.chat(request(), {
        onFirstLine: () => firstLines++,
        onText: (text) => pieces.push(text),
      });
      assert.ok(pieces.length > 5);
      assert.equal(pieces.join(''), answer.content);
      assert.match(answer.content, /wait in line/);
      assert.equal(firstLines, 1);
      assert.equal(answer.done_reason, 'stop');
      assert.equal(answer.model, GATEWAY_MODEL);
      assert.equal(answer.remote_host, undefined);
      assert.ok(answer.prompt_tokens > 0);
      assert.ok(answer.output_tokens > 0);
      assert.deepEqual([answer.load_ms, answer.prompt_ms, answer.output_ms], [0, 0, 0]);
    });

    it('is the same when every byte comes alone', async () => {
      const { content } = await client.chat(request());
      server.faults.next(faults.chopped(1));
      assert.equal((await client.chat(request())).content, content);
    });

    it("says the request in OpenAI's words, and leaves it as it was", async () => {
      const body = request({
        options: {
          ...{ num_predict: 5, temperature: 0.2, top_p: 0.9, seed: 7, stop: ['x'] },
          ...{ num_ctx: 4096, top_k: 40, repeat_penalty: 1.1 },
        },
        keep_alive: '5m',
        think: false,
        truncate: false,
        tools: [WEATHER],
      });
      const before = structuredClone(body);
      const answer = await client.chat(body);
      assert.deepEqual(body, before);
      assert.deepEqual(sent(), {
        model: GATEWAY_MODEL,
        messages: body.messages,
        stream: true,
        stream_options: { include_usage: true },
        max_tokens: 5,
        temperature: 0.2,
        top_p: 0.9,
        seed: 7,
        stop: ['x'],
        tools: [WEATHER],
      });
      assert.equal(answer.done_reason, 'length');
      assert.equal(answer.output_tokens, 5);
    });

    it('sends no limit where there is none', async () => {
      await client.chat(request({ options: { num_predict: -1 } }));
      assert.ok(!('max_tokens' in (sent() ?? {})));
    });

    it('asks for JSON, of any kind or of a schema', async () => {
      const schema = {
        type: 'object',
        properties: { ok: { type: 'boolean' } },
        required: ['ok'],
      };
      await client.chat(request({ format: 'json' }));
      assert.deepEqual(sent()?.response_format, { type: 'json_object' });
      const { content } = await client.chat(request({ format: schema }));
      assert.deepEqual(sent()?.response_format, {
        type: 'json_schema',
        json_schema: { name: 'answer', schema, strict: true },
      });
      assert.equal(typeof (JSON.parse(content) as { ok: unknown }).ok, 'boolean');
    });

    it('sends images with the type that their first bytes tell', async () => {
      const files: [head: number[], type: string][] = [
        [[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], 'image/png'],
        [[0xff, 0xd8, 0xff, 0xe0, 0, 0x10, 0x4a, 0x46], 'image/jpeg'],
        [[...Buffer.from('GIF89a')], 'image/gif'],
        [[...Buffer.from('RIFF\0\0\0\0WEBP')], 'image/webp'],
      ];
      const images = files.map(([head]) => Buffer.from([...head, 1, 2, 3]).toString('base64'));
      server.faults.next(events(STOP));
      await client.chat(request({ messages: [{ role: 'user', content: 'What?', images }] }));
      assert.deepEqual(sent()?.messages[0]?.content, [
        { type: 'text', text: 'What?' },
        ...files.map(([, type], index) => ({
          type: 'image_url',
          image_url: { url: `data:${type};base64,${images[index]}` },
        })),
      ]);
    });

    it('sends tool calls and their results', async () => {
      server.faults.next(events(STOP));
      await client.chat(
        request({
          messages: [
            { role: 'user', content: 'Weather?' },
            {
              role: 'assistant',
              content: '',
              tool_calls: [
                { id: 'call_1', function: { name: 'get_weather', arguments: { city: 'Paris' } } },
              ],
            },
            { role: 'tool', content: 'sunny', tool_name: 'get_weather', tool_call_id: 'call_1' },
          ],
        }),
      );
      const [, call, result] = sent()?.messages ?? [];
      assert.deepEqual(call, {
        role: 'assistant',
        content: '',
        tool_calls: [
          {
            id: 'call_1',
            type: 'function',
            function: { name: 'get_weather', arguments: '{"city":"Paris"}' },
          },
        ],
      });
      assert.deepEqual(result, {
        role: 'tool',
        content: 'sunny',
        tool_call_id: 'call_1',
      });
    });

    it('goes to the path of the address', async () => {
      const { url } = server;
      const below = new GatewayClient({ baseUrl: `${url}/llm`, dispatcher: agent });
      assert.equal(below.baseUrl, `${url}/llm`);
      await failure(below.chat(request()));
      assert.equal(server.requests.at(-1)?.path, '/llm/v1/chat/completions');
    });

    it('stops the server when it is cancelled', async () => {
      await serve({ tokenMs: 100 });
      const controller = new AbortController();
      const chatting = failure(client.chat(request(), {}, controller.signal));
      const asked = await server.waitForRequest();
      await clock.advance(300);
      controller.abort();
      assert.equal((await chatting).code, 'cancelled');
      await server.waitFor(() => asked.abortedAt);
    });

    it('ends with the reason of a deadline', async () => {
      server.faults.next(faults.hang());
      const controller = new AbortController();
      const chatting = failure(client.chat(request(), {}, controller.signal));
      await server.waitForRequest();
      const reason = new InternError({ code: 'timeout', message: 'Too slow.', hint: 'Wait.' });
      controller.abort(reason);
      assert.equal(await chatting, reason);
    });

    it('does not blame the gateway for a listener that fails', async () => {
      const onText = () => {
        throw new Error('mine');
      };
      const error = await failure(client.chat(request(), { onText }));
      assert.equal(error.message, 'Something unexpected went wrong.');
      assert.equal(error.serverMessage, 'mine');
    });
  });

  describe('reads', () => {
    it('comments as no sign of an answer', async () => {
      server.faults.next(gatewayFaults.stream(': OPENROUTER PROCESSING\n\n: keep-alive\n\n'));
      let firstLines = 0;
      await failure(client.chat(request(), { onFirstLine: () => firstLines++ }));
      assert.equal(firstLines, 0);
      server.faults.next(gatewayFaults.commentAfter(1));
      assert.match((await client.chat(request())).content, /wait in line/);
    });

    it('thinking, under both of its names', async () => {
      const thoughts: string[] = [];
      for (const name of ['reasoning_content', 'reasoning']) {
        server.faults.next(events(chunk({ [name]: 'Hm, ' }), chunk({ [name]: 'so.' }), STOP));
        const answer = await client.chat(request(), { onThinking: (text) => thoughts.push(text) });
        assert.equal(answer.thinking, 'Hm, so.');
        assert.equal(answer.content, '');
      }
      assert.deepEqual(thoughts, ['Hm, ', 'so.', 'Hm, ', 'so.']);
      const both = chunk({ reasoning_content: 'Once.', reasoning: 'Once.', content: null });
      assert.equal((await answerOf(both, STOP)).thinking, 'Once.');
    });

    it('a tool call of a real answer', async () => {
      const messages = [{ role: 'user' as const, content: 'Call get_weather for Paris.' }];
      const answer = await client.chat(request({ messages, tools: [WEATHER] }));
      assert.equal(answer.done_reason, 'stop');
      const [call] = answer.tool_calls;
      assert.match(call?.id ?? '', /^call_/);
      assert.equal(call?.function.name, 'get_weather');
      assert.equal(typeof call.function.arguments, 'object');
    });

    it('tool calls in pieces that come mixed', async () => {
      const answer = await answerOf(
        fragment([{ index: 0, id: 'a', function: { name: 'f', arguments: '' } }]),
        fragment([{ index: 1, id: 'b', function: { name: 'g', arguments: '{"y"' } }]),
        fragment([{ index: 0, function: { arguments: '{"x":' } }]),
        fragment([
          { index: 1, id: null, function: { name: null, arguments: ':2}' } },
          { index: 0, function: { arguments: '1}' } },
        ]),
        CALLS,
        DONE,
      );
      assert.equal(answer.done_reason, 'stop');
      assert.deepEqual(answer.tool_calls, [
        { id: 'a', function: { name: 'f', arguments: { x: 1 } } },
        { id: 'b', function: { name: 'g', arguments: { y: 2 } } },
      ]);
    });

    it('whole tool calls that share an index, or have none', async () => {
      const calls = [
        { id: 'a', function: { name: 'f', arguments: '{"x":1}' } },
        { id: 'b', function: { name: 'f', arguments: { x: 2 } } },
      ];
      const expected = [1, 2].map((x) => ({ name: 'f', arguments: { x } }));
      for (const parts of [
        calls,
        calls.map((call) => ({ ...call, index: 0 })),
        calls.map((call) => ({ function: call.function })),
      ]) {
        const { tool_calls } = await answerOf(...parts.map((one) => fragment([one])), CALLS);
        assert.deepEqual(
          tool_calls.map((call) => call.function),
          expected,
        );
      }
    });

    it('a tool call in pieces that have no index', async () => {
      const { tool_calls } = await answerOf(
        fragment([{ id: 'a', function: { name: 'f', arguments: '{"x"' } }]),
        fragment([{ function: { arguments: ':1}' } }]),
        CALLS,
      );
      assert.deepEqual(tool_calls, [{ id: 'a', function: { name: 'f', arguments: { x: 1 } } }]);
    });

    it('a tool call without arguments', async () => {
      const { tool_calls } = await answerOf(
        fragment([{ index: 0, function: { name: 'f' } }]),
        STOP,
      );
      assert.deepEqual(tool_calls, [{ function: { name: 'f', arguments: {} } }]);
    });

    it('arguments that are no object as a breach of the protocol', async () => {
      for (const args of ['{"x":', '[1]', 'null', '7']) {
        const call = { index: 0, id: 'a', function: { name: 'f', arguments: args } };
        const error = await failing(events(fragment([call]), CALLS));
        assert.match(error.message, /did not answer like an OpenAI-compatible server/);
      }
    });

    it('figures that are not there as nothing', async () => {
      const { prompt_tokens, output_tokens } = await answerOf(
        chunk({ content: 'x' }, null, { usage: null }),
        chunk({}, 'stop', { usage: { prompt_tokens: 'many' } }),
        DONE,
      );
      assert.deepEqual([prompt_tokens, output_tokens], [0, 0]);
    });

    it("llama.cpp's own times", async () => {
      const timings = { prompt_n: 3, prompt_ms: 12.5, predicted_n: 9, predicted_ms: 450.25 };
      const answer = await answerOf(chunk({ content: 'x' }), chunk({}, 'stop', { timings }));
      assert.deepEqual([answer.prompt_ms, answer.output_ms], [12.5, 450.25]);
    });

    it('the model as the server names it, unless it does not', async () => {
      const named = { model: 'hosted/qwen3-coder' };
      assert.equal((await answerOf(chunk({}, null, named), STOP)).model, GATEWAY_MODEL);
      assert.equal((await answerOf(STOP, chunk({}, null, named))).model, named.model);
      const silent = await answerOf({ choices: [{ delta: {}, finish_reason: 'stop' }] });
      assert.equal(silent.model, GATEWAY_MODEL);
    });

    it('an answer in one piece, from a server that does not stream', async () => {
      server.faults.next({
        reply: {
          status: 200,
          body: {
            object: 'chat.completion',
            model: 'm',
            choices: [{ message: { role: 'assistant', content: 'All.' }, finish_reason: 'stop' }],
            usage: { prompt_tokens: 3, completion_tokens: 2 },
          },
        },
      });
      const pieces: string[] = [];
      const answer = await client.chat(request(), { onText: (text) => pieces.push(text) });
      assert.deepEqual(pieces, ['All.']);
      assert.deepEqual([answer.prompt_tokens, answer.output_tokens], [3, 2]);
    });
  });

  describe('whether an answer is whole', () => {
    it('says its finish reason, and [DONE] is not asked for', async () => {
      assert.equal((await answerOf(chunk({ content: 'x' }), STOP)).content, 'x');
      assert.equal((await answerOf(chunk({ content: 'x' }, 'length'))).done_reason, 'length');
    });

    it('says not [DONE] alone', async () => {
      const error = await failing(events(chunk({ content: 'x' }), DONE));
      assert.match(error.message, /broke off/);
      assert.equal(error.details.partial, true);
      assert.equal(error.retryable, true);
    });

    it('says not the odd chunk with which Ollama hides a failure', async () => {
      const odd = { ...chunk({}), model: '' };
      for (const partial of [true, false]) {
        const error = await failing(events(...(partial ? [chunk({ content: 'x' })] : []), odd));
        assert.match(error.message, /broke off/);
        assert.equal(error.details.partial, partial);
      }
    });

    it('says not a finish because of an error', async () => {
      for (const reason of ['error', 'abort']) {
        const error = await failing(events(chunk({ content: 'x' }), chunk({}, reason), DONE));
        assert.match(error.message, /broke off/);
      }
    });

    it('says not a stream that is empty', async () => {
      for (const body of ['', ': keep-alive\n\n', 'data: [DONE]\n\n']) {
        assert.match((await failing(gatewayFaults.stream(body))).message, /broke off/);
      }
    });

    it('says not one that ends early, and not one that is cut off', async () => {
      const ended = await failing(faults.endAfter(3));
      assert.match(ended.message, /broke off/);
      const cut = await failing(faults.resetAfter(3));
      assert.equal(cut.code, 'unreachable');
      for (const error of [ended, cut]) {
        assert.equal(error.details.partial, true);
        assertReadable(error);
      }
    });

    it('is not changed by a connection that is lost after its end', async () => {
      const { content } = await client.chat(request());
      const all = chats().at(-1)?.lines ?? 0;
      // The last two are the figures and [DONE].
      server.faults.next(faults.resetAfter(all - 2));
      const answer = await client.chat(request());
      assert.equal(answer.content, content);
      assert.equal(answer.output_tokens, 0);
    });
  });

  it('is cancelled as long as it runs, though the answer is whole', async () => {
    await client.chat(request());
    const all = chats().at(-1)?.lines ?? 0;
    server.faults.next(faults.slow(1000));
    const controller = new AbortController();
    const chatting = failure(client.chat(request(), {}, controller.signal));
    // The figures and [DONE] are still to come.
    await clock.advance(1000 * (all - 3));
    await server.waitFor(() => chats().at(-1)?.lines === all - 2);
    await settle(10);
    controller.abort();
    assert.equal((await chatting).code, 'cancelled');
  });

  describe('an error within the stream', () => {
    it('is the answer that failed, once it had begun', async () => {
      const error = await failing(gatewayFaults.errorAfter(3, 'upstream broke', '500'));
      assert.equal(error.code, 'server');
      assert.equal(error.retryable, true);
      assert.equal(error.details.partial, true);
      assert.equal(error.details.status, undefined);
      assert.equal(error.serverMessage, 'upstream broke');
      assertReadable(error);
    });

    it('is that of its status, before anything was said', async () => {
      const limited = await failing(gatewayFaults.errorAfter(0, 'slow down', '429'));
      assert.equal(limited.details.status, 429);
      assert.match(limited.message, /rate limit/);
      const text = "This model's maximum context length is 4096 tokens.";
      const overflow = await failing(gatewayFaults.errorAfter(0, text, 400));
      assert.equal(overflow.code, 'context_overflow');
      const missing = await failing(
        gatewayFaults.errorAfter(0, 'Invalid model name passed in model=x', '400'),
      );
      assert.equal(missing.code, 'model_missing');
      for (const error of [limited, overflow, missing]) assertReadable(error);
    });

    it('may come in many shapes', async () => {
      const shapes = [
        'data: {"error":"upstream broke"}',
        'data: {"error":{"message":"upstream broke"}}',
        'data: {"object":"error","message":"upstream broke","code":null}',
        'event: error\ndata: {"message":"upstream broke"}',
        'event: error\ndata: upstream broke',
        `data: ${JSON.stringify({ ...chunk({}, 'error'), error: { message: 'upstream broke' } })}`,
      ];
      for (const shape of shapes) {
        const error = await failing(gatewayFaults.stream(`${shape}\n\ndata: [DONE]\n\n`));
        assert.match(error.message, /failed while it was answering/, shape);
        assert.equal(error.serverMessage, 'upstream broke', shape);
      }
    });

    it('is one in a body of JSON with status 200 too', async () => {
      const error = await failing({ reply: { status: 200, body: { error: { message: 'No.' } } } });
      assert.equal(error.serverMessage, 'No.');
    });
  });

  describe('a stranger', () => {
    it('is told by what it says in the stream', async () => {
      for (const fault of [
        gatewayFaults.garbageAfter(2),
        events('[1]'),
        events('"x"'),
        events({ choices: 'x' }),
        events(chunk({ content: [{ type: 'text' }] })),
        events(chunk({ tool_calls: {} })),
      ]) {
        const error = await failing(fault);
        assert.match(error.message, /^The gateway at .* did not answer like an OpenAI/);
        assert.deepEqual(error.actions, [
          { kind: 'open_setting', setting: 'ollamaIntern.gateway.host' },
        ]);
        assertReadable(error);
      }
    });

    it('is told by a page, and by an event that never ends', async () => {
      for (const fault of [
        faults.page(200),
        gatewayFaults.stream(`data: ${'x'.repeat(9 * 1024 * 1024)}`),
      ]) {
        assert.match((await failing(fault)).message, /did not answer like an OpenAI/);
      }
    });

    it('that redirects is not followed', async () => {
      const elsewhere = await startGateway();
      try {
        const error = await failing(faults.redirect(`${elsewhere.url}/v1/chat/completions`, 302));
        assert.equal(error.code, 'unreachable');
        assert.match(error.message, /redirects/);
        assert.equal(elsewhere.requests.length, 0);
        assertReadable(error);
      } finally {
        await elsewhere.close();
      }
    });

    it('that is not there at all is unreachable', async () => {
      await server.stop();
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'unreachable');
      assert.match(error.message, /^The gateway at 127\.0\.0\.1:\d+ cannot be reached: nothing/);
      assertReadable(error);
    });
  });

  describe('the key', () => {
    for (const manners of ['litellm', 'vllm'] as const) {
      it(`is wanted, in the manner of ${manners}`, async () => {
        await serve({ key: GATEWAY_KEY, manners });
        for (const wrong of [client, connect('sk-wrong')]) {
          for (const asking of [wrong.chat(request()), wrong.models()]) {
            const error = await failure(asking);
            assert.equal(error.code, 'auth_failed');
            assert.equal(error.details.status, 401);
            assert.deepEqual(error.actions, [{ kind: 'set_token' }]);
            assertReadable(error);
          }
        }
        assert.match((await connect(GATEWAY_KEY).chat(request())).content, /wait in line/);
      });
    }

    it('is not shown when the gateway quotes it, in a body or in a stream', async () => {
      client = connect(GATEWAY_KEY);
      const quote = `Invalid key ${GATEWAY_KEY}.`;
      for (const fault of [
        faults.status(400, quote),
        gatewayFaults.errorAfter(2, quote),
        gatewayFaults.errorAfter(0, quote, 401),
      ]) {
        const error = await failing(fault);
        assert.equal(error.serverMessage, 'Invalid key ***.');
        assert.ok(!JSON.stringify(error).includes(GATEWAY_KEY));
      }
    });
  });

  describe('a model that is missing', () => {
    for (const manners of ['litellm', 'vllm', 'old-vllm'] as const) {
      it(`is known by the words of ${manners}, and the catalogue names those that exist`, async () => {
        await serve({ manners, models: ['a', 'b'] });
        const error = await failure(client.chat(request({ model: 'nope' })));
        assert.equal(error.code, 'model_missing');
        assert.match(error.message, /^The gateway at .* has no model nope\.$/);
        assert.match(error.serverMessage ?? '', /nope/);
        assertReadable(error);
        const catalogue = new GatewayCatalogue(client, coreClock(clock));
        const explained = await catalogue.explainMissing(error);
        assert.deepEqual([...(explained.details.available ?? [])].sort(), ['a', 'b']);
        assertReadable(explained);
      });
    }

    it("is known by Ollama's words", async () => {
      const ollama = await startOllama({ clock });
      try {
        const ask = new GatewayClient({ baseUrl: ollama.url, dispatcher: agent });
        assert.equal((await failure(ask.chat(request()))).code, 'model_missing');
        const answer = await ask.chat(request({ model: 'hermes3:8b' }));
        assert.match(answer.content, /wait in line/);
      } finally {
        await ollama.close();
      }
    });

    it('is one too that the key is not allowed to use', async () => {
      server.forbidden.add(GATEWAY_MODEL);
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'model_missing');
      assert.match(error.message, /key .* is not allowed to use qwen-coder-vllm/);
      assertReadable(error);
    });

    it('is not a page that is missing', async () => {
      server.faults.next({ reply: { status: 404, body: { detail: 'Not Found' } } });
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'config');
      assert.match(error.message, /does not speak OpenAI's API/);
      assertReadable(error);
    });
  });

  describe('a limit', () => {
    it('keeps the time that the gateway names, in seconds or as a date', async () => {
      const after = new Date(clock.now() + 120_000).toUTCString();
      for (const [header, ms] of [
        ['7', 7000],
        [after, 120_000],
      ] as const) {
        const error = await failing(faults.status(429, 'slow down', { 'Retry-After': header }));
        assert.equal(error.code, 'server');
        assert.equal(error.details.retry_after_ms, ms);
        assert.match(error.message, /rate limit/);
        assertReadable(error);
      }
    });
  });

  describe('a gateway that does not know stream_options', () => {
    it('is asked again without them, once and for all', async () => {
      server.refusesStreamOptions = true;
      assert.match((await client.chat(request())).content, /wait in line/);
      assert.equal(chats().length, 2);
      const answer = await client.chat(request());
      assert.equal(chats().length, 3);
      assert.equal(sent()?.stream_options, undefined);
      assert.equal(answer.output_tokens, 0);
      assert.equal(answer.done_reason, 'stop');
    });

    it("is known by FastAPI's words", async () => {
      const loc = ['body', 'stream_options', 'include_usage'];
      const detail = [{ type: 'extra_forbidden', loc, msg: 'Extra inputs are not permitted' }];
      server.faults.next({ reply: { status: 422, body: { detail } } });
      await client.chat(request());
      assert.equal(chats().length, 2);
    });

    it('is not asked again for another reason, and not twice', async () => {
      await failing(faults.status(400, 'temperature is too high'));
      assert.equal(chats().length, 1);
      const refused = faults.status(400, 'stream_options?');
      server.faults.next({ ...refused, times: 2 });
      assert.equal((await failure(client.chat(request()))).code, 'bad_input');
      assert.equal(chats().length, 3);
    });
  });

  describe('the list', () => {
    it('has windows where the gateway tells them', async () => {
      await serve({ manners: 'vllm', models: [{ name: 'm', contextLength: 4096 }] });
      assert.deepEqual(await client.models(), [{ id: 'm', contextLength: 4096 }]);
      server.manners = 'litellm';
      assert.deepEqual(await client.models(), [{ id: 'm', contextLength: undefined }]);
    });

    it('has them under many names', async () => {
      const rows: [fields: object, window: number | undefined][] = [
        [{ context_length: 8192 }, 8192],
        [{ context_window: 131_072 }, 131_072],
        [{ max_context_length: 4096 }, 4096],
        [{ meta: { n_ctx_train: 40_960 } }, 40_960],
        [{ meta: { n_ctx: 2048, n_ctx_train: 40_960 } }, 2048],
        [{ meta: { n_ctx: 0, n_ctx_train: 40_960 } }, 40_960],
        [{ meta: null, max_model_len: null, context_length: 512 }, 512],
        [{ context_length: 'large' }, undefined],
      ];
      const data = rows.map(([fields], index) => ({ id: `m${index}`, ...fields }));
      server.faults.next({ reply: { status: 200, body: { object: 'list', data } } });
      assert.deepEqual(
        (await client.models()).map((model) => model.contextLength),
        rows.map(([, window]) => window),
      );
    });

    it('may be empty, but has to be a list', async () => {
      for (const body of [{}, { data: null }, { data: [] }]) {
        server.faults.next({ reply: { status: 200, body } });
        assert.deepEqual(await client.models(), []);
      }
      for (const body of ['[]', '{"data":7}', '{"data":[{}]}', '<html>']) {
        server.faults.next({ reply: { status: 200, body } });
        assert.match((await failure(client.models())).message, /did not answer like an OpenAI/);
      }
    });
  });

  describe('the catalogue', () => {
    const HOUR = 3_600_000;
    let catalogue: GatewayCatalogue;

    beforeEach(() => {
      catalogue = new GatewayCatalogue(client, coreClock(clock));
    });

    const asked = () => server.requests.filter(({ path }) => path === '/v1/models').length;

    async function setUp(options: GatewayOptions): Promise<void> {
      await serve(options);
      catalogue = new GatewayCatalogue(client, coreClock(clock));
    }

    it('knows the window of a model, and nothing else', async () => {
      await setUp({ manners: 'vllm', models: [{ name: 'm', contextLength: 4096 }, 'other'] });
      assert.deepEqual(await catalogue.info('m'), {
        name: 'm',
        capabilities: ['completion'],
        contextLength: 4096,
        parameters: undefined,
        remote: true,
      });
    });

    it('asks once an hour, once for all who ask, and again after a refresh', async () => {
      await Promise.all(['a', 'b', 'c'].map((name) => catalogue.info(name)));
      await catalogue.list();
      await clock.advance(HOUR - 1);
      await catalogue.info('a');
      assert.equal(asked(), 1);
      await clock.advance(1);
      await catalogue.info('a');
      assert.equal(asked(), 2);
      catalogue.refresh();
      await catalogue.info('a');
      assert.equal(asked(), 3);
    });

    it('refuses no model that is not listed', async () => {
      await setUp({ manners: 'vllm', models: ['openai/gpt-5', 'a', 'b'] });
      server.unlisted.add('openai/gpt-5');
      assert.equal((await catalogue.info('openai/gpt-5')).contextLength, undefined);
      const answer = await client.chat(request({ model: 'openai/gpt-5' }));
      assert.match(answer.content, /wait in line/);
    });

    it('takes the window of the only model for any name', async () => {
      await setUp({ manners: 'vllm', models: [{ name: 'path/to/m.gguf', contextLength: 4096 }] });
      assert.equal((await catalogue.info('m')).contextLength, 4096);
    });

    it('needs no list', async () => {
      server.hasList = false;
      assert.deepEqual(await catalogue.list(), []);
      assert.equal((await catalogue.info('m')).contextLength, undefined);
      assert.equal(asked(), 1, 'that there is none is remembered');
      for (const status of [404, 405, 501]) {
        catalogue.refresh();
        server.faults.next(faults.status(status, 'no'));
        assert.equal((await catalogue.info('m')).name, 'm');
      }
    });

    it('lets every other failure through, and does not remember it', async () => {
      for (const [status, code] of [
        [401, 'auth_failed'],
        [403, 'auth_failed'],
        [429, 'server'],
        [500, 'server'],
        [503, 'server'],
      ] as const) {
        server.faults.next(faults.status(status, 'no'));
        const error = await failure(catalogue.info('m'));
        assert.equal(error.code, code);
        assert.equal(error.details.status, status);
        assertReadable(error);
        assert.equal((await catalogue.info('m')).name, 'm');
        catalogue.refresh();
      }
      await server.stop();
      assert.equal((await failure(catalogue.info('m'))).code, 'unreachable');
    });

    it('gives up on a gateway that accepts and says nothing', async () => {
      server.faults.next(faults.hang());
      const asking = failure(catalogue.info('m'));
      await server.waitForRequest();
      await clock.advance(10_000);
      const error = await asking;
      assert.equal(error.code, 'timeout');
      assert.match(error.message, /^The gateway at .* did not answer in 10 s/);
      assertReadable(error);
      assert.equal(clock.timers, 0);
    });

    it('names no more than eight, and says nothing when it knows none', async () => {
      await setUp({ models: Array.from({ length: 12 }, (_, n) => `model-${n}`) });
      const error = await failure(client.chat(request({ model: 'nope' })));
      const explained = await catalogue.explainMissing(error);
      assert.equal(explained.details.available?.length, 8);
      assert.match(explained.hint, /Available: model-\d+, .*…\.$/);
      server.faults.next(faults.status(500, 'no'));
      assert.equal(await catalogue.explainMissing(error), error);
      server.hasList = false;
      assert.equal(await catalogue.explainMissing(error), error);
    });
  });
});
