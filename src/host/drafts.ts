import * as vscode from 'vscode';
import { type InputOf, type Intern, type InternError, toInternError } from '../core';
import { showError } from './actions';
import { setContext } from './contexts';
import { documentOf } from './documents';
import { errorsText, newErrors } from './draftCheck';
import { COMMANDS, CONFIG_SECTION, CONTEXTS, SCHEMES, SETTINGS } from './ids';
import { envelopeLines, runWithProgress } from './jobRunner';
import { Disposer } from './lifecycle';
import { placeOf } from './place';
import { plain } from './plain';
import { baseName } from './sources';

interface Draft {
  original: vscode.Uri;
  /** What stood in the range when the draft was asked for: it is replaced only if it still stands there. */
  replaced: string;
  before: string;
  after: string;
  input: InputOf<'draft'>;
  text: string;
  running: boolean;
  /** It is being put into the file. */
  accepting: boolean;
  /** Ends the call that writes it. */
  stop: AbortController;
}

/** Lines around the selection that the model sees for orientation, and the most characters of them. */
const CONTEXT_LINES = 40;
const CONTEXT_CHARS = 2_000;
const REFRESH_MS = 80;
const FORGET_AFTER_MS = 1_000;

/** Drafts are shown as a difference to the file. The file changes only when one is accepted. */
export class Drafts implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #disposer = new Disposer();
  readonly #changed = this.#disposer.own(new vscode.EventEmitter<vscode.Uri>());
  readonly onDidChange = this.#changed.event;
  readonly #drafts = new Map<string, Draft>();
  #timer: NodeJS.Timeout | undefined;
  #count = 0;

  constructor(private readonly intern: Intern) {
    this.#disposer.own(vscode.workspace.registerTextDocumentContentProvider(SCHEMES.draft, this));
    this.#disposer.own(
      vscode.workspace.onDidCloseTextDocument(({ uri }) => {
        // Setting a document's language closes and opens it too: only one that stays closed is discarded.
        setTimeout(() => this.#forgetIfClosed(uri), FORGET_AFTER_MS);
      }),
    );
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#disposer.dispose();
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    const draft = this.#drafts.get(uri.toString());
    return draft ? draft.before + draft.text + draft.after : '';
  }

  /** Asks what to write, with a proposal if there is one, writes it, and shows it against the file. */
  async start(editor: vscode.TextEditor, proposal?: string): Promise<void> {
    const instruction = await this.#askInstruction(proposal);
    if (instruction === undefined) return;
    const { document, selection } = editor;
    const uri = vscode.Uri.from({
      scheme: SCHEMES.draft,
      // Of another draft of the file it differs here: a query means nothing to some language services.
      authority: String(++this.#count),
      path: `/${baseName(document.uri)}`,
    });
    const whole = document.getText();
    const start = document.offsetAt(selection.start);
    const end = document.offsetAt(selection.end);
    const replaced = whole.slice(start, end);
    const before = whole.slice(0, start);
    const after = whole.slice(end);
    this.#drafts.set(uri.toString(), {
      original: document.uri,
      replaced,
      before,
      after,
      text: replaced,
      running: false,
      accepting: false,
      stop: new AbortController(),
      input: {
        instruction,
        text: replaced,
        source: baseName(document.uri),
        language: document.languageId,
        before: before.split('\n').slice(-CONTEXT_LINES).join('\n').slice(-CONTEXT_CHARS),
        after: after.split('\n').slice(0, CONTEXT_LINES).join('\n').slice(0, CONTEXT_CHARS),
      },
    });
    await vscode.commands.executeCommand(
      'vscode.diff',
      document.uri,
      uri,
      `${baseName(document.uri)} (draft)`,
      { preview: false, selection: new vscode.Range(selection.start, selection.start) },
    );
    await this.#write(uri);
  }

  /** Puts the draft into the file, if the text it replaces is still there. */
  async accept(given?: vscode.Uri): Promise<boolean> {
    const uri = this.#resolve(given);
    const draft = uri && this.#drafts.get(uri.toString());
    if (!uri || !draft || draft.running || draft.accepting) return false;
    draft.accepting = true;
    try {
      return await this.#accept(uri, draft);
    } finally {
      draft.accepting = false;
    }
  }

  async #accept(uri: vscode.Uri, draft: Draft): Promise<boolean> {
    // It may have been deleted or renamed meanwhile.
    const document = await vscode.workspace
      .openTextDocument(draft.original)
      .then(undefined, () => undefined);
    const range = document && this.#place(document, draft);
    if (!range) {
      const copy = 'Copy Draft';
      const chosen = await vscode.window.showErrorMessage(
        `${plain(baseName(draft.original))} ${document ? 'has changed where the draft belongs' : 'cannot be read any more'}. Nothing was written. Run the command again, or copy the draft and paste it yourself.`,
        copy,
      );
      if (chosen === copy) await vscode.env.clipboard.writeText(draft.text);
      return false;
    }
    const edit = new vscode.WorkspaceEdit();
    edit.replace(draft.original, range, draft.text);
    if (!(await vscode.workspace.applyEdit(edit))) {
      void vscode.window.showErrorMessage(
        `${plain(baseName(draft.original))} cannot be edited. Nothing was written; the draft stays open.`,
      );
      return false;
    }
    await this.#close(uri);
    const editor = await vscode.window.showTextDocument(document);
    editor.revealRange(range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    return true;
  }

  async discard(given?: vscode.Uri): Promise<void> {
    const uri = this.#resolve(given);
    if (uri) await this.#close(uri);
  }

  /** Writes again, after the same or a changed instruction. */
  async retry(given?: vscode.Uri): Promise<void> {
    const uri = this.#resolve(given);
    const draft = uri && this.#drafts.get(uri.toString());
    if (!uri || !draft || draft.running) return;
    const instruction = await this.#askInstruction(draft.input.instruction);
    if (instruction === undefined || draft.running || draft.accepting) return;
    draft.input = { ...draft.input, instruction };
    await this.#write(uri);
  }

  async #write(uri: vscode.Uri): Promise<void> {
    const draft = this.#drafts.get(uri.toString());
    if (!draft) return;
    draft.running = true;
    draft.text = '';
    draft.stop = new AbortController();
    const { stop } = draft;
    // A message about an earlier try must not touch a later one.
    const isLatest = (): boolean =>
      this.#drafts.get(uri.toString()) === draft && draft.stop === stop && !draft.running;
    this.#setPending();
    let failure: InternError | undefined;
    let line = '';
    try {
      const envelope = await runWithProgress(this.intern, 'draft', draft.input, {
        title: `Drafting for ${baseName(draft.original)}`,
        overflow: 'refuse',
        signal: stop.signal,
        onDelta: (text) => {
          draft.text += text;
          this.#refresh(uri);
        },
      });
      draft.text = envelope.result.draft;
      line = envelopeLines(envelope).join(' · ');
    } catch (thrown) {
      failure = toInternError(thrown);
      // An unfinished draft must not look like one that can be accepted.
      draft.text = draft.replaced;
    } finally {
      draft.running = false;
      this.#setPending();
      this.#refresh(uri);
    }
    if (!isLatest()) return;
    if (failure) return this.#failed(uri, failure, isLatest);
    void this.#offer(uri, line, isLatest);
    void this.#check(uri, draft, isLatest);
  }

  /** Tells of errors that the file did not have. It holds nothing up, and says nothing where there is nothing to say. */
  async #check(uri: vscode.Uri, draft: Draft, isLatest: () => boolean): Promise<void> {
    const { original, before, text, after, stop } = draft;
    const config = vscode.workspace.getConfiguration(CONFIG_SECTION, original);
    if (config.get<boolean>(SETTINGS.draftCheckSyntax) !== true) return;
    const errors = await newErrors(uri, original, before + text + after, stop.signal);
    if (errors.length === 0 || !isLatest() || draft.accepting) return;
    const again = 'Try Again';
    const said = errorsText(errors, baseName(original));
    const chosen = await vscode.window.showWarningMessage(plain(said), again);
    if (chosen === again && isLatest()) await this.retry(uri);
  }

  async #failed(uri: vscode.Uri, error: InternError, isLatest: () => boolean): Promise<void> {
    if (error.code === 'cancelled') return this.#close(uri);
    const remedy = await showError(error, 'Draft from');
    if (!isLatest()) return;
    if (remedy === 'retry') return this.#write(uri);
    await this.#close(uri);
  }

  async #offer(uri: vscode.Uri, line: string, isLatest: () => boolean): Promise<void> {
    const accept = 'Accept';
    const discard = 'Discard';
    const again = 'Try Again';
    const chosen = await vscode.window.showInformationMessage(
      `Draft ready. ${plain(line)}`,
      accept,
      discard,
      again,
    );
    if (!isLatest()) return;
    if (chosen === accept) await this.accept(uri);
    if (chosen === discard) await this.discard(uri);
    if (chosen === again) await this.retry(uri);
  }

  #askInstruction(value?: string): Thenable<string | undefined> {
    return vscode.window.showInputBox({
      title: 'Draft from Selection',
      prompt: 'What should be written? Nothing changes in the file before you accept.',
      placeHolder: 'Add input checks · translate to English · write a test for this',
      value,
      ignoreFocusOut: true,
      validateInput: (text) => (text.trim() === '' ? 'Say what should be written.' : undefined),
    });
  }

  /** Where the draft goes now: at its place, or where the replaced text has moved to, if that is certain. */
  #place(document: vscode.TextDocument, draft: Draft): vscode.Range | undefined {
    const start = placeOf(document.getText(), draft);
    return start === undefined
      ? undefined
      : new vscode.Range(
          document.positionAt(start),
          document.positionAt(start + draft.replaced.length),
        );
  }

  /** The draft that a command means: the one it was called on, or the one in the active editor. */
  #resolve(given: vscode.Uri | undefined): vscode.Uri | undefined {
    if (given?.scheme === SCHEMES.draft) return given;
    const active = vscode.window.activeTextEditor?.document.uri;
    if (active?.scheme === SCHEMES.draft) return active;
    const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
    if (input instanceof vscode.TabInputTextDiff && input.modified.scheme === SCHEMES.draft)
      return input.modified;
    const [only, ...others] = this.#drafts.keys();
    return only && others.length === 0 ? vscode.Uri.parse(only) : undefined;
  }

  async #close(uri: vscode.Uri): Promise<void> {
    this.#forget(uri);
    const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
    const mine = tabs.filter(
      ({ input }) =>
        input instanceof vscode.TabInputTextDiff && input.modified.toString() === uri.toString(),
    );
    if (mine.length > 0) await vscode.window.tabGroups.close(mine);
  }

  #forgetIfClosed(uri: vscode.Uri): void {
    const key = uri.toString();
    if (!documentOf(uri) && !this.#drafts.get(key)?.accepting) this.#forget(uri);
  }

  /** Nobody waits any more for what is still being written. */
  #forget(uri: vscode.Uri): void {
    this.#drafts.get(uri.toString())?.stop.abort();
    this.#drafts.delete(uri.toString());
    this.#setPending();
  }

  /** For the when-clauses of Accept, Discard and Try Again. */
  #setPending(): void {
    const pending = [...this.#drafts.values()].some((draft) => !draft.running);
    setContext(CONTEXTS.draftPending, pending);
  }

  #refresh(uri: vscode.Uri): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const key of this.#drafts.keys()) this.#changed.fire(vscode.Uri.parse(key));
      this.#changed.fire(uri);
    }, REFRESH_MS);
  }
}

/** The commands of a pending draft. */
export function registerDraftCommands(drafts: Drafts): vscode.Disposable[] {
  return [
    vscode.commands.registerCommand(COMMANDS.acceptDraft, (uri?: vscode.Uri) => drafts.accept(uri)),
    vscode.commands.registerCommand(COMMANDS.discardDraft, (uri?: vscode.Uri) =>
      drafts.discard(uri),
    ),
    vscode.commands.registerCommand(COMMANDS.retryDraft, (uri?: vscode.Uri) => drafts.retry(uri)),
  ];
}
