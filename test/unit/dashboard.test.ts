import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  entryFromEnvelope,
  entryFromError,
  entryFromLine,
  recordJson,
  withHint,
} from '../../src/shared/calls';
import {
  type CallEntry,
  COMMANDS,
  EVENTS,
  MAX_CALLS,
  type ResidentModel,
  type RunningCall,
  withCall,
} from '../../src/shared/dashboard';
import { Receiver } from '../../src/shared/ipc';
import { Evictions } from '../../src/shared/residency';
import { fieldText, matches, notices, remark, spentText } from '../../webview/dashboard/calls';
import * as format from '../../webview/dashboard/format';
import { advice, expiryText, placeText, shortName } from '../../webview/dashboard/residency';
import { type DashboardState, follow } from '../../webview/dashboard/state';
import type { Attempt, Backend, Envelope } from '../../src/core/audit/envelope';
import { spentBy } from '../../src/core/audit/spent';

const NOW = Date.UTC(2026, 5, 1, 12);
const MINUTE = 60_000;
const GB = 1e9;
const NOTHING_SPENT = { queued: 0, failed: 0, loading: 0, reading: 0, writing: 0 };

const envelope = (more: Partial<Envelope> = {}): Envelope => ({
  call_id: 'c1',
  job: 'summarize_fast',
  surface: 'command',
  result: 'the answer itself',
  tier_used: 'instant',
  model: 'hermes3:8b',
  hardware_profile: 'dev',
  backend: 'local',
  tokens_in: 412,
  tokens_out: 188,
  elapsed_ms: 5_000,
  residency: null,
  attempts: [],
  queued_ms: 0,
  load_ms: 0,
  warnings: [],
  ...more,
});

const entry = (more: Partial<CallEntry> = {}): CallEntry => ({
  id: 'c1',
  at: NOW,
  job: 'summarize_fast',
  outcome: 'answer',
  spent: NOTHING_SPENT,
  record: {},
  ...more,
});

const line = (fields: Record<string, unknown>) => ({
  kind: 'call',
  ts: new Date(NOW).toISOString(),
  ...fields,
});

