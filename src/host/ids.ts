import type { JobName } from '../core';

/** Everything that package.json contributes and code refers to, once. A test holds the two together. */

export const EXTENSION_ID = 'ollama-intern.ollama-intern';
/** Where the product's settings live: `ollamaIntern.*`. */
export const CONFIG_SECTION = 'ollamaIntern';

export const COMMANDS = {
  summarizeSelection: 'ollamaIntern.summarizeSelection',
  summarizeFile: 'ollamaIntern.summarizeFile',
  draftFromSelection: 'ollamaIntern.draftFromSelection',
  classifySelection: 'ollamaIntern.classifySelection',
  classifyFiles: 'ollamaIntern.classifyFiles',
  extractFromSelection: 'ollamaIntern.extractFromSelection',
  extractFromFile: 'ollamaIntern.extractFromFile',
  triageSelection: 'ollamaIntern.triageSelection',
  triageFile: 'ollamaIntern.triageFile',
  triageTerminal: 'ollamaIntern.triageTerminal',
  askSelection: 'ollamaIntern.askSelection',
  triageOutput: 'ollamaIntern.triageOutput',
  askFiles: 'ollamaIntern.askFiles',
  summarizeFiles: 'ollamaIntern.summarizeFiles',
  embedSelection: 'ollamaIntern.embedSelection',
  searchByMeaning: 'ollamaIntern.searchByMeaning',
  explainProblem: 'ollamaIntern.explainProblem',
  draftFix: 'ollamaIntern.draftFix',
  runJob: 'ollamaIntern.runJob',
  acceptDraft: 'ollamaIntern.acceptDraft',
  discardDraft: 'ollamaIntern.discardDraft',
  retryDraft: 'ollamaIntern.retryDraft',
  retryAnswer: 'ollamaIntern.retryAnswer',
  retryAnswerWithModel: 'ollamaIntern.retryAnswerWithModel',
  copyAnswer: 'ollamaIntern.copyAnswer',
  answerHere: 'ollamaIntern.answerHere',
  insertAnswer: 'ollamaIntern.insertAnswer',
  replaceWithAnswer: 'ollamaIntern.replaceWithAnswer',
  discardAnswer: 'ollamaIntern.discardAnswer',
  stopCall: 'ollamaIntern.stopCall',
  showLog: 'ollamaIntern.showLog',
  tailLog: 'ollamaIntern.tailLog',
  filterLog: 'ollamaIntern.filterLog',
  openLogFile: 'ollamaIntern.openLogFile',
  showDashboard: 'ollamaIntern.showDashboard',
  selectProfile: 'ollamaIntern.selectProfile',
  pullModel: 'ollamaIntern.pullModel',
  loadModels: 'ollamaIntern.loadModels',
  startServer: 'ollamaIntern.startServer',
  setServerToken: 'ollamaIntern.setServerToken',
  clearServerToken: 'ollamaIntern.clearServerToken',
  setCloudKey: 'ollamaIntern.setCloudKey',
  clearCloudKey: 'ollamaIntern.clearCloudKey',
  testCloud: 'ollamaIntern.testCloud',
  enableCloud: 'ollamaIntern.enableCloud',
  disableCloud: 'ollamaIntern.disableCloud',
  retryCloud: 'ollamaIntern.retryCloud',
  openSettings: 'ollamaIntern.openSettings',
  writeCommitMessage: 'ollamaIntern.writeCommitMessage',
  reviewChanges: 'ollamaIntern.reviewChanges',
  clearReview: 'ollamaIntern.clearReview',
  changeBrief: 'ollamaIntern.changeBrief',
  incidentBrief: 'ollamaIntern.incidentBrief',
  repositoryBrief: 'ollamaIntern.repositoryBrief',
  changePack: 'ollamaIntern.changePack',
  incidentPack: 'ollamaIntern.incidentPack',
  repositoryPack: 'ollamaIntern.repositoryPack',
  openArtifact: 'ollamaIntern.openArtifact',
  useForUtilityModels: 'ollamaIntern.useForUtilityModels',
  keepBrief: 'ollamaIntern.keepBrief',
} as const;
export type CommandId = (typeof COMMANDS)[keyof typeof COMMANDS];

