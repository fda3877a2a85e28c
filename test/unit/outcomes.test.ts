import assert from 'node:assert/strict';
import {
  type Backend,
  type Envelope,
  envelopeLine,
  type Intern,
  type InternError,
  type LogLine,
  type Settings,
} from '../../src/core';
import { CLOUD_KEY } from '../support/ollama/cloud';
import { GATEWAY_MODEL, gatewayFaults } from '../support/gateway/server';
import { type Fault, faults, type OllamaServer } from '../support/ollama/server';
import { Stage, TEXT } from './stage';
import { failure } from './support';

/** The faults of a stream, which differ from one API to the other. */
interface Wire {
  path: string;
  errorAfter: (lines: number) => Fault;
}

const OLLAMA: Wire = {
  path: '/api/chat',
  errorAfter: (lines) => faults.errorAfter(lines, 'unexpected EOF'),
};
const OPENAI: Wire = {
  path: '/v1/chat/completions',
  errorAfter: (lines) => gatewayFaults.errorAfter(lines, 'it failed', 500),
};

/** A row of the table of outcomes. */
interface Row {
  name: string;
  /** What happens to the request of the job. */
  fault: (wire: Wire) => Fault | undefined;
  /** Whatever takes no fault. */
  arrange?: (server: OllamaServer) => Promise<void>;
  /** How many such failures open the breaker; 0: none ever does. */
  opensAfter: number;
  opensTo?: 'open' | 'misconfigured';
  /** The reason without its backend; absent: the error is told and nobody else is asked. */
  reason?: string;
  code: string;
}

const ROWS: Row[] = [
  {
    name: 'a timeout before the first byte counts and moves on',
    fault: () => faults.hang(),
    opensAfter: 3,
    reason: 'timeout',
    code: 'timeout',
  },
  {
    name: 'a 500 counts and moves on',
    fault: () => faults.status(500, 'it failed'),
    opensAfter: 3,
    reason: '5xx',
    code: 'server',
  },
  {
    name: 'a 503 counts and moves on',
    fault: () => faults.status(503, 'Server overloaded, please retry shortly (ref: 1)'),
    opensAfter: 3,
    reason: '5xx',
    code: 'server',
  },
  {
    name: 'an error line inside a 200 stream, before any text, counts as 5xx and moves on',
    fault: (wire) => wire.errorAfter(0),
    opensAfter: 3,
    reason: '5xx',
    code: 'server',
  },
  {
    name: 'a stream that ends without a word counts as 5xx and moves on',
    fault: () => faults.endAfter(0),
    opensAfter: 3,
    reason: '5xx',
    code: 'server',
  },
  {
    name: 'a web page instead of an answer counts and moves on',
    fault: () => faults.page(502),
    opensAfter: 3,
    reason: '5xx',
    code: 'server',
  },
  {
    name: 'a 429 without a time counts and moves on',
    fault: () => faults.rateLimited(),
    opensAfter: 3,
    reason: 'rate_limited',
    code: 'server',
  },
  {
    name: 'a 429 with Retry-After in seconds opens at once and moves on',
    fault: () => faults.rateLimited(90),
    opensAfter: 1,
    reason: 'rate_limited',
    code: 'server',
  },
  {
    name: 'a reset connection counts and moves on',
    fault: () => faults.resetAfter(0),
    opensAfter: 3,
    reason: 'unreachable',
    code: 'unreachable',
  },
  {
    name: 'a refused connection counts and moves on',
    fault: () => undefined,
    arrange: (server) => server.stop(),
    opensAfter: 3,
    reason: 'unreachable',
    code: 'unreachable',
  },
  {
    name: 'a 401 is sticky and moves on',
    fault: () => faults.status(401, 'unauthorized'),
    opensAfter: 1,
    opensTo: 'misconfigured',
    reason: 'auth_failed',
    code: 'auth_failed',
  },
  {
    name: 'a 403 is sticky and moves on',
    fault: () => faults.status(403, 'forbidden'),
    opensAfter: 1,
    opensTo: 'misconfigured',
    reason: 'auth_failed',
    code: 'auth_failed',
  },
  {
    name: 'a 404 of the model is told and never swapped',
    fault: () => faults.status(404, "model 'x' not found"),
    opensAfter: 0,
    code: 'model_missing',
  },
  {
    name: 'a 400 is told and does not count',
    fault: () => faults.status(400, 'invalid think value: "ultra"'),
    opensAfter: 0,
    code: 'bad_input',
  },
  {
    name: 'any other 4xx is told and does not count',
    fault: () => faults.status(418, 'I am a teapot'),
    opensAfter: 0,
    code: 'bad_input',
  },
];

