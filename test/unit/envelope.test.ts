import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type Envelope,
  envelopeLine,
  formatDuration,
  formatRate,
  residencyText,
} from '../../src/core/audit/envelope';
import type { Residency } from '../../src/core/routing/residency';

const GB = 1e9;

const resident = (more: Partial<Residency> = {}): Residency => ({
  in_vram: true,
  size_bytes: 5 * GB,
  size_vram_bytes: 5 * GB,
  evicted: false,
  ...more,
});

const envelope = (more: Partial<Envelope> = {}): Envelope => ({
  call_id: 'call_1',
  job: 'summarize_fast',
  surface: 'command',
  result: {},
  tier_used: 'instant',
  model: 'hermes3:8b',
  hardware_profile: 'dev-rtx5080',
  backend: 'local',
  tokens_in: 412,
  tokens_out: 188,
  elapsed_ms: 5100,
  residency: resident(),
  attempts: [],
  queued_ms: 0,
  load_ms: 0,
  tokens_per_second: 41.3,
  warnings: [],
  ...more,
});

describe('envelope line', () => {
  const rows: [what: string, more: Partial<Envelope>, line: string][] = [
    ['is short', {}, 'instant · local · hermes3:8b · 412→188 tokens · 41 tok/s · 100 % in VRAM'],
    [
      'groups large numbers',
      { tokens_in: 9204, tokens_out: 1_000_000, tokens_per_second: 1234.5 },
      'instant · local · hermes3:8b · 9,204→1,000,000 tokens · 1,235 tok/s · 100 % in VRAM',
    ],
    [
      'leaves out what is not known',
      { tokens_per_second: undefined, residency: null },
      'instant · local · hermes3:8b · 412→188 tokens',
    ],
    [
      'says that a lower tier answered',
      { fallback_from: 'deep', tier_used: 'workhorse', residency: null },
      'workhorse (instead of deep) · local · hermes3:8b · 412→188 tokens · 41 tok/s',
    ],
    [
      'says that it is degraded and why',
      { degraded: true, degrade_reason: 'cloud_timeout', residency: null },
      'instant · local, degraded: cloud_timeout · hermes3:8b · 412→188 tokens · 41 tok/s',
    ],
    [
      'leaves no colon hanging when it is degraded for no known reason',
      { degraded: true, residency: null },
      'instant · local, degraded · hermes3:8b · 412→188 tokens · 41 tok/s',
    ],
    [
      'says that the input was shortened and the answer cut',
      { truncated: true, done_reason: 'length', residency: null },
      'instant · local · hermes3:8b · 412→188 tokens · 41 tok/s · input shortened · cut at its length limit',
    ],
    [
      'says nothing about a normal end',
      { done_reason: 'stop', residency: null },
      'instant · local · hermes3:8b · 412→188 tokens · 41 tok/s',
    ],
    [
      'has no place in memory for the cloud',
      { backend: 'cloud', model: 'gpt-oss:120b', residency: null },
      'instant · cloud · gpt-oss:120b · 412→188 tokens · 41 tok/s',
    ],
  ];
  for (const [what, more, line] of rows) {
    it(what, () => assert.equal(envelopeLine(envelope(more)), line));
  }
});

describe('residency in words', () => {
  const rows: [residency: Residency | null, text: string | undefined][] = [
    [null, undefined],
    [resident(), '100 % in VRAM'],
    [resident({ in_vram: false, size_bytes: 0, size_vram_bytes: 0 }), 'not loaded'],
    [resident({ size_vram_bytes: 0 }), 'on the CPU'],
    [resident({ size_vram_bytes: 2.5 * GB }), '50 % in VRAM'],
    [resident({ size_vram_bytes: 4.999 * GB }), '99 % in VRAM'],
    [resident({ size_vram_bytes: 6 * GB }), '100 % in VRAM'],
    [resident({ evicted: true }), '100 % in VRAM, evicted before'],
    [resident({ evicted: true, size_vram_bytes: 2 * GB }), '40 % in VRAM, evicted before'],
    [resident({ evicted: true, size_vram_bytes: 0 }), 'on the CPU, evicted before'],
  ];
  for (const [residency, text] of rows) {
    it(text ?? 'nothing, when it is not known', () => assert.equal(residencyText(residency), text));
  }

  it('never says 100 % when a byte is elsewhere, nor 0 % when one is there', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 2 ** 40 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (size, f) => {
          const size_vram_bytes = Math.min(size - 1, Math.max(1, Math.floor(size * f)));
          const text = residencyText(resident({ size_bytes: size, size_vram_bytes }));
          assert.match(text ?? '', /^[1-9]\d? % in VRAM$/);
        },
      ),
    );
  });
});

describe('formats', () => {
  const durations: [ms: number, text: string][] = [
    [0, '0 ms'],
    [340, '340 ms'],
    [999, '999 ms'],
    [1000, '1.0 s'],
    [5100, '5.1 s'],
    [59_900, '59.9 s'],
    [59_999, '1 min 0 s'],
    [60_000, '1 min 0 s'],
    [125_000, '2 min 5 s'],
    [119_600, '2 min 0 s'],
    [3_600_000, '60 min 0 s'],
  ];
  for (const [ms, text] of durations) {
    it(`${ms} ms is ${text}`, () => assert.equal(formatDuration(ms), text));
  }

  it('a duration never shows 60 seconds or 1000 milliseconds', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000_000 }), (ms) => {
        assert.doesNotMatch(formatDuration(ms), /\b(60(\.0)? s|1000 ms)/);
      }),
    );
  });

  const rates: [rate: number, text: string][] = [
    [0.04, '0.0'],
    [3.14, '3.1'],
    [9.94, '9.9'],
    [9.96, '10'],
    [10, '10'],
    [41.3, '41'],
    [1234.5, '1,235'],
  ];
  for (const [rate, text] of rates) {
    it(`${rate} tokens a second are ${text}`, () => assert.equal(formatRate(rate), text));
  }
});
