import type { ErrorCode } from '../errors';
import type { Residency } from '../routing/residency';
import type { Tier } from '../routing/tiers';

/** Where a model ran. */
export type Backend = 'local' | 'cloud' | 'gateway';

/** What a sentence calls a backend at its start. */
export const BACKEND_NAMES: Readonly<Record<Backend, string>> = {
  local: 'Ollama',
  cloud: 'Ollama Cloud',
  gateway: 'The gateway',
};

/** Why an answer comes from another backend than the one that was to give it. */
export type DegradeReason =
  | `${Backend}_${'timeout' | '5xx' | 'rate_limited' | 'unreachable' | 'auth_failed'}`
  | 'circuit_open';

/** The way in that a call took. */
export type Surface = 'command' | 'chat' | 'language_model' | 'tool' | 'http' | 'mcp' | 'library';

/** One try of one target. Milliseconds. */
export interface Attempt {
  backend: Backend;
  model: string;
  outcome: 'answer' | ErrorCode;
  elapsed_ms: number;
}

/**
 * The record of one call. Every field says what really happened; what is not known is absent, never guessed.
 * Times are whole milliseconds.
 */
export interface Envelope<R = unknown> {
  call_id: string;
  job: string;
  surface: Surface;
  result: R;
  tier_used: Tier;
  model: string;
  hardware_profile: string;
  backend: Backend;
  /** As the server counted them, as the next: not every gateway does. */
  tokens_in?: number;
  tokens_out?: number;
  /** From the call to the answer, with queue and load. */
  elapsed_ms: number;
  /** null where there is no such thing (cloud) or it could not be read. */
  residency: Residency | null;
  /** The answer comes from a lesser place than asked for. */
  degraded?: true;
  degrade_reason?: DegradeReason;
  /** The tier that was asked for, when a lower one answered. */
  fallback_from?: Tier;
  /** The model that the caller named. */
  model_requested?: string;
  /** Of a call of many prompts: those that failed, and the latest. */
  attempts: Attempt[];
  /** How many prompts were answered, when it is not one. */
  calls?: number;
  /** Waiting for other calls of this product. */
  queued_ms: number;
  /** Getting the model into memory. */
  load_ms: number;
  /** From sending the prompt to the first token. */
  first_token_ms?: number;
  /** While writing; prompt and load not counted. */
  tokens_per_second?: number;
  num_ctx?: number;
  /** The model did not see the whole input. */
  truncated?: true;
  /** `stop`, or `length` when the answer was cut at its limit. */
  done_reason?: string;
  /** 0 for local; absent where it is not known. */
  cost_usd?: number;
  /** Sentences for the person. */
  warnings: string[];
}

/** Unit and number the way the envelope line writes them: 412, 9,204. */
const number = new Intl.NumberFormat('en-US');

/** What ran where: `instant · local · hermes3:8b`. */
export function originText(envelope: Envelope): string {
  const { tier_used, fallback_from, backend, degraded, degrade_reason, model } = envelope;
  return [
    fallback_from ? `${tier_used} (instead of ${fallback_from})` : tier_used,
    degraded ? `${backend}, degraded${degrade_reason ? `: ${degrade_reason}` : ''}` : backend,
    model,
  ].join(' · ');
}

/** One line that tells what ran where: `instant · local · hermes3:8b · 412→188 tokens · 41 tok/s · 100 % in VRAM`. */
export function envelopeLine(envelope: Envelope): string {
  const parts = [originText(envelope)];
  const { tokens_in: tokensIn, tokens_out: tokensOut } = envelope;
  if (tokensIn !== undefined && tokensOut !== undefined) {
    parts.push(formatTokens(tokensIn, tokensOut));
  }
  if (envelope.tokens_per_second !== undefined) {
    parts.push(`${formatRate(envelope.tokens_per_second)} tok/s`);
  }
  const place = residencyText(envelope.residency);
  if (place) parts.push(place);
  if (envelope.truncated) parts.push('input shortened');
  if (envelope.done_reason === 'length') parts.push('cut at its length limit');
  return parts.join(' · ');
}

/** Where the weights are, in words. */
export function residencyText(residency: Residency | null): string | undefined {
  if (!residency) return undefined;
  if (!residency.in_vram) return 'not loaded';
  const evicted = residency.evicted ? ', evicted before' : '';
  if (residency.size_vram_bytes === 0) return `on the CPU${evicted}`;
  const share = Math.min(1, residency.size_vram_bytes / Math.max(1, residency.size_bytes));
  // Never round a spill up to "all of it".
  const percent = share === 1 ? 100 : Math.min(99, Math.max(1, Math.round(share * 100)));
  return `${percent} % in VRAM${evicted}`;
}

/** `412→188 tokens`. */
export function formatTokens(tokensIn: number, tokensOut: number): string {
  return `${number.format(tokensIn)}→${number.format(tokensOut)} tokens`;
}

export function formatRate(rate: number): string {
  return rate < 9.95 ? rate.toFixed(1) : number.format(Math.round(rate));
}

/** `340 ms`, `5.1 s`, `2 min 5 s`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
