import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIntern, type InputOf } from '../../src/core';

export type LongJob = 'triage_logs' | 'summarize_deep';

export interface Measured {
  elapsedMs: number;
  /** The heap and its buffers at their most, garbage included, beyond what there was with the input alone. */
  grownKb: number;
}

const SAMPLE_MS = 10;

async function main(job: LongJob, inputPath: string, host: string): Promise<Measured> {
  const logPath = join(tmpdir(), `intern-bench-${process.pid}.ndjson`);
  const intern = createIntern({ settings: { host, logPath }, env: {} });
  // What a server says of its models is asked once, long before.
  await intern.run('summarize_fast', { text: 'The limiter admits two calls at once.' });
  const input = JSON.parse(await readFile(inputPath, 'utf8')) as InputOf<LongJob>;
  globalThis.gc?.();
  const before = used();
  let most = before;
  const sample = (): void => void (most = Math.max(most, used()));
  const sampler = setInterval(sample, SAMPLE_MS);
  const startedAt = performance.now();
  await intern.run(job, input);
  const elapsedMs = performance.now() - startedAt;
  clearInterval(sampler);
  sample();
  await intern.dispose();
  await rm(logPath, { force: true });
  return { elapsedMs, grownKb: (most - before) / 1024 };
}

function used(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const [, , job, inputPath, host] = process.argv as [string, string, LongJob, string, string];
void main(job, inputPath, host).then((measured) => console.log(JSON.stringify(measured)));
