import * as vscode from 'vscode';
import {
  BlockStream,
  cardOf,
  chooseJob,
  type Envelope,
  type Handed,
  type InputOf,
  inlineText,
  type Intern,
  InternError,
  type Job,
  type JobName,
  jobNames,
  JOBS,
  type SourcePlace,
  toInternError,
} from '../../core';
import { commandOf, errorText } from '../actions';
import { LIMITS, MOST_LOG } from '../files';
import { chooseRepository, commitStyle, currentChange, titleOf } from '../git';
import { CHAT_PARTICIPANT, COMMANDS, MODEL_VENDOR } from '../ids';
import { envelopeLines } from '../jobRunner';
import { choiceOf } from '../languageModels';
import { repositoryMaterial } from '../material';
import { isInside } from '../review';
import { degradedText } from '../status';
import { messagesBefore, referencesBefore } from './history';
import { progressText } from './progress';
import { type Attached, isHandedOver, locate, readReferences, withoutMarks } from './references';

/** As much as is used of a request, and of the stream that the answer goes to. */
export type Request = Pick<vscode.ChatRequest, 'prompt' | 'command' | 'references'> & {
  model: Pick<vscode.LanguageModelChat, 'vendor' | 'id'>;
};
export type Stream = Pick<
  vscode.ChatResponseStream,
  'anchor' | 'button' | 'markdown' | 'progress' | 'reference'
>;

/** What is kept with an answer: for the turns that follow, and for what is offered next. */
interface Kept {
  job: JobName;
  said: string;
}

/** A job to run, and what has to be known of its input afterwards. */
interface Work {
  job: JobName;
  input: unknown;
  attached: Attached;
  /** What names of files are relative to that nobody attached. */
  root?: vscode.Uri;
  notes: string[];
}

/** Places that an answer points at, at most: more are no help. */
const MOST_ANCHORS = 12;

/** Answers `@intern`: a slash command runs the job that is called so, everything else is a conversation. */
export class ChatParticipant {
  constructor(private readonly intern: Intern) {}

  register(extensionUri: vscode.Uri): vscode.Disposable {
    const participant = vscode.chat.createChatParticipant(
      CHAT_PARTICIPANT,
      (request, { history }, stream, token) => this.answer(request, history, stream, token),
    );
    participant.iconPath = vscode.Uri.joinPath(extensionUri, 'media', 'icon.png');
    participant.followupProvider = { provideFollowups: (result) => followUps(result) };
    return participant;
  }

  /** What goes wrong is told in the result. */
  async answer(
    request: Request,
    history: vscode.ChatContext['history'],
    stream: Stream,
    token: vscode.CancellationToken,
  ): Promise<vscode.ChatResult> {
    const controller = new AbortController();
    const listener = token.onCancellationRequested(() => controller.abort());
    if (token.isCancellationRequested) controller.abort();
    try {
      const work = await prepare(request, history, controller.signal);
      for (const { uri } of work.attached.origins.values()) stream.reference(uri);
      return await this.#run(work, modelOf(request), stream, controller.signal);
    } catch (thrown) {
      return failed(toInternError(thrown), [], stream);
    } finally {
      listener.dispose();
    }
  }

  async #run(
    work: Work,
    model: string | undefined,
    stream: Stream,
    signal: AbortSignal,
  ): Promise<vscode.ChatResult> {
    const card: Job = cardOf(work.job);
    const prose = card.prose ? new Prose(stream) : undefined;
    let latest = '';
    const tell = (text: string | undefined): void => {
      // Progress belongs before the answer, not into it.
      if (!text || text === latest || prose?.text) return;
      latest = text;
      stream.progress(inlineText(text));
    };
    const tellDegraded = (): void => tell(degradedText(this.intern));
    const listener = this.intern.listen({ onBackend: tellDegraded });
    try {
      tellDegraded();
      const envelope = await this.intern.run(work.job, work.input as InputOf<JobName>, {
        surface: 'chat',
        overflow: 'shorten',
        model,
        signal,
        onPhase: (phase) => tell(progressText(phase)),
        onDelta: (text) => prose?.push(text),
      });
      const shown = card.show(envelope.result);
      if (prose?.text) prose.finish(shown);
      else stream.markdown(shown);
      await showPlaces(card.cites?.(envelope.result, work.input) ?? [], work, stream);
      showEnvelope(envelope, work.notes, stream);
      const kept: Kept = { job: work.job, said: prose?.text.trim() || shown };
      return { metadata: kept };
    } catch (thrown) {
      prose?.finish();
      return failed(toInternError(thrown), work.notes, stream);
    } finally {
      listener.dispose();
    }
  }
}

