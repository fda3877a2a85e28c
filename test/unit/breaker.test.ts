/**
 * The breaker: its rules one by one, then random histories against a naive model of those rules.
 *
 *   BREAKER_RUNS=100000                so many histories instead of what fits the unit suite
 *   BREAKER_SEED=… BREAKER_PATH=…      repeats a failure: both are in its message
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Clock } from '../../src/core';
import {
  Breaker,
  type BreakerState,
  type BreakerStatus,
  type FailureReason,
  OPEN_MS,
  OPENS_AFTER,
  type Ticket,
  type Verdict,
} from '../../src/core/routing/breaker';

const RUNS = Number(process.env['BREAKER_RUNS'] ?? 0);
const SUITE_RUNS = 6000;

/** A clock that is set by hand, backwards too. The breaker has no timer. */
class HandSetClock implements Clock {
  constructor(public time = 0) {}
  now = () => assert.fail('the time of day is not for durations');
  monotonic = () => this.time;
  setTimeout = () => assert.fail('the breaker needs no timer');
}

const SUCCESS: Verdict = { kind: 'success' };
const REFUSED: Verdict = { kind: 'refused' };
/** A cancel, a 404 and a 400 are all the same to it. */
const NONE: Verdict = { kind: 'none' };
const failed = (
  reason: FailureReason = '5xx',
  more: { openForMs?: number; atOnce?: boolean } = {},
): Verdict => ({ kind: 'failure', reason, ...more });

