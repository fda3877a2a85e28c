import type { Backend } from '../audit/envelope';
import type { Answer, ChatMessage, Tool } from '../ollama/client';
import type { Residency } from './residency';
import type { Target } from './route';
import type { Ready } from './drivers';
import type { Tier } from './tiers';

/** What the router is asked to get done. */
export interface Call {
  tier: Tier;
  /** A model that the caller named; it is used and no other is put in its place. */
  model: string | undefined;
  /** Whether a text that proves too long may be prepared again, after the estimate was corrected. */
  mayShorten: boolean;
  /** Text is shown while it comes: after that nobody else is asked. */
  streamed: boolean;
  /** Makes what is sent to a target, or throws `context_overflow`: nothing of the call has left until it is run. */
  prepare: (target: Target, ready: Ready) => Send;
}

export type Send = (listener: AttemptListener) => Promise<BackendAnswer>;

/** A prompt as it is sent. */
export interface Prompted {
  messages: ChatMessage[];
  /** Most tokens of the answer. */
  numPredict: number;
  temperature: number;
  /** The JSON schema that the answer has to follow. */
  format?: Record<string, unknown> | undefined;
  tools?: Tool[] | undefined;
  toolChoice?: 'required' | undefined;
  think?: boolean | undefined;
  /** true: the budget is the longest silence. false: the budget is the total. */
  streamed: boolean;
}

/** What one attempt yielded. Milliseconds. */
export interface BackendAnswer {
  answer: Answer;
  /** null where there is no such thing, or it could not be read. */
  residency: Residency | null;
  load_ms: number;
  first_token_ms: number | undefined;
  /** Behind another call of ours in the server's own queue. */
  queued_ms: number;
}

/** Where a running call is, for whoever waits. */
export type Phase =
  | { phase: 'queued'; position: number }
  | { phase: 'loading'; model: string; elapsed_ms: number; expected_ms: number | undefined }
  | { phase: 'reading'; model: string }
  | { phase: 'writing'; model: string; tokens: number }
  /** Of a job of many prompts: `part`, 3 of 12 done. */
  | { phase: 'steps'; what: string; done: number; total: number };

/** Who waits for one attempt. */
export interface AttemptListener {
  signal: AbortSignal | undefined;
  onPhase: (phase: Phase) => void;
  onDelta: (text: string) => void;
  /** Absent: nobody sees what is thought. */
  onThinking?: ((text: string) => void) | undefined;
}

export interface CallListener extends AttemptListener {
  /** The call is on its way to this target, which runs in `ranIn`. */
  onTarget: (target: Target, ranIn: Backend) => void;
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
    case 'steps':
      return `${phase.what} ${Math.min(phase.done + 1, phase.total)} of ${phase.total}`;
    case 'writing':
      return `writing, ${phase.tokens} ${phase.tokens === 1 ? 'token' : 'tokens'}`;
  }
}

function ordinal(n: number): string {
  const last = n % 100 >= 11 && n % 100 <= 13 ? 0 : n % 10;
  return `${n}${['th', 'st', 'nd', 'rd'][last] ?? 'th'}`;
}
