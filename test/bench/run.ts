import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { createIntern } from '../../src/core';
import { startOllama } from '../support/ollama/server';
import { type Figure, figure, quantile } from './report';

const WARM_UP = 50;
const CALLS = 400;
const TEXT = 'The limiter admits two calls at once. Others wait in line.';

/** What `intern.run` adds to the same request sent by hand, one after the other, to the same server. */
export async function benchRun(): Promise<Figure[]> {
  const server = await startOllama();
  const logPath = join(tmpdir(), `intern-bench-${process.pid}.ndjson`);
  const intern = createIntern({ settings: { host: server.url, logPath }, env: {} });
  const agent = new Agent();

  const run = () => intern.run('summarize_fast', { text: TEXT });
  await run();
  const body = JSON.stringify(server.requests.find((r) => r.path === '/api/chat')?.body);
  const bare = async (): Promise<void> => {
    const response = await request(`${server.url}/api/chat`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      dispatcher: agent,
    });
    let text = '';
    for await (const chunk of response.body) text += String(chunk);
    if (!text.includes('"done":true')) throw new Error('The bare call got no whole answer.');
  };

  const times = { run: [] as number[], bare: [] as number[] };
  // Taken in turns, so that whatever else the machine does hits both.
  for (let i = 0; i < WARM_UP + CALLS; i++) {
    for (const [name, call] of [['run', run] as const, ['bare', bare] as const]) {
      const startedAt = performance.now();
      await call();
      if (i >= WARM_UP) times[name].push(performance.now() - startedAt);
    }
  }
  await intern.dispose();
  await agent.close();
  await server.close();
  await rm(logPath, { force: true });
  return [0.5, 0.99].map((share) =>
    figure(
      'intern.run against a bare call',
      `p${share * 100} of ${CALLS}`,
      quantile(times.run, share),
      'ms',
      quantile(times.bare, share),
    ),
  );
}
