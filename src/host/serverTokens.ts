import type * as vscode from 'vscode';
import { ServerSecrets } from './serverSecrets';

/** The tokens of reverse proxies before Ollama. */
export function serverTokens(secrets: vscode.SecretStorage): ServerSecrets {
  return new ServerSecrets(secrets, {
    prefix: 'ollamaIntern.token:',
    noun: 'token',
    title: 'Set Server Token',
    prompt: (origin) =>
      `Bearer token for ${origin}. It is kept in the editor's secret storage and sent to this server only.`,
    address: ({ config }) => config.host,
    setting: 'ollamaIntern.host',
    apply: (intern, origin, token) => intern.setToken(origin, token),
  });
}
