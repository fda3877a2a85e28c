import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createIntern, type Intern } from '../../src/core';
import type { LogListener } from '../../src/core/audit/logService';
import { Rates, statusOf, tellOfLog } from '../../src/host/dashboard/live';
import {
  type BackendState,
  COMMANDS,
  EVENTS,
  type Phase,
  REQUESTS,
  type ResidencyState,
  type ResidentModel,
  type RunningCall,
  type Status,
} from '../../src/shared/dashboard';
import { Receiver, Requester, type Wire } from '../../src/shared/ipc';
import { Evictions } from '../../src/host/dashboard/evictions';
import { MemoryWatch } from '../../src/host/dashboard/memory';
import { ModelWork } from '../../src/host/dashboard/work';
import * as format from '../../webview/dashboard/format';
import { backendText, phaseText } from '../../webview/dashboard/live';
import {
  absentModels,
  advice,
  doingText,
  expiryText,
  placeText,
  shortName,
} from '../../webview/dashboard/residency';
import { type DashboardState, follow } from '../../webview/dashboard/state';

const NOW = Date.UTC(2026, 5, 1, 12);
const MINUTE = 60_000;
const GB = 1e9;

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
    [12_000_000, '3 h 20 min'],
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

  it('that were pushed out are told until they are back', () => {
    const evictions = new Evictions();
    evictions.learn(
      [
        { name: 'a', at: NOW },
        { name: 'b', at: NOW + 1 },
      ],
      NOW + 1,
    );
    assert.deepEqual(names(evictions.without([], NOW + 1_000)), ['b', 'a']);
    assert.deepEqual(names(evictions.without([resident('A:latest')], NOW + 2_000)), ['b']);
    assert.deepEqual(names(evictions.without([], NOW + 3_000)), ['b']);
    evictions.learn([{ name: 'b', at: NOW - 5 * MINUTE }], NOW);
    assert.deepEqual(evictions.without([], NOW), [{ name: 'b', at: NOW + 1 }]);
  });

  it('are news for a quarter of an hour', () => {
    const evictions = new Evictions();
    evictions.learn(
      [
        { name: 'old', at: NOW - 16 * MINUTE },
        { name: 'late', at: NOW - 2 * MINUTE },
        { name: 'later', at: NOW },
      ],
      NOW,
    );
    assert.deepEqual(names(evictions.without([], NOW)), ['later', 'late']);
    assert.deepEqual(names(evictions.without([], NOW + 14 * MINUTE)), ['later']);
    assert.deepEqual(evictions.without([], NOW + 16 * MINUTE), []);
  });

  it('of another server are forgotten', () => {
    const evictions = new Evictions();
    evictions.without([resident('b')], NOW + 1);
    evictions.learn([{ name: 'a', at: NOW }], NOW);
    evictions.reset();
    assert.deepEqual(evictions.without([], NOW + 1), []);
    evictions.learn([{ name: 'b', at: NOW }], NOW + 1);
    assert.deepEqual(names(evictions.without([], NOW + 1)), ['b'], 'it was there on the other one');
  });

  it('that were back since are no news when the log is read again', () => {
    const evictions = new Evictions();
    const logged = [{ name: 'a', at: NOW }];
    evictions.learn(logged, NOW);
    evictions.without([resident('A:latest')], NOW + MINUTE);
    evictions.without([], NOW + 2 * MINUTE);
    evictions.learn(logged, NOW + 3 * MINUTE);
    assert.deepEqual(evictions.without([], NOW + 3 * MINUTE), []);
    const again = { name: 'a', at: NOW + 4 * MINUTE };
    evictions.learn([...logged, again], NOW + 4 * MINUTE);
    assert.deepEqual(evictions.without([], NOW + 4 * MINUTE), [again]);
  });

  it('that were pushed out in the future are not told, now or for good', () => {
    const evictions = new Evictions();
    const known = { name: 'a', at: NOW };
    evictions.learn([known, { name: 'a', at: NOW + 2_000 }, { name: 'b', at: NOW + 2_000 }], NOW);
    assert.deepEqual(evictions.without([], NOW), [known]);
    evictions.without([resident('c')], NOW);
    const earlier = NOW - 60 * MINUTE;
    assert.deepEqual(evictions.without([], earlier), [], 'the clock was set back');
    evictions.learn([{ name: 'c', at: earlier }], earlier);
    assert.deepEqual(names(evictions.without([], earlier)), ['c']);
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

  it('are listed once, however the tiers spell them', async () => {
    const present = [{ name: 'hermes3:8b' }, { name: 'qwen3:latest' }];
    assert.deepEqual(absentModels(['Hermes3:8B', 'Qwen3', 'QWEN3:4b'], present), ['QWEN3:4b']);
    const tiers = { instant: 'Qwen3', workhorse: 'qwen3:latest', deep: 'local/QWEN3', embed: 'e' };
    const intern = createIntern({ settings: { tiers }, env: {} });
    assert.deepEqual(statusOf(intern, undefined, NOW).models, ['Qwen3', 'e']);
    await intern.dispose();
  });

  it('give rise to advice only when something is wrong', () => {
    const text = (...args: Parameters<typeof advice>) => advice(...args).map((one) => one.text);
    assert.deepEqual(text([resident('a')], []), []);
    assert.match(text([resident('a', { size_vram: 0 })], [])[0] ?? '', /has a GPU, restart Ollama/);
    assert.match(
      text([resident('a', { size_vram: 0 }), resident('b')], [])[0] ?? '',
      /beside other models\. Set OLLAMA_MAX_LOADED_MODELS=1/,
    );
    assert.match(
      text([resident('a', { size_vram: 4 * GB })], [])[0] ?? '',
      /a has 2\.0 GB in RAM.*smaller window or a smaller model/,
    );
    assert.match(text([resident('a', { size_vram: 6 * GB - 1 })], [])[0] ?? '', /has 0\.1 GB/);
    const evicted = [
      { name: 'c:latest', at: NOW },
      { name: 'd', at: NOW - 1 },
    ];
    assert.equal(advice([], evicted)[0]?.models, 'c, d');
    assert.match(text([], evicted)[0] ?? '', /^c, d were pushed out/);
    assert.match(text([], evicted.slice(1))[0] ?? '', /^d was pushed out/);
  });
});

