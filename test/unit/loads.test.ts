import assert from 'node:assert/strict';
import fc from 'fast-check';
import { allowanceBySize, LoadTimes } from '../../src/core/routing/loads';
import { MemoryStore } from '../../src/core/store';

const HOST = 'http://127.0.0.1:11434';

describe('load allowance', () => {
  const rows: [billions: number | undefined, seconds: number][] = [
    [0.1, 60],
    [1, 60],
    [4, 90],
    [7, 120],
    [38.5, 360],
    [70, 600],
    [405, 600],
    [undefined, 300],
    [0, 300],
  ];
  for (const [billions, seconds] of rows) {
    it(`of a model of ${billions ?? 'unknown'} B is ${seconds} s`, () => {
      const parameters = billions === undefined ? undefined : billions * 1e9;
      assert.equal(allowanceBySize(parameters), seconds * 1000);
      assert.equal(
        new LoadTimes(new MemoryStore()).allowance(HOST, 'm', parameters),
        seconds * 1000,
      );
    });
  }

  it('never shrinks as a model grows', () => {
    const size = fc.double({ min: 1e6, max: 1e12, noNaN: true });
    fc.assert(
      fc.property(size, size, (a, b) => {
        const [small, large] = [Math.min(a, b), Math.max(a, b)];
        assert.ok(allowanceBySize(small) <= allowanceBySize(large));
      }),
    );
  });

  it('follows the slowest load seen on this machine, with room for a slower one', () => {
    const loads = new LoadTimes(new MemoryStore());
    loads.learn(HOST, 'm', 20_000);
    loads.learn(HOST, 'm', 10_000);
    assert.equal(loads.allowance(HOST, 'm', 70e9), 80_000);
  });

  it('is never so short that a cold disk would fail', () => {
    const loads = new LoadTimes(new MemoryStore());
    loads.learn(HOST, 'm', 100);
    assert.equal(loads.allowance(HOST, 'm', 70e9), 30_000);
  });
});

describe('load times', () => {
  it('expect the usual load once there was one', () => {
    const loads = new LoadTimes(new MemoryStore());
    assert.equal(loads.expected(HOST, 'm'), undefined);
    for (const seconds of [9, 1, 8]) loads.learn(HOST, 'm', seconds * 1000);
    assert.equal(loads.expected(HOST, 'm'), 8000);
  });

  it('forget loads of long ago', () => {
    const loads = new LoadTimes(new MemoryStore());
    loads.learn(HOST, 'm', 200_000);
    for (let i = 0; i < 5; i++) loads.learn(HOST, 'm', 10_000);
    assert.equal(loads.allowance(HOST, 'm', undefined), 40_000);
  });

  it('take no lesson from a model that was in memory already', () => {
    const loads = new LoadTimes(new MemoryStore());
    loads.learn(HOST, 'm', 49);
    assert.equal(loads.expected(HOST, 'm'), undefined);
  });

  it('are kept for a server and a model, however it is written, and outlive the process', () => {
    const store = new MemoryStore();
    new LoadTimes(store).learn(HOST, 'phi-4', 12_000.4);
    const later = new LoadTimes(store);
    assert.equal(later.expected(HOST, 'library/phi-4:latest'), 12_000);
    assert.equal(later.expected('http://gpu-box:11434', 'phi-4'), undefined);
    assert.equal(later.expected(HOST, 'phi-4:mini'), undefined);
  });

  it('survive a store that others have written to', () => {
    for (const garbage of ['x', 7, null, {}, ['a', 8000, null]]) {
      const store = new MemoryStore();
      new LoadTimes(store).learn(HOST, 'm', 1000);
      store.set(`load:${HOST}:m:latest`, garbage);
      const loads = new LoadTimes(store);
      assert.ok([undefined, 8000].includes(loads.expected(HOST, 'm')));
      assert.ok(loads.allowance(HOST, 'm', 7e9) >= 30_000);
    }
  });
});
