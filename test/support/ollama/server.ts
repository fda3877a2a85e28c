/**
 * A simulated Ollama server: real HTTP on the loopback interface, Ollama's rules, and an `Engine`
 * that supplies the answers. `startOllama()` is all that most tests need.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { chat, generateText } from './chat';
import { pause, realClock, type Clock } from './clock';
import { CloudLink, type CloudLinkOptions } from './cloudLink';
import { ComputedEngine } from './computed';
import type { Call, Daemon, Registry } from './daemon';
import { embed, embeddings } from './embedding';
import type { Engine } from './engine';
import { ApiError, RequestCanceled } from './errors';
import { Faults } from './faults';
import * as library from './library';
import { defaultCatalogue, defaultModels, ModelStore, type ModelDefinition } from './models';
import * as compat from './openai';
import { Happenings, type RecordedRequest, type RequestBody } from './recorder';
import * as registry from './registry';
import { Scheduler, type RunnerSnapshot } from './scheduler';
import { AnswerCut, Reply } from './wire';

export interface OllamaOptions {
  /** 0, the default, lets the system choose. */
  port?: number;
  /** Defaults to computed answers; an engine that is passed in is not disposed by `close`. */
  engine?: Engine;
  clock?: Clock;
  /** Installed at the start; default: the engine's models when one is given, else `defaultModels`. */
  models?: Iterable<ModelDefinition>;
  /** What pulls find. */
  pullable?: Iterable<ModelDefinition>;
  /** False: pulls cannot reach the registry. */
  registryOnline?: boolean;
  pullStepMs?: number;
  pullSteps?: number;
  version?: string;
  /** OLLAMA_NUM_PARALLEL, OLLAMA_MAX_QUEUE, OLLAMA_MAX_LOADED_MODELS. */
  numParallel?: number;
  maxQueue?: number;
  maxLoadedModels?: number;
  /** OLLAMA_KEEP_ALIVE, in milliseconds. */
  keepAliveMs?: number;
  /** OLLAMA_CONTEXT_LENGTH. */
  defaultNumCtx?: number;
  /** Bytes of graphics memory (0: a machine without any) and of memory beside it. */
  vram?: number;
  ram?: number;
  /** A cold load takes so long, unless the model says otherwise. */
  loadMs?: number;
  loadTimeoutMs?: number;
  /** Time for one token of the answer; 0 is as fast as it goes. */
  tokenMs?: number;
  /** 0: prompts take no time. */
  promptTokensPerSecond?: number;
  cloud?: Partial<CloudLinkOptions>;
  /** Origins beyond Ollama's own list. */
  origins?: string[];
  /** Called before a request is handled; what it throws is the answer, true means it answered. */
  gate?: (call: Call) => Promise<boolean> | boolean;
}

export interface OllamaServer {
  readonly url: string;
  readonly port: number;
  /** Every request since the start, oldest first. */
  readonly requests: RecordedRequest[];
  readonly models: ModelStore;
  /** What is loaded at this moment. */
  readonly runners: RunnerSnapshot[];
  readonly faults: Faults;
  readonly clock: Clock;
  readonly cloud: CloudLinkOptions;
  readonly registry: Registry;
  readonly stats: {
    /** Requests that hold a runner. */
    readonly active: number;
    /** Requests that wait for their load to begin. */
    readonly queued: number;
    readonly generatedTokens: number;
    readonly cancelled: number;
    readonly loads: number;
    readonly unloads: number;
    readonly evictions: number;
  };
  /** Resolves with the first request, past or future, that satisfies the predicate. */
  waitForRequest(predicate?: (request: RecordedRequest) => boolean): Promise<RecordedRequest>;
  /** Looks again after everything that happens on the server, until the result is truthy. */
  waitFor<T>(look: () => T, what?: string): Promise<NonNullable<T>>;
  /** Resolves when no request is being answered. */
  whenIdle(): Promise<void>;
  /** Drops all connections and stops listening; models in memory are gone. */
  stop(): Promise<void>;
  /** Listens again, on the same port. */
  start(): Promise<void>;
  restart(): Promise<void>;
  close(): Promise<void>;
}

