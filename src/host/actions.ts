import * as vscode from 'vscode';
import { type ErrorAction, type InternError } from '../core';
import { COMMANDS } from './ids';
import { plain } from './plain';

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

async function perform(action: ErrorAction): Promise<Remedy> {
  switch (action.kind) {
    case 'start_server':
      return (await vscode.commands.executeCommand<boolean>(COMMANDS.startServer))
        ? 'retry'
        : undefined;
    case 'pull_model':
      return (await vscode.commands.executeCommand<boolean>(COMMANDS.pullModel, action.model))
        ? 'retry'
        : undefined;
    case 'choose_profile':
      return (await vscode.commands.executeCommand<boolean>(COMMANDS.selectProfile))
        ? 'retry'
        : undefined;
    case 'open_setting':
      await vscode.commands.executeCommand(COMMANDS.openSettings, action.setting);
      return undefined;
    case 'sign_in':
      await vscode.env.openExternal(vscode.Uri.parse(action.url, true));
      return undefined;
    case 'set_token':
      return (await vscode.commands.executeCommand<boolean>(COMMANDS.setServerToken))
        ? 'retry'
        : undefined;
    case 'set_cloud_key':
      return (await vscode.commands.executeCommand<boolean>(COMMANDS.setCloudKey))
        ? 'retry'
        : undefined;
    case 'test_cloud':
      return (await vscode.commands.executeCommand<boolean>(COMMANDS.testCloud))
        ? 'retry'
        : undefined;
    case 'retry_cloud':
      await vscode.commands.executeCommand(COMMANDS.retryCloud);
      return 'retry';
    case 'run_command':
      await vscode.commands.executeCommand(action.command);
      return undefined;
    case 'shorten':
      return 'shorten';
    case 'retry':
      return 'retry';
  }
}

/** A server's text may be long and end without a full stop. */
function sentence(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  const short = line.length > 200 ? `${line.slice(0, 199)}…` : line;
  return /[.!?…]$/.test(short) ? short : `${short}.`;
}