describe('breaker', () => {
  let clock: HandSetClock;
  let breaker: Breaker;
  let changes: string[];

  beforeEach(() => {
    clock = new HandSetClock(1_000_000);
    changes = [];
    breaker = new Breaker(clock, (after, before) => changes.push(`${before.state}>${after.state}`));
  });

  const admitted = (): Ticket => breaker.admit() ?? assert.fail('it was not admitted');
  const call = (verdict: Verdict): void => breaker.settle(admitted(), verdict);
  const open = (): void => {
    for (let i = 0; i < OPENS_AFTER; i++) call(failed());
  };
  const halfOpen = (): void => {
    open();
    clock.time += OPEN_MS;
  };
  const assertState = (state: BreakerState['kind']) => assert.equal(breaker.status.state, state);

  describe('closed', () => {
    it('admits everybody', () => {
      for (let i = 0; i < 100; i++) admitted();
      assert.deepEqual(breaker.status, { state: 'closed', failures: 0 });
    });

    it('opens after three failures in a row, for twenty seconds', () => {
      call(failed('timeout'));
      call(failed('unreachable'));
      assert.deepEqual(breaker.status, { state: 'closed', failures: 2 });
      call(failed('5xx'));
      assert.deepEqual(breaker.status, {
        state: 'open',
        failures: 0,
        reason: '5xx',
        retry_in_ms: 20_000,
      });
    });

    it('begins to count again after a success', () => {
      call(failed());
      call(failed());
      call(SUCCESS);
      call(failed());
      call(failed());
      assertState('closed');
      call(failed());
      assertState('open');
    });

    it('keeps its count over a call that ends without a verdict', () => {
      call(failed());
      call(failed());
      call(NONE);
      assert.equal(breaker.status.failures, 2);
      call(failed());
      assertState('open');
    });

    it('a cancelled call never counts', () => {
      for (let i = 0; i < 100; i++) call(NONE);
      assert.deepEqual(breaker.status, { state: 'closed', failures: 0 });
    });

    it('counts failures of calls that ran at once', () => {
      const tickets = [admitted(), admitted(), admitted(), admitted()];
      for (const ticket of tickets) breaker.settle(ticket, failed());
      assert.deepEqual(changes, ['closed>open'], 'the fourth came too late to say anything');
      assert.equal(breaker.status.retry_in_ms, OPEN_MS);
    });

    it('opens at once for as long as Retry-After says', () => {
      call(failed('rate_limited', { openForMs: 90_000 }));
      assert.deepEqual(breaker.status, {
        state: 'open',
        failures: 0,
        reason: 'rate_limited',
        retry_in_ms: 90_000,
      });
      clock.time += 89_999;
      assert.equal(breaker.admit(), undefined);
      clock.time += 1;
      admitted();
    });

    it('waits no longer than a short Retry-After says', () => {
      call(failed('rate_limited', { openForMs: 500 }));
      clock.time += 500;
      admitted();
    });

    for (const openForMs of [0, -1000, NaN]) {
      it(`only counts when the time that was named is over: ${openForMs}`, () => {
        call(failed('rate_limited', { openForMs }));
        assert.deepEqual(breaker.status, { state: 'closed', failures: 1 });
        call(failed('rate_limited', { openForMs }));
        call(failed('rate_limited', { openForMs }));
        assert.equal(breaker.status.retry_in_ms, OPEN_MS);
      });
    }

    it('opens at once at a usage limit', () => {
      call(failed('rate_limited', { atOnce: true }));
      assert.deepEqual(breaker.status, {
        state: 'open',
        failures: 0,
        reason: 'rate_limited',
        retry_in_ms: OPEN_MS,
      });
    });
  });

  describe('open', () => {
    it('admits nobody before its time', () => {
      open();
      assert.equal(breaker.admit(), undefined);
      clock.time += OPEN_MS - 1;
      assert.equal(breaker.admit(), undefined);
      assert.equal(breaker.status.retry_in_ms, 1);
    });

    it('is not prolonged by those who ask', () => {
      open();
      for (let i = 0; i < 20; i++) {
        assert.equal(breaker.admit(), undefined);
        clock.time += OPEN_MS / 20;
      }
      admitted();
    });

    it('is not prolonged by failures of calls that were admitted before', () => {
      const late = admitted();
      open();
      clock.time += OPEN_MS - 1;
      breaker.settle(late, failed('timeout', { openForMs: 60_000 }));
      assert.equal(breaker.status.retry_in_ms, 1);
      assert.equal(breaker.status.reason, '5xx');
    });

    it('is not closed by a success of a call that was admitted before', () => {
      const late = admitted();
      open();
      breaker.settle(late, SUCCESS);
      assertState('open');
    });

    it('waits no longer than its time when the clock jumps back', () => {
      open();
      clock.time -= 500_000;
      assert.equal(breaker.status.retry_in_ms, OPEN_MS);
      clock.time += OPEN_MS - 1;
      assert.equal(breaker.admit(), undefined);
      clock.time += 1;
      admitted();
    });

    it('is half open for good once it was seen so, wherever the clock jumps', () => {
      halfOpen();
      assertState('half_open');
      clock.time -= OPEN_MS;
      assertState('half_open');
    });

    it('never says more than its time by rounding', () => {
      clock.time = 86_400_000.123;
      call(failed('rate_limited', { openForMs: 0.7 }));
      assert.equal(breaker.status.retry_in_ms, 0.7);
    });
  });

  describe('half open', () => {
    it('admits one probe, and everyone else passes on', () => {
      halfOpen();
      assertState('half_open');
      admitted();
      for (let i = 0; i < 10; i++) assert.equal(breaker.admit(), undefined);
      clock.time += 10 * OPEN_MS;
      assert.equal(breaker.admit(), undefined, 'a slow probe is still the only one');
    });

    it('says why it was opened', () => {
      halfOpen();
      assert.deepEqual(breaker.status, { state: 'half_open', failures: 0, reason: '5xx' });
    });

    it('closes when the probe succeeds, without a count', () => {
      halfOpen();
      call(SUCCESS);
      assert.deepEqual(breaker.status, { state: 'closed', failures: 0 });
    });

    it('opens again when the probe fails once, from that moment on', () => {
      halfOpen();
      const probe = admitted();
      clock.time += 7000;
      breaker.settle(probe, failed('timeout'));
      assert.deepEqual(breaker.status, {
        state: 'open',
        failures: 0,
        reason: 'timeout',
        retry_in_ms: OPEN_MS,
      });
    });

    it('opens again for as long as the server tells the probe', () => {
      halfOpen();
      call(failed('rate_limited', { openForMs: 3000 }));
      assert.equal(breaker.status.retry_in_ms, 3000);
    });

    it('a half-open 404 does not wedge the breaker', () => {
      halfOpen();
      for (let i = 0; i < 3; i++) {
        call(NONE);
        assertState('half_open');
      }
      call(SUCCESS);
      assertState('closed');
    });

    it('does not listen to a probe that gave its slot back', () => {
      halfOpen();
      const first = admitted();
      breaker.settle(first, NONE);
      admitted();
      breaker.settle(first, SUCCESS);
      assertState('half_open');
      breaker.settle(first, NONE);
      assert.equal(breaker.admit(), undefined, 'the second probe still holds the slot');
    });

    it('does not listen to calls that were admitted before', () => {
      const [success, failure, none] = [admitted(), admitted(), admitted()];
      halfOpen();
      admitted();
      breaker.settle(success, SUCCESS);
      breaker.settle(failure, failed());
      breaker.settle(none, NONE);
      assertState('half_open');
      assert.equal(breaker.admit(), undefined, 'the probe still holds the slot');
    });

    it('is misconfigured when the probe is refused', () => {
      halfOpen();
      call(REFUSED);
      assertState('misconfigured');
    });
  });

  describe('misconfigured', () => {
    it('begins with the first refusal, and admits nobody', () => {
      call(REFUSED);
      assert.deepEqual(breaker.status, {
        state: 'misconfigured',
        failures: 0,
        reason: 'auth_failed',
      });
      assert.equal(breaker.admit(), undefined);
    });

    it('begins without a call when there is no key', () => {
      breaker.misconfigure();
      assertState('misconfigured');
      assert.equal(breaker.admit(), undefined);
    });

    it('misconfigured is sticky until the key changes', () => {
      call(REFUSED);
      clock.time += 365 * 24 * 3_600_000;
      assert.equal(breaker.admit(), undefined);
      breaker.retryNow();
      assert.equal(breaker.admit(), undefined);
      breaker.misconfigure();
      assertState('misconfigured');
      breaker.reset();
      assert.deepEqual(breaker.status, { state: 'closed', failures: 0 });
      call(SUCCESS);
    });

    for (const [what, verdict] of [
      ['success', SUCCESS],
      ['transient failure', failed('rate_limited', { openForMs: 1 })],
    ] as const) {
      it(`a late result does not change a newer state: a ${what} after misconfigured`, () => {
        const late = admitted();
        call(REFUSED);
        breaker.settle(late, verdict);
        clock.time += 10 * OPEN_MS;
        assertState('misconfigured');
      });
    }
  });

  describe('reset', () => {
    it('a late result does not change a newer state: a failure of the old key after a reset', () => {
      const late = [admitted(), admitted(), admitted(), admitted()] as const;
      breaker.reset();
      breaker.settle(late[0], REFUSED);
      for (const ticket of late.slice(1)) breaker.settle(ticket, failed());
      assert.deepEqual(breaker.status, { state: 'closed', failures: 0 });
    });

    it('does not let a success of the old key take back what the new one counted', () => {
      const late = admitted();
      breaker.reset();
      call(failed());
      breaker.settle(late, SUCCESS);
      assert.equal(breaker.status.failures, 1);
    });

    it('forgets the failures of the old key', () => {
      call(failed());
      call(failed());
      breaker.reset();
      call(failed());
      assert.deepEqual(breaker.status, { state: 'closed', failures: 1 });
    });

    it('ends the wait of an open breaker, and the probe of a half open one', () => {
      open();
      breaker.reset();
      admitted();
      halfOpen();
      const probe = admitted();
      breaker.reset();
      breaker.settle(probe, failed());
      assert.deepEqual(breaker.status, { state: 'closed', failures: 0 });
    });

    it('tells a call that queued meanwhile that its leave is of an older state', () => {
      const ticket = admitted();
      assert.equal(breaker.isCurrent(ticket), true);
      breaker.reset();
      assert.equal(breaker.isCurrent(ticket), false);
      assert.equal(breaker.isCurrent(admitted()), true);
    });
  });

  describe('Retry Cloud Now', () => {
    it('makes an open breaker half open: the next call is the probe', () => {
      open();
      breaker.retryNow();
      assertState('half_open');
      const probe = admitted();
      assert.equal(breaker.admit(), undefined);
      breaker.settle(probe, SUCCESS);
      assertState('closed');
    });

    it('lets no second probe go while there is one', () => {
      halfOpen();
      admitted();
      breaker.retryNow();
      assert.equal(breaker.admit(), undefined);
    });

    it('changes nothing while closed', () => {
      call(failed());
      breaker.retryNow();
      assert.deepEqual(breaker.status, { state: 'closed', failures: 1 });
    });
  });

  describe('what it tells', () => {
    it('is each change of kind, once, and never a mere count', () => {
      call(failed());
      call(SUCCESS);
      call(failed());
      call(NONE);
      breaker.reset();
      assert.deepEqual(changes, []);
      halfOpen();
      assertState('half_open');
      call(NONE);
      call(failed());
      breaker.retryNow();
      call(SUCCESS);
      call(REFUSED);
      breaker.misconfigure();
      breaker.reset();
      assert.deepEqual(changes, [
        'closed>open',
        'open>half_open',
        'half_open>open',
        'open>half_open',
        'half_open>closed',
        'closed>misconfigured',
        'misconfigured>closed',
      ]);
    });

    it('is what was and what is', () => {
      const told: BreakerStatus[][] = [];
      breaker = new Breaker(clock, (after, before) => told.push([before, after]));
      call(failed());
      call(failed('rate_limited', { openForMs: 5000 }));
      clock.time -= 2000;
      breaker.misconfigure();
      assert.deepEqual(told, [
        [
          { state: 'closed', failures: 1 },
          { state: 'open', failures: 0, reason: 'rate_limited', retry_in_ms: 5000 },
        ],
        [
          { state: 'open', failures: 0, reason: 'rate_limited', retry_in_ms: 5000 },
          { state: 'misconfigured', failures: 0, reason: 'auth_failed' },
        ],
      ]);
    });

    for (const [who, look] of [
      ['asks', () => void breaker.admit()],
      ['reads the status', () => void breaker.status],
    ] as const) {
      it(`is told when the time is over and somebody ${who}`, () => {
        halfOpen();
        changes = [];
        look();
        look();
        assert.deepEqual(changes, ['open>half_open']);
      });
    }

    it('is known already to one who looks while being told', () => {
      const seen: string[] = [];
      breaker = new Breaker(clock, (after) => seen.push(after.state, breaker.status.state));
      halfOpen();
      admitted();
      assert.deepEqual(seen, ['open', 'open', 'half_open', 'half_open']);
    });
  });

  describe('a forced call, when nothing else is left to ask', () => {
    it('is an ordinary one while closed', () => {
      breaker.settle(breaker.force(), failed());
      assert.deepEqual(breaker.status, { state: 'closed', failures: 1 });
    });

    it('is the probe where one is admitted, and its failure opens again', () => {
      halfOpen();
      const probe = breaker.force();
      assert.equal(breaker.admit(), undefined);
      breaker.settle(probe, failed('timeout'));
      assert.equal(breaker.status.reason, 'timeout');
      assert.equal(breaker.status.retry_in_ms, OPEN_MS);
    });

    for (const [state, arrange] of [
      ['open', () => open()],
      ['half_open', () => (halfOpen(), admitted())],
      ['misconfigured', () => breaker.misconfigure()],
    ] as const) {
      it(`closes a breaker that is ${state} with its success`, () => {
        arrange();
        breaker.settle(breaker.force(), SUCCESS);
        assert.deepEqual(breaker.status, { state: 'closed', failures: 0 });
      });

      for (const verdict of [
        failed(),
        failed('rate_limited', { openForMs: 90_000 }),
        REFUSED,
        NONE,
      ]) {
        it(`changes nothing of a breaker that is ${state} with anything else: ${JSON.stringify(verdict)}`, () => {
          arrange();
          clock.time += 1;
          const before = breaker.status;
          for (let i = 0; i < OPENS_AFTER; i++) breaker.settle(breaker.force(), verdict);
          assert.deepEqual(breaker.status, before);
          assert.equal(breaker.admit(), undefined);
        });
      }
    }

    it('does not take the slot of the probe, nor give it away', () => {
      halfOpen();
      const probe = admitted();
      const forced = breaker.force();
      breaker.settle(forced, NONE);
      assert.equal(breaker.admit(), undefined, 'the probe still holds the slot');
      breaker.settle(probe, NONE);
      breaker.force();
      assert.equal(breaker.admit(), undefined, 'that one was admitted: the slot was free');
    });

    it('has no say in a newer state', () => {
      open();
      const [first, second] = [breaker.force(), breaker.force()];
      clock.time += OPEN_MS;
      breaker.settle(first, SUCCESS);
      assertState('half_open');
      breaker.misconfigure();
      breaker.settle(second, SUCCESS);
      assertState('misconfigured');
    });
  });

  it('is nothing to the breaker of another window', () => {
    const other = new Breaker(clock, () => assert.fail('nothing happened here'));
    const [ours, theirs] = [admitted(), other.admit() ?? assert.fail('it was not admitted')];
    halfOpen();
    breaker.settle(ours, failed());
    call(REFUSED);
    assert.deepEqual(other.status, { state: 'closed', failures: 0 });
    assert.equal(other.isCurrent(theirs), true);
    breaker.reset();
    other.settle(theirs, failed());
    assert.equal(breaker.status.failures, 0);
    assert.equal(other.status.failures, 1);
  });
});

