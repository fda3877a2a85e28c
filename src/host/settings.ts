import * as vscode from 'vscode';
import {
  type Config,
  GENERATIVE_TIERS,
  type Intern,
  type NetworkSettings,
  type Settings,
  TIERS,
} from '../core';
import { CONFIG_SECTION, type SettingKey, SETTINGS } from './ids';

const ADOPTED_WITHIN_MS = 2_000;

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
  const cloudBudgets = Object.fromEntries(
    GENERATIVE_TIERS.map((tier) => [tier, explicit<number>(`cloud.budgets.${tier}`)]),
  );
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
    prewarm: explicit(SETTINGS.prewarm),
    logPath: explicit(SETTINGS.logPath),
    cloud: withoutUndefined({
      mode: explicit<string>(SETTINGS.cloudMode),
      host: explicit<string>(SETTINGS.cloudHost),
      model: explicit<string>(SETTINGS.cloudModel),
      deepModel: explicit<string>(SETTINGS.cloudDeepModel),
      contextWindow: explicit<number>(SETTINGS.cloudContextWindow),
      budgets: cloudBudgets,
    }),
    gateway: withoutUndefined({ host: explicit<string>(SETTINGS.gatewayHost) }),
    fallbacks: explicit(SETTINGS.fallbacks),
    network: withoutUndefined({
      ...editorProxy(),
      caFile: explicit<string>(SETTINGS.caFile),
      headers: explicit<Record<string, string>>(SETTINGS.headers),
    }),
  };
}

/** The editor's own proxy, as the person set it: a workspace cannot send prompts another way. */
function editorProxy(): NetworkSettings {
  const http = vscode.workspace.getConfiguration('http');
  const own = <T>(key: string): T | undefined => {
    const value = http.inspect<T>(key)?.globalValue;
    return value === null ? undefined : value;
  };
  return {
    proxySupport: own('proxySupport'),
    proxy: own('proxy'),
    noProxy: own('noProxy'),
    proxyAuthorization: own('proxyAuthorization'),
  };
}

/** Calls back after any of the product's settings, or the editor's proxy, changed. */
export function onSettingsChanged(listener: () => void): vscode.Disposable {
  return vscode.workspace.onDidChangeConfiguration((event) => {
    if ([CONFIG_SECTION, 'http'].some((section) => event.affectsConfiguration(section))) listener();
  });
}

/** The editor tells of a changed setting after the update has resolved; what follows must not be quicker. */
export async function adopted(intern: Intern, isThere: (config: Config) => boolean): Promise<void> {
  if (isThere(intern.config)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      listener.dispose();
      clearTimeout(timer);
      resolve();
    };
    const listener = intern.listen({ onConfig: (config) => isThere(config) && done() });
    const timer = setTimeout(done, ADOPTED_WITHIN_MS);
  });
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}
