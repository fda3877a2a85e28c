import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ERROR_CODES, type ErrorCode, type InternError } from '../../src/core/errors';
import {
  httpError,
  incompleteError,
  protocolError,
  streamError,
  transportError,
  type WireContext,
} from '../../src/core/ollama/wireErrors';
import { outcomeOf } from '../../src/core/routing/outcome';
import { assertHint, assertSentence } from './support';

const HOST = 'http://127.0.0.1:11434';
const context = { baseUrl: HOST, model: 'm:8b' };
const remote = { baseUrl: 'https://gpu-box.example:8443', model: 'm:8b' };
const gateway: WireContext = { baseUrl: 'https://llm.example', model: 'm', backend: 'gateway' };
const cloud: WireContext = {
  baseUrl: 'https://ollama.com',
  model: 'gpt-oss:120b',
  backend: 'cloud',
};

const body = (error: string) => JSON.stringify({ error });
const nested = (error: object) => body(JSON.stringify({ error }));

/** What every error owes the person. */
function assertReadable(error: InternError): void {
  assert.ok(ERROR_CODES.includes(error.code));
  assertSentence(error.message, 'The message');
  assertHint(error.hint);
}

interface Row {
  text: string;
  status: number;
  code: ErrorCode;
  retryable?: boolean;
  capability?: string;
  /** The body, when it is not `{"error": text}`. */
  body?: string;
  action?: string;
}

/** The server's own texts, one row for each that is known. */
const ROWS: Row[] = [
  { text: "model 'm:8b' not found", status: 404, code: 'model_missing', action: 'pull_model' },
  { text: 'model "m:8b" not found', status: 404, code: 'model_missing', action: 'pull_model' },
  {
    text: 'model "m:8b" not found, try pulling it first',
    status: 404,
    code: 'model_missing',
    action: 'pull_model',
  },
  { text: 'model is required', status: 400, code: 'bad_input' },
  { text: 'invalid model name', status: 400, code: 'bad_input' },
  { text: 'missing request body', status: 400, code: 'bad_input' },
  { text: 'unexpected EOF', status: 400, code: 'bad_input' },
  {
    text: 'json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message',
    status: 400,
    code: 'bad_input',
  },
  {
    text: '"m:8b" does not support thinking',
    status: 400,
    code: 'bad_input',
    capability: 'thinking',
    action: 'choose_profile',
  },
  {
    text: 'invalid think value: "ultra" (must be "high", "medium", "low", "max", true, or false)',
    status: 400,
    code: 'bad_input',
  },
  {
    text: 'registry.ollama.ai/library/m:8b does not support tools',
    status: 400,
    code: 'bad_input',
    capability: 'tools',
  },
  {
    text: 'registry.ollama.ai/library/m:8b does not support insert',
    status: 400,
    code: 'bad_input',
    capability: 'insert',
  },
  // As /api/show spells it.
  {
    text: '"m:8b" does not support chat',
    status: 400,
    code: 'bad_input',
    capability: 'completion',
  },
  {
    text: '"m:8b" does not support generate',
    status: 400,
    code: 'bad_input',
    capability: 'completion',
  },
  {
    text: 'This server does not support embeddings. Start it with `--embeddings`',
    status: 501,
    code: 'bad_input',
    capability: 'embedding',
    action: 'open_setting',
  },
  { text: 'option "num_ctx" must be of type integer', status: 500, code: 'bad_input' },
  {
    text: 'invalid format: "\\"yaml\\""; expected "json" or a valid JSON Schema object',
    status: 500,
    code: 'bad_input',
  },
  { text: 'invalid JSON schema in format', status: 500, code: 'bad_input' },
  {
    text: 'failed to initialize samplers: failed to parse grammar',
    status: 500,
    code: 'bad_input',
  },
  {
    text: "JSON schema conversion failed:\nPattern must start with '^' and end with '$'",
    status: 400,
    code: 'bad_input',
  },
  { text: 'time: invalid duration "soon"', status: 400, code: 'bad_input' },
  { text: 'time: missing unit in duration "60"', status: 400, code: 'bad_input' },
  { text: 'top_logprobs must be between 0 and 20', status: 400, code: 'bad_input' },
  {
    text: "Value looks like object, but can't find closing '}' symbol",
    status: 400,
    code: 'bad_input',
  },
  { text: 'illegal base64 data at input byte 0', status: 400, code: 'bad_input' },
  {
    text: 'server busy, please try again.  maximum pending requests exceeded',
    status: 503,
    code: 'server',
    retryable: true,
    action: 'retry',
  },
  {
    text: 'llama-server process has terminated: exit status 1: error loading model: unknown architecture',
    status: 500,
    code: 'server',
    action: 'pull_model',
  },
  {
    text: 'tensor "output.weight" offset+size (10) exceeds file size (9)',
    status: 500,
    code: 'server',
    action: 'pull_model',
  },
  {
    text:
      'llama-server process has terminated: exit status 1: ggml_aligned_malloc: insufficient memory (attempted to ' +
      'allocate 6144.00 MB)\nggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 6442450944\n' +
      'failed to allocate buffer for kv cache',
    status: 500,
    code: 'out_of_memory',
    action: 'choose_profile',
  },
  {
    text: 'timed out waiting for llama-server to start - progress 0.00 - ',
    status: 500,
    code: 'timeout',
    retryable: true,
    action: 'retry',
  },
  {
    text: 'model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details',
    status: 500,
    code: 'server',
    retryable: true,
    action: 'retry',
  },
  {
    text: 'an error was encountered while running the model: unexpected EOF',
    status: 500,
    code: 'server',
    retryable: true,
    action: 'retry',
  },
  { text: 'the input length exceeds the context length', status: 400, code: 'context_overflow' },
  {
    text: 'the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context length in settings, or use a model with a longer context length',
    status: 400,
    code: 'context_overflow',
    action: 'shorten',
  },
  { text: 'invalid input type', status: 400, code: 'bad_input' },
  { text: 'embedding contains NaN or Inf values', status: 400, code: 'bad_input' },
  {
    text: 'ollama cloud is disabled: remote model is unavailable',
    status: 403,
    code: 'config',
    action: 'choose_profile',
  },
  { text: 'unauthorized', status: 401, code: 'auth_failed' },
  {
    text: 'image input is not supported',
    body: nested({ code: 500, message: 'image input is not supported - hint: mmproj' }),
    status: 500,
    code: 'bad_input',
    capability: 'vision',
  },
];

