import * as vscode from 'vscode';
import {
  type Backend,
  BACKEND_NAMES,
  type BackendStatus,
  type Config,
  type ErrorAction,
  type Intern,
} from '../core';
import { errorText, offer } from './actions';
import { COMMANDS } from './ids';
import { pausedText, standIn } from './status';

/** A backend's state as a person would call it. */
type State = 'working' | 'paused' | 'misconfigured';

const SHOW_LOG: ErrorAction = {
  kind: 'run_command',
  command: COMMANDS.showLog,
  title: 'Show Log',
};
const DISABLE_CLOUD: ErrorAction = {
  kind: 'run_command',
  command: COMMANDS.disableCloud,
  title: 'Disable Cloud',
};

/** Tells when a backend fails, is refused or is back: once for each change, whatever the number of calls. */
export class Notifications implements vscode.Disposable {
  readonly #listener: vscode.Disposable;
  /** What was told last; absent: nothing, it works. */
  readonly #told = new Map<Backend, Exclude<State, 'working'>>();
  /** Somebody else tells how these do. */
  readonly #quiet = new Set<Backend>();

  constructor(private readonly intern: Intern) {
    this.#listener = intern.listen({
      onBackend: (status) => this.#onBackend(status),
      onConfig: (config) => this.#onConfig(config),
    });
  }

  dispose(): void {
    this.#listener.dispose();
  }

  /** Runs what tells itself how it went with a backend. */
  async quietly<T>(backend: Backend, run: () => Promise<T>): Promise<T> {
    this.#quiet.add(backend);
    try {
      return await run();
    } finally {
      this.#quiet.delete(backend);
    }
  }

  #onConfig({ cloud }: Config): void {
    if (cloud.mode === 'off') this.#told.delete('cloud');
    // The breaker says nothing new when a cloud is turned on that has no key still.
    else for (const status of this.intern.backends) this.#look(status);
  }

  #onBackend(status: BackendStatus): void {
    const { backend, breaker, answered } = status;
    const wasTold = this.#told.get(backend) === 'paused';
    this.#look(status);
    // A new key or address proves nothing yet.
    const isBack = breaker.state === 'closed' && answered;
    if (wasTold && isBack && !this.#quiet.has(backend)) {
      void vscode.window.showInformationMessage(`${BACKEND_NAMES[backend]} answers again.`);
    }
  }

  #look(status: BackendStatus): void {
    const { backend } = status;
    const state = stateOf(status);
    // One probe that fails in between, and the next, are the same pause.
    if (state === undefined || state === this.#told.get(backend)) return;
    if (state === 'working') {
      this.#told.delete(backend);
      return;
    }
    const { config } = this.intern;
    // Where nothing else can answer, each call that fails says so itself.
    if (backend === 'local' && standIn(backend, config) === undefined) return;
    this.#told.set(backend, state);
    if (state === 'paused') tellPaused(status, config);
    else if (!this.#quiet.has(backend)) tellMisconfigured(status);
  }
}

/** undefined: it is being tried. */
function stateOf({ breaker }: BackendStatus): State | undefined {
  switch (breaker.state) {
    case 'closed':
      return 'working';
    case 'open':
      return 'paused';
    case 'half_open':
      return undefined;
    case 'misconfigured':
      return 'misconfigured';
  }
}

function tellPaused(status: BackendStatus, config: Config): void {
  const retry: ErrorAction[] = status.backend === 'cloud' ? [{ kind: 'retry_cloud' }] : [];
  void offer(vscode.window.showWarningMessage, pausedText(status, config), [...retry, SHOW_LOG]);
}

function tellMisconfigured({ backend, error, key }: BackendStatus): void {
  const text = error ? errorText(error) : `${BACKEND_NAMES[backend]} has no valid key.`;
  const cures: ErrorAction[] =
    backend === 'cloud'
      ? [
          { kind: 'set_cloud_key' },
          ...(key === 'none' ? [] : [{ kind: 'test_cloud' } as const]),
          DISABLE_CLOUD,
        ]
      : [...(error?.actions ?? [])];
  void offer(vscode.window.showErrorMessage, text, cures);
}