// --- the model ----------------------------------------------------------------------------------

/** What happened to a breaker, in order. There is no other state: everything is found in the whole list each time. */
type Happening = { at: number } & (
  | { kind: 'look' | 'reset' | 'misconfigure' | 'retryNow' }
  /** `forced`: it goes out though the breaker says no. */
  | { kind: 'admit'; call: number; admitted: boolean; forced: boolean }
  | { kind: 'result'; call: number; verdict: Verdict }
);

/** A stretch of the list in which the breaker is of one kind. Calls belong to the stretch that admitted them. */
interface Era {
  kind: BreakerState['kind'];
  /** The first that happens in it. */
  from: number;
  /** Why and for how long it is open, and since when. */
  cause?: { reason: FailureReason; forMs: number; at: number };
}

/** The results, up to and with `until`, that have a say in the era: of calls that it admitted, and forced successes. */
function verdicts(history: readonly Happening[], { from }: Era, until: number): Verdict[] {
  const admitted = new Set<number>();
  const forced = new Set<number>();
  const found: Verdict[] = [];
  for (const happening of history.slice(from, until + 1)) {
    if (happening.kind === 'admit' && happening.admitted) admitted.add(happening.call);
    if (happening.kind === 'admit' && happening.forced) forced.add(happening.call);
    if (happening.kind !== 'result') continue;
    const { call, verdict } = happening;
    if (admitted.has(call) || (forced.has(call) && verdict.kind === 'success')) found.push(verdict);
  }
  return found;
}