const GiB = 2 ** 30;
const FIVE_MINUTES = 5 * 60_000;

export async function startOllama(options: OllamaOptions = {}): Promise<OllamaServer> {
  const server = new SimulatedOllama(options);
  await server.start();
  return server;
}

const PLAIN = { 'Content-Type': 'text/plain; charset=utf-8' };

type Handler = (call: Call, bytes: Buffer) => Promise<void>;

const ROUTES: Record<string, Record<string, Handler>> = {
  '/': { GET: (call) => call.reply.send(200, 'Ollama is running', PLAIN) },
  '/api/version': { GET: library.version },
  '/api/status': { GET: library.status },
  '/api/tags': { GET: library.tags },
  '/api/ps': { GET: library.ps },
  '/api/show': { POST: library.show },
  '/api/chat': { POST: chat },
  '/api/generate': { POST: generateText },
  '/api/embed': { POST: embed },
  '/api/embeddings': { POST: embeddings },
  '/api/pull': { POST: registry.pull },
  '/api/push': { POST: registry.push },
  '/api/create': { POST: registry.create },
  '/api/copy': { POST: library.copy },
  '/api/delete': { DELETE: library.remove },
  '/api/me': { POST: library.me },
  '/api/signout': { POST: library.signout },
  '/api/experimental/web_search': {
    POST: (call) => call.daemon.cloud.proxy(call, '/api/web_search'),
  },
  '/api/experimental/web_fetch': {
    POST: (call) => call.daemon.cloud.proxy(call, '/api/web_fetch'),
  },
  '/v1/chat/completions': { POST: compat.chatCompletions },
  '/v1/embeddings': { POST: compat.compatEmbeddings },
  '/v1/models': { GET: compat.compatModels },
  '/v1/responses': { POST: compat.responses },
  '/v1/messages': { POST: compat.messages },
};

/** GET routes that answer HEAD too. */
const WITH_HEAD = new Set(['/', '/api/version', '/api/tags']);
const BLOB_PATH = /^\/api\/blobs\/([^/]+)$/;

function blobRoutes(digest: string): Record<string, Handler> {
  return {
    HEAD: (call) => registry.hasBlob(call, digest),
    POST: (call, bytes) => registry.storeBlob(call, digest, bytes),
  };
}

function routesFor(path: string): Record<string, Handler> | undefined {
  const blob = BLOB_PATH.exec(path)?.[1];
  if (blob) return blobRoutes(decodeURIComponent(blob));
  return ROUTES[path];
}

class SimulatedOllama implements OllamaServer {
  readonly requests: RecordedRequest[] = [];
  readonly faults = new Faults();
  readonly clock: Clock;
  private readonly daemon: Daemon;
  private readonly happenings = new Happenings();
  private readonly inFlight = new Set<AbortController>();
  private readonly sockets = new Set<Socket>();
  private readonly ownsEngine: boolean;
  private http: Server | undefined;
  private boundPort: number;

  constructor(private readonly options: OllamaOptions) {
    this.clock = options.clock ?? realClock;
    this.boundPort = options.port ?? 0;
    this.ownsEngine = !options.engine;
    this.daemon = createDaemon(options, this.clock, () => this.happenings.happened());
  }

  get port(): number {
    return this.boundPort;
  }

  get url(): string {
    return `http://127.0.0.1:${this.boundPort}`;
  }

  get models(): ModelStore {
    return this.daemon.models;
  }

  get runners(): RunnerSnapshot[] {
    return this.daemon.scheduler.snapshot();
  }

  get cloud(): CloudLinkOptions {
    return this.daemon.cloud.options;
  }

  get registry(): Registry {
    return this.daemon.registry;
  }

  get stats(): OllamaServer['stats'] {
    const { scheduler, stats } = this.daemon;
    return { ...stats, ...scheduler.stats, queued: scheduler.queued };
  }

