import assert from 'node:assert/strict';
import type { PsModel } from '../../src/core/ollama/schemas';
import { ResidencyTracker } from '../../src/core/routing/residency';
import { ManualClock } from '../support/ollama/clock';
import { coreClock } from './support';

const GB = 1e9;

describe('residency', () => {
  let clock: ManualClock;
  let tracker: ResidencyTracker;

  beforeEach(() => {
    clock = new ManualClock();
    tracker = new ResidencyTracker(coreClock(clock));
  });

  /** A line of /api/ps: 5 GB, all in VRAM, for five minutes more. */
  const loaded = (name: string, more: Partial<PsModel> = {}): PsModel => ({
    name,
    digest: '',
    size: 5 * GB,
    size_vram: 5 * GB,
    expires_at: new Date(clock.now() + 300_000).toISOString(),
    context_length: 4096,
    ...more,
  });

  it('of a model that was never seen is not loaded, and not evicted', () => {
    assert.deepEqual(tracker.record([]), []);
    assert.deepEqual(tracker.read('m'), {
      in_vram: false,
      size_bytes: 0,
      size_vram_bytes: 0,
      evicted: false,
    });
  });

  it('says where the weights lie', () => {
    tracker.record([
      loaded('a'),
      loaded('b', { size_vram: 2 * GB }),
      loaded('c', { size_vram: 0 }),
    ]);
    assert.deepEqual(tracker.read('a'), {
      in_vram: true,
      size_bytes: 5 * GB,
      size_vram_bytes: 5 * GB,
      evicted: false,
    });
    assert.equal(tracker.read('b').size_vram_bytes, 2 * GB);
    assert.equal(tracker.read('c').in_vram, true, 'loaded on a machine without a GPU');
    assert.deepEqual(
      tracker.resident.map((model) => model.name),
      ['a', 'b', 'c'],
    );
  });

  it('knows a model by any way of writing its name', () => {
    tracker.record([loaded('phi-4:latest')]);
    assert.ok(tracker.read('library/phi-4').in_vram);
    assert.ok(tracker.isLoaded('PHI-4', 4096));
  });

  it('calls a model evicted that went before its time', async () => {
    tracker.record([loaded('a:8b'), loaded('b:8b')]);
    await clock.advance(60_000);
    assert.deepEqual(tracker.record([loaded('b:8b')]), ['a:8b']);
    assert.equal(tracker.read('a:8b').evicted, true);
    assert.equal(tracker.read('a:8b').in_vram, false);
    assert.equal(tracker.read('b:8b').evicted, false);
  });

  it('reports one eviction once, and remembers it while the model is loaded again', () => {
    tracker.record([loaded('a:8b')]);
    assert.equal(tracker.record([]).length, 1);
    assert.deepEqual(tracker.record([]), []);
    assert.deepEqual(tracker.record([loaded('a:8b')]), []);
    assert.equal(tracker.read('a:8b').evicted, true);
    tracker.forgive('a:8b');
    assert.equal(tracker.read('a:8b').evicted, false);
  });

  it('does not call it evicted when its time was up', async () => {
    tracker.record([loaded('a:8b')]);
    await clock.advance(300_000);
    assert.deepEqual(tracker.record([]), []);
    assert.equal(tracker.read('a:8b').evicted, false);
  });

  it('allows for clocks that differ a little', async () => {
    tracker.record([loaded('a:8b')]);
    await clock.advance(298_500);
    assert.deepEqual(tracker.record([]), []);
  });

  it('counts the time from the last look, for every call puts the end off', async () => {
    tracker.record([loaded('a:8b')]);
    await clock.advance(200_000);
    tracker.record([loaded('a:8b')]);
    await clock.advance(200_000);
    assert.deepEqual(tracker.record([]), ['a:8b']);
  });

  it('calls a model evicted that is left with less VRAM', () => {
    tracker.record([loaded('a:8b')]);
    assert.deepEqual(tracker.record([loaded('a:8b', { size_vram: 3 * GB })]), ['a:8b']);
    assert.equal(tracker.read('a:8b').evicted, true);
    assert.equal(tracker.read('a:8b').in_vram, true);
    assert.deepEqual(tracker.record([loaded('a:8b', { size_vram: 3 * GB })]), [], 'said once');
  });

  it('after that was said, takes the lesser place for the usual one', () => {
    tracker.record([loaded('a:8b')]);
    tracker.record([loaded('a:8b', { size_vram: 3 * GB })]);
    tracker.forgive('a:8b');
    assert.deepEqual(tracker.record([loaded('a:8b', { size_vram: 3 * GB })]), []);
    assert.equal(tracker.read('a:8b').evicted, false);
  });

  it('compares no VRAM across context windows', () => {
    tracker.record([loaded('a:8b', { context_length: 16384, size_vram: 9 * GB })]);
    assert.deepEqual(tracker.record([loaded('a:8b')]), []);
    assert.equal(tracker.read('a:8b').evicted, false);
  });

  it('is loaded with a window only when it is that window', () => {
    tracker.record([
      loaded('a', { context_length: 4096 }),
      loaded('old', { context_length: undefined }),
    ]);
    assert.ok(tracker.isLoaded('a', 4096));
    assert.ok(!tracker.isLoaded('a', 8192));
    assert.ok(!tracker.isLoaded('b', 4096));
    assert.ok(tracker.isLoaded('old', 8192), 'a server that does not say its window');
  });

  describe('trust, without which a model is looked for before it is called,', () => {
    it('comes with an answer and lasts for half a minute', async () => {
      assert.ok(!tracker.trusted('a', 4096));
      tracker.touched('a', 4096);
      assert.ok(tracker.trusted('a:latest', 4096));
      await clock.advance(29_999);
      assert.ok(tracker.trusted('a', 4096));
      await clock.advance(1);
      assert.ok(!tracker.trusted('a', 4096));
    });

    it('is for one window', () => {
      tracker.touched('a', 4096);
      assert.ok(!tracker.trusted('a', 8192));
    });

    it('ends when another model is loaded, and not by loading the same', () => {
      tracker.touched('a', 4096);
      tracker.loaded('a:latest');
      assert.ok(tracker.trusted('a', 4096));
      tracker.loaded('b');
      assert.ok(!tracker.trusted('a', 4096));
    });

    it('ends with a look that does not find the model', () => {
      tracker.record([loaded('a')]);
      tracker.touched('a', 4096);
      tracker.record([loaded('a')]);
      assert.ok(tracker.trusted('a', 4096));
      tracker.record([]);
      assert.ok(!tracker.trusted('a', 4096));
    });

    it('ends with a look that does not find a model that no look had found before', () => {
      tracker.touched('a', 4096);
      tracker.record([]);
      assert.ok(!tracker.trusted('a', 4096));
    });

    it('is gone with everything else for another server', () => {
      tracker.record([loaded('a'), loaded('b')]);
      tracker.touched('a', 4096);
      tracker.record([loaded('a')]);
      tracker.reset();
      assert.ok(!tracker.trusted('a', 4096));
      assert.ok(!tracker.read('a').in_vram);
      assert.ok(!tracker.read('b').evicted);
      assert.deepEqual(tracker.resident, []);
      assert.deepEqual(tracker.record([]), [], 'nothing is missed on the new one');
    });
  });
});