const OUT_OF_MEMORY = [
  'CUDA error: out of memory',
  'out of device memory',
  'cudaMalloc failed: out of memory',
  'hipMalloc failed',
  'failed to allocate compute buffers',
  'Memory allocation failed',
  'not enough memory',
  'VK_ERROR_OUT_OF_DEVICE_MEMORY',
  'vk::Device::allocateMemory: ErrorOutOfDeviceMemory: ErrorOutOfMemory',
  'model requires more system memory (9.1 GiB) than is available (4.0 GiB)',
];

describe('errors from the wire', () => {
  describe('by text', () => {
    for (const row of ROWS) {
      it(`${row.text.split('\n', 1)[0]} is ${row.code}`, () => {
        const error = httpError(row.status, row.body ?? body(row.text), context);
        assert.equal(error.code, row.code);
        assert.equal(error.retryable, row.retryable ?? false);
        assert.equal(error.details.capability, row.capability);
        assert.equal(error.details.status, row.status);
        assert.equal(error.details.model, 'm:8b');
        assert.ok(error.serverMessage?.includes(row.text));
        if (row.action) assert.ok(error.actions.some((action) => action.kind === row.action));
        assertReadable(error);
      });
    }

    for (const text of OUT_OF_MEMORY) {
      it(`${text} is out_of_memory`, () => {
        const error = httpError(500, body(text), context);
        assert.equal(error.code, 'out_of_memory');
        assertReadable(error);
      });
    }

    it('an empty model name is bad_input, not a missing model', () => {
      const error = httpError(404, body("model '' not found"), { baseUrl: HOST, model: '' });
      assert.equal(error.code, 'bad_input');
      assertReadable(error);
    });

    it('names the model and the pull when it is missing', () => {
      const error = httpError(404, body("model 'm:8b' not found"), context);
      assert.match(error.message, /m:8b/);
      assert.match(error.hint, /ollama pull m:8b/);
      assert.deepEqual(error.actions[0], { kind: 'pull_model', model: 'm:8b' });
    });

    it('says that a model for embeddings is missing the capability, in words about embedding', () => {
      const text = 'This server does not support embeddings. Start it with `--embeddings`';
      const error = httpError(501, body(text), context);
      assert.equal(error.message, 'm:8b is not an embedding model.');
      assert.deepEqual(error.actions, [
        { kind: 'open_setting', setting: 'ollamaIntern.tiers.embed' },
      ]);
    });

    it("unpacks llama-server's JSON with the counts in it", () => {
      const message =
        'request (1483 tokens) exceeds the available context size (512 tokens), try increasing it';
      const type = 'exceed_context_size_error';
      const inner = { code: 400, message, type, n_prompt_tokens: 1483, n_ctx: 512 };
      const error = httpError(400, nested(inner), context);
      assert.equal(error.code, 'context_overflow');
      assert.equal(error.details.prompt_tokens, 1483);
      assert.equal(error.details.num_ctx, 512);
      assert.equal(error.serverMessage, message);
      assertReadable(error);
    });

    it('reads the text of every kind of server', () => {
      const bodies: [kind: string, body: object | string, text: string | undefined][] = [
        ["Ollama's", { error: 'Nope.' }, 'Nope.'],
        ["OpenAI's", { error: { message: 'Nope.', type: 'x', param: null, code: null } }, 'Nope.'],
        ["LiteLLM's", { error: { message: { error: 'Nope.' }, code: '400' } }, 'Nope.'],
        ["FastAPI's", { detail: 'Nope.' }, 'Nope.'],
        [
          "FastAPI's, of a validation",
          { detail: [{ loc: ['body', 'stop', 0], msg: 'Bad.' }, { msg: 'Worse.' }, 7] },
          'body.stop.0: Bad.; Worse.; ',
        ],
        ["FastAPI's, of an object", { detail: { error: 'Nope.' } }, 'Nope.'],
        ["old vLLM's", { object: 'error', message: 'Nope.', code: 400 }, 'Nope.'],
        ['two at once', { error: true, message: 'Nope.' }, 'Nope.'],
        ['text', 'Nope.', 'Nope.'],
        ['nothing', '', undefined],
      ];
      for (const [kind, value, text] of bodies) {
        const sent = typeof value === 'string' ? value : JSON.stringify(value);
        assert.equal(httpError(400, sent, gateway).serverMessage, text, kind);
      }
    });

    it("reads llama-server's counts where nobody wrapped them", () => {
      const message = 'the request exceeds the available context size, try increasing it';
      const error = { code: 400, message, n_prompt_tokens: 1483, n_ctx: 512 };
      const found = httpError(400, JSON.stringify({ error }), gateway);
      assert.equal(found.code, 'context_overflow');
      assert.equal(found.details.prompt_tokens, 1483);
      assert.equal(found.details.num_ctx, 512);
    });

    it("never repeats the server's text in its own message, which is logged", () => {
      const secret = 'json: cannot unmarshal "the secret prompt"';
      for (const status of [400, 401, 403, 404, 429, 500, 503]) {
        const error = httpError(status, body(secret), context);
        assert.ok(!`${error.message} ${error.hint}`.includes('secret prompt'));
      }
    });
  });

  describe('by status, when the text is unknown', () => {
    const html = '<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>';
    const rows: [name: string, status: number, body: string, code: ErrorCode, retry: boolean][] = [
      ['400', 400, body('something new'), 'bad_input', false],
      ['401 without a body', 401, '', 'auth_failed', false],
      ['403 without a body', 403, '', 'auth_failed', false],
      [
        '403 of a subscription',
        403,
        body('this model requires a subscription, upgrade for access: https://ollama.com'),
        'auth_failed',
        false,
      ],
      ['404 page', 404, '404 page not found', 'config', false],
      ['404 of another API', 404, body('path "/v1/x" not found'), 'config', false],
      ['405 page', 405, '405 method not allowed', 'config', false],
      ['422', 422, body('unprocessable'), 'bad_input', false],
      ['429', 429, body('too many requests'), 'server', true],
      ['500 without a body', 500, '', 'server', true],
      ['500 of HTML', 500, html, 'server', true],
      ['502', 502, body('Post "https://ollama.com": dial tcp: no route'), 'server', true],
      ['503', 503, body('Server overloaded, please retry shortly (ref: 1)'), 'server', true],
      ['504 of HTML', 504, html, 'server', true],
      // Nobody knows who answered: the server that moved, or a page where one signs in to the network.
      ['301', 301, '', 'unreachable', true],
      ['302', 302, html, 'unreachable', true],
      ['307', 307, '', 'unreachable', true],
      ['308', 308, '', 'unreachable', true],
    ];
    for (const [name, status, text, code, retryable] of rows) {
      it(`a ${name} is ${code}${retryable ? ', worth another try' : ''}`, () => {
        const error = httpError(status, text, context);
        assert.equal(error.code, code);
        assert.equal(error.retryable, retryable);
        assert.equal(error.details.status, status);
        assertReadable(error);
      });
    }

    it('a page is not shown as the words of the server', () => {
      assert.equal(httpError(500, `\n${html}`, context).serverMessage, undefined);
      assert.equal(httpError(403, '', context).serverMessage, undefined);
      assert.equal(httpError(404, '404 page not found', context).serverMessage?.length, 18);
    });

    it('Retry-After is kept', () => {
      assert.equal(httpError(429, body('slow down'), context, 7000).details.retry_after_ms, 7000);
      assert.equal(httpError(429, body('slow down'), context).details.retry_after_ms, undefined);
    });

    it('a redirect says that it is not followed, and what may be behind it', () => {
      for (const where of [context, gateway, cloud]) {
        const error = httpError(307, '', where);
        assert.match(error.message, /redirects elsewhere; redirects are not followed/);
        assert.match(error.hint, /sign in/);
        assert.match(error.hint, /moved/);
      }
    });

    it('signing in is offered only over https', () => {
      const at = (signin_url: unknown) =>
        httpError(401, JSON.stringify({ error: 'unauthorized', signin_url }), context).actions;
      const url = 'https://ollama.com/connect?name=a&key=b';
      assert.deepEqual(at(url), [{ kind: 'sign_in', url }]);
      assert.deepEqual(at('http://ollama.com/connect'), [{ kind: 'set_token' }]);
      assert.deepEqual(at('command:workbench.action.quit'), [{ kind: 'set_token' }]);
      assert.deepEqual(at(undefined), [{ kind: 'set_token' }]);
    });
  });

  it('an answer of the server is never called unreachable or not running', () => {
    const texts = [...ROWS.map((row) => row.text), ...OUT_OF_MEMORY, '', '<html>', 'x'];
    fc.assert(
      fc.property(
        fc.integer({ min: 400, max: 599 }),
        fc.oneof(fc.constantFrom(...texts), fc.string()),
        fc.boolean(),
        (status, text, asJson) => {
          const error = httpError(status, asJson ? body(text) : text, context);
          assert.notEqual(error.code, 'unreachable');
          assert.doesNotMatch(
            `${error.message} ${error.hint}`,
            /not running|cannot be reached|unreachable|start ollama/i,
          );
          assertReadable(error);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('any body at all gives a readable error', () => {
    const bodies = fc.oneof(fc.json(), fc.json().map(body), fc.string(), fc.string().map(body));
    fc.assert(
      fc.property(fc.constantFrom(400, 401, 404, 500), bodies, (status, text) => {
        assertReadable(httpError(status, text, context));
        assertReadable(streamError(text, context, true));
      }),
      { numRuns: 300 },
    );
  });

  it('a schema that no grammar can be made of does not count against the server', () => {
    for (const text of ['invalid JSON schema in format', 'failed to parse grammar']) {
      for (const error of [
        httpError(500, body(text), context),
        streamError(text, context, false),
      ]) {
        assert.equal(error.code, 'bad_input');
        assert.equal(outcomeOf(error, false).verdict.kind, 'none');
        assertReadable(error);
      }
    }
  });

  describe('inside a stream', () => {
    it('say whether the answer had begun, and no status', () => {
      const text = 'an error was encountered while running the model: unexpected EOF';
      for (const partial of [true, false]) {
        const error = streamError(text, context, partial);
        assert.equal(error.code, 'server');
        assert.equal(error.retryable, true);
        assert.equal(error.details.partial, partial);
        assert.equal(error.details.status, undefined);
        assert.equal(error.serverMessage, text);
        assertReadable(error);
      }
    });

    it('do not speak of a status that nobody sent', () => {
      const error = streamError('something new', context, false);
      assert.equal(error.code, 'server');
      assert.doesNotMatch(`${error.message} ${error.hint}`, /500|status/);
      assertReadable(error);
    });

    it('keep their kind', () => {
      assert.equal(streamError('CUDA error: out of memory', context, true).code, 'out_of_memory');
    });

    it('an end without done is incomplete and worth another try', () => {
      const error = incompleteError(context, true);
      assert.equal(error.code, 'server');
      assert.equal(error.retryable, true);
      assert.equal(error.details.partial, true);
      assertReadable(error);
    });

    it('a stranger on the line is not Ollama, and the address is to be checked', () => {
      const error = protocolError(context, false);
      assert.equal(error.code, 'server');
      assert.deepEqual(error.actions, [{ kind: 'open_setting', setting: 'ollamaIntern.host' }]);
      assertReadable(error);
    });
  });

  describe('of a gateway', () => {
    const openAi = (message: string, code: string | null = null) =>
      JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code } });

    const missing: [who: string, status: number, body: string][] = [
      ['Ollama', 404, openAi("model 'm' not found")],
      ['LiteLLM', 400, openAi('/chat/completions: Invalid model name passed in model=m. Call')],
      ['LiteLLM of old', 400, openAi("400: {'error': 'Invalid model name passed in'}")],
      ['vLLM', 404, openAi('The model `m` does not exist.')],
      [
        'vLLM of old',
        404,
        JSON.stringify({ object: 'error', message: 'The model `m` does not exist.' }),
      ],
      ['OpenAI', 404, openAi('The model `m` does not exist or you do not have access to it.')],
      ['llama.cpp', 400, openAi('model not found')],
      ['LM Studio', 404, openAi('No models loaded. Please load a model.', 'model_not_found')],
      ['LM Studio in other words', 404, openAi('Nothing there.', 'model_not_found')],
      ['OpenRouter', 400, openAi('m is not a valid model ID')],
      ['a key that has it not', 403, openAi('key not allowed to access model. This key can only')],
    ];
    for (const [who, status, text] of missing) {
      it(`${who} lacks a model`, () => {
        const error = httpError(status, text, gateway);
        assert.equal(error.code, 'model_missing');
        assert.equal(error.retryable, false);
        assert.equal(error.details.status, status);
        assertReadable(error);
      });
    }

    it('a model is not missing because of another status, or because none was named', () => {
      const text = openAi('The model `m` does not exist.');
      assert.equal(httpError(500, text, gateway).code, 'server');
      assert.equal(httpError(401, text, gateway).code, 'auth_failed');
      assert.equal(httpError(404, text, { ...gateway, model: undefined }).code, 'config');
    });

    for (const text of [
      "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
      'The decoder prompt (length 5000) is longer than the maximum model length of 4096.',
      'The number of tokens to keep from the initial prompt is greater than the context length',
      'Trying to keep the first 15857 tokens when context the overflows.',
      'Context size has been exceeded.',
    ]) {
      it(`${text.slice(0, 40)}… is an overflow`, () => {
        const error = httpError(400, openAi(text), gateway);
        assert.equal(error.code, 'context_overflow');
        assert.deepEqual(error.actions, [{ kind: 'shorten' }]);
      });
    }

    it('a key is asked for where it may be sent', () => {
      const error = httpError(401, openAi('Invalid API Key'), gateway);
      assert.equal(error.message, 'The gateway at https://llm.example wants a valid key.');
      assert.deepEqual(error.actions, [{ kind: 'set_token' }]);
      const open = httpError(401, '', { ...gateway, baseUrl: 'http://llm.example' });
      assert.deepEqual(open.actions, []);
      assert.match(open.hint, /https/);
    });
  });

  describe('of the cloud', () => {
    it('a key that is refused can be set', () => {
      for (const status of [401, 403]) {
        const error = httpError(status, body('unauthorized'), cloud);
        assert.equal(error.code, 'auth_failed');
        assert.match(error.message, /^Ollama Cloud /);
        assert.deepEqual(error.actions, [{ kind: 'set_cloud_key' }]);
        assertReadable(error);
      }
    });

    it('a model that needs a subscription is said to', () => {
      const text =
        'this model requires a subscription, upgrade for access: https://ollama.com/upgrade';
      const error = httpError(403, body(text), cloud);
      assert.equal(error.code, 'auth_failed');
      assert.equal(error.message, 'gpt-oss:120b needs a subscription.');
      assert.match(error.hint, /another cloud model/);
      assert.deepEqual(error.actions, [
        { kind: 'open_setting', setting: 'ollamaIntern.cloud.model' },
      ]);
      assert.equal(httpError(403, body(text), context).actions[0]?.kind, 'choose_profile');
    });

    it('a model that is missing is not to be pulled', () => {
      const error = httpError(404, body('model "gpt-oss:120b" not found'), cloud);
      assert.equal(error.code, 'model_missing');
      assert.equal(error.message, 'Ollama Cloud has no model gpt-oss:120b.');
      assert.doesNotMatch(error.hint, /pull/);
      assert.deepEqual(error.actions, [
        { kind: 'open_setting', setting: 'ollamaIntern.cloud.model' },
      ]);
    });
  });

  describe('of a limit', () => {
    const limit = (kind: string) =>
      body(
        `you (intern) have reached your ${kind} usage limit, upgrade for higher limits: https://`,
      );

    it('a rate is told from what is used up', () => {
      const rate = httpError(429, body('too many requests'), cloud);
      assert.match(rate.message, /^Ollama Cloud .* rate limit/);
      assert.equal(rate.details.usage_limit, undefined);
      for (const kind of ['session', 'hourly', 'weekly']) {
        const used = httpError(429, limit(kind), cloud);
        assert.equal(used.code, 'server');
        assert.equal(used.message, `Ollama Cloud says that your ${kind} usage limit is reached.`);
        assert.equal(used.details.usage_limit, true);
        assert.equal(used.details.status, 429);
        assertReadable(used);
      }
      const budget = httpError(429, body('Budget has been exceeded! Current cost: 2'), gateway);
      assert.match(budget.message, /says that your usage limit is reached\.$/);
      assert.equal(budget.details.usage_limit, true);
    });

    it('says when to try again, never too early', () => {
      const rows: [ms: number | undefined, says: RegExp][] = [
        [1, /Try again in 1 s\./],
        [7000, /Try again in 7 s\./],
        [89_001, /Try again in 90 s\./],
        [90_001, /Try again in 2 min\./],
        [3_600_000, /Try again in 60 min\./],
        [5_400_001, /Try again in 2 h\./],
        [0, /Wait/],
        [undefined, /Wait/],
      ];
      for (const text of [limit('weekly'), body('slow down')]) {
        for (const [ms, says] of rows) {
          const error = httpError(429, text, cloud, ms);
          assert.match(error.hint, says);
          assert.equal(error.details.retry_after_ms, ms);
          assertReadable(error);
        }
      }
    });

    it('is one inside a stream too', () => {
      const text = 'you (intern) have reached your weekly usage limit';
      const error = streamError(text, cloud, true);
      assert.equal(error.details.usage_limit, true);
      assert.equal(error.details.partial, true);
      assert.equal(error.details.status, undefined);
      assertReadable(error);
    });

    it('is not one because a refused prompt speaks of it', () => {
      assert.equal(httpError(400, limit('weekly'), cloud).details.usage_limit, undefined);
    });
  });

  it('the words for one server are never those for another', () => {
    const texts = [...ROWS.map((row) => row.text), ...OUT_OF_MEMORY, '', 'x', 'usage limit']
      // An Ollama that says so is one, whatever is before it.
      .filter((text) => !text.startsWith('ollama cloud is disabled'));
    const coded = ['ECONNREFUSED', 'ENOTFOUND', 'ECONNRESET', 'CERT_HAS_EXPIRED', 'EWHATEVER'];
    const local = /start_server|pull_model|choose_profile|sign_in/;
    for (const where of [gateway, cloud]) {
      // On this machine too: it is not the product's own Ollama.
      for (const baseUrl of [where.baseUrl, 'http://127.0.0.1:4000']) {
        const there = { ...where, baseUrl };
        const errors = [
          ...texts.flatMap((text) =>
            [302, 400, 401, 403, 404, 405, 418, 429, 500, 503].map((status) =>
              httpError(status, body(text), there),
            ),
          ),
          ...texts.map((text) => streamError(text, there, true)),
          ...coded.flatMap((code) => {
            const error = Object.assign(new Error('boom'), { code });
            const proxy = 'proxy.example:8080';
            return [
              transportError(error, there, true),
              transportError(error, there, false),
              transportError(error, { ...there, proxy }, false),
            ];
          }),
          protocolError(there, false),
          incompleteError(there, true),
        ];
        for (const error of errors) {
          assertReadable(error);
          const words = `${error.message} ${error.hint}`;
          assert.doesNotMatch(words, /ollama (?:pull|stop|list)|OLLAMA_|server log/);
          if (where === gateway) assert.doesNotMatch(words, /Ollama/);
          for (const action of error.actions) {
            assert.doesNotMatch(action.kind, local, words);
            if (action.kind === 'open_setting')
              assert.notEqual(action.setting, 'ollamaIntern.host');
          }
        }
      }
    }
  });

  describe('of the connection', () => {
    const coded = (code: string) => Object.assign(new Error('boom'), { code });
    const rows: [code: string, says: RegExp][] = [
      ['ECONNREFUSED', /nothing is listening/],
      ['ENOTFOUND', /host name is unknown/],
      ['EAI_AGAIN', /host name is unknown/],
      ['ETIMEDOUT', /does not answer/],
      ['UND_ERR_CONNECT_TIMEOUT', /does not answer/],
      ['EHOSTUNREACH', /does not answer/],
      ['ENETUNREACH', /does not answer/],
      ['CERT_HAS_EXPIRED', /certificate/],
      ['DEPTH_ZERO_SELF_SIGNED_CERT', /certificate/],
      ['SELF_SIGNED_CERT_IN_CHAIN', /certificate/],
      ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', /certificate/],
      ['ERR_TLS_CERT_ALTNAME_INVALID', /certificate/],
      ['EWHATEVER', /EWHATEVER/],
    ];
    for (const [code, says] of rows) {
      it(`${code} is unreachable and says why`, () => {
        const error = transportError(coded(code), context, false);
        assert.equal(error.code, 'unreachable');
        assert.equal(error.retryable, true);
        assert.match(error.message, says);
        assert.match(error.message, /127\.0\.0\.1:11434/);
        assertReadable(error);
      });
    }

    it('plain HTTP behind an https address is not blamed on the certificate', () => {
      const error = transportError(coded('ERR_SSL_WRONG_VERSION_NUMBER'), remote, false);
      assert.equal(error.code, 'unreachable');
      assert.doesNotMatch(error.message, /certificate/);
      assertReadable(error);
    });

    for (const code of ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']) {
      it(`${code} is a lost connection, before the answer and in its middle`, () => {
        const before = transportError(coded(code), context, false);
        assert.equal(before.code, 'unreachable');
        assert.match(before.message, /was lost\.$/);
        const middle = transportError(coded(code), context, true);
        assert.match(middle.message, /in the middle of the answer/);
        assert.match(middle.hint, /incomplete/);
        assert.equal(middle.details.partial, true);
        for (const error of [before, middle]) assertReadable(error);
      });
    }

    it('finds the code inside causes and groups', () => {
      const refused = coded('ECONNREFUSED');
      const wrapped = new TypeError('fetch failed', { cause: refused });
      const both = new AggregateError([refused, coded('EHOSTUNREACH')], '');
      const nestedBoth = new TypeError('fetch failed', { cause: both });
      for (const error of [wrapped, both, nestedBoth]) {
        assert.match(transportError(error, context, false).message, /nothing is listening/);
      }
    });

    it('survives whatever was thrown', () => {
      for (const odd of [undefined, 'text', new Error(''), new AggregateError([]), null]) {
        const error = transportError(odd, context, false);
        assert.equal(error.code, 'unreachable');
        assert.equal(error.cause, odd);
        assert.match(error.hint, /\.$/);
      }
    });

    it('names who cannot be reached', () => {
      const says = (where: WireContext, code: string, partial = false) =>
        transportError(coded(code), where, partial).message;
      assert.equal(
        says(gateway, 'ECONNREFUSED'),
        'The gateway at https://llm.example cannot be reached: nothing is listening there.',
      );
      assert.equal(
        says(cloud, 'ENOTFOUND'),
        'Ollama Cloud cannot be reached: the host name is unknown.',
      );
      assert.equal(
        says({ ...cloud, proxy: 'proxy.example:8080' }, 'ENOTFOUND'),
        'Ollama Cloud cannot be reached through the proxy proxy.example:8080: the host name is unknown.',
      );
      assert.match(says(gateway, 'ECONNRESET'), /^The connection to the gateway at https:/);
      assert.match(says(cloud, 'ECONNRESET', true), /^The connection to Ollama Cloud was lost in/);
    });

    it('offers to start Ollama only on this machine', () => {
      const starts = (where: typeof context) =>
        transportError(coded('ECONNREFUSED'), where, false).actions.some(
          (action) => action.kind === 'start_server',
        );
      assert.ok(starts(context));
      assert.ok(!starts(remote));
    });
  });
});