/** How many of the last results that count are failures. */
function failuresInARow(all: readonly Verdict[]): number {
  const counted = all.filter(({ kind }) => kind !== 'none');
  return counted.length - 1 - counted.findLastIndex(({ kind }) => kind !== 'failure');
}

/** How long an open era has lasted at `index`: counted from the earliest moment that it saw. */
function lasted(history: readonly Happening[], era: Era, index: number): number {
  const seen = history.slice(era.from, index + 1).map(({ at }) => at);
  const moments = [era.cause?.at ?? 0, ...seen];
  return (moments.at(-1) ?? 0) - Math.min(...moments);
}

/** The era after this one, if what happens at `index` ends it. */
function successor(history: readonly Happening[], era: Era, index: number): Era | undefined {
  const happening = history[index] ?? assert.fail('out of the list');
  const from = index + 1;
  if (happening.kind === 'reset') return { kind: 'closed', from };
  if (happening.kind === 'misconfigure') {
    return era.kind === 'misconfigured' ? undefined : { kind: 'misconfigured', from };
  }
  if (era.kind === 'open') {
    const cause = era.cause ?? assert.fail('open without a cause');
    // What finds the time over belongs to the next era already.
    if (lasted(history, era, index) >= cause.forMs)
      return { kind: 'half_open', from: index, cause };
    if (happening.kind === 'retryNow') return { kind: 'half_open', from, cause };
  }
  if (happening.kind !== 'result') return undefined;
  const all = verdicts(history, era, index);
  if (all.length === verdicts(history, era, index - 1).length) return undefined;
  const verdict = all.at(-1) ?? assert.fail('no verdict');
  if (verdict.kind === 'none') return undefined;
  if (verdict.kind === 'refused') return { kind: 'misconfigured', from };
  if (verdict.kind === 'success') {
    return era.kind === 'closed' ? undefined : { kind: 'closed', from };
  }
  const named = verdict.openForMs !== undefined && verdict.openForMs > 0;
  if (era.kind === 'closed' && !named && !verdict.atOnce && failuresInARow(all) < 3) {
    return undefined;
  }
  const forMs = named ? (verdict.openForMs ?? 0) : 20_000;
  return { kind: 'open', from, cause: { reason: verdict.reason, forMs, at: happening.at } };
}

