import assert from 'node:assert/strict';
import { ask, send, type Answer } from '../support/ollama/http';
import {
  ManualClock,
  startOllama,
  type OllamaOptions,
  type OllamaServer,
} from '../support/ollama/server';

const HERMES = 'hermes3:8b';
const QWEN = 'qwen3:14b';
const SMALL = 'smollm2:135m';
const GiB = 2 ** 30;

describe('simulated Ollama: scheduling', () => {
  let server: OllamaServer;
  let clock: ManualClock;

  async function start(options: OllamaOptions = {}): Promise<void> {
    clock = new ManualClock();
    server = await startOllama({ clock, ...options });
  }

  afterEach(() => server.close());

  function chat(content: string, more: object = {}, signal?: AbortSignal): Promise<Answer> {
    return ask(server.url, '/api/chat', chatBody(content, more), { signal });
  }

  /** Loads a model by an empty request, as `ollama run` does. */
  function load(model: string, more: object = {}): Promise<Answer> {
    return ask(server.url, '/api/generate', { model, ...more });
  }

  const loadedNames = () => server.runners.map((runner) => runner.name).sort();
  const references = (name: string) =>
    server.runners.find((runner) => runner.name === name)?.references ?? 0;
  /** Waits until so many requests hold the model or wait for it. */
  const waitForReferences = (name: string, count: number) =>
    server.waitFor(() => references(name) === count, `${count} requests on ${name}`);

  describe('requests of one model', () => {
    it('are answered one at a time, first come first served', async () => {
      await start({ tokenMs: 100 });
      const finished: string[] = [];
      const answers: Promise<unknown>[] = [];
      for (const [place, name] of ['first', 'second', 'third'].entries()) {
        answers.push(chat(name, { options: { num_predict: 3 } }).then(() => finished.push(name)));
        await waitForReferences(HERMES, place + 1);
      }
      assert.equal(server.stats.active, 1);
      for (const count of [1, 2, 3]) {
        await clock.advance(300);
        await server.waitFor(() => server.requests.filter((r) => r.endedAt).length === count);
      }
      await Promise.all(answers);
      assert.deepEqual(finished, ['first', 'second', 'third']);
    });

    it('run side by side up to num_parallel', async () => {
      await start({ tokenMs: 100, numParallel: 2 });
      const answers = ['a', 'b', 'c'].map((name) => chat(name, { options: { num_predict: 1 } }));
      await waitForReferences(HERMES, 3);
      assert.equal(server.stats.active, 2);
      await clock.advance(100);
      await server.waitFor(() => server.requests.filter((r) => r.endedAt).length === 2);
      await clock.advance(100);
      await Promise.all(answers);
    });

    it('free the model at once when their client leaves', async () => {
      await start({ tokenMs: 1000 });
      const leaving = new AbortController();
      const left = assert.rejects(chat('leaves', {}, leaving.signal));
      await waitForReferences(HERMES, 1);
      const next = chat('next', { options: { num_predict: 1 } });
      await waitForReferences(HERMES, 2);
      await clock.advance(2000);
      leaving.abort();
      await left;
      await waitForReferences(HERMES, 1);
      assert.equal(server.stats.generatedTokens, 2);
      assert.equal(server.stats.cancelled, 1);
      await clock.advance(1000);
      assert.equal((await next).json.done, true);
      assert.equal(server.stats.generatedTokens, 3);
    });

    it('leave the line when their client leaves while they wait', async () => {
      await start({ tokenMs: 1000 });
      const first = chat('first', { options: { num_predict: 1 } });
      await waitForReferences(HERMES, 1);
      const leaving = new AbortController();
      const left = assert.rejects(chat('leaves', {}, leaving.signal));
      await waitForReferences(HERMES, 2);
      const third = chat('third', { options: { num_predict: 1 } });
      await waitForReferences(HERMES, 3);
      leaving.abort();
      await left;
      await waitForReferences(HERMES, 2);
      await clock.advance(1000);
      await first;
      await waitForReferences(HERMES, 1);
      await clock.advance(1000);
      assert.equal((await third).status, 200);
      assert.equal(server.stats.generatedTokens, 2);
    });

    it('send no headers before the first token', async () => {
      await start({ tokenMs: 500 });
      let answered = false;
      const response = send(server.url, '/api/chat', chatBody('hello')).then((value) => {
        answered = true;
        return value;
      });
      await waitForReferences(HERMES, 1);
      await clock.advance(499);
      assert.equal(answered, false);
      await clock.advance(1);
      await (await response).body?.cancel();
    });
  });

  describe('loads', () => {
    it('take their time, and the model is listed meanwhile', async () => {
      await start({ loadMs: 5000 });
      const answer = chat('hello', { stream: false });
      await server.waitFor(() => server.runners[0]?.loading);
      const listed = await ask(server.url, '/api/ps');
      assert.equal(listed.json.models[0]?.name, HERMES);
      await clock.advance(4999);
      assert.equal(server.runners[0]?.loading, true);
      await clock.advance(1);
      assert.equal((await answer).json.load_duration, 5e9);
      assert.ok((await chat('again', { stream: false })).json.load_duration < 1e6);
    });

    it('are given up when the client leaves', async () => {
      await start({ loadMs: 5000 });
      const leaving = new AbortController();
      const left = assert.rejects(chat('hello', {}, leaving.signal));
      await server.waitFor(() => server.runners[0]?.loading);
      leaving.abort();
      await left;
      await server.waitFor(() => server.runners.length === 0);
      assert.equal(server.stats.loads, 0);
    });

    it('start anew for another request that waited for the one given up', async () => {
      await start({ loadMs: 5000 });
      const leaving = new AbortController();
      const left = assert.rejects(chat('leaves', {}, leaving.signal));
      await server.waitFor(() => server.runners[0]?.loading);
      const stays = chat('stays');
      await waitForReferences(HERMES, 2);
      await clock.advance(3000);
      leaving.abort();
      await left;
      await waitForReferences(HERMES, 1);
      await clock.advance(5000);
      assert.equal((await stays).status, 200);
      assert.equal(server.stats.loads, 1);
    });

    it('happen one by one', async () => {
      await start({ loadMs: 1000 });
      const first = load(HERMES);
      await server.waitFor(() => server.runners.length === 1);
      const second = load(SMALL);
      await server.waitFor(() => server.stats.queued === 1);
      assert.deepEqual(loadedNames(), [HERMES]);
      await clock.advance(1000);
      await first;
      await server.waitFor(() => server.runners.length === 2);
      await clock.advance(1000);
      await second;
    });

    it('count against max_queue, requests to a loaded model do not', async () => {
      await start({ loadMs: 1000, maxQueue: 1, maxLoadedModels: 10 });
      const models = [HERMES, QWEN, SMALL, 'gemma3:4b'];
      const answers = models.flatMap((model) => [1, 2, 3].map(() => load(model)));
      await server.waitFor(() => server.requests.filter((r) => r.status === 503).length >= 8);
      await clock.advance(1000);
      await clock.advance(1000);
      const all = await Promise.all(answers);
      const refused = all.filter(({ status }) => status === 503);
      // Those that asked for the model whose load was under way could join it.
      assert.equal(refused.length, 8);
      assert.equal(
        refused[0]?.json.error,
        'server busy, please try again.  maximum pending requests exceeded',
      );
      assert.equal(refused[0]?.headers.get('retry-after'), null);

      const loaded = server.runners[0]?.name ?? '';
      const together = await Promise.all(Array.from({ length: 12 }, () => load(loaded)));
      assert.ok(together.every(({ status }) => status === 200));
    });

    it('that stall fail after the load timeout', async () => {
      await start({ loadTimeoutMs: 60_000 });
      server.faults.next({ load: 'stalls' });
      const answer = chat('hello');
      await server.waitFor(() => server.runners[0]?.loading);
      await clock.advance(60_000);
      const { status, json } = await answer;
      assert.equal(status, 500);
      assert.match(json.error, /^timed out waiting for llama-server to start - /);
      assert.deepEqual(server.runners, []);
    });

    it('that fail leave nothing behind', async () => {
      await start();
      server.faults.next({ load: 'fails' });
      assert.match((await chat('hello')).json.error, /error loading model/);
      assert.deepEqual(server.runners, []);
      assert.equal((await chat('hello')).status, 200);
    });

    it('that need more memory than there is let go of everything', async () => {
      await start({ vram: 8 * GiB, ram: 8 * GiB });
      await load(SMALL);
      const { status, json } = await load(HERMES, { options: { num_ctx: 131_072 } });
      assert.equal(status, 500);
      assert.match(json.error, /insufficient memory.*failed to allocate/s);
      assert.deepEqual(server.runners, []);
    });
  });

  describe('runner options', () => {
    it('that change reload the model', async () => {
      await start();
      await chat('one');
      await chat('same');
      assert.equal(server.stats.loads, 1);
      await chat('two', { options: { num_ctx: 8192 } });
      assert.equal(server.stats.loads, 2);
      assert.equal(server.stats.unloads, 1);
      assert.equal((await ask(server.url, '/api/ps')).json.models[0]?.context_length, 8192);
      await chat('three', { options: { num_ctx: 8192, temperature: 0.1, seed: 4 } });
      assert.equal(server.stats.loads, 2);
      await chat('four', { options: { num_ctx: 8192, num_gpu: 1 } });
      assert.equal(server.stats.loads, 3);
    });

    it('wait for the requests that are running', async () => {
      await start({ tokenMs: 1000 });
      const running = chat('running', { options: { num_predict: 2 } });
      await waitForReferences(HERMES, 1);
      const changed = chat('changed', { options: { num_ctx: 8192, num_predict: 1 } });
      await server.waitFor(() => server.requests.length === 2);
      await clock.advance(1000);
      assert.equal(server.runners[0]?.numCtx, 4096);
      await clock.advance(1000);
      await running;
      await server.waitFor(() => server.runners[0]?.numCtx === 8192);
      await clock.advance(1000);
      await changed;
    });

    it('never exceed what the model was trained for', async () => {
      await start();
      await load(SMALL, { options: { num_ctx: 1_000_000 } });
      assert.equal(server.runners[0]?.numCtx, 8192);
    });
  });

  describe('memory', () => {
    it('holds no more than max_loaded_models: the shortest keep-alive goes first', async () => {
      await start({ maxLoadedModels: 2 });
      await load(HERMES, { keep_alive: '10m' });
      await load(SMALL, { keep_alive: '1m' });
      await load('nomic-embed-text', { keep_alive: '5m' });
      assert.deepEqual(loadedNames(), [HERMES, 'nomic-embed-text:latest']);
      assert.equal(server.stats.evictions, 1);
    });

    it('keeps a model that is in use as long as another is idle', async () => {
      await start({ maxLoadedModels: 2, tokenMs: 1000 });
      const busy = chat('busy', { keep_alive: '1m', options: { num_predict: 1 } });
      await waitForReferences(HERMES, 1);
      await load(SMALL, { keep_alive: '1h' });
      await load('gemma3:4b');
      assert.deepEqual(loadedNames(), ['gemma3:4b', HERMES]);
      await clock.advance(1000);
      await busy;
    });

    it('waits for the running request when nothing is idle', async () => {
      await start({ maxLoadedModels: 1, tokenMs: 1000 });
      const busy = chat('busy', { options: { num_predict: 1 } });
      await waitForReferences(HERMES, 1);
      const waiting = load(SMALL);
      await server.waitFor(() => server.requests.length === 2);
      assert.deepEqual(loadedNames(), [HERMES]);
      await clock.advance(1000);
      await Promise.all([busy, waiting]);
      assert.deepEqual(loadedNames(), [SMALL]);
    });

    it('evicts when the graphics memory does not suffice for both', async () => {
      await start({ vram: 12 * GiB });
      await load(HERMES);
      await load(SMALL);
      assert.deepEqual(loadedNames(), [HERMES, SMALL]);
      await load(QWEN);
      assert.deepEqual(loadedNames(), [QWEN, SMALL]);
    });

    it('takes part of a model that is too large for the graphics card', async () => {
      await start({ vram: 4 * GiB });
      await load(HERMES);
      const [listed] = (await ask(server.url, '/api/ps')).json.models;
      assert.ok(listed);
      assert.equal(listed.size_vram, 4 * GiB);
      assert.ok(listed.size > listed.size_vram);
    });

    it('knows machines without a graphics card', async () => {
      await start({ vram: 0 });
      await load(HERMES);
      await load(SMALL);
      assert.deepEqual(
        server.runners.map(({ sizeVram }) => sizeVram),
        [0, 0],
      );
    });

    it('grows with the window', async () => {
      await start();
      await load(HERMES);
      const before = server.runners[0]?.size ?? 0;
      await load(HERMES, { options: { num_ctx: 32_768 } });
      assert.ok((server.runners[0]?.size ?? 0) > before + GiB);
    });
  });

  describe('keep_alive', () => {
    it('is five minutes from the end of the last request', async () => {
      await start();
      await chat('hello');
      await server.whenIdle();
      await clock.advance(200_000);
      await chat('again');
      await server.whenIdle();
      await clock.advance(299_999);
      assert.deepEqual(loadedNames(), [HERMES]);
      await clock.advance(1);
      assert.deepEqual(loadedNames(), []);
    });

    for (const [value, ms] of [
      [2.5, 2500],
      ['300ms', 300],
      ['1h30m', 5_400_000],
    ] as const) {
      it(`takes ${JSON.stringify(value)}`, async () => {
        await start();
        await load(HERMES, { keep_alive: value });
        await server.whenIdle();
        await clock.advance(ms - 1);
        assert.deepEqual(loadedNames(), [HERMES]);
        await clock.advance(1);
        assert.deepEqual(loadedNames(), []);
      });
    }

    it('below zero is forever', async () => {
      await start();
      await load(HERMES, { keep_alive: -1 });
      await server.whenIdle();
      await clock.advance(365 * 24 * 3_600_000);
      const [listed] = (await ask(server.url, '/api/ps')).json.models;
      assert.match(listed?.expires_at ?? '', /^2319-/);
    });

    it('of zero unloads after the answer', async () => {
      await start();
      const { json } = await chat('hello', { keep_alive: 0 });
      assert.equal(json.done_reason, 'stop');
      await server.whenIdle();
      assert.deepEqual(loadedNames(), []);
    });

    it('of zero without a prompt unloads', async () => {
      await start();
      await load(HERMES);
      const { json } = await ask(server.url, '/api/chat', {
        model: HERMES,
        messages: [],
        keep_alive: 0,
      });
      assert.equal(json.done_reason, 'unload');
      assert.deepEqual(loadedNames(), []);
    });
  });

  it('paces prompts and tokens', async () => {
    await start({ tokenMs: 50, promptTokensPerSecond: 10 });
    const answer = chat('hello', { stream: false, options: { num_predict: 4 } });
    await waitForReferences(HERMES, 1);
    await clock.advance(10_000);
    const { json } = await answer;
    assert.equal(json.prompt_eval_duration, json.prompt_eval_count * 1e8);
    assert.equal(json.eval_duration, 4 * 5e7);
  });
});

function chatBody(content: string, more: object = {}): object {
  return { model: HERMES, messages: [{ role: 'user', content }], ...more };
}
