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

  it('loses no permit and gives none twice, whatever happens in whatever order', async () => {
    const command = fc.oneof(
      { weight: 6, arbitrary: fc.constant({ kind: 'acquire' as const, n: 0 }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('abort' as const), n: fc.nat(30) }) },
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('release' as const), n: fc.nat(30) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('limit' as const),
          n: fc.integer({ min: 1, max: 4 }),
        }),
      },
      { weight: 4, arbitrary: fc.constant({ kind: 'settle' as const, n: 0 }) },
    );
    let waited = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 40, size: 'max' }), async (commands) => {
        // The model: who waits and who holds a permit, by number, in the order in which they came.
        let limit = 2;
        let waiting: number[] = [];
        let holding: number[] = [];
        let expected: string[] = [];
        const admitNext = () => {
          for (; holding.length < limit && waiting[0] !== undefined; waiting = waiting.slice(1)) {
            holding.push(waiting[0]);
            expected.push(`${waiting[0]} admitted`);
          }
        };

        const limiter = new Limiter(limit);
        const callers: { controller: AbortController; place?: number; release?: () => void }[] = [];
        let seen: string[] = [];
        const acquire = () => {
          const controller = new AbortController();
          const caller: (typeof callers)[number] = { controller };
          const n = callers.push(caller) - 1;
          limiter
            .acquire(controller.signal, (place) => (caller.place = place))
            .then(
              (release) => {
                caller.release = release;
                seen.push(`${n} admitted`);
              },
              () => seen.push(`${n} rejected`),
            );
          waiting.push(n);
          admitNext();
          if (waiting.includes(n)) waited++;
        };
        const abort = (n: number) => {
          callers[n]?.controller.abort();
          if (!waiting.includes(n)) return;
          waiting = waiting.filter((other) => other !== n);
          expected.push(`${n} rejected`);
        };
        /** More than once too. One who does not know yet that it was admitted cannot. */
        const release = (n: number) => {
          if (!callers[n]?.release) return;
          callers[n].release();
          holding = holding.filter((other) => other !== n);
          admitNext();
        };
        const check = () => {
          assert.equal(limiter.running, holding.length);
          assert.equal(limiter.waiting, waiting.length);
          assert.deepEqual(
            waiting.map((n) => callers[n]?.place),
            waiting.map((_, index) => index + 1),
            'each knows its place',
          );
        };
        const settled = async () => {
          await settle(1);
          // Who gets in is decided in order; when each is told of it is the promises' affair.
          assert.deepEqual(seen.sort(), expected.sort());
          seen = [];
          expected = [];
        };

        for (const { kind, n } of commands) {
          if (kind === 'acquire') acquire();
          else if (kind === 'abort') abort(n % (callers.length || 1));
          else if (kind === 'release') release(n % (callers.length || 1));
          else if (kind === 'settle') await settled();
          else {
            limiter.setLimit((limit = n));
            admitNext();
          }
          check();
        }
        for (await settled(); holding.length > 0; await settled()) {
          for (const n of [...holding]) release(n);
          check();
        }
        assert.equal(limiter.running + limiter.waiting, 0, 'everybody was served or rejected');
      }),
      { numRuns: 300 },
    );
    assert.ok(waited > 300);
  });
});
