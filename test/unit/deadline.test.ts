import assert from 'node:assert/strict';
import fc from 'fast-check';
import { cancelledError, InternError } from '../../src/core/errors';
import { abortReason, ask, Deadline, orAborted } from '../../src/core/routing/deadline';
import { ManualClock, settle } from '../support/ollama/clock';
import { assertHint, coreClock, failure } from './support';

const tooLate = () => new InternError({ code: 'timeout', message: 'Late.', hint: 'Wait.' });

describe('deadline', () => {
  let clock: ManualClock;
  let expired: number;

  beforeEach(() => {
    clock = new ManualClock();
    expired = 0;
  });

  const start = (parent?: AbortSignal) => new Deadline(coreClock(clock), parent);
  const onExpiry = () => void expired++;

  it('expires once, at its time and not before', async () => {
    start().arm(1000, onExpiry);
    await clock.advance(999);
    assert.equal(expired, 0);
    await clock.advance(1);
    assert.equal(expired, 1);
    await clock.advance(100_000);
    assert.equal(expired, 1);
  });

  it('is put off by every extension, from the moment of it', async () => {
    const deadline = start();
    deadline.arm(1000, onExpiry);
    for (let i = 0; i < 10; i++) {
      await clock.advance(900);
      deadline.extend(1000);
    }
    await clock.advance(999);
    assert.equal(expired, 0);
    await clock.advance(1);
    assert.equal(expired, 1);
  });

  it('needs one timer, however often it is extended', async () => {
    const deadline = start();
    deadline.arm(1000, onExpiry);
    for (let i = 0; i < 1000; i++) deadline.extend(1000);
    assert.equal(clock.timers, 1);
  });

  it('can be armed with a shorter time than before', async () => {
    const deadline = start();
    deadline.arm(600_000, () => assert.fail('the old time still counts'));
    deadline.arm(5000, onExpiry);
    await clock.advance(5000);
    assert.equal(expired, 1);
  });

  it('can be extended to a shorter time than it was armed with', async () => {
    const deadline = start();
    deadline.arm(600_000, onExpiry);
    deadline.extend(5000);
    await clock.advance(5000);
    assert.equal(expired, 1);
  });

  it('does not expire while disarmed, and can be armed again', async () => {
    const deadline = start();
    deadline.arm(1000, () => assert.fail('it was disarmed'));
    deadline.disarm();
    assert.equal(clock.timers, 0);
    await clock.advance(5000);
    deadline.arm(1000, onExpiry);
    await clock.advance(1000);
    assert.equal(expired, 1);
  });

  it('an extension without a time to extend starts nothing', async () => {
    const deadline = start();
    deadline.extend(10);
    deadline.arm(10, onExpiry);
    await clock.advance(10);
    deadline.extend(10);
    deadline.disarm();
    deadline.extend(10);
    await clock.advance(100);
    assert.equal(expired, 1);
  });

  it('aborts its signal once, with the first reason', () => {
    const deadline = start();
    const first = tooLate();
    deadline.arm(1000, onExpiry);
    deadline.abort(first);
    deadline.abort(cancelledError());
    assert.equal(deadline.signal.reason, first);
    assert.equal(clock.timers, 0);
  });

  it('aborts with its parent, for the reason of the parent', () => {
    const parent = new AbortController();
    const deadline = start(parent.signal);
    deadline.arm(1000, onExpiry);
    const reason = tooLate();
    parent.abort(reason);
    assert.equal(deadline.signal.reason, reason);
    assert.equal(clock.timers, 0);
  });

  it("calls a parent's abort for any other reason a cancel", () => {
    const parent = new AbortController();
    const deadline = start(parent.signal);
    parent.abort();
    assert.equal((deadline.signal.reason as InternError).code, 'cancelled');
    assert.equal(abortReason(undefined).code, 'cancelled');
  });

  it('is aborted from the start when its parent is', () => {
    const reason = tooLate();
    assert.equal(start(AbortSignal.abort(reason)).signal.reason, reason);
  });

  it('leaves neither timer nor listener behind', () => {
    const parent = new AbortController();
    const deadline = start(parent.signal);
    deadline.arm(1000, onExpiry);
    deadline.dispose();
    assert.equal(clock.timers, 0);
    parent.abort();
    assert.equal(deadline.signal.aborted, false);
  });

  it('starts no timer after it was let go, whoever still arms it', async () => {
    const deadline = start();
    deadline.dispose();
    deadline.arm(1000, () => assert.fail('it is over'));
    assert.equal(clock.timers, 0);
  });

  describe('after the machine slept', () => {
    const hour = 3_600_000;

    /** It expires so long after now, and not before. */
    const assertExpiresIn = async (ms: number) => {
      assert.equal(expired, 0);
      await clock.advance(ms - 1);
      assert.equal(expired, 0);
      await clock.advance(1);
      assert.equal(expired, 1);
      assert.equal(clock.timers, 0);
    };

    it('allows its whole time once more', async () => {
      start().arm(20_000, onExpiry);
      await clock.advance(19_000);
      await clock.jump(hour);
      await assertExpiresIn(20_000);
    });

    it('allows it after every sleep', async () => {
      start().arm(20_000, onExpiry);
      for (let i = 0; i < 3; i++) {
        await clock.jump(hour);
        await clock.advance(19_000);
      }
      await assertExpiresIn(1000);
    });

    it('allows all of the time it was extended by, not the rest of it', async () => {
      const deadline = start();
      deadline.arm(20_000, onExpiry);
      await clock.advance(1000);
      deadline.extend(20_000);
      await clock.advance(19_500);
      await clock.jump(hour);
      await assertExpiresIn(20_000);
    });

    it('allows it when the time was not quite over yet', async () => {
      const deadline = start();
      deadline.arm(20_000, onExpiry);
      await clock.advance(19_000);
      deadline.extend(20_000);
      await clock.jump(19_900);
      await assertExpiresIn(20_000);
    });

    it('allows the time that was said last', async () => {
      const deadline = start();
      deadline.arm(5000, () => assert.fail('the old time still counts'));
      deadline.arm(300_000, onExpiry);
      await clock.jump(hour);
      await assertExpiresIn(300_000);
    });

    it('takes a timer that is a little late for what it is', async () => {
      start().arm(20_000, onExpiry);
      await clock.jump(25_000);
      assert.equal(expired, 1);
    });
  });

  it('expires exactly when a simple model of it does', async () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('arm' as const), ms: fc.integer({ min: 1, max: 50 }) }),
      fc.record({ kind: fc.constant('extend' as const), ms: fc.integer({ min: 1, max: 50 }) }),
      fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 40 }) }),
      fc.constant({ kind: 'disarm' as const, ms: 0 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 15 }), async (commands) => {
        const time = new ManualClock(0);
        const deadline = new Deadline(coreClock(time));
        const seen: number[] = [];
        const expected: number[] = [];
        let due = Infinity;
        for (const { kind, ms } of commands) {
          const now = time.now();
          if (kind === 'arm') {
            deadline.arm(ms, () => seen.push(time.now()));
            due = now + ms;
          } else if (kind === 'extend') {
            deadline.extend(ms);
            if (due !== Infinity) due = now + ms;
          } else if (kind === 'disarm') {
            deadline.disarm();
            due = Infinity;
          } else {
            if (due <= now + ms) {
              expected.push(due);
              due = Infinity;
            }
            await time.advance(ms);
          }
        }
        assert.deepEqual(seen, expected);
        deadline.dispose();
        assert.equal(time.timers, 0);
      }),
      { numRuns: 150 },
    );
  });
});

