/** What has to hold, whatever goes wrong. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Attempt, type Envelope, InternError, JOBS, type LogLine } from '../../../src/core';
import { cloudBaseName, isCloudName, sameModel } from '../../../src/core/ollama/names';
import { REMOTE_BUDGET_MS } from '../../../src/core/routing/cloud';
import { allowanceBySize } from '../../../src/core/routing/loads';
import { LOCAL_BUDGET_MS } from '../../../src/core/routing/tiers';
import { CLOUD_KEY } from '../ollama/cloud';
import { resultOf } from '../streamed';
import { type CallPlan, CLOUD_MODEL, type Schedule, type Side, SMALL } from './plan';
import { type Arrival, endOf, openSockets, type Seen, turn, World } from './world';

/** The longest that the core waits for a short question, and for a resident model's sign of life. */
const QUESTION_MS = 10_000;
const SIGN_OF_LIFE_MS = 1_000;
/** Before that a load is not shown. */
const UNSEEN_LOAD_MS = 300;
/** Bytes travel in no time, but not quite. */
const SLACK_MS = 5_000;
/** More targets than any route has. */
const MOST_TARGETS = 6;
/** More models than any schedule asks the cloud about. */
const MOST_CLOUD_MODELS = 6;
const MOST_TURNS = 2_000;

