/** What Ollama Cloud means for whole calls: keys, consent, limits, budgets and windows, on real sockets. */
import assert from 'node:assert/strict';
import type { LookupFunction } from 'node:net';
import type {
  BackendStatus,
  BreakerStatus,
  Intern,
  InternListener,
  JobName,
  Phase,
  RunOptions,
  Settings,
  TokenSource,
} from '../../src/core';
import { OllamaClient } from '../../src/core/ollama/client';
import { createAgent } from '../../src/core/ollama/network';
import { REMOTE_BUDGET_MS } from '../../src/core/routing/cloud';
import { runRemotely } from '../../src/core/routing/remote';
import { OLLAMA_COM } from '../support/ollama/cloudLink';
import { CLOUD_KEY, type CloudServer } from '../support/ollama/cloud';
import {
  defaultModels,
  defineModel,
  defineStub,
  type Fault,
  faults,
  type OllamaServer,
  type RecordedRequest,
} from '../support/ollama/server';
import {
  chatsOf,
  onChat,
  PINNED,
  Stage,
  stateOf,
  statusOf,
  type Team,
  TEXT,
  triesOf,
} from './stage';
import { coreClock, failure } from './support';

/** About 3,000 tokens. */
const LONG_TEXT = 'The limiter admits two calls at once. Others wait in line.\n'.repeat(240);

const summarize = (intern: Intern, options?: RunOptions) =>
  intern.run('summarize_fast', { text: TEXT }, options);

/** Every name is this machine's; which were asked for is kept. */
function recordingLookup(): { asked: string[]; lookup: LookupFunction } {
  const asked: string[] = [];
  const lookup: LookupFunction = (name, options, callback) => {
    asked.push(name);
    if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(null, '127.0.0.1', 4);
  };
  return { asked, lookup };
}

