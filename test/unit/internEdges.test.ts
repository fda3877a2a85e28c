import assert from 'node:assert/strict';
import type { Phase } from '../../src/core';
import { defineModel, type OllamaServer } from '../support/ollama/server';
import { Stage, TEXT } from './stage';
import { failure } from './support';

const isChat = (r: { path: string }): boolean => r.path === '/api/chat';

describe('the intern, when several things happen at once', () => {
  const stage = Stage.forEach();

  describe('keep-alive 0', () => {
    for (const keepAlive of ['0', '0s', '0h0m']) {
      it(`a cold model is loaded before its budget runs: ${keepAlive}`, async () => {
        const server = await stage().serve({ loadMs: 42_000 });
        const intern = stage().hire(server, { keepAlive });
        const phases: Phase[] = [];
        const envelope = await stage().finish(
          intern.run('summarize_fast', { text: TEXT }, { onPhase: (p) => phases.push(p) }),
        );
        assert.ok(Math.abs(envelope.load_ms - 42_000) < 1_000, `load_ms is ${envelope.load_ms}`);
        assert.ok(phases.some((p) => p.phase === 'loading'));
        await server.whenIdle();
        assert.equal(server.runners.length, 0, 'it stays in memory');
        const second = await stage().finish(intern.run('summarize_fast', { text: TEXT }));
        assert.ok(Math.abs(second.load_ms - 42_000) < 1_000, `load_ms is ${second.load_ms}`);
      });
    }
  });

  it("another model's load that ends does not lift the budget of a call", async () => {
    const server = await stage().serve({
      models: [
        defineModel({ name: 'hermes3:8b' }),
        defineModel({ name: 'qwen3:8b', loadMs: 50_000 }),
      ],
    });
    const intern = stage().hire(server);
    await intern.run('summarize_fast', { text: TEXT });
    await stage().clock.advance(31_000);
    const other = intern.run('summarize_fast', { text: TEXT }, { model: 'qwen3:8b' });
    await server.waitForRequest(
      (r) => r.path === '/api/generate' && JSON.stringify(r.body).includes('qwen3'),
    );
    await stage().clock.advance(46_000);
    server.faults.next({
      match: (r) => isChat(r) && JSON.stringify(r.body).includes('hermes3'),
      hang: true,
    });
    const startedAt = stage().clock.now();
    const error = await failure(stage().finish(intern.run('summarize_fast', { text: TEXT }), 250));
    assert.match(error.message, /did not answer/);
    const waited = stage().clock.now() - startedAt;
    assert.ok(waited <= 7_000, `waited ${waited} ms`);
    await stage().finish(other);
  });

  it('a second call on a model that is loading says that it waited for the load', async () => {
    const server = await stage().serve({ loadMs: 40_000 });
    const intern = stage().hire(server);
    const first = intern.run('summarize_fast', { text: TEXT });
    await server.waitForRequest((r) => r.path === '/api/generate');
    await stage().clock.advance(10_000);
    const second = intern.run('summarize_fast', { text: TEXT });
    const [a, b] = await stage().finish(Promise.all([first, second]));
    assert.ok(Math.abs(a.load_ms - 40_000) < 1_000, `load_ms is ${a.load_ms}`);
    assert.ok(Math.abs(b.load_ms - 30_000) < 1_000, `load_ms is ${b.load_ms}`);
  });

  async function pushedOut(server: OllamaServer): Promise<void> {
    const other = fetch(`${server.url}/api/generate`, {
      method: 'POST',
      body: JSON.stringify({ model: 'qwen3:8b', stream: false }),
    });
    await server.waitForRequest(
      (r) => r.path === '/api/generate' && JSON.stringify(r.body).includes('qwen3'),
    );
    await stage().finish(other, 1_000);
  }

  it('a load is counted once when a trusted model was pushed out', async () => {
    const server = await stage().serve({ loadMs: 20_000, maxLoadedModels: 1 });
    const intern = stage().hire(server);
    await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    await pushedOut(server);
    const envelope = await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    assert.ok(envelope.load_ms <= envelope.elapsed_ms, JSON.stringify(envelope));
    assert.ok(Math.abs(envelope.load_ms - 20_000) < 1_000, `load_ms is ${envelope.load_ms}`);
  });

  it('nothing is told or timed any more after a call that failed while its model reloads', async () => {
    const server = await stage().serve({ loadMs: 20_000, maxLoadedModels: 1 });
    const intern = stage().hire(server);
    await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    await pushedOut(server);
    server.faults.next({ match: isChat, delayMs: 9_000, reply: { status: 500, body: {} } });
    const phases: Phase[] = [];
    const call = intern.run('summarize_fast', { text: TEXT }, { onPhase: (p) => phases.push(p) });
    assert.equal((await failure(stage().finish(call, 250))).code, 'server');
    const before = phases.length;
    await stage().clock.advance(5_000);
    assert.equal(phases.length, before, `told ${JSON.stringify(phases.slice(before))}`);
    await server.whenIdle();
  });

  it('a progress display that throws harms no call and no place in the line', async () => {
    const server = await stage().serve({ tokenMs: 10 });
    const intern = stage().hire(server, { maxConcurrent: 1 });
    const bad = {
      onPhase: () => {
        throw new Error('display is gone');
      },
    };
    const calls = [1, 2, 3, 4].map(() => intern.run('summarize_fast', { text: TEXT }, bad));
    const ended = await stage().finish(Promise.allSettled(calls));
    assert.deepEqual(
      ended.map((e) => e.status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
    await stage().finish(intern.run('summarize_fast', { text: TEXT }));
  });

  it('a model removed since it was last used is missing by name, with those that exist', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    await intern.run('summarize_fast', { text: TEXT });
    await fetch(`${server.url}/api/delete`, {
      method: 'DELETE',
      body: JSON.stringify({ model: 'hermes3:8b' }),
    });
    await stage().clock.advance(31_000);
    const error = await failure(stage().finish(intern.run('summarize_fast', { text: TEXT })));
    assert.equal(error.code, 'model_missing');
    assert.ok(error.details.available?.includes('qwen3:8b'), JSON.stringify(error.details));
    const installed = await intern.models.installed();
    assert.ok(!installed.some((m) => m.name === 'hermes3:8b'), 'it is still listed');
  });

  describe('settings that change while a call runs', () => {
    it('leave its envelope with the profile it was made under', async () => {
      const server = await stage().serve({ tokenMs: 100 });
      const intern = stage().hire(server);
      const call = intern.run('summarize_fast', { text: TEXT });
      await server.waitForRequest(isChat);
      intern.configure(stage().settingsFor(server, { profile: 'm5-max' }));
      const envelope = await stage().finish(call);
      assert.equal(envelope.model, 'hermes3:8b');
      assert.equal(envelope.hardware_profile, 'dev-rtx5080');
    });

    it('leave a waiting call on the server it was made for', async () => {
      const one = await stage().serve({ tokenMs: 100 });
      const two = await stage().serve({ tokenMs: 100 });
      const intern = stage().hire(one, { maxConcurrent: 1 });
      const first = intern.run('summarize_fast', { text: TEXT });
      const second = intern.run('summarize_fast', { text: TEXT });
      await one.waitForRequest(isChat);
      await stage().clock.advance(500);
      intern.configure(stage().settingsFor(two, { maxConcurrent: 1 }));
      await stage().finish(Promise.all([first, second]));
      assert.equal(one.requests.filter(isChat).length, 2);
      assert.equal(two.requests.filter(isChat).length, 0, 'its prompt went to another server');
    });

    it('do not let it vouch for a model on another server', async () => {
      const one = await stage().serve({ tokenMs: 100 });
      const two = await stage().serve({ loadMs: 20_000 });
      const intern = stage().hire(one);
      const first = intern.run('summarize_fast', { text: TEXT });
      await one.waitForRequest(isChat);
      await stage().clock.advance(500);
      intern.configure(stage().settingsFor(two));
      await stage().finish(first);
      const phases: Phase[] = [];
      const startedAt = stage().clock.now();
      await stage().finish(
        intern.run('summarize_fast', { text: TEXT }, { onPhase: (p) => phases.push(p) }),
      );
      assert.equal(phases[0]?.phase, 'loading', 'it was taken for resident');
      assert.ok(stage().clock.now() - startedAt >= 20_000);
      const kinds = (await stage().logged(intern)).map((l) => l.kind);
      assert.deepEqual(kinds, ['call', 'call']);
    });

    it('do not make the next call forget those ahead of it', async () => {
      const server = await stage().serve({ tokenMs: 700 });
      const intern = stage().hire(server);
      const first = intern.run('summarize_fast', { text: TEXT });
      await server.waitForRequest(isChat);
      await stage().clock.advance(1_500);
      intern.configure(stage().settingsFor(server, { keepAlive: '10m' }));
      const [a, b] = await stage().finish(
        Promise.all([first, intern.run('summarize_fast', { text: TEXT })]),
        500,
      );
      assert.ok(a.elapsed_ms > 7_000);
      assert.ok(b.queued_ms > 5_000, `queued ${b.queued_ms} ms`);
    });
  });

  it('a fallback that was not tried is not in the log', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server, {
      profile: 'dev-rtx5080-qwen3',
      tierOptions: { instant: { contextWindow: 512 }, workhorse: { contextWindow: 512 } },
    });
    server.faults.next({ match: isChat, hang: true, times: 2 });
    const error = await failure(
      stage().finish(intern.run('summarize_deep', { text: TEXT.repeat(10) }), 1_000),
    );
    assert.equal(error.code, 'timeout');
    assert.deepEqual(
      (await stage().logged(intern)).map((l) => l.kind),
      ['timeout'],
    );
  });

  it('a text is not shortened for the window of a model that was only fallen back to', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server, {
      tiers: { instant: 'qwen3:8b', workhorse: 'qwen3:14b' },
    });
    const about = (model: string) => (r: { path: string; body: unknown }) =>
      isChat(r) && JSON.stringify(r.body).includes(model);
    const overflow = {
      error: { message: 'exceeds the available context size', n_prompt_tokens: 9 },
    };
    server.faults.next({ match: about('qwen3:14b'), hang: true, times: 5 });
    server.faults.next({
      match: about('qwen3:8b'),
      reply: { status: 400, body: { error: JSON.stringify(overflow) } },
      times: 5,
    });
    const error = await failure(
      stage().finish(
        intern.run(
          'chat',
          { messages: [{ role: 'user', content: TEXT }] },
          { overflow: 'shorten' },
        ),
        1_000,
      ),
    );
    assert.equal(error.code, 'context_overflow');
    assert.equal(server.requests.filter(about('qwen3:14b')).length, 1, 'it timed out again');
  });

  it('a text that cannot be shortened offers no button for it', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    server.faults.next({
      match: isChat,
      reply: {
        status: 400,
        body: { error: 'the prompt is longer than the context length currently available' },
      },
    });
    const error = await failure(
      stage().finish(intern.run('draft', { instruction: 'x', text: 'y' })),
    );
    assert.equal(error.code, 'context_overflow');
    assert.ok(!error.actions.some((a) => a.kind === 'shorten'));
  });

  it('is let go of with its running calls', async () => {
    const server = await stage().serve({ tokenMs: 1_000 });
    const intern = stage().hire(server, { maxConcurrent: 1 });
    const first = failure(intern.run('summarize_fast', { text: TEXT }));
    const second = failure(intern.run('summarize_fast', { text: TEXT }));
    await server.waitForRequest(isChat);
    const disposed = intern.dispose();
    assert.equal((await first).code, 'cancelled');
    assert.equal((await second).code, 'cancelled');
    await disposed;
    assert.equal((await stage().logged(intern)).length, 2);
    await server.whenIdle();
    assert.equal(server.stats.active, 0);
  });
});