describe('the look at the memory', () => {
  it('does not wait until the whole log is read, and adds what the log tells', async () => {
    const told: ResidencyState[] = [];
    const intern = { models: { resident: () => Promise.resolve([]) } } as unknown as Intern;
    const watch = new MemoryWatch(intern, (state) => told.push(state));
    const evicted = [{ name: 'a', at: Date.now() }];
    let tellLately = (_: typeof evicted): void => {};
    const begun = watch.begin(new Promise((resolve) => (tellLately = resolve)));
    await new Promise(setImmediate);
    assert.deepEqual(told, [{ state: 'known', models: [], evicted: [] }]);
    tellLately(evicted);
    await begun;
    assert.deepEqual(told.at(-1), { state: 'known', models: [], evicted });
    watch.rest();
  });

  it('goes on without the log, and not for somebody who has left', async () => {
    let looks = 0;
    const resident = () => (looks++, Promise.resolve([]));
    const watch = new MemoryWatch({ models: { resident } } as unknown as Intern, () => {});
    await watch.begin(Promise.reject(new Error('The log is closed.')));
    assert.equal(looks, 1);
    const begun = watch.begin(Promise.resolve([{ name: 'a', at: Date.now() }]));
    watch.rest();
    await begun;
    assert.equal(looks, 2);
  });
});

