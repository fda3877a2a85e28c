import * as vscode from 'vscode';
import {
  type Backend,
  BACKEND_NAMES,
  type BackendStatus,
  type BreakerStatus,
  type Config,
  type ErrorAction,
  type Intern,
} from '../core';
import { reasonWords } from '../shared/degradation';
import { errorText, offer } from './actions';
import { COMMANDS } from './ids';
import { formatWait, reasonOf } from './status';

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
  #isQuiet = false;

  constructor(private readonly intern: Intern) {
    this.#listener = intern.listen({
      onBackend: (status, before) => this.#onBackend(status, before),
      onConfig: (config) => this.#onConfig(config),
    });
  }

  dispose(): void {
    this.#listener.dispose();
  }

  /** Runs what tells its own result. */
  async quietly<T>(run: () => Promise<T>): Promise<T> {
    this.#isQuiet = true;
    try {
      return await run();
    } finally {
      this.#isQuiet = false;
    }
  }

  #onConfig({ cloud }: Config): void {
    if (cloud.mode === 'off') this.#told.delete('cloud');
    // The breaker says nothing new when a cloud is turned on that has no key still.
    else for (const status of this.intern.backends) this.#look(status);
  }

  #onBackend(status: BackendStatus, before: BreakerStatus): void {
    const wasTold = this.#told.get(status.backend) === 'paused';
    this.#look(status);
    // Only an answer shows that it is back; a new key or address proves nothing yet.
    const answered = before.state === 'half_open' && status.breaker.state === 'closed';
    if (wasTold && answered && !this.#isQuiet) {
      void vscode.window.showInformationMessage(`${BACKEND_NAMES[status.backend]} answers again.`);
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
    if (!isOfInterest(backend, this.intern.config)) return;
    this.#told.set(backend, state);
    if (this.#isQuiet) return;
    if (state === 'paused') tellPaused(status, this.intern.config);
    else tellMisconfigured(status);
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

/** Where nothing else can answer, each call that fails says so itself. */
function isOfInterest(backend: Backend, { cloud }: Config): boolean {
  return backend !== 'local' || cloud.mode === 'fallback';
}

function tellPaused(status: BackendStatus, { cloud }: Config): void {
  const { backend, breaker } = status;
  const reason = reasonOf(status);
  const meanwhile = {
    local: 'Calls go to Ollama Cloud',
    cloud: cloud.mode === 'primary' ? 'Calls stay on this machine' : 'It is not asked',
    gateway: 'It is not asked',
  }[backend];
  const retry: ErrorAction[] = backend === 'cloud' ? [{ kind: 'retry_cloud' }] : [];
  void offer(
    vscode.window.showWarningMessage,
    `${BACKEND_NAMES[backend]} does not answer${reason ? ` (${reasonWords(reason)})` : ''}. ${meanwhile}; next try in ${formatWait(breaker.retry_in_ms ?? 0)}.`,
    [...retry, SHOW_LOG],
  );
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
