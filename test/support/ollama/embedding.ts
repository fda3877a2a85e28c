/** POST /api/embed and its older sibling /api/embeddings. */
import { pause } from './clock';
import { acquire, findModel, runSettings, type Call } from './daemon';
import { ApiError, errors } from './errors';
import { durationNs, longestFit } from './generation';
import type { InstalledModel } from './models';
import { decode, keepAlive, textOf, type Json } from './validate';
import { omitEmpty } from './wire';

export interface Embedded {
  vectors: number[][];
  tokens: number;
  loadMs: number;
}

export async function embed(call: Call): Promise<void> {
  const { clock, cloud } = call.daemon;
  const started = clock.now();
  const body = decode(call.request.bodyText, 'EmbedRequest');
  keepAlive(body.keep_alive);
  const asked = textOf(body.model);
  if (await cloud.forward(call, asked, body)) return;
  const inputs = inputsOf(body.input);
  const model = findModel(call.daemon, asked, errors.modelNotFoundForEmbed);
  const { vectors, tokens, loadMs } = await computeVectors(call, model, body, inputs);
  const dimensions = (body.dimensions as number | undefined) ?? 0;
  await call.reply.json(200, {
    model: asked,
    embeddings: vectors
      .map((vector) => vector.map(float32))
      .map((vector) => cut(vector, dimensions)),
    ...(inputs.length === 0
      ? {}
      : omitEmpty({
          total_duration: durationNs(clock.now() - started),
          load_duration: durationNs(loadMs),
          prompt_eval_count: tokens,
        })),
  });
}

/** The old route answers one vector, and 500 where the new one says 400. */
export async function embeddings(call: Call): Promise<void> {
  const body = decode(call.request.bodyText, 'EmbeddingRequest');
  const asked = textOf(body.model);
  if (await call.daemon.cloud.forward(call, asked, body)) return;
  const model = findModel(call.daemon, asked, errors.modelNotFoundForEmbed);
  const prompt = typeof body.prompt === 'string' ? body.prompt : '';
  try {
    const inputs = prompt ? [prompt] : [];
    const { vectors } = await computeVectors(call, model, { ...body, truncate: true }, inputs);
    await call.reply.json(200, { embedding: vectors[0] ?? [] });
  } catch (error) {
    if (error instanceof ApiError && error.status === 400) throw new ApiError(500, error.message);
    throw error;
  }
}

export function inputsOf(input: unknown): string[] {
  if (input === undefined || input === null || input === '') return [];
  if (typeof input === 'string') return [input];
  if (!Array.isArray(input) || input.some((entry) => typeof entry !== 'string')) {
    throw errors.badInputType();
  }
  return input as string[];
}

export async function computeVectors(
  call: Call,
  model: InstalledModel,
  body: Json,
  inputs: string[],
): Promise<Embedded> {
  const { engine, clock, settings, stats } = call.daemon;
  const run = runSettings(call.daemon, model, body);
  const lease = await acquire(call, model, run);
  stats.active++;
  call.daemon.changed();
  try {
    // Nobody asks for the capability first: it is the runner that refuses.
    if (!model.capabilities.includes('embedding')) throw errors.noEmbeddings();
    if (inputs.length === 0) return { vectors: [], tokens: 0, loadMs: lease.loadMs };
    const fitted: string[] = [];
    for (const input of inputs) {
      fitted.push(await fitInput(call, model, input, run.numCtx, body.truncate !== false));
    }
    if (settings.tokenMs > 0) await pause(clock, settings.tokenMs * inputs.length, call.signal);
    const { vectors, tokens } = await engine.embed(model, fitted, call.signal);
    return { vectors, tokens, loadMs: lease.loadMs };
  } finally {
    stats.active--;
    lease.release();
  }
}

async function fitInput(
  call: Call,
  model: InstalledModel,
  input: string,
  numCtx: number,
  truncate: boolean,
): Promise<string> {
  const count = (text: string) =>
    call.daemon.engine.countPrompt({ model, messages: [], raw: text });
  if ((await count(input)) <= numCtx) return input;
  if (!truncate) throw errors.embedTooLong();
  const kept = await longestFit(input.length, async (length) => {
    return (await count(input.slice(0, length))) <= numCtx;
  });
  return input.slice(0, kept);
}

/** Cuts a vector short and brings it back to length one. */
function cut(vector: number[], dimensions: number): number[] {
  if (dimensions <= 0 || dimensions >= vector.length) return vector;
  const shorter = vector.slice(0, dimensions);
  const norm = Math.hypot(...shorter) || 1;
  return shorter.map((value) => float32(value / norm));
}

/** The shortest decimal that is the same float32, as Go prints it. */
function float32(value: number): number {
  const single = Math.fround(value);
  for (let digits = 6; digits <= 9; digits++) {
    const short = Number(single.toPrecision(digits));
    if (Math.fround(short) === single) return short;
  }
  return single;
}