/** The rejections that nobody handles while this runs. */
async function unhandled(run: () => unknown): Promise<unknown[]> {
  const seen: unknown[] = [];
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', (reason) => seen.push(reason));
  try {
    await run();
    await settle();
  } finally {
    process.removeAllListeners('unhandledRejection');
    for (const other of others) process.on('unhandledRejection', other);
  }
  return seen;
}

describe('orAborted', () => {
  const never = new Promise<never>(() => {});

  it('gives what the promise gives', async () => {
    const { signal } = new AbortController();
    assert.equal(await orAborted(Promise.resolve(7), signal), 7);
    assert.equal(await orAborted(Promise.resolve(7), undefined), 7);
    const error = tooLate();
    assert.equal(await failure(orAborted(Promise.reject(error), signal)), error);
  });

  it('rejects as soon as the signal aborts, with its reason', async () => {
    const controller = new AbortController();
    const waiting = failure(orAborted(never, controller.signal));
    const reason = tooLate();
    controller.abort(reason);
    assert.equal(await waiting, reason);
  });

  it('rejects at once when the signal is aborted already', async () => {
    assert.equal((await failure(orAborted(never, AbortSignal.abort()))).code, 'cancelled');
  });

  it('leaves no rejection unhandled when it gives up on a promise that fails later', async () => {
    let fail!: (error: Error) => void;
    const later = new Promise<never>((_, reject) => (fail = reject));
    const controller = new AbortController();
    const giving = [
      failure(orAborted(later, AbortSignal.abort())),
      failure(orAborted(later, controller.signal)),
    ];
    controller.abort();
    await Promise.all(giving);
    assert.deepEqual(await unhandled(() => fail(new Error('nobody listens any more'))), []);
  });

  it('leaves no rejection unhandled when the signal was aborted before', async () => {
    const lost = await unhandled(async () => {
      const failing = Promise.reject(new Error('nobody listens'));
      await failure(orAborted(failing, AbortSignal.abort()));
    });
    assert.deepEqual(lost, []);
  });

  it('takes its listener back', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
    signal.removeEventListener = (...args: Parameters<typeof remove>) => (
      listeners--,
      remove(...args)
    );
    await orAborted(Promise.resolve(), signal);
    assert.equal(listeners, 0);
  });
});

