import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ERROR_CODES, type ErrorCode, type InternError } from '../../src/core/errors';
import {
  httpError,
  incompleteError,
  protocolError,
  streamError,
  transportError,
} from '../../src/core/ollama/wireErrors';
import { assertHint, assertSentence } from './support';

const HOST = 'http://127.0.0.1:11434';
const context = { baseUrl: HOST, model: 'm:8b' };
const remote = { baseUrl: 'https://gpu-box.example:8443', model: 'm:8b' };

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

    it("reads OpenAI's shape of an error too", () => {
      const error = httpError(400, JSON.stringify({ error: { message: 'Nope.' } }), context);
      assert.equal(error.serverMessage, 'Nope.');
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
      ['301', 301, '', 'config', false],
      ['302', 302, html, 'config', false],
      ['307', 307, '', 'config', false],
      ['308', 308, '', 'config', false],
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

    it('a redirect says that it is not followed', () => {
      assert.match(httpError(307, '', context).message, /redirect/);
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
        fc.integer({ min: 300, max: 599 }),
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
