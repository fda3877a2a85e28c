import * as vscode from 'vscode';
import { createIntern, type Intern } from './core';
import { Answers } from './host/answers';
import { Cloud, followCloudContext } from './host/cloud';
import { cloudKeys } from './host/cloudKeys';
import { registerArtifactCommands } from './host/artifacts';
import { registerBriefCommands } from './host/briefCommands';
import { ChatParticipant } from './host/chat/participant';
import { registerChangeCommands } from './host/changeCommands';
import { registerCodeActions } from './host/codeActions';
import { registerCommands } from './host/commands';
import { DashboardPanel } from './host/dashboard/panel';
import { Drafts } from './host/drafts';
import { InlineAnswers } from './host/inlineAnswers';
import { JobCommands } from './host/jobCommands';
import { LanguageModels } from './host/languageModels';
import { LogDocuments } from './host/log';
import type { Manifest } from './host/manifest';
import { Notifications } from './host/notifications';
import { registerProblemCommands } from './host/problems';
import { outputLog } from './host/outputLog';
import { ReviewDiagnostics } from './host/review';
import { registerRunJob } from './host/runJob';
import { serverTokens } from './host/serverTokens';
import { onSettingsChanged, readSettings } from './host/settings';
import { StatusBar } from './host/statusBar';
import { MementoStore } from './host/store';
import { registerTools } from './host/tools';
import { registerUtilityModels } from './host/utilityModels';

/** What other code in the extension host may use. */
export interface Api {
  intern: Intern;
}

/** Builds the core and hands it to each surface. Sends nothing unless models are to be loaded at the start. */
export function activate(context: vscode.ExtensionContext): Api {
  const tokens = serverTokens(context.secrets);
  const keys = cloudKeys(context.secrets);
  const intern = createIntern({
    settings: readSettings(),
    store: new MementoStore(context.globalState),
    tokens: (origin) => tokens.get(origin),
    cloudKeys: (origin) => keys.get(origin),
  });
  const answers = new Answers(intern);
  const drafts = new Drafts(intern);
  const inlineAnswers = new InlineAnswers(intern);
  const logDocuments = new LogDocuments(intern);
  const notifications = new Notifications(intern);
  const review = new ReviewDiagnostics();
  const cloud = new Cloud(intern, keys, notifications);
  const dashboard = new DashboardPanel({
    extensionUri: context.extensionUri,
    intern,
    notifications,
    run: (command, ...args) => void vscode.commands.executeCommand(command, ...args),
  });

  context.subscriptions.push(
    outputLog(intern),
    answers,
    drafts,
    inlineAnswers,
    logDocuments,
    dashboard,
    notifications,
    review,
    new StatusBar(intern),
    new LanguageModels(intern, context.globalState),
    tokens.follow(intern),
    keys.follow(intern),
    followCloudContext(intern),
    onSettingsChanged(() => intern.configure(readSettings())),
    ...registerCommands({
      intern,
      answers,
      drafts,
      log: logDocuments,
      tokens,
      keys,
      cloud,
      showDashboard: (callId) => dashboard.show(callId),
    }),
    ...new JobCommands(intern, answers).register(),
    ...registerProblemCommands({ answers, drafts }),
    registerRunJob(context.extension.packageJSON as Manifest),
    new ChatParticipant(intern).register(context.extensionUri),
    ...registerTools(intern),
    ...inlineAnswers.register(),
    registerCodeActions(),
    ...registerArtifactCommands(),
    ...registerBriefCommands({ intern, answers }),
    ...registerUtilityModels(intern),
    ...registerChangeCommands({ intern, answers, review }),
    { dispose: () => void intern.dispose() },
  );
  const { prewarm } = intern.config;
  // The log has what failed; whoever wants to know at once runs the command.
  if (prewarm.length > 0) void intern.models.prewarm(prewarm).catch(() => undefined);
  return { intern };
}