describe('a short question to a server', () => {
  const clock = new ManualClock();
  /** Never answers, and fails as its signal says. */
  const hanging = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(abortReason(signal)));
    });

  it('is a timeout after ten seconds', async () => {
    const asking = failure(ask(coreClock(clock), hanging));
    let over = false;
    void asking.then(() => (over = true));
    await clock.advance(9_999);
    assert.equal(over, false);
    await clock.advance(1);
    const error = await asking;
    assert.equal(error.code, 'timeout');
    assert.equal(error.retryable, true);
    assertHint(error.hint);
    assert.equal(clock.timers, 0);
  });

  it('is answered after a sleep of the machine, too', async () => {
    let answer!: (value: number) => void;
    const answered = new Promise<number>((resolve) => (answer = resolve));
    const asking = ask(coreClock(clock), (signal) => orAborted(answered, signal));
    await clock.jump(3_600_000);
    answer(7);
    assert.equal(await asking, 7);
    assert.equal(clock.timers, 0);
  });

  it('is a timeout ten seconds after a sleep when nobody answers', async () => {
    const asking = failure(ask(coreClock(clock), hanging));
    await clock.jump(3_600_000);
    assert.equal(clock.timers, 1);
    await clock.advance(10_000);
    assert.equal((await asking).code, 'timeout');
  });

  it('is cancelled with the one who asks', async () => {
    const parent = new AbortController();
    const asking = failure(ask(coreClock(clock), hanging, parent.signal));
    parent.abort();
    assert.equal((await asking).code, 'cancelled');
    assert.equal(clock.timers, 0);
  });

  it('leaves no timer behind, whether answered or failed', async () => {
    assert.equal(await ask(coreClock(clock), async () => 7), 7);
    await assert.rejects(
      ask(coreClock(clock), async () => {
        throw new Error('no');
      }),
      /no/,
    );
    assert.equal(clock.timers, 0);
  });
});
