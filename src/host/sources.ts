import { posix } from 'node:path';
import * as vscode from 'vscode';
import { type ErrorAction, InternError } from '../core';
import { OPEN_FILE } from './actions';
import { type FilesRead, readFiles, type ReadOptions } from './files';
import { COMMANDS } from './ids';

/** Bytes. It opens larger files, but hides them from extensions. */
const MOST_OF_EDITOR = 50 * 1024 * 1024;

/** Text that a job works on, and where it comes from. */
export interface Source {
  document: vscode.TextDocument;
  text: string;
  /** The file's name, for titles. */
  name: string;
  /** Set for a selection. */
  range?: vscode.Range;
  /** What a person should know about it. */
  notes: string[];
}

export type SelectedSource = Source & { range: vscode.Range };

const SUMMARIZE_FILE: ErrorAction = {
  kind: 'run_command',
  command: COMMANDS.summarizeFile,
  title: 'Summarize File',
};

/**
 * The selected text of the active editor; with several selections, all of them in order. Without one, the actions are
 * what else can be done.
 */
export function selectedSource(actions = [SUMMARIZE_FILE]): Source {
  const sources = selectedSources(actions);
  const [first] = sources;
  const text = sources.map((one) => one.text).join('\n');
  return { ...first, text, notes: doubtsAbout(first.document, first.name, text) };
}

/** The selections of the active editor that are not blank, in order. */
export function selectedSources(actions: ErrorAction[]): [SelectedSource, ...SelectedSource[]] {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    throw new InternError({
      code: 'bad_input',
      message: 'No text editor is open.',
      hint: 'Open a file and select the text.',
      actions: [OPEN_FILE],
    });
  }
  const { document } = editor;
  const name = nameOf(document.uri);
  const ranges = selectedRanges(editor);
  const [first, ...others] = ranges
    .map((range) => ({ range, text: document.getText(range) }))
    .filter(({ text }) => text.trim() !== '')
    .map((one) => ({ ...one, document, name, notes: doubtsAbout(document, name, one.text) }));
  if (first) return [first, ...others];
  throw new InternError({
    code: 'bad_input',
    message: ranges.length === 0 ? 'No text is selected.' : 'The selection is blank.',
    hint: `Select the text in ${name} first.`,
    actions,
  });
}

/** What is selected, from top to bottom. */
export function selectedRanges({ selections }: vscode.TextEditor): vscode.Selection[] {
  return selections
    .filter(({ isEmpty }) => !isEmpty)
    .toSorted((a, b) => a.start.compareTo(b.start));
}

/** A whole file: the one that was clicked, or the one in the active editor, saved or not. */
export async function fileSource(clicked?: vscode.Uri): Promise<Source> {
  const uri = fileUri(clicked);
  const name = nameOf(uri);
  const document = await open(uri, name);
  const text = document.getText();
  if (text.includes('\0')) throw notText(name);
  if (text.trim() === '') throw isEmpty(name);
  return { document, text, name, notes: doubtsAbout(document, name, text) };
}

/** The editor shows bytes that its encoding does not know as U+FFFD, and so would a model get them. */
function doubtsAbout({ encoding }: vscode.TextDocument, name: string, text: string): string[] {
  if (!text.includes('\uFFFD')) return [];
  return [
    `Characters of ${name} that are not ${encoding} were read as \uFFFD. Reopen it with its encoding to have them read.`,
  ];
}

/** The selected text of the active editor, or without one the whole file. */
export async function selectionOrFile(): Promise<Source> {
  const editor = vscode.window.activeTextEditor;
  return editor && selectedRanges(editor).length > 0 ? selectedSource([]) : fileSource();
}

/** The file that was clicked, or the one in the active editor. */
export function fileUri(clicked?: vscode.Uri): vscode.Uri {
  const uri = clicked ?? activeUri();
  if (uri) return uri;
  throw new InternError({
    code: 'bad_input',
    message: 'No file is open.',
    hint: 'Open a file first.',
    actions: [OPEN_FILE],
  });
}

/** Files and folders of the workspace as text, as editors hold it, saved or not. */
export function readWorkspace(
  uris: readonly vscode.Uri[],
  options: Omit<ReadOptions, 'roots' | 'names' | 'unsaved'>,
): Promise<FilesRead> {
  const inFiles = ({ scheme }: vscode.Uri): boolean => scheme === 'file';
  const roots = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => inFiles(uri));
  const unsaved = vscode.workspace.textDocuments
    .filter(({ isDirty, uri }) => isDirty && inFiles(uri))
    .map((document): [string, string] => [document.uri.fsPath, document.getText()]);
  return readFiles(
    uris.filter(inFiles).map(({ fsPath }) => fsPath),
    {
      ...options,
      roots: roots.map(({ uri }) => uri.fsPath),
      names: roots.map(({ name }) => name),
      unsaved: new Map(unsaved),
    },
  );
}

async function open(uri: vscode.Uri, name: string): Promise<vscode.TextDocument> {
  try {
    return await vscode.workspace.openTextDocument(uri);
  } catch (cause) {
    const found = await vscode.workspace.fs.stat(uri).then(undefined, () => undefined);
    if (!found) throw cannotRead(name, cause);
    throw found.size > MOST_OF_EDITOR ? tooLarge(name, cause) : notText(name, cause);
  }
}

function tooLarge(name: string, cause: unknown): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${name} is too large: the editor hands on no text above 50 MB.`,
    hint: 'Triage Log File reads a log of any size. Of another file, save a part on its own.',
    cause,
  });
}

export function cannotRead(name: string, cause: unknown): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${name} cannot be read.`,
    hint: 'It may have been moved or deleted.',
    actions: [OPEN_FILE],
    cause,
  });
}

export function isEmpty(name: string): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${name} is empty.`,
    hint: 'Write or open something first.',
    actions: [OPEN_FILE],
  });
}

export function notText(name: string, cause?: unknown): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${name} is not a text file.`,
    hint: 'Only text can be worked on.',
    actions: [OPEN_FILE],
    cause,
  });
}

/** What is in the active editor. Those for pictures and the like are no text editors, but have a tab. */
export function activeUri(): vscode.Uri | undefined {
  const editor = vscode.window.activeTextEditor;
  if (editor) return editor.document.uri;
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
  return input instanceof vscode.TabInputText || input instanceof vscode.TabInputCustom
    ? input.uri
    : undefined;
}

/** What the Output panel shows. An editor has no column there; in a tab it has, and then it is a file like others. */
export function outputEditor(): vscode.TextEditor | undefined {
  return vscode.window.visibleTextEditors.find(
    ({ document, viewColumn }) => document.uri.scheme === 'output' && viewColumn === undefined,
  );
}

/** `main.ts`; of a notebook only a cell is read: `plan.ipynb, cell 3`. */
function nameOf(uri: vscode.Uri): string {
  const cells = vscode.workspace.notebookDocuments.flatMap((notebook) => notebook.getCells());
  const cell = cells.find(({ document }) => document.uri.toString() === uri.toString());
  return cell ? `${baseName(uri)}, cell ${cell.index + 1}` : baseName(uri);
}

export function baseName(uri: vscode.Uri): string {
  return posix.basename(uri.path) || uri.authority || 'untitled';
}
