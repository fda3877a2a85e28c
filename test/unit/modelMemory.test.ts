import assert from 'node:assert/strict';
import {
  defineModel,
  faults,
  type OllamaServer,
  type RecordedRequest,
} from '../support/ollama/server';
import { Stage, TEXT } from './stage';
import { failure } from './support';

describe('a model that a person loads, unloads or keeps', () => {
  const stage = Stage.forEach();
  const models = [
    defineModel({ name: 'hermes3:8b', loadMs: 20_000, contextLength: 131_072 }),
    defineModel({ name: 'qwen3:8b', loadMs: 20_000, contextLength: 4096 }),
    defineModel({ name: 'nomic-embed-text', capabilities: ['embedding'], contextLength: 2048 }),
  ];
  const serve = (): Promise<OllamaServer> => stage().serve({ models });
  const windows = (server: OllamaServer) =>
    server.runners.map(({ name, numCtx }) => [name, numCtx]).toSorted();
  const isUnload = ({ path, body }: RecordedRequest): boolean =>
    path === '/api/generate' && body.keep_alive === 0;

  it('is loaded with the window that its tiers share, and logged', async () => {
    const server = await serve();
    const intern = stage().hire(server);
    await stage().finish(intern.models.load('hermes3:8b'));
    assert.deepEqual(windows(server), [['hermes3:8b', 16_384]]);
    const [line, ...more] = await stage().logged(intern);
    assert.deepEqual(
      [line?.kind, line?.['model'], line?.['success'], more.length],
      ['prewarm', 'hermes3:8b', true, 0],
    );
    const { loads } = server.stats;
    await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    assert.equal(server.stats.loads, loads, 'the first call loads nothing');
  });

  it('is loaded with the default window, no larger than its own, when no tier has it', async () => {
    const server = await serve();
    const intern = stage().hire(server);
    await stage().finish(intern.models.load('qwen3:8b'));
    await stage().finish(intern.models.load('nomic-embed-text'));
    assert.deepEqual(windows(server), [
      ['nomic-embed-text:latest', 2048],
      ['qwen3:8b', 4096],
    ]);
  });

  it('gets the load allowance and not the ten seconds of a question', async () => {
    const server = await stage().serve({
      models: [defineModel({ name: 'hermes3:8b', loadMs: 100_000, parameterCount: 7e9 })],
    });
    const intern = stage().hire(server);
    await stage().finish(intern.models.load('hermes3:8b'));
    assert.equal(server.runners.length, 1);
  });

  it('is said with a reason when it cannot be loaded, and that is logged', async () => {
    const server = await serve();
    const intern = stage().hire(server);
    server.faults.next({ match: (r) => r.path === '/api/generate', load: 'out-of-memory' });
    const failed = failure(intern.models.load('hermes3:8b'));
    assert.equal((await stage().finish(failed)).code, 'out_of_memory');
    assert.equal((await failure(intern.models.load('absent:1b'))).code, 'model_missing');
    const lines = await stage().logged(intern);
    assert.deepEqual(
      lines.map((line) => [line.kind, line['success'], line['error']]),
      [['prewarm', false, 'out_of_memory']],
    );
  });

  it('stops loading when the person stops it', async () => {
    const server = await serve();
    const intern = stage().hire(server);
    const stop = new AbortController();
    const load = failure(intern.models.load('hermes3:8b', { signal: stop.signal }));
    const request = await server.waitForRequest(({ path }) => path === '/api/generate');
    stop.abort();
    assert.equal((await load).code, 'cancelled');
    await server.waitFor(() => request.abortedAt);
    assert.deepEqual(await stage().logged(intern), []);
  });

  for (const name of ['hermes3:8b', 'nomic-embed-text']) {
    it(`is unloaded without an eviction: ${name}`, async () => {
      const server = await serve();
      const intern = stage().hire(server);
      await stage().finish(intern.models.load(name));
      assert.equal((await intern.models.resident()).length, 1);
      const { loads } = server.stats;
      await intern.models.unload(name);
      assert.deepEqual(await intern.models.resident(), []);
      assert.equal(server.stats.loads, loads, 'nothing is loaded in order to be unloaded');
      const kinds = (await stage().logged(intern)).map(({ kind }) => kind);
      assert.deepEqual(kinds, ['prewarm']);
    });
  }

  it('is loaded again by the next call, whose envelope knows of no eviction', async () => {
    const server = await serve();
    const intern = stage().hire(server);
    await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    await intern.models.unload('hermes3:8b');
    const again = await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    assert.equal(again.load_ms && again.load_ms >= 20_000, true);
    assert.equal(again.residency?.evicted, false);
  });

  it('is evicted after all when it was loaded again and pushed out', async () => {
    const server = await stage().serve({ models, maxLoadedModels: 1 });
    const intern = stage().hire(server);
    await stage().finish(intern.models.load('hermes3:8b'));
    await intern.models.unload('hermes3:8b');
    await intern.models.resident();
    await stage().finish(intern.models.load('hermes3:8b'));
    await stage().finish(intern.models.load('qwen3:8b'));
    const evicted = (await stage().logged(intern)).filter(({ kind }) => kind === 'eviction');
    assert.deepEqual(
      evicted.map((line) => line['model']),
      ['hermes3:8b'],
    );
  });

  it('counts as evicted still when the request to unload it failed', async () => {
    const server = await stage().serve({ models, maxLoadedModels: 1 });
    const intern = stage().hire(server);
    await stage().finish(intern.models.load('hermes3:8b'));
    server.faults.next({ ...faults.status(500, 'no'), match: isUnload });
    assert.equal((await failure(intern.models.unload('hermes3:8b'))).code, 'server');
    await stage().finish(intern.models.load('qwen3:8b'));
    const evicted = (await stage().logged(intern)).filter(({ kind }) => kind === 'eviction');
    assert.equal(evicted.length, 1);
  });

  it('may be unloaded while a call runs, which is answered to its end', async () => {
    const server = await stage().serve({ models, tokenMs: 100 });
    const intern = stage().hire(server);
    const call = intern.run('summarize_fast', { text: TEXT });
    const answered = stage().finish(call);
    await server.waitForRequest(({ path }) => path === '/api/chat');
    await intern.models.unload('hermes3:8b');
    assert.ok((await answered).result.summary);
    assert.deepEqual(await intern.models.resident(), []);
    assert.ok((await stage().logged(intern)).every(({ kind }) => kind !== 'eviction'));
  });

  it('is kept with the window that it has, without a reload', async () => {
    const server = await serve();
    const other = stage().hire(server, { options: { contextWindow: 1024 } });
    const intern = stage().hire(server);
    for (const name of ['hermes3:8b', 'nomic-embed-text']) {
      await stage().finish(other.models.load(name));
    }
    const { loads } = server.stats;
    const before = windows(server);
    for (const name of ['hermes3:8b', 'nomic-embed-text']) await intern.models.keep(name);
    assert.equal(server.stats.loads, loads);
    assert.deepEqual(windows(server), before);
    await stage().clock.advance(24 * 3_600_000);
    assert.equal(server.runners.length, 2, 'a day later');
  });

  it('is kept also when calls of ours have another time of their own', async () => {
    const server = await serve();
    const intern = stage().hire(server, { keepAlive: '5m' });
    await stage().finish(intern.models.load('hermes3:8b'));
    await intern.models.keep('hermes3:8b');
    await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    await stage().clock.advance(3_600_000);
    assert.equal(server.runners.length, 1, 'an hour after the call');
    await intern.models.unload('hermes3:8b');
    await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    await stage().clock.advance(3_600_000);
    assert.equal(server.runners.length, 0, 'it is kept no longer once it was unloaded');
  });

  it('cannot be kept where it is not', async () => {
    const server = await serve();
    const intern = stage().hire(server);
    const error = await failure(intern.models.keep('hermes3:8b'));
    assert.equal(error.code, 'bad_input');
    assert.match(error.message, /not in memory/);
    assert.equal(server.stats.loads, 0);
  });

  for (const mode of ['off', 'primary'] as const) {
    it(`is refused when it runs elsewhere, with the cloud ${mode}`, async () => {
      const cloud = await stage().serveCloud();
      const server = await stage().serve({ models });
      const intern = stage().hire(server, { cloud: { mode, host: cloud.url } });
      for (const name of ['gpt-oss:120b-cloud', 'cloud/minimax-m3', 'gateway/x']) {
        for (const act of ['load', 'unload', 'keep'] as const) {
          assert.equal((await failure(intern.models[act](name))).code, 'bad_input', act);
        }
      }
      assert.equal(server.requests.length + cloud.requests.length, 0);
    });
  }

  it('tells once that a model was pushed out, at the look that finds it, and not of one that was unloaded', async () => {
    const server = await stage().serve({ models, vram: 12 * 2 ** 30, maxLoadedModels: 1 });
    const intern = stage().hire(server);
    const heard: string[] = [];
    intern.listen({ onEvicted: (names) => heard.push(...names) });
    await stage().finish(intern.models.load('hermes3:8b'));
    await intern.models.resident();
    await stage().finish(stage().hire(server).models.load('nomic-embed-text'));
    assert.deepEqual(heard, []);
    const resident = await intern.models.resident();
    assert.deepEqual(heard, ['hermes3:8b'], 'before whoever asked is answered');
    assert.equal(resident.length, 1);
    await intern.models.unload('nomic-embed-text');
    await intern.models.resident();
    assert.deepEqual(heard, ['hermes3:8b']);
  });

  it('is unloaded where the host points now, not where it pointed before', async () => {
    const [before, after] = [await serve(), await serve()];
    const intern = stage().hire(before);
    const { models: kept } = intern;
    intern.configure(stage().settingsFor(after));
    await stage().finish(kept.load('hermes3:8b'));
    await kept.unload('hermes3:8b');
    await kept.installed();
    await kept.version();
    assert.deepEqual(before.requests, []);
    assert.equal(after.requests.filter(isUnload).length, 1);
  });
});
