import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { InputOf } from '../../src/core';
import { startOllama } from '../support/ollama/server';
import { startLineServer } from './lineServer';
import type { LongJob, Measured } from './longInput-child';
import { type Figure, figure, type Goal } from './report';
import { answerLine } from './run';

/** A prompt takes so long, whatever it says. Milliseconds. */
const LATENCY = 2_000;
/** The limiter's default. */
const AT_ONCE = 2;
const LOG_BYTES = 20_000_000;
const FILES = 200;
const FILE_BYTES = 10_000;

const atMost = (ratio: number): Goal => ({
  text: `ratio at most ${ratio}`,
  isMet: (f) => f.ratio <= ratio,
});

interface LongInput {
  job: LongJob;
  what: string;
  input: InputOf<LongJob>;
  answer: string;
}

/**
 * Inputs that take many prompts. The ideal is the time that the model needs for all of them, divided by how many it
 * takes at once; memory stands beside the size of the input.
 */
export async function benchLongInput(): Promise<Figure[]> {
  const figures: Figure[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'intern-bench-'));
  for (const { job, what, input, answer } of [longLog(), manyFiles()]) {
    const path = join(folder, `${job}.json`);
    const json = JSON.stringify(input);
    await writeFile(path, json);
    const simulator = await startOllama();
    const lines = [
      answerLine(answer),
      answerLine('', { done: true, done_reason: 'stop', eval_count: 9, eval_duration: 1e9 }),
    ];
    const server = await startLineServer(simulator, lines, 'one chunk', LATENCY);
    const { elapsedMs, grownKb } = await measure(job, path, server.url);
    // The first is not of the job.
    const prompts = server.chats - 1;
    figures.push(
      figure(
        `${job} of ${what} against the model's time`,
        `${prompts} prompts of ${LATENCY} ms, ${AT_ONCE} at once`,
        elapsedMs,
        'ms',
        (prompts * LATENCY) / AT_ONCE,
        atMost(1.15),
      ),
      figure(
        `${job} of ${what}, memory against its size`,
        'most that the heap grew',
        grownKb,
        'KB',
        json.length / 1024,
        atMost(10),
      ),
    );
    await server.close();
    await simulator.close();
  }
  await rm(folder, { recursive: true });
  return figures;
}

/** In a process of its own, whose memory nothing else has grown. */
async function measure(job: LongJob, path: string, url: string): Promise<Measured> {
  const child = join(__dirname, 'longInput-child.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...['--expose-gc', '--import', 'tsx', child],
    ...[job, path, url],
  ]);
  return JSON.parse(stdout) as Measured;
}

/** Enough kinds of errors for all windows. */
function longLog(): LongInput {
  const nouns = 'pool cache queue shard lease cursor socket token index batch'.split(' ');
  const verbs = 'refused dropped lost closed rejected overran missed broke'.split(' ');
  const of = (words: string[], i: number): string => words[i % words.length] ?? '';
  const failed = (i: number): string =>
    `ERROR the ${of(nouns, i)} of the ${of(nouns, Math.floor(i / 10))} ${of(verbs, Math.floor(i / 100))} the ${of(nouns, Math.floor(i / 800))}`;
  let text = '';
  for (let i = 0; text.length < LOG_BYTES; i++) {
    const what = i % 50 === 7 ? failed(Math.floor(i / 50)) : `INFO answered after ${i % 97} ms`;
    text += `2026-01-01T00:00:${String(i % 60).padStart(2, '0')}Z worker ${i % 16}: ${what}, request ${i}\n`;
  }
  const answer = {
    errors: [{ line: 8, message: 'the pool of the pool refused the pool' }],
    warnings: [],
    cause: null,
    lines: [],
  };
  return {
    job: 'triage_logs',
    what: 'a 20 MB log',
    input: { text },
    answer: JSON.stringify(answer),
  };
}

function manyFiles(): LongInput {
  const sources = Array.from({ length: FILES }, (_, file) => {
    let text = '';
    for (let i = 0; text.length < FILE_BYTES; i++) {
      text += `/** Part ${i} of file ${file}: waits for a permit, and gives it back. */\nexport function part${i}() {}\n\n`;
    }
    return { name: `src/file${file}.ts`, text };
  });
  const answer = 'It admits calls in the order in which they come. '.repeat(25);
  return {
    job: 'summarize_deep',
    what: `${FILES} files`,
    input: { sources },
    answer,
  };
}
