/**
 * The cases: one for every recording, and one for every row of the table of errors. What is not
 * said here comes from the recording itself.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { faults } from '../support/ollama/faults';
import { ask, type Body } from '../support/ollama/http';
import type { Json } from '../support/ollama/validate';
import { startOllama } from '../support/ollama/server';
import { readCapture, type Exchange, type WireRequest } from './capture';
import { truncatedGguf } from './gguf';
import { LOOKALIKES, send, type Role, type World } from './world';

export interface Case {
  name: string;
  /** The recording that it is compared with; default: the one of the case's name. */
  capture?: string;
  /** Rows of the table of errors that it covers. */
  rows?: ErrorRow[];
  /** What is asked of the model that stands in; default: what the recorded model could do. */
  role?: Role;
  /** Where the recording has no request, or it needs a change to mean the same elsewhere. */
  request?: Partial<Omit<WireRequest, 'body'>> & { body?: Json };
  /** Added to the recorded body. */
  body?: Json;
  /** Why only the simulator can be made to do this. */
  simulatorOnly?: string;
  /** A reason not to run on this server, found out on the spot. */
  unless?: (world: World) => Promise<string | undefined>;
  before?: (world: World, model: string) => Promise<void> | void;
  /** Undoes `before`. */
  after?: (world: World) => Promise<void> | void;
  /** The body as bytes, where it is none of JSON. */
  bytes?: () => Buffer;
  /** Parts of the answer that may differ, replaced in both before they are compared. */
  blur?: [RegExp, string][];
  check?: (answer: { lines: Body[]; last: Body }) => void;
  /** Instead of the comparison with a recording. */
  run?: (world: World) => Promise<void>;
}

/** One id for each row of the table. */
export const ERROR_ROWS = [
  'model-not-found',
  'model-not-found-embed',
  'model-not-found-elsewhere',
  'model-empty',
  'body',
  'invalid-model-name',
  'no-thinking',
  'bad-think',
  'no-tools',
  'embedding-model',
  'completion-model-embed',
  'option-type',
  'bad-format',
  'bad-keep-alive',
  'top-logprobs',
  'tool-arguments-string',
  'bad-image',
  'queue-full',
  'client-gone',
  'load-failure',
  'out-of-memory',
  'load-stalled',
  'runner-died',
  'embed-too-long',
  'embed-input',
  'cloud-disabled',
  'pull-create-push',
] as const;

export type ErrorRow = (typeof ERROR_ROWS)[number];

const ONCE = 'Once upon a time there was a little girl. ';
const GIRLS = ONCE.repeat(103);
const HISTORY = Array.from({ length: 12 }, (_, index) => ({
  role: index % 2 === 0 ? 'user' : 'assistant',
  content: ONCE.repeat(4),
}));

