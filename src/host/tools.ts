import { isAbsolute } from 'node:path';
import * as vscode from 'vscode';
import {
  cardOf,
  givenTo,
  type InputOf,
  type Intern,
  InternError,
  type Job,
  type JobName,
  jobNames,
  routeOf,
  type ToolMaterial,
  type ToolOffer,
  toInternError,
} from '../core';
import { errorText } from './actions';
import { distinctNames, LIMITS, MOST_LOG, readingNotes, someNames } from './files';
import { chooseRepository, currentChange, titleOf } from './git';
import { TOOL_PREFIX } from './ids';
import { envelopeLines } from './jobRunner';
import { plain } from './plain';
import { readWorkspace } from './sources';
import { whereText } from './status';

/** What a caller says; VS Code has held it against the schema. */
type Given = Record<string, unknown>;
type Read = ToolMaterial & { notes: string[] };

/** The jobs as tools of other people's agents. None of them writes anything. */
export function registerTools(intern: Intern): vscode.Disposable[] {
  return jobNames().flatMap((job) => {
    const { tool } = cardOf(job);
    if (!tool) return [];
    return vscode.lm.registerTool<Given>(TOOL_PREFIX + tool.name, new Tool(intern, job, tool));
  });
}

/** One job as a tool. */
export class Tool implements vscode.LanguageModelTool<Given> {
  constructor(
    private readonly intern: Intern,
    private readonly job: JobName,
    private readonly offer: ToolOffer,
  ) {}

  /** Says what will run where. Asks nobody. */
  async prepareInvocation({
    input,
  }: vscode.LanguageModelToolInvocationPrepareOptions<Given>): Promise<vscode.PreparedToolInvocation> {
    const { doing, reads } = this.offer;
    const files = Array.isArray(input.files)
      ? input.files.filter((one) => typeof one === 'string')
      : [];
    const given = typeof input.text === 'string';
    const what =
      files.length > 0
        ? someNames(files)
        : reads === 'change'
          ? given
            ? 'a diff'
            : 'the change in Git'
          : 'a text';
    return { invocationMessage: plain(`${doing} ${what} with ${await this.#where()}`) };
  }

  async invoke(
    { input, tokenizationOptions }: vscode.LanguageModelToolInvocationOptions<Given>,
    token: vscode.CancellationToken,
  ): Promise<vscode.LanguageModelToolResult> {
    const stop = new AbortController();
    const listener = token.onCancellationRequested(() => stop.abort());
    if (token.isCancellationRequested) stop.abort();
    try {
      const { notes, ...material } = await this.#read(input, stop.signal);
      const asked = this.offer.input(input, material) as InputOf<JobName>;
      const envelope = await this.intern.run(this.job, asked, {
        surface: 'tool',
        signal: stop.signal,
      });
      const card: Job = cardOf(this.job);
      const origin = [...envelopeLines(envelope), ...notes].join('\n');
      const result = await fitting(card.show(envelope.result), origin, tokenizationOptions, token);
      return new vscode.LanguageModelToolResult(
        [result, origin].map((text) => new vscode.LanguageModelTextPart(text)),
      );
    } catch (thrown) {
      const error = toInternError(thrown);
      if (error.code === 'cancelled') throw new vscode.CancellationError();
      throw new Error(errorText(error), { cause: thrown });
    } finally {
      listener.dispose();
    }
  }

  async #read(input: Given, signal: AbortSignal): Promise<Read> {
    const { files: paths, text } = givenTo(this.offer, input);
    const { reads } = this.offer;
    if (reads === 'change') {
      if (text) return { sources: [], change: { diff: text }, notes: [] };
      const repository = await chooseRepository();
      if (!repository) throw new vscode.CancellationError();
      const change = await currentChange(repository);
      const notes = [`What was read: ${titleOf(change)}.`, ...change.notes];
      return { sources: [], change: { diff: change.diff }, notes };
    }
    const own = text === undefined ? [] : [{ name: 'the text', text }];
    const read = await readWorkspace(await Promise.all(paths.map(uriOf)), {
      signal,
      limits: reads === 'log' ? { files: 1, bytes: MOST_LOG } : LIMITS,
    });
    const notes = readingNotes(read);
    const files = read.sources.map(({ name, text }) => ({ name, text }));
    const all = [...own, ...files];
    if (all.length > 0) return { sources: all, notes };
    throw new InternError({
      code: 'bad_input',
      message: 'There is nothing to read.',
      hint: notes.join(' ') || 'Name files of the workspace, or give the text.',
    });
  }

  /** `hermes3:8b (local)` */
  async #where(): Promise<string> {
    const { config } = this.intern;
    const { tier } = cardOf(this.job);
    // Vectors have one target.
    const [first] = routeOf(config, tier);
    const now = tier === 'embed' ? first : await this.intern.describe(tier, { ask: false });
    return now ? whereText(config, tier, now) : 'no model';
  }
}

/** A path of a workspace folder, or an absolute one. Whether it may be read is decided by who reads it. */
async function uriOf(path: string): Promise<vscode.Uri> {
  if (isAbsolute(path)) return vscode.Uri.file(path);
  const folders = vscode.workspace.workspaceFolders ?? [];
  const names = distinctNames(folders.map(({ name, uri }) => ({ name, path: uri.path })));
  const [inner] = folders.flatMap(({ uri }, at) =>
    folders.length > 1 && path.startsWith(`${names[at]}/`)
      ? vscode.Uri.joinPath(uri, path.slice(`${names[at]}/`.length))
      : [],
  );
  if (inner) return inner;
  const all = folders.map(({ uri }) => vscode.Uri.joinPath(uri, path));
  for (const uri of all) {
    const exists = await vscode.workspace.fs.stat(uri).then(
      () => true,
      () => false,
    );
    if (exists) return uri;
  }
  return all[0] ?? vscode.Uri.file(path);
}

/** What a caller can take of a result. Where it is cut, it says so. */
async function fitting(
  text: string,
  origin: string,
  options: vscode.LanguageModelToolTokenizationOptions | undefined,
  token: vscode.CancellationToken,
): Promise<string> {
  if (!options) return text;
  const room = options.tokenBudget - (await options.countTokens(`${origin}\n${CUT}`, token));
  const tokens = await options.countTokens(text, token);
  if (tokens <= room) return text;
  const chars = Math.floor((text.length * Math.max(0, room) * MARGIN) / tokens);
  return `${text.slice(0, chars).replace(/[\uD800-\uDBFF]$/, '')}\n\n${CUT}`;
}

const CUT = '[The rest is left out: it is more than you asked for. Ask about less at once.]';
/** Counts are estimates, and not even over a text. */
const MARGIN = 0.9;
