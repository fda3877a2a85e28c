import type { ChatMessage } from '../ollama/client';
import type { GenerativeTier } from './tiers';

/** What the router is asked to get done. */
export interface Call {
  tier: GenerativeTier;
  messages: ChatMessage[];
  /** Most tokens of the answer. */
  numPredict: number;
  /** Estimated tokens of the messages. */
  promptTokens: number;
  temperature: number;
  /** true: the budget is the longest silence. false: the budget is the total. */
  streamed: boolean;
  /** A model that the caller named; it is used and nothing else. */
  model: string | undefined;
}

/** Where a running call is, for whoever waits. */
export type Phase =
  | { phase: 'queued'; position: number }
  | { phase: 'loading'; model: string; elapsed_ms: number; expected_ms: number | undefined }
  | { phase: 'reading'; model: string }
  | { phase: 'writing'; model: string; tokens: number };

export interface CallListener {
  signal: AbortSignal | undefined;
  onPhase: (phase: Phase) => void;
  onDelta: (text: string) => void;
}

/** `loading qwen3:14b, 14 s of about 20 s` */
export function phaseText(phase: Phase): string {
  switch (phase.phase) {
    case 'queued':
      return phase.position === 1 ? 'queued, next' : `queued, ${ordinal(phase.position)}`;
    case 'loading': {
      const elapsed = Math.round(phase.elapsed_ms / 1000);
      const about =
        phase.expected_ms && `about ${Math.max(1, Math.round(phase.expected_ms / 1000))} s`;
      return `loading ${phase.model}, ${elapsed} s${about ? ` of ${about}` : ''}`;
    }
    case 'reading':
      return `${phase.model} is reading`;
    case 'writing':
      return `writing, ${phase.tokens} ${phase.tokens === 1 ? 'token' : 'tokens'}`;
  }
}

function ordinal(n: number): string {
  const last = n % 100 >= 11 && n % 100 <= 13 ? 0 : n % 10;
  return `${n}${['th', 'st', 'nd', 'rd'][last] ?? 'th'}`;
}