describe('the dashboard’s calls', () => {
  /** Every name that may occur in what is sent to the webview. */
  const ALLOWED = new Set([
    ...['call_id', 'job', 'surface', 'tier_used', 'fallback_from', 'backend', 'degraded'],
    ...['degrade_reason', 'model', 'model_requested', 'hardware_profile', 'num_ctx', 'tokens_in'],
    ...['tokens_out', 'tokens_per_second', 'elapsed_ms', 'queued_ms', 'load_ms', 'first_token_ms'],
    ...['attempts', 'residency', 'truncated', 'done_reason', 'cost_usd', 'warnings', 'outcome'],
    ...['in_vram', 'size_bytes', 'size_vram_bytes', 'evicted', 'code', 'message', 'tier'],
    ...['details', 'status', 'available', 'capability', 'prompt_tokens', 'retry_after_ms'],
    ...['partial'],
  ]);
  const SECRET = 'the prompt of somebody';

  function keysOf(value: unknown): string[] {
    if (Array.isArray(value)) return value.flatMap(keysOf);
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([key, inner]) => [key, ...keysOf(inner)]);
  }

  /** Anything at all under names of which about half are known ones. */
  const anything = fc.letrec<{ value: unknown; fields: Record<string, unknown> }>((tie) => ({
    fields: fc.dictionary(
      fc.oneof(fc.constantFrom(...ALLOWED), fc.string(), fc.constantFrom('prompt', 'result')),
      tie('value'),
      { maxKeys: 8 },
    ),
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null)),
      fc.array(tie('value'), { maxLength: 3 }),
      tie('fields'),
    ),
  }));

  it('let no field through that is not on the list, whoever wrote the line', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('call', 'error', 'timeout', 'eviction', 'other'),
        anything.fields,
        anything.fields,
        (kind, outer, inner) => {
          const made = entryFromLine(line({ ...outer, kind, tool: 'a_job', envelope: inner }));
          if (!made) return;
          assert.deepEqual(
            keysOf(made.record).filter((key) => !ALLOWED.has(key)),
            [],
          );
          let taken = false;
          const receiver = new Receiver().on(EVENTS.callFinished, () => (taken = true));
          receiver.receive(EVENTS.callFinished.with({ call: made }));
          assert.ok(taken, 'the webview refuses what was made of the line');
        },
      ),
      { numRuns: 500 },
    );
  });

  it('keep text out even where it hides below a known field', () => {
    const hidden = { prompt: SECRET, messages: [{ content: SECRET }] };
    const residency = { in_vram: true, size_bytes: 1, size_vram_bytes: 1, evicted: false };
    const answered = entryFromLine(
      line({
        ...{ tool: 'draft', prompt: SECRET },
        envelope: {
          ...{ ...envelope(), result: SECRET, ...hidden, done_reason: { text: SECRET } },
          attempts: [{ backend: 'local', model: 'm', outcome: 'answer', elapsed_ms: 1, ...hidden }],
          residency: { ...residency, ...hidden },
        },
      }),
    );
    const failed = entryFromLine(
      line({ kind: 'error', code: 'server', details: { status: 500, ...hidden }, ...hidden }),
    );
    for (const made of [answered, failed]) {
      assert.ok(made);
      assert.ok(!JSON.stringify(made).includes(SECRET));
      assert.ok(!recordJson(made).includes(SECRET));
    }
    assert.deepEqual(answered?.record.residency, residency);
    assert.deepEqual(failed?.record.details, { status: 500 });
  });

  it('carry everything of the envelope but the result', () => {
    const made = entryFromEnvelope(envelope({ truncated: true, num_ctx: 8192 }), NOW);
    const expected: Partial<Envelope> = envelope({ truncated: true, num_ctx: 8192 });
    delete expected.result;
    assert.deepEqual(made.record, expected);
    assert.deepEqual(
      [made.id, made.at, made.outcome, made.tier, made.tokens_in, made.tokens_out],
      ['c1', NOW, 'answer', 'instant', 412, 188],
    );
  });

  it('are the same from the log as from the call itself', () => {
    const logged = { ...envelope(), result: undefined };
    assert.deepEqual(
      entryFromLine(line({ tool: 'summarize_fast', envelope: logged })),
      entryFromEnvelope(envelope(), NOW),
    );
  });

  it('are made of lines that record a call, and of no others', () => {
    assert.equal(entryFromLine(line({ kind: 'eviction', model: 'm' })), undefined);
    assert.equal(entryFromLine(line({ tool: 'draft' })), undefined);
    assert.equal(entryFromLine(line({ tool: 'draft', envelope: 'text' })), undefined);
    assert.equal(entryFromLine({ kind: 'error', ts: 'no moment', tool: 'draft' }), undefined);
    const foreign = entryFromLine(line({ kind: 'timeout', tool: 'draft', elapsed_ms: 'long' }));
    assert.equal(foreign?.outcome, 'timeout');
    assert.equal(foreign?.id, `${new Date(NOW).toISOString()} draft`);
    assert.equal(foreign?.elapsed_ms, undefined);
  });

  it('that failed tell what happened and what to do', () => {
    const error = { code: 'auth_failed', message: 'No.', hint: 'Sign in.', callId: 'c9' };
    const made = entryFromError(error, 'draft', NOW);
    assert.deepEqual(
      [made.id, made.outcome, made.message, made.hint],
      ['c9', 'auth_failed', 'No.', 'Sign in.'],
    );
    assert.equal(recordJson(made).includes('Sign in.'), false);
    assert.equal(withHint(made, { hint: 'Other.' }).hint, 'Other.');
    assert.equal(entryFromError({ ...error, callId: undefined }, 'draft', NOW).id, `${NOW} draft`);
  });

  it('stand newest first, each once, and not without end', () => {
    const older = entry({ id: 'a', at: 1 });
    const newer = entry({ id: 'b', at: 2 });
    assert.deepEqual(withCall([newer], older), [newer, older]);
    const changed = { ...older, job: 'draft' };
    assert.deepEqual(withCall([newer, older], changed), [newer, changed]);
    let calls: CallEntry[] = [];
    for (let at = 0; at < MAX_CALLS + 5; at++) calls = withCall(calls, entry({ id: `${at}`, at }));
    assert.equal(calls.length, MAX_CALLS);
    assert.equal(calls[0]?.at, MAX_CALLS + 4);
  });
});