describe('the cloud', () => {
  const stage = Stage.forEach();

  const settled = () => stage().clock.advance(0);

  async function openBreaker({ intern, cloud }: Pick<Team, 'intern' | 'cloud'>): Promise<void> {
    cloud.faults.next(onChat(faults.status(500, 'it failed'), 3));
    for (let i = 0; i < 3; i++) await failure(summarize(intern, { model: PINNED.cloud }));
    assert.equal(stateOf(intern, 'cloud'), 'open');
  }

  describe('without a key', () => {
    const cold = { isCold: true, options: { cloudKeys: undefined } } as const;

    it('says so at once and not with the first call', async () => {
      const { intern, cloud, local } = await stage().team(cold);
      const told: [BackendStatus, BreakerStatus][] = [];
      intern.listen({ onBackend: (...event) => told.push(event) });
      await settled();
      assert.equal(told.length, 1);
      const [status, before] = told[0] ?? assert.fail('nothing was told');
      assert.equal(before.state, 'closed');
      assert.equal(status.backend, 'cloud');
      assert.equal(status.breaker.state, 'misconfigured');
      assert.equal(status.key, 'none');
      assert.equal(status.error?.code, 'auth_failed');
      assert.deepEqual(status.error?.actions, [{ kind: 'set_cloud_key' }]);
      assert.equal(await intern.cloudKey(), 'none');
      assert.deepEqual([...cloud.requests, ...local.requests], []);
      const kinds = (await stage().logged(intern)).map((l) => [l.kind, l['to']]);
      assert.deepEqual(kinds, [['breaker', 'misconfigured']]);
    });

    it('is said when it is turned on later', async () => {
      const { intern, cloud, local } = await stage().team({ ...cold, mode: 'off' });
      const told: string[] = [];
      intern.listen({ onBackend: ({ breaker }) => told.push(breaker.state) });
      await settled();
      assert.deepEqual(told, []);
      intern.configure(stage().settingsFor(local, { cloud: { mode: 'primary', host: cloud.url } }));
      await settled();
      assert.deepEqual(told, ['misconfigured']);
    });

    it('is not asked: calls go local, marked as degraded, from the very first on', async () => {
      const { intern, cloud } = await stage().team(cold);
      for (let i = 0; i < 4; i++) {
        const envelope = await stage().finish(summarize(intern));
        assert.equal(envelope.backend, 'local');
        assert.equal(envelope.degraded, true);
        assert.equal(envelope.degrade_reason, 'cloud_auth_failed');
      }
      assert.equal(cloud.requests.length, 0);
    });

    it('is an error with the way out for a model that is named to run there', async () => {
      const { intern, cloud } = await stage().team(cold);
      await settled();
      const error = await failure(summarize(intern, { model: PINNED.cloud }));
      assert.equal(error.code, 'auth_failed');
      assert.ok(error.actions.some((a) => a.kind === 'set_cloud_key'));
      assert.equal(cloud.requests.length, 0);
    });

    it('is asked as soon as there is one', async () => {
      const { intern, cloud } = await stage().team(cold);
      await stage().finish(summarize(intern));
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      assert.equal(stateOf(intern, 'cloud'), 'closed');
      const envelope = await summarize(intern);
      assert.deepEqual([envelope.backend, envelope.degraded], ['cloud', undefined]);
      assert.equal(statusOf(intern, 'cloud').key, 'stored');
    });
  });

  describe('the key', () => {
    it('that is wrong is said and used no more; another one is', async () => {
      const { intern, cloud } = await stage().team({
        options: { cloudKeys: undefined },
        isCold: true,
      });
      intern.setCloudKey(cloud.url, 'wrong-key');
      const envelope = await stage().finish(summarize(intern));
      assert.equal(envelope.degrade_reason, 'cloud_auth_failed');
      assert.equal(stateOf(intern, 'cloud'), 'misconfigured');
      assert.equal(statusOf(intern, 'cloud').error?.code, 'auth_failed');
      const asked = cloud.requests.length;
      await stage().finish(summarize(intern));
      assert.equal(cloud.requests.length, asked);

      intern.setCloudKey(cloud.url, CLOUD_KEY);
      assert.equal((await summarize(intern)).backend, 'cloud');
      assert.equal(statusOf(intern, 'cloud').error, undefined);
    });

    it('that is cleared gives way to the one of the environment', async () => {
      const cloud = await stage().serveCloud({ keys: [CLOUD_KEY, 'key-of-the-environment'] });
      const local = await stage().serve();
      const env = { OLLAMA_API_KEY: 'key-of-the-environment', OLLAMA_CLOUD_HOST: cloud.url };
      const intern = stage().hire(local, { cloud: { mode: 'primary' } }, { env });
      const sent = async () => {
        await summarize(intern);
        return chatsOf(cloud).at(-1)?.headers.authorization;
      };
      assert.equal(await sent(), 'Bearer key-of-the-environment');
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      assert.equal(await sent(), `Bearer ${CLOUD_KEY}`);
      intern.setCloudKey(cloud.url, undefined);
      assert.equal(await sent(), 'Bearer key-of-the-environment');
      assert.equal(await intern.cloudKey(), 'environment');
    });

    it('that is set while the store is still being read is not undone by what is found there', async () => {
      let answer!: (key: string | undefined) => void;
      const cloudKeys: TokenSource = () => new Promise((resolve) => (answer = resolve));
      const { intern, cloud } = await stage().team({ isCold: true, options: { cloudKeys } });
      await settled();
      intern.setCloudKey(cloud.url, CLOUD_KEY);
      await settled();
      answer(undefined);
      await settled();
      assert.equal(stateOf(intern, 'cloud'), 'closed');
      assert.equal(statusOf(intern, 'cloud').key, 'stored');
      assert.equal((await summarize(intern)).backend, 'cloud');
    });

    it('of one host is not sent to the next', async () => {
      const first = await stage().serveCloud({ keys: ['key-of-the-first'] });
      const second = await stage().serveCloud({ keys: ['key-of-the-second'] });
      const local = await stage().serve();
      const keys: Record<string, string> = { [first.url]: 'key-of-the-first' };
      const at = ({ url }: CloudServer): Settings => ({ cloud: { mode: 'primary', host: url } });
      const intern = stage().hire(local, at(first), {
        cloudKeys: (origin) => Promise.resolve(keys[origin]),
        env: { OLLAMA_API_KEY: 'key-of-the-environment' },
      });
      assert.equal((await summarize(intern)).backend, 'cloud');
      intern.configure(stage().settingsFor(local, at(second)));
      const envelope = await stage().finish(summarize(intern));
      assert.equal(envelope.degrade_reason, 'cloud_auth_failed');
      assert.equal(second.requests.length, 0);

      intern.setCloudKey(second.url, 'key-of-the-second');
      assert.equal((await summarize(intern)).backend, 'cloud');
      intern.configure(stage().settingsFor(local, at(first)));
      assert.equal((await summarize(intern)).backend, 'cloud');
      for (const [server, key] of [
        [first, 'first'],
        [second, 'second'],
      ] as const) {
        const sent = server.requests.map((r) => r.headers.authorization);
        assert.deepEqual([...new Set(sent)], [`Bearer key-of-the-${key}`]);
      }
    });

    describe('is shown to nobody but the cloud', () => {
      const SECRET = 'sk-5ecret-0123456789';
      const quoting = (text: string): string => `the key ${SECRET} ${text}`;
      const ways: [string, Fault | undefined][] = [
        ['an answer', undefined],
        ['a refusal that quotes it', faults.status(401, quoting('is not known'))],
        ['a failure that quotes it', faults.status(500, quoting('has no credit'))],
        ['a 400 that quotes it', faults.status(400, quoting('is odd'))],
        ['a 404 that quotes it', faults.status(404, quoting('was not found'))],
        ['a page that quotes it', { reply: { status: 502, body: `<p>${quoting('')}</p>` } }],
        ['plain text that quotes it', { reply: { status: 503, body: quoting('') } }],
        ['an error line that quotes it', faults.errorAfter(0, quoting('has expired'))],
        ['an error line after some text', faults.errorAfter(3, quoting('has expired'))],
        ['a line that is no JSON', faults.garbageAfter(0, quoting(''))],
      ];
      for (const [name, fault] of ways) {
        for (const model of [undefined, PINNED.cloud]) {
          it(`after ${name}${model ? ', with nobody else to ask' : ''}`, async () => {
            const { intern, cloud, local } = await stage().team({
              servers: { cloud: { keys: [SECRET] } },
              options: { cloudKeys: () => Promise.resolve(SECRET) },
            });
            const heard: unknown[] = [];
            const hear = (...event: unknown[]): void => void heard.push(event);
            const listener: Required<InternListener> = {
              onCallStarted: hear,
              onPhase: hear,
              onEnvelope: hear,
              onError: hear,
              onConfig: hear,
              onBackend: hear,
              onEvicted: hear,
              onModels: hear,
              onCloudKey: hear,
              onLogProblem: hear,
            };
            intern.listen(listener);
            if (fault) cloud.faults.next(onChat(fault));
            const outcome = await stage()
              .finish(summarize(intern, model ? { model } : {}))
              .catch((error: unknown) => error);
            assert.ok(heard.length > 0);

            const shown = [outcome, heard, intern.config, intern.backends, intern.running];
            assertWithout(SECRET, shown);
            assert.ok(
              !JSON.stringify(await stage().logged(intern)).includes(SECRET),
              'it is logged',
            );
            for (const request of local.requests) {
              assert.ok(!JSON.stringify(request).includes(SECRET), 'it was sent to this machine');
            }
            for (const request of cloud.requests) {
              const { authorization, ...rest } = request.headers;
              assert.equal(authorization, `Bearer ${SECRET}`);
              assert.ok(!JSON.stringify([rest, request.bodyText, request.query]).includes(SECRET));
            }
          });
        }
      }

      for (const status of [301, 302, 307, 308]) {
        it(`not even where the cloud redirects to: ${status}`, async () => {
          const elsewhere = await stage().serveCloud({ keys: [SECRET] });
          const { intern, cloud } = await stage().team({
            servers: { cloud: { keys: [SECRET] } },
            options: { cloudKeys: () => Promise.resolve(SECRET) },
          });
          cloud.faults.next(onChat(faults.redirect(`${elsewhere.url}/api/chat`, status)));
          await stage().finish(summarize(intern).catch(() => {}));
          assert.deepEqual(elsewhere.requests, []);
        });
      }
    });
  });

  describe('consent', () => {
    const CLOUD_NAMES = ['gpt-oss:120b-cloud', 'minimax-m3:cloud', 'GPT-OSS:120B-Cloud'];
    const models = [...defaultModels, defineStub('helper', 'gpt-oss:120b', OLLAMA_COM)];

    /** A local server that is signed in to the cloud. */
    async function signedIn(mode: 'off' | 'primary' | 'fallback'): Promise<Team> {
      const team = await stage().team({ mode, servers: { local: { models } } });
      team.local.cloud.url = team.cloud.url;
      return team;
    }

    for (const model of CLOUD_NAMES) {
      it(`is asked for before anything is asked about ${model}`, async () => {
        const { intern, local, cloud } = await signedIn('off');
        const asked = local.requests.length;
        for (const name of [model, `local/${model}`]) {
          const error = await failure(summarize(intern, { model: name }));
          assert.equal(error.code, 'config');
          assert.match(error.message, /nothing may leave this machine/);
        }
        assert.equal(local.requests.length, asked);
        assert.deepEqual(cloud.requests, []);
      });
    }

    it('is asked for before a prompt is sent to a model that has another name here', async () => {
      const { intern, local, cloud } = await signedIn('off');
      const before = chatsOf(local).length;
      assert.equal((await failure(summarize(intern, { model: 'helper' }))).code, 'config');
      assert.equal(chatsOf(local).length, before);
      assert.deepEqual(cloud.requests, []);
    });

    for (const mode of ['primary', 'fallback'] as const) {
      for (const model of ['gpt-oss:120b-cloud', 'helper']) {
        it(`lets ${model} run through the local server, and it is called what it is, in mode ${mode}`, async () => {
          const { intern, local, cloud } = await signedIn(mode);
          const asked = chatsOf(cloud).length;
          const envelope = await summarize(intern, { model: `local/${model}` });
          assert.equal(envelope.backend, 'cloud');
          assert.equal(envelope.residency, null);
          assert.equal('cost_usd' in envelope, false);
          assert.deepEqual(triesOf(envelope), ['cloud answer']);
          assert.equal(envelope.num_ctx, 32_768, 'the window of the cloud caps what it costs');
          assert.equal(chatsOf(local).at(-1)?.body.model, model);
          assert.equal(chatsOf(cloud).length, asked + 1);
        });
      }
    }

    for (const [name, arrange] of [
      ['refuses', ({ local }) => void (local.cloud.signedIn = false)],
      ['limits', ({ cloud }) => void (cloud.limit = { kind: 'hourly', retryAfter: '90' })],
      ['is overloaded', ({ cloud }) => void (cloud.overloaded = true)],
    ] as [string, (team: Team) => void][]) {
      for (const isKnown of [true, false]) {
        it(`a cloud that ${name} behind the local server is not held against it${isKnown ? '' : ', nor a question about the model'}`, async () => {
          const team = await signedIn('fallback');
          const { intern } = team;
          if (isKnown) await summarize(intern, { model: 'local/gpt-oss:120b-cloud' });
          arrange(team);
          for (let i = 0; i < 4; i++) {
            await failure(summarize(intern, { model: 'local/gpt-oss:120b-cloud' }));
          }
          assert.deepEqual(statusOf(intern, 'local').breaker, { state: 'closed', failures: 0 });
          assert.equal(statusOf(intern, 'local').error, undefined);
          const envelope = await summarize(intern);
          assert.deepEqual([envelope.backend, envelope.degraded], ['local', undefined]);
        });
      }
    }

    it('is told of a model that has become one of the cloud since it was asked about', async () => {
      const { intern, local, cloud } = await stage().team({
        mode: 'fallback',
        servers: { local: { models: [...defaultModels, defineModel({ name: 'helper' })] } },
      });
      local.cloud.url = cloud.url;
      const model = 'local/helper';
      const before = await stage().finish(summarize(intern, { model }));
      assert.deepEqual([before.backend, before.cost_usd], ['local', 0]);
      local.models.remove('helper');
      local.models.install(defineStub('helper', 'gpt-oss:120b', OLLAMA_COM));
      const after = await stage().finish(summarize(intern, { model }));
      assert.deepEqual(triesOf(after), ['cloud answer']);
      assert.deepEqual(
        [after.backend, after.cost_usd, after.residency],
        ['cloud', undefined, null],
      );
      intern.configure(stage().settingsFor(local));
      assert.equal((await failure(summarize(intern, { model }))).code, 'config');
    });

    it('is held to an address that is the cloud itself: no connection is made', async () => {
      for (const host of [
        'https://ollama.com',
        'ollama.com',
        'https://www.ollama.com:8443',
        'https://ollama.com.',
      ]) {
        const { asked, lookup } = recordingLookup();
        const local = await stage().serve();
        const intern = stage().hire(local, { host }, { lookup });
        const error = await failure(summarize(intern));
        assert.equal(error.code, 'config', host);
        assert.match(error.message, /nothing may leave this machine/);
        assert.deepEqual(asked, []);
      }
    });

    it('is held to an address that is the cloud itself, whatever is asked there', async () => {
      const { asked, lookup } = recordingLookup();
      const local = await stage().serve();
      const host = `http://ollama.com:${local.port}`;
      const intern = stage().hire(local, { host, gateway: { host } }, { lookup });
      for (const ask of [
        () => intern.models.installed(),
        () => intern.models.resident(),
        () => intern.models.version(),
        () => intern.models.pull('hermes3:8b', () => {}),
        () => intern.test('local'),
        () => intern.test('gateway'),
        () => summarize(intern, { model: 'gateway/hermes3:8b' }),
      ]) {
        const error = await failure(ask());
        assert.equal(error.code, 'config', String(ask));
        assert.match(error.message, /ollama\.com:\d+ is Ollama Cloud/);
      }
      assert.deepEqual(asked, []);
      assert.deepEqual(local.requests, []);
    });

    it('lets a local address be the cloud itself, and calls it what it is', async () => {
      const { lookup } = recordingLookup();
      const local = await stage().serve();
      const host = `http://ollama.com:${local.port}`;
      const cloud = { mode: 'fallback' };
      // The simulator answers to its own names only, as Ollama does.
      const rename = ({ headers }: RecordedRequest): boolean => {
        headers.host = 'localhost';
        return false;
      };
      local.faults.next({ ...faults.hang(), match: rename, times: Infinity });
      const intern = stage().hire(local, { host, cloud }, { lookup });
      const envelope = await summarize(intern, { model: 'local/hermes3:8b' });
      assert.equal(envelope.backend, 'cloud');
      assert.equal(envelope.residency, null);
      assert.equal('cost_usd' in envelope, false);
      assert.deepEqual([...new Set(local.requests.map((r) => r.path))], ['/api/show', '/api/chat']);
    });

    /** Holds both permits of a backend until they are cancelled. */
    async function occupy({ intern }: Team, server: OllamaServer, model: string) {
      const controller = new AbortController();
      const before = chatsOf(server).length;
      server.faults.next(onChat(faults.hang(), 2));
      for (let i = 0; i < 2; i++) {
        summarize(intern, { model, signal: controller.signal }).catch(() => {});
      }
      await server.waitFor(() => chatsOf(server).length === before + 2);
      return controller;
    }

    it('that is withdrawn while a call waits for the cloud holds: it goes local, and that is no fault', async () => {
      const team = await stage().team();
      const { intern, cloud, local } = team;
      const holders = await occupy(team, cloud, PINNED.cloud);
      const asked = cloud.requests.length;
      const waiting = summarize(intern);
      assert.equal(statusOf(intern, 'cloud').waiting, 1);
      intern.configure(stage().settingsFor(local, { cloud: { mode: 'off', host: cloud.url } }));
      holders.abort();
      const envelope = await waiting;
      assert.deepEqual(triesOf(envelope), ['local answer']);
      assert.equal(envelope.degraded, undefined);
      assert.equal(cloud.requests.length, asked);
      const moved = (await stage().logged(intern)).filter((l) => l.kind === 'backend_fallback');
      assert.deepEqual(moved, []);
    });

    it('that is withdrawn while a call waits for the cloud alone holds: nothing is sent', async () => {
      const team = await stage().team();
      const { intern, cloud, local } = team;
      const holders = await occupy(team, cloud, PINNED.cloud);
      const asked = cloud.requests.length;
      // One that the cloud was not asked about yet.
      const waiting = failure(summarize(intern, { model: 'cloud/gpt-oss:120b' }));
      intern.configure(stage().settingsFor(local, { cloud: { mode: 'off', host: cloud.url } }));
      holders.abort();
      const error = await waiting;
      assert.equal(error.code, 'config');
      assert.match(error.message, /nothing was sent/);
      assert.equal(cloud.requests.length, asked);
    });

    for (const [model, mayAsk] of [
      ['gpt-oss:120b-cloud', false],
      ['helper', true],
    ] as const) {
      it(`that is withdrawn while ${model} waits for the local server holds`, async () => {
        const team = await signedIn('primary');
        const { intern, cloud, local } = team;
        const holders = await occupy(team, local, PINNED.local);
        const asked = [local.requests.length, cloud.requests.length] as const;
        const waiting = failure(summarize(intern, { model: `local/${model}` }));
        intern.configure(stage().settingsFor(local, { cloud: { mode: 'off', host: cloud.url } }));
        holders.abort();
        assert.equal((await waiting).code, 'config');
        const paths = local.requests.slice(asked[0]).map((r) => r.path);
        assert.deepEqual(paths, mayAsk ? ['/api/show'] : []);
        assert.equal(cloud.requests.length, asked[1]);
      });
    }

    it('that is withdrawn while a model is asked about holds', async () => {
      const { intern, cloud, local } = await stage().team();
      cloud.faults.next({ ...faults.late(1_000), match: (r) => r.path === '/api/show' });
      const before = chatsOf(cloud).length;
      const call = failure(summarize(intern, { model: 'cloud/gpt-oss:120b' }));
      await cloud.waitFor(() => cloud.requests.at(-1)?.path === '/api/show');
      intern.configure(stage().settingsFor(local, { cloud: { mode: 'off', host: cloud.url } }));
      assert.equal((await stage().finish(call)).code, 'config');
      assert.equal(chatsOf(cloud).length, before);
    });
  });

  describe('as a fallback', () => {
    it('is asked after the local server, and not before', async () => {
      const { intern, cloud, local } = await stage().team({ mode: 'fallback' });
      const asked = cloud.requests.length;
      const first = await summarize(intern);
      assert.deepEqual([first.backend, first.degraded], ['local', undefined]);
      assert.equal(cloud.requests.length, asked);

      local.faults.next(onChat(faults.status(500, 'it failed')));
      const second = await summarize(intern);
      assert.deepEqual(triesOf(second), ['local server', 'cloud answer']);
      assert.equal(second.degrade_reason, 'local_5xx');
      assert.equal(second.model, 'minimax-m3:cloud');
    });

    it('that fails as well is told together with the local failure', async () => {
      const { intern, cloud, local } = await stage().team({ mode: 'fallback' });
      local.faults.next(onChat(faults.hang()));
      cloud.faults.next(onChat(faults.status(503, 'overloaded')));
      const error = await stage().finish(failure(summarize(intern)));
      assert.equal(error.code, 'server');
      assert.match(error.message, /^Ollama Cloud .* Before that: hermes3:8b did not answer within/);
      const line = (await stage().logged(intern)).at(-1);
      assert.equal(line?.kind, 'error');
      assert.deepEqual(
        (line?.['attempts'] as { backend: string; outcome: string }[]).map((a) => [
          a.backend,
          a.outcome,
        ]),
        [
          ['local', 'timeout'],
          ['cloud', 'server'],
        ],
      );
    });
  });

  describe('while its circuit is open', () => {
    it('is an error with a button for a model that is named to run there', async () => {
      const team = await stage().team();
      await openBreaker(team);
      const asked = team.cloud.requests.length;
      const error = await failure(summarize(team.intern, { model: PINNED.cloud }));
      assert.equal(error.code, 'unreachable');
      assert.equal(error.retryable, true);
      assert.match(error.message, /another 20 s/);
      assert.deepEqual(
        error.actions.map((a) => a.kind),
        ['retry_cloud', 'retry'],
      );
      assert.equal(team.cloud.requests.length, asked);
    });

    it('is tried by the next call when the person does not want to wait', async () => {
      const team = await stage().team();
      await openBreaker(team);
      assert.equal((await summarize(team.intern)).degrade_reason, 'circuit_open');
      team.intern.retryNow('cloud');
      assert.equal((await summarize(team.intern)).backend, 'cloud');
      assert.equal(stateOf(team.intern, 'cloud'), 'closed');
    });

    it('is tried again after its time, and left alone after one more failure', async () => {
      const team = await stage().team();
      await openBreaker(team);
      await stage().clock.advance(19_999);
      assert.equal((await summarize(team.intern)).degrade_reason, 'circuit_open');
      await stage().clock.advance(1);
      team.cloud.faults.next(onChat(faults.status(500, 'it failed')));
      assert.equal((await summarize(team.intern)).degrade_reason, 'cloud_5xx');
      assert.equal((await summarize(team.intern)).degrade_reason, 'circuit_open');
    });

    it('is not so for another window', async () => {
      const team = await stage().team();
      const other = stage().hire(
        team.local,
        { cloud: { mode: 'primary', host: team.cloud.url } },
        { cloudKeys: () => Promise.resolve(CLOUD_KEY) },
      );
      await openBreaker(team);
      assert.equal(stateOf(other, 'cloud'), 'closed');
      assert.equal((await summarize(other)).backend, 'cloud');
      assert.equal((await summarize(team.intern)).degrade_reason, 'circuit_open');
    });
  });

  describe('the test of the connection', () => {
    it('sends the word ping and nothing else', async () => {
      const { intern, cloud, local } = await stage().team({ isCold: true });
      await intern.test('cloud');
      assert.deepEqual(local.requests, []);
      assert.deepEqual(
        cloud.requests.map((r) => [r.path, r.body]),
        [
          [
            '/api/chat',
            {
              model: 'minimax-m3',
              messages: [{ role: 'user', content: 'ping' }],
              options: { num_predict: 1 },
              stream: true,
            },
          ],
        ],
      );
    });

    it('ends what was held against the cloud', async () => {
      const team = await stage().team();
      await openBreaker(team);
      await team.intern.test('cloud');
      assert.deepEqual(statusOf(team.intern, 'cloud').breaker, { state: 'closed', failures: 0 });
      assert.equal(statusOf(team.intern, 'cloud').error, undefined);
      assert.equal((await summarize(team.intern)).backend, 'cloud');

      team.cloud.keys.clear();
      await summarize(team.intern);
      assert.equal(stateOf(team.intern, 'cloud'), 'misconfigured');
      team.cloud.keys.add(CLOUD_KEY);
      await team.intern.test('cloud');
      assert.equal((await summarize(team.intern)).backend, 'cloud');
    });

    const failures: [string, Fault, string][] = [
      ['401', faults.status(401, 'unauthorized'), 'auth_failed'],
      ['500', faults.status(500, 'it failed'), 'server'],
      ['429', faults.rateLimited(5), 'server'],
      ['404', faults.status(404, "model 'minimax-m3' not found"), 'model_missing'],
      ['silence', faults.hang(), 'timeout'],
      ['reset', faults.resetAfter(0), 'unreachable'],
    ];
    for (const [name, fault, code] of failures) {
      it(`fails with what is wrong, and nobody else is asked: ${name}`, async () => {
        const { intern, cloud, local } = await stage().team({ isCold: true });
        cloud.faults.next(fault);
        const error = await stage().finish(failure(intern.test('cloud')));
        assert.equal(error.code, code);
        assert.equal(stateOf(intern, 'cloud'), code === 'auth_failed' ? 'misconfigured' : 'closed');
        assert.deepEqual(local.requests, []);
      });
    }

    it('can be cancelled', async () => {
      const { intern, cloud } = await stage().team({ isCold: true });
      cloud.faults.next(faults.hang());
      const controller = new AbortController();
      const test = failure(intern.test('cloud', controller.signal));
      const request = await cloud.waitForRequest();
      controller.abort();
      assert.equal((await test).code, 'cancelled');
      await cloud.waitFor(() => request.abortedAt);
    });

    it('says that there is no key and sends nothing', async () => {
      const { intern, cloud } = await stage().team({
        isCold: true,
        options: { cloudKeys: undefined },
      });
      assert.equal((await failure(intern.test('cloud'))).code, 'auth_failed');
      assert.deepEqual(cloud.requests, []);
    });

    it('sends nothing while the cloud is off', async () => {
      const { intern, cloud } = await stage().team({ mode: 'off', isCold: true });
      assert.equal((await failure(intern.test('cloud'))).code, 'config');
      assert.deepEqual(cloud.requests, []);
    });
  });

  describe('its permits', () => {
    it('are two: calls go first come, first served, are told their place, and local ones run beside', async () => {
      const { intern, cloud } = await stage().team({
        servers: { cloud: { tokenMs: 200 } },
        settings: { options: { numPredict: 20 } },
      });
      const before = chatsOf(cloud).length;
      const places: Phase[][] = [];
      const calls = [0, 1, 2, 3, 4].map((n) => {
        const queued: Phase[] = (places[n] = []);
        const onPhase = (p: Phase): void => void (p.phase === 'queued' && queued.push(p));
        return intern.run('summarize_fast', { text: TEXT, source: `file-${n}` }, { onPhase });
      });
      const own = () => chatsOf(cloud).slice(before);
      await cloud.waitFor(() => own().length === 2);
      assert.deepEqual(
        [statusOf(intern, 'cloud').running, statusOf(intern, 'cloud').waiting],
        [2, 3],
      );
      // The clock stands still: nobody is waited for.
      const local = await summarize(intern, { model: PINNED.local });
      assert.equal(local.queued_ms, 0);

      let most = 0;
      const isOver = Promise.all(calls);
      const watch = (): void => {
        most = Math.max(most, own().filter((r) => r.endedAt === undefined).length);
      };
      watch();
      while (own().some((r) => r.endedAt === undefined) || own().length < 5) {
        await stage().clock.advance(50);
        watch();
      }
      const envelopes = await isOver;
      assert.equal(most, 2);
      assert.deepEqual(
        own().map((r) => /file-\d/.exec(r.bodyText)?.[0]),
        ['file-0', 'file-1', 'file-2', 'file-3', 'file-4'],
      );
      const positions = places.map((p) => p.map((q) => q.phase === 'queued' && q.position));
      assert.deepEqual(positions.slice(0, 3), [[], [], [1]]);
      for (const [n, [first]] of [positions[3], positions[4]].map((p = [], n) => [n, p] as const)) {
        assert.equal(first, n + 2);
      }
      assert.equal(positions[4]?.at(-1), 1);
      const waits = envelopes.map((e) => e.queued_ms);
      assert.deepEqual(waits.slice(0, 2), [0, 0]);
      assert.ok(waits.slice(2).every((ms) => ms > 0));
      assert.deepEqual(
        waits,
        waits.toSorted((a, b) => a - b),
      );
    });
  });

  describe('its budget', () => {
    const jobs: [JobName, keyof typeof REMOTE_BUDGET_MS][] = [
      ['summarize_fast', 'instant'],
      ['draft', 'workhorse'],
      ['summarize_deep', 'deep'],
    ];
    const run = (intern: Intern, job: JobName) =>
      intern.run(job, { text: TEXT, instruction: 'Say it in one sentence.' });

    for (const [job, tier] of jobs) {
      const budget = REMOTE_BUDGET_MS[tier];

      it(`of ${tier} waits ${budget / 1000} s for the first byte: a little less is an answer`, async () => {
        const { intern, cloud } = await stage().team();
        cloud.faults.next(onChat(faults.late(budget - 1_000)));
        const envelope = await stage().finish(run(intern, job));
        assert.deepEqual(triesOf(envelope), ['cloud answer']);
      });

      it(`of ${tier} waits ${budget / 1000} s for the first byte: with a little more the call moves on`, async () => {
        const { intern, cloud } = await stage().team();
        cloud.faults.next(onChat(faults.late(budget + 1_000)));
        const envelope = await stage().finish(run(intern, job));
        assert.deepEqual(triesOf(envelope), ['cloud timeout', 'local answer']);
        assert.equal(envelope.attempts[0]?.elapsed_ms, budget);
      });
    }

    it('of a streamed answer begins anew with every token', async () => {
      const { intern } = await stage().team({
        servers: { cloud: { tokenMs: 20_000 } },
        settings: { options: { numPredict: 5 } },
      });
      const envelope = await stage().finish(summarize(intern));
      assert.deepEqual(triesOf(envelope), ['cloud answer']);
      assert.ok(envelope.elapsed_ms > 2 * REMOTE_BUDGET_MS.instant, `${envelope.elapsed_ms} ms`);
    });

    it('of an answer in one piece is its whole time', async () => {
      const cloud = await stage().serveCloud({ tokenMs: 2_000 });
      const agent = createAgent();
      stage().onEnd(() => agent.destroy());
      const client = new OllamaClient({
        baseUrl: cloud.url,
        dispatcher: agent,
        headers: () =>
          Promise.resolve({ headers: { authorization: `Bearer ${CLOUD_KEY}` }, token: CLOUD_KEY }),
      });
      const { intern } = await stage().team({ isCold: true });
      const ask = (streamed: boolean) =>
        runRemotely(
          client,
          coreClock(stage().clock),
          {
            messages: [{ role: 'user', content: `Summarize: ${TEXT}` }],
            numPredict: 20,
            temperature: 0,
            streamed,
          },
          {
            model: 'minimax-m3',
            label: 'minimax-m3',
            numCtx: 8192,
            tier: intern.config.tiers.instant,
            info: {
              name: 'minimax-m3',
              capabilities: ['completion'],
              contextLength: undefined,
              parameters: undefined,
              remote: true,
            },
            budgetMs: 30_000,
            budgetSetting: 'ollamaIntern.cloud.budgets.instant',
          },
          { signal: undefined, onPhase: () => {}, onDelta: () => {} },
        );
      const { answer } = await stage().finish(ask(true));
      assert.ok(answer.output_tokens * 2 > 30, 'it has to take longer than the budget');
      const startedAt = stage().clock.now();
      const error = await stage().finish(failure(ask(false)));
      assert.equal(error.code, 'timeout');
      // It was writing all the time, but nobody saw a word of it.
      assert.match(error.message, /did not answer within 30 s/);
      assert.equal(error.details.partial, false);
      const waited = stage().clock.now() - startedAt;
      assert.ok(Math.abs(waited - 30_000) <= 500, `given up after ${waited} ms`);
    });
  });

  describe('its window', () => {
    const windows = (local: number, cloud: number): Settings => ({
      options: { contextWindow: local },
      cloud: { contextWindow: cloud },
    });
    const long = (intern: Intern, options?: RunOptions) =>
      intern.run('summarize_fast', { text: LONG_TEXT }, options);

    it('that is too small for the text is told: it is not for another one to try', async () => {
      const { intern, local, cloud } = await stage().team({ settings: windows(16_384, 1_024) });
      const asked = [chatsOf(local).length, chatsOf(cloud).length];
      const error = await failure(long(intern));
      assert.equal(error.code, 'context_overflow');
      assert.equal(error.details.num_ctx, 1_024);
      assert.deepEqual([chatsOf(local).length, chatsOf(cloud).length], asked);
      assert.equal(statusOf(intern, 'cloud').breaker.failures, 0);
    });

    it('that was large enough before the next one is not leaves the first failure to tell', async () => {
      const { intern, local, cloud } = await stage().team({ settings: windows(1_024, 32_768) });
      const asked = chatsOf(local).length;
      cloud.faults.next(onChat(faults.status(503, 'overloaded')));
      const error = await failure(long(intern));
      assert.equal(error.code, 'server');
      assert.equal(error.details.status, 503);
      assert.equal(chatsOf(local).length, asked);
      const line = (await stage().logged(intern)).at(-1);
      assert.deepEqual([line?.['backend'], (line?.['attempts'] as unknown[]).length], ['cloud', 1]);
    });

    it('decides how much is read where the answer comes from', async () => {
      const { intern, cloud } = await stage().team({ settings: windows(1_024, 32_768) });
      const first = await long(intern, { overflow: 'shorten' });
      assert.deepEqual([first.backend, first.truncated], ['cloud', undefined]);
      assert.deepEqual(first.warnings, []);
      cloud.faults.next(onChat(faults.status(503, 'overloaded')));
      const second = await stage().finish(long(intern, { overflow: 'shorten' }));
      assert.deepEqual([second.backend, second.truncated], ['local', true]);
      assert.ok((second.tokens_in ?? Infinity) < (first.tokens_in ?? 0));
      assert.match(second.warnings.join(), /Only the first part/);
    });

    it('decides so as well when it is the smaller one', async () => {
      const { intern, cloud } = await stage().team({ settings: windows(16_384, 1_024) });
      const first = await long(intern, { overflow: 'shorten' });
      assert.deepEqual([first.backend, first.truncated], ['cloud', true]);
      cloud.faults.next(onChat(faults.status(503, 'overloaded')));
      const second = await stage().finish(long(intern, { overflow: 'shorten' }));
      assert.deepEqual([second.backend, second.truncated], ['local', undefined]);
      assert.deepEqual(second.warnings, []);
    });
  });

  it('that tells nothing about its models is asked all the same', async () => {
    const { intern, cloud } = await stage().team({ isCold: true });
    cloud.faults.next({
      reply: { status: 404, body: '404 page not found' },
      match: (r) => r.path === '/api/show',
      times: Infinity,
    });
    const envelope = await summarize(intern);
    assert.deepEqual([envelope.backend, envelope.degraded], ['cloud', undefined]);
    assert.equal('think' in (chatsOf(cloud).at(-1)?.body ?? {}), false);
  });
});

/** Fails when the secret is anywhere in a value, in the hidden parts of its errors too. */
function assertWithout(secret: string, value: unknown, seen = new Set<unknown>()): void {
  if (typeof value === 'string') assert.ok(!value.includes(secret), `it is in ${value}`);
  if (typeof value !== 'object' || value === null || seen.has(value)) return;
  seen.add(value);
  if (value instanceof Map) assertWithout(secret, [...value], seen);
  for (const key of Reflect.ownKeys(value)) {
    assertWithout(secret, (value as Record<PropertyKey, unknown>)[key], seen);
  }
}
