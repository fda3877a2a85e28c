import { posix } from 'node:path';
import * as vscode from 'vscode';
import { counted, InternError } from '../core';
import { type FilesRead, LIMITS, readFiles, readingNotes } from './files';
import { cancellable } from './jobRunner';
import { fileUri } from './sources';

export interface Chosen extends FilesRead {
  /** What was left out, and what may be misread: for under the answer. */
  notes: string[];
  /** For titles: a name, or how many. */
  about: string;
}

/** Files and folders of the workspace as texts, at least one. */
export async function readChosen(uris: readonly vscode.Uri[], limits = LIMITS): Promise<Chosen> {
  const read = await readWorkspaceFiles(uris, limits);
  const { sources } = read;
  const notes = readingNotes(read);
  const [first] = sources;
  if (!first) {
    throw new InternError({
      code: 'bad_input',
      message: 'There is nothing to read.',
      hint: notes.join(' ') || 'The folder is empty.',
    });
  }
  const about = sources.length === 1 ? posix.basename(first.name) : counted(sources.length, 'file');
  return { ...read, notes, about };
}

async function readWorkspaceFiles(
  uris: readonly vscode.Uri[],
  limits: typeof LIMITS,
): Promise<FilesRead> {
  const roots = (vscode.workspace.workspaceFolders ?? []).map(({ uri }) => uri);
  const paths = uris.filter(({ scheme }) => scheme === 'file').map(({ fsPath }) => fsPath);
  if (roots.length === 0 || paths.length === 0) {
    throw new InternError({
      code: 'bad_input',
      message: roots.length === 0 ? 'No folder is open.' : 'This is not a file in the open folder.',
      hint: 'Only files inside the open folder are read.',
      actions: [
        { kind: 'run_command', command: 'workbench.action.files.openFolder', title: 'Open Folder' },
      ],
    });
  }
  const unsaved = vscode.workspace.textDocuments
    .filter(({ isDirty, uri }) => isDirty && uri.scheme === 'file')
    .map((document): [string, string] => [document.uri.fsPath, document.getText()]);
  return cancellable('Reading files', (signal, progress) =>
    readFiles(paths, {
      roots: roots.map(({ fsPath }) => fsPath),
      unsaved: new Map(unsaved),
      limits,
      signal,
      onFile: (name, read) => progress.report({ message: `${read}: ${name}` }),
    }),
  );
}

/** What is marked in the explorer, if the command comes from there. */
export function markedUris(all: unknown): vscode.Uri[] {
  return Array.isArray(all) ? all.flatMap((one) => uriOf(one) ?? []) : [];
}

/** What is marked in the explorer, or else the file in the active editor. */
export function chosenUris(clicked: unknown, all: unknown): vscode.Uri[] {
  const marked = markedUris(all);
  return marked.length > 0 ? marked : [fileUri(uriOf(clicked))];
}

export function uriOf(given: unknown): vscode.Uri | undefined {
  return given instanceof vscode.Uri ? given : undefined;
}
