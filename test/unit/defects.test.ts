/** Ways in which a router over local and cloud was seen to go wrong, each as a whole call on real sockets. */
import assert from 'node:assert/strict';
import type { Intern, JobName, Phase, RunOptions } from '../../src/core';
import { JOBS } from '../../src/core/jobs/registry';
import type { GenerativeTier } from '../../src/core';
import { REMOTE_BUDGET_MS } from '../../src/core/routing/cloud';
import { LOCAL_BUDGET_MS } from '../../src/core/routing/tiers';
import { CLOUD_KEY, cloudModels } from '../support/ollama/cloud';
import { ComputedEngine } from '../support/ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../support/ollama/engine';
import {
  defaultModels,
  defineModel,
  type Fault,
  faults,
  type OllamaServer,
} from '../support/ollama/server';
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
import { INPUTS } from './inputs';
import { failure } from './support';

/** Those that write: vectors are made on this machine alone. */
const JOB_NAMES = (Object.keys(JOBS) as JobName[]).filter((name) => JOBS[name].tier !== 'embed');
const SIDES = ['local', 'cloud'] as const;

/** A model that never comes to an end of thinking. */
class Brooder extends ComputedEngine {
  override async generate(
    request: EngineRequest,
    onPiece: (piece: EnginePiece) => void | Promise<void>,
  ): Promise<EngineResult> {
    await onPiece({ kind: 'thinking', text: 'On the other hand, ' });
    return { promptTokens: 10, outputTokens: request.numPredict ?? 0, doneReason: 'length' };
  }
}

