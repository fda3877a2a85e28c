import * as vscode from 'vscode';
import type { Intern } from '../core';
import { COMMANDS, CONTEXTS, MODEL_VENDOR } from './ids';
import { promptsGo } from './status';

/** The editor's own: which models write titles, commit messages and the like. */
const UTILITY_SETTINGS = ['chat.utilityModel', 'chat.utilitySmallModel'] as const;
const INSTANT = `${MODEL_VENDOR}/instant`;

/** The command that gives the editor's small tasks to the instant tier, where the editor has settings for that. */
export function registerUtilityModels(intern: Intern): vscode.Disposable[] {
  const isThere = UTILITY_SETTINGS.some((key) => read(key)?.defaultValue !== undefined);
  void vscode.commands.executeCommand('setContext', CONTEXTS.utilityModels, isThere);
  return [
    vscode.commands.registerCommand(COMMANDS.useForUtilityModels, () =>
      isThere ? useInstant(intern) : tellMissing(),
    ),
  ];
}

function read(key: string) {
  return vscode.workspace.getConfiguration().inspect<string>(key);
}

async function write(values: ReadonlyMap<string, string | undefined>): Promise<void> {
  const config = vscode.workspace.getConfiguration();
  for (const [key, value] of values) {
    await config.update(key, value, vscode.ConfigurationTarget.Global);
  }
}

async function useInstant(intern: Intern): Promise<void> {
  const keys = UTILITY_SETTINGS.filter((key) => read(key)?.defaultValue !== undefined);
  const before = new Map(keys.map((key) => [key, read(key)?.globalValue || undefined]));
  const isSet = [...before.values()].every((value) => value === INSTANT);
  if (isSet) {
    await offerUndo(
      'The utility models are Intern · Instant already.',
      new Map(keys.map((key) => [key, undefined])),
    );
    return;
  }
  const use = 'Use Intern';
  const chosen = await vscode.window.showInformationMessage(
    'Use Intern · Instant for utility models?',
    { modal: true, detail: consequences(intern, before) },
    use,
  );
  if (chosen !== use) return;
  await write(new Map(keys.map((key) => [key, INSTANT])));
  await offerUndo('The utility models are Intern · Instant now.', before);
}

function consequences({ config }: Intern, before: ReadonlyMap<string, string | undefined>): string {
  const settings = [...before].map(([key, value]) => `${key}, which is ${value ?? 'not set'}`);
  return [
    `The editor then has its small tasks, such as titles of chats and commit messages, done by ${config.tiers.instant.model}. ${promptsGo(config)}`,
    `It changes your settings ${settings.join(', and ')}. The next message has a button to undo it.`,
  ].join('\n\n');
}

async function offerUndo(
  message: string,
  values: ReadonlyMap<string, string | undefined>,
): Promise<void> {
  const undo = 'Undo';
  const chosen = await vscode.window.showInformationMessage(message, undo);
  if (chosen === undo) await write(values);
}

function tellMissing(): void {
  void vscode.window.showInformationMessage(
    'This version of the editor has no setting for its utility models, so nothing was changed.',
  );
}
