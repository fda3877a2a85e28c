import * as vscode from 'vscode';
import {
  clip,
  type Envelope,
  type ErrorAction,
  type InputOf,
  type Intern,
  InternError,
  type Labels,
  readExample,
  readLabels,
  readSchema,
  type ResultOf,
  type Settled,
  type Shape,
  toInternError,
} from '../core';
import { errorText, OPEN_FILE, showError } from './actions';
import { type AnswerRequest, type Answers } from './answers';
import { Batch, type Item, runBatchWithProgress } from './batch';
import { documentOf } from './documents';
import { registerEmbedCommands } from './embedCommands';
import { withRemedies } from './errors';
import { LIMITS, megabytes, MOST_LOG, readEnd, readingNotes, textOf } from './files';
import { COMMANDS } from './ids';
import { InputBoxes } from './inputBoxes';
import { readQuestion } from './jobInputs';
import { openJson, openJsonAnswer } from './json';
import { runWithProgress } from './jobRunner';
import { plain } from './plain';
import {
  baseName,
  cannotRead,
  fileSource,
  fileUri,
  isEmpty,
  notText,
  outputEditor,
  selectedSource,
  selectionOrFile,
  selectedSources,
  type Source,
} from './sources';
import { chosenUris, markedUris, readChosen, uriOf } from './workspaceFiles';

/** Of the words that a selection is told apart by. Characters. */
const NAME = 40;

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
  readonly #boxes = new InputBoxes();

  constructor(
    private readonly intern: Intern,
    private readonly answers: Answers,
  ) {}

  register(): vscode.Disposable[] {
    const handlers: Record<string, (...args: never[]) => Promise<unknown>> = {
      [COMMANDS.classifySelection]: () => this.#classifySelection(),
      [COMMANDS.classifyFiles]: (clicked?: unknown, all?: unknown) =>
        this.#classifyFiles(chosenUris(clicked, all)),
      [COMMANDS.extractFromSelection]: async () =>
        this.#extract(selectedSource([EXTRACT_FROM_FILE])),
      [COMMANDS.extractFromFile]: async (clicked?: unknown, all?: unknown) => {
        const marked = markedUris(all);
        return marked.length > 1
          ? this.#extractFromFiles(marked)
          : this.#extract(await fileSource(uriOf(clicked)));
      },
      [COMMANDS.triageSelection]: async () => this.#triage(selectedSource([TRIAGE_FILE])),
      [COMMANDS.triageFile]: async (clicked?: unknown, all?: unknown) => {
        const marked = markedUris(all);
        return marked.length > 1
          ? this.#triageFiles(marked)
          : this.#triage(await logSource(fileUri(uriOf(clicked))));
      },
      [COMMANDS.triageTerminal]: async () => this.#triage(await terminalSource()),
      [COMMANDS.askSelection]: async () => this.#askSource(await selectionOrFile()),
      [COMMANDS.triageOutput]: async () => this.#triage(outputSource()),
      [COMMANDS.askFiles]: (clicked?: unknown, all?: unknown) =>
        this.#ask(chosenUris(clicked, all)),
      [COMMANDS.summarizeFiles]: (clicked?: unknown, all?: unknown) =>
        this.#summarize(chosenUris(clicked, all)),
    };
    const registered = Object.entries(handlers).map(([id, handler]) =>
      vscode.commands.registerCommand(id, async (...args: never[]) => {
        try {
          await handler(...args);
        } catch (thrown) {
          void showError(toInternError(thrown), '');
        }
      }),
    );
    return [...registered, ...registerEmbedCommands(this.intern, this.answers, this.#boxes)];
  }

  /** Each selection on its own. */
  async #classifySelection(): Promise<void> {
    const sources = selectedSources([]);
    const [{ text, name }] = sources;
    const notes = [...new Set(sources.flatMap((one) => one.notes))];
    const labels = await this.#askLabels('Classify Selection');
    if (!labels) return;
    if (sources.length === 1) {
      await this.answers.start({
        job: 'classify',
        input: { text, labels, source: name },
        title: `Label of ${name}, selection`,
        progress: `Classifying the selection in ${name}`,
        task: 'Classify',
        notes,
      });
      return;
    }
    const items = sources.map((one) => ({
      name: `line ${one.range.start.line + 1}, ${clip(one.text.trim().replace(/\s+/g, ' '), NAME)}`,
      input: { text: one.text, labels, source: name },
    }));
    await this.#classifyItems(items, 'selection', name, notes);
  }

  async #classifyFiles(chosen: vscode.Uri[]): Promise<void> {
    const { sources, notes, about } = await readChosen(chosen);
    const labels = await this.#askLabels('Classify Files', notes);
    if (!labels) return;
    const items = sources.map(({ name, text }) => ({
      name,
      input: { text, labels, source: name },
    }));
    await this.#classifyItems(items, 'file', about, notes);
  }

  async #classifyItems(
    items: Item<'classify'>[],
    what: string,
    about: string,
    notes?: readonly string[],
  ): Promise<void> {
    await this.answers.start({
      job: 'classify',
      items,
      what,
      layout: 'list',
      title: `Labels of ${about}`,
      progress: `Classifying ${about}`,
      task: 'Classify',
      notes,
    });
  }

  #askLabels(title: string, notes: readonly string[] = []): Promise<Labels | undefined> {
    return this.#boxes.ask('Labels', readLabels, {
      title,
      prompt: ['Labels with commas between them; what one means may follow a colon', ...notes].join(
        '. ',
      ),
      placeHolder: 'bug, feature: something new, question',
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
      await openJsonAnswer(JSON.stringify(envelope.result.data, null, 2), envelope, request.notes);
    } catch (thrown) {
      if ((await showError(toInternError(thrown), request.task)) === 'retry') {
        await this.#runExtract(request);
      }
    }
  }

  /** One document for all files: the data of each, or what is wrong. */
  async #extractFromFiles(chosen: vscode.Uri[]): Promise<void> {
    const { sources, leftOut, notes, about } = await readChosen(chosen);
    const schema = await this.#askSchema();
    if (!schema) return;
    const items = sources.map(({ name, text }) => ({
      name,
      input: { text, schema, source: name },
    }));
    const batch = new Batch(this.intern, { job: 'extract', items, what: 'file', layout: 'list' });
    await withRemedies('Extract', async (overflow) => {
      await runBatchWithProgress(batch, `Extracting data from ${about}`, { overflow }).catch(
        (thrown: unknown) => {
          // What there is already is not lost.
          if (!batch.entries.some(({ settled }) => settled?.ok)) throw thrown;
        },
      );
      const data = [
        ...batch.entries.map(({ name, settled }) => ({ source: name, ...dataOf(settled) })),
        ...leftOut.map(({ name, reason }) => ({
          source: name,
          problems: [`Left out: ${reason}.`],
        })),
      ];
      await openJson(JSON.stringify(data, null, 2));
      const said = [...batch.cautions, ...notes];
      if (said.length > 0) void vscode.window.showWarningMessage(plain(said.join(' ')));
      if (batch.failure) throw batch.failure;
    });
  }

  async #askSchema(): Promise<Shape | undefined> {
    const chosen = await vscode.window.showQuickPick(SCHEMA_ORIGINS, {
      title: 'What does the data look like?',
    });
    switch (chosen?.origin) {
      case 'schema':
        return this.#boxes.ask('JSON Schema', readSchema, {
          title: chosen.label,
          placeHolder: '{"type": "object", "properties": {"name": {"type": "string"}}}',
        });
      case 'example':
        return this.#boxes.ask('Example', readExample, {
          title: chosen.label,
          placeHolder: '{"name": "Ada", "born": 1815}',
        });
      case 'file':
        return schemaFile();
      case undefined:
        return undefined;
    }
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

  async #askSource({ text, name, range }: Source): Promise<void> {
    const where = range ? `${name}, selection` : name;
    const question = await this.#boxes.ask('Question', readQuestion, {
      title: `Ask About ${where}`,
      placeHolder: 'Why is this done in two steps?',
    });
    if (question === undefined) return;
    await this.answers.start({
      job: 'chat',
      input: {
        messages: [{ role: 'user', content: question }],
        context: [{ name: where, text }],
      },
      title: `Answer about ${where}`,
      progress: `Asking about ${where}`,
      task: 'Ask About',
    });
  }

  /** A heading for each file. */
  async #triageFiles(chosen: vscode.Uri[]): Promise<void> {
    const limits = { ...LIMITS, bytes: MOST_LOG };
    const { sources, notes, about } = await readChosen(chosen, limits);
    await this.answers.start({
      job: 'triage_logs',
      items: sources.map(({ name, text }) => ({ name, input: { text, source: name } })),
      what: 'file',
      layout: 'sections',
      title: `Triage of ${about}`,
      progress: `Triaging ${about}`,
      task: 'Triage',
      notes,
    });
  }

  async #ask(chosen: vscode.Uri[]): Promise<void> {
    const { sources, notes, about } = await readChosen(chosen);
    const question = await this.#boxes.ask('Question', readQuestion, {
      title: `Ask About ${about}`,
      prompt: notes.join(' '),
      placeHolder: 'Where are calls cancelled?',
    });
    if (question === undefined) return;
    const input: InputOf<'research'> = { question, sources };
    await this.answers.start({
      job: 'research',
      input,
      title: `Answer about ${about}`,
      progress: `Reading ${about}`,
      task: 'Ask',
      notes,
    });
  }

  async #summarize(chosen: vscode.Uri[]): Promise<void> {
    const { sources, notes, about } = await readChosen(chosen);
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

