/**
 * The intern on a bad day, in real time: callers that never pause, a server on which things go wrong all the time, people
 * who cancel. Ends with a table of figures, and with exit code 1 when something leaked or a call did not end once.
 *
 *   node --expose-gc --import tsx test/soak/soak.ts --seconds 60 --seed 7
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Clock,
  createIntern,
  type Envelope,
  type Intern,
  InternError,
  type JobName,
  type LogLine,
  type Phase,
  systemClock,
} from '../../src/core';
import { type Fault, faults, type OllamaServer, startOllama } from '../support/ollama/server';

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
const RESTART_EVERY_MS = 5_000;
const DOWN_MS = 150;
const SAMPLE_EVERY_MS = 500;
/** The heap may be this much larger in the last quarter than in the first. */
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
    () => faults.rateLimited(1),
    () => faults.status(oneOf([500, 503]), 'it failed'),
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
process.on('unhandledRejection', (reason) => problems.push(`unhandled: ${String(reason)}`));
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

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

// --- the day ------------------------------------------------------------------------------------

const outcomes = new Map<string, number>();
const slowest = { ms: 0, outcome: '' };
/** Ends by call id. */
const ends = new Map<string, number>();
const starts = new Set<string>();
let restarts = 0;

function newIntern(server: OllamaServer, logPath: string, clock: Clock): Intern {
  return createIntern({
    settings: {
      host: server.url,
      logPath,
      maxConcurrent: LIMIT,
      // One model for most, so that the other one has to be loaded now and then.
      tiers: { instant: MODELS[0], workhorse: MODELS[0], deep: MODELS[1] },
      budgets: { instant: 0.4, workhorse: 0.5, deep: 0.6 },
    },
    env: {},
    clock,
  });
}

function inputOf(job: JobName): never {
  const text = TEXT.repeat(1 + below(4));
  return (job === 'draft' ? { instruction: 'Say it shorter.', text } : { text }) as never;
}

