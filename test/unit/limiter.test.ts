import assert from 'node:assert/strict';
import fc from 'fast-check';
import { InternError } from '../../src/core/errors';
import { Limiter } from '../../src/core/routing/limiter';
import { settle } from '../support/ollama/clock';
import { failure } from './support';

describe('limiter', () => {
  it('admits as many as it may at once, without a word about a queue', async () => {
    const limiter = new Limiter(2);
    const onPosition = () => assert.fail('nobody has to wait');
    await limiter.acquire(undefined, onPosition);
    await limiter.acquire(undefined, onPosition);
    assert.equal(limiter.running, 2);
    assert.equal(limiter.waiting, 0);
  });

  it('serves those who wait in the order in which they came', async () => {
    const limiter = new Limiter(1);
    const order: number[] = [];
    const first = await limiter.acquire();
    const rest = [1, 2, 3, 4].map(async (n) => {
      const release = await limiter.acquire();
      order.push(n);
      release();
    });
    assert.equal(limiter.waiting, 4);
    first();
    await Promise.all(rest);
    assert.deepEqual(order, [1, 2, 3, 4]);
    assert.equal(limiter.running, 0);
  });

  it('tells the place in the queue whenever it changes, 1 for the next', async () => {
    const limiter = new Limiter(1);
    const places: number[][] = [[], [], []];
    const first = await limiter.acquire();
    const leaving = new AbortController();
    const waiting = places.map((seen, i) =>
      limiter.acquire(i === 1 ? leaving.signal : undefined, (place) => seen.push(place)),
    );
    waiting[1]?.catch(() => {});
    assert.deepEqual(places, [[1], [2], [3]]);
    leaving.abort();
    assert.equal(places[2]?.at(-1), 2);
    first();
    await waiting[0];
    assert.equal(places[2]?.at(-1), 1);
  });

  it('lets one who waits go when cancelled, for the reason given, and takes no permit', async () => {
    const limiter = new Limiter(1);
    const release = await limiter.acquire();
    const controller = new AbortController();
    const waiting = failure(limiter.acquire(controller.signal));
    const reason = new InternError({ code: 'timeout', message: 'Late.', hint: 'Wait.' });
    controller.abort(reason);
    assert.equal(await waiting, reason);
    assert.equal(limiter.waiting, 0);
    release();
    assert.equal(limiter.running, 0);
  });

  it('does not even queue one who is cancelled already', async () => {
    const limiter = new Limiter(1);
    assert.equal((await failure(limiter.acquire(AbortSignal.abort()))).code, 'cancelled');
    assert.equal(limiter.running + limiter.waiting, 0);
  });

  it('keeps the permit of one who is cancelled after being admitted', async () => {
    const limiter = new Limiter(1);
    const release = await limiter.acquire();
    const controller = new AbortController();
    const waiting = limiter.acquire(controller.signal);
    release();
    controller.abort();
    const second = await waiting;
    assert.equal(limiter.running, 1);
    second();
    assert.equal(limiter.running, 0);
  });

  it('counts a permit that is given back twice only once', async () => {
    const limiter = new Limiter(2);
    const release = await limiter.acquire();
    await limiter.acquire();
    release();
    release();
    assert.equal(limiter.running, 1);
  });

  it('admits more at once when the limit is raised', async () => {
    const limiter = new Limiter(1);
    await limiter.acquire();
    const waiting = [limiter.acquire(), limiter.acquire(), limiter.acquire()];
    limiter.setLimit(3);
    await Promise.all(waiting.slice(0, 2));
    assert.equal(limiter.running, 3);
    assert.equal(limiter.waiting, 1);
  });

  it('interrupts nobody when the limit is lowered, but admits nobody until there is room', async () => {
    const limiter = new Limiter(3);
    const releases = [
      await limiter.acquire(),
      await limiter.acquire(),
      await limiter.acquire(),
    ] as const;
    limiter.setLimit(1);
    const waiting = limiter.acquire();
    releases[0]();
    releases[1]();
    assert.equal(limiter.waiting, 1);
    releases[2]();
    await waiting;
    assert.equal(limiter.running, 1);
  });

  it('never exceeds its limit and loses nobody, whatever happens in whatever order', async () => {
    const command = fc.oneof(
      fc.constant({ kind: 'acquire' as const, n: 0 }),
      fc.record({ kind: fc.constant('cancel' as const), n: fc.nat(30) }),
      fc.record({ kind: fc.constant('release' as const), n: fc.nat(30) }),
      fc.record({ kind: fc.constant('limit' as const), n: fc.integer({ min: 1, max: 4 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
        let limit = 2;
        const limiter = new Limiter(limit);
        const callers: { controller: AbortController; release?: () => void; gone?: true }[] = [];
        const admitted: number[] = [];
        let mostAllowed = limit;
        const check = () => {
          // Those who were admitted under a higher limit stay, nobody joins them.
          mostAllowed = Math.max(limit, Math.min(mostAllowed, limiter.running));
          assert.ok(limiter.running <= mostAllowed);
          assert.ok(limiter.waiting === 0 || limiter.running >= limit, 'a free place stays free');
        };
        const pick = (n: number) => callers[n % Math.max(1, callers.length)];
        for (const { kind, n } of commands) {
          if (kind === 'acquire') {
            const caller: (typeof callers)[number] = { controller: new AbortController() };
            const index = callers.push(caller) - 1;
            limiter.acquire(caller.controller.signal).then(
              (release) => {
                caller.release = release;
                admitted.push(index);
              },
              () => (caller.gone = true),
            );
          } else if (kind === 'cancel') {
            pick(n)?.controller.abort();
          } else if (kind === 'release') {
            pick(n)?.release?.();
          } else {
            limit = n;
            limiter.setLimit(n);
          }
          check();
          await Promise.resolve();
        }
        for (let left = callers.length + 1; left > 0; left--) {
          await settle(1);
          for (const caller of callers) caller.release?.();
          check();
        }
        assert.equal(limiter.running, 0);
        assert.equal(limiter.waiting, 0);
        assert.ok(callers.every((caller) => caller.release ?? caller.gone));
        assert.deepEqual(
          admitted,
          [...admitted].sort((a, b) => a - b),
          'first come, first served',
        );
      }),
      { numRuns: 150 },
    );
  });
});
