import type { Backend } from '../audit/envelope';
import type { Config } from '../config';
import { modelKey } from '../ollama/names';
import { degradation, type Tier } from './tiers';

export const BACKENDS = ['local', 'cloud', 'gateway'] as const satisfies readonly Backend[];

/** A model and where it runs. */
export interface ModelRef {
  backend: Backend;
  model: string;
}

/** One try: a backend, a model, and the tier whose budget and options apply. */
export interface Target extends ModelRef {
  tier: Tier;
}

/** `gateway/qwen-coder`, `cloud/gpt-oss:120b`, `local/qwen3:8b`; a name without a backend is a local model's. */
export function parseModelRef(name: string): ModelRef & { isQualified: boolean } {
  const [, backend, model] = /^(local|cloud|gateway)\/(.+)$/.exec(name.trim()) ?? [];
  return backend && model
    ? { backend: backend as Backend, model, isQualified: true }
    : { backend: 'local', model: name.trim(), isQualified: false };
}

/** One spelling for every way of writing the same target; for comparing, not for showing. */
export function refKey({ backend, model }: ModelRef): string {
  return `${backend}/${modelKey(model)}`;
}

/** How a target is named in a chain. */
export function refLabel({ backend, model }: ModelRef): string {
  return `${backend}/${model}`;
}

/**
 * The ordered targets of a call. A model that the caller names is honoured on every backend; one named with its
 * backend runs there and nowhere else.
 */
export function routeOf(config: Config, tier: Tier, model?: string): Target[] {
  const { isQualified, ...own } = parseModelRef(model ?? config.tiers[tier].model);
  // Vectors of different models do not compare, and the cloud makes none: embedding has one target.
  if (tier === 'embed' || (model !== undefined && isQualified)) return [{ ...own, tier }];
  const { mode, models } = config.cloud;
  const cloud: ModelRef = { backend: 'cloud', model: model ?? models[tier] };
  const chain =
    config.fallbacks.get(refKey(own)) ??
    config.fallbacks.get(modelKey(own.model)) ??
    (model === undefined ? config.fallbacks.get('*') : undefined);
  return unique([
    ...(mode === 'primary' ? [cloud] : []),
    own,
    ...(chain ?? (mode === 'fallback' ? [cloud] : [])),
  ]).map((ref) => ({ ...ref, tier }));
}

/** What the tier degrades to on the same backend: other models only, as this one has just timed out. */
export function lesserTargets(config: Config, { backend, model, tier }: Target): Target[] {
  const lesser = degradation(tier)
    .map((t): Target => {
      const own = parseModelRef(config.tiers[t].model);
      const ref = backend === 'cloud' ? { backend, model: config.cloud.models[t] } : own;
      return { backend: ref.backend, model: ref.model, tier: t };
    })
    .filter((target) => target.backend === backend);
  return unique([{ backend, model, tier }, ...lesser]).slice(1);
}

function unique<T extends ModelRef>(refs: T[]): T[] {
  return refs.filter((ref, i) => refs.findIndex((other) => refKey(other) === refKey(ref)) === i);
}
