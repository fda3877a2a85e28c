import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ollama } from 'ollama';
import { Agent, request } from 'undici';
import { createIntern } from '../../src/core';
import { type OllamaServer, startOllama } from '../support/ollama/server';
import { type Figure, figure, quantile } from './report';

const WARM_UP = 50;
const CALLS = 400;
const TEXT = 'The limiter admits two calls at once. Others wait in line.';
/** Small lines of one long answer, and how often it is read. */
const LINES = 5_000;
const STREAMS = 12;

type Call = () => Promise<void>;

/** The ways to the same answer of the same server that are compared. */
interface Ways {
  intern: Call;
  bare: Call;
  ollama: Call;
}

/** What `intern.run` adds to the same request sent by hand, and how the `ollama` client compares. */
export async function benchRun(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const callers of [1, 8]) {
    const server = await startOllama({ numParallel: callers });
    const { ways, close } = await prepare(server, callers);
    const times = await inTurns(ways, callers);
    await close();
    await server.close();
    for (const way of ['intern', 'ollama'] as const) {
      for (const share of [0.5, 0.99]) {
        figures.push(
          figure(
            `${NAMES[way]} against bare undici, ${callers} at once`,
            `p${share * 100} of ${CALLS}`,
            quantile(times[way], share),
            'ms',
            quantile(times.bare, share),
          ),
        );
      }
    }
  }
  return figures;
}

/** Lines a second of a long answer made of many small lines. */
export async function benchStream(): Promise<Figure[]> {
  const server = await startOllama();
  // The same bytes for everyone, and no work for the server: what is measured is the reading.
  const line = (content: string, done: boolean): string =>
    `${JSON.stringify({
      model: 'hermes3:8b',
      created_at: '2026-01-01T00:00:00.000000000Z',
      message: { role: 'assistant', content },
      done,
      ...(done && {
        done_reason: 'stop',
        prompt_eval_count: 9,
        eval_count: LINES,
        eval_duration: 1e9,
      }),
    })}\n`;
  const body = line('word ', false).repeat(LINES) + line('', true);
  server.faults.next({
    match: (r) => r.path === '/api/chat',
    times: Infinity,
    reply: { status: 200, body, headers: { 'Content-Type': 'application/x-ndjson' } },
  });
  const { ways, close } = await prepare(server, 1);
  const times = await inTurns(ways, 1, STREAMS, 2);
  await close();
  await server.close();
  const rate = (samples: number[]): number => (LINES / quantile(samples, 0.5)) * 1000;
  return (['intern', 'ollama'] as const).map((way) =>
    figure(
      `${NAMES[way]} against bare undici, stream`,
      `${LINES} lines, median of ${STREAMS}`,
      rate(times[way]),
      'lines/s',
      rate(times.bare),
    ),
  );
}

const NAMES = { intern: 'intern.run', ollama: 'ollama client' } as const;

async function prepare(
  server: OllamaServer,
  callers: number,
): Promise<{ ways: Ways; close: () => Promise<void> }> {
  const logPath = join(tmpdir(), `intern-bench-${process.pid}.ndjson`);
  const intern = createIntern({
    settings: { host: server.url, logPath, maxConcurrent: callers },
    env: {},
  });
  const agent = new Agent();
  const client = new Ollama({ host: server.url });
  let seen = 0;
  const run = async (): Promise<void> => {
    await intern.run('summarize_fast', { text: TEXT }, { onDelta: () => seen++ });
  };
  await run();
  const body = server.requests.find((r) => r.path === '/api/chat')?.body as Record<string, unknown>;
  const text = JSON.stringify(body);
  return {
    ways: {
      intern: run,
      bare: () => callByHand(`${server.url}/api/chat`, text, agent),
      ollama: async () => {
        for await (const part of await client.chat({ ...body, stream: true } as never)) {
          seen += (part as { message: { content: string } }).message.content.length;
        }
      },
    },
    close: async () => {
      await intern.dispose();
      await agent.close();
      await rm(logPath, { force: true });
    },
  };
}

/** The least that anybody who wants the answer has to do: read the lines and parse them. */
async function callByHand(url: string, body: string, dispatcher: Agent): Promise<void> {
  const response = await request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    dispatcher,
  });
  const decoder = new TextDecoder();
  let rest = '';
  let isDone = false;
  for await (const chunk of response.body) {
    const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) isDone = (JSON.parse(line) as { done: boolean }).done;
  }
  if (!isDone) throw new Error('The call by hand got no whole answer.');
}

/** Taken in turns, so that whatever else the machine does hits all of them. */
async function inTurns(
  ways: Ways,
  callers: number,
  calls = CALLS,
  warmUp = WARM_UP,
): Promise<Record<keyof Ways, number[]>> {
  const times: Record<keyof Ways, number[]> = { intern: [], bare: [], ollama: [] };
  for (let i = 0; i < warmUp + calls; i += callers) {
    for (const way of Object.keys(ways) as (keyof Ways)[]) {
      const batch = await Promise.all(Array.from({ length: callers }, () => timed(ways[way])));
      if (i >= warmUp) times[way].push(...batch);
    }
  }
  return times;
}

async function timed(call: Call): Promise<number> {
  const startedAt = performance.now();
  await call();
  return performance.now() - startedAt;
}
