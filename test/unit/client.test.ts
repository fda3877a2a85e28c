import assert from 'node:assert/strict';
import { parseHost } from '../../src/core/address';
import { InternError } from '../../src/core/errors';
import {
  type ChatRequest,
  OllamaClient,
  type PullProgress,
  type ToolCall,
} from '../../src/core/ollama/client';
import { createAgent } from '../../src/core/ollama/network';
import {
  type Fault,
  faults,
  ManualClock,
  type OllamaOptions,
  type OllamaServer,
  startOllama,
} from '../support/ollama/server';
import { failure } from './support';

const TEXT =
  'The limiter admits two calls at once. Others wait in line. Waiting can be cancelled. ' +
  'Grüße aus Köln, 日本語のテキスト 🎉.';

const request = (more: Partial<ChatRequest> = {}): ChatRequest => ({
  model: 'hermes3:8b',
  messages: [{ role: 'user', content: `Summarize: ${TEXT}` }],
  ...more,
});

/** A whole answer made of these lines. */
const answerOf = (...lines: (object | string)[]): Fault => ({
  reply: {
    status: 200,
    body: lines.map((l) => `${typeof l === 'string' ? l : JSON.stringify(l)}\n`).join(''),
    headers: { 'Content-Type': 'application/x-ndjson' },
  },
});

