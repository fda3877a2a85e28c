import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createIntern,
  type Envelope,
  envelopeLine,
  type Intern,
  InternError,
  type JobName,
  JOBS,
  type Phase,
  type Settings,
} from '../../src/core';
import { findOllama, startEmbedded, type Target } from '../support/target';
import { INPUTS } from '../unit/inputs';
import { assertPromised } from '../unit/invariants';

const CODE = `/** Admits two calls at once; the others wait in line, first come first served. */
export class Limiter {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  async acquire(): Promise<() => void> {
    if (this.running >= 2) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.running++;
    return () => {
      this.running--;
      this.waiting.shift()?.();
    };
  }
}
`;

/** The product on a real model: the Ollama at OLLAMA_HOST when it is set, else the embedded engine. */
describe('the product on a real model', function () {
  this.timeout(300_000);
  let target: Target;
  let intern: Intern;
  let folder: string;
  const interns: Intern[] = [];

  before(async function () {
    const host = process.env['OLLAMA_HOST'];
    const found = host
      ? await findOllama(host)
      : await startEmbedded(process.env['OLLAMA_INTERN_GGUF'], { embeds: true });
    if (!found || 'reason' in found) {
      if (host) throw new Error(`No Ollama with a model that writes answers at ${host}.`);
      console.log(`      skipped: ${found && 'reason' in found ? found.reason : 'no model'}`);
      return this.skip();
    }
    target = found;
    console.log(`      on ${target.description}`);
    folder = await mkdtemp(join(tmpdir(), 'intern-model-'));
    // Small enough for any machine that tests run on.
    intern = hire({ contextWindow: 2048 }, 'log.ndjson');
  });

  /** With time for a machine without a GPU. */
  function hire(options: Settings['options'], log: string): Intern {
    const { url, model, embedder } = target;
    const hired = createIntern({
      env: {},
      settings: {
        host: url,
        logPath: join(folder, log),
        tiers: { instant: model, workhorse: model, deep: model, embed: embedder },
        options: { temperature: 0, ...options },
        budgets: { instant: 240, workhorse: 240, deep: 240, embed: 240 },
      },
    });
    interns.push(hired);
    return hired;
  }

  after(async () => {
    for (const hired of interns) await hired.dispose();
    await target?.close();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  it('summarizes a selection, streamed, with an envelope that adds up', async () => {
    let streamed = '';
    let pieces = 0;
    const phases = new Set<Phase['phase']>();
    const envelope = await intern.run(
      'summarize_fast',
      { text: CODE, source: 'limiter.ts', language: 'typescript', max_words: 40 },
      {
        onDelta: (text) => {
          streamed += text;
          pieces++;
        },
        onPhase: ({ phase }) => phases.add(phase),
      },
    );
    console.log(`      ${envelopeLine(envelope)}`);
    assert.equal(streamed.trim(), envelope.result.summary);
    assert.ok(pieces > 3, 'it came in pieces');
    assert.ok(phases.has('reading') && phases.has('writing'));
    const { tokens_in: tokensIn = 0, tokens_out: tokensOut = 0 } = envelope;
    assert.ok(tokensIn > 150 && tokensIn < 600, `${tokensIn} tokens in`);
    assert.ok(tokensOut >= 4 && tokensOut <= 100);
    assert.ok(envelope.elapsed_ms >= (envelope.first_token_ms ?? 0));
    assert.ok((envelope.tokens_per_second ?? 0) > 0);
    assert.ok(['stop', 'length'].includes(envelope.done_reason ?? ''));
    assert.equal(envelope.residency?.in_vram, true);
    assert.ok(envelope.residency.size_bytes > 1e6);
  });

  it('summarizes a file', async () => {
    const envelope = await intern.run('summarize_deep', {
      text: CODE,
      source: 'limiter.ts',
      max_words: 40,
    });
    assert.ok(envelope.result.summary.length > 10);
    assert.equal(envelope.tier_used, 'deep');
  });

  it('drafts a replacement', async () => {
    const envelope = await intern.run('draft', {
      instruction: 'Write a one-line comment that says what this does.',
      text: 'export const double = (n: number): number => n * 2;',
      language: 'typescript',
    });
    assert.ok(envelope.result.draft.length > 0);
    assert.ok(!/^\s*```/.test(envelope.result.draft), 'the fence is gone');
  });

  it('shortens a text that is too long, and says so', async () => {
    const envelope = await intern.run(
      'summarize_fast',
      { text: CODE.repeat(40), max_words: 20 },
      { overflow: 'shorten' },
    );
    assert.equal(envelope.truncated, true);
    assert.ok((envelope.tokens_in ?? Infinity) <= 2048, `${envelope.tokens_in} tokens`);
  });

  it('stops when it is told to, and the model is free for the next call', async () => {
    const controller = new AbortController();
    let seen = 0;
    const error = await intern
      .run(
        'summarize_deep',
        { text: CODE, max_words: 100 },
        { signal: controller.signal, onDelta: () => ++seen === 3 && controller.abort() },
      )
      .then(
        () => assert.fail('it was not stopped'),
        (thrown: unknown) => thrown,
      );
    assert.ok(error instanceof InternError && error.code === 'cancelled', String(error));
    assert.ok(seen < 50, `${seen} pieces came after the stop`);
    const next = await intern.run('summarize_fast', { text: CODE, max_words: 20 });
    // Had the first generation gone on, its tokens would have stood before this one.
    const perToken = 1000 / (next.tokens_per_second ?? 1);
    assert.ok((next.first_token_ms ?? 0) < 1_000 * perToken + 30_000);
  });

  it('names the models there are when one is missing', async () => {
    const error = await intern
      .run('summarize_fast', { text: CODE }, { model: 'no-such-model:1b' })
      .then(
        () => assert.fail('it should have failed'),
        (thrown: unknown) => thrown,
      );
    assert.ok(error instanceof InternError);
    assert.equal(error.code, 'model_missing');
    assert.ok(error.details.available?.includes(target.model));
  });

  it('left one line for each call, without its text', async () => {
    await intern.flush();
    const text = await readFile(join(folder, 'log.ndjson'), 'utf8');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string });
    assert.deepEqual(
      lines.map((l) => l.kind).filter((kind) => kind !== 'eviction'),
      ['call', 'call', 'call', 'call', 'error', 'call', 'error'],
    );
    assert.ok(!text.includes('first come first served'));
  });

  describe('does every job of the registry', () => {
    let worker: Intern;

    before(() => {
      // Room for the prompts of all jobs. What the answers get is little where a small model writes without end: each
      // job has to cope with an answer that is cut.
      const numPredict = target.kind === 'embedded' ? 80 : 1024;
      worker = hire({ contextWindow: 4096, numPredict }, 'jobs.ndjson');
    });

    for (const name of Object.keys(JOBS) as JobName[]) {
      it(name, async function () {
        if (JOBS[name].tier === 'embed' && !target.embedder) {
          console.log('      skipped: no embedding model');
          return this.skip();
        }
        assert.ok(INPUTS[name], 'the job has no input in test/unit/inputs.ts');
        let streamed = '';
        const run = worker.run(name, INPUTS[name], { onDelta: (text) => (streamed += text) });
        const outcome: Envelope | InternError = await run.catch((thrown: unknown) => {
          assert.ok(thrown instanceof InternError, String(thrown));
          return thrown;
        });
        if (outcome instanceof InternError) {
          console.log(`      ${outcome.message}`);
          // Whatever nonsense a model writes, there is no other way to fail.
          assert.equal(outcome.code, 'server', `${outcome.message} ${outcome.serverMessage}`);
          assert.match(outcome.message, /did not answer in the form|answered with nothing/);
          assert.ok(!WRITES.includes(name), 'words cannot have a wrong form');
          return;
        }
        console.log(`      ${envelopeLine(outcome)}`);
        assertPromised(name, outcome.result);
        assert.equal(outcome.tier_used, JOBS[name].tier);
        assert.equal(outcome.backend, 'local');
        if (WRITES.includes(name)) assert.match(streamed, /\S/);
      });
    }

    it('and stops in the middle of an answer that is data, and the model is free at once', async () => {
      const free = hire({ contextWindow: 8192 }, 'stopped.ndjson');
      const measure = async (): Promise<number> => {
        const startedAt = Date.now();
        await free.run('summarize_fast', { text: CODE, max_words: 10 });
        return Date.now() - startedAt;
      };
      await measure();
      const usual = await measure();
      const controller = new AbortController();
      const stopped = free.run('repo_brief', INPUTS.repo_brief, {
        signal: controller.signal,
        onPhase: ({ phase }) => phase === 'writing' && controller.abort(),
      });
      await assert.rejects(stopped, { code: 'cancelled' });
      const after = await measure();
      console.log(`      ${after} ms after the stop, ${usual} ms before`);
      // Behind an answer that goes on it would wait for as many tokens as a brief may have: 3,000.
      assert.ok(after < 2 * usual + 2_000, `${after} ms, and ${usual} ms before`);
    });
  });
});

/** Jobs whose answer is words, shown while they are written. */
const WRITES: readonly JobName[] = ['summarize_fast', 'summarize_deep', 'draft', 'chat'];
