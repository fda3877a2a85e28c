import type { EvictedModel, ResidentModel } from '../../src/shared/dashboard';
import { clock, count, gigabytes } from './format';

/** `keep_alive: -1` gives a date centuries away. */
const FOREVER_MS = 30 * 24 * 3_600_000;

/** `8.1 of 10.5 GB in VRAM` */
export function placeText({ size, size_vram }: ResidentModel): string {
  if (size_vram === 0) return `${gigabytes(size)} GB, on the CPU`;
  if (size_vram >= size) return `${gigabytes(size)} GB, all in VRAM`;
  return `${gigabytes(size_vram)} of ${gigabytes(size)} GB in VRAM`;
}

export function expiryText(expiresAt: number | undefined, now: number): string {
  if (expiresAt === undefined) return '';
  const left = expiresAt - now;
  if (left > FOREVER_MS) return 'kept loaded';
  return left > 0 ? `expires in ${clock(left)}` : 'expiring';
}

export function windowText(tokens: number | undefined): string {
  return tokens === undefined ? '' : `${count(tokens)} tokens`;
}

/** `:latest` goes without saying. */
export function shortName(name: string): string {
  return name.replace(/:latest$/, '');
}

export function isPartial({ size, size_vram }: ResidentModel): boolean {
  return size_vram < size;
}

/** What is wrong in memory and what to do about it: one sentence a cause. */
export function advice(
  models: readonly ResidentModel[],
  evicted: readonly EvictedModel[],
): { model: string; text: string }[] {
  const found = models.filter(isPartial).map((model) => ({
    model: shortName(model.name),
    text: partialAdvice(model, models),
  }));
  const [latest] = evicted;
  if (latest) {
    found.push({
      model: evicted.map(({ name }) => shortName(name)).join(', '),
      text: `${evicted.length === 1 ? 'was' : 'were'} pushed out of memory: lower OLLAMA_MAX_LOADED_MODELS, or choose a smaller window so that the models fit together.`,
    });
  }
  return found;
}

function partialAdvice(model: ResidentModel, models: readonly ResidentModel[]): string {
  if (model.size_vram === 0) {
    return models.every(({ size_vram }) => size_vram === 0)
      ? 'runs on the CPU: if this machine has a GPU, restart Ollama so that it is found.'
      : 'runs on the CPU beside other models: set OLLAMA_MAX_LOADED_MODELS=1, or restart Ollama.';
  }
  const outside = Math.max(0.1e9, model.size - model.size_vram);
  const spilled = `has ${gigabytes(outside)} GB in RAM, which makes it several times slower`;
  return models.length > 1
    ? `${spilled}: set OLLAMA_MAX_LOADED_MODELS=1, or choose a smaller window.`
    : `${spilled}: choose a smaller window or a smaller model.`;
}
