import type * as vscode from 'vscode';
import { ServerSecrets } from './serverSecrets';

/** The tokens of reverse proxies before Ollama, and of gateways. */
export function serverTokens(secrets: vscode.SecretStorage): ServerSecrets {
  return new ServerSecrets(secrets, {
    prefix: 'ollamaIntern.token:',
    noun: 'token',
    title: 'Set Server Token',
    prompt: (origin) =>
      `Bearer token for ${origin}. It is kept in the editor's secret storage and sent to this server only.`,
    servers: ({ config: { host, gateway } }) => [
      { name: 'Ollama', host, setting: 'ollamaIntern.host' },
      ...(gateway === undefined
        ? []
        : [{ name: 'Gateway', host: gateway, setting: 'ollamaIntern.gateway.host' }]),
    ],
    apply: (intern, origin, token) => intern.setToken(origin, token),
  });
}