  waitForRequest(
    predicate: (request: RecordedRequest) => boolean = () => true,
  ): Promise<RecordedRequest> {
    return this.waitFor(() => this.requests.find(predicate), 'a request');
  }

  waitFor<T>(look: () => T, what?: string): Promise<NonNullable<T>> {
    return this.happenings.waitFor(look, what);
  }

  async whenIdle(): Promise<void> {
    await this.waitFor(() => this.inFlight.size === 0, 'the server to be idle');
  }

  start(): Promise<void> {
    const server = createServer((request, response) => void this.serve(request, response));
    // Answers may take longer than Node would allow a request to.
    server.requestTimeout = 0;
    // And a connection that closes by itself would race with the client's next request.
    server.keepAliveTimeout = 0;
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    this.http = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.boundPort, '127.0.0.1', () => {
        this.boundPort = (server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  async stop(): Promise<void> {
    const server = this.http;
    this.http = undefined;
    for (const socket of this.sockets) socket.destroy();
    for (const call of this.inFlight) call.abort(new RequestCanceled());
    this.daemon.scheduler.clear();
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
    await this.whenIdle();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async close(): Promise<void> {
    await this.stop();
    if (this.ownsEngine) await this.daemon.engine.dispose();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const controller = new AbortController();
    this.inFlight.add(controller);
    const record = this.record(request);
    response.on('close', () => {
      if (response.writableFinished || record.endedAt !== undefined) return;
      record.abortedAt = this.clock.now();
      this.daemon.stats.cancelled++;
      controller.abort(new RequestCanceled());
      this.happenings.happened();
    });
    try {
      const bytes = await bodyOf(request);
      record.bodyText = bytes.toString('utf8');
      record.body = parsed(record.bodyText);
      this.requests.push(record);
      this.happenings.happened();
      await this.answer(record, response, controller.signal, bytes);
    } catch {
      // The connection broke, from either side: there is nobody to tell.
      if (!response.writableEnded) response.destroy();
    } finally {
      this.inFlight.delete(controller);
      this.happenings.happened();
    }
  }

  private record(request: IncomingMessage): RecordedRequest {
    const url = new URL(request.url ?? '/', 'http://localhost');
    return {
      id: this.requests.length + 1,
      method: request.method ?? 'GET',
      path: url.pathname,
      query: url.search.slice(1),
      headers: request.headers,
      body: {} as RequestBody,
      bodyText: '',
      startedAt: this.clock.now(),
      lines: 0,
    };
  }

  private async answer(
    request: RecordedRequest,
    response: ServerResponse,
    signal: AbortSignal,
    bytes: Buffer,
  ): Promise<void> {
    const fault = this.faults.take(request);
    const changed = () => this.happenings.happened();
    const reply = new Reply(response, request, this.clock, signal, fault, changed);
    const call: Call = { daemon: this.daemon, request, reply, signal, fault };
    if (await this.refusedByFault(call)) return;
    try {
      const forbidden = forbiddenHost(request) || forbiddenOrigin(request, this.options.origins);
      if (forbidden) return await reply.empty(403);
      if (await this.options.gate?.(call)) return;
      await this.route(call, bytes);
    } catch (error) {
      if (error instanceof AnswerCut) return;
      if (signal.aborted) throw error;
      await refuse(call, asApiError(error));
    }
  }

  /** The faults that leave no room for a real answer. */
  private async refusedByFault({ fault, reply, signal }: Call): Promise<boolean> {
    if (!fault) return false;
    if (fault.delayMs) await pause(this.clock, fault.delayMs, signal);
    if (fault.hang) {
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new RequestCanceled()), { once: true });
      });
    }
    if (!fault.reply) return false;
    const { status, body = '', headers = {} } = fault.reply;
    const json = typeof body === 'object';
    await reply.send(status, json ? JSON.stringify(body) : body, {
      ...(json ? { 'Content-Type': 'application/json; charset=utf-8' } : {}),
      ...headers,
    });
    return true;
  }