describe('defects that a router may have', () => {
  const stage = Stage.forEach();

  const summarize = (intern: Intern, options?: RunOptions) =>
    intern.run('summarize_fast', { text: TEXT }, options);

  /** Both permits of a backend are held by calls that never get an answer. */
  async function occupy(team: Team, backend: 'local' | 'cloud'): Promise<AbortController> {
    const server = team[backend];
    const before = chatsOf(server).length;
    const controller = new AbortController();
    server.faults.next(onChat(faults.hang(), 2));
    for (let i = 0; i < 2; i++) {
      summarize(team.intern, { model: PINNED[backend], signal: controller.signal }).catch(() => {});
    }
    await server.waitFor(() => chatsOf(server).length === before + 2, 'both calls');
    return controller;
  }

  async function openBreaker({ intern, cloud }: Team): Promise<void> {
    cloud.faults.next(onChat(faults.status(500, 'it failed'), 3));
    for (let i = 0; i < 3; i++) await summarize(intern);
    assert.equal(stateOf(intern, 'cloud'), 'open');
  }

  describe('1: a call that waits for a permit', () => {
    for (const backend of SIDES) {
      it(`of the ${backend} is cancelled at once and sends nothing`, async () => {
        const team = await stage().team();
        const server = team[backend];
        await occupy(team, backend);
        const controller = new AbortController();
        const phases: Phase[] = [];
        const waiting = failure(
          summarize(team.intern, {
            model: PINNED[backend],
            signal: controller.signal,
            onPhase: (p) => phases.push(p),
          }),
        );
        assert.deepEqual(phases, [{ phase: 'queued', position: 1 }]);
        const sent = server.requests.length;
        await stage().clock.advance(3_000);
        controller.abort();
        // The clock stands still: whoever waited for time to pass would wait for good.
        assert.equal((await waiting).code, 'cancelled');
        assert.equal(server.requests.length, sent);
        assert.equal(statusOf(team.intern, backend).waiting, 0);
        const line = (await stage().logged(team.intern)).at(-1);
        assert.equal(line?.['code'], 'cancelled');
        assert.deepEqual([line?.['attempts'], line?.['queued_ms']], [[], 3_000]);
      });

      it(`of the ${backend} has its whole budget after the wait`, async () => {
        const budget = backend === 'cloud' ? REMOTE_BUDGET_MS.instant : LOCAL_BUDGET_MS.instant;
        const team = await stage().team({
          servers: { [backend]: { tokenMs: 1_000 } },
          settings: { options: { numPredict: 40 }, maxConcurrent: 1 },
        });
        const calls = [1, 2].map(() => summarize(team.intern, { model: PINNED[backend] }));
        const [, second] = await stage().finish(Promise.all(calls));
        assert.ok(second && second.queued_ms > budget, `it waited ${second?.queued_ms} ms`);
        assert.deepEqual(triesOf(second), [`${backend} answer`]);
        assert.equal(statusOf(team.intern, backend).breaker.failures, 0);
      });
    }
  });

  describe('2: a busy queue', () => {
    it('of the local server neither delays cloud calls nor counts against the cloud', async () => {
      const team = await stage().team();
      await occupy(team, 'local');
      for (let i = 0; i < 4; i++) {
        // The clock stands still: any wait would be for good.
        const envelope = await summarize(team.intern);
        assert.deepEqual(triesOf(envelope), ['cloud answer']);
        assert.equal(envelope.queued_ms, 0);
      }
      assert.deepEqual(statusOf(team.intern, 'cloud').breaker, { state: 'closed', failures: 0 });
    });

    it('of the cloud counts on nobody, however long it is', async () => {
      const { intern } = await stage().team({
        servers: { cloud: { tokenMs: 1_000 } },
        settings: { options: { numPredict: 35 } },
      });
      const envelopes = await stage().finish(
        Promise.all([1, 2, 3, 4, 5, 6].map(() => summarize(intern))),
      );
      assert.ok(Math.max(...envelopes.map((e) => e.queued_ms)) > REMOTE_BUDGET_MS.instant);
      for (const envelope of envelopes) assert.deepEqual(triesOf(envelope), ['cloud answer']);
      for (const { breaker } of intern.backends) assert.equal(breaker.failures, 0);
    });
  });

  describe('3: a probe that ends without a verdict frees the slot for the next', () => {
    const ends: [string, Fault, string][] = [
      ['404', faults.status(404, "model 'minimax-m3' not found"), 'model_missing'],
      ['400', faults.status(400, 'invalid think value: "ultra"'), 'bad_input'],
    ];
    for (const [name, fault, code] of ends) {
      it(name, async () => {
        const team = await stage().team();
        await openBreaker(team);
        await stage().clock.advance(20_000);
        for (let i = 0; i < 3; i++) {
          team.cloud.faults.next(onChat(fault));
          assert.equal((await failure(summarize(team.intern))).code, code);
          assert.equal(stateOf(team.intern, 'cloud'), 'half_open');
        }
        assert.deepEqual(triesOf(await summarize(team.intern)), ['cloud answer']);
        assert.equal(stateOf(team.intern, 'cloud'), 'closed');
      });
    }

    it('a cancel', async () => {
      const team = await stage().team();
      await openBreaker(team);
      await stage().clock.advance(20_000);
      const controller = new AbortController();
      const before = chatsOf(team.cloud).length;
      team.cloud.faults.next(onChat(faults.hang()));
      const probe = failure(summarize(team.intern, { signal: controller.signal }));
      await team.cloud.waitFor(() => chatsOf(team.cloud).length > before);
      assert.equal((await summarize(team.intern)).degrade_reason, 'circuit_open');
      controller.abort();
      assert.equal((await probe).code, 'cancelled');
      assert.deepEqual(triesOf(await summarize(team.intern)), ['cloud answer']);
      assert.equal(stateOf(team.intern, 'cloud'), 'closed');
    });
  });

  describe('4: a cancel never counts, and nobody is called with an aborted signal', () => {
    it('while the call runs', async () => {
      const { intern, cloud, local } = await stage().team();
      const asked = local.requests.length;
      for (let i = 0; i < 4; i++) {
        const before = chatsOf(cloud).length;
        const controller = new AbortController();
        cloud.faults.next(onChat(faults.hang()));
        const call = failure(summarize(intern, { signal: controller.signal }));
        await cloud.waitFor(() => chatsOf(cloud).length > before);
        controller.abort();
        assert.equal((await call).code, 'cancelled');
      }
      assert.equal(local.requests.length, asked);
      assert.deepEqual(statusOf(intern, 'cloud').breaker, { state: 'closed', failures: 0 });
      assert.equal((await summarize(intern)).backend, 'cloud');
    });

    it('while the call waits', async () => {
      const team = await stage().team();
      const { intern, cloud, local } = team;
      const holders = await occupy(team, 'cloud');
      const asked = [local.requests.length, cloud.requests.length];
      const controllers = [1, 2, 3, 4].map(() => new AbortController());
      const calls = controllers.map(({ signal }) => failure(summarize(intern, { signal })));
      assert.equal(statusOf(intern, 'cloud').waiting, 4);
      for (const controller of controllers) controller.abort();
      for (const call of calls) assert.equal((await call).code, 'cancelled');
      assert.deepEqual([local.requests.length, cloud.requests.length], asked);
      assert.deepEqual(statusOf(intern, 'cloud').breaker, { state: 'closed', failures: 0 });
      holders.abort();
      assert.equal((await summarize(intern)).backend, 'cloud');
    });

    it('before it began', async () => {
      const { intern, cloud, local } = await stage().team();
      const asked = [local.requests.length, cloud.requests.length];
      const signal = AbortSignal.abort();
      assert.equal((await failure(summarize(intern, { signal }))).code, 'cancelled');
      assert.deepEqual([local.requests.length, cloud.requests.length], asked);
    });
  });

  describe('5: a refused key stays refused', () => {
    it('whatever calls say that began before, until the key changes', async () => {
      const { intern, cloud } = await stage().team({ settings: { maxConcurrent: 3 } });
      const before = chatsOf(cloud).length;
      cloud.faults.next(onChat(faults.status(401, 'unauthorized')));
      cloud.faults.next(onChat({ ...faults.status(500, 'it failed'), delayMs: 5_000 }));
      cloud.faults.next(onChat(faults.late(6_000)));
      const calls = [1, 2, 3].map(() => summarize(intern));
      await cloud.waitFor(() => chatsOf(cloud).length === before + 3);
      const results = await stage().finish(Promise.all(calls));
      assert.deepEqual(results.map((e) => e.degrade_reason).sort(), [
        'cloud_5xx',
        'cloud_auth_failed',
        undefined,
      ]);
      assert.equal(stateOf(intern, 'cloud'), 'misconfigured');
      assert.equal(statusOf(intern, 'cloud').error?.code, 'auth_failed', 'the reason is forgotten');

      await stage().clock.advance(3_600_000);
      intern.retryNow('cloud');
      const asked = cloud.requests.length;
      const envelope = await stage().finish(summarize(intern));
      assert.equal(envelope.degrade_reason, 'cloud_auth_failed');
      assert.equal(cloud.requests.length, asked, 'the cloud was asked with the refused key');

      intern.setCloudKey(cloud.url, CLOUD_KEY);
      assert.equal((await summarize(intern)).backend, 'cloud');
      assert.equal(stateOf(intern, 'cloud'), 'closed');
    });
  });

  describe('6: every job', () => {
    for (const job of JOB_NAMES) {
      const tier = JOBS[job].tier as GenerativeTier;

      it(`${job} reaches the cloud, has a budget there and falls back`, async () => {
        const { intern, cloud, local } = await stage().team();
        const first = await intern.run(job, INPUTS[job]);
        assert.equal(first.backend, 'cloud');
        assert.equal(first.residency, null);

        cloud.faults.next(onChat(faults.hang()));
        const startedAt = stage().clock.now();
        const second = await stage().finish(intern.run(job, INPUTS[job]));
        assert.deepEqual(triesOf(second).slice(0, 2), ['cloud timeout', 'local answer']);
        assert.equal(second.degrade_reason, 'cloud_timeout');
        const waited = stage().clock.now() - startedAt;
        assert.ok(waited >= REMOTE_BUDGET_MS[tier], `given up after ${waited} ms`);
        assert.ok(waited < REMOTE_BUDGET_MS[tier] + 5_000, `given up after ${waited} ms`);
        assert.ok(chatsOf(local).length > 0);
      });
    }
  });

  describe('7: the model of a call', () => {
    const models = [...defaultModels, defineModel({ name: 'gpt-oss:120b' })];

    it('is used on the cloud and on the local fallback, and is on the envelope', async () => {
      const { intern, cloud, local } = await stage().team({ servers: { local: { models } } });
      const model = 'gpt-oss:120b';
      const first = await summarize(intern, { model });
      assert.deepEqual(
        [first.backend, first.model, first.model_requested],
        ['cloud', model, model],
      );
      assert.equal(chatsOf(cloud).at(-1)?.body.model, model);

      cloud.faults.next(onChat(faults.status(500, 'it failed')));
      const second = await summarize(intern, { model });
      assert.deepEqual(
        [second.backend, second.model, second.model_requested],
        ['local', model, model],
      );
      assert.equal(chatsOf(local).at(-1)?.body.model, model);
    });

    it('is not replaced by a lesser one when it is slow', async () => {
      const { intern, local } = await stage().team({ mode: 'off' });
      const before = chatsOf(local).length;
      local.faults.next(onChat(faults.hang()));
      const call = intern.run('summarize_deep', { text: TEXT }, { model: 'qwen3:8b' });
      assert.equal((await stage().finish(failure(call))).code, 'timeout');
      assert.equal(chatsOf(local).length, before + 1);
    });

    for (const backend of SIDES) {
      for (const mode of ['primary', 'fallback'] as const) {
        it(`named with ${backend}/ runs there and nowhere else, in mode ${mode}`, async () => {
          const team = await stage().team({ mode });
          const other = team[backend === 'cloud' ? 'local' : 'cloud'];
          const model = PINNED[backend];
          const envelope = await summarize(team.intern, { model });
          assert.equal(envelope.backend, backend);
          assert.equal(envelope.model_requested, model);
          assert.equal(envelope.model, model.slice(backend.length + 1));
          assert.equal(envelope.degraded, undefined);

          const asked = other.requests.length;
          team[backend].faults.next(onChat(faults.status(500, 'it failed')));
          assert.equal((await failure(summarize(team.intern, { model }))).code, 'server');
          assert.equal(other.requests.length, asked, 'another backend was asked');
        });
      }
    }
  });

  describe('8: think', () => {
    it('is sent to models that can think and to no others, on either backend', async () => {
      const { intern, cloud, local } = await stage().team();
      for (const [server, model, think] of [
        [cloud, 'cloud/gpt-oss:120b', 'low'],
        [cloud, 'cloud/minimax-m3', undefined],
        [local, 'local/hermes3:8b', undefined],
        [local, 'local/qwen3:8b', false],
      ] as const) {
        await stage().finish(summarize(intern, { model }));
        assert.equal(chatsOf(server).at(-1)?.body.think, think, model);
      }
    });

    for (const deepModel of ['gpt-oss:120b-cloud', 'minimax-m3:cloud']) {
      it(`does not make three deep calls open the breaker: ${deepModel}`, async () => {
        const { intern } = await stage().team({ settings: { cloud: { deepModel } } });
        for (let i = 0; i < 3; i++) {
          const envelope = await intern.run('summarize_deep', { text: TEXT });
          assert.equal(envelope.backend, 'cloud');
          assert.equal(envelope.model, deepModel);
        }
        assert.deepEqual(statusOf(intern, 'cloud').breaker, { state: 'closed', failures: 0 });
      });
    }
  });

  describe('9: a model that spends all its tokens on thinking', () => {
    for (const [backend, model] of [
      ['local', 'local/qwen3:8b'],
      ['cloud', 'cloud/gpt-oss:120b'],
    ] as const) {
      it(`is an error that says so, on the ${backend}`, async () => {
        const engine = new Brooder();
        const { intern } = await stage().team({
          isCold: true,
          servers: {
            local: { engine, models: defaultModels },
            cloud: { engine, models: cloudModels },
          },
        });
        const error = await failure(stage().finish(summarize(intern, { model })));
        assert.equal(error.code, 'server');
        assert.match(error.message, /spent all its tokens on thinking/);
        assert.ok(error.actions.some((a) => a.kind === 'choose_profile'));
        assert.equal(statusOf(intern, backend).breaker.failures, 0, 'the server did answer');
      });
    }
  });

  describe('10: an answer that was cut at its length limit', () => {
    for (const backend of SIDES) {
      it(`says so, on the ${backend}`, async () => {
        const { intern } = await stage().team({ settings: { options: { numPredict: 5 } } });
        const envelope = await summarize(intern, { model: PINNED[backend] });
        assert.equal(envelope.done_reason, 'length');
        assert.match(envelope.warnings.join(), /length limit/);
      });
    }
  });

  describe('11: what the cloud says', () => {
    it('in a 400 is not counted', async () => {
      const { intern, cloud } = await stage().team();
      cloud.faults.next(onChat(faults.status(400, 'invalid think value: "ultra"'), 5));
      for (let i = 0; i < 5; i++) {
        assert.equal((await failure(summarize(intern))).code, 'bad_input');
      }
      assert.deepEqual(statusOf(intern, 'cloud').breaker, { state: 'closed', failures: 0 });
    });

    const inTime = (ms: number) => new Date(stage().clock.now() + ms).toUTCString();
    /** Dates have whole seconds. */
    const wholeSecond = () => stage().clock.advance(1_000 - (stage().clock.now() % 1_000));
    const waits: [string, () => string | undefined, number | undefined][] = [
      ['seconds', () => '90', 90_000],
      ['a date', () => inTime(120_000), 120_000],
      ['a date in the past', () => inTime(-120_000), undefined],
      ['no time at all', () => '0', undefined],
      ['garbage', () => 'soon', undefined],
      ['nothing', () => undefined, undefined],
    ];
    for (const [name, value, openForMs] of waits) {
      it(`in a Retry-After of ${name} is followed`, async () => {
        const { intern, cloud } = await stage().team();
        await wholeSecond();
        const header = value();
        const headers = header === undefined ? undefined : { 'Retry-After': header };
        cloud.faults.next(onChat(faults.status(429, 'too many requests', headers)));
        const envelope = await summarize(intern);
        assert.equal(envelope.degrade_reason, 'cloud_rate_limited');
        assert.deepEqual(
          statusOf(intern, 'cloud').breaker,
          openForMs === undefined
            ? { state: 'closed', failures: 1 }
            : { state: 'open', failures: 0, reason: 'rate_limited', retry_in_ms: openForMs },
        );
        if (openForMs === undefined) return;
        await stage().clock.advance(openForMs - 1);
        assert.equal((await summarize(intern)).degrade_reason, 'circuit_open');
        await stage().clock.advance(1);
        assert.equal((await summarize(intern)).backend, 'cloud');
      });
    }
  });

  describe('12: a timeout of a profile with one model for all tiers', () => {
    for (const mode of ['off', 'fallback'] as const) {
      it(`asks that model once, with one window, within one budget, in mode ${mode}`, async () => {
        const { intern, local, cloud } = await stage().team({ mode });
        const before = local.requests.length;
        local.faults.next(onChat(faults.hang(), Infinity));
        cloud.faults.next(onChat(faults.status(500, 'it failed')));
        const startedAt = stage().clock.now();
        await failure(stage().finish(intern.run('summarize_deep', { text: TEXT })));
        const waited = stage().clock.now() - startedAt;
        assert.ok(waited < LOCAL_BUDGET_MS.deep + 5_000, `it took ${waited} ms`);
        const asked = local.requests.slice(before).filter((r) => isChat(r));
        assert.equal(asked.length, 1);
      });
    }

    for (const [how, tiers] of [
      ['', {}],
      [', however it is named', { instant: 'local/hermes3:8b', deep: 'library/hermes3:8b' }],
    ] as const) {
      it(`never changes its window from job to job, so that it is loaded once${how}`, async () => {
        const { intern, local } = await stage().team({ mode: 'off', settings: { tiers } });
        for (const job of JOB_NAMES) await stage().finish(intern.run(job, INPUTS[job]));
        const windows = local.requests.map((r) => r.body.options?.['num_ctx']).filter(Boolean);
        assert.equal(new Set(windows).size, 1, `windows: ${windows.join()}`);
        assert.equal(local.stats.loads, 1);
      });
    }
  });

  describe('13: a model named without its tag', () => {
    it('finds its place in memory', async () => {
      const models = [defineModel({ name: 'llama3.2:latest' })];
      const local: OllamaServer = await stage().serve({ models });
      for (const model of ['llama3.2', 'llama3.2:latest', 'library/llama3.2', 'LLAMA3.2']) {
        const intern = stage().hire(local, { tiers: { instant: model } });
        const { residency } = await stage().finish(summarize(intern));
        assert.equal(residency?.in_vram, true, model);
        assert.ok((residency?.size_bytes ?? 0) > 0, model);
      }
    });
  });
});
