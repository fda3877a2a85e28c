import * as vscode from 'vscode';
import { openRepositoryCount } from './git';
import { activeUri, outputEditor } from './sources';
import type { CONTEXTS } from './ids';

/** What the product has set: the editor lets nobody read it back. */
const own = new Map<string, unknown>();

/** Sets a context key of the product, for conditions in package.json. */
export function setContext(key: (typeof CONTEXTS)[keyof typeof CONTEXTS], value: unknown): void {
  // A list of addresses is compared as text.
  own.set(key, Array.isArray(value) ? value.map(String) : value);
  void vscode.commands.executeCommand('setContext', key, value);
}

/** The context keys that commands in the palette depend on, as the editor computes them. */
const EDITOR: Record<string, () => unknown> = {
  activeEditor: () => vscode.window.tabGroups.activeTabGroup.activeTab?.label,
  editorLangId: () => vscode.window.activeTextEditor?.document.languageId,
  editorHasSelection: () =>
    vscode.window.activeTextEditor?.selections.some(({ isEmpty }) => !isEmpty),
  editorReadonly: () => {
    const document = vscode.window.activeTextEditor?.document;
    return document && !document.isUntitled && !isWritable(document.uri);
  },
  resourceScheme: () => activeUri()?.scheme,
  resource: () => activeUri()?.toString(),
  isFileSystemResource: () => {
    const uri = activeUri();
    return uri && vscode.workspace.fs.isWritableFileSystem(uri.scheme) !== undefined;
  },
  'view.workbench.panel.output.visible': () => outputEditor() !== undefined,
  workspaceFolderCount: () => vscode.workspace.workspaceFolders?.length ?? 0,
  terminalCount: () => vscode.window.terminals.length,
  gitOpenRepositoryCount: openRepositoryCount,
  isWorkspaceTrusted: () => vscode.workspace.isTrusted,
  virtualWorkspace: virtualScheme,
};

/** Empty: there is a folder on a disk, here or on a remote machine, or none at all. */
function virtualScheme(): string {
  const schemes = (vscode.workspace.workspaceFolders ?? []).map(({ uri }) => uri.scheme);
  const isVirtual = schemes.every((scheme) => scheme !== 'file' && scheme !== 'vscode-remote');
  return isVirtual ? (schemes[0] ?? '') : '';
}

function isWritable(uri: vscode.Uri): boolean {
  return vscode.workspace.fs.isWritableFileSystem(uri.scheme) === true;
}

/** What a context key stands for now. */
export function contextValue(key: string): unknown {
  const value = EDITOR[key];
  if (value) return value();
  return own.get(key);
}
