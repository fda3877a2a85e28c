/**
 * The intern without an editor.
 *
 * ```ts
 * const intern = createIntern({ settings: { host: '127.0.0.1:11434' } });
 * const envelope = await intern.run('summarize_fast', { text }, { onDelta: (t) => process.stdout.write(t) });
 * console.log(envelope.result.summary, envelopeLine(envelope));
 * await intern.dispose();
 * ```
 */
export {
  createIntern,
  type DescribeOptions,
  type Intern,
  type InternListener,
  type InternOptions,
  type Models,
  type RunningCall,
  type RunOptions,
  type Taker,
} from './intern';
export {
  type Attempt,
  type Backend,
  BACKEND_NAMES,
  type DegradeReason,
  type Envelope,
  envelopeLine,
  formatDuration,
  formatRate,
  formatTokens,
  originText,
  residencyText,
  type Surface,
} from './audit/envelope';
export { type ArtifactEntry, ArtifactStore } from './artifacts/store';
export type { BackendStatus } from './backends';
export { type BatchOptions, runBatch } from './batch';
export { backendsOf, jobOf, lineText, type LogFilter, type LogLine, outcomeOf } from './audit/line';
export { LOG_KINDS, type LogKind } from './audit/log';
export { type Follower, followLog, type LogQuery, readLog } from './audit/reader';
export { type Eviction } from './audit/logIndex';
export { type LogListener, LogService } from './audit/logService';
export { type Clock, systemClock, type Timer } from './clock';
export {
  availableProfiles,
  type Config,
  type Environment,
  type NetworkSettings,
  expandHome,
  resolveConfig,
  type Settings,
} from './config';
export {
  cancelledError,
  type ErrorAction,
  type ErrorCode,
  InternError,
  toInternError,
} from './errors';
export { hostLabel, isLoopback } from './address';
export { type Candidates, candidatesOf } from './jobs/candidates';
export { type Labels, readLabels } from './jobs/classify';
export type { Finding } from './jobs/codeReview';
export { MOST_TEXTS } from './jobs/embed';
export { parseDiff, pathOf } from './jobs/diff';
export type { Turn, TurnMessage, TurnRequest } from './jobs/conversation';
export type { FollowUp, Handed, HandedChange, SlashCommand, Typed } from './jobs/handed';
export type { Job, Settled, SourcePlace } from './jobs/job';
export { type Pack, packKindOf, packOf } from './jobs/packs';
export { type InputOf, type JobName, JOBS, type ResultOf } from './jobs/registry';
export { BlockStream, codeBlocks, inlineText, visible } from './jobs/markdown';
export { readExample, readSchema, type Shape } from './jobs/shape';
export { chooseJob, cardOf, jobNames, slashCommands } from './jobs/slashCommands';
export type { Source } from './jobs/sources';
export { givenTo, type ToolMaterial, type ToolOffer, toolSchema } from './jobs/tool';
export { clip, counted } from './jobs/words';
export { isPlausibleToken, mayCarryToken, type TokenSource } from './ollama/tokens';
export type { PullProgress } from './ollama/client';
export { cloudBaseName, isCloudName, isPlausibleModelName, sameModel } from './ollama/names';
export type { PsModel } from './ollama/schemas';
export { type Phase, phaseText } from './routing/call';
export type { BreakerStatus, FailureReason } from './routing/breaker';
export {
  CLOUD_MODES,
  type CloudConfig,
  type CloudMode,
  type CloudSettings,
  isCloudHost,
} from './routing/cloud';
export type { KeySource } from './routing/cloudKeys';
export { failureReason } from './routing/outcome';
export { BACKENDS, parseModelRef, routeOf } from './routing/route';
export type { Residency } from './routing/residency';
export type { Profile } from './routing/profiles';
export { GENERATIVE_TIERS, type GenerativeTier, type Tier, TIERS } from './routing/tiers';
export { MemoryStore, type Store } from './store';
export type { ConfigProblem } from './values';
