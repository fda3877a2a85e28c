import type { Attempt, Backend } from '../audit/envelope';
import type { Clock } from '../clock';
import type { Config } from '../config';
import { InternError, toInternError } from '../errors';
import type { Catalogue, ModelInfo } from '../models/catalogue';
import type { TokenEstimator } from '../models/estimator';
import { isCloudName, modelKey } from '../ollama/names';
import type { Call, CallListener } from './call';
import type { Limiter } from './limiter';
import type { LocalAnswer, LocalBackend } from './local';
import { degradation, type GenerativeTier } from './tiers';

/** One try: a backend, a model, and the tier whose budget and options apply. */
export interface Target {
  backend: Backend;
  tier: GenerativeTier;
  model: string;
}

export interface Routed extends LocalAnswer {
  target: Target;
  attempts: Attempt[];
  numCtx: number;
}

/** What a call works with from beginning to end, whatever is configured meanwhile. */
export interface Setup {
  config: Config;
  catalogue: Catalogue;
  local: LocalBackend;
}

interface Dependencies {
  clock: Clock;
  estimator: TokenEstimator;
  limiter: Limiter;
  onFallback: (from: Target, to: Target, error: InternError) => void;
}

/** The failed call's attempts travel with its error. */
export class RouteError extends Error {
  constructor(
    readonly error: InternError,
    readonly attempts: Attempt[],
    readonly target: Target,
    readonly queuedMs: number,
  ) {
    super(error.message, { cause: error });
  }
}

/** Picks the targets of a call, fixed before the first byte is sent, and walks them. The only retry loop. */
export class Router {
  readonly #d: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#d = dependencies;
  }

  /** The ordered targets of a tier: the tier's model, and what the tier degrades to. */
  route({ tiers }: Config, tier: GenerativeTier, model?: string): Target[] {
    if (model) return [{ backend: 'local', tier, model }];
    const seen = new Set<string>();
    const targets: Target[] = [];
    for (const t of degradation(tier)) {
      const key = modelKey(tiers[t].model);
      // A model that has just timed out is not asked again under another tier's name.
      if (!seen.has(key)) targets.push({ backend: 'local', tier: t, model: tiers[t].model });
      seen.add(key);
    }
    return targets;
  }

  /** Whether a prompt of these texts fits with its answer, in the window of the first target. Tokens. */
  async fit(
    setup: Setup,
    call: Pick<Call, 'tier' | 'model' | 'numPredict'>,
    texts: string[],
    signal?: AbortSignal,
  ) {
    const target = this.route(setup.config, call.tier, call.model)[0] as Target;
    const info = await this.#usable(setup.catalogue, target, signal);
    const numCtx = this.#window(setup.config, target, info);
    const promptTokens = this.#d.estimator.count(target.model, texts);
    return { target, numCtx, promptTokens, available: numCtx - call.numPredict };
  }

  async run(setup: Setup, call: Call, listener: CallListener): Promise<Routed> {
    const { config, catalogue, local } = setup;
    const targets = this.route(config, call.tier, call.model);
    const attempts: Attempt[] = [];
    let queuedMs = 0;
    let last: RouteError | undefined;
    for (const [index, target] of targets.entries()) {
      const queuedAt = this.#d.clock.monotonic();
      let startedAt = queuedAt;
      let shown = false;
      let release: (() => void) | undefined;
      try {
        release = await this.#d.limiter.acquire(listener.signal, (position) =>
          listener.onPhase({ phase: 'queued', position }),
        );
        startedAt = this.#d.clock.monotonic();
        queuedMs += startedAt - queuedAt;
        const info = await this.#usable(catalogue, target, listener.signal);
        const numCtx = this.#window(config, target, info);
        // The lesser model's window may be smaller: what failed before is the better story then.
        if (last && call.promptTokens + call.numPredict > numCtx) throw last;
        if (last) this.#d.onFallback(last.target, target, last.error);
        const tier = config.tiers[target.tier];
        const answer = await local
          .run(
            call,
            { model: target.model, numCtx, tier, info, keepAlive: config.keepAlive },
            { ...listener, onDelta: (text) => ((shown = call.streamed), listener.onDelta(text)) },
          )
          .catch((thrown: unknown) => this.#explain(thrown, catalogue));
        attempts.push(this.#attempt(target, 'answer', startedAt));
        return {
          ...answer,
          queued_ms: answer.queued_ms + Math.round(queuedMs),
          target,
          attempts,
          numCtx,
        };
      } catch (thrown) {
        if (thrown instanceof RouteError) throw thrown;
        const error = toInternError(thrown);
        attempts.push(this.#attempt(target, error.code, startedAt));
        const next = targets[index + 1];
        // Only slowness is a reason for a lesser model, and never after the person saw the answer begin.
        last = new RouteError(error, attempts, target, Math.round(queuedMs));
        if (error.code !== 'timeout' || shown || !next) throw last;
      } finally {
        release?.();
      }
    }
    throw new Error('A route has at least one target.');
  }

  /** The catalogue knew the model, so one that is missing now has been removed since. */
  async #explain(thrown: unknown, catalogue: Catalogue): Promise<never> {
    const missing = thrown instanceof InternError && thrown.code === 'model_missing';
    throw missing ? await catalogue.explainMissing(thrown) : thrown;
  }

  #attempt(target: Target, outcome: Attempt['outcome'], startedAt: number): Attempt {
    const elapsed = this.#d.clock.monotonic() - startedAt;
    return {
      backend: target.backend,
      model: target.model,
      outcome,
      elapsed_ms: Math.round(elapsed),
    };
  }

  /** What the catalogue knows of the target, when it may be used at all. */
  async #usable(
    catalogue: Catalogue,
    target: Target,
    signal: AbortSignal | undefined,
  ): Promise<ModelInfo> {
    // By its name first: even a question about a cloud model would be passed on to the cloud.
    const info = isCloudName(target.model) ? undefined : await catalogue.info(target.model, signal);
    if (!info || info.remote) {
      throw new InternError({
        code: 'config',
        message: `${target.model} runs in the cloud, and nothing may leave this machine.`,
        hint: 'Choose a local model for this tier.',
        actions: [{ kind: 'choose_profile' }],
        details: { model: target.model },
      });
    }
    if (info.capabilities.includes('embedding') && !info.capabilities.includes('completion')) {
      throw new InternError({
        code: 'bad_input',
        message: `${target.model} makes embeddings and cannot write.`,
        hint: 'Choose a text model for this tier.',
        actions: [{ kind: 'choose_profile' }],
        details: { model: target.model, capability: 'completion' },
      });
    }
    return info;
  }

  /** The tier's window, no larger than the model was trained for. */
  #window({ tiers }: Config, target: Target, info: ModelInfo): number {
    const key = modelKey(target.model);
    // A model named by the caller shares the window of the tier that has it, or it would be reloaded.
    const own = Object.values(tiers).find((t) => modelKey(t.model) === key) ?? tiers[target.tier];
    return Math.min(own.numCtx, info.contextLength ?? Infinity);
  }
}
