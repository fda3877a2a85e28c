import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import * as vscode from 'vscode';
import { GENERATIVE_TIERS, hostLabel, type Intern, isLoopback, toInternError } from '../core';
import { errorText } from './actions';
import { COMMANDS } from './ids';
import { plain } from './plain';

const WAIT_MS = 20_000;
const POLL_MS = 500;
const DOWNLOAD_PAGE = 'https://ollama.com/download';

/** Starts `ollama serve` in a terminal and waits until it answers. False when it could not. */
export async function startServer(intern: Intern): Promise<boolean> {
  const { host } = intern.config;
  if (!isLoopback(host)) {
    void vscode.window.showWarningMessage(
      `${hostLabel(host)} is another machine. Start Ollama there.`,
    );
    return false;
  }
  if (await answers(intern)) return true;
  if (!vscode.workspace.isTrusted) {
    const manage = 'Manage Workspace Trust';
    const chosen = await vscode.window.showWarningMessage(
      'Programs are not started in a folder that you do not trust. Trust it, or start Ollama yourself.',
      manage,
    );
    if (chosen) await vscode.commands.executeCommand('workbench.trust.manage');
    return false;
  }
  if (!(await findOnPath('ollama'))) {
    const page = 'Open Download Page';
    const chosen = await vscode.window.showErrorMessage(
      'Ollama is not installed on this machine, or not on the PATH. Install it, then start it.',
      page,
    );
    if (chosen === page) await vscode.env.openExternal(vscode.Uri.parse(DOWNLOAD_PAGE));
    return false;
  }
  const { hostname, port, protocol } = new URL(host);
  const terminal = vscode.window.createTerminal({
    name: 'Ollama',
    env: { OLLAMA_HOST: `${hostname}:${port || (protocol === 'https:' ? '443' : '80')}` },
  });
  terminal.sendText('ollama serve');
  terminal.show(true);
  return waitFor(intern);
}

function waitFor(intern: Intern): Thenable<boolean> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Starting Ollama', cancellable: true },
    async (_, token) => {
      for (let waited = 0; waited < WAIT_MS && !token.isCancellationRequested; waited += POLL_MS) {
        if (await answers(intern)) return true;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      if (!token.isCancellationRequested) {
        void vscode.window.showErrorMessage(
          `Ollama did not answer within ${WAIT_MS / 1000} s. The terminal "Ollama" shows why.`,
        );
      }
      return false;
    },
  );
}

function answers(intern: Intern): Promise<boolean> {
  // Unlike a question about its models, a test tells the rest of the product that it is there.
  return intern.test('local').then(
    () => true,
    () => false,
  );
}

async function findOnPath(program: string): Promise<boolean> {
  const names = process.platform === 'win32' ? [`${program}.exe`, `${program}.cmd`] : [program];
  for (const folder of (process.env['PATH'] ?? '').split(delimiter).filter(Boolean)) {
    for (const name of names) {
      const found = await access(join(folder, name), constants.X_OK).then(
        () => true,
        () => false,
      );
      if (found) return true;
    }
  }
  return false;
}

/** Loads the models of the tiers that write. False when none is in memory afterwards. */
export async function loadModels(intern: Intern): Promise<boolean> {
  const warm = await vscode.window.withProgress(
    {
      location: vscode.ProgressLocation.Notification,
      title: 'Loading the models of the profile',
      cancellable: true,
    },
    (_, token) => {
      const controller = new AbortController();
      token.onCancellationRequested(() => controller.abort());
      return intern.models.prewarm(GENERATIVE_TIERS, controller.signal).catch(() => undefined);
    },
  );
  if (warm === undefined) return false;
  if (warm.length > 0) void vscode.window.showInformationMessage(`In memory: ${warm.join(', ')}.`);
  else void showNothingLoaded(intern);
  return warm.length > 0;
}

async function showNothingLoaded({ config }: Intern): Promise<void> {
  const log = 'Show Log';
  const chosen = await vscode.window.showWarningMessage(
    `No model of the profile ${config.profile} could be loaded. The log says why.`,
    log,
  );
  if (chosen) await vscode.commands.executeCommand(COMMANDS.showLog);
}

/** Fetches a model with a progress that can be cancelled. False when it was not fetched. */
export async function pullModel(intern: Intern, name?: string): Promise<boolean> {
  const model = name ?? (await askModel(intern));
  if (!model) return false;
  try {
    await vscode.window.withProgress(
      {
        location: vscode.ProgressLocation.Notification,
        title: `Pulling ${model}`,
        cancellable: true,
      },
      (progress, token) => {
        const controller = new AbortController();
        token.onCancellationRequested(() => controller.abort());
        return intern.models.pull(
          model,
          ({ status, completed, total }) =>
            progress.report({ message: total ? amount(completed ?? 0, total) : plain(status) }),
          controller.signal,
        );
      },
    );
    void vscode.window.showInformationMessage(`${model} is ready.`);
    return true;
  } catch (thrown) {
    const error = toInternError(thrown);
    if (error.code !== 'cancelled')
      void vscode.window.showErrorMessage(plain(`${model} was not pulled. ${errorText(error)}`));
    return false;
  }
}

function askModel(intern: Intern): Thenable<string | undefined> {
  return vscode.window.showInputBox({
    title: 'Pull Model',
    prompt: 'Name of the model, as Ollama writes it',
    value: intern.config.tiers.workhorse.model,
    validateInput: (text) => (text.trim() === '' ? 'Write a name such as qwen3:8b.' : undefined),
  });
}

/** `1.2 of 4.7 GB` */
function amount(completed: number, total: number): string {
  const [unit, size] = total >= 1e9 ? ['GB', 1e9] : ['MB', 1e6];
  return `${(completed / size).toFixed(1)} of ${(total / size).toFixed(1)} ${unit}`;
}
