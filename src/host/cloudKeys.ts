import type * as vscode from 'vscode';
import { ServerSecrets } from './serverSecrets';

/** The keys of Ollama Cloud. */
export function cloudKeys(secrets: vscode.SecretStorage): ServerSecrets {
  return new ServerSecrets(secrets, {
    prefix: 'ollamaIntern.cloudKey:',
    noun: 'cloud key',
    title: 'Set Cloud Key',
    prompt: (origin) =>
      `API key for ${origin}, as your account there shows it. It is kept in the editor's secret storage and sent to this server only.`,
    servers: ({ config }) => [
      { name: 'Ollama Cloud', host: config.cloud.host, setting: 'ollamaIntern.cloud.host' },
    ],
    apply: (intern, origin, key) => intern.setCloudKey(origin, key),
    cleared: async (intern) =>
      (await intern.cloudKey()) === 'environment' ? 'OLLAMA_API_KEY is used now.' : '',
  });
}