const TOKEN_COUNTS: [RegExp, string][] = [
  [/request \(\d+ tokens\)/g, 'request (n tokens)'],
  [/size \(\d+ tokens\)/g, 'size (n tokens)'],
  [/n_prompt_tokens\\*":\d+/g, 'n_prompt_tokens":n'],
  [/n_ctx\\*":\d+/g, 'n_ctx":n'],
];
const SIZES: [RegExp, string][] = [[/\d[\d.]*/g, 'n']];
const BLOB_STORE: [RegExp, string][] = [[/open \S*blobs/, 'open blobs']];
const RESOLVER: [RegExp, string][] = [[/ on [\d.]+:53/, '']];
const TEMPLATE_PATH = 'it depends on who renders the template of the model';
const NO_NETWORK = 'it needs a server without a network';

/** Recordings that need no more than to be repeated. */
const PLAIN: string[] = [
  'bad-opt-name',
  'blob-badname',
  'chat-nostream',
  'chat-stream',
  'debug-render',
  'e-method',
  'e-route',
  'embed',
  'embed-empty',
  'embed-str',
  'embeddings',
  'gen-nostream-logprobs',
  'gen-stream',
  'host-bad',
  'ka-num',
  'load',
  'neg-ka',
  'num_ctx-big',
  'origin-bad',
  'show',
  'show-embed',
  'show-think',
  'status',
  'think-off',
  'tool-history',
  'tools-on',
  'unload',
  'v1-chat',
  'v1-chat-stream',
  'v1-embed',
  'v1-messages',
  'v1-messages-404',
  'v1-models',
  'v1-responses',
];

const oversizeChat = (more: Json = {}): Case['request'] => ({
  method: 'POST',
  path: '/api/chat',
  body: {
    model: 'stories260k',
    stream: false,
    messages: HISTORY,
    options: { num_ctx: 512, num_predict: 5, seed: 1 },
    ...more,
  },
});

const oversizeText = (more: Json = {}): Case['request'] => ({
  method: 'POST',
  path: '/api/generate',
  body: {
    model: 'stories260k',
    stream: false,
    prompt: GIRLS,
    options: { num_ctx: 512, num_predict: 5, seed: 1 },
    ...more,
  },
});

const window512 = { options: { num_ctx: 512, num_predict: 5, seed: 1 } };

function assertCut(last: Body): void {
  assert.ok(last.prompt_eval_count <= 512, `${last.prompt_eval_count} tokens`);
}

function assertJson({ last }: { last: Body }): void {
  // A model may run into its limit before the value is closed.
  if (last.done_reason === 'stop') JSON.parse(last.message.content);
}

function assertThinks({ lines }: { lines: Body[] }): void {
  assert.ok(lines.some(({ thinking, message }) => thinking || message?.thinking));
}

function assertCalls({ lines }: { lines: Body[] }): void {
  const [call, ...others] = lines.flatMap(({ message }) => message.tool_calls ?? []);
  assert.ok(call && others.length === 0, 'one call');
  assert.match(call.id, /^call_[a-z0-9]{8}$/);
  assert.equal(call.function.name, 'get_weather');
  assert.deepEqual(call.function.arguments, { city: 'Paris' });
}

const RECORDED: Case[] = [
  ...PLAIN.map((name) => ({ name })),

  { name: 'blob-mismatch', bytes: () => Buffer.from('abc'), blur: [[/got \\*"sha256:\w+/, 'got']] },

  // Refusals before anything runs.
  { name: 'e404-chat', rows: ['model-not-found'] },
  { name: 'e404-gen', rows: ['model-not-found'] },
  { name: 'e404-embed', rows: ['model-not-found-embed'] },
  { name: 'e404-show', rows: ['model-not-found-elsewhere'] },
  { name: 'e404-copy', rows: ['model-not-found-elsewhere'] },
  { name: 'e404-del', rows: ['model-not-found-elsewhere'] },
  { name: 'v1-404', rows: ['model-not-found'] },
  { name: 'e-nomodel', rows: ['model-empty'] },
  { name: 'e-nomodel-gen', rows: ['model-empty'] },
  { name: 'e-nobody', rows: ['body'] },
  { name: 'e-badjson', rows: ['body'] },
  { name: 'e-badtype', rows: ['body'] },
  { name: 'e-think', rows: ['no-thinking'], role: 'thoughtless' },
  { name: 'think-on', rows: ['no-thinking'], role: 'thoughtless' },
  { name: 'e-think-lvl', rows: ['bad-think'] },
  { name: 'e-tools', rows: ['no-tools'], role: 'toolless' },
  { name: 'e-suffix', rows: ['no-tools'], role: 'insertless' },
  { name: 'e-chat-on-embed', rows: ['embedding-model'] },
  { name: 'e-gen-on-embed', rows: ['embedding-model'] },
  { name: 'embed-on-llm', rows: ['completion-model-embed'] },
  { name: 'e-badopt', rows: ['option-type'] },
  { name: 'e-badformat', rows: ['bad-format'] },
  { name: 'ka-bad', rows: ['bad-keep-alive'] },
  { name: 'e-toplogprobs', rows: ['top-logprobs'] },
  { name: 'tool-args-string', rows: ['tool-arguments-string'] },
  { name: 'images-b64bad', rows: ['bad-image'] },
  { name: 'images-onllm', role: 'blind' },
  { name: 'embed-badtype', rows: ['embed-input'] },

  // Prompts that do not fit.
  {
    name: 'ctx-over-notrunc',
    body: window512,
    blur: TOKEN_COUNTS,
  },
  {
    name: 'ctx-over-notrunc-stream',
    body: window512,
    blur: TOKEN_COUNTS,
  },
  { name: 'ctx-over-trunc', simulatorOnly: TEMPLATE_PATH, blur: TOKEN_COUNTS },
  { name: 'ctx-over-noshift', simulatorOnly: TEMPLATE_PATH, blur: TOKEN_COUNTS },
  { name: 'chat-over-multi', request: oversizeChat(), check: ({ last }) => assertCut(last) },
  {
    name: 'chat-over-multi-notrunc',
    request: oversizeChat({ truncate: false }),
    blur: TOKEN_COUNTS,
  },
  {
    name: 'chat-over-gotmpl',
    simulatorOnly: TEMPLATE_PATH,
    request: oversizeChat({
      model: 'stories-tools',
      messages: [{ role: 'user', content: GIRLS }],
    }),
    check: ({ last }) => assertCut(last),
  },
  { name: 'gen-over', request: oversizeText(), check: ({ last }) => assertCut(last) },
  { name: 'gen-over-notrunc', request: oversizeText({ truncate: false }), blur: TOKEN_COUNTS },
  { name: 'gen-over-noshift', request: oversizeText({ shift: false }) },
  {
    name: 'gen-to-limit-noshift',
    // Nothing else makes an answer long enough on every server.
    check: ({ last }) => assert.ok(last.eval_count + last.prompt_eval_count <= 256 + 1),
  },
  {
    name: 'embed-trunc-default',
    body: { options: { num_ctx: 512 } },
    check: ({ last }) => assertCut(last),
  },
  {
    name: 'embed-trunc-false',
    rows: ['embed-too-long'],
    body: { options: { num_ctx: 512 } },
  },

  // Structure, thoughts, tools.
  { name: 'fmt-json', check: assertJson },
  { name: 'fmt-schema', check: assertJson },
  { name: 'think-go' },
  { name: 'think-native' },
  { name: 'think-stream', check: assertThinks },
  { name: 'think-gen', check: assertThinks },
  {
    name: 'tool-stream',
    simulatorOnly: 'only some templates take the forced JSON for a call',
    check: assertCalls,
  },
  {
    name: 'tool-ns',
    simulatorOnly: 'only some templates take the forced JSON for a call',
    check: assertCalls,
  },
  { name: 'v1-tool', simulatorOnly: 'only some templates take the forced JSON for a call' },

  // The repeat guard counts tokens, and every vocabulary has its own.
  ...['repeat-ns', 'repeat-stream', 'repeat-chat', 'repeat-chat-gotmpl'].map((name) => ({
    name,
    simulatorOnly: 'how many tokens the digits are depends on the vocabulary',
  })),

  // What is loaded.
  { name: 'ps', before: (world, model) => only(world, model) },
  {
    name: 'ps2',
    before: async (world) => only(world, world.modelFor('bert-random', 'embedding') ?? ''),
    unless: async (world) =>
      world.modelFor('bert-random', 'embedding') ? undefined : 'no embedding model is installed',
  },
  {
    name: 'ps-neg',
    before: (world, model) => only(world, model, -1),
    check: ({ last }) => assert.match(last.models[0]?.expires_at ?? '', /^23\d\d-/),
    after: (world) => unloadAll(world),
  },

  // Loads that fail.
  { name: 'load-fail-tensor', ...failingLoad('load-fail-tensor') },
  { name: 'load-fail-trunc', ...failingLoad('load-fail-trunc') },
  { name: 'load-fail-embed', ...failingLoad('load-fail-embed') },
  {
    name: 'oom',
    rows: ['out-of-memory'],
    simulatorOnly: 'it needs a machine without enough memory',
    request: { method: 'POST', path: '/api/chat', body: { model: 'stories260k', stream: false } },
    body: { messages: [{ role: 'user', content: 'x' }] },
    before: async (world) => {
      await unloadAll(world);
      world.simulator?.faults.next({ load: 'out-of-memory' });
    },
    blur: SIZES,
  },

  // The library.
  {
    name: 'create-baddigest',
    rows: ['pull-create-push'],
    blur: BLOB_STORE,
  },
  {
    name: 'create-truncated',
    rows: ['pull-create-push'],
    before: async (world) => {
      const path = `/api/blobs/${digestOf(truncatedGguf())}`;
      await send(world.base, { method: 'POST', path, headers: {} }, truncatedGguf());
    },
    body: { files: { 't.gguf': digestOf(truncatedGguf()) } },
    blur: [...SIZES, [/tensor \\*"[\w.]+/, 'tensor']],
  },
  {
    name: 'create-from-missing',
    rows: ['pull-create-push'],
    simulatorOnly: NO_NETWORK,
    blur: RESOLVER,
  },
  { name: 'pull-nonet', rows: ['pull-create-push'], simulatorOnly: NO_NETWORK, blur: RESOLVER },
  { name: 'pull-nonet-ns', rows: ['pull-create-push'], simulatorOnly: NO_NETWORK, blur: RESOLVER },

  // The cloud.
  { name: 'e-me', simulatorOnly: 'it needs a server that cannot reach the cloud' },
  {
    name: 'e-cloud-disabled',
    rows: ['cloud-disabled'],
    unless: async (world) => {
      if (world.simulator) return undefined;
      const { json } = await ask(world.base, '/api/status');
      return json.cloud?.disabled ? undefined : 'the cloud is not switched off on this server';
    },
    before: ({ simulator }) => {
      if (simulator) simulator.cloud.disabled = true;
    },
    after: ({ simulator }) => {
      if (simulator) simulator.cloud.disabled = false;
    },
  },
  {
    name: 'cloud',
    simulatorOnly: 'it needs a cloud that can be told what to say',
    run: replayCloud,
  },
];

/** Rows that no recording shows. */
const UNRECORDED: Case[] = [
  {
    name: 'an invalid model name',
    rows: ['invalid-model-name'],
    run: async (world) => {
      const messages = [{ role: 'user', content: 'x' }];
      const { status, json } = await ask(world.base, '/api/chat', { model: 'a//b c', messages });
      assert.deepEqual([status, json], [400, { error: 'invalid model name' }]);
    },
  },
  {
    name: 'a full queue',
    rows: ['queue-full'],
    simulatorOnly: 'it needs a server that accepts one waiting request',
    run: async () => {
      const server = await startOllama({ models: LOOKALIKES, maxQueue: 1 });
      try {
        server.faults.next({ load: 'stalls' });
        const leaving = new AbortController();
        const load = (model: string, signal?: AbortSignal) =>
          ask(server.url, '/api/generate', { model }, { signal });
        const stuck = assert.rejects(load('stories260k', leaving.signal));
        await server.waitFor(() => server.runners.length === 1);
        const waiting = assert.rejects(load('stories-tools', leaving.signal));
        await server.waitFor(() => server.stats.queued === 1);
        const { status, json, headers } = await load('stories-think');
        assert.equal(status, 503);
        assert.equal(
          json.error,
          'server busy, please try again.  maximum pending requests exceeded',
        );
        assert.equal(headers.get('retry-after'), null);
        leaving.abort();
        await Promise.all([stuck, waiting]);
      } finally {
        await server.close();
      }
    },
  },
  {
    name: 'a client that goes away while the model loads',
    rows: ['client-gone'],
    simulatorOnly: 'nobody can read this answer; the simulator shows that the load ended',
    run: async (world) => {
      const server = world.simulator;
      assert.ok(server);
      await unloadAll(world);
      server.faults.next({ load: 'stalls' });
      const leaving = new AbortController();
      const { signal } = leaving;
      const left = assert.rejects(ask(world.base, '/api/generate', storiesBody, { signal }));
      await server.waitFor(() => server.runners[0]?.loading);
      leaving.abort();
      await left;
      await server.waitFor(() => server.runners.length === 0);
    },
  },
  {
    name: 'a load that stalls',
    rows: ['load-stalled'],
    simulatorOnly: 'it needs a load that never ends',
    run: async () => {
      const server = await startOllama({ models: LOOKALIKES, loadTimeoutMs: 1 });
      try {
        server.faults.next({ load: 'stalls' });
        const { status, json } = await ask(server.url, '/api/generate', storiesBody);
        assert.equal(status, 500);
        assert.match(json.error, /^timed out waiting for llama-server to start - /);
      } finally {
        await server.close();
      }
    },
  },
  {
    name: 'a runner that dies before the first token',
    rows: ['runner-died'],
    simulatorOnly: 'it needs a runner that dies',
    run: async (world) => {
      world.simulator?.faults.next(faults.runnerDiesAfter(0));
      const { status, json } = await ask(world.base, '/api/generate', storiesBody);
      assert.equal(status, 500);
      assert.equal(
        json.error,
        'model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details',
      );
    },
  },
  {
    name: 'a runner that dies in the middle',
    rows: ['runner-died'],
    simulatorOnly: 'it needs a runner that dies',
    run: async (world) => {
      world.simulator?.faults.next(faults.runnerDiesAfter(1));
      const { status, lines } = await ask(world.base, '/api/generate', storiesBody);
      assert.equal(status, 200);
      assert.deepEqual(lines.at(-1), {
        error: 'an error was encountered while running the model: unexpected EOF',
      });
    },
  },
  {
    name: 'an embedding that is no number',
    rows: ['embed-input'],
    simulatorOnly: 'it needs a model that computes nonsense',
    run: async (world) => {
      const text = 'embedding contains NaN or Inf values';
      world.simulator?.faults.next(faults.status(400, text));
      const body = { model: 'bert-random', input: 'x' };
      const { status, json } = await ask(world.base, '/api/embed', body);
      assert.deepEqual([status, json], [400, { error: text }]);
    },
  },
];

export const CASES: readonly Case[] = [...RECORDED, ...UNRECORDED];

const storiesBody = { model: 'stories260k', prompt: 'Once upon a time' };

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function failingLoad(capture: string): Omit<Case, 'name'> {
  const [exchange] = readCapture(capture);
  const loadError = (JSON.parse(exchange?.response.body ?? '{}') as { error: string }).error;
  return {
    rows: ['load-failure'],
    role: 'broken',
    simulatorOnly: 'it needs a model file that is broken',
    before: ({ simulator }) => {
      const broken = LOOKALIKES.find(({ name }) => name.startsWith('broken'));
      if (broken) simulator?.models.install({ ...broken, loadError });
    },
  };
}

async function unloadAll(world: World): Promise<void> {
  const { json } = await ask(world.base, '/api/ps');
  for (const { name } of json.models) await setAlive(world, name, 0);
}

async function only(world: World, model: string, keepAlive: number | string = '5m'): Promise<void> {
  await unloadAll(world);
  await setAlive(world, model, keepAlive);
}

/** An embedding model is loaded by embedding; both kinds are unloaded by either route. */
async function setAlive(world: World, model: string, keepAlive: number | string): Promise<void> {
  const loaded = await ask(world.base, '/api/generate', { model, keep_alive: keepAlive });
  if (loaded.status !== 200) {
    await ask(world.base, '/api/embed', { model, input: 'x', keep_alive: keepAlive });
  }
}

/** A whole conversation between a client, the daemon and a cloud that answers by model name. */
async function replayCloud(): Promise<void> {
  const upstream = await startScriptedCloud();
  const daemon = await startOllama({ models: LOOKALIKES, cloud: { url: upstream.url } });
  // The stubs of the recording point at the upstream of that day.
  const here = (text: string) => text.replaceAll('http://127.0.0.1:18080', upstream.url);
  try {
    for (const { request, response } of readCapture('cloud')) {
      assert.ok(request);
      const body = request.body === undefined ? undefined : here(request.body);
      const answer = await send(daemon.url, { ...request, body });
      const what = `${request.path} ${request.body ?? ''}`;
      assert.equal(answer.status, response.status, what);
      assert.equal(answer.headers['content-type'], response.headers['content-type'], what);
      assert.equal(answer.headers['retry-after'], response.headers['retry-after'], what);
      if (request.path === '/api/tags') assertStubs(answer.body, here(response.body));
      else assert.equal(answer.body, here(response.body), what);
    }
  } finally {
    await daemon.close();
    upstream.close();
  }
}

function assertStubs(actual: string, expected: string): void {
  const stubs = (text: string) =>
    (JSON.parse(text) as Body).models
      .filter((model) => model.remote_host)
      .map(({ name, remote_model, remote_host, details }) => {
        return { name, remote_model, remote_host, details };
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.deepEqual(stubs(actual), stubs(expected));
}

/** What the recording's upstream said: a status for `s429`, a break for `cut`, otherwise "Hi". */
async function startScriptedCloud(): Promise<{ url: string; close: () => void }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { model?: string };
      const model = body.model ?? '';
      const status = Number(/^s(\d{3})$/.exec(model)?.[1]);
      if (status) {
        const limits: Record<string, string> = [429, 503].includes(status)
          ? { 'Retry-After': '7', 'X-Ratelimit-Remaining': '0' }
          : {};
        response.writeHead(status, { 'Content-Type': 'application/json', ...limits });
        response.end(JSON.stringify({ error: `fake ${status}` }));
        return;
      }
      response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
      const message = { role: 'assistant', content: 'Hi' };
      const line = (value: object) => response.write(`${JSON.stringify(value)}\n`);
      if (model === 'mid' || model === 'cut') {
        line({ model, message, done: false });
        if (model === 'mid')
          response.end(`${JSON.stringify({ error: 'upstream broke (ref: 1)' })}\n`);
        else setImmediate(() => response.destroy());
        return;
      }
      const head = { model, created_at: '2026-01-01T00:00:00Z' };
      line({ ...head, message, done: false });
      const last = { message: { role: 'assistant', content: '' }, done: true, done_reason: 'stop' };
      response.end(
        `${JSON.stringify({ ...head, ...last, prompt_eval_count: 3, eval_count: 1 })}\n`,
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

export function exchangeOf(test: Case): Exchange {
  const [exchange] = readCapture(test.capture ?? test.name);
  assert.ok(exchange, `no recording for ${test.name}`);
  return exchange;
}