describe('the time of a call', () => {
  const ms = fc.option(fc.nat(200_000), { nil: undefined });
  const times = fc.record({
    elapsed_ms: fc.nat(200_000),
    queued_ms: ms,
    load_ms: ms,
    first_token_ms: ms,
    tokens_out: fc.option(fc.nat(5_000), { nil: undefined }),
    tokens_per_second: fc.option(fc.double({ min: 0, max: 500, noNaN: true }), { nil: undefined }),
    attempts: fc.array(
      fc.record({
        backend: fc.constant('local'),
        model: fc.constant('m'),
        outcome: fc.constantFrom('answer', 'cancelled', 'timeout', undefined),
        elapsed_ms: ms,
      }),
      { maxLength: 3 },
    ),
  });

  it('is never split into more than there is, nor into less than nothing', () => {
    fc.assert(
      fc.property(times, (record) => {
        const parts = Object.values(spentBy(record));
        assert.ok(parts.every((part) => part >= 0 && Number.isInteger(part)));
        assert.ok(parts.reduce((sum, part) => sum + part, 0) <= record.elapsed_ms);
      }),
    );
  });

  it('is split without a rest when nothing but writing can be the rest', () => {
    fc.assert(
      fc.property(times, ms, (record, first) => {
        const parts = spentBy({
          ...{ ...record, tokens_per_second: undefined },
          first_token_ms: first ?? 0,
        });
        assert.equal(
          Object.values(parts).reduce((sum, part) => sum + part, 0),
          record.elapsed_ms,
        );
      }),
    );
  });

  it('is split by what the server counted', () => {
    const attempts = [
      { backend: 'local', model: 'a', outcome: 'out_of_memory', elapsed_ms: 1_000 },
      { backend: 'local', model: 'b', outcome: 'answer', elapsed_ms: 8_500 },
    ];
    const record = { elapsed_ms: 10_000, queued_ms: 500, load_ms: 2_000, attempts };
    assert.deepEqual(
      spentBy({ ...record, first_token_ms: 1_200, tokens_out: 100, tokens_per_second: 20 }),
      { queued: 500, failed: 1_000, loading: 2_000, reading: 1_200, writing: 5_000 },
    );
    assert.deepEqual(spentBy(record), {
      ...{ queued: 500, failed: 1_000, loading: 2_000 },
      ...{ reading: 0, writing: 0 },
    });
    assert.deepEqual(spentBy({}), NOTHING_SPENT);
  });

  it('is told in words', () => {
    assert.equal(
      spentText({ ...NOTHING_SPENT, queued: 300, loading: 20_100 }),
      'queued 300 ms, loading 20.1 s',
    );
    assert.equal(spentText(NOTHING_SPENT), '');
  });
});

