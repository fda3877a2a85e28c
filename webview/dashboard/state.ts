import {
  type CallEntry,
  EVENTS,
  type ResidencyState,
  type RunningCall,
  type Status,
  withCall,
} from '../../src/shared/dashboard';
import { Receiver } from '../../src/shared/ipc';

/** What the extension told. */
export interface DashboardState {
  status: Status;
  residency: ResidencyState;
  running: RunningCall[];
  /** Newest first. */
  calls: CallEntry[];
  /** What the extension's clock is ahead of this one. Milliseconds. */
  ahead: number;
}

/** Keeps the state up to date from the extension's messages; there is none before the first snapshot. */
export function follow(
  read: () => DashboardState | undefined,
  write: (state: DashboardState) => void,
): Receiver {
  const change = (next: (state: DashboardState) => Partial<DashboardState>): void => {
    const state = read();
    if (state) write({ ...state, ...next(state) });
  };
  const ended = (call: CallEntry): void =>
    change(({ running, calls }) => ({
      running: without(running, call.id),
      calls: withCall(calls, call),
    }));

  return new Receiver()
    .on(EVENTS.snapshot, ({ now, ...state }) => write({ ...state, ahead: now - Date.now() }))
    .on(EVENTS.callStarted, ({ call }) =>
      change(({ running }) => ({ running: [...without(running, call.call_id), call] })),
    )
    .on(EVENTS.callPhase, ({ call_id, phase, text }) =>
      change(({ running }) => ({
        running: running.map((call) =>
          call.call_id === call_id ? { ...call, phase, text } : call,
        ),
      })),
    )
    .on(EVENTS.callFinished, ({ call }) => ended(call))
    .on(EVENTS.callFailed, ({ call }) => ended(call))
    .on(EVENTS.residencyChanged, ({ residency }) => change(() => ({ residency })))
    .on(EVENTS.statusChanged, ({ status }) => change(() => ({ status })));
}

function without(running: readonly RunningCall[], callId: string): RunningCall[] {
  return running.filter(({ call_id }) => call_id !== callId);
}
