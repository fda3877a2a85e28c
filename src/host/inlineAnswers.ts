import * as vscode from 'vscode';
import {
  clip,
  inlineText,
  type InputOf,
  type Intern,
  InternError,
  JOBS,
  phaseText,
  toInternError,
} from '../core';
import { errorText, showError } from './actions';
import { acceptHint, asLines, asReplacement, type Part, partsOf } from './answerText';
import { documentOf } from './documents';
import { orError } from './errors';
import { setContext } from './contexts';
import { COMMANDS, CONTEXTS } from './ids';
import { envelopeLines } from './jobRunner';
import { Disposer } from './lifecycle';
import { type Original, placeOf } from './place';
import { baseName, selectedSource } from './sources';

/** An answer that stands under the text that it is about. */
interface InlineAnswer {
  thread: vscode.CommentThread;
  comment: vscode.Comment;
  original: Original;
  input: InputOf<'chat'>;
  text: string;
  /** Lines under the answer. */
  footer: string[];
  /** Only what is ready can be accepted. */
  state: 'running' | 'ready' | 'failed';
  /** It is being put into the file. */
  accepting: boolean;
  /** Ends the call that writes it. */
  stop: AbortController;
}

/** Known to the when-clauses of package.json as `commentController`. */
const CONTROLLER = 'ollama-intern-answer';
const REFRESH_MS = 80;
/** Characters of a question in the head of its answer. */
const MOST_TITLE = 120;

/**
 * Answers to questions about a selection, shown under it as comments are. One for each document; the file changes only
 * when one is accepted.
 */