describe('what is done about a model', () => {
  let told: string[];
  let isShown: boolean;
  let changes: number;
  let work: ModelWork;
  beforeEach(() => {
    [told, isShown, changes] = [[], true, 0];
    work = new ModelWork({
      onChange: () => changes++,
      isShown: () => isShown,
      tell: (problem) => told.push(problem),
    });
  });
  const failing = () => Promise.reject(new Error('No room.'));

  it('is known to whichever page asks until it is over', async () => {
    let finish = (): void => {};
    const act = () => new Promise<void>((resolve) => (finish = resolve));
    const loading = work.do('Hermes3:8B', 'loading', act);
    assert.deepEqual(work.state.doing, { 'hermes3:8b': 'loading' });
    assert.equal(doingText(work.state, 'hermes3:8b'), 'loading');
    assert.equal(doingText(work.state, 'qwen3:8b'), undefined);
    await work.do('hermes3:8b', 'unloading', () => assert.fail('two things at once'));
    assert.equal(changes, 1);
    finish();
    await loading;
    assert.deepEqual([work.state.doing, changes], [{}, 2]);
  });

  it('and fails is shown by the page, also by one that was opened since', async () => {
    await work.do('m', 'loading', failing);
    assert.deepEqual([work.state.problem, told], ['No room.', []]);
    await work.do('other', 'keeping', () => Promise.resolve());
    assert.equal(work.state.problem, undefined);
    await work.do('m', 'loading', failing);
    work.forget();
    assert.equal(work.state.problem, undefined);
  });

  it('and fails while nobody looks at the dashboard is told all the same', async () => {
    isShown = false;
    await work.do('m', 'loading', failing);
    assert.deepEqual(told, ['No room.']);
    assert.deepEqual(work.state, { doing: {}, problem: undefined });
  });
});

describe('what goes on, in words', () => {
  it('tells the phase of a call', () => {
    const words: [Phase, string][] = [
      [{ phase: 'starting' }, 'starting'],
      [{ phase: 'queued', position: 1 }, 'queued, next'],
      [{ phase: 'queued', position: 3 }, 'queued, number 3'],
      [
        { phase: 'loading', model: 'm', elapsed_ms: 14_200, expected_ms: 20_000 },
        'loading, 14 s of about 20 s',
      ],
      [{ phase: 'loading', model: 'm', elapsed_ms: 0 }, 'loading, 0 s'],
      [{ phase: 'reading', model: 'm' }, 'reading the prompt'],
      [{ phase: 'writing', model: 'm', tokens: 1 }, 'writing · 1 token'],
      [
        { phase: 'writing', model: 'm', tokens: 1212, tokens_per_second: 41.04 },
        'writing · 1,212 tokens · 41.0 tok/s',
      ],
      [{ phase: 'steps', what: 'part', done: 3, total: 12 }, 'part 4 of 12'],
      [{ phase: 'steps', what: 'part', done: 12, total: 12 }, 'part 12 of 12'],
    ];
    for (const [phase, text] of words) assert.equal(phaseText(phase), text);
  });

  it('tells how a backend does, and when it is tried again', () => {
    const backend = (more: Partial<BackendState>): BackendState => ({
      ...{ backend: 'cloud', host: 'h', state: 'answers', running: 0, waiting: 0, most: 2 },
      ...more,
    });
    const text = (more: Partial<BackendState>) => backendText(backend(more), NOW).text;
    assert.equal(text({}), 'answers');
    assert.equal(text({ backend: 'local', version: '0.33.0' }), 'Ollama 0.33.0');
    assert.equal(text({ state: 'unknown' }), 'not asked yet');
    assert.equal(
      text({ state: 'open', reason: 'rate_limited', retry_at: NOW + 14_000 }),
      'rate limited · next try in 0:14',
    );
    assert.equal(
      text({ state: 'open', reason: '5xx', retry_at: NOW - 1 }),
      'server error · tried with the next call',
    );
    assert.equal(
      text({ state: 'half_open', reason: 'timeout' }),
      'timed out · tried with the next call',
    );
    assert.equal(text({ state: 'misconfigured', reason: 'auth_failed' }), 'no valid key');
    assert.equal(text({ state: 'failing', reason: 'out_of_memory' }), 'failed');
  });

  it('may run no command of the product that it has no button for', () => {
    const ran: string[] = [];
    const receiver = new Receiver().on(COMMANDS.run, ({ command }) => ran.push(command));
    for (const command of ['startServer', 'showLog', 'setServerToken', 'showDashboard']) {
      receiver.receive({ name: COMMANDS.run.name, params: { command } });
    }
    assert.deepEqual(ran, ['startServer']);
  });

  it('knows the speed of a call only from a second look', () => {
    const rates = new Rates();
    assert.equal(rates.of('a', 1, NOW), undefined);
    assert.equal(rates.of('a', 5, NOW + 100), undefined);
    assert.equal(rates.of('a', 41, NOW + 1_000), 40);
    assert.equal(rates.of('b', 41, NOW + 1_000), undefined);
    rates.forget('a');
    assert.equal(rates.of('a', 81, NOW + 2_000), undefined);
  });

  it('takes no earlier prompt of a call into its speed', () => {
    const rates = new Rates();
    const phase = (phase: Parameters<Rates['hear']>[0]['phase']) =>
      rates.hear({ call_id: 'a', phase });
    rates.of('a', 400, 0);
    phase({ phase: 'writing', model: 'm', tokens: 410 });
    assert.equal(rates.of('a', 420, 1_000), 20);
    phase({ phase: 'reading', model: 'm' });
    assert.equal(rates.of('a', 500, 60_000), undefined, 'it has just begun to write');
    assert.equal(rates.of('a', 530, 61_000), 30);
    phase(undefined);
    assert.equal(rates.of('a', 531, 62_000), undefined);
  });
});