/** Plays a schedule and holds everything to the rules. */
export async function survives(schedule: Schedule): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'intern-faults-'));
  const world = new World(schedule, folder);
  try {
    await world.open();
    await world.play();
    checkNothingLeft(world);
    await world.calm();
    await checkIdle(world);
    const played = [...world.calls];
    await checkPermits(world, `local/${SMALL}`);
    await checkPermits(world, `cloud/${CLOUD_MODEL}`);
    checkNothingLeft(world);
    const log = await logOf(world);
    for (const call of world.calls) {
      checkEnd(call, world);
      checkCancel(call);
      const line = checkLog(call, log);
      const attempts = (line['attempts'] ?? call.envelope?.attempts ?? []) as Attempt[];
      checkAttempts(call, attempts, world);
      checkShown(call, world);
      if (call.envelope) checkDegraded(call, call.envelope, log);
      if (!played.includes(call)) continue;
      checkBound(call, attempts, world);
      if (played.length === 1) checkPatience(call, attempts, world);
    }
    checkBreakers(log);
    checkWhatArrived(world);
    assert.deepEqual(world.problems, []);
    await world.intern.dispose();
    await checkSockets(world);
    return world;
  } finally {
    await world.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function checkEnd(call: Seen, world: World): void {
  const { plan, envelope, error } = call;
  assert.ok(call.endedAt !== undefined, 'it did not end');
  assert.match(call.callId, /^call_/);
  assert.deepEqual(call.late, [], 'it was spoken of after its end');
  if (envelope) {
    assert.equal(error, undefined);
    assert.equal(envelope.call_id, call.callId);
    if (plan.streamed) {
      const shown = resultOf(plan.job, call.text, world.inputOf(call), envelope);
      assert.deepEqual(envelope.result, shown, 'the answer is not what was streamed');
    }
    return;
  }
  assert.ok(error instanceof InternError, `not an InternError: ${String(error)}`);
  assert.equal(error.callId, call.callId);
  assert.doesNotMatch(error.message, /unexpected went wrong/, String(error.cause));
  if (error.code === 'cancelled') {
    assert.ok(call.cancelledAt !== undefined, 'nobody cancelled it');
  } else if (plan.streamed) {
    assert.equal(error.details.partial ?? false, call.text !== '', `partial: ${error.message}`);
  }
}

/** Stop means stop: not a moment passes. */
function checkCancel(call: Seen): void {
  if (call.cancelledAt === undefined) return;
  assert.equal(call.endedAt, call.cancelledAt, 'it went on after it was cancelled');
}

function checkLog(call: Seen, log: LogLine[]): LogLine {
  const own = log.filter(
    (line) =>
      ['call', 'error', 'timeout'].includes(line.kind) &&
      ((line['envelope'] as Envelope | undefined)?.call_id ?? line['call_id']) === call.callId,
  );
  assert.equal(own.length, 1, `${own.length} lines in the log`);
  const [line] = own as [LogLine];
  const code = call.error instanceof InternError ? call.error.code : undefined;
  assert.equal(line.kind, call.envelope ? 'call' : code === 'timeout' ? 'timeout' : 'error');
  assert.equal(line['code'], code);
  return line;
}

// --- attempts -----------------------------------------------------------------------------------

/** The prompts of a call that arrived, in order; what the local server passed on counts as its own. */
function promptsOf({ number }: Seen, world: World): Arrival[] {
  return world.arrivals.filter(
    (a) => a.call === number && a.request.path === '/api/chat' && isFromUs(a),
  );
}

function isFromUs({ side, request }: Arrival): boolean {
  return side === 'local' || request.headers.authorization?.startsWith('Bearer ') === true;
}

function isOf({ side, request }: Arrival, { backend, model }: Attempt): boolean {
  if (side === 'cloud') return backend === 'cloud' && request.body.model === cloudBaseName(model);
  const ranIn = isCloudName(request.body.model) ? 'cloud' : 'local';
  return backend === ranIn && sameModel(request.body.model, model);
}

/** Every prompt that arrived is one of the attempts, in their order; the answer is the last of both. */
function checkAttempts(call: Seen, attempts: Attempt[], world: World): void {
  const prompts = promptsOf(call, world);
  let before = attempts.length;
  for (const prompt of prompts.toReversed()) {
    const { model } = prompt.request.body;
    if (call.envelope && before === attempts.length) {
      assert.ok(isOf(prompt, attempts.at(-1) as Attempt), 'the last request gave no answer');
    }
    before = attempts.findLastIndex((attempt, i) => i < before && isOf(prompt, attempt));
    assert.ok(before >= 0, `${model} was asked (${prompt.side}), but: ${JSON.stringify(attempts)}`);
  }
  const answers = attempts.filter(({ outcome }) => outcome === 'answer');
  assert.equal(answers.length, call.envelope ? 1 : 0, 'answers among the attempts');
  if (!call.envelope) return;
  const last = attempts.at(-1) as Attempt;
  assert.equal(last.outcome, 'answer');
  assert.equal(last.backend, call.envelope.backend);
  assert.equal(last.model, call.envelope.model);
  assert.ok(prompts.at(-1)?.request.endedAt !== undefined, 'an answer without an end');
}

/** What was shown is one server's answer to one request, or its beginning. */
function checkShown(call: Seen, world: World): void {
  if (call.text === '') return;
  const said = world.said.filter((s) => s.call === call.number && s.text.startsWith(call.text));
  assert.ok(said.length > 0, `no server said ${JSON.stringify(call.text)}`);
  const whole = said.some(({ text }) => text === call.text);
  assert.ok(!call.envelope || whole, 'the answer was not said in one piece');
}

const REASONS: Partial<Record<Attempt['outcome'], string[]>> = {
  timeout: ['timeout'],
  unreachable: ['unreachable'],
  auth_failed: ['auth_failed'],
  out_of_memory: ['5xx'],
  server: ['5xx', 'rate_limited'],
};

/** A worse place is never silent, and the reason is what happened to the first one. */
function checkDegraded(call: Seen, envelope: Envelope, log: LogLine[]): void {
  const { plan, modes } = call;
  const moves = log.filter((l) => l.kind === 'backend_fallback' && l['call_id'] === call.callId);
  const lesser = log.filter((l) => l.kind === 'fallback' && l['call_id'] === call.callId);
  assert.equal(envelope.fallback_from !== undefined, lesser.length > 0, 'tier fallback');
  assert.equal(envelope.degraded === true, envelope.degrade_reason !== undefined);
  const named = plan.model?.startsWith('cloud/') || plan.model?.startsWith('local/');
  const first = isCloudName(plan.model ?? '') || modes.has('primary') ? 'cloud' : 'local';
  if (envelope.degraded) {
    assert.ok(!named, 'a model that was named alone was replaced');
    assert.ok(moves.length > 0, 'it moved without a word in the log');
    const failed = envelope.attempts[0] as Attempt;
    const reasons = ['circuit_open', 'local_auth_failed', 'cloud_auth_failed'].concat(
      (REASONS[failed.outcome] ?? []).flatMap((r) => [`local_${r}`, `cloud_${r}`]),
    );
    const reason = envelope.degrade_reason as string;
    assert.ok(reasons.includes(reason), `${reason}: ${JSON.stringify(envelope.attempts)}`);
  } else if (modes.size === 1 && !named) {
    assert.equal(envelope.backend, first, 'it came from another place in silence');
    if (plan.model && !modes.has('primary')) assert.ok(sameModel(envelope.model, plan.model));
  }
  if (named) {
    const [backend, model = ''] = (plan.model as string).split(/\/(.*)/s);
    assert.equal(envelope.backend, backend);
    assert.ok(sameModel(envelope.model, model), `${envelope.model} instead of ${model}`);
  }
}

/** The log tells every change of a breaker, without a gap. */
function checkBreakers(log: LogLine[]): void {
  for (const side of ['local', 'cloud']) {
    const changes = log.filter((l) => l.kind === 'breaker' && l['backend'] === side);
    const before = ['closed', ...changes.map((l) => l['to'])];
    changes.forEach((l, i) => assert.equal(l['from'], before[i], `the breaker of ${side}`));
  }
}

// --- what the servers saw -----------------------------------------------------------------------

/** Anybody may ask for these, and a key is sent with them all the same. */
function checkWhatArrived({ arrivals, mostConcurrent }: World): void {
  const probes: Arrival[] = [];
  for (const arrival of arrivals) {
    const { side, request, modes, keys, breaker } = arrival;
    const where = `${request.path} ${request.body.model ?? ''}`;
    if (!isFromUs(arrival)) continue;
    if (side === 'local') {
      assert.equal(request.headers.authorization, undefined, 'the key went elsewhere');
      if (!isCloudName(request.body.model ?? '')) continue;
      assert.ok(modes.some(isOn), `${where} went through the local server without consent`);
      continue;
    }
    assert.ok(modes.some(isOn), `${where} reached the cloud without consent`);
    const key = request.headers.authorization?.replace('Bearer ', '');
    assert.ok(
      key !== undefined && keys.includes(key),
      `${where} reached the cloud without its key`,
    );
    if (request.path !== '/api/chat' || arrival.call === undefined) continue;
    assert.ok(
      breaker.some((state) => state === 'closed' || state === 'half_open'),
      `${where} reached the cloud while its breaker was ${breaker[0]}`,
    );
    if (breaker.length === 1 && breaker[0] === 'half_open') probes.push(arrival);
  }
  assert.ok(mostAtOnce(probes) <= 1, 'two probes at once');
  for (const side of ['local', 'cloud'] as const) {
    const prompts = arrivals.filter(
      (a) => a.side === side && a.call !== undefined && a.request.path === '/api/chat',
    );
    const most = mostAtOnce(prompts.filter(isFromUs));
    assert.ok(most <= mostConcurrent, `${most} calls at once on ${side}, not ${mostConcurrent}`);
  }
}

function isOn(mode: string): boolean {
  return mode !== 'off';
}

function mostAtOnce(arrivals: Arrival[]): number {
  const counts = arrivals.map(
    ({ request: own }) =>
      arrivals.filter(
        ({ request: r }) => r.startedAt <= own.startedAt && (endOf(r) ?? Infinity) > own.startedAt,
      ).length,
  );
  return Math.max(0, ...counts);
}

// --- time ---------------------------------------------------------------------------------------

/** How long a call may take by itself: what it asks, loads, waits for and streams, in each of its attempts. */
function ownBound(call: Seen, attempts: Attempt[], world: World): number {
  const { schedule } = world;
  const lineMs = Math.max(0, ...schedule.faults.map(({ fault }) => fault.lineDelayMs ?? 0));
  const pieces = call.plan.streamed ? call.deltas : 200;
  const writing = (pieces + 3) * (schedule.tokenMs + lineMs);
  // What each target can do, and what exists when it is missing.
  const questions = 2 * MOST_TARGETS * QUESTION_MS;
  const tried: Side[] = attempts.length > 0 ? attempts.map(sideOf) : ['local'];
  const sum = tried.reduce((all, side) => all + attemptBound(side, call, world), 0);
  const silence = budgetOf(tried.at(-1) as Side, call);
  return questions + schedule.keyMs + sum + writing + silence + slept(call, world) + SLACK_MS;
}

function attemptBound(side: Side, call: Seen, world: World): number {
  const budget = budgetOf(side, call);
  if (side === 'cloud') return budget;
  const loading = call.phases.has('loading') ? mostLoad(world) : UNSEEN_LOAD_MS + SIGN_OF_LIFE_MS;
  // What is in memory is asked too. Twice: a model that was taken for resident may have to be loaded again.
  return QUESTION_MS + 2 * (loading + budget) + SIGN_OF_LIFE_MS;
}

function budgetOf(side: Side, { plan }: Seen): number {
  const { tier } = JOBS[plan.job];
  return side === 'cloud' ? REMOTE_BUDGET_MS[tier] : LOCAL_BUDGET_MS[tier];
}

function sideOf({ backend }: Attempt): Side {
  return backend === 'cloud' ? 'cloud' : 'local';
}

function mostLoad(world: World): number {
  return Math.max(allowanceBySize(15e9), 30_000, 4 * world.longestLoad);
}

/** Whoever sleeps gets the time that was running once more. */
function slept(call: Seen, world: World): number {
  const once = Math.max(mostLoad(world), budgetOf('cloud', call));
  return sleepsDuring(call, world).reduce((sum, { ms }) => sum + ms + once, 0);
}

function sleepsDuring({ startedAt, endedAt = Infinity }: Seen, { sleeps }: World) {
  return sleeps.filter(({ at }) => at >= startedAt && at <= endedAt);
}

/** A call waits for calls of ours and for nothing else: the time in which there were others does not count. */
function waited(call: Seen, all: Seen[]): number {
  const [from, to] = [call.startedAt, call.endedAt ?? Infinity];
  const others = all
    .filter((other) => other !== call)
    .map((o): [number, number] => [Math.max(from, o.startedAt), Math.min(to, o.endedAt ?? to)])
    .sort((a, b) => a[0] - b[0]);
  let sum = 0;
  let covered = from;
  for (const [start, end] of others) {
    sum += Math.max(0, end - Math.max(start, covered));
    covered = Math.max(covered, end);
  }
  return sum;
}

function checkBound(call: Seen, attempts: Attempt[], world: World): void {
  const took = (call.endedAt ?? Infinity) - call.startedAt;
  const bound = ownBound(call, attempts, world) + waited(call, world.calls);
  assert.ok(took <= bound, `it took ${took} ms, more than ${bound} ms`);
}

/** Nobody is given up before his time, and time that was slept through is not his. Naps are not noticed. */
function checkPatience(call: Seen, attempts: Attempt[], world: World): void {
  const [only, ...others] = attempts;
  const sleeps = sleepsDuring(call, world);
  const longest = Math.max(mostLoad(world), budgetOf('cloud', call));
  if (only?.outcome !== 'timeout' || others.length > 0) return;
  if (sleeps.some(({ ms }) => ms < longest)) return;
  const awake = only.elapsed_ms - sleeps.reduce((sum, { ms }) => sum + ms, 0);
  const least = only.backend === 'local' ? LOCAL_BUDGET_MS.instant : QUESTION_MS;
  assert.ok(awake >= least, `${only.backend} had ${awake} ms`);
}

// --- what is left -------------------------------------------------------------------------------

/** Only shared questions about models may outlive the call that asked first: others may want the answer. */
function checkNothingLeft(world: World): void {
  assert.deepEqual(world.intern.running, []);
  for (const { backend, running, waiting } of world.intern.backends) {
    assert.deepEqual([running, waiting], [0, 0], `permits of ${backend}`);
  }
  const open = world.openRequests;
  const shared = open.filter((r) => r.path === '/api/show' || r.path === '/api/tags');
  const left = open.filter((r) => !shared.includes(r)).map((r) => r.path);
  assert.deepEqual(left, [], 'requests go on after all calls have ended');
  const timers = world.coreClock.pending;
  // A question to the cloud, one for each of its models, may wait for the key.
  const unsent = world.isLookingUp ? MOST_CLOUD_MODELS : 0;
  assert.ok(timers <= shared.length + unsent, `${timers} timers, ${shared.length} questions`);
}

async function checkIdle(world: World): Promise<void> {
  await world.pass(QUESTION_MS);
  assert.equal(world.coreClock.pending, 0, 'a timer is left');
  for (const server of Object.values(world.servers)) {
    await server.whenIdle();
    assert.equal(server.stats.active, 0);
    assert.equal(server.stats.queued, 0);
  }
  assert.deepEqual(world.openRequests, []);
}

/** As many calls as there are permits, and one more: exactly one has to wait, and all succeed. */
async function checkPermits(world: World, model: string): Promise<void> {
  const { limit } = world;
  const plan: CallPlan = {
    job: 'summarize_fast',
    startsAt: 0,
    cancel: undefined,
    streamed: true,
    model,
  };
  if (model.startsWith('cloud/') && world.schedule.tinyCloud) return;
  // A half-open breaker lets only one go before all.
  await world.run([plan]);
  const fresh = await world.run(Array.from({ length: limit + 1 }, () => plan));
  for (const { error } of fresh) assert.equal(error, undefined, `a fresh call: ${String(error)}`);
  const queued = fresh.filter((call) => call.phases.has('queued')).length;
  assert.equal(queued, 1, `${queued} of ${limit + 1} calls had to wait for ${limit} permits`);
  const { breaker } = world.intern.backends.find((b) => model.startsWith(b.backend)) ?? {};
  // One that was asked while the breaker was open says nothing about the half-open one.
  assert.ok(breaker?.state === 'closed' || breaker?.state === 'half_open', breaker?.state);
}

/** Those of the simulated local server to the simulated cloud are not ours: they stay until it closes. */
async function checkSockets(world: World): Promise<void> {
  if (world.arrivals.some((arrival) => !isFromUs(arrival))) return;
  const left = (): number => openSockets() - world.socketsBefore;
  for (let turns = 0; turns < MOST_TURNS && left() > 0; turns++) await turn();
  assert.ok(left() <= 0, `${left()} sockets are left`);
}

async function logOf(world: World): Promise<LogLine[]> {
  await world.intern.flush();
  const text = await readFile(world.intern.config.logPath, 'utf8');
  assert.ok(!text.includes(CLOUD_KEY), 'the key is in the log');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as LogLine);
}
