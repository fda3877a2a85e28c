import { posix } from 'node:path';
import * as vscode from 'vscode';
import { InternError } from '../core';
import { OPEN_FOLDER } from './actions';
import { type FilesRead, LIMITS, readingNotes, textOf } from './files';
import { chooseChange, chooseRepository, titleOf } from './git';
import { plain } from './plain';
import { pickRepositoryFiles } from './repositoryFiles';
import { baseName, fileSource, readWorkspace, selectedSource } from './sources';

/** What a brief is written from. */
export interface Material<I> {
  input: I;
  /** For titles. */
  name: string;
  /** What is not in it. */
  notes: string[];
  /** What the names of files are relative to. */
  root?: vscode.Uri;
}

interface NamedText {
  name: string;
  text: string;
  language?: string;
}

const MOST_FOUND = 20_000;
/** Of one file that is not on the disk. */
const MOST_BYTES = 1024 * 1024;
/** Characters, of one file and of all. */
const MOST_OF_FILE = 12_000;
const MOST_OF_ALL = 120_000;
const NOT_SOURCES =
  '**/{node_modules,.git,.hg,.svn,dist,out,build,target,vendor,.venv,venv,__pycache__,.cache,coverage}/**';

export async function changeMaterial(
  title: string,
  clicked?: unknown,
): Promise<Material<{ diff: string }> | undefined> {
  const repository = await chooseRepository(clicked);
  const change = repository && (await chooseChange(repository, title));
  return change && { input: { diff: change.diff }, name: titleOf(change), notes: change.notes };
}

/** The selection, or else the file, as the log; of the other files that are open, those that a person ticks. */
export async function incidentMaterial(
  clicked?: vscode.Uri,
): Promise<Material<{ log_text: string; sources?: NamedText[] }> | undefined> {
  const editor = vscode.window.activeTextEditor;
  const isSelected = !clicked && editor?.selections.some(({ isEmpty }) => !isEmpty);
  const log = isSelected ? selectedSource() : await fileSource(clicked);
  const others = openFiles().filter((uri) => uri.toString() !== log.document.uri.toString());
  const chosen =
    others.length === 0
      ? []
      : await vscode.window.showQuickPick(
          others.map((uri) => ({
            label: plain(baseName(uri)),
            description: plain(vscode.workspace.asRelativePath(uri)),
            name: vscode.workspace.asRelativePath(uri),
            uri,
          })),
          { title: 'Files to Read with the Log', canPickMany: true },
        );
  if (!chosen) return undefined;
  const sources: NamedText[] = [];
  const notes = [...log.notes];
  for (const { uri, name } of chosen) {
    const source = await fileSource(uri);
    sources.push({ name, text: source.text, language: source.document.languageId });
    notes.push(...source.notes);
  }
  return {
    input: { log_text: log.text, ...(sources.length > 0 && { sources }) },
    name: log.name,
    notes,
  };
}

function openFiles(): vscode.Uri[] {
  const uris = vscode.window.tabGroups.all.flatMap(({ tabs }) =>
    tabs.flatMap(({ input }) => (input instanceof vscode.TabInputText ? [input.uri] : [])),
  );
  const files = uris.filter(({ scheme }) => vscode.workspace.fs.isWritableFileSystem(scheme));
  return [...new Map(files.map((uri) => [uri.toString(), uri])).values()];
}

/** The files of a workspace folder that say most about it. */
export async function repositoryMaterial(): Promise<
  Material<{ sources: NamedText[] }> | undefined
> {
  const folder = await chooseFolder();
  if (!folder) return undefined;
  const found = await vscode.workspace.findFiles(
    new vscode.RelativePattern(folder, '**/*'),
    NOT_SOURCES,
    MOST_FOUND,
  );
  const byPath = new Map(found.map((uri) => [posix.relative(folder.uri.path, uri.path), uri]));
  const { picked } = pickRepositoryFiles([...byPath.keys()]);
  const read = await readFound(folder, picked, byPath);
  const sources: NamedText[] = [];
  const cut: string[] = [];
  let left = MOST_OF_ALL;
  for (const { name, text } of read.sources) {
    if (left === 0) break;
    const most = Math.min(MOST_OF_FILE, left);
    if (text.length > most) cut.push(name);
    sources.push({ name, text: text.slice(0, most) });
    left -= Math.min(text.length, most);
  }
  if (sources.length === 0) {
    throw new InternError({
      code: 'bad_input',
      message: `There is no README, manifest or source file in ${folder.name}.`,
      hint: 'Open the folder of a project.',
      actions: [OPEN_FOLDER],
    });
  }
  const others = byPath.size - sources.length;
  const more = byPath.size >= MOST_FOUND ? 'at least ' : '';
  return {
    input: { sources },
    name: folder.name,
    root: folder.uri,
    notes: [
      `Files that were read: ${sources.length}; files that were not: ${more}${others}.`,
      ...(cut.length > 0 ? [`Only the start was read of: ${cut.join(', ')}.`] : []),
      ...readingNotes(read),
    ],
  };
}

async function chooseFolder(): Promise<vscode.WorkspaceFolder | undefined> {
  const folders = vscode.workspace.workspaceFolders ?? [];
  if (folders.length === 0) {
    throw new InternError({
      code: 'bad_input',
      message: 'No folder is open.',
      hint: 'Open the folder of a project.',
      actions: [OPEN_FOLDER],
    });
  }
  return folders.length === 1 ? folders[0] : vscode.window.showWorkspaceFolderPick();
}

/** The search follows links wherever they point: what it found is read only inside of the workspace. */
async function readFound(
  { uri: { scheme } }: vscode.WorkspaceFolder,
  paths: readonly string[],
  uris: ReadonlyMap<string, vscode.Uri>,
): Promise<FilesRead> {
  const found = paths.flatMap((name) => {
    const uri = uris.get(name);
    return uri ? [{ name, uri }] : [];
  });
  if (scheme !== 'file') return readElsewhere(found);
  const names = new Map(found.map(({ name, uri }) => [uri.fsPath, name]));
  const { sources, ...rest } = await readWorkspace(
    found.map(({ uri }) => uri),
    { found: true, limits: { ...LIMITS, files: found.length } },
  );
  // Here they are named from their own folder, also where the workspace has several.
  return {
    ...rest,
    sources: sources.map((one) => ({ ...one, name: names.get(one.path) ?? one.name })),
  };
}

/** From a file system that is not the disk's. What is no text, or too large to be written by hand, is passed over. */
async function readElsewhere(found: { name: string; uri: vscode.Uri }[]): Promise<FilesRead> {
  const read: FilesRead = { sources: [], leftOut: [], doubts: [] };
  const { fs } = vscode.workspace;
  for (const { name, uri } of found) {
    try {
      if ((await fs.stat(uri)).size > MOST_BYTES) continue;
      const decoded = textOf(Buffer.from(await fs.readFile(uri)));
      if (!decoded?.text.trim()) continue;
      read.sources.push({ name, text: decoded.text, path: uri.path });
      if (decoded.doubt) read.doubts.push({ name, reason: decoded.doubt });
    } catch {
      read.leftOut.push({ name, reason: 'could not be read' });
    }
  }
  return read;
}
