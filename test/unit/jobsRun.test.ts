import assert from 'node:assert/strict';
import {
  type Envelope,
  type Intern,
  InternError,
  type JobName,
  JOBS,
  type Phase,
  type RunOptions,
} from '../../src/core';
import { defaultModels, defineModel, faults, type OllamaServer } from '../support/ollama/server';
import { INPUTS } from './inputs';
import { Stage, TEXT } from './stage';
import { failure } from './support';

const NAMES = Object.keys(JOBS) as JobName[];
const EMBEDDER = defineModel({
  name: 'nomic-embed-text',
  capabilities: ['embedding'],
  contextLength: 2048,
});
const models = [...defaultModels.filter((m) => m.name !== 'nomic-embed-text'), EMBEDDER];
const isChat = (r: { path: string }): boolean => r.path === '/api/chat';

describe('every job on a server', () => {
  const stage = Stage.forEach();
  let server: OllamaServer;
  let intern: Intern;

  beforeEach(async () => {
    server = await stage().serve({ models });
    intern = stage().hire(server);
  });

  const run = (name: JobName, options?: RunOptions): Promise<Envelope> =>
    stage().finish(intern.run(name, INPUTS[name], options));

  for (const name of NAMES) {
    it(`${name} gives a result or a typed error, one envelope and one line in the log`, async () => {
      const outcome = await run(name).catch((error: unknown) => error);
      const lines = (await stage().logged(intern)).filter((l) => l['tool'] === name);
      assert.equal(lines.length, 1);
      if (outcome instanceof InternError) {
        // The simulated model writes what the schema allows, which need not make sense.
        assert.equal(outcome.code, 'server');
        assert.match(outcome.message, /form that was asked for/);
        return;
      }
      const envelope = outcome as Envelope;
      const job = JOBS[name];
      assert.equal(envelope.job, name);
      assert.equal(envelope.tier_used, job.tier);
      assert.equal(envelope.backend, 'local');
      assert.ok((envelope.tokens_in ?? 0) > 0);
      const text = (job.show as (result: unknown) => string)(envelope.result);
      assert.equal(typeof text, 'string');
      assert.doesNotMatch(JSON.stringify(lines), /limiter admits two calls|database refused/);
    });

    it(`${name} leaves nothing running when it is cancelled`, async () => {
      const isWork = ({ path, body }: { path: string; body: { input?: unknown } }): boolean =>
        path === '/api/chat' || (path === '/api/embed' && (body.input as unknown[]).length > 0);
      server.faults.next({ ...faults.hang(), match: isWork });
      const controller = new AbortController();
      const error = failure(run(name, { signal: controller.signal }));
      const request = await server.waitForRequest(isWork);
      controller.abort();
      assert.equal((await error).code, 'cancelled');
      await server.waitFor(() => request.abortedAt);
      assert.equal(intern.backends[0]?.running, 0);
      assert.deepEqual(intern.running, []);
    });
  }

  it('sends its schema with the question where the answer is data', async () => {
    await run('classify').catch(() => undefined);
    const { format } = server.requests.findLast(isChat)?.body ?? {};
    assert.equal((format as { type: string }).type, 'object');
    assert.match(JSON.stringify(format), /"bug"/);
  });

  it('asks once more, with what is wrong, when an answer has not the form that was asked for', async () => {
    const line = (content: string): string =>
      `${JSON.stringify({ model: 'hermes3:8b', message: { role: 'assistant', content }, done: true, done_reason: 'stop', prompt_eval_count: 9, eval_count: 9 })}\n`;
    const reply = (content: string) => ({
      match: isChat,
      reply: {
        status: 200,
        body: line(content),
        headers: { 'Content-Type': 'application/x-ndjson' },
      },
    });
    server.faults.next(reply('I would say: it is two.'));
    server.faults.next(reply('{"limit": 2}'));
    const envelope = await run('extract');
    assert.deepEqual((envelope.result as { data: unknown }).data, { limit: 2 });
    assert.equal(envelope.calls, 2);
    assert.equal(envelope.tokens_in, 18);
    const [first, second] = server.requests.filter(isChat);
    assert.equal(second?.body.messages.length, (first?.body.messages.length ?? 0) + 2);
  });

  describe('of many prompts', () => {
    const long = `${TEXT}\n`.repeat(600);
    const ask = (options: RunOptions = {}): Promise<Envelope> =>
      stage().finish(
        intern.run(
          'research',
          { question: 'Who waits?', sources: [{ name: 'long.txt', text: long }] },
          options,
        ),
      );

    it('has one envelope for all of them, with their sums', async () => {
      const envelope = await ask();
      const asked = server.requests.filter(isChat);
      assert.ok(asked.length > 3, `${asked.length} prompts`);
      assert.equal(envelope.calls, asked.length);
      assert.ok(envelope.attempts.length <= 20);
      const lines = (await stage().logged(intern)).filter((l) => l.kind === 'call');
      assert.equal(lines.length, 1);
    });

    it('asks no more at once than the limit allows, and tells how far it is', async () => {
      const phases: Phase[] = [];
      await ask({ onPhase: (phase) => phases.push(phase) });
      const steps = phases.filter((p) => p.phase === 'steps');
      assert.ok(steps.length > 3);
      const last = steps.at(-1);
      assert.ok(last?.phase === 'steps' && last.done === last.total);
      assert.ok(!phases.some((p) => p.phase === 'queued'), 'its own prompts wait for each other');
    });

    it('goes on without a part that fails, and says so', async () => {
      server.faults.next({ ...faults.status(500, 'it failed'), match: isChat });
      const envelope = await ask();
      assert.ok(
        envelope.warnings.length > 0 || envelope.attempts.some((a) => a.outcome === 'server'),
      );
    });

    it('fails with the first error when all parts fail, and with all attempts in the log', async () => {
      server.faults.next({ ...faults.status(500, 'it failed'), match: isChat, times: Infinity });
      const error = await failure(ask());
      assert.equal(error.code, 'server');
      const line = (await stage().logged(intern)).find((l) => l.kind === 'error');
      assert.ok((line?.['attempts'] as unknown[]).length > 1);
    });
  });

  describe('with vectors', () => {
    it('stays on this machine in every mode', async () => {
      const cloud = await stage().serveCloud();
      intern = stage().hire(
        server,
        { cloud: { mode: 'primary', host: cloud.url } },
        { cloudKeys: () => Promise.resolve('cloud-key') },
      );
      const envelope = await run('embed_search');
      assert.equal(envelope.backend, 'local');
      assert.equal(envelope.degraded, undefined);
      assert.equal(cloud.requests.length, 0);
    });

    it('finds the text that says the same, and never logs a vector', async () => {
      const envelope = await run('embed_search');
      const { ranked } = envelope.result as { ranked: { id: string }[] };
      assert.equal(ranked[0]?.id, 'a');
      await run('embed');
      const text = JSON.stringify(await stage().logged(intern));
      assert.ok(text.length < 4_000, 'something long is in the log');
    });

    it('waits for the load of its model, and then has its own budget', async () => {
      server = await stage().serve({ models: [{ ...EMBEDDER, loadMs: 42_000 }] });
      intern = stage().hire(server);
      const envelope = await run('embed');
      assert.ok(Math.abs(envelope.load_ms - 42_000) < 1_000, `load_ms is ${envelope.load_ms}`);
    });

    it('says what to do when the model cannot embed', async () => {
      intern = stage().hire(server, { tiers: { embed: 'hermes3:8b' } });
      const error = await failure(run('embed'));
      assert.equal(error.code, 'bad_input');
      assert.equal(error.details.capability, 'embedding');
    });

    it('embeds many texts in batches', async () => {
      const texts = Array.from({ length: 150 }, (_, i) => `text ${i}`);
      const envelope = await stage().finish(intern.run('embed', { texts }));
      assert.equal(envelope.result.embeddings.length, 150);
      const sizes = server.requests
        .filter((r) => r.path === '/api/embed')
        .map((r) => r.body.input.length)
        .filter((n) => n > 0);
      assert.deepEqual(sizes, [64, 64, 22]);
    });
  });
});
