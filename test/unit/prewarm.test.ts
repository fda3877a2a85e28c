import assert from 'node:assert/strict';
import { defineModel } from '../support/ollama/server';
import { Stage, TEXT } from './stage';
import { failure } from './support';

describe('prewarming', () => {
  const stage = Stage.forEach();
  const models = ['hermes3:8b', 'qwen3:8b'].map((name) => defineModel({ name, loadMs: 20_000 }));
  const embedder = defineModel({ name: 'nomic-embed-text', capabilities: ['embedding'] });
  const isPrompt = (r: { path: string; body: { messages?: unknown; prompt?: unknown } }): boolean =>
    r.path === '/api/chat' || Boolean(r.body.prompt);

  it('gets each model into memory once, without a prompt, and logs it', async () => {
    const server = await stage().serve({ models: [...models, embedder] });
    const intern = stage().hire(server, { tiers: { deep: 'qwen3:8b' } });
    const warm = await stage().finish(
      intern.models.prewarm(['instant', 'workhorse', 'deep', 'embed']),
    );
    assert.deepEqual(warm, ['hermes3:8b', 'qwen3:8b', 'nomic-embed-text']);
    assert.deepEqual(server.runners.map((r) => r.name).toSorted(), [
      'hermes3:8b',
      'nomic-embed-text:latest',
      'qwen3:8b',
    ]);
    assert.equal(server.requests.filter(isPrompt).length, 0);
    const lines = await stage().logged(intern);
    assert.deepEqual(
      lines.map((l) => [l.kind, l['tier'], l['model'], l['success']]),
      [
        ['prewarm', 'instant', 'hermes3:8b', true],
        ['prewarm', 'deep', 'qwen3:8b', true],
        ['prewarm', 'embed', 'nomic-embed-text', true],
      ],
    );
    assert.ok(Number(lines[0]?.['elapsed_ms']) >= 20_000);
    assert.equal((lines[0]?.['residency'] as { in_vram: boolean }).in_vram, true);
  });

  it('leaves nothing to load for the first call', async () => {
    const server = await stage().serve({ models });
    const intern = stage().hire(server);
    await stage().finish(intern.models.prewarm(['instant']));
    const { loads } = server.stats;
    const envelope = await intern.run('summarize_fast', { text: TEXT });
    assert.equal(server.stats.loads, loads);
    assert.equal(envelope.load_ms, 0);
  });

  it('goes on after a model that cannot be loaded, and logs why', async () => {
    const server = await stage().serve({ models });
    server.faults.next({ match: (r) => r.path === '/api/generate', load: 'out-of-memory' });
    const intern = stage().hire(server, { tiers: { deep: 'qwen3:8b', instant: 'absent:1b' } });
    const warm = await stage().finish(intern.models.prewarm(['instant', 'workhorse', 'deep']));
    assert.deepEqual(warm, ['qwen3:8b']);
    assert.deepEqual(
      (await stage().logged(intern)).map((l) => [l['success'], l['error']]),
      [
        [false, 'model_missing'],
        [false, 'out_of_memory'],
        [true, undefined],
      ],
    );
  });

  it('sends nothing anywhere else: not for a cloud model, not to a gateway', async () => {
    const server = await stage().serve({ models });
    const cloud = await stage().serveCloud();
    const intern = stage().hire(server, {
      tiers: { instant: 'gpt-oss:120b-cloud', workhorse: 'gateway/x', deep: 'cloud/minimax-m3' },
      cloud: { host: cloud.url },
    });
    assert.deepEqual(
      await stage().finish(intern.models.prewarm(['instant', 'workhorse', 'deep'])),
      [],
    );
    assert.equal(cloud.requests.length, 0);
    assert.equal(server.requests.length, 0);
  });

  it('ends at once when it is cancelled, and the server gives the load up', async () => {
    const server = await stage().serve({ models });
    const intern = stage().hire(server);
    const controller = new AbortController();
    const prewarm = failure(intern.models.prewarm(['instant'], controller.signal));
    const load = await server.waitForRequest((r) => r.path === '/api/generate');
    controller.abort();
    assert.equal((await prewarm).code, 'cancelled');
    await server.waitFor(() => load.abortedAt);
  });
});
