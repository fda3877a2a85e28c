/**
 * The intern on a bad day, in real time: callers that never pause, a local server and a cloud on which things go wrong
 * all the time, people who cancel, who change their mind about the cloud and whose key is revoked. Ends with a table of
 * figures, and with exit code 1 when something leaked, went where it may not, or a call did not end once.
 *
 *   npm run test:soak -- --seconds 600 --seed 7
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Clock,
  CLOUD_MODES,
  createIntern,
  type Envelope,
  type Intern,
  InternError,
  type LogLine,
  type Phase,
  type Settings,
  systemClock,
} from '../../src/core';
import { CLOUD_KEY, type CloudServer, startCloud } from '../support/ollama/cloud';
import { type Fault, faults, type OllamaServer, startOllama } from '../support/ollama/server';
import { resultOf, type StreamedJob } from '../support/streamed';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});
const DURATION_MS = Number(values.seconds) * 1000;
const SEED = Number(values.seed);

const CALLERS = 8;
const LIMIT = 3;
const FAULT_SHARE = 0.4;
const MOST_ARMED = 20;
const CANCEL_SHARE = 0.2;
const RESTART_EVERY_MS = 2_500;
const DOWN_MS = 150;
/** Somebody changes the mode of the cloud, or the key. */
const CHANGE_EVERY_MS = 700;
/** Nobody waits for a breaker: the day is too short. */
const RETRY_EVERY_MS = 400;
const SAMPLE_EVERY_MS = 500;
/** What was before has no say: the code is still being compiled. */
const WARM_UP_SHARE = 0.2;
/** Memory is flat when the last window has no more than this of the first. */
const HEAP_SHARE = 1.2;
const HEAP_SLACK = 4 * 2 ** 20;
/** What ends late (a shared question, a connection that closes) has this long. */
const CALM_MS = 11_000;
const MODELS = ['hermes3:8b', 'qwen3:8b'] as const;
const TEXT =
  'The limiter admits two calls at once.\nOthers wait in line. Waiting can be cancelled.\n';

// --- chance -------------------------------------------------------------------------------------

/** mulberry32: the same schedule again for the same seed, as far as real time allows. */
let state = SEED >>> 0;
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

function below(most: number): number {
  return Math.floor(random() * most);
}

function oneOf<T>(choices: readonly [T, ...T[]]): T {
  return choices[below(choices.length)] ?? choices[0];
}

function anyFault(): Fault {
  const make = oneOf<() => Fault>([
    () => faults.slow(below(120)),
    () => faults.late(below(600)),
    () => faults.hang(),
    () => faults.resetAfter(below(8)),
    () => faults.endAfter(below(8)),
    () => faults.runnerDiesAfter(below(8)),
    () => faults.garbageAfter(below(8)),
    () => faults.errorAfter(below(8), 'unexpected EOF'),
    () => faults.repeatGuard(),
    () => faults.chopped(1 + below(40)),
    () => faults.rateLimited(oneOf([undefined, 1])),
    () => faults.status(oneOf([500, 500, 503, 401, 403, 404]), 'it failed'),
    () => faults.page(oneOf([200, 502])),
    () => ({ load: oneOf(['fails', 'out-of-memory'] as const) }),
  ]);
  const fault = make();
  // A short question or a load may hang for long: the day would be spent waiting for it.
  const paths = ['/api/chat', '/api/chat', '/api/generate', '/api/ps', '/api/show'] as const;
  const path = fault.hang ? '/api/chat' : oneOf(paths);
  return { ...fault, match: (request) => request.path === path };
}

// --- what is watched ----------------------------------------------------------------------------

/** The core's clock, which knows the timers that the core has left. */
class WatchedClock implements Clock {
  readonly #pending = new Set<object>();

  get pending(): number {
    return this.#pending.size;
  }

  now(): number {
    return systemClock.now();
  }

  monotonic(): number {
    return systemClock.monotonic();
  }

