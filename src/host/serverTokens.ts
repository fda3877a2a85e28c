import * as vscode from 'vscode';
import { hostLabel, type Intern, isPlausibleToken, mayCarryToken } from '../core';
import { COMMANDS } from './ids';

const KEY = 'ollamaIntern.token:';

/** The tokens of reverse proxies before Ollama, in the editor's secret storage: one for each server. */
export class ServerTokens {
  constructor(private readonly secrets: vscode.SecretStorage) {}

  get(origin: string): Thenable<string | undefined> {
    return this.secrets.get(KEY + origin);
  }

  /** Tells the intern what other windows set or clear. */
  follow(intern: Intern): vscode.Disposable {
    return this.secrets.onDidChange(async ({ key }) => {
      if (!key.startsWith(KEY)) return;
      const origin = key.slice(KEY.length);
      intern.setToken(origin, await this.get(origin));
    });
  }

  /** Asks for the token of the server that is set. False when none was given. */
  async ask(intern: Intern): Promise<boolean> {
    const { host } = intern.config;
    if (!mayCarryToken(host)) {
      await refuse(host);
      return false;
    }
    const { origin } = new URL(host);
    const typed = await vscode.window.showInputBox({
      title: 'Set Server Token',
      prompt: `Bearer token for ${origin}. It is kept in the editor's secret storage and sent to this server only.`,
      password: true,
      ignoreFocusOut: true,
      validateInput: (text) => (isPlausibleToken(text.trim()) ? undefined : WRONG),
    });
    const token = typed?.trim();
    if (!token) return false;
    if (!isPlausibleToken(token)) {
      void vscode.window.showErrorMessage(WRONG);
      return false;
    }
    await this.secrets.store(KEY + origin, token);
    intern.setToken(origin, token);
    void vscode.window.showInformationMessage(`The token for ${hostLabel(origin)} is set.`);
    return true;
  }

  async clear(intern: Intern): Promise<void> {
    const { origin } = new URL(intern.config.host);
    const had = (await this.get(origin)) !== undefined;
    await this.secrets.delete(KEY + origin);
    intern.setToken(origin, undefined);
    void vscode.window.showInformationMessage(
      had
        ? `The token for ${hostLabel(origin)} is cleared.`
        : `No token was set for ${hostLabel(origin)}.`,
    );
  }
}

const WRONG = 'A token has no spaces and only plain characters. Leave out the word Bearer.';

async function refuse(host: string): Promise<void> {
  const open = 'Open Setting';
  const chosen = await vscode.window.showErrorMessage(
    `A token is not sent to ${hostLabel(host)} over plain HTTP, where others can read it. Set the https address of the server.`,
    open,
  );
  if (chosen) await vscode.commands.executeCommand(COMMANDS.openSettings, 'ollamaIntern.host');
}
