import * as vscode from 'vscode';
import { type ErrorAction, type Intern, InternError, type Shape, toInternError } from '../core';
import { showError } from './actions';
import { type AnswerRequest, type Answers } from './answers';
import { megabytes, readEnd, readingNotes, textOf } from './files';
import { COMMANDS } from './ids';
import { readExample, readLabels, readSchema, type Typed } from './jobInputs';
import { envelopeLines, runWithProgress } from './jobRunner';
import {
  baseName,
  cannotRead,
  fileSource,
  fileUri,
  isEmpty,
  notText,
  selectedSource,
  type Source,
} from './sources';
import { uriOf, workspaceFiles } from './workspaceFiles';

/** Of a longer log only the end is read: strings have a longest length. Bytes. */
const MOST_LOG = 256_000_000;

const EXTRACT_FROM_FILE: ErrorAction = {
  kind: 'run_command',
  command: COMMANDS.extractFromFile,
  title: 'Extract from File',
};
const TRIAGE_FILE: ErrorAction = {
  kind: 'run_command',
  command: COMMANDS.triageFile,
  title: 'Triage Log File',
};

/** The commands of the jobs that ask for something first, or read more than a text in an editor. */
export class JobCommands {
  /** What was typed last, by what it was asked for. */
  readonly #typed = new Map<string, string>();

  constructor(
    private readonly intern: Intern,
    private readonly answers: Answers,
  ) {}

  register(): vscode.Disposable[] {
    const handlers: Record<string, (...args: never[]) => Promise<unknown>> = {
      [COMMANDS.classifySelection]: () => this.#classify(),
      [COMMANDS.extractFromSelection]: async () =>
        this.#extract(selectedSource([EXTRACT_FROM_FILE])),
      [COMMANDS.extractFromFile]: async (clicked?: unknown) =>
        this.#extract(await fileSource(uriOf(clicked))),
      [COMMANDS.triageSelection]: async () => this.#triage(selectedSource([TRIAGE_FILE])),
      [COMMANDS.triageFile]: async (clicked?: unknown) =>
        this.#triage(await logSource(fileUri(uriOf(clicked)))),
      [COMMANDS.triageTerminal]: async () => this.#triage(await terminalSource()),
      [COMMANDS.askFiles]: (clicked?: unknown, marked?: unknown) => this.#ask(clicked, marked),
      [COMMANDS.summarizeFiles]: (clicked?: unknown, marked?: unknown) =>
        this.#summarize(clicked, marked),
    };
    return Object.entries(handlers).map(([id, handler]) =>
      vscode.commands.registerCommand(id, async (...args: never[]) => {
        try {
          await handler(...args);
        } catch (thrown) {
          void showError(toInternError(thrown), '');
        }
      }),
    );
  }

  async #classify(): Promise<void> {
    const { text, name, notes } = selectedSource([]);
    const labels = await this.#askFor('Labels', readLabels, {
      title: 'Classify Selection',
      prompt: 'Labels with commas between them; what one means may follow a colon',
      placeHolder: 'bug, feature: something new, question',
    });
    if (!labels) return;
    await this.answers.start({
      job: 'classify',
      input: { text, labels, source: name },
      title: `Label of ${name}, selection`,
      progress: `Classifying the selection in ${name}`,
      task: 'Classify',
      notes,
    });
  }

  async #extract({ text, name, range, notes }: Source): Promise<void> {
    const schema = await this.#askSchema();
    if (!schema) return;
    const where = range ? `${name}, selection` : name;
    await this.#runExtract({
      job: 'extract',
      input: { text, schema, source: name },
      title: `Data from ${where}`,
      progress: `Extracting data from ${where}`,
      task: 'Extract',
      notes,
    });
  }

  /** Data opens as a document that can be edited and saved; what does not fit the schema is shown as an answer. */
  async #runExtract(request: AnswerRequest<'extract'>): Promise<void> {
    try {
      const envelope = await runWithProgress(this.intern, 'extract', request.input, {
        title: request.progress,
        overflow: 'refuse',
        onDelta: () => undefined,
      });
      if (!envelope.result.ok) return await this.answers.present(request, envelope);
      const document = await vscode.workspace.openTextDocument({
        language: 'json',
        content: `${JSON.stringify(envelope.result.data, null, 2)}\n`,
      });
      await vscode.window.showTextDocument(document, vscode.ViewColumn.Beside);
      // JSON has no room for a line under it.
      const notes = [...envelopeLines(envelope).slice(1), ...(request.notes ?? [])];
      if (notes.length > 0) void vscode.window.showWarningMessage(notes.join(' '));
    } catch (thrown) {
      if ((await showError(toInternError(thrown), request.task)) === 'retry') {
        await this.#runExtract(request);
      }
    }
  }

  async #askSchema(): Promise<Shape | undefined> {
    const chosen = await vscode.window.showQuickPick(SCHEMA_ORIGINS, {
      title: 'What does the data look like?',
    });
    switch (chosen?.origin) {
      case 'schema':
        return this.#askFor('JSON Schema', readSchema, {
          title: chosen.label,
          placeHolder: '{"type": "object", "properties": {"name": {"type": "string"}}}',
        });
      case 'example':
        return this.#askFor('Example', readExample, {
          title: chosen.label,
          placeHolder: '{"name": "Ada", "born": 1815}',
        });
      case 'file':
        return schemaFile();
      case undefined:
        return undefined;
    }
  }

  /** Asks until what is typed can be used; what is wrong with it stands under it, and the next time it is still there. */
  async #askFor<T>(
    what: string,
    read: (text: string) => Typed<T>,
    options: vscode.InputBoxOptions,
  ): Promise<T | undefined> {
    const text = await vscode.window.showInputBox({
      ...options,
      value: this.#typed.get(what),
      ignoreFocusOut: true,
      validateInput: (typed) => {
        // Nothing is wrong yet with a box that nobody has typed in.
        const found = typed.trim() === '' ? undefined : read(typed);
        return found && 'problem' in found ? found.problem : undefined;
      },
    });
    if (text === undefined) return undefined;
    this.#typed.set(what, text);
    const found = read(text);
    if ('value' in found) return found.value;
    throw new InternError({
      code: 'bad_input',
      message: found.problem,
      hint: 'Run the command again: what you typed is still there.',
    });
  }

  async #triage({ text, name, range, notes }: LogSource): Promise<void> {
    const where = range ? `${name}, selection` : name;
    await this.answers.start({
      job: 'triage_logs',
      input: { text, source: name },
      title: `Triage of ${where}`,
      progress: `Triaging ${where}`,
      task: 'Triage',
      notes,
    });
  }

  async #ask(clicked: unknown, marked: unknown): Promise<void> {
    const { sources, about, notes } = await workspaceFiles(clicked, marked);
    const question = await this.#askFor('Question', readQuestion, {
      title: `Ask About ${about}`,
      prompt: notes.join(' '),
      placeHolder: 'Where are calls cancelled?',
    });
    if (question === undefined) return;
    await this.answers.start({
      job: 'research',
      input: { question, sources },
      title: `Answer about ${about}`,
      progress: `Reading ${about}`,
      task: 'Ask',
      notes,
    });
  }

  async #summarize(clicked: unknown, marked: unknown): Promise<void> {
    const { sources, about, notes } = await workspaceFiles(clicked, marked);
    await this.answers.start({
      job: 'summarize_deep',
      input: { sources },
      title: `Summary of ${about}`,
      progress: `Summarizing ${about}`,
      task: 'Summarize',
      notes,
    });
  }
}