/** The job that a command runs, if it runs one. */
export const COMMAND_JOBS: Partial<Record<CommandId, JobName>> = {
  [COMMANDS.summarizeSelection]: 'summarize_fast',
  [COMMANDS.summarizeFile]: 'summarize_deep',
  [COMMANDS.draftFromSelection]: 'draft',
  [COMMANDS.classifySelection]: 'classify',
  [COMMANDS.classifyFiles]: 'classify',
  [COMMANDS.extractFromSelection]: 'extract',
  [COMMANDS.extractFromFile]: 'extract',
  [COMMANDS.triageSelection]: 'triage_logs',
  [COMMANDS.triageFile]: 'triage_logs',
  [COMMANDS.triageTerminal]: 'triage_logs',
  [COMMANDS.triageOutput]: 'triage_logs',
  [COMMANDS.askSelection]: 'chat',
  [COMMANDS.answerHere]: 'chat',
  [COMMANDS.askFiles]: 'research',
  [COMMANDS.embedSelection]: 'embed',
  [COMMANDS.searchByMeaning]: 'embed_search',
  [COMMANDS.explainProblem]: 'chat',
  [COMMANDS.draftFix]: 'draft',
  [COMMANDS.writeCommitMessage]: 'commit_message',
  [COMMANDS.reviewChanges]: 'code_review',
  [COMMANDS.changeBrief]: 'change_brief',
  [COMMANDS.incidentBrief]: 'incident_brief',
  [COMMANDS.repositoryBrief]: 'repo_brief',
  [COMMANDS.changePack]: 'change_pack',
  [COMMANDS.incidentPack]: 'incident_pack',
  [COMMANDS.repositoryPack]: 'repo_pack',
};

/** Keys below `ollamaIntern.`. */
export const SETTINGS = {
  host: 'host',
  profile: 'profile',
  profiles: 'profiles',
  tierInstant: 'tiers.instant',
  tierWorkhorse: 'tiers.workhorse',
  tierDeep: 'tiers.deep',
  tierEmbed: 'tiers.embed',
  temperature: 'options.temperature',
  topP: 'options.topP',
  topK: 'options.topK',
  contextWindow: 'options.contextWindow',
  numPredict: 'options.numPredict',
  repeatPenalty: 'options.repeatPenalty',
  tierOptions: 'tierOptions',
  budgetInstant: 'budgets.instant',
  budgetWorkhorse: 'budgets.workhorse',
  budgetDeep: 'budgets.deep',
  budgetEmbed: 'budgets.embed',
  maxConcurrent: 'maxConcurrent',
  keepAlive: 'keepAlive',
  prewarm: 'prewarm',
  logPath: 'logPath',
  cloudMode: 'cloud.mode',
  cloudHost: 'cloud.host',
  cloudModel: 'cloud.model',
  cloudDeepModel: 'cloud.deepModel',
  cloudContextWindow: 'cloud.contextWindow',
  cloudBudgetInstant: 'cloud.budgets.instant',
  cloudBudgetWorkhorse: 'cloud.budgets.workhorse',
  cloudBudgetDeep: 'cloud.budgets.deep',
  gatewayHost: 'gateway.host',
  fallbacks: 'fallbacks',
  caFile: 'network.caFile',
  headers: 'network.headers',
  commitConventional: 'commit.conventional',
  draftCheckSyntax: 'draft.checkSyntax',
  artifactFolder: 'artifactFolder',
  languageModelsInstalled: 'languageModels.installed',
  codeActions: 'codeActions',
} as const;
export type SettingKey = (typeof SETTINGS)[keyof typeof SETTINGS];

export const VIEWS = { dashboard: 'ollamaIntern.dashboard' } as const;

/** Before the names of the tools. */
export const TOOL_PREFIX = 'ollama_intern_';

/** `@intern` in chat. */
export const CHAT_PARTICIPANT = 'ollama-intern.intern';

/** The vendor of the models in the editor's picker. */
export const MODEL_VENDOR = 'ollama-intern';

/** Documents that the product writes and nobody edits. */
export const SCHEMES = {
  answer: 'ollama-intern',
  draft: 'ollama-intern-draft',
  log: 'ollama-intern-log',
} as const;

/** Context keys of when-clauses. */
export const CONTEXTS = {
  draftPending: 'ollamaIntern.draftPending',
  cloudOn: 'ollamaIntern.cloudOn',
  /** The cloud is left alone after failures, or has no key that works. */
  cloudPaused: 'ollamaIntern.cloudPaused',
  /** Findings of a review stand at their lines. */
  reviewShown: 'ollamaIntern.reviewShown',
  /** This editor has settings for the models of its small tasks. */
  utilityModels: 'ollamaIntern.utilityModels',
  /** Documents in which an answer stands or is written, and those where it is complete. Lists, for `resource in`. */
  answersShown: 'ollamaIntern.answersShown',
  answersReady: 'ollamaIntern.answersReady',
  /** The documents of briefs that are whole: a list of their addresses. */
  briefs: 'ollamaIntern.briefs',
} as const;