describe('a row of the dashboard', () => {
  it('remarks the one thing that matters most', () => {
    const said = (more: Partial<CallEntry>) => remark(entry(more))?.text;
    const loading = { ...NOTHING_SPENT, loading: 20_100 };
    assert.equal(said({}), undefined);
    assert.equal(said({ outcome: 'cancelled' }), 'cancelled');
    assert.equal(said({ outcome: 'timeout', record: { degraded: true } }), 'timeout');
    assert.equal(said({ record: { degraded: true } }), 'degraded');
    assert.equal(said({ record: { degraded: true, degrade_reason: 'no memory' } }), 'no memory');
    assert.equal(said({ record: { fallback_from: 'deep' } }), 'instead of deep');
    assert.equal(said({ record: { truncated: true, warnings: ['w'] } }), 'input shortened');
    assert.equal(said({ record: { done_reason: 'length' } }), 'cut at its limit');
    assert.equal(said({ spent: loading }), 'cold load 20.1 s');
    assert.equal(said({ record: { warnings: ['w'] } }), '1 warning');
    assert.equal(said({ record: { warnings: ['w', 'x'] } }), '2 warnings');
  });

  it('says in words why an answer is degraded, in the list and in its details', () => {
    const attempt = (backend: Backend, outcome: Attempt['outcome']) => ({
      ...{ backend, model: backend === 'cloud' ? 'minimax-m3:cloud' : 'hermes3:8b' },
      ...{ outcome, elapsed_ms: 900 },
    });
    const made = entryFromEnvelope(
      envelope({
        degraded: true,
        degrade_reason: 'cloud_rate_limited',
        attempts: [attempt('cloud', 'server'), attempt('local', 'answer')],
        warnings: ['A warning.'],
      }),
      NOW,
    );
    assert.equal(remark(made)?.text, 'cloud rate limited');
    assert.deepEqual(notices(made), [
      'Ollama Cloud refused the call because of a limit, so your own Ollama answered.',
      'A warning.',
    ]);
    assert.equal(made.spent.failed, 900);
    assert.equal(
      fieldText('attempts', made.record.attempts),
      'cloud/minimax-m3:cloud: server, 900 ms\nlocal/hermes3:8b: answer, 900 ms',
    );
    assert.ok(matches(made, 'rate limited'));
    assert.deepEqual(notices(entry()), []);
  });

  it('takes the record of an answer from the cloud and from a gateway', () => {
    for (const backend of ['cloud', 'gateway'] as const) {
      const made = entryFromEnvelope(envelope({ backend, model: 'm' }), NOW);
      let taken: string | undefined;
      const receiver = new Receiver().on(EVENTS.callFinished, ({ call }) => (taken = call.backend));
      receiver.receive(EVENTS.callFinished.with({ call: made }));
      assert.equal(taken, backend);
    }
  });

  it('is found by all words of the filter, in any case and order', () => {
    const call = entry({ tier: 'instant', backend: 'local', model: 'Hermes3:8b' });
    assert.ok(matches(call, ''));
    assert.ok(matches(call, '  '));
    assert.ok(matches(call, 'HERMES summarize'));
    assert.ok(!matches(call, 'hermes draft'));
    assert.ok(!matches(call, 'failed'));
    assert.ok(matches(entry({ outcome: 'timeout' }), 'failed'));
    assert.ok(!matches(entry({ outcome: 'cancelled' }), 'failed'));
    assert.ok(matches(entry({ record: { truncated: true } }), 'shortened'));
  });

  it('shows every kind of field', () => {
    const attempt = { backend: 'local', model: 'm:8b', outcome: 'timeout', elapsed_ms: 1_500 };
    const shown: [string, unknown, string][] = [
      ['residency', null, 'unknown'],
      ['elapsed_ms', 5_100, '5.1 s'],
      ['size_bytes', 6.6e9, '6.60 GB'],
      ['cost_usd', 0, '$0'],
      ['tokens_in', 9204, '9,204'],
      ['truncated', true, 'yes'],
      ['degraded', false, 'no'],
      ['model', 'm', 'm'],
      ['warnings', [], 'none'],
      ['available', ['a', 'b'], 'a, b'],
      ['attempts', [attempt, {}], 'local/m:8b: timeout, 1.5 s\n: unknown'],
      ['residency', { in_vram: true, size_bytes: 1e9 }, 'in_vram: yes\nsize_bytes: 1.00 GB'],
    ];
    for (const [name, value, text] of shown) assert.equal(fieldText(name, value), text, name);
  });
});

describe('numbers on the dashboard', () => {
  const table = <T>(
    name: string,
    write: (value: T) => string,
    rows: [value: T, text: string][],
  ): Mocha.Test =>
    it(name, () => {
      for (const [value, text] of rows) assert.equal(write(value), text, String(value));
    });

  table('count', format.count, [
    [undefined, '–'],
    [0, '0'],
    [9204, '9,204'],
  ]);
  table('rate', format.rate, [
    [undefined, '–'],
    [44.06, '44.1'],
  ]);
  table('took', format.took, [
    [undefined, '–'],
    [0, '0 ms'],
    [84.4, '84 ms'],
    [310, '0.3 s'],
    [59_949, '59.9 s'],
    [59_951, '1:00'],
    [125_000, '2:05'],
  ]);
  table('duration', format.duration, [
    [999.4, '999 ms'],
    [999.6, '1.0 s'],
    [5_100, '5.1 s'],
    [59_951, '1 min 0 s'],
    [125_000, '2 min 5 s'],
  ]);
  table('elapsed', format.elapsed, [
    [-20, '0 s'],
    [9_999, '9 s'],
    [59_999, '59 s'],
    [65_999, '1:05'],
  ]);
  table('clock', format.clock, [
    [-1, '0:00'],
    [252_000, '4:12'],
    [3_729_000, '1:02:09'],
  ]);
  table('ago', format.ago, [
    [-5, 'just now'],
    [59_000, 'just now'],
    [4 * MINUTE, '4 min ago'],
  ]);
  table('gigabytes', format.gigabytes, [[6.64e9, '6.6']]);

  it('name the day only when it is not today', () => {
    const noon = new Date(2026, 5, 1, 12, 3, 4).getTime();
    assert.equal(format.when(noon, format.dayOf(noon)), '12:03:04');
    assert.equal(format.when(noon, format.dayOf(noon + 24 * 60 * MINUTE)), '1 Jun, 12:03');
    assert.equal(format.fullMoment(noon), '1 Jun 2026, 12:03:04');
  });

  it('never say 60 seconds', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 8e6, noNaN: true }), (ms) => {
        for (const write of [format.took, format.duration, format.elapsed]) {
          assert.doesNotMatch(write(ms), /(^|\D)60(\.\d)? s|:60|1000 ms/);
        }
      }),
    );
  });
});

