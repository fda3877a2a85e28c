import {
  type BackendStatus,
  type Intern,
  failureReason,
  hostLabel,
  isCloudName,
  parseModelRef,
  type Phase as CorePhase,
  type RunningCall as CoreRunningCall,
  sameModel,
  TIERS,
} from '../../core';
import type { LogService } from '../../core/audit/logService';
import {
  type BackendState,
  EVENTS,
  type Phase,
  type RunningCall,
  type Status,
} from '../../shared/dashboard';
import type { Wire } from '../../shared/ipc';

/** How fast running calls write, as far as it was seen. */
export class Rates {
  readonly #first = new Map<string, { at: number; tokens: number }>();

  /**
   * Tokens per second since the first look at the writing; undefined until there is a second one. `now`: by a clock
   * that never runs backwards.
   */
  of(callId: string, tokens: number, now: number): number | undefined {
    const first = this.#first.get(callId);
    if (!first) this.#first.set(callId, { at: now, tokens });
    if (!first || now - first.at < 500 || tokens <= first.tokens) return undefined;
    return ((tokens - first.tokens) / (now - first.at)) * 1000;
  }

  /** Hears of every phase: a call may write several times, for its next prompt or on its next backend. */
  hear({ call_id, phase }: Pick<CoreRunningCall, 'call_id' | 'phase'>): void {
    if (phase?.phase !== 'writing') this.forget(call_id);
  }

  forget(callId: string): void {
    this.#first.delete(callId);
  }
}

/** `now`: as for the rates. */
export function runningCall(call: CoreRunningCall, rates: Rates, now: number): RunningCall {
  const { call_id, job, backend, model, started_at } = call;
  const phase = phaseOf(call.phase, (tokens) => rates.of(call_id, tokens, now));
  return { call_id, job, backend, model, started_at, phase };
}

function phaseOf(
  phase: CorePhase | undefined,
  rate: (tokens: number) => number | undefined,
): Phase {
  if (!phase) return { phase: 'starting' };
  if (phase.phase !== 'writing') return phase;
  return { ...phase, tokens_per_second: rate(phase.tokens) };
}

/**
 * Tells the page of changes of the log: `soon` of more calls, and at once when no row is what it was, before any reply
 * in which the rows are other ones.
 */
export function tellOfLog(
  log: Pick<LogService, 'state' | 'onChanged'>,
  post: (message: Wire) => void,
  soon: (tell: () => void) => void,
): void {
  const tell = (anew: boolean): void => post(EVENTS.logChanged.with({ log: log.state, anew }));
  const tellMore = (): void => tell(false);
  log.onChanged((_, anew) => (anew ? tell(true) : soon(tellMore)));
}

/** What stands above everything else: where calls go, and what is wrong with it. */
export function statusOf(intern: Intern, version: string | undefined, now: number): Status {
  const { config } = intern;
  const models = TIERS.map((tier) => parseModelRef(config.tiers[tier].model))
    .filter(({ backend, model }) => backend === 'local' && !isCloudName(model))
    .map(({ model }) => model);
  return {
    profile: config.profile,
    cloud_mode: config.cloud.mode,
    backends: intern.backends.map((status) => ({
      ...backendState(status, now),
      most: config.maxConcurrent,
      ...(status.backend === 'local' && version !== undefined && { version }),
    })),
    // Tiers may spell the same model in several ways.
    models: models.filter((model, at) => models.findIndex((one) => sameModel(one, model)) === at),
    problems: config.problems.map(({ setting, message }) => ({ setting, message })),
  };
}

function backendState(status: BackendStatus, now: number): Omit<BackendState, 'most'> {
  const { backend, host, breaker, running, waiting, error, answered } = status;
  const { state, retry_in_ms: left } = breaker;
  const reason = breaker.reason ?? (error && (failureReason(error) ?? error.code));
  return {
    backend,
    host: hostLabel(host),
    state: state === 'closed' ? (error ? 'failing' : answered ? 'answers' : 'unknown') : state,
    ...(reason !== undefined && { reason }),
    ...(left !== undefined && { retry_at: now + left }),
    ...(error && { message: `${error.message} ${error.hint}`.trim() }),
    running,
    waiting,
  };
}
