/** Models that come and go: pull, push, create, and the blobs that create is made of. */
import { createHash } from 'node:crypto';
import { pause } from './clock';
import type { Call, Registry } from './daemon';
import { ApiError, errors } from './errors';
import { ggufProblem } from './gguf';
import { defineStub, fullName, isValidName, withTag, type InstalledModel } from './models';
import { decode, nameOf, textOf, type Json } from './validate';

/** The answers of these routes, streamed or not, have no charset. */
const PLAIN_JSON = 'application/json';

/** Runs the steps of a long job: a line each when streamed, otherwise only how it ended. */
async function report(call: Call, streamed: boolean, steps: AsyncIterable<Json>): Promise<void> {
  try {
    for await (const step of steps) if (streamed) await call.reply.line(step);
    if (!streamed) return await call.reply.json(200, { status: 'success' }, PLAIN_JSON);
    await call.reply.lastLine({ status: 'success' });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (streamed) await call.reply.failStream(error);
    else await call.reply.json(error.status, error.body(), PLAIN_JSON);
  }
}

export async function pull(call: Call): Promise<void> {
  const body = decode(call.request.bodyText, 'PullRequest');
  const name = nameOf(body);
  if (!isValidName(name)) throw errors.invalidModelName();
  await report(call, body.stream !== false, pullSteps(call, name));
}

async function* pullSteps(call: Call, name: string): AsyncGenerator<Json> {
  const { registry, models, clock } = call.daemon;
  yield { status: 'pulling manifest' };
  const model = manifest(registry, name);
  const layer = createHash('sha256').update(`weights ${model.name}`).digest('hex');
  const progress = { status: `pulling ${layer.slice(0, 12)}`, digest: `sha256:${layer}` };
  const step = Math.ceil(model.size / registry.steps);
  // An interrupted pull goes on where it stopped.
  let completed = registry.partial.get(model.name) ?? 0;
  while (completed < model.size) {
    if (registry.stepMs > 0) await pause(clock, registry.stepMs, call.signal);
    call.signal.throwIfAborted();
    completed = Math.min(model.size, completed + step);
    registry.partial.set(model.name, completed);
    yield { ...progress, total: model.size, completed };
  }
  yield { status: 'verifying sha256 digest' };
  yield { status: 'writing manifest' };
  registry.partial.delete(model.name);
  models.install({ ...model, name: withTag(name), modifiedAt: clock.now() });
}

function manifest(registry: Registry, name: string): InstalledModel {
  if (!registry.online) throw errors.manifestUnreachable(fullName(name));
  const model = registry.catalogue.find(name);
  if (!model) throw errors.manifestMissing();
  return model;
}

export async function push(call: Call): Promise<void> {
  const body = decode(call.request.bodyText, 'PushRequest');
  const name = nameOf(body);
  if (!isValidName(name)) throw errors.invalidModelName();
  await report(call, body.stream !== false, pushSteps(call, name));
}

async function* pushSteps(call: Call, name: string): AsyncGenerator<Json> {
  yield { status: 'retrieving manifest' };
  const model = call.daemon.models.find(name);
  if (!model) throw new ApiError(500, `couldn't find model "${name}"`);
  if (!call.daemon.cloud.options.signedIn) throw errors.unauthorized();
  call.daemon.registry.catalogue.install(model);
  yield { status: 'pushing manifest' };
}

export async function create(call: Call): Promise<void> {
  const body = decode(call.request.bodyText, 'CreateRequest');
  const name = nameOf(body);
  if (!isValidName(name)) throw errors.invalidModelName();
  await report(call, body.stream !== false, createSteps(call, name, body));
}

async function* createSteps(call: Call, name: string, body: Json): AsyncGenerator<Json> {
  const { models, registry, clock } = call.daemon;
  const from = textOf(body.from).replace(/:local$/i, '');
  const modifiedAt = clock.now();
  if (body.remote_host) {
    models.install({ ...defineStub(name, from, textOf(body.remote_host)), modifiedAt });
    return;
  }
  if (from) {
    // What is not there is pulled first.
    const base = models.find(from) ?? manifest(registry, from);
    yield { status: 'using existing layer' };
    models.install({
      ...base,
      name,
      modifiedAt,
      system: (body.system as string | undefined) ?? base.system,
      parameters: { ...base.parameters, ...(body.parameters as Record<string, number>) },
    });
    yield { status: 'writing manifest' };
    return;
  }
  yield { status: 'parsing GGUF' };
  for (const digest of Object.values((body.files ?? {}) as Record<string, string>)) {
    const file = registry.blobs.get(digest);
    if (!file) throw errors.blobMissing(digest);
    const problem = ggufProblem(file);
    if (problem) throw new ApiError(500, problem);
  }
  models.install({ name, modifiedAt });
  yield { status: 'writing manifest' };
}

const DIGEST = /^sha256[:-][0-9a-f]{64}$/;

export async function hasBlob(call: Call, digest: string): Promise<void> {
  if (!DIGEST.test(digest)) throw errors.badDigest();
  await call.reply.empty(call.daemon.registry.blobs.has(digest) ? 200 : 404);
}

export async function storeBlob(call: Call, digest: string, bytes: Buffer): Promise<void> {
  if (!DIGEST.test(digest)) throw errors.badDigest();
  const { blobs } = call.daemon.registry;
  if (blobs.has(digest)) return call.reply.empty(200);
  const actual = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (actual !== digest) throw errors.digestMismatch(digest, actual);
  blobs.set(digest, bytes);
  await call.reply.empty(201);
}
