import { posix } from 'node:path';
import * as vscode from 'vscode';
import { counted, InternError } from '../core';
import { OPEN_FOLDER } from './actions';
import { type FilesRead, LIMITS, readingNotes } from './files';
import { cancellable } from './jobRunner';
import { fileUri, readWorkspace } from './sources';

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
  const hasFolder = Boolean(vscode.workspace.workspaceFolders?.length);
  if (!hasFolder || uris.every(({ scheme }) => scheme !== 'file')) {
    throw new InternError({
      code: 'bad_input',
      message: hasFolder ? 'This is not a file in the open folder.' : 'No folder is open.',
      hint: 'Only files inside the open folder are read.',
      actions: [OPEN_FOLDER],
    });
  }
  return cancellable('Reading files', (signal, progress) =>
    readWorkspace(uris, {
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
