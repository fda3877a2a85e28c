import * as vscode from 'vscode';
import { type Settings, TIERS } from '../core';
import { CONFIG_SECTION, type SettingKey, SETTINGS } from './ids';

/**
 * The settings that a person set somewhere; the defaults of package.json are left out, so that an environment
 * variable can stand between the two. Settings of `machine` scope cannot come from a workspace.
 */
export function readSettings(): Settings {
  const config = vscode.workspace.getConfiguration(CONFIG_SECTION);
  const explicit = <T>(key: SettingKey): T | undefined => {
    const found = config.inspect<T>(key);
    const value = found?.workspaceFolderValue ?? found?.workspaceValue ?? found?.globalValue;
    return value === null || value === '' ? undefined : value;
  };
  const perTier = <T>(group: 'tiers' | 'budgets') =>
    Object.fromEntries(TIERS.map((tier) => [tier, explicit<T>(`${group}.${tier}`)]));
  return {
    host: explicit(SETTINGS.host),
    profile: explicit(SETTINGS.profile),
    // Objects are merged over their scopes by the editor; their defaults are empty, which means not set.
    profiles: config.get(SETTINGS.profiles),
    tiers: perTier<string>('tiers'),
    options: withoutUndefined({
      temperature: explicit<number>(SETTINGS.temperature),
      topP: explicit<number>(SETTINGS.topP),
      topK: explicit<number>(SETTINGS.topK),
      contextWindow: explicit<number>(SETTINGS.contextWindow),
      numPredict: explicit<number>(SETTINGS.numPredict),
      repeatPenalty: explicit<number>(SETTINGS.repeatPenalty),
    }),
    tierOptions: config.get(SETTINGS.tierOptions),
    budgets: perTier<number>('budgets'),
    maxConcurrent: explicit(SETTINGS.maxConcurrent),
    keepAlive: explicit(SETTINGS.keepAlive),
    logPath: explicit(SETTINGS.logPath),
  };
}

/** Calls back after any of the product's settings changed. */
export function onSettingsChanged(listener: () => void): vscode.Disposable {
  return vscode.workspace.onDidChangeConfiguration((event) => {
    if (event.affectsConfiguration(CONFIG_SECTION)) listener();
  });
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}