  setTimeout(run: () => void, ms: number): { cancel(): void } {
    const entry = {};
    this.#pending.add(entry);
    const timer = systemClock.setTimeout(() => (this.#pending.delete(entry), run()), ms);
    return { cancel: () => (this.#pending.delete(entry), timer.cancel()) };
  }
}

const problems: string[] = [];
let unhandled = 0;
process.on('unhandledRejection', (reason) => {
  unhandled++;
  problems.push(`unhandled: ${String(reason)}`);
});
process.on('uncaughtException', (error) => problems.push(`uncaught: ${String(error)}`));

function expect(holds: boolean, otherwise: string): void {
  if (!holds) problems.push(otherwise);
}

function countOf(resource: string): number {
  return process.getActiveResourcesInfo().filter((name) => name === resource).length;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(look: () => boolean, mostMs: number): Promise<void> {
  for (const end = Date.now() + mostMs; !look() && Date.now() < end;) await pause(50);
}

function quantile(numbers: number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

// --- the day ------------------------------------------------------------------------------------

interface Site {
  local: OllamaServer;
  cloud: CloudServer;
  intern: Intern;
  logPath: string;
  /** Whether anything may go to the cloud now, and since when. */
  mode: string;
  modeSince: number;
}

const outcomes = new Map<string, number>();
const durations: number[] = [];
const slowest = { ms: 0, outcome: '' };
/** Ends by call id. */
const ends = new Map<string, number>();
const starts = new Set<string>();
let restarts = 0;
let changes = 0;
let breakerChanges = 0;
/** What is on its way when consent is withdrawn arrives within this. Milliseconds. */
const ON_ITS_WAY_MS = 250;

function settingsOf({ local, cloud, logPath, mode }: Omit<Site, 'intern'>): Settings {
  return {
    host: local.url,
    logPath,
    maxConcurrent: LIMIT,
    // One model for most, so that the other one has to be loaded now and then.
    tiers: { instant: MODELS[0], workhorse: MODELS[0], deep: MODELS[1] },
    budgets: { instant: 0.4, workhorse: 0.5, deep: 0.6 },
    cloud: {
      mode,
      host: cloud.url,
      model: 'minimax-m3:cloud',
      deepModel: 'gpt-oss:120b',
      budgets: { instant: 0.4, workhorse: 0.5, deep: 0.6 },
    },
  };
}

async function open(logPath: string, clock: Clock): Promise<Site> {
  const local = await startOllama({ tokenMs: 2, loadMs: 60, maxLoadedModels: 1 });
  const cloud = await startCloud({ tokenMs: 1 });
  const rest = { local, cloud, logPath, mode: 'primary', modeSince: 0 };
  const intern = createIntern({
    settings: settingsOf(rest),
    env: {},
    clock,
    cloudKeys: () => Promise.resolve(CLOUD_KEY),
  });
  const site = { ...rest, intern };
  intern.listen({
    onCallStarted: ({ call_id }) => void starts.add(call_id),
    onBackend: ({ breaker }, before) => void (breaker.state !== before.state && breakerChanges++),
  });
  watch(site);
  return site;
}

/** A fault that never strikes sees every request to the cloud when it arrives. */
function watch(site: Site): void {
  site.cloud.faults.next({
    match: ({ path, headers }) => {
      const withdrawn = site.mode === 'off' && Date.now() - site.modeSince > ON_ITS_WAY_MS;
      expect(!withdrawn, `${path} reached the cloud without consent`);
      expect(headers.authorization !== undefined, `${path} reached the cloud without a key`);
      return false;
    },
  });
}

function choose(site: Site, mode: string): void {
  if (site.mode !== mode) Object.assign(site, { mode, modeSince: Date.now() });
  site.intern.configure(settingsOf(site));
}

function inputOf(job: StreamedJob): never {
  const text = TEXT.repeat(1 + below(4));
  return (job === 'draft' ? { instruction: 'Say it shorter.', text } : { text }) as never;
}

async function callOnce({ intern, local, cloud }: Site): Promise<string> {
  const server = oneOf([local, cloud]);
  // Those for questions that are seldom asked wait for long.
  if (random() < FAULT_SHARE && server.faults.armed < MOST_ARMED) server.faults.next(anyFault());
  const job = oneOf<StreamedJob>(['summarize_fast', 'summarize_fast', 'summarize_deep', 'draft']);
  const input = inputOf(job);
  const stop = new AbortController();
  const timer = random() < CANCEL_SHARE ? setTimeout(() => stop.abort(), below(400)) : undefined;
  const startedAt = performance.now();
  let outcome: string;
  let streamed = '';
  let isOver = false;
  try {
    const envelope = await intern.run(job, input, {
      signal: stop.signal,
      onDelta: (text) => {
        streamed += text;
        expect(!isOver, 'text came after the end of a call');
      },
      onPhase: ({ phase }: Phase) => expect(!isOver, `${phase} after the end of a call`),
    });
    const shown = resultOf(job, streamed, input, envelope);
    const isWhole = JSON.stringify(shown) === JSON.stringify(envelope.result);
    expect(isWhole, `"${streamed}" was shown for ${JSON.stringify(envelope.result)}`);
    ended(envelope.call_id);
    outcome = `${envelope.backend}${envelope.degraded ? ', degraded' : ''}`;
    expect(
      envelope.attempts.at(-1)?.backend === envelope.backend,
      `${envelope.backend} is not the last of ${JSON.stringify(envelope.attempts)}`,
    );
  } catch (error) {
    outcome = judged(error, streamed);
  }
  isOver = true;
  clearTimeout(timer);
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const took = performance.now() - startedAt;
  durations.push(took);
  if (took > slowest.ms) Object.assign(slowest, { ms: took, outcome });
  return outcome;
}

function judged(error: unknown, streamed: string): string {
  if (!(error instanceof InternError)) {
    problems.push(`not an InternError: ${String(error)}`);
    return 'thrown';
  }
  ended(error.callId ?? '(no id)');
  expect(
    error.code === 'cancelled' || Boolean(error.details.partial) === (streamed !== ''),
    `partial is ${error.details.partial} after "${streamed}": ${error.message}`,
  );
  expect(!/unexpected went wrong/.test(error.message), error.message);
  return error.code;
}

function ended(callId: string): void {
  ends.set(callId, (ends.get(callId) ?? 0) + 1);
}

async function call(site: Site, endAt: number): Promise<void> {
  while (Date.now() < endAt) {
    // Somebody who finds nobody there does not ask again at once.
    if (['unreachable', 'auth_failed'].includes(await callOnce(site))) await pause(50);
  }
}

async function restartNowAndThen(site: Site, endAt: number): Promise<void> {
  while (Date.now() + RESTART_EVERY_MS < endAt) {
    await pause(RESTART_EVERY_MS);
    const server = oneOf([site.local, site.cloud]);
    await server.stop();
    await pause(below(DOWN_MS));
    await server.start();
    restarts++;
    server.faults.clear();
    if (server === site.cloud) watch(site);
    // What was remembered of the models is asked again.
    site.intern.models.refresh();
    // The simulators remember every request; the soak is about the memory of the core.
    for (const { requests } of [site.local, site.cloud]) {
      requests.splice(0, Math.max(0, requests.length - 50));
    }
  }
}

async function changeNowAndThen(site: Site, endAt: number): Promise<void> {
  const { cloud, intern } = site;
  const setKey = (key: string | undefined): void => intern.setCloudKey(cloud.url, key);
  while (Date.now() + CHANGE_EVERY_MS < endAt) {
    await pause(CHANGE_EVERY_MS);
    changes++;
    oneOf<() => void>([
      () => choose(site, oneOf(CLOUD_MODES)),
      () => choose(site, 'fallback'),
      () => cloud.keys.delete(CLOUD_KEY),
      () => setKey('a-wrong-key'),
      () => setKey(undefined),
      () => (cloud.limit = { kind: 'hourly', retryAfter: '1' }),
    ])();
    await pause(below(CHANGE_EVERY_MS));
    cloud.keys.add(CLOUD_KEY);
    cloud.limit = undefined;
    setKey(CLOUD_KEY);
  }
}

async function retryNowAndThen({ intern }: Site, endAt: number): Promise<void> {
  while (Date.now() + RETRY_EVERY_MS < endAt) {
    await pause(RETRY_EVERY_MS);
    for (const { backend } of intern.backends) intern.retryNow(backend);
  }
}

function heapNow(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

async function sampleHeap(endAt: number): Promise<number[]> {
  const samples: number[] = [];
  while (Date.now() < endAt) {
    await pause(SAMPLE_EVERY_MS);
    samples.push(heapNow());
  }
  return samples;
}

// --- what has to hold ---------------------------------------------------------------------------

/** As many calls as there are permits, and one more: exactly one has to wait, and all succeed. */
async function checkPermits({ intern }: Site, model: string): Promise<void> {
  let queued = 0;
  const fresh = Array.from({ length: LIMIT + 1 }, async () => {
    let waited = false;
    const onPhase = ({ phase }: Phase): void => void (waited ||= phase === 'queued');
    const { call_id } = await intern.run('summarize_fast', { text: TEXT }, { onPhase, model });
    ended(call_id);
    if (waited) queued++;
  });
  for (const result of await Promise.allSettled(fresh)) {
    expect(result.status === 'fulfilled', `a fresh call failed: ${JSON.stringify(result)}`);
  }
  expect(queued === 1, `${queued} of ${LIMIT + 1} calls had to wait for a permit of ${model}`);
}

interface Logged {
  lines: number;
  backendFallbacks: number;
  tierFallbacks: number;
}

async function checkLog(path: string): Promise<Logged> {
  const text = await readFile(path, 'utf8');
  expect(!text.includes(CLOUD_KEY), 'the key is in the log');
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as LogLine);
  const logged = new Map<string, number>();
  for (const line of lines) {
    if (!['call', 'error', 'timeout'].includes(line.kind)) continue;
    const id = (line['envelope'] as Envelope | undefined)?.call_id ?? String(line['call_id']);
    logged.set(id, (logged.get(id) ?? 0) + 1);
  }
  for (const id of starts) {
    expect(ends.get(id) === 1, `${id} ended ${ends.get(id) ?? 0} times`);
    expect(logged.get(id) === 1, `${id} has ${logged.get(id) ?? 0} lines in the log`);
  }
  expect(ends.size === starts.size, `${starts.size} calls began, ${ends.size} ended`);
  expect(logged.size === starts.size, `${starts.size} calls began, ${logged.size} are logged`);
  const countOfKind = (kind: string): number => lines.filter((l) => l.kind === kind).length;
  return {
    lines: lines.length,
    backendFallbacks: countOfKind('backend_fallback'),
    tierFallbacks: countOfKind('fallback'),
  };
}

interface Memory {
  first: number;
  last: number;
  peak: number;
  isFlat: boolean;
}

/** Compares the window after the warm-up with the last one. */
function judgeMemory(samples: number[]): Memory {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP_SHARE));
  const window = Math.max(1, Math.floor(warm.length / 4));
  const first = quantile(warm.slice(0, window), 0.5);
  const last = quantile(warm.slice(-window), 0.5);
  const isFlat = last <= first * HEAP_SHARE + HEAP_SLACK;
  return { first, last, peak: Math.max(...samples), isFlat };
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'intern-soak-'));
  const clock = new WatchedClock();
  const socketsBefore = countOf('TCPSocketWrap');
  const heapBefore = heapNow();
  const site = await open(join(folder, 'log.ndjson'), clock);
  const { local, cloud, intern } = site;
  const servers = [local, cloud];

  const endAt = Date.now() + DURATION_MS;
  const heap = sampleHeap(endAt);
  await Promise.all([
    ...Array.from({ length: CALLERS }, () => call(site, endAt)),
    restartNowAndThen(site, endAt),
    changeNowAndThen(site, endAt),
    retryNowAndThen(site, endAt),
  ]);

  for (const server of servers) server.faults.clear();
  watch(site);
  choose(site, 'primary');
  intern.setCloudKey(cloud.url, CLOUD_KEY);
  expect(intern.running.length === 0, `${intern.running.length} calls are still running`);
  const busy = (): number => local.stats.active + cloud.stats.active;
  await until(() => clock.pending === 0 && busy() === 0, CALM_MS);
  const timers = clock.pending;
  expect(timers === 0, `${timers} timers of the core are left`);
  expect(busy() === 0, `the servers are busy with ${busy()} requests`);
  for (const server of servers) {
    await server.whenIdle().catch((error: unknown) => problems.push(String(error)));
  }
  const permits = intern.backends.reduce((sum, b) => sum + b.running + b.waiting, 0);
  expect(permits === 0, `${permits} permits are held or waited for`);
  await checkPermits(site, `local/${MODELS[0]}`);
  await checkPermits(site, 'cloud/minimax-m3:cloud');
  await intern.dispose();
  const logged = await checkLog(site.logPath);
  // The connections have to be closed by the core, before the servers take all that are left with them.
  const sockets = (): number => countOf('TCPSocketWrap') - socketsBefore;
  await until(() => sockets() <= 0, 2_000);
  const left = sockets();
  expect(left <= 0, `${left} sockets are left`);
  const memory = judgeMemory(await heap);
  if (globalThis.gc) expect(memory.isFlat, 'the heap grew');
  const heapAfter = heapNow();
  for (const server of servers) await server.close();
  await rm(folder, { recursive: true, force: true });
  report({ logged, memory, heapBefore, heapAfter, left, timers, permits }, site);
}

interface Figures {
  logged: Logged;
  memory: Memory;
  heapBefore: number;
  heapAfter: number;
  left: number;
  timers: number;
  permits: number;
}

function report(figures: Figures, { local, cloud }: Site): void {
  const { logged, memory, heapBefore, heapAfter, left, timers, permits } = figures;
  const calls = starts.size;
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  const seconds = (ms: number): string => (ms / 1000).toFixed(2);
  const verdict = globalThis.gc ? (memory.isFlat ? 'flat' : 'it grew') : 'no --expose-gc';
  const rows: [string, string | number][] = [
    ['seed', SEED],
    ['calls', `${calls} (${(calls / (DURATION_MS / 1000)).toFixed(0)} a second)`],
    ...[...outcomes].sort((a, b) => b[1] - a[1]).map(([k, n]): [string, number] => [`  ${k}`, n]),
    ['fallbacks, backend and tier', `${logged.backendFallbacks}, ${logged.tierFallbacks}`],
    ['breaker changes', breakerChanges],
    ['restarts, changes', `${restarts}, ${changes}`],
    ['loads, evictions', `${local.stats.loads}, ${local.stats.evictions}`],
    ['requests cut by the client', local.stats.cancelled + cloud.stats.cancelled],
    ['log lines', logged.lines],
    [
      'p50, p99 of a call',
      `${seconds(quantile(durations, 0.5))} s, ${seconds(quantile(durations, 0.99))} s`,
    ],
    ['slowest call', `${seconds(slowest.ms)} s (${slowest.outcome})`],
    ['sockets, timers, permits left', `${left}, ${timers}, ${permits}`],
    ['unhandled rejections', unhandled],
    ['heap before, after, peak', `${[heapBefore, heapAfter, memory.peak].map(mib).join(', ')} MiB`],
    ['heap, first and last window', `${mib(memory.first)}, ${mib(memory.last)} MiB: ${verdict}`],
    ['problems', problems.length],
  ];
  for (const [name, value] of rows) console.log(`${name.padEnd(32)}${value}`);
  for (const [problem, times] of counted(problems).slice(0, 20))
    console.log(`${times} × ${problem}`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}

function counted(list: string[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const item of list) counts.set(item, (counts.get(item) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
