import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ollama } from 'ollama';
import { Agent, request } from 'undici';
import { createIntern } from '../../src/core';
import { type OllamaServer, startOllama } from '../support/ollama/server';
import { type Shape, startLineServer } from './lineServer';
import { type Figure, figure, type Goal, quantile } from './report';

const WARM_UP = 100;
const CALLS = 800;
const TEXT = 'The limiter admits two calls at once. Others wait in line.';
/** Small lines of one long answer, and how often it is read. */
const LINES = 5_000;
const STREAMS = 60;
const STREAMS_WARM_UP = 10;

const AT_MOST_1_MS_MORE: Goal = { text: 'at most 1 ms more', isMet: (f) => f.difference <= 1 };
const LESS: Goal = { text: 'less', isMet: (f) => f.difference < 0 };
const AT_LEAST_95_PERCENT: Goal = { text: 'ratio at least 0.95', isMet: (f) => f.ratio >= 0.95 };
const MORE: Goal = { text: 'more', isMet: (f) => f.difference > 0 };

/** Gives the text of the answer. */
type Call = () => Promise<string>;

/** The ways to the same answer of the same server that are compared. */
interface Ways {
  intern: Call;
  bare: Call;
  ollama: Call;
}

type Times = Record<keyof Ways, number[]>;

/** What `intern.run` and the `ollama` client add to the same request sent by hand. */
export async function benchRun(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const callers of [1, 8]) {
    const server = await startOllama({ numParallel: callers });
    const { ways, close } = await prepare(server, server.url, callers);
    const times = await inTurns(ways, callers, CALLS, WARM_UP);
    await close();
    await server.close();
    const compare = (way: keyof Ways, other: keyof Ways, share: number, goal?: Goal): Figure =>
      figure(
        `${NAMES[way]} against ${NAMES[other]}, ${callers} at once`,
        `p${share * 100} of ${CALLS}`,
        quantile(times[way], share),
        'ms',
        quantile(times[other], share),
        goal,
      );
    figures.push(
      compare('intern', 'bare', 0.5, AT_MOST_1_MS_MORE),
      compare('intern', 'bare', 0.99),
      compare('ollama', 'bare', 0.5),
      compare('ollama', 'bare', 0.99),
      compare('intern', 'ollama', 0.5, LESS),
    );
  }
  return figures;
}

/** Lines a second of a long answer made of many small lines. */
export async function benchStream(): Promise<Figure[]> {
  const lines = [...Array.from({ length: LINES - 1 }, () => answerLine('word ')), lastLine()];
  const figures: Figure[] = [];
  for (const shape of ['a chunk a line', 'one chunk'] satisfies Shape[]) {
    const simulator = await startOllama();
    const server = await startLineServer(simulator, lines, shape);
    const { ways, close } = await prepare(simulator, server.url, 1);
    const times = await inTurns(ways, 1, STREAMS, STREAMS_WARM_UP);
    await close();
    await server.close();
    await simulator.close();
    const rate = (way: keyof Ways): number => (LINES / quantile(times[way], 0.5)) * 1000;
    const compare = (way: keyof Ways, other: keyof Ways, goal?: Goal): Figure =>
      figure(
        `${NAMES[way]} against ${NAMES[other]}, stream`,
        `${LINES} lines, ${shape}, median of ${STREAMS}`,
        rate(way),
        'lines/s',
        rate(other),
        goal,
      );
    figures.push(
      compare('intern', 'bare', AT_LEAST_95_PERCENT),
      compare('ollama', 'bare'),
      compare('intern', 'ollama', MORE),
    );
  }
  return figures;
}

const NAMES = { intern: 'intern.run', bare: 'bare undici', ollama: 'ollama client' } as const;

export function answerLine(content: string, more: object = { done: false }): string {
  return `${JSON.stringify({
    model: 'hermes3:8b',
    created_at: '2026-01-01T00:00:00.000000000Z',
    message: { role: 'assistant', content },
    ...more,
  })}\n`;
}

function lastLine(): string {
  return answerLine('', {
    done: true,
    done_reason: 'stop',
    prompt_eval_count: 9,
    eval_count: LINES,
    eval_duration: 1e9,
  });
}

/** `url` is where the calls go; `simulator` tells what `intern.run` sends there. */
async function prepare(
  simulator: OllamaServer,
  url: string,
  callers: number,
): Promise<{ ways: Ways; close: () => Promise<void> }> {
  const logPath = join(tmpdir(), `intern-bench-${process.pid}.ndjson`);
  const settings = { logPath, maxConcurrent: callers };
  const run = async (intern: ReturnType<typeof createIntern>): Promise<string> => {
    let text = '';
    await intern.run('summarize_fast', { text: TEXT }, { onDelta: (delta) => (text += delta) });
    return text;
  };
  const first = createIntern({ settings: { ...settings, host: simulator.url }, env: {} });
  await run(first);
  await first.dispose();
  const { body } = simulator.requests.find((r) => r.path === '/api/chat') as {
    body: Record<string, unknown>;
  };

  const intern = createIntern({ settings: { ...settings, host: url }, env: {} });
  const agent = new Agent();
  const client = new Ollama({ host: url });
  const bytes = JSON.stringify(body);
  return {
    ways: {
      intern: () => run(intern),
      bare: () => callByHand(`${url}/api/chat`, bytes, agent),
      ollama: async () => {
        let text = '';
        for await (const part of await client.chat({ ...body, stream: true } as never)) {
          text += (part as { message: { content: string } }).message.content;
        }
        return text;
      },
    },
    close: async () => {
      await intern.dispose();
      await agent.close();
      await rm(logPath, { force: true });
    },
  };
}

/**
 * The least that anybody who wants the answer has to do: cut the bytes into lines, parse each and gather its text.
 * It checks nothing, counts nothing, and leaves the figures of the last line alone.
 */
async function callByHand(url: string, body: string, dispatcher: Agent): Promise<string> {
  const response = await request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    dispatcher,
  });
  const decoder = new TextDecoder();
  let rest = '';
  let text = '';
  for await (const chunk of response.body) {
    const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      text += (JSON.parse(line) as { message: { content: string } }).message.content;
    }
  }
  return text;
}

/**
 * Taken in turns, so that whatever else the machine does hits all of them; who is first changes from round to round, so
 * that what one leaves behind, such as a log to be written, does too.
 */
async function inTurns(ways: Ways, callers: number, calls: number, warmUp: number): Promise<Times> {
  const times: Times = { intern: [], bare: [], ollama: [] };
  const names = Object.keys(times) as (keyof Ways)[];
  for (let done = 0; done < warmUp + calls; done += callers) {
    for (const way of names) {
      const batch = await Promise.all(Array.from({ length: callers }, () => timed(ways[way])));
      if (done >= warmUp) times[way].push(...batch);
    }
    names.push(names.shift() as keyof Ways);
  }
  return times;
}

async function timed(call: Call): Promise<number> {
  const startedAt = performance.now();
  const text = await call();
  const elapsed = performance.now() - startedAt;
  if (text === '') throw new Error('A call gave no text.');
  return elapsed;
}
