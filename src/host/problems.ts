import * as vscode from 'vscode';
import { clip, counted, InternError } from '../core';
import type { Answers } from './answers';
import type { Drafts } from './drafts';
import { orError } from './errors';
import { COMMANDS, CONFIG_SECTION, SETTINGS } from './ids';
import { baseName } from './sources';

/** Lines on each side of a problem that the model sees. */
const LINES_AROUND = 20;
const MOST_PROBLEMS = 10;
const MOST_LINE_CHARS = 500;
const MOST_MESSAGE_CHARS = 2_000;
const MOST_INSTRUCTION_CHARS = 500;

interface Parts {
  answers: Answers;
  drafts: Drafts;
}

/** Problems in the lines of a document. */
interface Found {
  document: vscode.TextDocument;
  /** The lines, from the first to the last. */
  first: number;
  last: number;
  problems: vscode.Diagnostic[];
}

/** Explains problems and drafts corrections: as commands, and in the lightbulbs of editors and of the Problems panel. */
export function registerProblemCommands({ answers, drafts }: Parts): vscode.Disposable[] {
  const register = vscode.commands.registerCommand;
  return [
    register(COMMANDS.explainProblem, (uri?: unknown, range?: unknown) =>
      orError(async () => explain(await find(uri, range), answers)),
    ),
    register(COMMANDS.draftFix, (uri?: unknown, range?: unknown) =>
      orError(async () => draftFix(await find(uri, range), drafts)),
    ),
    vscode.languages.registerCodeActionsProvider(
      '*',
      { provideCodeActions },
      { providedCodeActionKinds: [vscode.CodeActionKind.QuickFix] },
    ),
  ];
}

function provideCodeActions(
  document: vscode.TextDocument,
  range: vscode.Range,
  { diagnostics }: vscode.CodeActionContext,
): vscode.CodeAction[] {
  const config = vscode.workspace.getConfiguration(CONFIG_SECTION, document);
  const isOn = config.get<boolean>(SETTINGS.codeActions) !== false;
  if (diagnostics.length === 0 || !isOn) return [];
  const what = diagnostics.length === 1 ? 'Problem' : counted(diagnostics.length, 'Problem');
  const offer = (label: string, command: string): vscode.CodeAction => {
    const title = `${label} with Ollama Intern`;
    const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
    action.diagnostics = [...diagnostics];
    action.command = { title, command, arguments: [document.uri, range] };
    return action;
  };
  return [offer(`Explain ${what}`, COMMANDS.explainProblem), offer('Draft Fix', COMMANDS.draftFix)];
}

/** The problems in a range, or at the cursor, or else in its lines. */
async function find(uri: unknown, given: unknown): Promise<Found> {
  const editor = vscode.window.activeTextEditor;
  const target = uri instanceof vscode.Uri ? uri : editor?.document.uri;
  if (!target) {
    throw new InternError({
      code: 'bad_input',
      message: 'No text editor is open.',
      hint: 'Open a file with a problem, and go to it.',
      actions: [SHOW_PROBLEMS],
    });
  }
  const document = await vscode.workspace.openTextDocument(target);
  const range = rangeOf(given) ?? editor?.selection ?? new vscode.Range(0, 0, 0, 0);
  const lines = new vscode.Range(range.start.line, 0, range.end.line, Number.MAX_SAFE_INTEGER);
  const within = (place: vscode.Range): vscode.Diagnostic[] =>
    vscode.languages.getDiagnostics(target).filter((one) => one.range.intersection(place));
  const exact = within(range);
  const problems = (exact.length > 0 ? exact : within(lines)).slice(0, MOST_PROBLEMS);
  if (problems.length === 0) {
    throw new InternError({
      code: 'bad_input',
      message: `There is no problem at the cursor in ${baseName(target)}.`,
      hint: 'Go to one first.',
      actions: [
        { kind: 'run_command', command: 'editor.action.marker.next', title: 'Next Problem' },
        SHOW_PROBLEMS,
      ],
    });
  }
  // What was reported may be older than the text.
  const inText = (line: number): number => Math.min(line, document.lineCount - 1);
  return {
    document,
    first: inText(Math.min(...problems.map((one) => one.range.start.line))),
    last: inText(Math.max(...problems.map((one) => one.range.end.line))),
    problems,
  };
}

async function explain({ document, first, last, problems }: Found, answers: Answers) {
  const name = baseName(document.uri);
  const start = Math.max(0, first - LINES_AROUND);
  const end = Math.min(document.lineCount - 1, last + LINES_AROUND);
  const lines = Array.from({ length: end - start + 1 }, (_, index) => {
    const line = start + index;
    return `${line + 1}: ${clip(document.lineAt(line).text, MOST_LINE_CHARS)}`;
  });
  const what = problems.length === 1 ? 'problem' : 'problems';
  const place = `${name}, line ${first + 1}`;
  await answers.start({
    job: 'chat',
    input: {
      messages: [
        {
          role: 'user',
          content: `What does the ${what} mean that the editor reports here, why is it there, and how is it corrected?`,
        },
      ],
      context: [
        { name: 'Problems', text: problems.map(describe).join('\n') },
        { name: `${name}, from line ${start + 1}`, text: lines.join('\n') },
      ],
    },
    title: `Problem in ${place}`,
    progress: `Explaining the ${what} in ${place}`,
    task: 'Explain',
  });
}

/** The whole lines are replaced, after an instruction that can be changed first. */
async function draftFix({ document, first, last, problems }: Found, drafts: Drafts) {
  const editor = await vscode.window.showTextDocument(document);
  editor.selection = new vscode.Selection(first, 0, last, document.lineAt(last).text.length);
  const messages = problems.map(({ message }) => message.replace(/\s+/g, ' ').trim());
  await drafts.start(editor, clip(`Correct: ${messages.join('; ')}`, MOST_INSTRUCTION_CHARS));
}

function describe({ range, severity, source, code, message }: vscode.Diagnostic): string {
  const id = typeof code === 'object' ? code.value : code;
  const kind = vscode.DiagnosticSeverity[severity].toLowerCase();
  const origin = [source, id].filter((part) => part !== undefined).join(' ');
  const text = clip(message, MOST_MESSAGE_CHARS);
  return `Line ${range.start.line + 1}, ${kind}${origin ? ` (${origin})` : ''}: ${text}`;
}

function rangeOf(given: unknown): vscode.Range | undefined {
  return given instanceof vscode.Range ? given : undefined;
}

const SHOW_PROBLEMS = {
  kind: 'run_command',
  command: 'workbench.actions.view.problems',
  title: 'Show Problems',
} as const;
