/** The cloud itself: the same API behind keys and limits, models without a suffix. */
import type { Call } from './daemon';
import { DAEMON_SIGNATURE } from './cloudLink';
import { ApiError } from './errors';
import { account } from './library';
import { defineModel, type ModelDefinition } from './models';
import { startOllama, type OllamaOptions, type OllamaServer } from './server';

export interface CloudOptions extends OllamaOptions {
  /** Accepted bearer keys. */
  keys?: Iterable<string>;
}

export type UsageLimit = 'session' | 'hourly' | 'weekly';

/** Everything here can be changed while the cloud runs. */
export interface CloudServer extends OllamaServer {
  readonly keys: Set<string>;
  /** Models that need a subscription. */
  readonly forbidden: Set<string>;
  /** Set: every generating request is answered with 429 until it is unset. */
  limit?: { kind: UsageLimit; retryAfter?: string };
  /** True: 503 to every generating request. */
  overloaded: boolean;
}

export const CLOUD_KEY = 'cloud-key';

export const cloudModels: readonly ModelDefinition[] = [
  defineModel({
    name: 'gpt-oss:120b',
    parameterSize: '116.8B',
    family: 'gptoss',
    quantization: 'MXFP4',
    capabilities: ['completion', 'tools', 'thinking'],
    contextLength: 131_072,
    embeddingLength: 2880,
  }),
  defineModel({
    name: 'qwen3-coder:480b',
    parameterSize: '480.0B',
    family: 'qwen3moe',
    quantization: 'BF16',
    capabilities: ['completion', 'tools'],
    contextLength: 262_144,
    embeddingLength: 6144,
  }),
  defineModel({
    name: 'minimax-m3',
    parameterSize: '230.0B',
    family: 'minimax',
    quantization: 'FP8',
    capabilities: ['completion', 'tools'],
    contextLength: 204_800,
    embeddingLength: 3072,
  }),
];

/** Not there at all: embeddings, and everything that has to do with a machine of one's own. */
const ABSENT = new Set([
  '/api/embed',
  '/api/embeddings',
  '/v1/embeddings',
  '/api/ps',
  '/api/pull',
  '/api/push',
  '/api/create',
  '/api/copy',
  '/api/delete',
]);
/** Anybody may look at the list. */
const PUBLIC = new Set(['/', '/api/tags', '/api/version', '/v1/models']);

export async function startCloud(options: CloudOptions = {}): Promise<CloudServer> {
  const { keys = [CLOUD_KEY], ...rest } = options;
  const server = await startOllama({
    models: cloudModels,
    // The cloud has room for everything and runs many requests of a model at once.
    numParallel: 64,
    maxLoadedModels: 1000,
    vram: Number.MAX_SAFE_INTEGER,
    ...rest,
    gate: (call) => gate(cloud, call),
  });
  const cloud: CloudServer = Object.assign(server, {
    keys: new Set(keys),
    forbidden: new Set<string>(),
    overloaded: false,
    limit: undefined,
  });
  return cloud;
}

async function gate(cloud: CloudServer, call: Call): Promise<boolean> {
  const { path, body, headers } = call.request;
  if (ABSENT.has(path)) throw new ApiError(404, `path ${JSON.stringify(path)} not found`);
  if (PUBLIC.has(path)) return false;
  if (!isKnown(cloud, headers.authorization)) throw new ApiError(401, 'unauthorized');
  if (path === '/api/me') {
    await call.reply.json(200, account());
    return true;
  }
  if (path === '/api/show') return false;
  refuseUsage(cloud, body.model ?? '');
  return false;
}

function isKnown(cloud: CloudServer, authorization = ''): boolean {
  if (authorization === DAEMON_SIGNATURE) return true;
  return cloud.keys.has(/^Bearer (.+)$/.exec(authorization)?.[1] ?? '');
}

function refuseUsage(cloud: CloudServer, model: string): void {
  if (cloud.overloaded) {
    throw new ApiError(
      503,
      'Server overloaded, please retry shortly (ref: 5f0f7a4e-0000-4000-8000-000000000000)',
    );
  }
  if (cloud.forbidden.has(model)) {
    throw new ApiError(
      403,
      'this model requires a subscription, upgrade for access: https://ollama.com/upgrade',
    );
  }
  if (!cloud.limit) return;
  const { kind, retryAfter } = cloud.limit;
  throw new ApiError(
    429,
    `you (intern) have reached your ${kind} usage limit, upgrade for higher limits: https://ollama.com/upgrade`,
    retryAfter === undefined ? {} : { headers: { 'Retry-After': retryAfter } },
  );
}