interface Servers {
  local: OllamaServer;
  cloud: OllamaServer;
  gateway: OllamaServer;
}

/** The backend whose outcomes are looked at, first in its route, and the one behind it. */
const SIDES: {
  first: keyof Servers;
  then: keyof Servers;
  wire: Wire;
  settings: Settings;
}[] = [
  { first: 'cloud', then: 'local', wire: OLLAMA, settings: { cloud: { mode: 'primary' } } },
  { first: 'local', then: 'cloud', wire: OLLAMA, settings: { cloud: { mode: 'fallback' } } },
  {
    first: 'local',
    then: 'gateway',
    wire: OLLAMA,
    settings: { fallbacks: { '*': [`gateway/${GATEWAY_MODEL}`] } },
  },
  {
    first: 'gateway',
    then: 'local',
    wire: OPENAI,
    settings: {
      tiers: { instant: `gateway/${GATEWAY_MODEL}` },
      fallbacks: { [GATEWAY_MODEL]: ['local/hermes3:8b'] },
    },
  },
];

const MODELS: Record<keyof Servers, string> = {
  local: 'hermes3:8b',
  cloud: 'minimax-m3',
  gateway: GATEWAY_MODEL,
};

describe('the table of outcomes', () => {
  const stage = Stage.forEach();

  it('has a token that a gateway must not get, with the setting of its address', async () => {
    const local = await stage().serve();
    const gateway = 'http://gateway.example';
    const intern = stage().hire(local, { gateway: { host: gateway } });
    intern.setToken(gateway, 'a-token');
    const model = `gateway/${GATEWAY_MODEL}`;
    const error = await failure(intern.run('summarize_fast', { text: TEXT }, { model }));
    assert.match(error.message, /is not sent over plain HTTP/);
    const setting = 'ollamaIntern.gateway.host';
    assert.deepEqual(error.actions, [{ kind: 'open_setting', setting }]);
  });

  it('makes up no count of tokens where nobody counted them', async () => {
    const local = await stage().serve();
    const gateway = await stage().serveGateway();
    gateway.refusesStreamOptions = true;
    const intern = stage().hire(local, { gateway: { host: gateway.url } });
    const model = `gateway/${GATEWAY_MODEL}`;
    const envelope = await intern.run('summarize_fast', { text: TEXT }, { model });
    assert.deepEqual([envelope.tokens_in, envelope.tokens_out], [undefined, undefined]);
    assert.doesNotMatch(envelopeLine(envelope), /token/);
    assert.ok(!JSON.stringify((await stage().logged(intern)).at(-1)).includes('tokens_'));
  });

  for (const { first, then, wire, settings } of SIDES) {
    describe(`of the ${first}, before the ${then}`, () => {
      let servers: Servers;
      let intern: Intern;

      beforeEach(async () => {
        const local = await stage().serve();
        const cloud = await stage().serveCloud();
        const gateway = await stage().serveGateway();
        servers = { local, cloud, gateway };
        intern = stage().hire(
          local,
          {
            ...settings,
            cloud: { ...settings.cloud, host: cloud.url },
            gateway: { host: gateway.url },
          },
          { cloudKeys: () => Promise.resolve(CLOUD_KEY) },
        );
        // The models are known and loaded: what happens next happens to the job.
        await intern.run('summarize_fast', { text: TEXT });
        await intern.run('summarize_fast', { text: TEXT }, { model: `${then}/${MODELS[then]}` });
      });

      const call = (): Promise<Envelope> =>
        stage().finish(intern.run('summarize_fast', { text: TEXT }));
      const breaker = (backend: Backend) =>
        intern.backends.find((b) => b.backend === backend)?.breaker;
      const linesSince = async (before: number): Promise<LogLine[]> =>
        (await stage().logged(intern)).slice(before);

      for (const row of ROWS) {
        it(row.name, async () => {
          await row.arrange?.(servers[first]);
          const fault = row.fault(wire);
          if (fault) {
            servers[first].faults.next({
              ...fault,
              match: (r) => r.path === wire.path,
              times: Infinity,
            });
          }
          for (let failures = 1; failures <= 4; failures++) {
            const isOpen = row.opensAfter > 0 && failures > row.opensAfter;
            const before = (await stage().logged(intern)).length;
            const asked = servers[first].requests.length;
            const answered = servers[then].stats.generatedTokens;

            if (row.reason === undefined) {
              const error = await stage().finish(
                failure(intern.run('summarize_fast', { text: TEXT })),
              );
              assert.equal(error.code, row.code);
              assert.equal(servers[then].stats.generatedTokens, answered, 'it was swapped');
              const kinds = (await linesSince(before)).map((l) => l.kind);
              assert.deepEqual(kinds, ['error']);
            } else {
              const envelope = await call();
              assert.equal(envelope.backend, then);
              assert.equal(envelope.degraded, true);
              assert.equal(
                envelope.degrade_reason,
                isOpen && row.opensTo !== 'misconfigured'
                  ? 'circuit_open'
                  : `${first}_${row.reason}`,
              );
              assert.deepEqual(
                envelope.attempts.map((a) => `${a.backend} ${a.outcome}`),
                isOpen ? [`${then} answer`] : [`${first} ${row.code}`, `${then} answer`],
              );
              if (isOpen)
                assert.equal(servers[first].requests.length, asked, 'it was asked while open');
              const lines = await linesSince(before);
              assert.equal(lines.filter((l) => l.kind === 'call').length, 1);
              const moved = lines.filter((l) => l.kind === 'backend_fallback');
              assert.deepEqual(
                moved.map((l) => [l['from'], l['to'], l['reason'], l['call_id']]),
                [[first, then, envelope.degrade_reason, envelope.call_id]],
              );
            }
            const expected =
              row.opensAfter > 0 && failures >= row.opensAfter ? (row.opensTo ?? 'open') : 'closed';
            assert.equal(breaker(first)?.state, expected, `after ${failures}`);
            assert.equal(breaker(then)?.state, 'closed');
          }
        });
      }

      it('an answer resets the count', async () => {
        const fail = (): void =>
          servers[first].faults.next({
            ...faults.status(500, 'it failed'),
            match: (r) => r.path === wire.path,
          });
        for (let round = 0; round < 4; round++) {
          fail();
          await call();
          fail();
          await call();
          assert.equal(breaker(first)?.failures, 2);
          assert.equal((await call()).backend, first);
          assert.equal(breaker(first)?.failures, 0);
        }
      });

      it('a call that the caller cancels never counts, and stops the server', async () => {
        for (let i = 0; i < 4; i++) {
          const controller = new AbortController();
          servers[first].faults.next({ ...faults.hang(), match: (r) => r.path === wire.path });
          const asked = servers[first].requests.length;
          const running = failure(
            intern.run('summarize_fast', { text: TEXT }, { signal: controller.signal }),
          );
          const request = await servers[first].waitFor(() =>
            servers[first].requests.slice(asked).find((r) => r.path === wire.path),
          );
          const others = servers[then].requests.length;
          controller.abort();
          assert.equal((await running).code, 'cancelled');
          await servers[first].waitFor(() => request.abortedAt, 'the connection to close');
          assert.equal(servers[then].requests.length, others, 'another backend was asked');
          assert.equal(breaker(first)?.failures, 0);
        }
        assert.equal((await call()).backend, first);
      });

      for (const [name, fault] of [
        ['an error line', wire.errorAfter(3)],
        ['a reset', faults.resetAfter(3)],
        ['a clean end', faults.endAfter(3)],
        ['silence', faults.slow(3_600_000)],
      ] as const) {
        it(`${name} after the first token was shown counts and is told, with a retry, never spliced`, async () => {
          for (let i = 1; i <= 3; i++) {
            servers[first].faults.next({ ...fault, match: (r) => r.path === wire.path });
            const asked = servers[then].requests.length;
            let shown = '';
            const error: InternError = await stage().finish(
              failure(
                intern.run('summarize_fast', { text: TEXT }, { onDelta: (t) => (shown += t) }),
              ),
              5_000,
            );
            assert.notEqual(shown, '');
            assert.equal(error.details.partial, true);
            assert.ok(error.actions.some((a) => a.kind === 'retry'));
            assert.equal(servers[then].requests.length, asked, 'another backend was asked');
          }
          assert.equal(breaker(first)?.state, 'open');
        });
      }
    });
  }
});
