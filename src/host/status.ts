import {
  type Backend,
  BACKEND_NAMES,
  BACKENDS,
  type BackendStatus,
  type BreakerStatus,
  cloudBaseName,
  type Config,
  type Envelope,
  envelopeLine,
  type FailureReason,
  formatDuration,
  GENERATIVE_TIERS,
  hostLabel,
  type InternError,
  isCloudHost,
  isCloudName,
  isLoopback,
  JOBS,
  failureReason,
  phaseText,
  routeOf,
  type RunningCall,
  type Tier,
} from '../core';
import { degradeSentence, nameOf, reasonWords } from '../shared/degradation';
import { COMMANDS, type CommandId } from './ids';

/** A model and where it is asked for. */
type Place = Pick<RunningCall, 'backend' | 'model'>;

/** What is known at one moment. */
export interface StatusInput {
  config: Config;
  backends: readonly BackendStatus[];
  running: readonly RunningCall[];
  /** The last call that was answered. */
  latest: Envelope | undefined;
  /** Why calls fail now, whatever backend they try. */
  failure: InternError | undefined;
}

export interface Status {
  kind:
    | Backend
    | 'degraded'
    | 'misconfigured'
    | 'offline'
    | 'failed'
    | 'queued'
    | 'loading'
    | 'working';
  icon: string;
  /** Short: the bar is narrow. */
  text: string;
  tone: 'plain' | 'warning' | 'error';
  /** For a screen reader: without seconds, which would be read out again and again. */
  label: string;
  /** The text counts down to the next try. Milliseconds. */
  retryInMs: number | undefined;
}

/** `degraded: cloud rate limited, next try in 14 s`; undefined while the backend that comes first answers. */
export function degradedText(input: Pick<StatusInput, 'config' | 'backends'>): string | undefined {
  const weak = degradedBackend(input);
  if (!weak) return undefined;
  const reason = reasonOf(weak);
  const { retry_in_ms } = weak.breaker;
  const why = reason ? `${weak.backend} ${reasonWords(reason)}` : `${weak.backend} paused`;
  return `degraded: ${why}${retry_in_ms ? `, next try in ${formatWait(retry_in_ms)}` : ''}`;
}

/** What the status bar shows. */
export function statusOf(input: StatusInput): Status {
  const standing = standingStatus(input);
  // The person who has just begun one wants to know about that.
  const call = input.running.at(-1);
  if (!call) return standing;
  const more = input.running.length > 1 ? ` +${input.running.length - 1}` : '';
  const { kind, text } = runningStatus(call);
  return {
    kind,
    icon: 'loading~spin',
    text: text + more,
    // What is wrong is no better while a call runs, and the colour does not blink.
    tone: standing.tone,
    label: spoken(text + more),
    retryInMs: undefined,
  };
}

function runningStatus({ phase, model, backend }: RunningCall): Pick<Status, 'kind' | 'text'> {
  switch (phase?.phase) {
    case 'queued':
      return { kind: 'queued', text: phaseText(phase) };
    case 'loading':
      return { kind: 'loading', text: phaseText(phase) };
    case 'writing':
      return { kind: 'working', text: `writing · ${shortModel(model)}` };
    default:
      return { kind: 'working', text: place(backend, model) };
  }
}

/** What is shown while nothing runs: the worst first. */
function standingStatus(input: StatusInput): Status {
  const { backends, failure } = input;
  const wrong = backends.find(({ breaker }) => breaker.state === 'misconfigured');
  if (failure && !(failure.code === 'auth_failed' && wrong)) return failedStatus(failure, backends);
  if (wrong) return misconfiguredStatus(wrong);
  const weak = degradedBackend(input);
  return weak ? degradedStatus(weak) : readyStatus(input);
}

function failedStatus({ code }: InternError, backends: readonly BackendStatus[]): Status {
  const silent = backends.find(({ error }) => error)?.backend ?? 'local';
  const isOffline = code === 'unreachable';
  const text =
    isOffline && silent !== 'local'
      ? // Ollama itself may be well when all that a tier has is a gateway.
        `${silent} offline`
      : (FAILURE_TEXT[code] ?? 'Intern failed');
  return {
    kind: isOffline ? 'offline' : 'failed',
    icon: 'warning',
    text,
    tone: 'warning',
    label: spoken(text),
    retryInMs: undefined,
  };
}