/** Data, or why there is none. */
function dataOf(
  settled: Settled<Envelope<ResultOf<'extract'>>> | undefined,
): { data: unknown } | { problems: string[] } {
  if (!settled) return { problems: ['Stopped by you.'] };
  if (!settled.ok) return { problems: [errorText(settled.error)] };
  const { ok, data, problems } = settled.value.result;
  return ok ? { data } : { problems };
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
    actions: [OPEN_FILE],
  });
}

/** A log need not be in an editor. */
type LogSource = Pick<Source, 'text' | 'name' | 'range' | 'notes'>;

/** A log of any size: the editor opens files up to 50 MB only, so others are read from the disk. */
async function logSource(uri: vscode.Uri): Promise<LogSource> {
  const name = baseName(uri);
  if (documentOf(uri) || uri.scheme !== 'file') return fileSource(uri);
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

/** The text that the Output panel shows, whatever it hides by a filter. */
function outputSource(): LogSource {
  const text = outputEditor()?.document.getText() ?? '';
  if (text.trim() !== '') return { text, name: 'the output', notes: [] };
  throw new InternError({
    code: 'bad_input',
    message: 'The Output panel shows nothing.',
    hint: 'Choose the output to triage there.',
    actions: [
      { kind: 'run_command', command: 'workbench.panel.output.focus', title: 'Open Output' },
    ],
  });
}
