import * as vscode from 'vscode';
import { type Intern, parseModelRef, sameModel } from '../core';
import type { Answers } from './answers';
import type { Cloud } from './cloud';
import { type Drafts, registerDraftCommands } from './drafts';
import { orError } from './errors';
import { COMMANDS, type CommandId, EXTENSION_ID } from './ids';
import type { LogDocuments } from './log';
import { plain } from './plain';
import { selectProfile } from './profilePicker';
import { loadModels, pullModel, startServer } from './server';
import type { ServerSecrets } from './serverSecrets';
import { activeUri, fileSource, selectedSource, type Source } from './sources';

interface Parts {
  intern: Intern;
  answers: Answers;
  drafts: Drafts;
  log: LogDocuments;
  tokens: ServerSecrets;
  keys: ServerSecrets;
  cloud: Cloud;
  showDashboard: (callId?: string) => void;
}

/** Registers every command but those of the draft preview and those in `jobCommands.ts`. */
export function registerCommands({
  intern,
  answers,
  drafts,
  log,
  tokens,
  keys,
  cloud,
  showDashboard,
}: Parts): vscode.Disposable[] {
  const handlers: Partial<Record<CommandId, (...args: never[]) => unknown>> = {
    [COMMANDS.summarizeSelection]: () =>
      withSource(selectedSource, (source) =>
        answers.start({
          job: 'summarize_fast',
          input: inputOf(source),
          title: `Summary of ${source.name}, selection`,
          progress: `Summarizing the selection in ${source.name}`,
          task: 'Summarize',
          notes: source.notes,
        }),
      ),
    [COMMANDS.summarizeFile]: (clicked?: vscode.Uri) =>
      withSource(
        () => fileSource(clicked instanceof vscode.Uri ? clicked : undefined),
        (source) =>
          answers.start({
            job: 'summarize_deep',
            input: inputOf(source),
            title: `Summary of ${source.name}`,
            progress: `Summarizing ${source.name}`,
            task: 'Summarize',
            notes: source.notes,
          }),
      ),
    [COMMANDS.draftFromSelection]: () => {
      const editor = vscode.window.activeTextEditor;
      if (editor) return drafts.start(editor);
      return vscode.window.showErrorMessage('No text editor is open. Open a file first.');
    },
    [COMMANDS.retryAnswer]: (uri?: vscode.Uri) => answers.retry(uri ?? activeUri()),
    [COMMANDS.retryAnswerWithModel]: (uri?: vscode.Uri) =>
      orError(() => retryWithModel(intern, answers, uri ?? activeUri())),
    [COMMANDS.copyAnswer]: async (uri?: vscode.Uri) => {
      const text = answers.text(uri ?? activeUri());
      if (text) await vscode.env.clipboard.writeText(text);
    },
    [COMMANDS.stopCall]: () => stopCalls(intern),
    [COMMANDS.showLog]: () => log.show(false),
    [COMMANDS.tailLog]: () => log.show(true),
    [COMMANDS.filterLog]: (uri?: vscode.Uri) => log.refilter(uri ?? activeUri()),
    [COMMANDS.openLogFile]: () => log.openFile(),
    [COMMANDS.showDashboard]: (callId?: unknown) =>
      showDashboard(typeof callId === 'string' ? callId : undefined),
    [COMMANDS.selectProfile]: () => selectProfile(intern),
    [COMMANDS.pullModel]: (model?: unknown) =>
      pullModel(intern, typeof model === 'string' ? model : undefined),
    [COMMANDS.loadModels]: () => loadModels(intern),
    [COMMANDS.startServer]: () => startServer(intern),
    [COMMANDS.setServerToken]: () => tokens.ask(intern),
    [COMMANDS.clearServerToken]: () => tokens.clear(intern),
    [COMMANDS.setCloudKey]: () => keys.ask(intern),
    [COMMANDS.clearCloudKey]: () => keys.clear(intern),
    [COMMANDS.testCloud]: () => cloud.test(),
    [COMMANDS.enableCloud]: () => cloud.enable(),
    [COMMANDS.disableCloud]: () => cloud.disable(),
    [COMMANDS.retryCloud]: () => cloud.retry(),
    [COMMANDS.openSettings]: (setting?: unknown) =>
      vscode.commands.executeCommand(
        'workbench.action.openSettings',
        typeof setting === 'string' && /^(?:ollamaIntern|http)\.[\w.]+$/.test(setting)
          ? setting
          : `@ext:${EXTENSION_ID}`,
      ),
  };
  return [
    ...Object.entries(handlers).map(([id, handler]) =>
      vscode.commands.registerCommand(id, handler),
    ),
    ...registerDraftCommands(drafts),
  ];
}

/** Finds the text first: what is wrong with it is told before anything opens. */
async function withSource<T>(
  find: () => Source | Promise<Source>,
  run: (source: Source) => Promise<T>,
): Promise<T | undefined> {
  const source = await orError(async () => find());
  return source && run(source);
}

function inputOf({ text, name, document }: Source) {
  return { text, source: name, language: document.languageId };
}

/** Runs an answer again, and from now on, with one of the installed models. */
async function retryWithModel(
  intern: Intern,
  answers: Answers,
  uri: vscode.Uri | undefined,
): Promise<void> {
  const tier = answers.tier(uri);
  if (!tier) return;
  const own = parseModelRef(intern.config.tiers[tier].model).model;
  const names = (await intern.models.installed()).map(({ name }) => name);
  const chosen = await vscode.window.showQuickPick(
    [
      { label: own, description: `the ${tier} tier's own`, model: undefined },
      ...names
        .filter((name) => !sameModel(name, own))
        .map((name) => ({ label: name, description: 'local', model: `local/${name}` })),
    ],
    { title: 'Run Again with Which Model?' },
  );
  if (chosen) await answers.retry(uri, { model: chosen.model });
}

async function stopCalls(intern: Intern): Promise<void> {
  const { running } = intern;
  if (running.length === 0) {
    void vscode.window.showInformationMessage('Nothing is running.');
    return;
  }
  const [only] = running;
  if (running.length === 1 && only) {
    intern.stop(only.call_id);
    return;
  }
  const chosen = await vscode.window.showQuickPick(
    running.map((call) => ({ label: call.job, description: plain(call.model), id: call.call_id })),
    { title: 'Stop which call?', canPickMany: true },
  );
  for (const { id } of chosen ?? []) intern.stop(id);
}
