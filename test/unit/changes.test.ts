import assert from 'node:assert/strict';
import type { Intern, InternOptions, Settings } from '../../src/core';
import { CLOUD_KEY, type CloudServer } from '../support/ollama/cloud';
import { faults, type OllamaServer, type RecordedRequest } from '../support/ollama/server';
import { Stage, TEXT } from './stage';
import { failure } from './support';

const at =
  (path: string) =>
  (request: RecordedRequest): boolean =>
    request.path === path;

/** A secret that comes when it is told to. */
function lateSecret(): { look: () => Promise<string | undefined>; come: (key?: string) => void } {
  let come!: (key?: string) => void;
  const secret = new Promise<string | undefined>((resolve) => (come = resolve));
  return { look: () => secret, come };
}

describe('what changes while a call is on its way', () => {
  const stage = Stage.forEach();
  let local: OllamaServer;
  let cloud: CloudServer;

  beforeEach(async () => {
    cloud = await stage().serveCloud();
    local = await stage().serve({ cloud: { url: cloud.url } });
  });

  const settingsIn = (mode: string, more: Settings = {}): Settings => ({
    ...more,
    cloud: { mode, host: cloud.url },
  });
  const hire = (mode = 'primary', more: Settings = {}, options: InternOptions = {}): Intern =>
    stage().hire(local, settingsIn(mode, more), {
      cloudKeys: () => Promise.resolve(CLOUD_KEY),
      ...options,
    });
  const configure = (intern: Intern, mode: string): void =>
    intern.configure(stage().settingsFor(local, settingsIn(mode)));
  const breakerOf = (intern: Intern, backend = 'cloud') =>
    intern.backends.find((b) => b.backend === backend)?.breaker;
  const summarize = (intern: Intern, options = {}) =>
    intern.run('summarize_fast', { text: TEXT }, options);

  describe('consent', () => {
    it('that is withdrawn while the cloud is asked about its model sends no prompt there', async () => {
      const intern = hire();
      cloud.faults.next({ ...faults.late(1_000), match: at('/api/show') });
      const running = summarize(intern);
      await cloud.waitForRequest(at('/api/show'));
      configure(intern, 'off');
      const envelope = await stage().finish(running);
      assert.equal(envelope.backend, 'local');
      assert.deepEqual(cloud.requests.filter(at('/api/chat')), []);
    });

    it('that is withdrawn leaves a lesser tier of this machine as what it is: a tier fallback', async () => {
      const intern = stage().hire(
        local,
        {
          tiers: { instant: 'hermes3:8b', workhorse: 'hermes3:8b', deep: 'qwen3:14b' },
          cloud: { mode: 'primary', host: cloud.url },
        },
        { cloudKeys: () => Promise.resolve(CLOUD_KEY) },
      );
      cloud.faults.next({ ...faults.late(1_000), match: at('/api/show') });
      local.faults.next({ ...faults.hang(), match: at('/api/chat') });
      const running = intern.run('summarize_deep', { text: TEXT });
      await cloud.waitForRequest(at('/api/show'));
      configure(intern, 'off');
      const envelope = await stage().finish(running);
      assert.equal(envelope.fallback_from, 'deep');
      assert.equal(envelope.degraded, undefined);
    });

    it('that is withdrawn while the key is looked up sends nothing', async () => {
      const secret = lateSecret();
      const intern = hire('primary', {}, { cloudKeys: secret.look });
      const running = summarize(intern);
      await stage().clock.advance(0);
      configure(intern, 'off');
      secret.come(CLOUD_KEY);
      const envelope = await stage().finish(running);
      assert.equal(envelope.backend, 'local');
      assert.deepEqual(cloud.requests, []);
    });

    it('that is withdrawn stops a call that waits to be passed on by the local server', async () => {
      const intern = hire('fallback', { maxConcurrent: 1 });
      local.faults.next({ ...faults.late(1_000), match: at('/api/chat') });
      const first = summarize(intern, { model: 'local/hermes3:8b' });
      await local.waitForRequest(at('/api/chat'));
      const waiting = failure(summarize(intern, { model: 'local/gpt-oss:120b-cloud' }));
      configure(intern, 'off');
      await stage().finish(first);
      const error = await stage().finish(waiting);
      assert.match(error.message, /nothing may leave this machine/);
      assert.deepEqual(cloud.requests, []);
    });

    it('that is withdrawn while the local server asks the cloud about a model sends no prompt', async () => {
      const intern = hire('fallback');
      local.faults.next({ ...faults.late(1_000), match: at('/api/show') });
      const running = failure(summarize(intern, { model: 'local/gpt-oss:120b-cloud' }));
      await local.waitForRequest(at('/api/show'));
      configure(intern, 'off');
      // No further: the reply comes over a real socket, and must not be overtaken by the time limit.
      await stage().clock.advance(1_000);
      const error = await running;
      assert.equal(error.code, 'config');
      assert.deepEqual(local.requests.filter(at('/api/chat')), []);
    });
  });

  describe('a token', () => {
    it('of another server changes nothing for those that have none', async () => {
      const intern = hire('fallback');
      local.faults.next({ ...faults.status(401, 'who are you'), match: at('/api/chat') });
      await stage().finish(summarize(intern));
      assert.equal(breakerOf(intern, 'local')?.state, 'misconfigured');
      intern.setToken('https://elsewhere.example', 'a-token');
      assert.equal(breakerOf(intern, 'local')?.state, 'misconfigured');
      intern.setToken(local.url, 'a-token');
      assert.equal(breakerOf(intern, 'local')?.state, 'closed');
    });

    it('that stands among the headers lets the server be asked again when they change', async () => {
      const intern = hire('fallback');
      local.faults.next({ ...faults.status(401, 'who are you'), match: at('/api/chat') });
      await stage().finish(summarize(intern));
      assert.equal(breakerOf(intern, 'local')?.state, 'misconfigured');
      const network = { headers: { 'x-api-key': 'other' } };
      intern.configure(stage().settingsFor(local, settingsIn('fallback', { network })));
      assert.equal(breakerOf(intern, 'local')?.state, 'closed');
    });
  });

  describe('the key', () => {
    it('that is set while a question with another one is open is not taken for that one', async () => {
      const intern = hire('primary', {}, { cloudKeys: () => Promise.resolve('an-old-key') });
      cloud.faults.next({ ...faults.late(1_000), match: at('/api/show') });
      const first = summarize(intern);
      await cloud.waitForRequest(at('/api/show'));
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      const second = summarize(intern);
      assert.equal((await stage().finish(second)).backend, 'cloud');
      assert.equal((await stage().finish(first)).degrade_reason, 'cloud_auth_failed');
      assert.equal(breakerOf(intern)?.state, 'closed');
    });

    it('that is set while it is looked up is not missing', async () => {
      const secret = lateSecret();
      const intern = hire('primary', {}, { cloudKeys: secret.look });
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      secret.come(undefined);
      await stage().clock.advance(0);
      assert.equal(breakerOf(intern)?.state, 'closed');
      assert.equal(intern.backends.find((b) => b.backend === 'cloud')?.key, 'stored');
    });

    it('that is removed while it is looked up is not sent', async () => {
      const secret = lateSecret();
      const intern = hire('primary', {}, { cloudKeys: secret.look });
      const running = summarize(intern);
      await stage().clock.advance(0);
      intern.setCloudKey(cloud.url, undefined);
      secret.come(CLOUD_KEY);
      const envelope = await stage().finish(running);
      assert.equal(envelope.degrade_reason, 'cloud_auth_failed');
      assert.deepEqual(cloud.requests, []);
    });

    it('that replaces one under test is not refused with it', async () => {
      const intern = hire('primary', {}, { cloudKeys: () => Promise.resolve('an-old-key') });
      cloud.faults.next({ ...faults.late(1_000), match: at('/api/chat') });
      const test = failure(intern.test('cloud'));
      await cloud.waitForRequest(at('/api/chat'));
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      assert.equal((await stage().finish(test)).code, 'auth_failed');
      assert.equal(breakerOf(intern)?.state, 'closed');
    });

    it('that nobody hands out does not hold a call beyond its budget, nor a cancel', async () => {
      const intern = hire('primary', {}, { cloudKeys: lateSecret().look });
      const stop = new AbortController();
      const cancelled = failure(summarize(intern, { signal: stop.signal }));
      const running = summarize(intern);
      await stage().clock.advance(0);
      stop.abort();
      assert.equal((await cancelled).code, 'cancelled');
      const envelope = await stage().finish(running);
      assert.equal(envelope.degrade_reason, 'cloud_timeout');
    });
  });

  describe('the breaker', () => {
    it('that is closed by another key is not said to have answered', async () => {
      const intern = hire();
      const cloudNow = () => intern.backends.find((b) => b.backend === 'cloud');
      cloud.faults.next({ ...faults.rateLimited(2), match: at('/api/chat') });
      await summarize(intern);
      await stage().clock.advance(2_000);
      assert.equal(cloudNow()?.breaker.state, 'half_open');
      const told: boolean[] = [];
      intern.listen({ onBackend: ({ answered }) => told.push(answered) });
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      assert.equal(cloudNow()?.breaker.state, 'closed');
      assert.deepEqual(told, [false]);
      await summarize(intern);
      assert.equal(cloudNow()?.answered, true);
    });

    it('counts a question that calls share once when it fails', async () => {
      const intern = hire('off', { maxConcurrent: 3 });
      const fail = faults.status(500, 'it failed');
      local.faults.next({ ...fail, delayMs: 1_000, match: at('/api/show') });
      const calls = [1, 2, 3].map(() => failure(summarize(intern)));
      await stage().finish(Promise.all(calls));
      assert.equal(local.requests.filter(at('/api/show')).length, 1);
      assert.deepEqual(breakerOf(intern, 'local'), { state: 'closed', failures: 1 });
      // Another question is another failure.
      for (const failures of [2, 0]) {
        local.faults.next({ ...fail, match: at('/api/show') });
        await stage().finish(failure(summarize(intern)));
        assert.equal(breakerOf(intern, 'local')?.failures, failures);
      }
      assert.equal(breakerOf(intern, 'local')?.state, 'open');
    });

    it('that opens while a call asks about its model keeps the prompt back', async () => {
      const intern = hire();
      await summarize(intern);
      cloud.faults.next({ ...faults.late(1_000), match: at('/api/show') });
      const slow = intern.run('summarize_fast', { text: TEXT }, { model: 'cloud/gpt-oss:120b' });
      const refused = failure(slow);
      await cloud.waitForRequest((r) => at('/api/show')(r) && r.body.model === 'gpt-oss:120b');
      cloud.faults.next({ ...faults.rateLimited(90), match: at('/api/chat') });
      await summarize(intern);
      assert.equal(breakerOf(intern)?.state, 'open');
      const prompts = cloud.requests.filter(at('/api/chat')).length;
      assert.equal((await stage().finish(refused)).code, 'unreachable');
      assert.equal(cloud.requests.filter(at('/api/chat')).length, prompts);
    });

    it('that is being tried by another call says so, and names no time', async () => {
      const intern = hire('primary', {}, {});
      const model = 'cloud/minimax-m3:cloud';
      cloud.faults.next({ ...faults.rateLimited(2), match: at('/api/chat') });
      await failure(summarize(intern, { model }));
      await stage().clock.advance(2_000);
      cloud.faults.next({ ...faults.late(1_000), match: at('/api/chat') });
      const prompts = cloud.requests.filter(at('/api/chat')).length;
      const probe = summarize(intern, { model });
      await cloud.waitFor(() => cloud.requests.filter(at('/api/chat')).length > prompts);
      const { message } = await failure(summarize(intern, { model }));
      assert.match(message, /is just being tried by another call/);
      await stage().finish(probe);
    });

    it('of a new server does not hear how the one before it does', async () => {
      const gone = await stage().serve();
      const { url } = gone;
      const intern = hire('off', { host: url, maxConcurrent: 1 });
      gone.faults.next({ ...faults.late(1_000), match: at('/api/show') });
      const calls = Array.from({ length: 5 }, () => failure(summarize(intern)));
      await gone.waitForRequest(at('/api/show'));
      configure(intern, 'off');
      await gone.stop();
      for (const error of await stage().finish(Promise.all(calls))) {
        assert.equal(error.code, 'unreachable');
      }
      assert.deepEqual(breakerOf(intern, 'local'), { state: 'closed', failures: 0 });
      assert.equal(intern.backends[0]?.error, undefined);
    });
  });

  it('a call that is cancelled while the names of models are asked for ends at once', async () => {
    const intern = hire('off');
    await summarize(intern);
    local.faults.next({
      ...faults.status(404, "model 'hermes3:8b' not found"),
      match: at('/api/chat'),
    });
    local.faults.next({ ...faults.hang(), match: at('/api/tags') });
    const stop = new AbortController();
    const running = failure(summarize(intern, { signal: stop.signal }));
    await local.waitForRequest(at('/api/tags'));
    stop.abort();
    assert.equal((await running).code, 'cancelled');
  });

  it('a call that comes back to a target that it had passed over says from where', async () => {
    const intern = hire('off', { fallbacks: { '*': ['local/qwen3:8b'] } });
    const fail = (): void =>
      local.faults.next({
        ...faults.status(500, 'it failed'),
        match: (r) => at('/api/chat')(r) && r.body.model === 'hermes3:8b',
      });
    for (let i = 0; i < 3; i++) {
      fail();
      await stage().finish(summarize(intern, { model: 'local/hermes3:8b' }).catch(() => undefined));
    }
    assert.equal(breakerOf(intern, 'local')?.state, 'open');
    await stage().clock.advance(20_000);
    fail();
    const envelope = await stage().finish(summarize(intern));
    assert.equal(envelope.degrade_reason, 'local_5xx');
    const moves = (await stage().logged(intern)).filter((l) => l.kind === 'backend_fallback');
    assert.deepEqual(
      moves.map((l) => [l['from_model'], l['to_model'], l['call_id']]),
      [['hermes3:8b', 'qwen3:8b', envelope.call_id]],
    );
  });

  it('a call that goes to a lesser tier says so, though another backend was passed over last', async () => {
    const intern = stage().hire(
      local,
      {
        tiers: { instant: 'hermes3:8b', workhorse: 'hermes3:8b', deep: 'qwen3:14b' },
        cloud: { mode: 'fallback', host: cloud.url },
      },
      { cloudKeys: () => Promise.resolve(undefined) },
    );
    local.faults.next({ ...faults.hang(), match: at('/api/chat') });
    const envelope = await stage().finish(intern.run('summarize_deep', { text: TEXT }));
    assert.equal(envelope.fallback_from, 'deep');
    const moves = (await stage().logged(intern)).filter((l) => l.kind.endsWith('fallback'));
    assert.deepEqual(
      moves.map((l) => [l.kind, l['from'], l['to']]),
      [['fallback', 'deep', 'workhorse']],
    );
  });

  it('a call that goes to a lesser tier of a backend that it never reached tells of both moves', async () => {
    const secret = lateSecret();
    const intern = stage().hire(
      local,
      { cloud: { mode: 'fallback', host: cloud.url, deepModel: 'gpt-oss:120b' } },
      { cloudKeys: secret.look },
    );
    local.faults.next({ ...faults.status(500, 'it failed'), match: at('/api/chat') });
    const running = intern.run('summarize_deep', { text: TEXT });
    await local.waitForRequest(at('/api/chat'));
    await stage().clock.advance(10_000);
    secret.come(CLOUD_KEY);
    const envelope = await stage().finish(running);
    assert.equal(envelope.degrade_reason, 'local_5xx');
    assert.equal(envelope.fallback_from, 'deep');
    const moves = (await stage().logged(intern)).filter((l) => l.kind.endsWith('fallback'));
    assert.deepEqual(
      moves.map((l) => [l.kind, l['from'], l['to'], l['reason']]),
      [
        ['backend_fallback', 'local', 'cloud', 'local_5xx'],
        ['fallback', 'deep', 'workhorse', 'timeout'],
      ],
    );
  });
});