describe('models in memory', () => {
  const resident = (name: string, more: Partial<ResidentModel> = {}): ResidentModel => ({
    ...{ name, size: 6 * GB, size_vram: 6 * GB, expires_at: NOW + 5 * MINUTE },
    ...more,
  });
  const names = (evicted: { name: string }[]): string[] => evicted.map(({ name }) => name);

  it('that are gone before their time were pushed out', () => {
    const evictions = new Evictions();
    assert.deepEqual(evictions.look([resident('a'), resident('b')], NOW), []);
    assert.deepEqual(evictions.look([resident('b')], NOW + 1_000), [
      { name: 'a', at: NOW + 1_000 },
    ]);
    assert.deepEqual(names(evictions.look([resident('A:latest')], NOW + 2_000)), ['b']);
  });

  it('that were due to be unloaded were not pushed out', () => {
    const evictions = new Evictions();
    evictions.look([resident('a')], NOW);
    assert.deepEqual(evictions.look([], NOW + 5 * MINUTE - 1_000), []);
    evictions.look([resident('kept', { expires_at: undefined })], NOW);
    assert.deepEqual(names(evictions.look([], NOW + 60 * MINUTE)), ['kept']);
  });

  it('are news for a quarter of an hour', () => {
    const evictions = new Evictions();
    evictions.learn([
      line({ kind: 'eviction', model: 'old', ts: new Date(NOW - 16 * MINUTE).toISOString() }),
      line({ kind: 'eviction', model: 'late', ts: new Date(NOW - 2 * MINUTE).toISOString() }),
      line({ kind: 'eviction', model: 'later' }),
      line({ kind: 'eviction', model: 7 }),
      line({ kind: 'call', model: 'other' }),
    ]);
    assert.deepEqual(names(evictions.look([], NOW)), ['later', 'late']);
    assert.deepEqual(names(evictions.look([], NOW + 14 * MINUTE)), ['later']);
    assert.deepEqual(evictions.look([], NOW + 16 * MINUTE), []);
  });

  it('of another server are not looked for', () => {
    const evictions = new Evictions();
    evictions.look([resident('a')], NOW);
    evictions.reset();
    assert.deepEqual(evictions.look([], NOW + 1), []);
  });

  it('are told where they are and for how long', () => {
    assert.equal(placeText(resident('a')), '6.0 GB, all in VRAM');
    assert.equal(placeText(resident('a', { size_vram: 0 })), '6.0 GB, on the CPU');
    assert.equal(placeText(resident('a', { size_vram: 4 * GB })), '4.0 of 6.0 GB in VRAM');
    assert.equal(expiryText(undefined, NOW), '');
    assert.equal(expiryText(NOW + 252_000, NOW), 'expires in 4:12');
    assert.equal(expiryText(NOW - 1, NOW), 'expiring');
    assert.equal(expiryText(Date.UTC(2318, 0), NOW), 'kept loaded');
    assert.equal(shortName('nomic-embed-text:latest'), 'nomic-embed-text');
    assert.equal(shortName('latest:8b'), 'latest:8b');
  });

  it('give rise to advice only when something is wrong', () => {
    const text = (...args: Parameters<typeof advice>) => advice(...args).map((one) => one.text);
    assert.deepEqual(text([resident('a')], []), []);
    assert.match(text([resident('a', { size_vram: 0 })], [])[0] ?? '', /has a GPU, restart Ollama/);
    assert.match(
      text([resident('a', { size_vram: 0 }), resident('b')], [])[0] ?? '',
      /beside other models: set OLLAMA_MAX_LOADED_MODELS=1/,
    );
    assert.match(
      text([resident('a', { size_vram: 4 * GB })], [])[0] ?? '',
      /has 2\.0 GB in RAM.*smaller window or a smaller model/,
    );
    assert.match(text([resident('a', { size_vram: 6 * GB - 1 })], [])[0] ?? '', /has 0\.1 GB/);
    const evicted = [
      { name: 'c:latest', at: NOW },
      { name: 'd', at: NOW - 1 },
    ];
    assert.equal(advice([], evicted)[0]?.model, 'c, d');
    assert.match(text([], evicted)[0] ?? '', /^were pushed out/);
    assert.match(text([], evicted.slice(1))[0] ?? '', /^was pushed out/);
  });
});

