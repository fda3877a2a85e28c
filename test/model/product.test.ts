import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIntern, envelopeLine, type Intern, InternError, type Phase } from '../../src/core';
import { findOllama, startEmbedded, type Target } from '../support/target';

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

  before(async function () {
    const host = process.env['OLLAMA_HOST'];
    const found = host
      ? await findOllama(host)
      : await startEmbedded(process.env['OLLAMA_INTERN_GGUF']);
    if (!found || 'reason' in found) {
      if (host) throw new Error(`No Ollama with a model that writes answers at ${host}.`);
      console.log(`      skipped: ${found && 'reason' in found ? found.reason : 'no model'}`);
      return this.skip();
    }
    target = found;
    console.log(`      on ${target.description}`);
    folder = await mkdtemp(join(tmpdir(), 'intern-model-'));
    const { model } = target;
    intern = createIntern({
      env: {},
      settings: {
        host: target.url,
        logPath: join(folder, 'log.ndjson'),
        tiers: { instant: model, workhorse: model, deep: model },
        // Small enough for any machine that tests run on, with time for one without a GPU.
        options: { contextWindow: 2048, temperature: 0 },
        budgets: { instant: 240, workhorse: 240, deep: 240 },
      },
    });
  });

  after(async () => {
    await intern?.dispose();
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
        { text: CODE, max_words: 600 },
        { signal: controller.signal, onDelta: () => ++seen === 3 && controller.abort() },
      )
      .then(
        () => assert.fail('it was not stopped'),
        (thrown: unknown) => thrown,
      );
    assert.ok(error instanceof InternError && error.code === 'cancelled', String(error));
    assert.ok(seen < 50, `${seen} pieces came after the stop`);
    const next = await intern.run('summarize_fast', { text: CODE, max_words: 20 });
    // Had the first generation gone on, its 1,500 tokens would have stood before this one.
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
});
