import * as vscode from 'vscode';
import {
  type Envelope,
  type InputOf,
  type Intern,
  type InternError,
  type JobName,
  JOBS,
  phaseText,
  type ResultOf,
  type Tier,
  toInternError,
} from '../core';
import { errorText, showError } from './actions';
import { Batch, type BatchInit, runBatchWithProgress } from './batch';
import { documentOf } from './documents';
import { SCHEMES } from './ids';
import { envelopeLines, runWithProgress } from './jobRunner';
import { Disposer } from './lifecycle';

/** What is shown in a document of its own. */
interface AnswerFrame {
  /** The document's name: `Summary of main.ts`. */
  title: string;
  /** For the progress: `Summarizing main.ts`. */
  progress: string;
  /** For the button that leaves out what does not fit: `Summarize`. */
  task: string;
  /** What a person should know about the input, under the answer. */
  notes?: readonly string[];
  /** A note more when it is run again: on what was read the first time. */
  again?: string;
}

/** One job and its answer. */
export interface AnswerRequest<N extends JobName = JobName> extends AnswerFrame {
  job: N;
  input: InputOf<N>;
  /** What the answer is about: `main.ts`. */
  subject?: string;
  /** Called with each answer, also when the job is run again. */
  onResult?(result: ResultOf<N>): void;
}

/** Many inputs of one job and their answers, in one document. */
export interface BatchRequest<N extends JobName = JobName> extends AnswerFrame, BatchInit<N> {}

/** An answer that is whole. */
export interface Answered {
  request: AnswerRequest;
  envelope: Envelope;
}

interface Answer {
  request: AnswerRequest | BatchRequest;
  overflow: 'refuse' | 'shorten';
  /** One to use instead of the tier's. */
  model?: string;
  text: string;
  /** The line under the answer. */
  footer: string;
  running: boolean;
  /** When it is whole. */
  envelope?: Envelope;
  /** What there is of a batch. */
  batch?: Batch;
}

/** The document is rewritten this often while text streams in. Milliseconds. */
const REFRESH_MS = 60;
const FORGET_AFTER_MS = 1_000;
/** Language of the documents: Markdown colours, no links, wrapped lines. Contributed in package.json. */
const LANGUAGE = 'ollama-intern-answer';