const FAILURE_TEXT: Partial<Record<string, string>> = {
  unreachable: 'Ollama offline',
  config: 'Intern needs set-up',
  auth_failed: 'Ollama refused',
  model_missing: 'model missing',
  out_of_memory: 'out of memory',
};

function misconfiguredStatus({ backend, key }: BackendStatus): Status {
  const text =
    backend === 'cloud'
      ? `cloud: ${key === 'none' ? 'no key' : 'key refused'}`
      : `${backend === 'local' ? 'Ollama' : backend} refused`;
  return {
    kind: 'misconfigured',
    icon: 'error',
    text,
    tone: 'error',
    label: spoken(text),
    retryInMs: undefined,
  };
}

/** The backend that should answer and does not, while another one can. */
function degradedBackend({
  config,
  backends,
}: Pick<StatusInput, 'config' | 'backends'>): BackendStatus | undefined {
  const firsts = GENERATIVE_TIERS.map((tier) => routeOf(config, tier)).flatMap((route) =>
    route.length > 1 && route[0] ? [route[0].backend] : [],
  );
  return backends.find(
    ({ backend, breaker, error }) =>
      firsts.includes(backend) && (breaker.state !== 'closed' || error !== undefined),
  );
}

function degradedStatus(backend: BackendStatus): Status {
  const reason = reasonOf(backend);
  const why = reason ? ` · ${reasonWords(reason)}` : '';
  const { retry_in_ms } = backend.breaker;
  const wait = retry_in_ms ? ` · ${formatWait(retry_in_ms)}` : '';
  return {
    kind: 'degraded',
    icon: 'warning',
    text: `degraded${why}${wait}`,
    tone: 'warning',
    label: spoken(
      `degraded, ${BACKEND_NAMES[backend.backend]} ${reason ? reasonWords(reason) : ''}`,
    ),
    retryInMs: retry_in_ms,
  };
}

function readyStatus({ config, latest }: StatusInput): Status {
  const [first] = routeOf(config, 'workhorse');
  const shown = latest && isCurrent(latest, config) ? latest : first;
  const backend = shown?.backend ?? 'local';
  const text = place(backend, shown?.model ?? config.tiers.workhorse.model, true);
  return {
    kind: backend,
    icon: config.problems.length > 0 ? 'warning' : ICONS[backend],
    text,
    tone: 'plain',
    label: spoken(text),
    retryInMs: undefined,
  };
}

/** Whether a call would still be answered there. */
function isCurrent({ tier_used, model, model_requested, backend }: Envelope, config: Config) {
  const tier = GENERATIVE_TIERS.find((t) => t === tier_used);
  if (!tier) return false;
  // A local server may have passed it on to the cloud.
  const mayPass = backend === 'cloud' && config.cloud.mode !== 'off';
  return routeOf(config, tier, model_requested).some(
    (target) => target.model === model && (target.backend === backend || mayPass),
  );
}

const ICONS: Readonly<Record<Backend, string>> = {
  local: 'server-process',
  cloud: 'cloud',
  gateway: 'server',
};

/** Why a backend did not answer the last time. */
export function reasonOf({ breaker, error }: BackendStatus): FailureReason | undefined {
  return breaker.reason ?? (error && failureReason(error));
}

/** `cloud · gpt-oss:120b`; a local model goes without, where nobody doubts it. */
function place(backend: Backend, model: string, always = false): string {
  const name = backend === 'cloud' ? cloudBaseName(model) : model;
  return always || backend !== 'local' ? `${backend} · ${shortModel(name)}` : shortModel(name);
}

/** `hf.co/org/repo:Q4_K_M` is a long way to say `repo:Q4_K_M`. */
function shortModel(model: string): string {
  return model.slice(model.lastIndexOf('/') + 1);
}

function spoken(text: string): string {
  return `Ollama Intern: ${text.trim()}`;
}

/** `18 s`, `12 min` */
export function formatWait(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  return seconds <= 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}

