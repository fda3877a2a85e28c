import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';

/** What the page may load from. */
export function resourceRoot(extensionUri: vscode.Uri): vscode.Uri {
  return vscode.Uri.joinPath(extensionUri, 'dist', 'webview');
}

/** The page, which loads nothing but its own script and style, and has its texts in the editor's language. */
export function pageHtml(webview: vscode.Webview, root: vscode.Uri): string {
  const nonce = randomBytes(16).toString('base64');
  const uri = (file: string) => webview.asWebviewUri(vscode.Uri.joinPath(root, file)).toString();
  const policy = [
    `default-src 'none'`,
    `img-src ${webview.cspSource}`,
    `font-src ${webview.cspSource}`,
    `style-src ${webview.cspSource}`,
    `script-src 'nonce-${nonce}'`,
  ].join('; ');
  const texts = vscode.l10n.bundle ? escaped(JSON.stringify(vscode.l10n.bundle)) : '';
  // The icon elements find their style sheet by this id.
  return `<!doctype html>
<html lang="${escaped(vscode.env.language)}" data-texts="${texts}">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="${policy}" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <link id="vscode-codicon-stylesheet" rel="stylesheet" href="${uri('codicon.css')}" />
    <link rel="stylesheet" href="${uri('dashboard.css')}" />
    <title>Ollama Intern</title>
  </head>
  <body>
    <script nonce="${nonce}" src="${uri('dashboard.js')}"></script>
  </body>
</html>`;
}

function escaped(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '"': '&quot;', '<': '&lt;' };
  return text.replace(/[&"<]/g, (character) => entities[character] ?? character);
}
