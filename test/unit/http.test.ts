import assert from 'node:assert/strict';
import { Http, retryAfter } from '../../src/core/ollama/http';
import { createAgent } from '../../src/core/ollama/network';
import { faults, ManualClock, startOllama } from '../support/ollama/server';
import { failure } from './support';

const NOW = Date.UTC(2026, 0, 1);

describe('Retry-After', () => {
  const rows: [header: string | string[] | undefined, ms: number | undefined][] = [
    ['7', 7000],
    [' 7 ', 7000],
    ['0.5', 500],
    ['0', 0],
    // Nobody can wait for less than nothing.
    ['-5', 0],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Thursday, 01-Jan-26 00:01:00 GMT', 60_000],
    ['Wed, 31 Dec 2025 23:59:00 GMT', 0],
    [['7', '9'], 7000],
    [undefined, undefined],
    ['', undefined],
    ['soon', undefined],
    ['in 5', undefined],
    ['5 minutes', undefined],
    ['1e9', undefined],
    ['0x10', undefined],
    ['NaN', undefined],
    ['Thu, 99 Foo 2026', undefined],
    [[], undefined],
  ];
  for (const [header, ms] of rows) {
    it(`${JSON.stringify(header) ?? 'absent'} is ${ms ?? 'unknown'}`, () => {
      assert.equal(retryAfter(header, NOW), ms);
    });
  }

  it('as a date is measured on the clock that was given', async () => {
    const agent = createAgent();
    const clock = new ManualClock(NOW);
    const server = await startOllama({ clock });
    try {
      const now = () => clock.now();
      const http = new Http({ baseUrl: server.url, dispatcher: agent, now });
      const headers = { 'Retry-After': 'Thu, 01 Jan 2026 00:02:00 GMT' };
      await clock.advance(60_000);
      server.faults.next(faults.status(429, 'slow down', headers));
      const error = await failure(http.json('GET', '/api/tags', undefined, {}));
      assert.equal(error.details.retry_after_ms, 60_000);
    } finally {
      await server.close();
      await agent.destroy();
    }
  });
});
