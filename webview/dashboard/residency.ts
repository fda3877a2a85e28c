import { modelKey, sameModel } from '../../src/core/ollama/names';
import type { EvictedModel, ResidentModel, Work } from '../../src/shared/dashboard';
import { clock, count, gigabytes } from './format';
import { t } from './l10n';

/** `keep_alive: -1` gives a date centuries away. */
const FOREVER_MS = 30 * 24 * 3_600_000;

/** `8.1 of 10.5 GB in VRAM` */
export function placeText({ size, size_vram }: ResidentModel): string {
  if (size_vram === 0) return t('{0} GB, on the CPU', gigabytes(size));
  if (size_vram >= size) return t('{0} GB, all in VRAM', gigabytes(size));
  return t('{0} of {1} GB in VRAM', gigabytes(size_vram), gigabytes(size));
}

export function isKept(expiresAt: number | undefined, now: number): boolean {
  return expiresAt !== undefined && expiresAt - now > FOREVER_MS;
}

export function expiryText(expiresAt: number | undefined, now: number): string {
  if (expiresAt === undefined) return '';
  if (isKept(expiresAt, now)) return t('kept loaded');
  const left = expiresAt - now;
  return left > 0 ? t('expires in {0}', clock(left)) : t('expiring');
}

export function windowText(tokens: number | undefined): string {
  return tokens === undefined ? '' : t('{0} tokens', count(tokens));
}

/** `:latest` goes without saying. */
export function shortName(name: string): string {
  return name.replace(/:latest$/, '');
}

/** What is being done about a model, in a word; undefined: nothing. */
export function doingText({ doing }: Work, name: string): string | undefined {
  switch (doing[modelKey(name)]) {
    case undefined:
      return undefined;
    case 'loading':
      return t('loading');
    case 'keeping':
      return t('keeping');
    case 'unloading':
      return t('unloading');
    case 'pulling':
      return t('pulling');
  }
}

/** Those of the wanted models that are neither in memory nor told to be pushed out of it. */
export function absentModels(
  wanted: readonly string[],
  present: readonly { name: string }[],
): string[] {
  return wanted.filter((name) => !present.some((one) => sameModel(one.name, name)));
}

export function isPartial({ size, size_vram }: ResidentModel): boolean {
  return size_vram < size;
}

/** What is wrong in memory and what to do about it: one sentence or two a cause. */
export function advice(
  models: readonly ResidentModel[],
  evicted: readonly EvictedModel[],
): { models: string; text: string }[] {
  const found = models.filter(isPartial).map((model) => ({
    models: shortName(model.name),
    text: partialAdvice(model, models),
  }));
  const names = evicted.map(({ name }) => shortName(name)).join(', ');
  if (evicted.length === 1) {
    found.push({
      models: names,
      text: t(
        '{0} was pushed out of memory. Lower OLLAMA_MAX_LOADED_MODELS, or choose a smaller window so that the models fit together.',
        names,
      ),
    });
  } else if (evicted.length > 1) {
    found.push({
      models: names,
      text: t(
        '{0} were pushed out of memory. Lower OLLAMA_MAX_LOADED_MODELS, or choose smaller windows so that the models fit together.',
        names,
      ),
    });
  }
  return found;
}

function partialAdvice(model: ResidentModel, models: readonly ResidentModel[]): string {
  const name = shortName(model.name);
  if (model.size_vram === 0) {
    return models.every(({ size_vram }) => size_vram === 0)
      ? t(
          '{0} runs on the CPU. If this machine has a GPU, restart Ollama so that it is found.',
          name,
        )
      : t(
          '{0} runs on the CPU beside other models. Set OLLAMA_MAX_LOADED_MODELS=1, or restart Ollama.',
          name,
        );
  }
  const outside = gigabytes(Math.max(0.1e9, model.size - model.size_vram));
  return models.length > 1
    ? t(
        '{0} has {1} GB in RAM, which makes it 5 to 10 times slower. Set OLLAMA_MAX_LOADED_MODELS=1, or choose a smaller window.',
        name,
        outside,
      )
    : t(
        '{0} has {1} GB in RAM, which makes it 5 to 10 times slower. Choose a smaller window or a smaller model.',
        name,
        outside,
      );
}
