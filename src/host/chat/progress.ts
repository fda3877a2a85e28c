import { type Phase, phaseText } from '../../core';

/** Chat keeps every line of progress under the one before, so only some are worth one. */
const LOADING_EVERY_MS = 10_000;
const MOST_STEPS = 10;

/** A phase as a line of progress: the same text for phases that need no line of their own. */
export function progressText(phase: Phase): string {
  switch (phase.phase) {
    case 'loading':
      return phaseText({ ...phase, elapsed_ms: rounded(phase.elapsed_ms, LOADING_EVERY_MS) });
    case 'steps':
      return phaseText({
        ...phase,
        done: rounded(phase.done, Math.ceil(phase.total / MOST_STEPS)),
      });
    case 'writing':
      return `${phase.model} is writing`;
    default:
      return phaseText(phase);
  }
}

function rounded(value: number, unit: number): number {
  return unit > 0 ? Math.floor(value / unit) * unit : value;
}