function eras(history: readonly Happening[]): [...Era[], Era] {
  const found: [...Era[], Era] = [{ kind: 'closed', from: 0 }];
  for (let index = 0; index < history.length; index++) {
    const last = lastOf(found);
    const next = successor(history, last, index);
    if (!next) continue;
    found.push(next);
    if (next.from === index) index--;
  }
  return found;
}

const lastOf = (all: readonly [...Era[], Era]): Era => all[all.length - 1] as Era;

/** What a breaker with this history has to say now. */
function expectedStatus(history: readonly Happening[]): BreakerStatus {
  const era = lastOf(eras(history));
  const state = era.kind;
  const end = history.length - 1;
  switch (state) {
    case 'closed':
      return { state, failures: failuresInARow(verdicts(history, era, end)) };
    case 'misconfigured':
      return { state, failures: 0, reason: 'auth_failed' };
    case 'half_open':
      return { state, failures: 0, reason: era.cause!.reason };
    case 'open': {
      const { reason, forMs } = era.cause!;
      return { state, failures: 0, reason, retry_in_ms: forMs - lasted(history, era, end) };
    }
  }
}

/** The calls of the last era that still run: those that it admitted, or those that were forced. */
function running(history: readonly Happening[], which: 'admitted' | 'forced'): number[] {
  const calls = new Set<number>();
  for (const happening of history.slice(lastOf(eras(history)).from)) {
    if (happening.kind === 'admit' && happening[which]) calls.add(happening.call);
    if (happening.kind === 'result') calls.delete(happening.call);
  }
  return [...calls];
}