/** What a person can do about it, or look at. */
export interface StatusLink {
  title: string;
  command: CommandId;
}

/** The paragraphs of the tooltip, each of some lines. */
export function detailsOf(input: StatusInput): string[][] {
  const { config, backends, running, latest, failure } = input;
  const told = new Set(
    [failure, ...backends.map(({ error }) => error)].map((e) => e && `${e.message} ${e.hint}`),
  );
  return [
    [
      ...[...told].filter((text) => text !== undefined),
      ...config.problems.map(({ message }) => message),
    ],
    running.map(({ job, phase }) => `${jobTitle(job)}: ${phase ? phaseText(phase) : 'starting'}`),
    latest ? latestLines(latest) : [],
    [...backends.map(backendLine), promptsGo(config)],
    [
      `Profile ${config.profile}: ${GENERATIVE_TIERS.map((t) => `${t} ${config.tiers[t].model}`).join(', ')}`,
    ],
  ].filter((lines) => lines.length > 0);
}

function latestLines(latest: Envelope): string[] {
  const { degrade_reason, backend } = latest;
  return [
    `Last call: ${jobTitle(latest.job)}, ${formatDuration(latest.elapsed_ms)}`,
    envelopeLine(latest),
    ...(degrade_reason ? [degradeSentence(degrade_reason, backend)] : []),
  ];
}

/** `cloud · https://ollama.com · paused: rate limited, next try in 18 s · 1 running, 2 waiting` */
function backendLine(status: BackendStatus): string {
  const { backend, host, running, waiting, key } = status;
  const calls = [running && `${running} running`, waiting && `${waiting} waiting`].filter(Boolean);
  // One that is in no secret storage and in no setting: people forget that they have it.
  const from = key === 'environment' ? 'key of OLLAMA_API_KEY' : '';
  return [backend, hostLabel(host), from, stateText(status), calls.join(', ')]
    .filter(Boolean)
    .join(' · ');
}

function stateText(status: BackendStatus): string {
  const { state, retry_in_ms } = status.breaker;
  const reason = reasonOf(status);
  const why = reason ? `: ${reasonWords(reason)}` : '';
  switch (state) {
    case 'closed':
      return reason ? `last call failed${why}` : '';
    case 'open':
      return `paused${why}, next try in ${formatWait(retry_in_ms ?? 0)}`;
    case 'half_open':
      return `paused${why}, the next call tries it`;
    case 'misconfigured':
      return status.key === 'none' ? 'not used: no key' : 'not used: key refused';
  }
}

/** Who answers while a backend is left alone; undefined: nobody, or it is not the one that should. */
export function standIn(backend: Backend, config: Config): Backend | undefined {
  for (const tier of GENERATIVE_TIERS) {
    const backends = routeOf(config, tier).map((target) => target.backend);
    const after = backends.slice(backends.indexOf(backend) + 1);
    const next = backends.includes(backend) && after.find((other) => other !== backend);
    if (next) return next;
  }
  return undefined;
}

/** `Ollama Cloud does not answer (rate limited). Meanwhile your own Ollama answers; next try in 20 s.` */
export function pausedText(status: BackendStatus, config: Config): string {
  const { backend, breaker } = status;
  const reason = reasonOf(status);
  const next = standIn(backend, config);
  return [
    `${BACKEND_NAMES[backend]} does not answer${reason ? ` (${reasonWords(reason)})` : ''}.`,
    next ? `Meanwhile ${nameOf(next)} answers;` : 'It is not asked;',
    `next try in ${formatWait(breaker.retry_in_ms ?? 0)}.`,
  ].join(' ');
}

/** `cloud: closed → open (rate limited), next try in 20 s` */
export function breakerLine(status: BackendStatus, before: BreakerStatus): string {
  const { backend, breaker } = status;
  const reason = reasonOf(status);
  return [
    `${backend}: ${before.state} → ${breaker.state}`,
    reason ? ` (${reasonWords(reason)})` : '',
    breaker.retry_in_ms ? `, next try in ${formatWait(breaker.retry_in_ms)}` : '',
  ].join('');
}