describe('the dashboard’s state', () => {
  let state: DashboardState | undefined;
  let receiver: Receiver;
  const read = (): DashboardState | undefined => state;

  beforeEach(() => {
    state = undefined;
    receiver = follow(read, (next) => (state = next));
  });

  const status = { host: '127.0.0.1:11434', profile: 'dev', problems: [] };
  const running = (call_id: string): RunningCall => ({
    ...{ call_id, job: 'draft', model: 'm', started_at: NOW, phase: 'queued', text: 'waiting' },
  });
  const snapshot = () =>
    EVENTS.snapshot.with({
      now: Date.now() + MINUTE,
      status,
      residency: { state: 'asking' },
      running: [running('r1')],
      calls: [entry()],
    });

  it('begins with a snapshot', () => {
    receiver.receive(EVENTS.callStarted.with({ call: running('early') }));
    assert.equal(read(), undefined);
    assert.ok(receiver.receive(snapshot()));
    assert.deepEqual(state?.running, [running('r1')]);
    assert.ok(Math.abs((state?.ahead ?? 0) - MINUTE) < 5_000);
  });

  it('follows a call from its start to its end', () => {
    receiver.receive(snapshot());
    receiver.receive(EVENTS.callStarted.with({ call: running('r2') }));
    receiver.receive(EVENTS.callStarted.with({ call: running('r2') }));
    receiver.receive(EVENTS.callPhase.with({ call_id: 'r2', phase: 'loading', text: 'loading' }));
    assert.deepEqual(
      state?.running.map(({ call_id, phase }) => [call_id, phase]),
      [
        ['r1', 'queued'],
        ['r2', 'loading'],
      ],
    );
    receiver.receive(EVENTS.callFinished.with({ call: entry({ id: 'r2', at: NOW + 2 }) }));
    receiver.receive(EVENTS.callFailed.with({ call: entry({ id: 'r1', at: NOW + 1 }) }));
    assert.deepEqual(state?.running, []);
    assert.deepEqual(
      state?.calls.map(({ id }) => id),
      ['r2', 'r1', 'c1'],
    );
    receiver.receive(EVENTS.callPhase.with({ call_id: 'r2', phase: 'writing', text: 'late' }));
    assert.deepEqual(state?.running, []);
  });

  it('takes in what changed about the server', () => {
    receiver.receive(snapshot());
    const residency = {
      ...{ state: 'failed' as const, code: 'unreachable', message: 'No.', hint: 'Start it.' },
      ...{ startable: true, setting: 'ollamaIntern.host' },
    };
    receiver.receive(EVENTS.residencyChanged.with({ residency }));
    receiver.receive(EVENTS.statusChanged.with({ status: { ...status, profile: 'other' } }));
    assert.deepEqual(state?.residency, residency);
    assert.equal(state?.status.profile, 'other');
    assert.equal(state?.calls.length, 1);
  });

  it('is not touched by a message that is not understood', () => {
    receiver.receive(snapshot());
    const before = state;
    fc.assert(
      fc.property(fc.anything(), (message) => assert.equal(receiver.receive(message), false)),
    );
    assert.equal(receiver.receive({ name: 'call/started', params: { call: {} } }), false);
    assert.equal(receiver.receive(COMMANDS.ready.with({})), false);
    assert.equal(state, before);
  });
});
