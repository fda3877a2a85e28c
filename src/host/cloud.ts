import * as vscode from 'vscode';
import {
  type CloudConfig,
  type CloudMode,
  type ErrorAction,
  formatDuration,
  hostLabel,
  type Intern,
  resolveConfig,
  toInternError,
} from '../core';
import { showError } from './actions';
import { setContext } from './contexts';
import { COMMANDS, CONFIG_SECTION, CONTEXTS, SETTINGS } from './ids';
import type { Notifications } from './notifications';
import type { ServerSecrets } from './serverSecrets';
import { promptsGo } from './status';
import { adopted, readSettings } from './settings';

const MODES = { 'Cloud First': 'primary', 'Cloud as Fallback': 'fallback' } as const;
const MODE_NAMES: Readonly<Record<CloudMode, string>> = {
  off: 'off',
  primary: 'asked first',
  fallback: 'asked when this machine fails',
};

/** The commands about Ollama Cloud. */
export class Cloud {
  constructor(
    private readonly intern: Intern,
    private readonly keys: ServerSecrets,
    private readonly notifications: Notifications,
  ) {}

  /** Turns the cloud on, after the person was told what leaves the machine and agreed. True when it is on. */
  async enable(): Promise<boolean> {
    const { cloud, problem } = whenOn();
    if (problem !== undefined) {
      const open = 'Open Setting';
      const chosen = await vscode.window.showErrorMessage(problem, open);
      if (chosen) await this.#openSetting(SETTINGS.cloudHost);
      return false;
    }
    const chosen = await vscode.window.showWarningMessage(
      `Let prompts leave this machine, to ${hostLabel(cloud.host)}?`,
      { modal: true, detail: consentText(cloud) },
      ...(Object.keys(MODES) as (keyof typeof MODES)[]),
    );
    if (!chosen) return false;
    const mode = MODES[chosen];
    if (mode === this.intern.config.cloud.mode) {
      void vscode.window.showInformationMessage(`The cloud is already ${MODE_NAMES[mode]}.`);
    }
    // First the key: a cloud that is on without one is an error.
    if ((await this.intern.cloudKey()) === 'none') await this.keys.ask(this.intern);
    if (mode === this.intern.config.cloud.mode) return true;
    await this.#setMode(mode);
    void this.#tellOn(mode);
    return true;
  }

  /** Turns the cloud off, whatever the environment says. */
  async disable(): Promise<void> {
    await this.#setMode('off');
    void vscode.window.showInformationMessage(`The cloud is off. ${promptsGo(this.intern.config)}`);
  }

  /** Sends one word to the cloud and says whether it answered. */
  async test(): Promise<boolean> {
    if (!(await this.#isOn())) return false;
    const { host, models } = this.intern.config.cloud;
    try {
      const key = await this.intern.cloudKey();
      const took = await this.#ping(host);
      const source = key === 'environment' ? 'OLLAMA_API_KEY' : 'the stored key';
      void vscode.window.showInformationMessage(
        `${hostLabel(host)} answered with ${models.instant} in ${formatDuration(took)}, with ${source}.`,
      );
      return true;
    } catch (thrown) {
      const error = toInternError(thrown);
      const again = (action: ErrorAction): ErrorAction =>
        action.kind === 'test_cloud' ? { kind: 'retry' } : action;
      const remedy = await showError(error.with({ actions: error.actions.map(again) }), '');
      return remedy === 'retry' ? this.test() : false;
    }
  }

  /** The next call asks the cloud again, without waiting for the end of the pause. */
  async retry(): Promise<void> {
    if (!(await this.#isOn())) return;
    const status = this.intern.backends.find(({ backend }) => backend === 'cloud');
    switch (status?.breaker.state) {
      case 'misconfigured':
        await this.test();
        return;
      case 'open':
      case 'half_open':
        this.intern.retryNow('cloud');
        void vscode.window.showInformationMessage('The next call asks Ollama Cloud again.');
        return;
      default:
        void vscode.window.showInformationMessage('Ollama Cloud is not paused.');
    }
  }

  async #ping(host: string): Promise<number> {
    return vscode.window.withProgress(
      {
        location: vscode.ProgressLocation.Notification,
        title: `Testing ${hostLabel(host)}: sending it the word "ping"`,
        cancellable: true,
      },
      async (_, token) => {
        const controller = new AbortController();
        token.onCancellationRequested(() => controller.abort());
        const start = performance.now();
        await this.notifications.quietly('cloud', () =>
          this.intern.test('cloud', controller.signal),
        );
        return performance.now() - start;
      },
    );
  }

  async #isOn(): Promise<boolean> {
    if (this.intern.config.cloud.mode !== 'off') return true;
    const enable = 'Enable Cloud';
    const chosen = await vscode.window.showWarningMessage(
      'The cloud is off, so nothing was sent.',
      enable,
    );
    return chosen === enable && (await this.enable());
  }

  async #setMode(mode: CloudMode): Promise<void> {
    await vscode.workspace
      .getConfiguration(CONFIG_SECTION)
      .update(SETTINGS.cloudMode, mode, vscode.ConfigurationTarget.Global);
    await adopted(this.intern, ({ cloud }) => cloud.mode === mode);
  }

  async #tellOn(mode: CloudMode): Promise<void> {
    const key = await this.intern.cloudKey();
    // That there is none is told as the error that it is.
    if (key === 'none') return;
    const test = 'Test Connection';
    const source = key === 'environment' ? ' OLLAMA_API_KEY is used as its key.' : '';
    const chosen = await vscode.window.showInformationMessage(
      `The cloud is on: ${MODE_NAMES[mode]}.${source}`,
      test,
    );
    if (chosen) await this.test();
  }

  #openSetting(setting: string): Thenable<unknown> {
    return vscode.commands.executeCommand(COMMANDS.openSettings, `${CONFIG_SECTION}.${setting}`);
  }
}

/** The cloud as it would be if it were on now. */
function whenOn(): { cloud: CloudConfig; problem: string | undefined } {
  const settings = readSettings();
  const { cloud, problems } = resolveConfig(
    { ...settings, cloud: { ...settings.cloud, mode: 'primary' } },
    process.env,
  );
  const problem = problems.find(({ setting }) => setting.endsWith(SETTINGS.cloudHost));
  return { cloud, problem: cloud.mode === 'off' ? (problem?.message ?? '') : undefined };
}

/** Everything a person agrees to. */
function consentText({ host, models }: CloudConfig): string {
  const used =
    models.deep === models.instant
      ? `${models.instant} for all tiers`
      : `${models.instant}, and ${models.deep} for the deep tier`;
  return [
    `What leaves: the prompt of every job of the instant, workhorse and deep tiers. That is its instructions and what it is about: the selection, files or change, for a draft some lines around the selection, and in chat the conversation.`,
    `Where to: ${hostLabel(host)}, and no other host. Models: ${used}.`,
    `What stays: embeddings, the audit log and your settings. The key goes to ${hostLabel(host)} alone.`,
    `Cloud First asks the cloud, and this machine when the cloud fails. Cloud as Fallback asks this machine, and the cloud when this machine fails.`,
  ].join('\n\n');
}

/** Hides from the palette what cannot work now. */
export function followCloudContext(intern: Intern): vscode.Disposable {
  const update = (): void => {
    const cloud = intern.backends.find(({ backend }) => backend === 'cloud');
    setContext(CONTEXTS.cloudOn, cloud !== undefined);
    setContext(CONTEXTS.cloudPaused, cloud !== undefined && cloud.breaker.state !== 'closed');
  };
  update();
  return intern.listen({ onConfig: update, onBackend: update });
}
