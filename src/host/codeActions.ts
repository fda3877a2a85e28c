import * as vscode from 'vscode';
import { COMMANDS, CONFIG_SECTION, SCHEMES, SETTINGS } from './ids';

const { Empty, RefactorRewrite } = vscode.CodeActionKind;

/** What the lightbulb offers for a selection. */
const ACTIONS = [
  {
    title: 'Summarize with Ollama Intern',
    command: COMMANDS.summarizeSelection,
    kind: Empty,
    writes: false,
  },
  {
    title: 'Answer Here with Ollama Intern…',
    command: COMMANDS.answerHere,
    kind: Empty,
    writes: false,
  },
  {
    title: 'Draft from Selection with Ollama Intern…',
    command: COMMANDS.draftFromSelection,
    kind: RefactorRewrite,
    writes: true,
  },
];

/** The commands for a selection, in the lightbulb. */
export function registerCodeActions(): vscode.Disposable {
  return vscode.languages.registerCodeActionsProvider(
    { pattern: '**' },
    { provideCodeActions: (document, range, { only }) => actionsFor(document, range, only) },
    { providedCodeActionKinds: [RefactorRewrite] },
  );
}

async function actionsFor(
  document: vscode.TextDocument,
  range: vscode.Range,
  only: vscode.CodeActionKind | undefined,
): Promise<vscode.CodeAction[]> {
  // The place of a problem is a range too, but nobody has selected it.
  if (!(range instanceof vscode.Selection) || document.getText(range).trim() === '') return [];
  if ((Object.values(SCHEMES) as string[]).includes(document.uri.scheme)) return [];
  const config = vscode.workspace.getConfiguration(CONFIG_SECTION, document);
  if (config.get<boolean>(SETTINGS.codeActions) === false) return [];
  // Who asks for a kind, such as what is fixed when a file is saved, gets that kind alone.
  const wanted = ACTIONS.filter(({ kind }) => !only || only.contains(kind));
  const isWritable = wanted.some(({ writes }) => writes) && (await canBeWritten(document.uri));
  return wanted
    .filter(({ writes }) => !writes || isWritable)
    .map(({ title, command, kind }) => {
      const action = new vscode.CodeAction(title, kind);
      action.command = { title, command };
      return action;
    });
}

async function canBeWritten(uri: vscode.Uri): Promise<boolean> {
  if (uri.scheme === 'untitled') return true;
  // Undefined: a document that some extension provides and that has no file.
  if (vscode.workspace.fs.isWritableFileSystem(uri.scheme) !== true) return false;
  const { permissions = 0 } = await vscode.workspace.fs
    .stat(uri)
    .then(undefined, () => ({}) as vscode.FileStat);
  return (permissions & vscode.FilePermission.Readonly) === 0;
}