const SCHEMA_ORIGINS = [
  {
    label: 'JSON Schema',
    detail: 'Type or paste a JSON schema.',
    origin: 'schema',
  },
  { label: 'JSON Schema from a File', detail: 'Choose a .json file.', origin: 'file' },
  {
    label: 'Example of the Data',
    detail: 'Type or paste JSON that looks like what you want; the schema is made from it.',
    origin: 'example',
  },
] as const;

function readQuestion(text: string): Typed<string> {
  return /\S/.test(text) ? { value: text } : { problem: 'There is no question.' };
}

async function schemaFile(): Promise<Shape | undefined> {
  const [uri] =
    (await vscode.window.showOpenDialog({
      title: 'JSON Schema',
      openLabel: 'Use Schema',
      filters: { JSON: ['json'] },
    })) ?? [];
  if (!uri) return undefined;
  const { text, name } = await fileSource(uri);
  const found = readSchema(text);
  if ('value' in found) return found.value;
  throw new InternError({
    code: 'bad_input',
    message: `${name} is not a schema. ${found.problem}`,
    hint: 'Correct it, or choose another one.',
    actions: [{ kind: 'run_command', command: 'workbench.action.quickOpen', title: 'Open File' }],
  });
}

/** A log need not be in an editor. */
type LogSource = Pick<Source, 'text' | 'name' | 'range' | 'notes'>;

/** A log of any size: the editor opens files up to 50 MB only, so others are read from the disk. */
async function logSource(uri: vscode.Uri): Promise<LogSource> {
  const name = baseName(uri);
  const open = vscode.workspace.textDocuments.find(
    (document) => document.uri.toString() === uri.toString(),
  );
  if (open || uri.scheme !== 'file') return fileSource(uri);
  const { bytes, cut } = await readEnd(uri.fsPath, MOST_LOG).catch((cause: unknown) => {
    throw cannotRead(name, cause);
  });
  const read = textOf(bytes);
  if (read === undefined) throw notText(name);
  if (read.text.trim() === '') throw isEmpty(name);
  const doubts = read.doubt ? [{ name, reason: read.doubt }] : [];
  const notes = readingNotes({ leftOut: [], doubts });
  if (cut) {
    notes.push(
      `Only the last ${megabytes(MOST_LOG)} of ${name} were read; the numbers count lines from there.`,
    );
  }
  return { text: read.text, name, notes };
}

/** What is selected in the terminal. There is no other way to it than the clipboard, which gets its text back. */
async function terminalSource(): Promise<LogSource> {
  const { clipboard } = vscode.env;
  const before = await clipboard.readText();
  let text: string;
  try {
    // What stays there when nothing is selected must not be taken for a log.
    if (before !== '') await clipboard.writeText('');
    await vscode.commands.executeCommand('workbench.action.terminal.copySelection');
    text = await clipboard.readText();
  } finally {
    if ((await clipboard.readText()) !== before) await clipboard.writeText(before);
  }
  if (text.trim() !== '') return { text, name: 'the terminal', notes: [] };
  throw new InternError({
    code: 'bad_input',
    message: 'No text is selected in the terminal.',
    hint: 'Select the lines there first.',
  });
}