describe('the client', () => {
  const agent = createAgent();
  let clock: ManualClock;
  let server: OllamaServer;
  let client: OllamaClient;

  async function serve(options: OllamaOptions = {}): Promise<void> {
    await server?.close();
    server = await startOllama({ clock, ...options });
    client = new OllamaClient({ baseUrl: server.url, dispatcher: agent });
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
      assert.match(answer.content, /limiter/);
      assert.equal(firstLines, 1);
      assert.equal(answer.done_reason, 'stop');
      assert.equal(answer.model, 'hermes3:8b');
      assert.equal(answer.remote_host, undefined);
      assert.ok(answer.prompt_tokens > 0);
      assert.ok(answer.output_tokens > 0);
    });

    it('gives durations in milliseconds', async () => {
      await serve({ tokenMs: 100, loadMs: 2000 });
      const answering = client.chat(request({ options: { num_predict: 5 } }));
      await server.waitFor(() => server.requests.length === 1);
      await clock.advance(60_000);
      const answer = await answering;
      assert.equal(answer.load_ms, 2000);
      assert.equal(answer.output_tokens, 5);
      assert.ok(answer.output_ms >= 400 && answer.output_ms <= 500, `${answer.output_ms} ms`);
      assert.equal(answer.done_reason, 'length');
    });

    it('sends the request as it was given, streamed, and leaves it as it was', async () => {
      const body = request({
        options: { num_ctx: 4096, temperature: 0, stop: ['x'] },
        keep_alive: '5m',
        think: false,
        truncate: false,
      });
      const before = structuredClone(body);
      await client.chat(body);
      assert.deepEqual(body, before);
      assert.deepEqual(server.requests[0]?.body, { ...before, stream: true });
      assert.match(server.requests[0]?.headers['content-type'] ?? '', /^application\/json/);
    });

    it('tells thinking from text', async () => {
      const thoughts: string[] = [];
      const answer = await client.chat(request({ model: 'qwen3:8b', think: true }), {
        onThinking: (text) => thoughts.push(text),
      });
      assert.ok(thoughts.length > 1);
      assert.equal(thoughts.join(''), answer.thinking);
      assert.match(answer.thinking, /^The text is about/);
      assert.doesNotMatch(answer.content, /I should answer/);
    });

    it('gathers a tool call from the stream', async () => {
      const tools = [
        {
          type: 'function' as const,
          function: {
            name: 'get_weather',
            description: 'Weather of a city',
            parameters: { type: 'object', properties: { city: { type: 'string' } } },
          },
        },
      ];
      const messages = [{ role: 'user' as const, content: 'Call get_weather for Paris.' }];
      const answer = await client.chat(request({ messages, tools }));
      assert.equal(answer.tool_calls.length, 1);
      assert.equal(answer.tool_calls[0]?.function.name, 'get_weather');
      assert.equal(typeof answer.tool_calls[0]?.function.arguments, 'object');
    });

    it('gathers tool calls from any line, the last one too', async () => {
      const call = (name: string): ToolCall => ({ function: { name, arguments: { a: 1 } } });
      const message = (...names: string[]) => ({ content: '', tool_calls: names.map(call) });
      server.faults.next(
        answerOf(
          { message: message('first', 'second'), done: false },
          { message: { content: 'Text.' }, done: false },
          { message: message('third'), done: true, done_reason: 'stop' },
        ),
      );
      const answer = await client.chat(request());
      assert.deepEqual(answer.tool_calls, ['first', 'second', 'third'].map(call));
      assert.equal(answer.content, 'Text.');
    });

    it('takes text that comes with the last line', async () => {
      server.faults.next(answerOf({ message: { content: 'All at once.' }, done: true }));
      const answer = await client.chat(request());
      assert.equal(answer.content, 'All at once.');
      assert.equal(answer.output_tokens, 0, 'figures that are left out are zero');
      assert.equal(answer.done_reason, '');
    });

    it('says where a model really ran, and its name there', async () => {
      server.faults.next(
        answerOf({
          model: 'gpt-oss:120b',
          remote_host: 'https://ollama.com',
          message: { content: 'x' },
          done: true,
        }),
      );
      const answer = await client.chat(request());
      assert.equal(answer.model, 'gpt-oss:120b');
      assert.equal(answer.remote_host, 'https://ollama.com');
    });

    it('reads an answer whose bytes come one by one', async () => {
      const whole = await client.chat(request());
      server.faults.next(faults.chopped(1));
      assert.equal((await client.chat(request())).content, whole.content);
    });

    it('reads a last line without a newline, and CRLF', async () => {
      const body = '{"message":{"content":"a"}}\r\n{"message":{"content":"b"},"done":true}';
      server.faults.next({ reply: { status: 200, body } });
      assert.equal((await client.chat(request())).content, 'ab');
    });
  });

  it('generate streams like chat', async () => {
    const pieces: string[] = [];
    const answer = await client.generate(
      { model: 'qwen3:8b', prompt: `Summarize: ${TEXT}`, think: true },
      { onText: (text) => pieces.push(text) },
    );
    assert.equal(server.requests[0]?.path, '/api/generate');
    assert.equal(pieces.join(''), answer.content);
    assert.match(answer.content, /limiter/);
    assert.match(answer.thinking, /^The text is about/);
    assert.ok(answer.output_tokens > 0);
  });

  describe('the other routes', () => {
    it('load makes a model resident with its window and says nothing', async () => {
      assert.deepEqual(await client.ps(), []);
      await client.load('hermes3:8b', { num_ctx: 4096 }, '10m');
      const [loaded] = await client.ps();
      assert.equal(loaded?.name, 'hermes3:8b');
      assert.equal(loaded.context_length, 4096);
      assert.ok(loaded.size > 0 && loaded.size_vram > 0);
      assert.equal(Date.parse(loaded.expires_at), clock.now() + 600_000);
      assert.equal(server.stats.generatedTokens, 0);
    });

    it('tags lists what is installed', async () => {
      const models = await client.tags();
      const hermes = models.find((model) => model.name === 'hermes3:8b');
      assert.equal(models.length, server.models.names.length);
      assert.equal(hermes?.details.quantization_level, 'Q4_0');
      assert.match(hermes.digest, /^[0-9a-f]{64}$/);
      assert.equal(server.requests[0]?.method, 'GET');
      assert.equal(server.requests[0].headers['content-type'], undefined);
    });

    it('tags and ps take null, and fields that are left out, as Go writes them', async () => {
      for (const body of [{ models: null }, {}]) {
        server.faults.next({ reply: { status: 200, body } });
        assert.deepEqual(await client.tags(), []);
        server.faults.next({ reply: { status: 200, body } });
        assert.deepEqual(await client.ps(), []);
      }
      server.faults.next({ reply: { status: 200, body: { models: [{ name: 'm', size: 5 }] } } });
      assert.equal((await client.ps())[0]?.size_vram, 0);
      server.faults.next({
        reply: { status: 200, body: { models: [{ name: 'm', details: { families: null } }] } },
      });
      assert.equal((await client.tags())[0]?.size, 0);
    });

    it('show tells capabilities and the model card', async () => {
      const shown = await client.show('qwen3:8b');
      assert.ok(shown.capabilities?.includes('thinking'));
      assert.equal(shown.model_info?.['general.parameter_count'], 8_190_735_360);
    });

    it('version', async () => {
      await serve({ version: '0.33.0-test' });
      assert.equal(await client.version(), '0.33.0-test');
    });

    it('embed gives a unit vector for each input', async () => {
      const { embeddings, prompt_tokens } = await client.embed({
        model: 'nomic-embed-text',
        input: ['one text', 'another'],
      });
      assert.equal(embeddings.length, 2);
      assert.ok(prompt_tokens > 0);
      for (const vector of embeddings) {
        assert.equal(vector.length, 768);
        assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
      }
    });

    const wrongVectors: [what: string, embeddings: unknown][] = [
      ['fewer than inputs', [[1]]],
      ['more than inputs', [[1], [1], [1]]],
      ['an empty one', [[1], []]],
      ['text', [[1], ['x']]],
      ['no list', 'x'],
      ['nothing', undefined],
    ];
    for (const [what, embeddings] of wrongVectors) {
      it(`embed refuses vectors that are ${what}`, async () => {
        server.faults.next({ reply: { status: 200, body: { model: 'm', embeddings } } });
        const error = await failure(client.embed({ model: 'm', input: ['a', 'b'] }));
        assert.equal(error.code, 'server');
        assert.match(error.message, /did not answer like Ollama/);
      });
    }

    it('embed with a model that writes text says what is missing', async () => {
      const error = await failure(client.embed({ model: 'hermes3:8b', input: ['a'] }));
      assert.equal(error.code, 'bad_input');
      assert.equal(error.details.capability, 'embedding');
    });
  });

  describe('pull', () => {
    it('reports its progress, and the model is there', async () => {
      const seen: PullProgress[] = [];
      await client.pull('llama3.2', (progress) => seen.push(progress));
      assert.equal(seen[0]?.status, 'pulling manifest');
      assert.equal(seen.at(-1)?.status, 'success');
      const layers = seen.filter((progress) => progress.total !== undefined);
      assert.ok(layers.length > 1);
      assert.equal(layers.at(-1)?.completed, layers.at(-1)?.total);
      assert.ok((await client.tags()).some((model) => model.name === 'llama3.2:latest'));
    });

    it('fails with the error inside its stream', async () => {
      const seen: string[] = [];
      const error = await failure(client.pull('no-such-model', ({ status }) => seen.push(status)));
      assert.equal(error.code, 'bad_input');
      assert.match(error.message, /There is no model no-such-model in the library/);
      assert.match(error.serverMessage ?? '', /pull model manifest/);
      assert.deepEqual(seen, ['pulling manifest']);
    });

    it('that ends without success is no success', async () => {
      server.faults.next(faults.endAfter(3));
      const error = await failure(client.pull('llama3.2', () => {}));
      assert.equal(error.code, 'server');
      assert.equal(error.retryable, true);
    });

    it('stops when it is cancelled, and goes on later where it stopped', async () => {
      await serve({ pullStepMs: 1000, pullSteps: 4 });
      const controller = new AbortController();
      const pulling = failure(client.pull('llama3.2', () => {}, controller.signal));
      await server.waitForRequest();
      await clock.advance(1500);
      controller.abort();
      assert.equal((await pulling).code, 'cancelled');
      await server.whenIdle();
      assert.equal(server.models.find('llama3.2'), undefined);
      let first: number | undefined;
      const again = client.pull('llama3.2', ({ completed }) => (first ??= completed));
      await server.waitFor(() => server.requests.length === 2);
      await clock.advance(10_000);
      await again;
      const size = server.models.find('llama3.2')?.size ?? NaN;
      assert.ok(first !== undefined && first > size / 4, 'did not begin again');
    });
  });

  describe('failures', () => {
    it('before the stream come with their status', async () => {
      const error = await failure(client.chat(request({ model: 'nope' })));
      assert.equal(error.code, 'model_missing');
      assert.equal(error.details.status, 404);
      assert.equal(error.details.model, 'nope');
    });

    it('inside the stream come with what was said before', async () => {
      server.faults.next(faults.errorAfter(3, 'CUDA error: out of memory'));
      const pieces: string[] = [];
      const error = await failure(client.chat(request(), { onText: (text) => pieces.push(text) }));
      assert.equal(error.code, 'out_of_memory');
      assert.equal(error.details.partial, true);
      assert.equal(error.details.status, undefined);
      assert.equal(pieces.length, 3);
    });

    it('as the first line of the stream leave nothing partial', async () => {
      server.faults.next(faults.errorAfter(0, 'something new'));
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'server');
      assert.equal(error.details.partial, false);
    });

    it('of the runner in the middle are worth another try', async () => {
      server.faults.next(faults.runnerDiesAfter(2));
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'server');
      assert.equal(error.retryable, true);
      assert.equal(error.details.partial, true);
      assert.match(error.message, /stopped/);
    });

    it('an error that is no text is still an error', async () => {
      server.faults.next(answerOf({ error: { message: 'odd', code: 5 } }));
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'server');
    });

    for (const [what, fault, partial] of [
      ['after some text', faults.endAfter(3), true],
      ['before any text', faults.endAfter(0), false],
      ['of the repeat guard', faults.repeatGuard(), true],
    ] as const) {
      it(`an end without done ${what} is an incomplete answer`, async () => {
        server.faults.next(fault);
        const error = await failure(client.chat(request()));
        assert.equal(error.code, 'server');
        assert.equal(error.retryable, true);
        assert.equal(error.details.partial, partial);
        assert.match(error.message, /broke off/);
      });
    }

    it('a connection cut in the middle says that what is shown is incomplete', async () => {
      server.faults.next(faults.resetAfter(3));
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'unreachable');
      assert.equal(error.details.partial, true);
      assert.match(error.message, /in the middle of the answer/);
    });

    it('a connection cut before the answer is lost, and nothing is partial', async () => {
      server.faults.next(faults.resetAfter(0));
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'unreachable');
      assert.equal(error.details.partial, false);
      assert.equal(error.retryable, true);
    });

    it('no server is unreachable, and the way to start it is offered', async () => {
      await server.stop();
      const error = await failure(client.version());
      assert.equal(error.code, 'unreachable');
      assert.match(error.message, /nothing is listening/);
      assert.ok(error.actions.some((action) => action.kind === 'start_server'));
      await server.start();
      assert.ok(await client.version());
    });

    for (const line of ['<<not json>>', '7', 'null', '"text"']) {
      it(`the line ${line} is not Ollama's, and ends the answer`, async () => {
        server.faults.next(faults.garbageAfter(2, line));
        const error = await failure(client.chat(request()));
        assert.equal(error.code, 'server');
        assert.match(error.message, /did not answer like Ollama/);
        assert.equal(error.details.partial, true);
        await server.whenIdle();
        assert.equal(server.stats.active, 0);
      });
    }

    it('a broken line ends the answer after what came before it in the same packet', async () => {
      const word = (content: string): object => ({ message: { content }, done: false });
      server.faults.next(answerOf(word('one '), word('two'), '<<not json>>', word('three')));
      let text = '';
      const error = await failure(client.chat(request(), { onText: (t) => (text += t) }));
      assert.equal(error.details.partial, true);
      assert.equal(text, 'one two');
    });

    it('a line without an end is refused', async () => {
      server.faults.next(faults.longLineAfter(1, 9 * 1024 * 1024));
      const error = await failure(client.chat(request()));
      assert.match(error.message, /did not answer like Ollama/);
    });

    it('a web page instead of an answer is not Ollama', async () => {
      for (const ask of [() => client.chat(request()), () => client.tags()]) {
        server.faults.next(faults.page(200));
        const error = await failure(ask());
        assert.equal(error.code, 'server');
        assert.match(error.message, /did not answer like Ollama/);
      }
    });

    it('a web page with a status is that status', async () => {
      server.faults.next(faults.page(502));
      const error = await failure(client.chat(request()));
      assert.equal(error.code, 'server');
      assert.equal(error.details.status, 502);
      assert.equal(error.serverMessage, undefined);
    });

    it('JSON of another kind is not Ollama', async () => {
      for (const body of ['[]', '{"models":7}', '{"models":[{}]}', '"x"']) {
        server.faults.next({ reply: { status: 200, body } });
        assert.match((await failure(client.tags())).message, /did not answer like Ollama/);
      }
    });

    it('a redirect is not followed', async () => {
      const elsewhere = await startOllama({ clock });
      try {
        for (const status of [301, 302, 307, 308]) {
          server.faults.next(faults.redirect(`${elsewhere.url}/api/chat`, status));
          const error = await failure(client.chat(request()));
          assert.equal(error.code, 'unreachable');
          assert.equal(error.details.status, status);
        }
        assert.equal(elsewhere.requests.length, 0);
      } finally {
        await elsewhere.close();
      }
    });

    it('Retry-After is read in seconds', async () => {
      server.faults.next(faults.rateLimited(7));
      assert.equal((await failure(client.chat(request()))).details.retry_after_ms, 7000);
      server.faults.next(faults.rateLimited());
      assert.equal((await failure(client.chat(request()))).details.retry_after_ms, undefined);
    });

    it('Retry-After is read as a date', async () => {
      const at = async (date: string) => {
        server.faults.next(faults.status(503, 'busy', { 'Retry-After': date }));
        return (await failure(client.chat(request()))).details.retry_after_ms;
      };
      const hour = await at(new Date(Date.now() + 3_600_000).toUTCString());
      assert.ok(hour !== undefined && hour > 3_000_000 && hour <= 3_600_000, String(hour));
      assert.equal(await at('Wed, 21 Oct 2015 07:28:00 GMT'), 0);
      assert.equal(await at('soon'), undefined);
      assert.equal(await at('-5'), 0);
    });

    it('of a listener are not blamed on the connection', async () => {
      const error = await failure(
        client.chat(request(), {
          onText: () => {
            throw new TypeError('a bug of ours');
          },
        }),
      );
      assert.notEqual(error.code, 'unreachable');
      assert.doesNotMatch(error.message, /a bug of ours/, 'a foreign error may quote the prompt');
      assert.equal(error.serverMessage, 'a bug of ours');
    });

    it('leave the next request alone', async () => {
      for (const fault of [faults.resetAfter(2), faults.garbageAfter(1), faults.page(500)]) {
        server.faults.next(fault);
        await failure(client.chat(request()));
        assert.match((await client.chat(request())).content, /limiter/);
      }
    });
  });

  describe('cancelling', () => {
    it('before the request sends nothing', async () => {
      const error = await failure(client.chat(request(), {}, AbortSignal.abort()));
      assert.equal(error.code, 'cancelled');
      assert.equal(server.requests.length, 0);
    });

    it('while the model loads stops the server from waiting for it', async () => {
      await serve({ loadMs: 60_000 });
      const controller = new AbortController();
      const asking = failure(client.chat(request(), {}, controller.signal));
      await server.waitForRequest();
      controller.abort();
      assert.equal((await asking).code, 'cancelled');
      await server.whenIdle();
      assert.deepEqual([server.stats.active, server.stats.queued], [0, 0]);
      assert.equal(server.stats.cancelled, 1);
      assert.equal(server.stats.generatedTokens, 0);
    });

    it('in the middle frees the model at once', async () => {
      await serve({ tokenMs: 100 });
      const controller = new AbortController();
      const pieces: string[] = [];
      const asking = failure(
        client.chat(request(), { onText: (text) => pieces.push(text) }, controller.signal),
      );
      await server.waitFor(() => server.stats.active === 1);
      await clock.advance(350);
      await server.waitFor(() => server.stats.generatedTokens >= 3);
      controller.abort();
      assert.equal((await asking).code, 'cancelled');
      await server.whenIdle();
      assert.equal(server.stats.active, 0);
      assert.equal(server.stats.cancelled, 1);
      const generated = server.stats.generatedTokens;
      await clock.advance(10_000);
      assert.equal(server.stats.generatedTokens, generated, 'it went on writing');
    });

    it('gives the reason of the signal when it has one', async () => {
      await serve({ loadMs: 60_000 });
      const controller = new AbortController();
      const asking = failure(client.chat(request(), {}, controller.signal));
      await server.waitForRequest();
      const reason = new InternError({ code: 'timeout', message: 'Late.', hint: 'Wait.' });
      controller.abort(reason);
      assert.equal(await asking, reason);
    });

    it('works for an answer in one piece too', async () => {
      server.faults.next(faults.hang());
      const controller = new AbortController();
      const asking = failure(client.tags(controller.signal));
      await server.waitForRequest();
      controller.abort();
      assert.equal((await asking).code, 'cancelled');
      await server.whenIdle();
    });

    it('one request leaves the others running', async () => {
      await serve({ tokenMs: 10, numParallel: 2 });
      const controller = new AbortController();
      const cancelled = failure(client.chat(request(), {}, controller.signal));
      const other = client.chat(request());
      await server.waitFor(() => server.stats.active === 2);
      controller.abort();
      assert.equal((await cancelled).code, 'cancelled');
      await server.waitFor(() => server.stats.active === 1);
      await clock.advance(60_000);
      assert.match((await other).content, /limiter/);
    });
  });

  it('waits as long as it takes: no timer of its own ends a silent request', async () => {
    await serve({ loadMs: 2 * 3_600_000 });
    const asking = client.chat(request());
    await server.waitForRequest();
    await clock.advance(2 * 3_600_000);
    assert.match((await asking).content, /limiter/);
  });

  it('asks below the path of its address, with its headers', async () => {
    const proxied = new OllamaClient({
      baseUrl: parseHost(`${server.url}/ollama/v1`),
      dispatcher: agent,
      headers: () =>
        Promise.resolve({ headers: { authorization: 'Bearer token' }, token: undefined }),
    });
    const error = await failure(proxied.chat(request()));
    assert.equal(error.code, 'config', 'the simulator is not behind that path');
    assert.equal(server.requests[0]?.path, '/ollama/api/chat');
    assert.equal(server.requests[0].headers.authorization, 'Bearer token');
    assert.match(server.requests[0].headers['content-type'] ?? '', /json/);
  });
});
