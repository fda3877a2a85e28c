import { posix } from 'node:path';
import * as vscode from 'vscode';
import { InternError } from '../core';
import { type FilesRead, type ReadFile, readFiles, readingNotes } from './files';
import { fileUri } from './sources';

/** Files of the workspace that a job works on. There is at least one. */
export interface WorkspaceFiles {
  sources: ReadFile[];
  /** For titles: `limiter.ts`, `12 files`. */
  about: string;
  /** What was left out, and what may be misread. */
  notes: string[];
}

/**
 * The files and folders that are marked in the explorer, or the one that was clicked, or else the active file. Rejects
 * with an InternError when there is no text in any.
 */
export async function workspaceFiles(clicked?: unknown, marked?: unknown): Promise<WorkspaceFiles> {
  const all: unknown[] = Array.isArray(marked) ? marked : [];
  const uris = all.flatMap((one) => uriOf(one) ?? []);
  const read = await readWorkspaceFiles(uris.length > 0 ? uris : [fileUri(uriOf(clicked))]);
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
  const about = sources.length === 1 ? posix.basename(first.name) : `${sources.length} files`;
  return { sources, about, notes };
}

async function readWorkspaceFiles(uris: readonly vscode.Uri[]): Promise<FilesRead> {
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
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Reading files', cancellable: true },
    (progress, token) => {
      const controller = new AbortController();
      token.onCancellationRequested(() => controller.abort());
      return readFiles(paths, {
        roots: roots.map(({ fsPath }) => fsPath),
        unsaved: new Map(unsaved),
        signal: controller.signal,
        onFile: (name, read) => progress.report({ message: `${read}: ${name}` }),
      });
    },
  );
}

export function uriOf(given: unknown): vscode.Uri | undefined {
  return given instanceof vscode.Uri ? given : undefined;
}
