import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type Envelope, MemoryStore, type Phase } from '../../src/core';
import { defineModel, faults } from '../support/ollama/server';
import { chatsOf, Stage, TEXT } from './stage';
import { failure } from './support';

const MIB = 2 ** 20;

describe('the intern', () => {
  const stage = Stage.forEach();

  it('streams a summary and tells the truth about it', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    let streamed = '';
    const envelope = await intern.run(
      'summarize_fast',
      { text: TEXT },
      { onDelta: (text) => (streamed += text), surface: 'command' },
    );
    assert.equal(streamed.trim(), envelope.result.summary);
    assert.match(envelope.result.summary, /limiter|calls|cancelled/i);
    const asked = server.requests.find((r) => r.path === '/api/chat');
    assert.ok(asked);
    assert.equal(envelope.tier_used, 'instant');
    assert.equal(envelope.backend, 'local');
    assert.equal(envelope.model, 'hermes3:8b');
    assert.equal(envelope.surface, 'command');
    assert.equal(envelope.hardware_profile, 'dev-rtx5080');
    assert.equal(envelope.cost_usd, 0);
    assert.equal(envelope.tokens_out, server.stats.generatedTokens);
    assert.ok((envelope.tokens_in ?? 0) > 50);
    assert.equal(envelope.done_reason, 'stop');
    assert.equal(envelope.num_ctx, 16384);
    assert.deepEqual(
      envelope.attempts.map((a) => a.outcome),
      ['answer'],
    );
    const runner = server.runners[0];
    assert.ok(runner && envelope.residency);
    assert.equal(envelope.residency.in_vram, true);
    assert.equal(envelope.residency.evicted, false);
    assert.equal(envelope.degraded, undefined);
    assert.equal(envelope.truncated, undefined);
  });

  it('loads a model once, whether its backend is named or not', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server, {
      tiers: { instant: 'local/qwen3:8b', workhorse: 'local/hermes3:8b', deep: 'local/hermes3:8b' },
    });
    const windows = [];
    for (const model of ['hermes3:8b', 'local/hermes3:8b']) {
      const call = intern.run('summarize_fast', { text: TEXT }, { model });
      windows.push((await stage().finish(call)).num_ctx);
    }
    assert.deepEqual(windows, [16384, 16384]);
  });

  it('sends nothing before the first call', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    intern.configure({
      host: server.url,
      profile: 'm5-max',
      logPath: join(stage().folder, 'log.ndjson'),
    });
    await stage().clock.advance(60_000);
    assert.equal(server.requests.length, 0);
  });

  it('logs one line a call without prompt, answer or result', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    const secret = 'correct horse battery staple';
    const envelope = await intern.run('summarize_fast', { text: `${secret}. ${TEXT}` });
    await failure(intern.run('summarize_fast', { text: secret }, { model: 'nope:1b' }));
    await failure(intern.run('summarize_fast', { text: `${secret} `.repeat(20_000) }));
    const lines = await stage().logged(intern);
    assert.deepEqual(
      lines.map((l) => l.kind),
      ['call', 'error', 'error'],
    );
    const call = lines[0]?.['envelope'] as Envelope;
    assert.equal(call.call_id, envelope.call_id);
    assert.equal(lines[0]?.['tool'], 'summarize_fast');
    assert.equal(lines[1]?.['code'], 'model_missing');
    assert.equal(lines[1]?.['model'], 'nope:1b');
    assert.equal(lines[2]?.['code'], 'context_overflow');
    const text = JSON.stringify(lines);
    assert.ok(!text.includes('horse'), 'the log quotes the prompt');
    assert.ok(!text.includes(envelope.result.summary.slice(0, 30)), 'the log quotes the answer');
    assert.ok(!('result' in call));
  });

  describe('a cold model', () => {
    it('that loads for longer than the tier budget still answers', async () => {
      const server = await stage().serve({ loadMs: 42_000 });
      const intern = stage().hire(server);
      const phases: Phase[] = [];
      const envelope = await stage().finish(
        intern.run('summarize_fast', { text: TEXT }, { onPhase: (p) => phases.push(p) }),
      );
      assert.ok(envelope.load_ms >= 42_000, `load_ms is ${envelope.load_ms}`);
      assert.ok((envelope.first_token_ms ?? 0) < 5_000);
      const loading = phases.filter((p) => p.phase === 'loading');
      assert.ok(loading.length > 30, 'the person sees seconds go by');
      assert.ok(
        loading.every((p) => p.expected_ms === undefined),
        'nothing is promised on the first load',
      );
    });

    it('says how long the load will take once one was seen', async () => {
      const server = await stage().serve({ loadMs: 20_000, keepAliveMs: 60_000 });
      const intern = stage().hire(server);
      await stage().finish(intern.run('summarize_fast', { text: TEXT }));
      await stage().clock.advance(120_000);
      assert.equal(server.runners.length, 0, 'it expired');
      const phases: Phase[] = [];
      const envelope = await stage().finish(
        intern.run('summarize_fast', { text: TEXT }, { onPhase: (p) => phases.push(p) }),
      );
      const loading = phases.find((p) => p.phase === 'loading');
      assert.ok(
        loading?.phase === 'loading' && Math.abs((loading.expected_ms ?? 0) - 20_000) < 1_000,
      );
      assert.equal(envelope.residency?.evicted, false, 'expiry on schedule is no eviction');
    });

    it('that never finishes loading ends in a timeout after its allowance', async () => {
      const server = await stage().serve({ loadMs: 10_000_000, loadTimeoutMs: 10_000_000 });
      const intern = stage().hire(server);
      const startedAt = stage().clock.now();
      const error = await failure(
        stage().finish(intern.run('summarize_fast', { text: TEXT }), 1_000),
      );
      assert.equal(error.code, 'timeout');
      assert.match(error.message, /did not finish loading/);
      // 8 B lies between 120 s at 7 B and 600 s at 70 B.
      const waited = (stage().clock.now() - startedAt) / 1000;
      assert.ok(waited >= 120 && waited <= 140, `waited ${waited} s`);
      await server.whenIdle();
      const lines = await stage().logged(intern);
      assert.deepEqual(
        lines.map((l) => l.kind),
        ['timeout'],
      );
    });

    it('can be cancelled while it loads, which stops the load', async () => {
      const server = await stage().serve({ loadMs: 60_000 });
      const intern = stage().hire(server);
      const controller = new AbortController();
      const call = intern.run('summarize_fast', { text: TEXT }, { signal: controller.signal });
      const failed = failure(call);
      await server.waitForRequest((r) => r.path === '/api/generate');
      await stage().clock.advance(3_000);
      controller.abort();
      assert.equal((await failed).code, 'cancelled');
      await server.whenIdle();
      assert.equal(server.runners.length, 0);
    });

    it('is not asked twice when the window of another tier is larger', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      await intern.run('summarize_fast', { text: TEXT });
      await intern.run('summarize_deep', { text: TEXT });
      await intern.run('draft', { instruction: 'add a function', text: 'x' });
      assert.equal(server.stats.loads, 1, 'changing the tier reloaded the model');
    });
  });

  describe('stop', () => {
    it('during generation frees the model for the next request at once', async () => {
      const server = await stage().serve({ tokenMs: 1_000 });
      const intern = stage().hire(server);
      const controller = new AbortController();
      let streamed = '';
      const first = failure(
        intern.run(
          'summarize_fast',
          { text: TEXT },
          { signal: controller.signal, onDelta: (text) => (streamed += text) },
        ),
      );
      await server.waitForRequest((r) => r.path === '/api/chat');
      while (streamed === '') await stage().clock.advance(500);
      controller.abort();
      assert.equal((await first).code, 'cancelled');
      // No time passes: the simulated model must be free without a token more.
      await server.whenIdle();
      assert.equal(server.stats.active, 0);
      assert.equal(server.stats.cancelled, 1);
    });

    it('by call id works too', async () => {
      const server = await stage().serve({ tokenMs: 1_000 });
      const intern = stage().hire(server);
      const call = failure(intern.run('summarize_fast', { text: TEXT }));
      await server.waitForRequest((r) => r.path === '/api/chat');
      const [running] = intern.running;
      assert.ok(running);
      assert.equal(running.job, 'summarize_fast');
      assert.equal(intern.stop(running.call_id), true);
      assert.equal((await call).code, 'cancelled');
      assert.equal(intern.stop(running.call_id), false);
      assert.equal(intern.running.length, 0);
      await server.whenIdle();
    });

    it('before it started sends nothing', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const error = await failure(
        intern.run('summarize_fast', { text: TEXT }, { signal: AbortSignal.abort() }),
      );
      assert.equal(error.code, 'cancelled');
      assert.equal(server.requests.filter((r) => r.path === '/api/chat').length, 0);
    });
  });

  describe('budgets', () => {
    it('a resident model that stays silent is a timeout after the tier budget', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      await intern.run('summarize_fast', { text: TEXT });
      server.faults.next({ match: (r) => r.path === '/api/chat', hang: true });
      const startedAt = stage().clock.now();
      const error = await failure(
        stage().finish(intern.run('summarize_fast', { text: TEXT }), 100),
      );
      assert.equal(error.code, 'timeout');
      const waited = stage().clock.now() - startedAt;
      // A trusted model is asked once more whether it is loading before the call is given up.
      assert.ok(waited >= 5_000 && waited <= 6_500, `waited ${waited} ms`);
    });

    it('of a streamed answer is the longest silence, not the total', async () => {
      const server = await stage().serve({ tokenMs: 2_000 });
      const intern = stage().hire(server);
      const envelope = await stage().finish(intern.run('summarize_fast', { text: TEXT }), 500);
      assert.ok(envelope.elapsed_ms > 15_000, 'the answer took far longer than 5 s');
      assert.equal(envelope.done_reason, 'stop');
    });

    it('a stream that stalls is ended after the silence, and said to be incomplete', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server, { budgets: { instant: 3 } });
      server.faults.next({ match: (r) => r.path === '/api/chat', lineDelayMs: 60_000 });
      let streamed = '';
      const error = await failure(
        stage().finish(
          intern.run('summarize_fast', { text: TEXT }, { onDelta: (t) => (streamed += t) }),
          500,
        ),
      );
      assert.equal(error.code, 'timeout');
      assert.equal(error.details.partial, streamed !== '');
    });

    it('a model pushed out by somebody else while trusted is waited for, not timed out', async () => {
      const server = await stage().serve({ loadMs: 20_000, maxLoadedModels: 1 });
      const intern = stage().hire(server);
      await stage().finish(intern.run('summarize_fast', { text: TEXT }));
      // Another program loads its own model.
      const other = fetch(`${server.url}/api/generate`, {
        method: 'POST',
        body: JSON.stringify({ model: 'qwen3:8b', stream: false }),
      });
      await server.waitForRequest(
        (r) => r.path === '/api/generate' && JSON.stringify(r.body).includes('qwen3'),
      );
      await stage().finish(other, 1_000);
      const envelope = await stage().finish(intern.run('summarize_fast', { text: TEXT }), 250);
      assert.equal(envelope.attempts[0]?.outcome, 'answer');
      assert.ok(envelope.elapsed_ms >= 20_000);
    });

    it('waiting in our own queue does not use the budget up', async () => {
      const server = await stage().serve({ tokenMs: 700 });
      const intern = stage().hire(server, { maxConcurrent: 1 });
      const phases: Phase[] = [];
      const first = intern.run('summarize_fast', { text: TEXT });
      const second = intern.run(
        'summarize_fast',
        { text: TEXT },
        { onPhase: (p) => phases.push(p) },
      );
      const [a, b] = await stage().finish(Promise.all([first, second]), 500);
      assert.ok(a.elapsed_ms > 5_000);
      assert.ok(b.queued_ms > 5_000, `queued ${b.queued_ms} ms`);
      assert.ok(phases.some((p) => p.phase === 'queued' && p.position === 1));
    });

    it("waiting in the server's queue behind our own call does not either", async () => {
      const server = await stage().serve({ tokenMs: 700 });
      const intern = stage().hire(server);
      const [a, b] = await stage().finish(
        Promise.all([
          intern.run('summarize_fast', { text: TEXT }),
          intern.run('summarize_fast', { text: TEXT }),
        ]),
        500,
      );
      assert.ok(a.elapsed_ms > 5_000);
      assert.ok(b.queued_ms > 5_000, `queued ${b.queued_ms} ms`);
      assert.ok((b.first_token_ms ?? Infinity) < 5_000);
    });

    it('deep degrades to workhorse when its model is too slow and the other is not', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server, { profile: 'dev-rtx5080-qwen3' });
      server.faults.next({
        match: (r) => r.path === '/api/chat' && JSON.stringify(r.body).includes('qwen3:14b'),
        hang: true,
      });
      const envelope = await stage().finish(intern.run('summarize_deep', { text: TEXT }), 1_000);
      assert.equal(envelope.tier_used, 'workhorse');
      assert.equal(envelope.model, 'qwen3:8b');
      assert.equal(envelope.fallback_from, 'deep');
      assert.deepEqual(
        envelope.attempts.map((a) => [a.model, a.outcome]),
        [
          ['qwen3:14b', 'timeout'],
          ['qwen3:8b', 'answer'],
        ],
      );
      const lines = await stage().logged(intern);
      assert.deepEqual(
        lines.map((l) => l.kind),
        ['fallback', 'call'],
      );
    });

    it('a model that has just timed out is not asked again under another tier', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      server.faults.next({ match: (r) => r.path === '/api/chat', hang: true, times: 5 });
      const error = await failure(
        stage().finish(intern.run('summarize_deep', { text: TEXT }), 1_000),
      );
      assert.equal(error.code, 'timeout');
      assert.equal(server.requests.filter((r) => r.path === '/api/chat').length, 1);
    });
  });

  describe('failures', () => {
    it('Ollama is not running: unreachable, with a way to start it', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      await server.stop();
      const error = await failure(intern.run('summarize_fast', { text: TEXT }));
      assert.equal(error.code, 'unreachable');
      assert.ok(error.actions.some((a) => a.kind === 'start_server'));
      assert.ok(error.callId);
      await server.start();
      assert.equal((await intern.run('summarize_fast', { text: TEXT })).done_reason, 'stop');
    });

    it('no models pulled: says so and offers the pull', async () => {
      const server = await stage().serve({ models: [] });
      const error = await failure(stage().hire(server).run('summarize_fast', { text: TEXT }));
      assert.equal(error.code, 'config');
      assert.match(error.message, /no models/);
      assert.ok(error.actions.some((a) => a.kind === 'pull_model' && a.model === 'hermes3:8b'));
    });

    it('the model is missing: names at most eight that exist, and works after a pull', async () => {
      const names = Array.from({ length: 12 }, (_, i) => defineModel({ name: `m${i}:1b` }));
      const server = await stage().serve({
        models: names,
        pullable: [defineModel({ name: 'hermes3:8b' })],
      });
      const intern = stage().hire(server);
      const error = await failure(intern.run('summarize_fast', { text: TEXT }));
      assert.equal(error.code, 'model_missing');
      assert.equal(error.details.available?.length, 8);
      const steps: string[] = [];
      await stage().finish(intern.models.pull('hermes3:8b', (p) => steps.push(p.status)));
      assert.equal(steps.at(-1), 'success');
      assert.ok((await intern.run('summarize_fast', { text: TEXT })).result.summary);
    });

    for (const [name, fault, code, partial] of [
      ['a stream that ends without done', faults.endAfter(2), 'server', true],
      ['the token repeat guard', faults.repeatGuard(), 'server', true],
      ['an error line inside the stream', faults.errorAfter(3, 'unexpected EOF'), 'server', true],
      ['a runner that dies', faults.runnerDiesAfter(3), 'server', true],
      ['a socket cut in the middle', faults.resetAfter(3), 'unreachable', true],
      ['a socket cut before the first line', faults.resetAfter(0), 'unreachable', undefined],
      ['garbage in the stream', faults.garbageAfter(2), 'server', true],
      ['a web page', faults.page(200), 'server', undefined],
    ] as const) {
      it(`${name} is an error and never an answer`, async () => {
        const server = await stage().serve();
        const intern = stage().hire(server);
        server.faults.next({ ...fault, match: (r) => r.path === '/api/chat' });
        let shown = '';
        const error = await failure(
          stage().finish(
            intern.run('summarize_fast', { text: TEXT }, { onDelta: (t) => (shown += t) }),
            500,
          ),
        );
        assert.equal(error.code, code);
        assert.equal(Boolean(error.details.partial), Boolean(partial), shown);
        const lines = await stage().logged(intern);
        assert.equal(lines.filter((l) => l.kind === 'error').length, 1);
        assert.equal(
          (await stage().finish(intern.run('summarize_fast', { text: TEXT }))).done_reason,
          'stop',
        );
      });
    }

    it('an empty answer is an error with a reason', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      server.faults.next({
        match: (r) => r.path === '/api/chat',
        reply: {
          status: 200,
          headers: { 'Content-Type': 'application/x-ndjson' },
          body: `${JSON.stringify({
            model: 'hermes3:8b',
            message: { role: 'assistant', content: '' },
            done: true,
            done_reason: 'length',
          })}\n`,
        },
      });
      const error = await failure(intern.run('summarize_fast', { text: TEXT }));
      assert.equal(error.code, 'server');
      assert.match(error.message, /nothing/);
    });

    it('a text that does not fit is refused before it is sent', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const error = await failure(intern.run('summarize_fast', { text: TEXT.repeat(2_000) }));
      assert.equal(error.code, 'context_overflow');
      assert.ok((error.details.prompt_tokens ?? 0) > 100_000);
      assert.equal(error.details.num_ctx, 16384);
      assert.equal(server.requests.filter((r) => r.path === '/api/chat').length, 0);
      assert.ok(error.actions.some((a) => a.kind === 'shorten'));
    });

    it('a text that was shortened on request says so', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server);
      const envelope = await intern.run(
        'summarize_fast',
        { text: TEXT.repeat(2_000) },
        { overflow: 'shorten' },
      );
      assert.equal(envelope.truncated, true);
      assert.match(envelope.warnings.join(' '), /first part/);
      assert.ok((envelope.tokens_in ?? Infinity) + 200 <= 16384);
    });

    it('a text that the server counts higher than we do is shortened again', async () => {
      const server = await stage().serve();
      const store = new MemoryStore();
      // As if all prompts so far had been prose: digits take far more tokens.
      store.set('chars-per-token:hermes3:8b', 8);
      const intern = stage().hire(server, {}, { store });
      const envelope = await intern.run(
        'summarize_fast',
        { text: 'request 4711 took 12 ms\n'.repeat(20_000) },
        { overflow: 'shorten' },
      );
      assert.deepEqual(
        envelope.attempts.map((a) => a.outcome),
        ['context_overflow', 'answer'],
      );
      assert.equal(envelope.truncated, true);
      assert.equal((await stage().logged(intern)).length, 1);
    });

    it('a text that the server counts higher than we do is read in more parts, and none is lost', async () => {
      const server = await stage().serve();
      const store = new MemoryStore();
      store.set('chars-per-token:hermes3:8b', 8);
      const intern = stage().hire(server, {}, { store });
      const text = Array.from({ length: 8_000 }, (_, i) => `request ${i} took 12 ms\n`).join('');
      const envelope = await intern.run('summarize_deep', { text });
      assert.ok(envelope.attempts.some(({ outcome }) => outcome === 'context_overflow'));
      const { parts, ...gaps } = envelope.result;
      assert.ok(parts > 2, `${parts} parts`);
      assert.deepEqual([gaps.omitted_sources, gaps.unread_parts], [[], []]);
      assert.equal(envelope.truncated, undefined);
      const read = new Set(
        chatsOf(server).flatMap(({ body }) => JSON.stringify(body).match(/request \d+(?= took)/g)),
      );
      assert.equal(read.size, 8_000);
    });

    it('a text whose tokens are short is read in parts before anything was learned of its model', async () => {
      const server = await stage().serve();
      const envelope = await stage()
        .hire(server)
        .run('summarize_deep', { text: '呼び出しを制限する。'.repeat(2_500) });
      assert.ok(envelope.result.parts > 1);
      assert.deepEqual(envelope.result.unread_parts, []);
      assert.ok(envelope.attempts.every(({ outcome }) => outcome === 'answer'));
    });

    it('an empty input never reaches the server', async () => {
      const server = await stage().serve();
      const error = await failure(stage().hire(server).run('summarize_fast', { text: ' \n' }));
      assert.equal(error.code, 'bad_input');
      assert.equal(error.message, 'There is no text to summarize.');
      assert.equal(server.requests.length, 0);
    });

    it('a model that the daemon runs in the cloud is refused', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server, { tiers: { instant: 'gpt-oss:120b-cloud' } });
      const error = await failure(intern.run('summarize_fast', { text: TEXT }));
      assert.equal(error.code, 'config');
      assert.match(error.message, /cloud/);
      assert.equal(server.requests.length, 0, 'even a question about it would be passed on');
    });

    it('a model for embeddings is refused for writing', async () => {
      const server = await stage().serve();
      const intern = stage().hire(server, { tiers: { instant: 'nomic-embed-text' } });
      const error = await failure(intern.run('summarize_fast', { text: TEXT }));
      assert.equal(error.code, 'bad_input');
      assert.match(error.message, /nomic-embed-text/);
    });
  });

  it('tells thinking models not to think, and others nothing about it', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server, { profile: 'dev-rtx5080-qwen3' });
    await intern.run('summarize_fast', { text: TEXT });
    await intern.run('summarize_fast', { text: TEXT }, { model: 'hermes3:8b' });
    const bodies = server.requests
      .filter((r) => r.path === '/api/chat')
      .map((r) =>
        typeof r.body === 'string' ? (JSON.parse(r.body) as object) : (r.body as object),
      );
    assert.deepEqual(
      bodies.map((b) => 'think' in b && b.think),
      [false, false],
    );
    assert.equal('think' in (bodies[0] ?? {}), true);
    assert.equal('think' in (bodies[1] ?? {}), false);
  });

  it('says that an answer was cut at its length limit', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server, { options: { numPredict: 3 } });
    const envelope = await intern.run('summarize_fast', { text: TEXT });
    assert.equal(envelope.done_reason, 'length');
    assert.match(envelope.warnings.join(' '), /length limit/);
  });

  it('honours the model of a call and says which was asked for', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    const envelope = await intern.run('summarize_fast', { text: TEXT }, { model: 'qwen3:8b' });
    assert.equal(envelope.model, 'qwen3:8b');
    assert.equal(envelope.model_requested, 'qwen3:8b');
  });

  it('shows a model that does not fit the VRAM as partly resident', async () => {
    const server = await stage().serve({ vram: 4_000 * MIB, ram: 64_000 * MIB });
    const intern = stage().hire(server);
    const { residency } = await intern.run('summarize_fast', { text: TEXT });
    assert.ok(residency);
    assert.equal(residency.in_vram, true);
    assert.ok(residency.size_vram_bytes < residency.size_bytes);
  });

  it('marks a model that was pushed out since its last call as evicted, and logs it', async () => {
    const server = await stage().serve({ maxLoadedModels: 1 });
    const intern = stage().hire(server);
    await intern.run('summarize_fast', { text: TEXT });
    await fetch(`${server.url}/api/generate`, {
      method: 'POST',
      body: JSON.stringify({ model: 'qwen3:8b', stream: false }),
    });
    await stage().clock.advance(31_000);
    const envelope = await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    assert.equal(envelope.residency?.evicted, true);
    const again = await intern.run('summarize_fast', { text: TEXT });
    assert.equal(again.residency?.evicted, false, 'one eviction is told once');
    // Its own load pushed the other model out in turn.
    assert.deepEqual(
      (await stage().logged(intern)).map((l) => [l.kind, l['model']].filter(Boolean).join(' ')),
      ['call', 'eviction hermes3:8b', 'eviction qwen3:8b', 'call', 'call'],
    );
  });

  it('takes over new settings at once', async () => {
    const one = await stage().serve();
    const two = await stage().serve();
    const intern = stage().hire(one);
    await intern.run('summarize_fast', { text: TEXT });
    intern.configure({
      host: two.url,
      tiers: { instant: 'qwen3:8b' },
      logPath: intern.config.logPath,
    });
    const envelope = await intern.run('summarize_fast', { text: TEXT });
    assert.equal(envelope.model, 'qwen3:8b');
    assert.ok(two.requests.some((r) => r.path === '/api/chat'));
    assert.equal(one.requests.filter((r) => r.path === '/api/chat').length, 1);
  });

  it('learns how many characters a token of a model has', async () => {
    const server = await stage().serve();
    const store = new MemoryStore();
    const intern = stage().hire(server, {}, { store });
    await intern.run('summarize_fast', { text: TEXT.repeat(5) });
    assert.equal(typeof store.get('chars-per-token:hermes3:8b'), 'number');
  });

  it('refuses calls after it was disposed, and sends nothing', async () => {
    const server = await stage().serve();
    const intern = stage().hire(server);
    await intern.dispose();
    const error = await failure(intern.run('summarize_fast', { text: TEXT }));
    assert.equal(error.code, 'cancelled');
    assert.equal(server.requests.length, 0);
  });
});