/** Prose that is shown while it is written. Nothing in it comes alive. */
class Prose {
  readonly #blocks = new BlockStream();
  /** As it was written. */
  text = '';
  /** White space that is shown once something follows: at the end of an answer it is no part of it. */
  #blank = '';
  #shown = '';

  constructor(private readonly stream: Stream) {}

  push(text: string): void {
    const more = this.text === '' ? text.trimStart() : text;
    this.text += more;
    const all = this.#blank + more;
    const words = all.trimEnd();
    this.#blank = all.slice(words.length);
    this.#show(this.#blocks.push(words));
  }

  /** With the whole answer as it should stand there: what it has beyond the prose is added. */
  finish(whole?: string): void {
    this.#show(this.#blocks.end());
    const shown = this.#shown.trimEnd();
    if (whole === undefined || whole === shown) return;
    // What was checked and corrected after it was written has to stand there too.
    this.#show(whole.startsWith(shown) ? whole.slice(shown.length) : `\n\n---\n\n${whole}`);
  }

  #show(markdown: string): void {
    if (markdown === '') return;
    this.#shown += markdown;
    this.stream.markdown(markdown);
  }
}

/** Follow-ups that a job offers after its answer. */
export function followUps({ metadata }: vscode.ChatResult): vscode.ChatFollowup[] {
  const job: unknown = metadata?.job;
  if (typeof job !== 'string' || !Object.hasOwn(JOBS, job)) return [];
  return (cardOf(job as JobName).handed?.follow_ups ?? []).map(({ command, request, label }) => ({
    command,
    prompt: request,
    label,
  }));
}

/**
 * The job's own tier, unless a person chose one of this product's installed models. What other products offer in the
 * picker is theirs: nothing is sent to it.
 */
function modelOf({ model: { vendor, id } }: Request): string | undefined {
  return vendor === MODEL_VENDOR ? choiceOf(id).model : undefined;
}

async function prepare(
  request: Request,
  history: vscode.ChatContext['history'],
  signal: AbortSignal,
): Promise<Work> {
  const own = request.references.filter(isHandedOver);
  const limits = limitsFor(request.command);
  const attached = await readReferences(own, signal, limits);
  const before = own.length > 0 ? [] : referencesBefore(history);
  if (!request.command) return conversation(request, history, attached, before, signal);
  const prompt = withoutMarks(request.prompt, request.references);
  try {
    return await called(request.command, prompt, attached);
  } catch (thrown) {
    // Without anything attached it may be about what was attached before.
    const isMissing = toInternError(thrown).code === 'bad_input' && before.length > 0;
    const again = isMissing ? await readReferences(before, signal, limits) : undefined;
    if (again?.sources.length) return called(request.command, prompt, withNote(again));
    throw withNotes(toInternError(thrown), attached.notes);
  }
}

/** Logs are longer than other files. */
function limitsFor(command: string | undefined): typeof LIMITS {
  const readsLogs = jobNames()
    .map(cardOf)
    .some(({ handed, tool }) => handed?.command.name === command && tool?.reads === 'log');
  return readsLogs ? { ...LIMITS, bytes: MOST_LOG } : LIMITS;
}

async function conversation(
  { prompt }: Request,
  history: vscode.ChatContext['history'],
  attached: Attached,
  before: readonly vscode.ChatPromptReference[],
  signal: AbortSignal,
): Promise<Work> {
  if (prompt.trim() === '') {
    throw new InternError({
      code: 'bad_input',
      message: 'There is no question.',
      hint: 'Write one, or type / to see what else can be done.',
    });
  }
  const read = before.length > 0 ? withNote(await readReferences(before, signal)) : attached;
  const input: InputOf<'chat'> = {
    messages: [...messagesBefore(history), { role: 'user', content: prompt }],
    context: read.sources.map(({ name, text }) => ({ name, text })),
  };
  return { job: 'chat', input, attached: read, notes: read.notes };
}

