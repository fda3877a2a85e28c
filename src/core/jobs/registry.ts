import { changeBrief } from './changeBrief';
import { chat } from './chat';
import { classify } from './classify';
import { codeReview } from './codeReview';
import { commitMessage } from './commitMessage';
import { draft } from './draft';
import { embed, embedSearch } from './embed';
import { extract } from './extract';
import { incidentBrief } from './incidentBrief';
import type { JobInput, JobResult } from './job';
import { changePack, incidentPack, repoPack } from './packs';
import { repoBrief } from './repoBrief';
import { research } from './research';
import { summarizeFast } from './summarize';
import { summarizeDeep } from './summarizeDeep';
import { triageLogs } from './triageLogs';

/** All jobs. A new one is a file beside this and a line here. */
export const JOBS = {
  classify,
  triage_logs: triageLogs,
  summarize_fast: summarizeFast,
  draft,
  extract,
  chat,
  commit_message: commitMessage,
  code_review: codeReview,
  summarize_deep: summarizeDeep,
  research,
  incident_brief: incidentBrief,
  repo_brief: repoBrief,
  change_brief: changeBrief,
  incident_pack: incidentPack,
  repo_pack: repoPack,
  change_pack: changePack,
  embed,
  embed_search: embedSearch,
} as const;

export type JobName = keyof typeof JOBS;
export type InputOf<N extends JobName> = JobInput<(typeof JOBS)[N]>;
export type ResultOf<N extends JobName> = JobResult<(typeof JOBS)[N]>;