  private async route(call: Call, bytes: Buffer): Promise<void> {
    const { method, path } = call.request;
    if (method === 'OPTIONS') return call.reply.empty(204);
    const routes = routesFor(path);
    if (!routes) return call.reply.text(404, '404 page not found');
    const asGet = method === 'HEAD' && WITH_HEAD.has(path);
    const handler = routes[asGet ? 'GET' : method];
    if (!handler) return call.reply.text(405, '405 method not allowed');
    await handler(call, bytes);
  }
}

function createDaemon(options: OllamaOptions, clock: Clock, onChange: () => void): Daemon {
  const engine = options.engine ?? new ComputedEngine();
  const models = new ModelStore(options.models ?? options.engine?.models ?? defaultModels);
  const cloud = { disabled: false, signedIn: true, ...options.cloud };
  return {
    clock,
    engine,
    models,
    cloud: new CloudLink(cloud, models),
    scheduler: new Scheduler({
      engine,
      clock,
      numParallel: options.numParallel ?? 1,
      maxQueue: options.maxQueue ?? 512,
      maxLoadedModels: options.maxLoadedModels || 3,
      vram: options.vram ?? 22 * GiB,
      ram: options.ram ?? 64 * GiB,
      loadMs: options.loadMs ?? 0,
      loadTimeoutMs: options.loadTimeoutMs ?? FIVE_MINUTES,
      keepAliveMs: options.keepAliveMs ?? FIVE_MINUTES,
      onChange,
    }),
    registry: {
      catalogue: new ModelStore(options.pullable ?? defaultCatalogue),
      online: options.registryOnline ?? true,
      stepMs: options.pullStepMs ?? 0,
      steps: options.pullSteps ?? 4,
      partial: new Map(),
      blobs: new Map(),
    },
    settings: {
      version: options.version ?? '0.33.0',
      defaultNumCtx: options.defaultNumCtx ?? 4096,
      tokenMs: options.tokenMs ?? 0,
      promptTokensPerSecond: options.promptTokensPerSecond ?? 0,
    },
    stats: { active: 0, generatedTokens: 0, cancelled: 0 },
    changed: onChange,
  };
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(500, error instanceof Error ? error.message : String(error));
}

/** Each surface has its own error shape. */
async function refuse(call: Call, error: ApiError): Promise<void> {
  if (call.reply.started) return call.reply.end();
  if (call.request.path === '/v1/messages') return compat.refuseAnthropic(call, error);
  if (call.request.path.startsWith('/v1/')) return compat.refuseOpenAi(call, error);
  return call.reply.fail(error);
}

/** Against DNS rebinding: a server on the loopback interface knows its own names. */
function forbiddenHost(request: RecordedRequest): boolean {
  const host = (request.headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
  const own = /^(localhost|.+\.(localhost|local|internal)|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0|)$/;
  return !own.test(host);
}

const OWN_ORIGINS = [
  /^https?:\/\/(localhost|127\.0\.0\.1|0\.0\.0\.0)(:\d+)?$/,
  /^(app|file|tauri|vscode-webview|vscode-file):\/\//,
];

function forbiddenOrigin(request: RecordedRequest, allowed: string[] = []): boolean {
  const { origin } = request.headers;
  if (!origin || allowed.includes(origin) || allowed.includes('*')) return false;
  return !OWN_ORIGINS.some((pattern) => pattern.test(origin));
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function parsed(text: string): RequestBody {
  try {
    const value = JSON.parse(text) as RequestBody | null;
    return typeof value === 'object' && value !== null ? value : ({} as RequestBody);
  } catch {
    return {} as RequestBody;
  }
}

export { ManualClock, realClock, type Clock } from './clock';
export { faults, type Fault } from './faults';
export { defaultModels, defineModel, defineStub, type InstalledModel } from './models';
export type { RecordedRequest, RequestBody } from './recorder';
