import * as vscode from 'vscode';

/** The document of a place, if the editor has it open, in a tab or not. */
export function documentOf(uri: vscode.Uri): vscode.TextDocument | undefined {
  const key = uri.toString();
  return vscode.workspace.textDocuments.find((document) => document.uri.toString() === key);
}