describe('requests between the page and the extension', () => {
  /** Two ends that hear each other. */
  function connect(answer: (receiver: Receiver, post: (reply: Wire) => void) => void) {
    const sent: Wire[] = [];
    const receiver = new Receiver();
    const requester: Requester = new Requester((message) => {
      sent.push(message);
      receiver.receive(message);
    });
    answer(receiver, (reply) => requester.receive(reply));
    return { requester, sent };
  }

  it('are answered each with its own reply', async () => {
    const { requester } = connect((receiver, post) =>
      receiver.answer(REQUESTS.test, post, async ({ backend }) => {
        if (backend === 'local') await Promise.resolve();
        return { took_ms: backend === 'local' ? 1 : 2 };
      }),
    );
    const asked = (['local', 'cloud'] as const).map((b) =>
      requester.ask(REQUESTS.test, { backend: b }),
    );
    assert.deepEqual(await Promise.all(asked), [{ took_ms: 1 }, { took_ms: 2 }]);
  });

  it('are not answered by a late reply to the page before', async () => {
    const sent: number[] = [];
    const page = (): Requester => new Requester(({ id = NaN }) => sent.push(id));
    const [before, after] = [page(), page()];
    void before.ask(REQUESTS.test, { backend: 'local' });
    const asked = after.ask(REQUESTS.test, { backend: 'cloud' });
    const reply = (id: number | undefined, took: number): Wire => ({
      ...{ name: 'reply', params: { value: { took_ms: took } }, id },
    });
    assert.equal(after.receive(reply(sent[0], 1)), false);
    assert.equal(after.receive(reply(sent[1], 2)), true);
    assert.deepEqual(await asked, { took_ms: 2 });
  });

  it('fail with the words of the other side', async () => {
    const { requester } = connect((receiver, post) =>
      receiver.answer(REQUESTS.test, post, () => {
        throw new Error('Ollama cannot be reached.');
      }),
    );
    await assert.rejects(requester.ask(REQUESTS.test, { backend: 'local' }), {
      message: 'Ollama cannot be reached.',
    });
  });

  it('are refused, and replies too, when they do not fit their schema', async () => {
    const { requester } = connect((receiver, post) =>
      receiver.answer(REQUESTS.test, post, () => ({ took_ms: -1 })),
    );
    await assert.rejects(requester.ask(REQUESTS.test, { backend: 'local' }));
    let asked = 0;
    const receiver = new Receiver().answer(
      REQUESTS.setSetting,
      () => {},
      () => {
        asked++;
        return {};
      },
    );
    const write = (setting: string) =>
      receiver.receive({ id: 1, name: 'setting/write', params: { setting, value: 'x' } });
    assert.equal(write('cloud.mode'), false, 'consent is asked for elsewhere');
    assert.equal(write('host'), false);
    assert.equal(write('profile'), true);
    assert.equal(asked, 1);
  });
});