/** The job behind a slash command, with its input. */
async function called(command: string, request: string, attached: Attached): Promise<Work> {
  const given = { request, sources: attached.sources };
  const { job, handed } = chooseJob(command, given);
  const card = cardOf(job).handed;
  // Without its file, a job would take the words of the request for its text. A change comes from git.
  if (attached.nothingRead && card?.needs !== 'change') {
    throw new InternError({
      code: 'bad_input',
      message: 'Nothing that is attached could be read.',
      hint: 'Attach a text, or ask again without it.',
    });
  }
  const got = card?.needs ? await GET[card.needs](handed) : {};
  const { notes = [], root, ...more } = got;
  return {
    job,
    input: card?.input({ ...handed, ...more }),
    attached,
    root,
    notes: [...attached.notes, ...notes],
  };
}

type Got = Partial<Pick<Handed, 'sources' | 'change'>> & { notes?: string[]; root?: vscode.Uri };

/** What jobs need that nobody attaches. */
const GET: Record<'change' | 'repository', (handed: Handed) => Promise<Got>> = {
  async change() {
    const repository = await chooseRepository();
    if (!repository) throw notChosen();
    const change = await currentChange(repository);
    return {
      change: { diff: change.diff, ...(await commitStyle(repository)) },
      root: repository.rootUri,
      notes: [`What was read: ${titleOf(change)}.`, ...change.notes],
    };
  },
  async repository({ sources }) {
    if (sources.length > 0) return {};
    const material = await repositoryMaterial();
    if (!material) throw notChosen();
    return { sources: material.input.sources, root: material.root, notes: material.notes };
  },
};

function notChosen(): InternError {
  return new InternError({
    code: 'cancelled',
    message: 'Nothing was chosen.',
    hint: 'Ask again and choose one.',
  });
}

function withNote(attached: Attached): Attached {
  const names = attached.sources.map(({ name }) => name);
  const shown =
    names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '');
  const note = `Read again, as nothing was attached: ${shown}.`;
  return { ...attached, notes: [...(names.length > 0 ? [note] : []), ...attached.notes] };
}

function withNotes(error: InternError, notes: readonly string[]): InternError {
  return error.with({ hint: [error.hint, ...notes].join(' ') });
}

async function showPlaces(
  places: readonly SourcePlace[],
  { attached, root }: Work,
  stream: Stream,
): Promise<void> {
  const shown = new Set<string>();
  for (const place of places) {
    const { source, first_line } = place;
    const name = source.slice(source.lastIndexOf('/') + 1);
    const found = locate(place, attached) ?? (root && (await locateBelow(root, place)));
    const uri = found instanceof vscode.Location ? found.uri : found;
    const key = `${uri?.toString()} ${first_line}`;
    if (!found || shown.has(key)) continue;
    stream.markdown(shown.size === 0 ? '\n\n' : ' ');
    const line = found instanceof vscode.Location ? `:${found.range.start.line + 1}` : '';
    stream.anchor(found, `${name.replace(/:\d+-\d+$/, '')}${line}`);
    shown.add(key);
    if (shown.size === MOST_ANCHORS) return;
  }
}

/** A name in a diff is only text, and may be of a file that is gone. */
async function locateBelow(
  root: vscode.Uri,
  { source, first_line, last_line = first_line }: SourcePlace,
): Promise<vscode.Uri | vscode.Location | undefined> {
  if (!isInside(source)) return undefined;
  const uri = vscode.Uri.joinPath(root, source);
  const exists = await vscode.workspace.fs.stat(uri).then(
    () => true,
    () => false,
  );
  if (!exists) return undefined;
  if (first_line === undefined || last_line === undefined) return uri;
  return new vscode.Location(uri, new vscode.Range(first_line - 1, 0, last_line - 1, 0));
}

function showEnvelope(envelope: Envelope, notes: readonly string[], stream: Stream): void {
  const lines = [...envelopeLines(envelope), ...notes].map(inlineText);
  stream.markdown(`\n\n---\n\n${lines.join('  \n')}\n`);
  stream.button(detailsOf(envelope.call_id));
}

function detailsOf(callId: string): vscode.Command {
  return { title: 'Show Details', command: COMMANDS.showDashboard, arguments: [callId] };
}

/** What happened and what to do, with a button for what can be done here. VS Code has its own for another try. */
function failed(error: InternError, notes: readonly string[], stream: Stream): vscode.ChatResult {
  // Whoever stopped it knows.
  if (error.code === 'cancelled') return {};
  const buttons = error.actions.flatMap((action) => commandOf(action) ?? []);
  // More than what helps is only in the way.
  if (buttons.length === 0 && error.callId) buttons.push(detailsOf(error.callId));
  for (const button of buttons) stream.button(button);
  return { errorDetails: { message: inlineText([errorText(error), ...notes].join(' ')) } };
}
