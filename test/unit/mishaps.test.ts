/** Things that happen to people, and what they get: whole calls on real sockets. */
import assert from 'node:assert/strict';
import type { LookupFunction } from 'node:net';
import type { Intern, InternError, RunOptions } from '../../src/core';
import { REMOTE_BUDGET_MS } from '../../src/core/routing/cloud';
import { CLOUD_KEY } from '../support/ollama/cloud';
import { faults, type OllamaServer } from '../support/ollama/server';
import {
  chatsOf,
  isChat,
  onChat,
  PINNED,
  Stage,
  stateOf,
  statusOf,
  type Team,
  TEXT,
  triesOf,
} from './stage';
import { assertHint, assertSentence, failure } from './support';

const HOUR = 3_600_000;

const summarize = (intern: Intern, options?: RunOptions) =>
  intern.run('summarize_fast', { text: TEXT }, options);

/** A call that has begun to show its answer. */
async function begun(intern: Intern, stage: Stage, options: RunOptions = {}) {
  let shown = '';
  const call = summarize(intern, { ...options, onDelta: (text) => (shown += text) });
  call.catch(() => {});
  for (let i = 0; i < 100 && shown === ''; i++) await stage.clock.advance(10);
  assert.notEqual(shown, '', 'no answer began');
  return { call, shown: () => shown };
}

function assertFitToRead(error: InternError): void {
  assertSentence(error.message, 'The message');
  assertHint(error.hint);
}

function assertIncomplete(error: InternError): void {
  assertFitToRead(error);
  assert.equal(error.details.partial, true);
  assert.equal(error.retryable, true);
  assert.ok(error.actions.some((a) => a.kind === 'retry'));
}