export class InlineAnswers implements vscode.Disposable {
  readonly #disposer = new Disposer();
  readonly #controller = this.#disposer.own(
    vscode.comments.createCommentController(CONTROLLER, 'Ollama Intern'),
  );
  readonly #answers = new Map<string, InlineAnswer>();
  readonly #pending = new Set<InlineAnswer>();
  /** What was asked last. */
  #question = '';

  constructor(private readonly intern: Intern) {
    this.#disposer.own(
      vscode.workspace.onDidCloseTextDocument(({ uri, isUntitled }) => {
        // A file may be opened again, and its answer is still there; another language is told as closing too.
        if (isUntitled && !documentOf(uri)) this.#end(this.#answers.get(uri.toString()));
      }),
    );
  }

  dispose(): void {
    for (const { stop } of this.#answers.values()) stop.abort();
    this.#answers.clear();
    this.#disposer.dispose();
  }

  register(): vscode.Disposable[] {
    const handlers: Record<string, (clicked: unknown) => Promise<unknown>> = {
      [COMMANDS.answerHere]: () => this.#ask(),
      [COMMANDS.insertAnswer]: (clicked) => this.#accept(this.#find(clicked), insertion),
      [COMMANDS.replaceWithAnswer]: (clicked) => this.#accept(this.#find(clicked), replacement),
      [COMMANDS.discardAnswer]: (clicked) => this.#discard(this.#find(clicked)),
    };
    return Object.entries(handlers).map(([id, handler]) =>
      vscode.commands.registerCommand(id, (clicked?: unknown) => orError(() => handler(clicked))),
    );
  }

  async #ask(): Promise<void> {
    const { document, selection, name } = selectedPlace();
    const whole = document.getText();
    const start = document.offsetAt(selection.start);
    const end = document.offsetAt(selection.end);
    const original = {
      before: whole.slice(0, start),
      replaced: whole.slice(start, end),
      after: whole.slice(end),
    };
    const question = await vscode.window.showInputBox({
      title: 'Answer Here',
      prompt: 'What do you want to know about the selection, or what should be done with it?',
      placeHolder: 'What does this do? · Write it without the loop · Translate it to English',
      value: this.#question,
      ignoreFocusOut: true,
      validateInput: (typed) => (typed.trim() === '' ? 'There is no question.' : undefined),
    });
    if (question === undefined) return;
    this.#question = question;
    // Somebody or something may have edited the file behind the box.
    const at = placeOf(document.getText(), original);
    if (at === undefined) throw changedMeanwhile(name);
    const place = new vscode.Range(
      document.positionAt(at),
      document.positionAt(at + original.replaced.length),
    );
    const comment: vscode.Comment = {
      author: { name: 'Ollama Intern' },
      body: '',
      mode: vscode.CommentMode.Preview,
    };
    const thread = this.#controller.createCommentThread(document.uri, linesOf(document, place), []);
    thread.canReply = false;
    // With this, and the default that package.json sets, the view of all comments does not open over the answer.
    thread.state = vscode.CommentThreadState.Resolved;
    thread.collapsibleState = vscode.CommentThreadCollapsibleState.Expanded;
    thread.label = clip(question.replace(/\s+/g, ' ').trim(), MOST_TITLE);
    const answer: InlineAnswer = {
      thread,
      comment,
      original,
      input: {
        messages: [{ role: 'user', content: question }],
        context: [{ name, text: original.replaced }],
      },
      text: '',
      footer: [],
      state: 'running',
      accepting: false,
      stop: new AbortController(),
    };
    const key = document.uri.toString();
    this.#end(this.#answers.get(key));
    this.#answers.set(key, answer);
    await this.#write(answer, 'refuse');
  }

  async #write(answer: InlineAnswer, overflow: 'refuse' | 'shorten'): Promise<void> {
    const stop = new AbortController();
    Object.assign(answer, { state: 'running', text: '', footer: [], stop });
    answer.comment.label = 'starting';
    this.#show(answer);
    this.#setContexts();
    let failure: InternError | undefined;
    try {
      const envelope = await this.intern.run('chat', answer.input, {
        surface: 'command',
        overflow,
        signal: stop.signal,
        onDelta: (text) => {
          answer.text += text;
          this.#showSoon(answer);
        },
        onPhase: (phase) => {
          answer.comment.label = phaseText(phase);
          this.#showSoon(answer);
        },
      });
      answer.text = envelope.result.reply;
      answer.footer = [acceptHint(answer.text), ...envelopeLines(envelope)];
      answer.state = 'ready';
    } catch (thrown) {
      failure = toInternError(thrown);
      answer.footer = [failure.code === 'cancelled' ? 'Stopped by you.' : errorText(failure)];
      answer.state = 'failed';
    }
    delete answer.comment.label;
    this.#show(answer);
    this.#setContexts();
    // Commands do not wait for a person who reads a message.
    if (failure) void this.#remedy(answer, failure);
  }

  async #remedy(answer: InlineAnswer, error: InternError): Promise<void> {
    const remedy = this.#isShown(answer) ? await showError(error, 'Answer from') : undefined;
    if (remedy && this.#isShown(answer) && answer.state === 'failed') {
      await this.#write(answer, remedy === 'shorten' ? 'shorten' : 'refuse');
    }
  }

  /** Puts a part of the answer into the file, if what the answer is about still stands there. */
  async #accept(answer: InlineAnswer | undefined, edit: Edit): Promise<void> {
    if (answer?.state !== 'ready' || answer.accepting || wasCollapsed(answer)) return;
    answer.accepting = true;
    try {
      const part = await choosePart(partsOf(answer.text));
      if (part && this.#isShown(answer)) await this.#apply(answer, part, edit);
    } finally {
      answer.accepting = false;
    }
  }

  async #apply(answer: InlineAnswer, part: Part, edit: Edit): Promise<void> {
    const { thread, original } = answer;
    const document = await vscode.workspace.openTextDocument(thread.uri);
    const at = placeOf(document.getText(), original);
    if (at === undefined)
      return this.#refuse(
        `${baseName(thread.uri)} has changed where the answer belongs. Nothing was written. Ask again, or copy the answer and paste it yourself.`,
        part,
      );
    const selection = new vscode.Range(
      document.positionAt(at),
      document.positionAt(at + original.replaced.length),
    );
    const { range, text } = edit(part, original, linesOf(document, selection), selection);
    const change = new vscode.WorkspaceEdit();
    change.replace(thread.uri, range, text);
    if (!(await vscode.workspace.applyEdit(change)))
      return this.#refuse(
        `${baseName(thread.uri)} cannot be edited. Nothing was written; the answer stays.`,
        part,
      );
    this.#end(answer);
    const editor = await vscode.window.showTextDocument(document);
    editor.revealRange(range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  }

  async #refuse(message: string, { text }: Part): Promise<void> {
    const copy = 'Copy Answer';
    const chosen = await vscode.window.showErrorMessage(message, copy);
    if (chosen === copy) await vscode.env.clipboard.writeText(text);
  }

  /** Forgets an answer, also one that is being written: that frees the model. */
  async #discard(answer: InlineAnswer | undefined): Promise<void> {
    if (!answer || wasCollapsed(answer)) return;
    this.#end(answer);
    // Who was reading the answer goes on in the file.
    await vscode.commands.executeCommand('workbench.action.focusActiveEditorGroup');
  }

  #end(answer: InlineAnswer | undefined): void {
    if (!answer) return;
    this.#answers.delete(answer.thread.uri.toString());
    answer.stop.abort();
    answer.thread.dispose();
    this.#setContexts();
  }

  /** The answer whose buttons were clicked, or the one in the active editor. */
  #find(clicked: unknown): InlineAnswer | undefined {
    const uri = vscode.window.activeTextEditor?.document.uri.toString() ?? '';
    const all = [...this.#answers.values()];
    return all.find(({ thread }) => thread === clicked) ?? this.#answers.get(uri);
  }

  #isShown(answer: InlineAnswer): boolean {
    return this.#answers.get(answer.thread.uri.toString()) === answer;
  }

  /** Many changes in a row are shown at once. */
  #showSoon(answer: InlineAnswer): void {
    if (this.#pending.has(answer)) return;
    this.#pending.add(answer);
    setTimeout(() => this.#show(answer), REFRESH_MS);
  }

  #show(answer: InlineAnswer): void {
    this.#pending.delete(answer);
    if (!this.#isShown(answer)) return;
    const { thread, comment, text, footer } = answer;
    const shown = text && JOBS.chat.show({ reply: text });
    // Neither trusted nor HTML, which is what a new MarkdownString is.
    comment.body = new vscode.MarkdownString(
      [shown, shown && footer.length > 0 ? '---' : '', ...footer.map(inlineText)]
        .filter(Boolean)
        .join('\n\n'),
    );
    // The same object, so that the editor keeps what it shows and changes its text.
    thread.comments = [comment];
  }

  /** For the when-clauses of what can be done with answers. */
  #setContexts(): void {
    for (const { thread, state } of this.#answers.values()) thread.contextValue = state;
    const all = [...this.#answers.values()];
    const ready = all.filter(({ state }) => state === 'ready');
    // Addresses as such, not as text: in a remote window the editor has other ones.
    const addresses = (answers: InlineAnswer[]) => answers.map(({ thread }) => thread.uri);
    setContext(CONTEXTS.answersShown, addresses(all));
    setContext(CONTEXTS.answersReady, addresses(ready));
  }
}

/** What is not seen is neither accepted nor discarded: it is opened first. */
function wasCollapsed({ thread }: InlineAnswer): boolean {
  const { Collapsed, Expanded } = vscode.CommentThreadCollapsibleState;
  if (thread.collapsibleState !== Collapsed) return false;
  thread.collapsibleState = Expanded;
  return true;
}

/** The one selection of the active editor: an answer has one place. */
function selectedPlace(): {
  document: vscode.TextDocument;
  selection: vscode.Range;
  name: string;
} {
  const { document, range, name } = selectedSource([]);
  const selected = vscode.window.activeTextEditor?.selections.filter((one) => !one.isEmpty) ?? [];
  if (range && selected.length === 1) {
    checkComments();
    return { document, selection: range, name };
  }
  throw new InternError({
    code: 'bad_input',
    message: 'Several parts of the text are selected.',
    hint: 'An answer stands in one place: select one part.',
  });
}

function checkComments(): void {
  if (vscode.workspace.getConfiguration('comments').get<boolean>('visible') !== false) return;
  throw new InternError({
    code: 'bad_input',
    message: 'The answer would not be seen: it stands in the file as a comment does.',
    hint: 'Comments are switched off with the setting comments.visible. Switch them on first.',
  });
}

function changedMeanwhile(name: string): InternError {
  return new InternError({
    code: 'bad_input',
    message: `${name} has changed while you wrote the question.`,
    hint: 'Nothing was sent. Select the text and ask again.',
  });
}

/** The lines of a selection; one that ends at the start of a line does not reach into it. */
function linesOf(document: vscode.TextDocument, { start, end }: vscode.Range): vscode.Range {
  const last = end.character === 0 && end.line > start.line ? end.line - 1 : end.line;
  return new vscode.Range(new vscode.Position(start.line, 0), document.lineAt(last).range.end);
}

/** What an accepted part changes, by what it is about and where that stands now. */
type Edit = (
  part: Part,
  original: Original,
  lines: vscode.Range,
  selection: vscode.Range,
) => { range: vscode.Range; text: string };

const insertion: Edit = (part, original, lines) => ({
  range: new vscode.Range(lines.end, lines.end),
  text: `\n${asLines(part, original)}`,
});

const replacement: Edit = (part, original, _, selection) => ({
  range: selection,
  text: asReplacement(part, original),
});

async function choosePart(parts: readonly Part[]): Promise<Part | undefined> {
  if (parts.length === 1) return parts[0];
  const items = parts.map((part, index) => ({
    label: part.kind === 'code' ? `Code Block ${index + 1}` : 'Whole Answer',
    detail: clip(part.text.replace(/\s+/g, ' ').trim(), MOST_TITLE),
    part,
  }));
  const chosen = await vscode.window.showQuickPick(items, {
    title: 'What should be inserted?',
    matchOnDetail: true,
  });
  return chosen?.part;
}