/** Where prompts go: the sentence that matters most to whoever asks. */
export function promptsGo(config: Config): string {
  const firsts = new Set<Backend>();
  const all = new Set<Backend>();
  for (const tier of GENERATIVE_TIERS) {
    routeOf(config, tier).forEach((target, index) => {
      const real = passedOn(target);
      all.add(real);
      if (index === 0) firsts.add(real);
    });
  }
  const hosts = awayHosts(config);
  const away = BACKENDS.filter((backend) => all.has(backend) && hosts[backend]);
  const names = (some: Backend[]): string => some.map((backend) => hosts[backend]).join(' and ');
  const at = away.filter((backend) => firsts.has(backend));
  const later = away.filter((backend) => !firsts.has(backend));
  if (away.length === 0) return 'Nothing leaves this machine.';
  return [
    ...(at.length > 0 ? [`Prompts go to ${names(at)}.`] : []),
    ...(later.length > 0 ? [`When a call fails, its prompt goes to ${names(later)}.`] : []),
  ].join(' ');
}

/** A local server passes a cloud model's prompts on. */
function passedOn({ backend, model }: Place): Backend {
  return backend === 'local' && isCloudName(model) ? 'cloud' : backend;
}

/** Hosts beyond this machine that prompts may go to; undefined: they do not. */
function awayHosts(config: Config): Record<Backend, string | undefined> {
  // Whatever would reach the cloud is refused while it is off.
  const isOff = config.cloud.mode === 'off';
  const isRefused = (host: string): boolean => isOff && isCloudHost(host);
  return {
    local: isLoopback(config.host) || isRefused(config.host) ? undefined : hostLabel(config.host),
    cloud: isOff ? undefined : hostLabel(config.cloud.host),
    gateway:
      config.gateway === undefined || isRefused(config.gateway)
        ? undefined
        : `the gateway ${hostLabel(config.gateway)}`,
  };
}

/**
 * `hermes3:8b (local); when that fails, gpt-oss:120b-cloud (cloud)`: what answers now, and what follows it somewhere
 * else that is not this machine.
 */
export function whereText(config: Config, tier: Tier, now: Place): string {
  const hosts = awayHosts(config);
  const named = (target: Place): string => {
    const isCloud = target.backend === 'local' && isCloudHost(config.host);
    return `${target.model} (${isCloud ? 'cloud' : passedOn(target)})`;
  };
  const route = routeOf(config, tier);
  const index = route.findIndex(
    ({ backend, model }) => backend === now.backend && model === now.model,
  );
  const isElsewhere = (target: Place): boolean => {
    const host = hosts[passedOn(target)];
    return host !== undefined && host !== hosts[passedOn(now)];
  };
  const later = route
    .slice(index + 1)
    .filter(isElsewhere)
    .map(named);
  return [named(now), ...(later.length > 0 ? [`when that fails, ${later.join(' or ')}`] : [])].join(
    '; ',
  );
}

/** The links of the tooltip: the cure first. */
export function linksOf({ config, backends }: StatusInput): StatusLink[] {
  const cloud = backends.find(({ backend }) => backend === 'cloud');
  return [
    ...(cloud ? cloudLinks(cloud) : []),
    { title: 'Dashboard', command: COMMANDS.showDashboard },
    { title: 'Select Profile', command: COMMANDS.selectProfile },
    { title: 'Show Log', command: COMMANDS.showLog },
    { title: 'Settings', command: COMMANDS.openSettings },
    config.cloud.mode === 'off'
      ? { title: 'Enable Cloud', command: COMMANDS.enableCloud }
      : { title: 'Disable Cloud', command: COMMANDS.disableCloud },
  ];
}

function cloudLinks({ breaker }: BackendStatus): StatusLink[] {
  const test = { title: 'Test Cloud', command: COMMANDS.testCloud };
  switch (breaker.state) {
    case 'misconfigured':
      return [{ title: 'Set Cloud Key', command: COMMANDS.setCloudKey }, test];
    case 'open':
      return [{ title: 'Retry Cloud Now', command: COMMANDS.retryCloud }, test];
    default:
      return [test];
  }
}

function jobTitle(job: string): string {
  return job in JOBS ? JOBS[job as keyof typeof JOBS].title : job;
}
