/** Thoughts and limits: what becomes of answers that are cut, and of models that think whatever they are told. */
import assert from 'node:assert/strict';
import type { JobName, RunOptions } from '../../src/core';
import { THINKING_ROOM } from '../../src/core/models/thinking';
import { ComputedEngine } from '../support/ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../support/ollama/engine';
import { defaultModels, defineModel } from '../support/ollama/server';
import { INPUTS } from './inputs';
import { chatsOf, Stage, TEXT } from './stage';
import { failure } from './support';

/** Thinks so many tokens first, whatever it is told. */
class Thinker extends ComputedEngine {
  constructor(
    private readonly thoughts: number,
    /** The server does not know how the model thinks, and leaves it among the words. */
    private readonly isTagged = false,
  ) {
    super();
  }

  override async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    const limit = request.numPredict ?? Infinity;
    const thoughts = Math.min(this.thoughts, limit);
    const thought = 'hm '.repeat(thoughts);
    if (this.isTagged) await onPiece({ kind: 'text', text: `<think>\n${thought}` });
    else await onPiece({ kind: 'thinking', text: thought });
    const promptTokens = await this.countPrompt(request);
    if (thoughts === limit) return { promptTokens, outputTokens: limit, doneReason: 'length' };
    if (this.isTagged) await onPiece({ kind: 'text', text: '\n</think>\n\n' });
    await onPiece({ kind: 'text', text: 'It waits.' });
    return { promptTokens, outputTokens: thoughts + 3, doneReason: 'stop' };
  }
}

describe('the length of answers', () => {
  const stage = Stage.forEach();

  describe('that are cut', () => {
    const run = async (name: JobName, numPredict: number) => {
      const intern = stage().hire(await stage().serve(), { options: { numPredict } });
      return stage().finish(intern.run(name, INPUTS[name]));
    };

    for (const name of ['summarize_fast', 'summarize_deep', 'draft', 'chat'] as const) {
      it(`is told of words: ${name}`, async () => {
        const { done_reason, warnings } = await run(name, 4);
        assert.equal(done_reason, 'length');
        assert.match(warnings.join(' '), /reached its length limit/);
      });
    }

    it('is told of data: classify', async () => {
      const { result, done_reason, warnings } = await run('classify', 2);
      assert.equal((result as { reason?: string }).reason, 'unreadable');
      assert.equal(done_reason, 'length');
      assert.match(warnings.join(' '), /reached its length limit/);
    });

    it('is told of data that has problems: extract', async () => {
      const { result, warnings } = await run('extract', 2);
      assert.match((result as { problems: string[] }).problems.join(' '), /cut off/);
      assert.match(warnings.join(' '), /reached its length limit/);
    });

    for (const name of ['commit_message', 'research', 'repo_brief', 'change_pack'] as const) {
      it(`is told of data that cannot be used: ${name}`, async () => {
        const error = await failure(run(name, 2));
        assert.match(error.hint, /cut at its length limit/);
      });
    }

    for (const name of ['triage_logs', 'code_review'] as const) {
      it(`is told of parts that cannot be used: ${name}`, async () => {
        const error = await failure(run(name, 2));
        assert.match(error.hint, /cut at its length limit/);
      });
    }
  });

  describe('of a model that thinks', () => {
    const ask = async (thoughts: number, model: string, options: RunOptions = {}) => {
      const models = [
        ...defaultModels,
        defineModel({ name: 'gpt-oss:20b', capabilities: ['completion', 'thinking'] }),
      ];
      const server = await stage().serve({ engine: new Thinker(thoughts), models });
      const intern = stage().hire(server, { tiers: { instant: model } });
      const run = () =>
        stage().finish(intern.run('summarize_fast', { text: TEXT, max_words: 40 }, options));
      const limits = () => chatsOf(server).map(({ body }) => body.options?.num_predict);
      return { server, run, limits };
    };

    it('although it was told not to, is asked once more with room for its thoughts', async () => {
      const { run, limits } = await ask(500, 'qwen3:8b');
      const envelope = await run();
      assert.equal(envelope.result.summary, 'It waits.');
      assert.equal(envelope.calls, 2);
      assert.deepEqual(limits(), [100, 100 + THINKING_ROOM]);
      assert.equal((await run()).calls, undefined, 'the second time it has room at once');
      assert.equal(limits().at(-1), 100 + THINKING_ROOM);
    });

    it('among its words, is no part of the answer', async () => {
      const server = await stage().serve({ engine: new Thinker(500, true) });
      const intern = stage().hire(server, { tiers: { workhorse: 'hermes3:8b' } });
      const shown: string[] = [];
      const onDelta = (text: string): void => void shown.push(text);
      const { result } = await stage().finish(intern.run('draft', INPUTS.draft, { onDelta }));
      assert.equal(result.draft.trim(), 'It waits.');
      assert.equal(shown.join('').trim(), 'It waits.');
    });

    it('among its words, has room for that once it is known', async () => {
      const server = await stage().serve({ engine: new Thinker(500, true) });
      const intern = stage().hire(server, { tiers: { instant: 'hermes3:8b' } });
      const run = () => stage().finish(intern.run('summarize_fast', { text: TEXT, max_words: 40 }));
      const { result, calls } = await run();
      assert.deepEqual([result.summary, calls], ['It waits.', 2]);
      assert.equal((await run()).calls, undefined);
    });

    it('without end, is an error with its reason, after one more try', async () => {
      const { run, limits } = await ask(100_000, 'qwen3:8b');
      const error = await failure(run());
      assert.match(error.message, /answered with nothing\. It spent all its tokens on thinking\./);
      assert.equal(limits().length, 2);
    });

    it('always, has room at once, and is asked to think little', async () => {
      const { server, run, limits } = await ask(500, 'gpt-oss:20b');
      assert.equal((await run()).calls, undefined);
      assert.deepEqual(limits(), [100 + THINKING_ROOM]);
      assert.equal(chatsOf(server)[0]?.body.think, 'low');
    });

    it('because it is asked to, has room for that beside its answer', async () => {
      const server = await stage().serve({ engine: new Thinker(3_000), models: defaultModels });
      const intern = stage().hire(server, {
        tiers: { workhorse: 'qwen3:8b', deep: 'hermes3:8b' },
        options: { contextWindow: 8_192 },
      });
      const messages = [{ role: 'user' as const, content: TEXT }];
      const converse = (tier: 'workhorse' | 'deep', think: boolean) =>
        stage().finish(intern.converse(tier, { messages, think }));
      const { result, calls } = await converse('workhorse', true);
      assert.deepEqual([result.text, calls], ['It waits.', undefined]);
      const limit = () => chatsOf(server).at(-1)?.body.options?.num_predict;
      assert.equal(limit(), 2_048 + THINKING_ROOM);
      await failure(converse('deep', true));
      assert.equal(limit(), 2_048, 'one that cannot think has no thoughts to pay for');
    });

    it('never gets more room than its window has', async () => {
      const models = [defineModel({ name: 'gpt-oss:20b', contextLength: 1024 })];
      const server = await stage().serve({ engine: new Thinker(10), models });
      const intern = stage().hire(server, { tiers: { instant: 'gpt-oss:20b' } });
      await stage().finish(intern.run('summarize_fast', { text: TEXT, max_words: 40 }));
      const limit = Number(chatsOf(server)[0]?.body.options?.num_predict);
      assert.ok(limit > 100 && limit < 1024, String(limit));
    });
  });
});
