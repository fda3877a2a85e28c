import assert from 'node:assert/strict';
import { type Envelope, type Intern, runBatch } from '../../src/core';
import { sideBySide } from '../../src/core/batch';
import { faults, type OllamaServer } from '../support/ollama/server';
import { chatsOf, isChat, onChat, Stage, TEXT } from './stage';
import { failure } from './support';

describe('a batch', () => {
  const stage = Stage.forEach();
  let server: OllamaServer;
  let intern: Intern;

  beforeEach(async () => {
    server = await stage().serve();
    intern = stage().hire(server, { maxConcurrent: 2 });
  });

  const inputs = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ text: `Item ${n}. ${TEXT}` }));
  const number = ({ body }: { body: unknown }) => /Item (\d+)/.exec(JSON.stringify(body))?.[1];

  it('has its results in the order of its inputs, each with an envelope and a line of its own', async () => {
    // The first item takes longest.
    server.faults.next(onChat({ delayMs: 4_000 }));
    const ended: number[] = [];
    const settled = await stage().finish(
      runBatch(intern, 'summarize_fast', inputs(4), { onSettled: (_, index) => ended.push(index) }),
    );
    assert.notEqual(ended[0], 0);
    assert.deepEqual(ended.toSorted(), [0, 1, 2, 3]);
    const envelopes = settled.map((one) => (one.ok ? one.value : assert.fail(one.error)));
    assert.ok(envelopes.every(({ result }) => result.summary.length > 0));
    const lines = (await stage().logged(intern)).filter(({ kind }) => kind === 'call');
    const ids = lines.map(({ envelope }) => (envelope as Envelope).call_id);
    assert.deepEqual(ids.toSorted(), envelopes.map(({ call_id }) => call_id).toSorted());
    assert.equal(new Set(ids).size, 4);
  });

  for (const maxConcurrent of [1, 2, 3]) {
    it(`has never more than ${maxConcurrent} in flight`, async () => {
      intern.configure(stage().settingsFor(server, { maxConcurrent }));
      let most = 0;
      const watching = intern.listen({
        onCallStarted: () => (most = Math.max(most, intern.running.length)),
      });
      const settled = await stage().finish(runBatch(intern, 'summarize_fast', inputs(7)));
      watching.dispose();
      assert.equal(most, maxConcurrent);
      assert.ok(settled.every(({ ok }) => ok));
    });
  }

  it('goes on when an item fails', async () => {
    server.faults.next({
      ...faults.status(400, 'no such thing'),
      match: (r) => isChat(r) && number(r) === '1',
      times: 1,
    });
    const settled = await stage().finish(runBatch(intern, 'summarize_fast', inputs(4)));
    assert.deepEqual(
      settled.map(({ ok }) => ok),
      [true, false, true, true],
    );
    const [, failed] = settled;
    assert.ok(failed && !failed.ok);
    assert.equal(failed.error.details.status, 400);
  });

  it('tells of every item when all fail', async () => {
    const settled = await stage().finish(
      runBatch(intern, 'summarize_fast', [{ text: '' }, { text: ' ' }, { text: '\n' }]),
    );
    assert.deepEqual(
      settled.map((one) => !one.ok && one.error.code),
      ['bad_input', 'bad_input', 'bad_input'],
    );
    const ids = settled.map((one) => !one.ok && one.error.callId);
    assert.equal(new Set(ids).size, 3);
    assert.deepEqual(chatsOf(server), []);
  });

  it('ends at once when it is cancelled, frees the models and begins nothing more', async () => {
    server.faults.next(onChat(faults.hang(), 2));
    const controller = new AbortController();
    const ended: number[] = [];
    const error = failure(
      runBatch(intern, 'summarize_fast', inputs(6), {
        signal: controller.signal,
        onSettled: (_, index) => ended.push(index),
      }),
    );
    await server.waitFor(() => chatsOf(server).length === 2);
    controller.abort();
    assert.equal((await error).code, 'cancelled');
    await server.waitFor(() => chatsOf(server).every(({ abortedAt }) => abortedAt));
    await server.whenIdle();
    assert.equal(chatsOf(server).length, 2);
    assert.deepEqual(intern.running, []);
    assert.deepEqual(ended, []);
    assert.equal((await stage().logged(intern)).filter((l) => l['code'] === 'cancelled').length, 2);
  });

  it('goes on with the others when one call is stopped', async () => {
    server.faults.next(onChat(faults.hang()));
    const batch = runBatch(intern, 'summarize_fast', inputs(3));
    const { body } = await server.waitForRequest(isChat);
    const hung = Number(number({ body }));
    intern.stop(intern.running[hung]?.call_id ?? '');
    const settled = await stage().finish(batch);
    settled.forEach((one, index) => assert.equal(one.ok, index !== hung));
  });

  it('tells where each item is', async () => {
    const seen = new Map<number, string[]>();
    await stage().finish(
      runBatch(intern, 'summarize_fast', inputs(3), {
        onPhase: ({ phase }, index) => seen.set(index, [...(seen.get(index) ?? []), phase]),
      }),
    );
    assert.deepEqual([...seen.keys()].toSorted(), [0, 1, 2]);
    for (const phases of seen.values()) assert.ok(phases.includes('writing'), phases.join());
  });

  it('of nothing is nothing', async () => {
    assert.deepEqual(await runBatch(intern, 'summarize_fast', []), []);
    assert.deepEqual(await stage().logged(intern), []);
  });

  it('does not begin when it was cancelled before', async () => {
    const begun: number[] = [];
    const options = { maxConcurrent: 2, signal: AbortSignal.abort() };
    const error = await failure(sideBySide([1, 2, 3], options, async (item) => begun.push(item)));
    assert.equal(error.code, 'cancelled');
    assert.deepEqual(begun, []);
  });
});
