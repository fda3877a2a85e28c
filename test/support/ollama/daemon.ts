/** What the handlers share: the state of one running server, and one call to it. */
import type { Clock } from './clock';
import type { CloudLink } from './cloudLink';
import type { Engine } from './engine';
import { errors } from './errors';
import type { Fault } from './faults';
import { fullName, isValidName, type InstalledModel, type ModelStore } from './models';
import type { RecordedRequest } from './recorder';
import type { Lease, Scheduler } from './scheduler';
import { keepAlive, runOptions, type Json, type RunOptions } from './validate';
import type { Reply } from './wire';

export interface Daemon {
  clock: Clock;
  engine: Engine;
  models: ModelStore;
  scheduler: Scheduler;
  cloud: CloudLink;
  registry: Registry;
  settings: {
    version: string;
    defaultNumCtx: number;
    tokenMs: number;
    promptTokensPerSecond: number;
  };
  stats: { active: number; generatedTokens: number; cancelled: number };
  /** Something happened that a test may be waiting for. */
  changed: () => void;
}

/** Where pulls come from. */
export interface Registry {
  catalogue: ModelStore;
  online: boolean;
  /** Between two progress lines. */
  stepMs: number;
  steps: number;
  /** Layers that interrupted pulls have left behind: bytes by model name. */
  partial: Map<string, number>;
  blobs: Map<string, Buffer>;
}

export interface Call {
  daemon: Daemon;
  request: RecordedRequest;
  reply: Reply;
  /** Aborted when the client goes away or the server stops. */
  signal: AbortSignal;
  fault: Fault | undefined;
}

export function findModel(
  daemon: Daemon,
  name: string,
  notFound: (name: string) => Error = errors.modelNotFound,
): InstalledModel {
  if (name && !isValidName(name)) throw errors.invalidModelName();
  const model = name ? daemon.models.find(name) : undefined;
  if (!model) throw notFound(name);
  return model;
}

export interface RunSettings {
  options: RunOptions;
  numCtx: number;
  /** Undefined: not asked for. */
  keepAliveMs: number | undefined;
  shift: boolean;
}

/** What the request asks of the runner. A wrong option type is a 500, as in Ollama. */
export function runSettings(daemon: Daemon, model: InstalledModel, body: Json): RunSettings {
  const options = runOptions({ ...model.parameters, ...((body.options as Json | null) ?? {}) });
  const asked = Math.max(options.numCtx ?? daemon.settings.defaultNumCtx, 4);
  const least = model.capabilities.includes('vision') ? Math.max(asked, 2048) : asked;
  return {
    options,
    numCtx: Math.min(least, model.contextLength),
    keepAliveMs: keepAlive(body.keep_alive),
    shift: body.shift !== false,
  };
}

export function acquire(call: Call, model: InstalledModel, run: RunSettings): Promise<Lease> {
  return call.daemon.scheduler.acquire({
    model,
    numCtx: run.numCtx,
    runnerKey: `${run.numCtx} ${run.shift} ${run.options.runnerKey}`,
    keepAliveMs: run.keepAliveMs,
    signal: call.signal,
    loadFault: call.fault?.load,
  });
}

export function requireCapability(model: InstalledModel, capability: 'tools' | 'insert'): void {
  if (!model.capabilities.includes(capability)) {
    throw errors.lacksCapability(fullName(model.name), capability);
  }
}
