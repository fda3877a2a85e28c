/** What kind of failure a person has to deal with. */
export const ERROR_CODES = [
  'unreachable',
  'config',
  'model_missing',
  'auth_failed',
  'timeout',
  'out_of_memory',
  'context_overflow',
  'cancelled',
  'bad_input',
  'server',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Something a surface can offer as a button next to the message. */
export type ErrorAction =
  | { kind: 'start_server' }
  | { kind: 'pull_model'; model: string }
  | { kind: 'choose_profile' }
  | { kind: 'open_setting'; setting: string }
  | { kind: 'shorten' }
  | { kind: 'sign_in'; url: string }
  | { kind: 'set_token' }
  | { kind: 'set_cloud_key' }
  /** Asks the cloud whether it can be used now. */
  | { kind: 'test_cloud' }
  /** Does not wait until the cloud is tried again by itself. */
  | { kind: 'retry_cloud' }
  | { kind: 'retry' }
  /** Something else that the surface can do, under a title of its own. */
  | { kind: 'run_command'; command: string; title: string };

/** Facts behind an error. Only numbers and names: safe to log. */
export interface ErrorDetails {
  /** HTTP status, when a server answered. */
  status?: number;
  model?: string;
  /** Up to eight installed models. */
  available?: string[];
  /** The capability that the model lacks, as /api/show spells it. */
  capability?: string;
  prompt_tokens?: number;
  num_ctx?: number;
  /** From a `Retry-After` header. */
  retry_after_ms?: number;
  /** What may be used in a session, an hour or a week is used up: another try at once is useless. */
  usage_limit?: boolean;
  /** The answer had begun: what was shown is incomplete. */
  partial?: boolean;
  elapsed_ms?: number;
}

export interface InternErrorInit {
  code: ErrorCode;
  /** What happened, in the product's own words. Logged. */
  message: string;
  /** What to do about it. */
  hint: string;
  retryable?: boolean;
  actions?: ErrorAction[];
  details?: ErrorDetails;
  /** Words that are not the product's own. Shown to the person, never logged: they may quote the prompt. */
  serverMessage?: string;
  cause?: unknown;
}

/** The only error that leaves the core. */
export class InternError extends Error {
  override readonly name = 'InternError';
  readonly code: ErrorCode;
  readonly hint: string;
  readonly retryable: boolean;
  readonly actions: readonly ErrorAction[];
  readonly details: Readonly<ErrorDetails>;
  readonly serverMessage: string | undefined;
  /** Set by the facade: the call that failed. */
  callId: string | undefined;

  constructor(init: InternErrorInit) {
    super(init.message, { cause: init.cause });
    this.code = init.code;
    this.hint = init.hint;
    this.retryable = init.retryable ?? false;
    this.actions = init.actions ?? [];
    this.details = init.details ?? {};
    this.serverMessage = init.serverMessage;
  }

  /** The same error with more known about it. */
  with(more: Partial<InternErrorInit>): InternError {
    return new InternError({
      code: this.code,
      message: this.message,
      hint: this.hint,
      retryable: this.retryable,
      actions: [...this.actions],
      serverMessage: this.serverMessage,
      cause: this.cause,
      ...more,
      details: { ...this.details, ...more.details },
    });
  }
}

export function cancelledError(): InternError {
  return new InternError({
    code: 'cancelled',
    message: 'The call was cancelled.',
    hint: 'Run it again when you need the answer.',
    retryable: true,
  });
}

/** Whatever was thrown, as an InternError. A failure nobody foresaw is called that, not guessed at. */
export function toInternError(error: unknown): InternError {
  if (error instanceof InternError) return error;
  if (error instanceof Error && error.name === 'AbortError') return cancelledError();
  return new InternError({
    code: 'server',
    message: 'Something unexpected went wrong.',
    hint: 'Try again; if it happens again, please report it with the log line of this call.',
    // Not in the message, which is logged: a foreign error may quote the prompt or the answer.
    serverMessage: error instanceof Error ? error.message : String(error),
    cause: error,
  });
}