async function callOnce(intern: Intern, server: OllamaServer): Promise<string> {
  // Those for questions that are seldom asked wait for long.
  if (random() < FAULT_SHARE && server.faults.armed < MOST_ARMED) server.faults.next(anyFault());
  const job = oneOf<JobName>(['summarize_fast', 'summarize_fast', 'summarize_deep', 'draft']);
  const stop = new AbortController();
  const timer = random() < CANCEL_SHARE ? setTimeout(() => stop.abort(), below(400)) : undefined;
  const startedAt = performance.now();
  let outcome = 'answer';
  let streamed = '';
  let isOver = false;
  try {
    const envelope = await intern.run(job, inputOf(job), {
      signal: stop.signal,
      onDelta: (text) => {
        streamed += text;
        expect(!isOver, 'text came after the end of a call');
      },
      onPhase: ({ phase }: Phase) => expect(!isOver, `${phase} after the end of a call`),
    });
    expect(streamed !== '', 'an answer that was not streamed');
    ended(envelope.call_id);
  } catch (error) {
    outcome = judged(error, streamed);
  }
  isOver = true;
  clearTimeout(timer);
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const took = performance.now() - startedAt;
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

async function call(intern: Intern, server: OllamaServer, endAt: number): Promise<void> {
  while (Date.now() < endAt) {
    // Somebody who finds nobody there does not ask again at once.
    if ((await callOnce(intern, server)) === 'unreachable') await pause(50);
  }
}

async function restartNowAndThen(
  intern: Intern,
  server: OllamaServer,
  endAt: number,
): Promise<void> {
  while (Date.now() + RESTART_EVERY_MS < endAt) {
    await pause(RESTART_EVERY_MS);
    await server.stop();
    await pause(below(DOWN_MS));
    await server.start();
    restarts++;
    server.faults.clear();
    // What was remembered of the models is asked again.
    intern.models.refresh();
    // The simulator remembers every request; the soak is about the memory of the core.
    server.requests.splice(0, Math.max(0, server.requests.length - 50));
  }
}

async function sampleHeap(endAt: number): Promise<number[]> {
  const samples: number[] = [];
  while (Date.now() < endAt) {
    await pause(SAMPLE_EVERY_MS);
    globalThis.gc?.();
    samples.push(process.memoryUsage().heapUsed);
  }
  return samples;
}

// --- what has to hold ---------------------------------------------------------------------------

/** As many calls as there are permits, and one more: exactly one has to wait, and all succeed. */
async function checkPermits(intern: Intern): Promise<void> {
  let queued = 0;
  const fresh = Array.from({ length: LIMIT + 1 }, async () => {
    let waited = false;
    const onPhase = ({ phase }: Phase): void => void (waited ||= phase === 'queued');
    const { call_id } = await intern.run('summarize_fast', { text: TEXT }, { onPhase });
    ended(call_id);
    if (waited) queued++;
  });
  for (const result of await Promise.allSettled(fresh)) {
    expect(result.status === 'fulfilled', `a fresh call failed: ${JSON.stringify(result)}`);
  }
  expect(queued === 1, `${queued} of ${LIMIT + 1} calls had to wait for ${LIMIT} permits`);
}

async function checkLog(path: string): Promise<number> {
  const lines = (await readFile(path, 'utf8')).trim().split('\n');
  const logged = new Map<string, number>();
  for (const text of lines) {
    const line = JSON.parse(text) as LogLine;
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
  return lines.length;
}

function checkHeap(samples: number[]): { first: number; last: number } {
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  const first = median(samples.slice(0, quarter));
  const last = median(samples.slice(-quarter));
  if (globalThis.gc) {
    expect(last <= first * HEAP_SHARE + HEAP_SLACK, `the heap grew from ${first} to ${last}`);
  }
  return { first, last };
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'intern-soak-'));
  const logPath = join(folder, 'log.ndjson');
  const clock = new WatchedClock();
  const socketsBefore = countOf('TCPSocketWrap');
  const server = await startOllama({ tokenMs: 2, loadMs: 60, maxLoadedModels: 1 });
  const intern = newIntern(server, logPath, clock);
  intern.listen({ onCallStarted: ({ call_id }) => void starts.add(call_id) });

  const endAt = Date.now() + DURATION_MS;
  const heap = sampleHeap(endAt);
  const callers = Array.from({ length: CALLERS }, () => call(intern, server, endAt));
  await Promise.all([...callers, restartNowAndThen(intern, server, endAt)]);

  server.faults.clear();
  expect(intern.running.length === 0, `${intern.running.length} calls are still running`);
  await until(() => clock.pending === 0 && server.stats.active === 0, CALM_MS);
  expect(clock.pending === 0, `${clock.pending} timers of the core are left`);
  expect(server.stats.active === 0, `the server is busy with ${server.stats.active} requests`);
  await server.whenIdle().catch((error: unknown) => problems.push(String(error)));
  await checkPermits(intern);
  await intern.dispose();
  const logLines = await checkLog(logPath);
  // The connections have to be closed by the core, before the server takes all that are left with it.
  const sockets = (): number => countOf('TCPSocketWrap') - socketsBefore;
  await until(() => sockets() <= 0, 2_000);
  const left = sockets();
  expect(left <= 0, `${left} sockets are left`);
  await server.close();
  const figures = { ...checkHeap(await heap), logLines, left, timers: clock.pending };
  await rm(folder, { recursive: true, force: true });
  report(figures, server);
}

interface Figures {
  first: number;
  last: number;
  logLines: number;
  left: number;
  timers: number;
}

function report(figures: Figures, server: OllamaServer): void {
  const calls = starts.size;
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const rows: [string, string | number][] = [
    ['seed', SEED],
    ['calls', `${calls} (${(calls / (DURATION_MS / 1000)).toFixed(0)} a second)`],
    ...[...outcomes].sort((a, b) => b[1] - a[1]).map(([k, n]): [string, number] => [`  ${k}`, n]),
    ['server restarts', restarts],
    ['loads, evictions', `${server.stats.loads}, ${server.stats.evictions}`],
    ['requests cut by the client', server.stats.cancelled],
    ['log lines', figures.logLines],
    ['slowest call', `${(slowest.ms / 1000).toFixed(2)} s (${slowest.outcome})`],
    ['sockets, timers left', `${figures.left}, ${figures.timers}`],
    ['heap, first quarter', mib(figures.first)],
    ['heap, last quarter', `${mib(figures.last)}${globalThis.gc ? '' : ' (no --expose-gc)'}`],
    ['problems', problems.length],
  ];
  for (const [name, value] of rows) console.log(`${name.padEnd(28)}${value}`);
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