describe('mishaps', () => {
  const stage = Stage.forEach();

  describe('the cloud is killed in the middle of an answer', () => {
    it('what was shown is said to be incomplete; the next calls go local until it is back', async () => {
      const { intern, cloud, local } = await stage().team({ servers: { cloud: { tokenMs: 100 } } });
      const asked = local.requests.length;
      const { call } = await begun(intern, stage());
      await cloud.stop();
      assertIncomplete(await failure(call));
      assert.equal(local.requests.length, asked, 'another answer was spliced on');

      for (const reason of ['cloud_unreachable', 'cloud_unreachable', 'circuit_open']) {
        const envelope = await stage().finish(summarize(intern));
        assert.deepEqual([envelope.backend, envelope.degrade_reason], ['local', reason]);
      }
      await cloud.start();
      await stage().clock.advance(20_000);
      const back = await stage().finish(summarize(intern));
      assert.deepEqual([back.backend, back.degraded], ['cloud', undefined]);
      assert.equal(stateOf(intern, 'cloud'), 'closed');
    });
  });

  describe('Ollama is killed in the middle of an answer', () => {
    for (const mode of ['off', 'fallback'] as const) {
      it(`what was shown is said to be incomplete, and no other answer follows it, in mode ${mode}`, async () => {
        const { intern, cloud, local } = await stage().team({
          mode,
          servers: { local: { tokenMs: 100 } },
        });
        const asked = cloud.requests.length;
        const { call } = await begun(intern, stage());
        await local.stop();
        assertIncomplete(await failure(call));
        assert.equal(cloud.requests.length, asked);
      });
    }
  });

  describe('the key is revoked while calls run', () => {
    it('they end as they began; those that wait go local, and the key is asked for once', async () => {
      const { intern, cloud } = await stage().team({ servers: { cloud: { tokenMs: 100 } } });
      const before = chatsOf(cloud).length;
      const told: string[] = [];
      intern.listen({
        onBackend: ({ backend, breaker, error }) =>
          told.push(`${backend} ${breaker.state} ${error?.code}`),
      });
      const calls = [1, 2, 3, 4, 5].map(() => summarize(intern));
      await cloud.waitFor(() => cloud.stats.active === 2);
      cloud.keys.clear();
      const envelopes = await stage().finish(Promise.all(calls));
      assert.deepEqual(
        envelopes.map((e) => e.degrade_reason),
        [undefined, undefined, ...Array<string>(3).fill('cloud_auth_failed')],
      );
      assert.deepEqual(told, ['cloud misconfigured auth_failed']);
      assert.equal(
        stateOf(intern, 'cloud'),
        'misconfigured',
        'an answer of before opened it again',
      );
      // One refusal is enough to know; the two permits may both have been used for it.
      const refused = chatsOf(cloud).slice(before + 2);
      assert.ok(refused.length <= 2, `${refused.length} calls were sent with the revoked key`);

      const asked = cloud.requests.length;
      await stage().clock.advance(24 * HOUR);
      await stage().finish(summarize(intern));
      assert.equal(cloud.requests.length, asked);

      cloud.keys.add('new-key');
      intern.setCloudKey(cloud.url, 'new-key');
      assert.equal((await stage().finish(summarize(intern))).backend, 'cloud');
    });
  });

  describe('the network is unplugged', () => {
    /** A cloud behind a name, which can be found as long as the network is there. */
    async function behindName(lookup: LookupFunction, mode: 'primary' | 'fallback' = 'primary') {
      const cloud = await stage().serveCloud();
      const local = await stage().serve();
      const intern = stage().hire(
        local,
        { cloud: { mode, host: `http://cloud.localhost:${cloud.port}` } },
        { cloudKeys: () => Promise.resolve(CLOUD_KEY), lookup },
      );
      return { intern, cloud, local };
    }

    const found: LookupFunction = (_, options, callback) => {
      if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
      else callback(null, '127.0.0.1', 4);
    };
    const noSuchName: LookupFunction = (name, _, callback) =>
      callback(
        Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }),
        '',
      );

    it('no name is found any more: calls go local at once, and soon nobody looks', async () => {
      const names: string[] = [];
      const { intern, cloud } = await behindName((...question) => {
        names.push(question[0]);
        noSuchName(...question);
      });
      for (const reason of [...Array<string>(3).fill('cloud_unreachable'), 'circuit_open']) {
        const envelope = await summarize(intern);
        assert.deepEqual([envelope.backend, envelope.degrade_reason], ['local', reason]);
      }
      assert.equal(names.length, 3);
      assert.deepEqual(cloud.requests, []);
      const { error } = statusOf(intern, 'cloud');
      assert.ok(error);
      assertFitToRead(error);
    });

    it('nothing listens: calls go local at once', async () => {
      const { intern, cloud } = await stage().team();
      await cloud.stop();
      const envelope = await summarize(intern);
      assert.equal(envelope.degrade_reason, 'cloud_unreachable');
      assert.deepEqual(triesOf(envelope), ['cloud unreachable', 'local answer']);
    });

    it('nobody answers: the budget decides, and calls go local', async () => {
      const { intern, cloud } = await behindName(() => {});
      const startedAt = stage().clock.now();
      const envelope = await stage().finish(summarize(intern));
      assert.equal(envelope.degrade_reason, 'cloud_timeout');
      assert.deepEqual(triesOf(envelope), ['cloud timeout', 'local answer']);
      const waited = stage().clock.now() - startedAt;
      assert.ok(waited <= REMOTE_BUDGET_MS.instant, `waited ${waited} ms`);
      assert.deepEqual(cloud.requests, []);
    });

    for (const then of ['the budget decides', 'a cancel ends it at once'] as const) {
      it(`nobody answers any more, with the model known: ${then}`, async () => {
        let isPlugged = true;
        let looks = 0;
        const { intern, cloud } = await behindName((...question) => {
          looks++;
          if (isPlugged) found(...question);
        });
        assert.equal((await summarize(intern)).backend, 'cloud');
        isPlugged = false;
        await cloud.restart();
        // The old connection is known to be closed.
        await stage().clock.advance(0);
        const before = looks;
        const controller = new AbortController();
        const call = summarize(intern, { signal: controller.signal });
        for (let i = 0; i < 100 && looks === before; i++) await stage().clock.advance(0);
        assert.ok(looks > before, 'no connection is being made');
        if (then === 'the budget decides') {
          const envelope = await stage().finish(call);
          assert.deepEqual(triesOf(envelope), ['cloud timeout', 'local answer']);
          assert.equal(envelope.attempts[0]?.elapsed_ms, REMOTE_BUDGET_MS.instant);
        } else {
          let isOver = false;
          const error = failure(call).finally(() => (isOver = true));
          controller.abort();
          await stage().clock.advance(0);
          assert.ok(isOver, 'it waits for a connection that is never made');
          assert.equal((await error).code, 'cancelled');
          assert.equal(statusOf(intern, 'cloud').breaker.failures, 0);
        }
      });
    }

    it('both are away: the error tells of both', async () => {
      const { intern, local } = await behindName(noSuchName, 'fallback');
      await local.stop();
      const error = await failure(summarize(intern));
      assert.equal(error.code, 'unreachable');
      assertFitToRead(error);
      assert.match(error.message, /^Ollama Cloud .* Before that: Ollama cannot be reached/);
    });

    it('it is plugged in again: the next call after the pause is answered by the cloud', async () => {
      let isPlugged = false;
      const { intern } = await behindName((...question) =>
        (isPlugged ? found : noSuchName)(...question),
      );
      for (let i = 0; i < 3; i++) await summarize(intern);
      isPlugged = true;
      assert.equal((await summarize(intern)).degrade_reason, 'circuit_open');
      await stage().clock.advance(20_000);
      assert.equal((await summarize(intern)).backend, 'cloud');
    });
  });

  describe('the laptop sleeps for an hour in the middle of a call', () => {
    it('an answer that was being written here is written on', async () => {
      const { intern } = await stage().team({
        mode: 'off',
        servers: { local: { tokenMs: 1_000 } },
        settings: { options: { numPredict: 10 } },
      });
      let shown = '';
      const call = summarize(intern, { onDelta: (text) => (shown += text) });
      for (let i = 0; i < 20 && shown === ''; i++) await stage().clock.advance(250);
      assert.notEqual(shown, '');
      await stage().clock.jump(HOUR);
      const envelope = await stage().finish(call);
      assert.deepEqual(triesOf(envelope), ['local answer']);
      assert.equal(envelope.result.summary, shown.trim());
    });

    it('a call to the cloud whose connection died has its time once more, and then goes local', async () => {
      const { intern, cloud } = await stage().team();
      const before = chatsOf(cloud).length;
      cloud.faults.next(onChat(faults.hang()));
      let isOver = false;
      const call = summarize(intern).finally(() => (isOver = true));
      await cloud.waitFor(() => chatsOf(cloud).length > before);
      await stage().clock.advance(10_000);
      await stage().clock.jump(HOUR);
      await stage().clock.advance(REMOTE_BUDGET_MS.instant - 1_000);
      assert.equal(isOver, false, 'it was given up before it had its time');
      const awakeAt = stage().clock.now();
      const envelope = await stage().finish(call);
      assert.deepEqual(triesOf(envelope), ['cloud timeout', 'local answer']);
      assert.ok(stage().clock.now() - awakeAt <= 2_000, 'it had more than its time once more');
      assert.equal(statusOf(intern, 'cloud').breaker.failures, 1);
    });

    it('a cloud that was left alone is tried again after it', async () => {
      const { intern, cloud } = await stage().team();
      cloud.faults.next(onChat(faults.rateLimited(1_800)));
      await summarize(intern);
      assert.equal((await summarize(intern)).degrade_reason, 'circuit_open');
      await stage().clock.jump(HOUR);
      assert.equal((await summarize(intern)).backend, 'cloud');
    });

    it('a model is not taken for resident because it was so before', async () => {
      const { intern, local } = await stage().team({
        mode: 'off',
        servers: { local: { loadMs: 42_000 } },
      });
      const since = (before: number) => local.requests.slice(before).map((r) => r.path);
      const asked = local.requests.length;
      await summarize(intern);
      assert.ok(!since(asked).includes('/api/generate'), 'it is trusted while it is fresh');
      await stage().clock.jump(HOUR);
      const before = local.requests.length;
      const envelope = await stage().finish(summarize(intern));
      assert.ok(since(before).indexOf('/api/generate') < since(before).indexOf('/api/chat'));
      assert.ok(since(before).includes('/api/generate'));
      assert.ok(envelope.load_ms > 40_000, 'a cold model has the time to load');
      assert.deepEqual(triesOf(envelope), ['local answer']);
    });
  });

  describe('a server restarts between two calls', () => {
    it('Ollama: the next call loads its model and answers', async () => {
      const { intern, local } = await stage().team({ mode: 'off' });
      const { loads } = local.stats;
      await local.restart();
      await stage().clock.advance(0);
      const envelope = await stage().finish(summarize(intern));
      assert.deepEqual(triesOf(envelope), ['local answer']);
      assert.equal(local.stats.loads, loads + 1);
      assert.equal(statusOf(intern, 'local').breaker.failures, 0);
    });

    it('the cloud: the next call is answered by it', async () => {
      const { intern, cloud } = await stage().team();
      await cloud.restart();
      await stage().clock.advance(0);
      assert.deepEqual(triesOf(await stage().finish(summarize(intern))), ['cloud answer']);
    });
  });

  describe('Ollama is started after it was offline', () => {
    async function offline({ intern, local }: Pick<Team, 'intern' | 'local'>): Promise<void> {
      await local.stop();
      for (let i = 0; i < 5; i++) {
        const error = await failure(summarize(intern));
        assert.equal(error.code, 'unreachable');
        assert.ok(error.actions.some((a) => a.kind === 'start_server'));
        assertFitToRead(error);
      }
      assert.equal(stateOf(intern, 'local'), 'open');
    }

    it('the next call works at once: no breaker is in the way', async () => {
      const team = await stage().team({ mode: 'off' });
      await offline(team);
      await team.local.start();
      const envelope = await stage().finish(summarize(team.intern));
      assert.deepEqual(triesOf(envelope), ['local answer']);
      assert.equal(envelope.degraded, undefined);
      assert.equal(stateOf(team.intern, 'local'), 'closed');
    });

    it('it works at once as the last resort of a cloud that is away', async () => {
      const { intern, cloud, local } = await stage().team();
      await Promise.all([cloud.stop(), local.stop()]);
      for (let i = 0; i < 3; i++) await failure(summarize(intern));
      assert.deepEqual([stateOf(intern, 'cloud'), stateOf(intern, 'local')], ['open', 'open']);
      await local.start();
      const envelope = await stage().finish(summarize(intern));
      assert.deepEqual([envelope.backend, envelope.degrade_reason], ['local', 'circuit_open']);
      assert.equal(stateOf(intern, 'local'), 'closed');
    });

    it('the cloud answers meanwhile, without anybody waiting for this machine', async () => {
      const { intern, local } = await stage().team({ mode: 'fallback' });
      await local.stop();
      for (const reason of [...Array<string>(3).fill('local_unreachable'), 'circuit_open']) {
        const envelope = await summarize(intern);
        assert.deepEqual([envelope.backend, envelope.degrade_reason], ['cloud', reason]);
      }
      await local.start();
      await stage().clock.advance(20_000);
      const envelope = await stage().finish(summarize(intern));
      assert.deepEqual([envelope.backend, envelope.degraded], ['local', undefined]);
    });
  });

  describe('the cloud is overloaded', () => {
    it('it is asked once in twenty seconds and no more, and every call is answered here', async () => {
      const { intern, cloud } = await stage().team();
      const before = chatsOf(cloud).length;
      const startedAt = stage().clock.now();
      cloud.overloaded = true;
      while (stage().clock.now() - startedAt < 100_000) {
        assert.equal((await summarize(intern)).backend, 'local');
        await stage().clock.advance(1_000);
      }
      const asked = chatsOf(cloud).length - before;
      assert.ok(asked >= 3 && asked <= 3 + 5, `it was asked ${asked} times`);
      cloud.overloaded = false;
      await stage().clock.advance(20_000);
      assert.equal((await summarize(intern)).backend, 'cloud');
    });
  });

  describe('the limit of the plan is reached', () => {
    for (const [kind, retryAfter, wait] of [
      ['weekly', undefined, 20_000],
      ['hourly', '1200', 1_200_000],
    ] as const) {
      it(`one refusal is enough: ${kind}, Retry-After ${retryAfter}`, async () => {
        const { intern, cloud } = await stage().team();
        cloud.limit = { kind, ...(retryAfter && { retryAfter }) };
        assert.equal((await summarize(intern)).degrade_reason, 'cloud_rate_limited');
        const { breaker, error } = statusOf(intern, 'cloud');
        assert.deepEqual([breaker.state, breaker.retry_in_ms], ['open', wait]);
        assert.ok(error);
        assertFitToRead(error);
        const asked = cloud.requests.length;
        assert.equal((await summarize(intern)).degrade_reason, 'circuit_open');
        assert.equal(cloud.requests.length, asked);
      });
    }
  });

  describe('a call is stopped while another backend is about to take it over', () => {
    for (const [name, arrange] of [
      ['after a timeout', (cloud: OllamaServer) => cloud.faults.next(onChat(faults.hang()))],
      [
        'after a failure',
        (cloud: OllamaServer) =>
          cloud.faults.next(onChat({ ...faults.status(500, 'it failed'), delayMs: 1_000 })),
      ],
    ] as const) {
      it(`${name}: it ends as cancelled, and the local model stops writing`, async () => {
        const { intern, cloud, local } = await stage().team({
          servers: { local: { tokenMs: 500 } },
        });
        const controller = new AbortController();
        arrange(cloud);
        const before = chatsOf(local).length;
        const call = failure(summarize(intern, { signal: controller.signal }));
        for (let i = 0; i < 200 && chatsOf(local).length === before; i++) {
          await stage().clock.advance(250);
        }
        const request = local.requests.findLast(isChat);
        controller.abort();
        assert.equal((await call).code, 'cancelled');
        await local.waitFor(() => request?.abortedAt !== undefined);
        assert.equal(statusOf(intern, 'local').breaker.failures, 0);
        const line = (await stage().logged(intern)).at(-1);
        assert.deepEqual([line?.kind, line?.['code']], ['error', 'cancelled']);
      });
    }
  });

  it('a model that is named to run here does so while the cloud has all sorts of trouble', async () => {
    const { intern, cloud } = await stage().team();
    await cloud.stop();
    const asked = cloud.requests.length;
    const envelope = await summarize(intern, { model: PINNED.local });
    assert.deepEqual([envelope.backend, envelope.degraded], ['local', undefined]);
    assert.equal(cloud.requests.length, asked);
  });
});