describe('changes of the log', () => {
  const log = (heard: LogListener[]) => ({
    ...{ state: { state: 'known', calls: 2, skipped: 0, more: false } as const },
    onChanged: (listener: LogListener) => {
      heard.push(listener);
      return () => {};
    },
  });

  it('are told before the reply in which a row is another call', async () => {
    const posted: Wire[] = [];
    const post = (message: Wire): void => void posted.push(message);
    const heard: LogListener[] = [];
    const told = log(heard);
    tellOfLog(told, post, () => assert.fail('it is gathered'));
    const receiver = new Receiver().answer(REQUESTS.call, post, () => {
      for (const hear of heard) hear(told.state, true);
      return null;
    });
    receiver.receive({ ...REQUESTS.call.with({ row: 1 }), id: 1 });
    await new Promise(setImmediate);
    assert.deepEqual(
      posted.map(({ name }) => name),
      ['log/changed', 'reply'],
    );
    assert.deepEqual(posted[0]?.params, { log: told.state, anew: true });
  });

  it('are gathered while there are only more calls', () => {
    const heard: LogListener[] = [];
    const told = log(heard);
    const later = new Set<() => void>();
    const posted: Wire[] = [];
    tellOfLog(
      told,
      (message) => void posted.push(message),
      (tell) => void later.add(tell),
    );
    for (const hear of [...heard, ...heard]) hear(told.state, false);
    assert.deepEqual([posted.length, later.size], [0, 1]);
    for (const tell of later) tell();
    assert.deepEqual(posted[0]?.params, { log: told.state, anew: false });
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

  const status: Status = {
    ...{ profile: 'dev', cloud_mode: 'off', backends: [], models: [], problems: [] },
  };
  const running = (call_id: string, phase: Phase = { phase: 'starting' }): RunningCall => ({
    ...{ call_id, job: 'draft', backend: 'local', model: 'm', started_at: NOW, phase },
  });
  const snapshot = () =>
    EVENTS.snapshot.with({
      now: Date.now() + MINUTE,
      status,
      residency: { state: 'asking' },
      work: { doing: {} },
      running: [running('r1')],
      log: { state: 'known', calls: 3, skipped: 0, more: false },
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
    const reading: Phase = { phase: 'reading', model: 'm' };
    receiver.receive(EVENTS.callPhase.with({ call_id: 'r2', phase: reading }));
    assert.deepEqual(state?.running, [running('r1'), running('r2', reading)]);
    receiver.receive(EVENTS.callEnded.with({ call_id: 'r2' }));
    receiver.receive(EVENTS.callEnded.with({ call_id: 'r1' }));
    assert.deepEqual(state?.running, []);
    receiver.receive(EVENTS.callPhase.with({ call_id: 'r2', phase: reading }));
    assert.deepEqual(state?.running, []);
  });

  it('counts what others have to ask again for', () => {
    receiver.receive(snapshot());
    const before = { ...(state as DashboardState) };
    const log = { ...{ state: 'known' as const, calls: 4, skipped: 0, more: false } };
    receiver.receive(EVENTS.logChanged.with({ log, anew: false }));
    assert.equal(state?.logVersion, before.logVersion + 1);
    assert.equal(state.logNumber, before.logNumber);
    receiver.receive(EVENTS.logChanged.with({ log, anew: true }));
    assert.equal(state.logNumber, before.logNumber + 1);
    receiver.receive(EVENTS.setupChanged.with({}));
    assert.equal(state.setupVersion, before.setupVersion + 1);
    // The page was hidden meanwhile, or the extension started again.
    receiver.receive(snapshot());
    assert.equal(state.logNumber, before.logNumber + 2);
  });

  it('takes in what changed about the server', () => {
    receiver.receive(snapshot());
    const residency = {
      ...{ state: 'failed' as const, code: 'unreachable', message: 'No.', hint: 'Start it.' },
      ...{ startable: true, setting: 'ollamaIntern.host' },
    };
    receiver.receive(EVENTS.residencyChanged.with({ residency }));
    receiver.receive(EVENTS.statusChanged.with({ status: { ...status, profile: 'other' } }));
    const work = { doing: { m: 'loading' as const }, problem: 'No room.' };
    receiver.receive(EVENTS.workChanged.with({ work }));
    assert.deepEqual(state?.work, work);
    assert.deepEqual(state?.residency, residency);
    assert.equal(state.status.profile, 'other');
    assert.equal(state.running.length, 1);
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