/** Whether the last in the list, somebody who asks, has to be admitted. */
function mayAdmit(history: readonly Happening[]): boolean {
  const { kind } = lastOf(eras(history));
  return kind === 'closed' || (kind === 'half_open' && running(history, 'admitted').length === 0);
}

// --- histories ----------------------------------------------------------------------------------

const CALLERS = 8;

type Command =
  | { kind: 'admit' | 'force' | 'reset' | 'misconfigure' | 'retryNow' }
  | { kind: 'result'; nth: number; verdict: Verdict }
  /** Somebody may look at the new time, or nobody. */
  | { kind: 'clock'; by: number; seen: boolean }
  /** As long as the breaker says that it takes, or a moment less. */
  | { kind: 'wait'; less: number };

const anyVerdict: fc.Arbitrary<Verdict> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(SUCCESS) },
  { weight: 4, arbitrary: fc.constant(NONE) },
  { weight: 1, arbitrary: fc.constant(REFUSED) },
  {
    weight: 16,
    arbitrary: fc
      .constantFrom<FailureReason>('timeout', '5xx', 'rate_limited', 'unreachable', 'auth_failed')
      .map((reason) => failed(reason)),
  },
  {
    weight: 3,
    arbitrary: fc
      .oneof(fc.constantFrom(0, 1, -5), fc.integer({ min: 1, max: 100_000 }))
      .map((openForMs) => failed('rate_limited', { openForMs })),
  },
  { weight: 1, arbitrary: fc.constant(failed('rate_limited', { atOnce: true })) },
);

