import * as vscode from 'vscode';
import { type ErrorAction, type InternError } from '../core';
import { COMMANDS } from './ids';
import { plain } from './plain';

export const OPEN_FILE: ErrorAction = {
  kind: 'run_command',
  command: 'workbench.action.quickOpen',
  title: 'Open File',
};

export const OPEN_FOLDER: ErrorAction = {
  kind: 'run_command',
  command: 'workbench.action.files.openFolder',
  title: 'Open Folder',
};

/** What a person chose to do about an error. */
export type Remedy = 'retry' | 'shorten' | undefined;

/** Most buttons beside a message before it looks like a form. */
const MOST_BUTTONS = 3;

/**
 * Shows an error with its hint and a button for each thing that can be done about it, and does what was chosen.
 * Returns what the caller has to do itself. A cancelled call shows nothing: the person knows.
 */
export async function showError(error: InternError, task: string): Promise<Remedy> {
  if (error.code === 'cancelled') return undefined;
  return offer(vscode.window.showErrorMessage, errorText(error), error.actions, task);
}

/** Shows a message with a button for each action, and does what was chosen. */
export async function offer(
  show: <T extends vscode.MessageItem>(text: string, ...items: T[]) => Thenable<T | undefined>,
  text: string,
  actions: readonly ErrorAction[],
  task = '',
): Promise<Remedy> {
  const buttons = actions
    .slice(0, MOST_BUTTONS)
    .map((action) => ({ title: label(action, task), action }));
  const chosen = await show(plain(text), ...buttons);
  return chosen && perform(chosen.action);
}

/** Everything a person should read about an error, in one paragraph. */
export function errorText(error: InternError): string {
  const said = error.serverMessage ? ` In detail: ${sentence(error.serverMessage)}` : '';
  return `${error.message} ${error.hint}${said}`;
}

function label(action: ErrorAction, task: string): string {
  switch (action.kind) {
    case 'start_server':
      return 'Start Ollama';
    case 'pull_model':
      return `Pull ${action.model}`;
    case 'choose_profile':
      return 'Select Profile';
    case 'open_setting':
      return 'Open Setting';
    case 'shorten':
      return `${task} the First Part`;
    case 'sign_in':
      return 'Sign In';
    case 'set_token':
      return 'Set Token';
    case 'set_cloud_key':
      return 'Set Cloud Key';
    case 'test_cloud':
      return 'Test Connection';
    case 'retry_cloud':
      return 'Retry Cloud Now';
    case 'retry':
      return 'Try Again';
    case 'run_command':
      return action.title;
  }
}

/** The command behind an action; undefined: whoever began the task has to do it. */
export function commandOf(action: ErrorAction): vscode.Command | undefined {
  const title = label(action, '');
  switch (action.kind) {
    case 'start_server':
      return { title, command: COMMANDS.startServer };
    case 'pull_model':
      return { title, command: COMMANDS.pullModel, arguments: [action.model] };
    case 'choose_profile':
      return { title, command: COMMANDS.selectProfile };
    case 'open_setting':
      return { title, command: COMMANDS.openSettings, arguments: [action.setting] };
    case 'sign_in':
      return { title, command: 'vscode.open', arguments: [vscode.Uri.parse(action.url, true)] };
    case 'set_token':
      return { title, command: COMMANDS.setServerToken };
    case 'set_cloud_key':
      return { title, command: COMMANDS.setCloudKey };
    case 'test_cloud':
      return { title, command: COMMANDS.testCloud };
    case 'retry_cloud':
      return { title, command: COMMANDS.retryCloud };
    case 'run_command':
      return { title, command: action.command };
    case 'shorten':
    case 'retry':
      return undefined;
  }
}

/** Commands that say with `true` that what was wrong is put right. */
const REMEDIES: readonly ErrorAction['kind'][] = [
  'start_server',
  'pull_model',
  'choose_profile',
  'set_token',
  'set_cloud_key',
  'test_cloud',
];

async function perform(action: ErrorAction): Promise<Remedy> {
  if (action.kind === 'shorten' || action.kind === 'retry') return action.kind;
  const command = commandOf(action);
  const args: unknown[] = command?.arguments ?? [];
  const done = command && (await vscode.commands.executeCommand(command.command, ...args));
  if (action.kind === 'retry_cloud') return 'retry';
  return REMEDIES.includes(action.kind) && done === true ? 'retry' : undefined;
}

/** A server's text may be long and end without a full stop. */
function sentence(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  const short = line.length > 200 ? `${line.slice(0, 199)}…` : line;
  return /[.!?…]$/.test(short) ? short : `${short}.`;
}
