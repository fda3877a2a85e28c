import * as vscode from 'vscode';
import {
  ArtifactStore,
  type Envelope,
  expandHome,
  type InputOf,
  type Intern,
  type Pack,
  packKindOf,
  packOf,
  type ResultOf,
  toInternError,
} from '../core';
import { errorText } from './actions';
import type { Answered, Answers } from './answers';
import { setContext } from './contexts';
import { orError, withRemedies } from './errors';
import { COMMANDS, CONFIG_SECTION, CONTEXTS, SETTINGS } from './ids';
import { envelopeLines, runWithProgress } from './jobRunner';
import { changeMaterial, incidentMaterial, type Material, repositoryMaterial } from './material';
import { plain } from './plain';

type PackJob = 'incident_pack' | 'repo_pack' | 'change_pack';

const DEFAULT_FOLDER = '~/.ollama-intern/artifacts';
const MOST_TITLE_CHARS = 120;

interface Parts {
  intern: Intern;
  answers: Answers;
}

/** Briefs as answers, and as packs: artifacts that are kept. */
export function registerBriefCommands({ intern, answers }: Parts): vscode.Disposable[] {
  const register = vscode.commands.registerCommand;
  const incident = (clicked?: unknown) =>
    incidentMaterial(clicked instanceof vscode.Uri ? clicked : undefined);
  return [
    register(COMMANDS.changeBrief, (clicked?: unknown) =>
      withMaterial(
        () => changeMaterial('Change Brief', clicked),
        (material) => answers.start({ job: 'change_brief', ...shown(material) }),
      ),
    ),
    register(COMMANDS.incidentBrief, (clicked?: unknown) =>
      withMaterial(
        () => incident(clicked),
        (material) => answers.start({ job: 'incident_brief', ...shown(material) }),
      ),
    ),
    register(COMMANDS.repositoryBrief, () =>
      withMaterial(repositoryMaterial, (material) =>
        answers.start({ job: 'repo_brief', ...shown(material) }),
      ),
    ),
    register(COMMANDS.changePack, () =>
      withMaterial(
        () => changeMaterial('Change Pack'),
        (material) => keep(intern, 'change_pack', material),
      ),
    ),
    register(COMMANDS.incidentPack, (clicked?: unknown) =>
      withMaterial(
        () => incident(clicked),
        (material) => keep(intern, 'incident_pack', material),
      ),
    ),
    register(COMMANDS.repositoryPack, () =>
      withMaterial(repositoryMaterial, (material) => keep(intern, 'repo_pack', material)),
    ),
    register(COMMANDS.keepBrief, (clicked?: unknown) => {
      const uri =
        clicked instanceof vscode.Uri ? clicked : vscode.window.activeTextEditor?.document.uri;
      return keepShown(answers.answered.get(String(uri)));
    }),
    answers.onDidAnswer(() => {
      const briefs = [...answers.answered].filter(([, { request }]) => packKindOf(request.job));
      const keys = briefs.map(([key]) => key);
      setContext(CONTEXTS.briefs, keys);
    }),
  ];
}

/** The artifacts in the folder that the settings name now. */
export function artifactStore(): ArtifactStore {
  const config = vscode.workspace.getConfiguration(CONFIG_SECTION);
  const folder = config.get<string>(SETTINGS.artifactFolder)?.trim();
  return new ArtifactStore(expandHome(folder || DEFAULT_FOLDER));
}

async function withMaterial<I>(
  find: () => Promise<Material<I> | undefined>,
  run: (material: Material<I>) => Promise<unknown>,
): Promise<void> {
  const material = await orError(find);
  if (material) await run(material);
}

function shown<I>({ input, name, notes }: Material<I>) {
  const progress = `Writing a brief of ${name}`;
  return { input, notes, title: `Brief of ${name}`, subject: name, progress, task: 'Brief' };
}

/** Makes a pack, writes it and opens it. */
async function keep<N extends PackJob>(
  intern: Intern,
  job: N,
  { input, name, notes }: Material<Omit<InputOf<N>, 'title'>>,
): Promise<void> {
  const title = name.slice(0, MOST_TITLE_CHARS);
  const envelope = await withRemedies('Brief', (overflow) =>
    runWithProgress(intern, job, { ...input, title } as InputOf<N>, {
      title: `Writing a pack of ${name}`,
      overflow,
      onDelta: () => undefined,
    }),
  );
  if (envelope) await write(envelope.result, envelope, notes);
}

/** Writes the brief of an answer and opens it: no model is asked again. */
async function keepShown(answered: Answered | undefined): Promise<void> {
  const kind = answered && packKindOf(answered.request.job);
  if (!kind) {
    void vscode.window.showErrorMessage('This is not a brief that is whole. Open one first.');
    return;
  }
  const { request, envelope } = answered;
  const brief = envelope.result as ResultOf<`${typeof kind}_brief`>;
  await write(packOf(kind, brief, request.subject), envelope, request.notes ?? []);
}

async function write(pack: Pack, envelope: Envelope, notes: readonly string[]): Promise<void> {
  const { call_id, model, backend, tier_used } = envelope;
  const [origin, ...warnings] = envelopeLines(envelope);
  try {
    const about = { call_id, model, backend, tier_used, origin, notes: [...warnings, ...notes] };
    const { markdown_path } = await artifactStore().write(pack, about);
    await vscode.window.showTextDocument(vscode.Uri.file(markdown_path), { preview: false });
    const said = [`Kept as ${markdown_path}.`, ...warnings, ...notes];
    void vscode.window.showInformationMessage(plain(said.join(' ')));
  } catch (thrown) {
    // What took a model minutes is not lost for want of a folder.
    const { markdown: content } = pack;
    const document = await vscode.workspace.openTextDocument({ content, language: 'markdown' });
    await vscode.window.showTextDocument(document, { preview: false });
    const choose = 'Open Setting';
    const text = `${errorText(toInternError(thrown))} The brief is in an editor that is not saved yet.`;
    if ((await vscode.window.showErrorMessage(plain(text), choose)) !== choose) return;
    const setting = `${CONFIG_SECTION}.${SETTINGS.artifactFolder}`;
    await vscode.commands.executeCommand(COMMANDS.openSettings, setting);
  }
}