const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 10, arbitrary: fc.constant({ kind: 'admit' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'force' as const }) },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('result' as const),
      nth: fc.nat(CALLERS - 1),
      verdict: anyVerdict,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('clock' as const),
      by: fc.oneof(
        fc.constantFrom(1, OPEN_MS - 1, OPEN_MS),
        fc.integer({ min: 0, max: 150_000 }),
        fc.integer({ min: -150_000, max: 0 }),
      ),
      seen: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), less: fc.nat(1) }),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom('reset', 'reset', 'reset', 'misconfigure', 'retryNow', 'retryNow')
      .map((kind) => ({ kind })),
  },
);

/** A breaker, what happened to it, and everything that has to hold after every step. */
class Subject {
  readonly changes: string[] = [];
  readonly breaker: Breaker;
  denied = 0;
  forced = 0;
  stale = 0;
  readonly #history: Happening[] = [];
  readonly #outstanding: { call: number; ticket: Ticket }[] = [];
  #calls = 0;
  #epoch = 0;
  #kind = 'closed';

  constructor(private readonly clock: HandSetClock) {
    this.breaker = new Breaker(clock, (after, before) => {
      assert.equal(before.state, this.#kind, 'each change begins where the last one ended');
      assert.notEqual(after.state, before.state, 'a mere count is told to nobody');
      this.#kind = after.state;
      this.changes.push(`${before.state}>${after.state}`);
    });
  }

  apply(command: Exclude<Command, { kind: 'clock' | 'wait' }>): void {
    const { time: at } = this.clock;
    if (command.kind === 'admit' || command.kind === 'force') {
      if (this.#outstanding.length < CALLERS) this.#ask(command.kind, at);
    } else if (command.kind === 'result') {
      const [settled] = this.#outstanding.splice(command.nth % (this.#outstanding.length || 1), 1);
      if (settled) this.#settle(settled, command.verdict, at);
    } else {
      this.#history.push({ kind: command.kind, at });
      this.breaker[command.kind]();
    }
    this.look();
  }

  look(): void {
    this.#history.push({ kind: 'look', at: this.clock.time });
    this.#check();
  }

  /** Nothing that may happen leaves it where only a reset helps, except a refused key. */
  end(): void {
    for (const settled of this.#outstanding.splice(0)) {
      this.#settle(settled, NONE, this.clock.time);
    }
    this.look();
    const { state, retry_in_ms: wait } = this.breaker.status;
    this.clock.time += wait ?? 0;
    assert.equal(this.breaker.admit() !== undefined, state !== 'misconfigured', 'it is stuck');
    this.#assertChanges();
  }

  #ask(how: 'admit' | 'force', at: number): void {
    const call = ++this.#calls;
    const asked = { kind: 'admit' as const, at, call, admitted: false, forced: false };
    this.#history.push(asked);
    asked.admitted = mayAdmit(this.#history);
    asked.forced = how === 'force' && !asked.admitted;
    const ticket = this.breaker[how]();
    assert.equal(ticket !== undefined, asked.admitted || asked.forced, 'whether a call may go');
    if (!ticket) return void this.denied++;
    if (asked.admitted) assert.match(this.breaker.status.state, /^(closed|half_open)$/);
    else this.forced++;
    assert.ok(ticket.epoch >= this.#epoch, 'epochs never decrease');
    this.#epoch = ticket.epoch;
    this.#outstanding.push({ call, ticket });
  }

  #settle({ call, ticket }: { call: number; ticket: Ticket }, verdict: Verdict, at: number): void {
    this.#history.push({ kind: 'look', at });
    const stale = !this.#isOfThisEra(call);
    const before = expectedStatus(this.#history);
    this.#history.push({ kind: 'result', at, call, verdict });
    this.breaker.settle(ticket, verdict);
    if (!stale) return;
    this.stale++;
    assertSame(this.breaker.status, before);
  }

  #check(): void {
    const { status } = this.breaker;
    assertSame(status, expectedStatus(this.#history));
    const forMs = lastOf(eras(this.#history)).cause?.forMs ?? 0;
    assert.ok((status.retry_in_ms ?? 0) <= forMs, 'it waits longer than it may');
    const probes = running(this.#history, 'admitted');
    assert.ok(status.state !== 'half_open' || probes.length <= 1, 'there is a second probe');
    for (const { call, ticket } of this.#outstanding) {
      assert.equal(
        this.breaker.isCurrent(ticket),
        this.#isOfThisEra(call),
        'whether it is current',
      );
    }
  }

  #isOfThisEra(call: number): boolean {
    return (['admitted', 'forced'] as const).some((which) =>
      running(this.#history, which).includes(call),
    );
  }

  #assertChanges(): void {
    const kinds = eras(this.#history).map(({ kind }) => kind);
    const expected = kinds.flatMap((kind, i) => {
      const before = kinds[i - 1] ?? kind;
      return kind === before ? [] : [`${before}>${kind}`];
    });
    // The last one asked after its history ended.
    assert.deepEqual(this.changes.slice(0, expected.length), expected);
    assert.ok(this.changes.length <= expected.length + 1);
  }
}

/** `deepEqual` for a status, fast enough for millions. */
function assertSame(actual: BreakerStatus, expected: BreakerStatus): void {
  if (
    actual.state !== expected.state ||
    actual.failures !== expected.failures ||
    actual.reason !== expected.reason ||
    actual.retry_in_ms !== expected.retry_in_ms
  ) {
    assert.deepEqual(actual, expected);
  }
}

function play(clock: HandSetClock, subjects: readonly Subject[], steps: [number, Command][]): void {
  for (const [nth, command] of steps) {
    const subject = subjects[nth] ?? assert.fail('no such breaker');
    if (command.kind === 'clock') clock.time += command.by;
    else if (command.kind === 'wait') {
      subject.look();
      clock.time += Math.max(0, (subject.breaker.status.retry_in_ms ?? 0) - command.less);
    } else subject.apply(command);
    if (command.kind === 'wait' || (command.kind === 'clock' && command.seen)) {
      for (const each of subjects) each.look();
    }
  }
  for (const subject of subjects) subject.end();
}

describe('breaker, whatever happens in whatever order', () => {
  it('does what a naive model of its rules does', function () {
    this.timeout(RUNS > 0 ? 0 : 60_000);
    const begin = performance.now();
    const seen = new Map<string, number>();
    let denied = 0;
    let forced = 0;
    let stale = 0;
    fc.assert(
      fc.property(fc.array(anyCommand, { maxLength: 60, size: 'max' }), (commands) => {
        const clock = new HandSetClock();
        const subject = new Subject(clock);
        play(
          clock,
          [subject],
          commands.map((command) => [0, command]),
        );
        for (const change of subject.changes) seen.set(change, (seen.get(change) ?? 0) + 1);
        denied += subject.denied;
        forced += subject.forced;
        stale += subject.stale;
      }),
      {
        numRuns: RUNS || SUITE_RUNS,
        ...(process.env['BREAKER_SEED'] && { seed: Number(process.env['BREAKER_SEED']) }),
        ...(process.env['BREAKER_PATH'] && { path: process.env['BREAKER_PATH'] }),
      },
    );
    if (RUNS > 0) {
      const seconds = ((performance.now() - begin) / 1000).toFixed(1);
      console.log(`      ${RUNS} histories in ${seconds} s: ${JSON.stringify([...seen])}`);
      console.log(
        `      ${denied} calls were denied, ${forced} forced, ${stale} results came too late`,
      );
    }
    if (RUNS > 0 && RUNS < SUITE_RUNS) return;
    assert.deepEqual(
      [...seen.keys()].sort(),
      [
        'closed>misconfigured',
        'closed>open',
        'half_open>closed',
        'half_open>misconfigured',
        'half_open>open',
        'misconfigured>closed',
        'open>closed',
        'open>half_open',
        'open>misconfigured',
      ],
      'the histories reach every change there is',
    );
    assert.ok(denied > 0 && forced > 0 && stale > 0);
  });

  it('knows nothing of the breaker of another window', function () {
    this.timeout(RUNS > 0 ? 0 : 60_000);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(1), anyCommand), { maxLength: 60, size: 'max' }),
        (steps) => {
          const clock = new HandSetClock();
          play(clock, [new Subject(clock), new Subject(clock)], steps);
        },
      ),
      { numRuns: Math.ceil((RUNS || SUITE_RUNS) / 6) },
    );
  });
});