/** Read-only documents beside the editor that answers are streamed into. */
export class Answers implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #disposer = new Disposer();
  readonly #changed = this.#disposer.own(new vscode.EventEmitter<vscode.Uri>());
  readonly onDidChange = this.#changed.event;
  readonly #told = this.#disposer.own(new vscode.EventEmitter<void>());
  /** `answered` may have changed. */
  readonly onDidAnswer = this.#told.event;
  readonly #answers = new Map<string, Answer>();
  readonly #pending = new Set<string>();
  #count = 0;

  constructor(private readonly intern: Intern) {
    this.#disposer.own(vscode.workspace.registerTextDocumentContentProvider(SCHEMES.answer, this));
    this.#disposer.own(
      vscode.workspace.onDidCloseTextDocument(({ uri }) => {
        // Setting a document's language closes and opens it too: only one that stays closed is over.
        setTimeout(() => this.#forgetIfClosed(uri), FORGET_AFTER_MS);
      }),
    );
  }

  dispose(): void {
    this.#disposer.dispose();
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    const answer = this.#answers.get(uri.toString());
    if (!answer) return 'This answer is gone. Run the command again.\n';
    const text = answer.text.trimEnd();
    return `${text}${text ? '\n\n' : ''}${RULE}\n${answer.footer}\n`;
  }

  /** Opens a document and streams the job's answer into it. Errors are shown, not thrown. */
  async start<N extends JobName>(
    request: AnswerRequest<N> | BatchRequest<N>,
    overflow: 'refuse' | 'shorten' = 'refuse',
  ): Promise<void> {
    const [uri, answer] = this.#add(request, overflow);
    await this.#run(uri, answer, this.#show(uri));
  }

  /** Opens a document with an answer that is already there. */
  async present<N extends JobName>(
    request: AnswerRequest<N>,
    envelope: Envelope<ResultOf<N>>,
  ): Promise<void> {
    const [uri, answer] = this.#add(request, 'refuse');
    fill(answer, request, envelope);
    answer.running = false;
    this.#told.fire();
    await this.#show(uri);
  }

  /** The answers that are whole, by their documents. */
  get answered(): ReadonlyMap<string, Answered> {
    return new Map(
      [...this.#answers].flatMap(([key, { request, envelope }]) =>
        envelope && !('items' in request) ? [[key, { request, envelope }]] : [],
      ),
    );
  }

  #add(request: AnswerRequest | BatchRequest, overflow: Answer['overflow']): [vscode.Uri, Answer] {
    const uri = vscode.Uri.from({
      scheme: SCHEMES.answer,
      // The name of the document: a slash would end it.
      path: `/${request.title.replaceAll('/', '∕')}`,
      query: String(++this.#count),
    });
    const answer: Answer = { request, overflow, text: '', footer: 'starting', running: true };
    this.#answers.set(uri.toString(), answer);
    return [uri, answer];
  }

  /** Runs the job of an answer document again, into the same document; with another model if one is given. */
  async retry(uri: vscode.Uri | undefined, how: Pick<Answer, 'model'> = {}): Promise<void> {
    const answer = uri && this.#answers.get(uri.toString());
    if (!answer || answer.running) return;
    const { again, ...request } = answer.request;
    if (again) answer.request = { ...request, notes: [...(request.notes ?? []), again] };
    Object.assign(answer, how, { batch: undefined });
    await this.#run(uri, answer, Promise.resolve());
  }

  /** A document that is closed while its answer is written may be opened again. */
  #forgetIfClosed(uri: vscode.Uri): void {
    const key = uri.toString();
    if (documentOf(uri) || this.#answers.get(key)?.running || !this.#answers.delete(key)) return;
    this.#told.fire();
  }

  /** The tier of an answer's job; undefined: there is no such answer. */
  tier(uri: vscode.Uri | undefined): Tier | undefined {
    const answer = uri && this.#answers.get(uri.toString());
    return answer && JOBS[answer.request.job].tier;
  }

  /** The answer alone, without the line under it. */
  text(uri: vscode.Uri | undefined): string | undefined {
    return uri && this.#answers.get(uri.toString())?.text;
  }

  async #run(uri: vscode.Uri, answer: Answer, opened: Promise<unknown>): Promise<void> {
    const { request } = answer;
    Object.assign(answer, { text: '', footer: 'starting', running: true, envelope: undefined });
    this.#told.fire();
    // The editor does not hear of changes before a document is open.
    const shown = opened.then(() => this.#refresh(uri));
    try {
      if ('items' in request) await this.#runBatch(uri, answer, request, opened);
      else await this.#runJob(uri, answer, request);
    } catch (thrown) {
      const error = toInternError(thrown);
      answer.footer = error.code === 'cancelled' ? stopped(answer) : errorText(error);
      void opened.then(() => this.#remedy(uri, request, error));
    } finally {
      answer.running = false;
      this.#told.fire();
      await shown;
      this.#refresh(uri);
      // One that was closed meanwhile has nobody left to read it.
      setTimeout(() => this.#forgetIfClosed(uri), FORGET_AFTER_MS);
    }
  }

  async #runJob(uri: vscode.Uri, answer: Answer, request: AnswerRequest): Promise<void> {
    const envelope = await runWithProgress(this.intern, request.job, request.input, {
      title: request.progress,
      overflow: answer.overflow,
      model: answer.model,
      onDelta: (text) => {
        answer.text += text;
        this.#refresh(uri);
      },
      onPhase: (phase) => {
        answer.footer = phaseText(phase);
        this.#refresh(uri);
      },
    });
    fill(answer, request, envelope);
    request.onResult?.(envelope.result);
  }

  /** What has an answer already is not asked again, until all of it is. */
  async #runBatch(
    uri: vscode.Uri,
    answer: Answer,
    request: BatchRequest,
    opened: Promise<unknown>,
  ): Promise<void> {
    const batch = (answer.batch ??= new Batch(this.intern, request));
    await runBatchWithProgress(batch, request.progress, answer, (progress) => {
      answer.text = batch.text;
      answer.footer = progress;
      this.#refresh(uri);
    });
    answer.footer = [...batch.lines, ...(request.notes ?? [])].join('\n');
    const { failure } = batch;
    if (failure) void opened.then(() => this.#remedy(uri, request, failure));
  }

  async #remedy(
    uri: vscode.Uri,
    request: AnswerRequest | BatchRequest,
    error: InternError,
  ): Promise<void> {
    const remedy = await showError(error, request.task);
    const answer = this.#answers.get(uri.toString());
    if (!remedy) return;
    if (!answer)
      return void (await this.start(request, remedy === 'shorten' ? 'shorten' : 'refuse'));
    // While the message stood there, it may have been run again in another way.
    if (answer.running) return;
    if (remedy === 'shorten') answer.overflow = 'shorten';
    await this.#run(uri, answer, this.#show(uri));
  }

  async #show(uri: vscode.Uri): Promise<void> {
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.languages.setTextDocumentLanguage(document, LANGUAGE);
    const options = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true, preview: false };
    // It rejects too when another answer comes to stand in front of this one, which then is a tab behind it.
    await vscode.window.showTextDocument(document, options).then(undefined, () => undefined);
  }

  /** Tells the editor to read the document again; many changes in a row are told once. */
  #refresh(uri: vscode.Uri): void {
    const key = uri.toString();
    if (this.#pending.has(key)) return;
    this.#pending.add(key);
    setTimeout(() => {
      this.#pending.delete(key);
      this.#changed.fire(uri);
    }, REFRESH_MS);
  }
}

const RULE = '─'.repeat(24);

function fill(answer: Answer, { job, notes = [] }: AnswerRequest, envelope: Envelope): void {
  answer.envelope = envelope;
  answer.text = (JOBS[job].show as (result: unknown) => string)(envelope.result);
  answer.footer = [...envelopeLines(envelope), ...notes].join('\n');
}

function stopped(answer: Answer): string {
  return answer.text ? 'Stopped by you. What stands above is incomplete.' : 'Stopped by you.';
}
