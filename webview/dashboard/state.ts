import type { LogState } from '../../src/core/audit/calls';
import {
  EVENTS,
  type ResidencyState,
  type RunningCall,
  type Status,
  type Work,
} from '../../src/shared/dashboard';
import { Receiver } from '../../src/shared/ipc';

/** What the extension told. */
export interface DashboardState {
  status: Status;
  residency: ResidencyState;
  work: Work;
  running: RunningCall[];
  log: LogState;
  /** Grows whenever there are other calls, so that whoever shows some asks again. */
  logVersion: number;
  /** Grows whenever the log was read anew and no row is what it was. */
  logNumber: number;
  /** Grows whenever what the set-up shows may be another. */
  setupVersion: number;
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

  return new Receiver()
    .on(EVENTS.snapshot, ({ now, ...told }) => {
      const { logVersion = 0, logNumber = 0, setupVersion = 0 } = read() ?? {};
      write({
        ...told,
        ahead: now - Date.now(),
        logVersion: logVersion + 1,
        logNumber: logNumber + 1,
        setupVersion: setupVersion + 1,
      });
    })
    .on(EVENTS.statusChanged, ({ status }) => change(() => ({ status })))
    .on(EVENTS.callStarted, ({ call }) =>
      change(({ running }) => ({ running: [...without(running, call.call_id), call] })),
    )
    .on(EVENTS.callPhase, ({ call_id, phase }) =>
      change(({ running }) => ({
        running: running.map((call) => (call.call_id === call_id ? { ...call, phase } : call)),
      })),
    )
    .on(EVENTS.callEnded, ({ call_id }) =>
      change(({ running }) => ({ running: without(running, call_id) })),
    )
    .on(EVENTS.residencyChanged, ({ residency }) => change(() => ({ residency })))
    .on(EVENTS.workChanged, ({ work }) => change(() => ({ work })))
    .on(EVENTS.logChanged, ({ log, anew }) =>
      change(({ logVersion, logNumber }) => ({
        log,
        logVersion: logVersion + 1,
        logNumber: logNumber + (anew ? 1 : 0),
      })),
    )
    .on(EVENTS.setupChanged, () =>
      change(({ setupVersion }) => ({ setupVersion: setupVersion + 1 })),
    );
}

function without(running: readonly RunningCall[], callId: string): RunningCall[] {
  return running.filter(({ call_id }) => call_id !== callId);
}
