import { homedir } from 'node:os';
import { join } from 'node:path';
import type * as z from 'zod';
import { hasScheme, parseHost, shownAddress } from './address';
import { InternError } from './errors';
import { isPlausibleModelName, modelKey } from './ollama/names';
import type { NetworkConfig } from './ollama/network';
import { parseProxy, type Proxy, splitRules } from './ollama/proxy';
import { isHeaderValue, readHeaders } from './ollama/tokens';
import { type CloudConfig, type CloudSettings, resolveCloud } from './routing/cloud';
import {
  BUILTIN_PROFILES,
  DEFAULT_CONTEXT_WINDOW,
  DEFAULT_PROFILE,
  type GenerationOptions,
  generationOptionsSchema,
  type Profile,
  profileSchema,
} from './routing/profiles';
import { type ModelRef, parseModelRef, refKey } from './routing/route';
import { LOCAL_BUDGET_MS, type Tier, TIERS } from './routing/tiers';
import { type ConfigProblem, credentialsProblems, positive, problem, text } from './values';

/**
 * The settings that somebody set explicitly, named as in the editor (`ollamaIntern.` left out). Absent means: not set.
 * Precedence of every option: setting, environment variable, profile, default.
 */
export interface Settings {
  host?: string;
  profile?: string;
  profiles?: unknown;
  tiers?: Partial<Record<Tier, string>>;
  options?: GenerationOptions;
  tierOptions?: unknown;
  /** Seconds. */
  budgets?: Partial<Record<Tier, number>>;
  maxConcurrent?: number;
  keepAlive?: string;
  /** Tiers whose models are loaded at the start. */
  prewarm?: readonly string[];
  logPath?: string;
  network?: NetworkSettings;
  cloud?: CloudSettings;
  /** An OpenAI-compatible server. */
  gateway?: { host?: string };
  /** What follows when a model fails, by its name or `*`: lists of `backend/model`. */
  fallbacks?: unknown;
}

/** How the server is reached. Each may be of the wrong type: the editor passes on what was written. */
export interface NetworkSettings {
  /** `off`: no proxy, whoever names one. */
  proxySupport?: string;
  /** Wins over HTTPS_PROXY, HTTP_PROXY and ALL_PROXY. */
  proxy?: string;
  /** Hosts without a proxy, beside those of NO_PROXY: `host`, `.suffix`, `*.suffix`, `host:port`, `*`. */
  noProxy?: readonly string[];
  /** The value of `Proxy-Authorization`, instead of the credentials in the proxy's address. */
  proxyAuthorization?: string;
  /** Certificates of private authorities, in PEM form. */
  caFile?: string;
  /** Sent with every request to the server; `${token}` stands for its token. */
  headers?: Readonly<Record<string, string>>;
}

const DEFAULT_CONCURRENT = 2;

export type Environment = Readonly<Record<string, string | undefined>>;

export interface TierConfig {
  model: string;
  /** Shared by all tiers with the same model: a different one would reload it. Tokens. */
  numCtx: number;
  /** Only what was asked for explicitly: a job has its own defaults. */
  options: GenerationOptions;
  budgetMs: number;
}

export interface Config {
  /** Base URL of the local backend. */
  host: string;
  profile: string;
  tiers: Record<Tier, TierConfig>;
  maxConcurrent: number;
  keepAlive: number | string | undefined;
  prewarm: Tier[];
  cloud: CloudConfig;
  /** Base URL of the gateway; undefined: there is none. */
  gateway: string | undefined;
  /** By the key of a model, of one with its backend, or `*`. */
  fallbacks: ReadonlyMap<string, readonly ModelRef[]>;
  logPath: string;
  /** Things the person should know, such as a setting that was ignored. */
  problems: ConfigProblem[];
}

/** Where a person's own names for profiles come from. */
export function availableProfiles(settings: Settings): {
  profiles: Record<string, Profile>;
  problems: ConfigProblem[];
} {
  const profiles: Record<string, Profile> = { ...BUILTIN_PROFILES };
  const problems: ConfigProblem[] = [];
  for (const [name, value] of Object.entries(
    (settings.profiles ?? {}) as Record<string, unknown>,
  )) {
    const parsed = profileSchema.safeParse(value);
    if (parsed.success) profiles[name] = parsed.data;
    else
      problems.push(
        problem('profiles', `The profile "${name}" is ignored: ${issue(parsed.error)}.`),
      );
  }
  return { profiles, problems };
}

/** Everything the core works from. Never throws: what cannot be used is replaced and reported in `problems`. */
export function resolveConfig(settings: Settings, env: Environment): Config {
  const { profiles, problems } = availableProfiles(settings);
  const profileName = chooseProfile(settings, env, profiles, problems);
  const profile = profiles[profileName] as Profile;
  const tierOptions = readTierOptions(settings.tierOptions, problems);
  const tiers = {} as Record<Tier, TierConfig>;
  for (const tier of TIERS) {
    const options = {
      ...profile.options[tier],
      ...checkOptions(settings.options, 'options', problems),
      ...tierOptions[tier],
    };
    tiers[tier] = {
      model: chooseModel(tier, settings, env, profile, problems),
      numCtx: options.contextWindow ?? DEFAULT_CONTEXT_WINDOW,
      options,
      budgetMs: positive(settings.budgets?.[tier])
        ? settings.budgets[tier] * 1000
        : LOCAL_BUDGET_MS[tier],
    };
  }
  shareWindows(tiers);
  problems.push(...resolveNetwork(settings.network, env).problems);
  const cloud = resolveCloud(settings.cloud, env, problems);
  const gateway = chooseGateway(settings, problems);
  return {
    host: chooseHost(settings, env, problems),
    cloud,
    gateway,
    fallbacks: readFallbacks(settings.fallbacks, cloud, gateway, problems),
    profile: profileName,
    tiers,
    maxConcurrent: Number.isFinite(settings.maxConcurrent)
      ? Math.max(1, Math.floor(settings.maxConcurrent as number))
      : DEFAULT_CONCURRENT,
    keepAlive: readKeepAlive(settings.keepAlive, problems),
    prewarm: readPrewarm(settings.prewarm, problems),
    logPath: expandHome(
      text(settings.logPath) || env['INTERN_LOG_PATH'] || '~/.ollama-intern/log.ndjson',
    ),
    problems: uniqueProblems(problems),
  };
}

/** How the server is reached; apart from the config, because it holds secrets that no surface may show. */
export function resolveNetwork(
  settings: NetworkSettings = {},
  env: Environment,
): { network: NetworkConfig; problems: ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const report = (setting: string, message: string): void =>
    void problems.push({ setting, message });
  const authorization = text(settings.proxyAuthorization)?.trim() || undefined;
  const isSendable = authorization === undefined || isHeaderValue(authorization);
  if (!isSendable) {
    report('http.proxyAuthorization', 'The proxy authorization cannot be sent. It is ignored.');
  }
  // The address may hold a password, so it is not repeated.
  const proxy = (setting: string, address: string | undefined): Proxy | undefined => {
    if (!address?.trim()) return undefined;
    const parsed = parseProxy(address.trim(), isSendable ? authorization : undefined);
    if (!parsed) report(setting, `${setting} is not an address of an HTTP proxy. It is ignored.`);
    return parsed;
  };
  const fromSetting = proxy('http.proxy', text(settings.proxy));
  const fromEnv = (scheme: string): Proxy | undefined => {
    const name = [scheme, 'ALL_PROXY'].flatMap((n) => [n.toLowerCase(), n]).find((n) => env[n]);
    return name === undefined ? undefined : proxy(name, env[name]);
  };
  const listed: unknown = settings.noProxy;
  return {
    network: {
      http: fromSetting ?? fromEnv('HTTP_PROXY'),
      https: fromSetting ?? fromEnv('HTTPS_PROXY'),
      bypass: [
        ...(settings.proxySupport === 'off' ? ['*'] : []),
        ...(Array.isArray(listed) ? listed.flatMap((rule) => splitRules(text(rule))) : []),
        ...splitRules(env['no_proxy'] || env['NO_PROXY']),
      ],
      caFile: expandedFile(text(settings.caFile)),
      extraFile: env['NODE_EXTRA_CA_CERTS'] || undefined,
      headers: readHeaders(settings.headers, (message) =>
        report('ollamaIntern.network.headers', message),
      ),
    },
    problems,
  };
}

function expandedFile(path: string | undefined): string | undefined {
  return path?.trim() ? expandHome(path.trim()) : undefined;
}

/** Tiers that share a model get the largest of their windows, so that changing tier never reloads it. */
function shareWindows(tiers: Record<Tier, TierConfig>): void {
  const keyOf = ({ model }: TierConfig): string => refKey(parseModelRef(model));
  const largest = new Map<string, number>();
  for (const tier of Object.values(tiers)) {
    largest.set(keyOf(tier), Math.max(largest.get(keyOf(tier)) ?? 0, tier.numCtx));
  }
  for (const tier of Object.values(tiers)) tier.numCtx = largest.get(keyOf(tier)) ?? tier.numCtx;
}

function chooseProfile(
  settings: Settings,
  env: Environment,
  profiles: Record<string, Profile>,
  problems: ConfigProblem[],
): string {
  const wanted = text(settings.profile) || env['INTERN_PROFILE'] || DEFAULT_PROFILE;
  if (Object.hasOwn(profiles, wanted)) return wanted;
  const source = text(settings.profile) ? 'The setting' : 'INTERN_PROFILE';
  problems.push(
    problem(
      'profile',
      `${source} names the profile "${wanted}", which does not exist. ${DEFAULT_PROFILE} is used. Known: ${Object.keys(profiles).join(', ')}.`,
    ),
  );
  return DEFAULT_PROFILE;
}

const TIER_VARIABLES: Readonly<Record<Tier, string>> = {
  instant: 'INTERN_TIER_INSTANT',
  workhorse: 'INTERN_TIER_WORKHORSE',
  deep: 'INTERN_TIER_DEEP',
  embed: 'INTERN_EMBED_MODEL',
};

function chooseModel(
  tier: Tier,
  settings: Settings,
  env: Environment,
  profile: Profile,
  problems: ConfigProblem[],
): string {
  const fromSetting = text(settings.tiers?.[tier])?.trim();
  const wanted = fromSetting || env[TIER_VARIABLES[tier]]?.trim();
  if (!wanted) return profile.tiers[tier];
  if (isPlausibleModelName(wanted)) return wanted;
  const source = fromSetting ? `ollamaIntern.tiers.${tier}` : TIER_VARIABLES[tier];
  problems.push(
    problem(
      `tiers.${tier}`,
      `${source} is "${wanted}", which is not a model name. ${profile.tiers[tier]} is used.`,
    ),
  );
  return profile.tiers[tier];
}

function chooseHost(settings: Settings, env: Environment, problems: ConfigProblem[]): string {
  for (const host of [text(settings.host), env['OLLAMA_HOST']]) {
    if (!host?.trim()) continue;
    try {
      const address = parseHost(host);
      const instead = 'the command Set Server Token, or ollamaIntern.network.headers';
      problems.push(...credentialsProblems('host', host, address, instead));
      return address;
    } catch (error) {
      problems.push(
        problem(
          'host',
          error instanceof InternError ? `${error.message} ${error.hint}` : String(error),
        ),
      );
    }
  }
  return parseHost('');
}

function chooseGateway(settings: Settings, problems: ConfigProblem[]): string | undefined {
  const wanted = text(settings.gateway?.host)?.trim();
  if (!wanted) return undefined;
  try {
    // The port of Ollama is no port of a gateway: without one it is the scheme's own.
    const host = parseHost(hasScheme(wanted) ? wanted : `http://${wanted}`);
    const instead = 'the command Set Server Token';
    problems.push(...credentialsProblems('gateway.host', wanted, host, instead));
    return host;
  } catch {
    const message = `"${shownAddress(wanted)}" is not an address of a gateway. It is ignored.`;
    problems.push(problem('gateway.host', message));
    return undefined;
  }
}

/** Chains of fallbacks. What cannot be used is left out and said. */
function readFallbacks(
  value: unknown,
  cloud: CloudConfig,
  gateway: string | undefined,
  problems: ConfigProblem[],
): Map<string, ModelRef[]> {
  const chains = new Map<string, ModelRef[]>();
  const report = (message: string): void => void problems.push(problem('fallbacks', message));
  if (value === undefined || value === null) return chains;
  if (typeof value !== 'object' || Array.isArray(value)) {
    report('The fallback chains are not a list of models each with a list. They are ignored.');
    return chains;
  }
  for (const [model, chain] of Object.entries(value)) {
    if (!Array.isArray(chain) || !chain.every((n) => typeof n === 'string')) {
      report(`The fallback chain of "${model}" is not a list of names. It is ignored.`);
      continue;
    }
    const refs = chain.map((name) => ({ name, ...parseModelRef(name) }));
    const usable = refs.filter(({ name, backend, model: to }) => {
      const why = !isPlausibleModelName(to)
        ? 'is not a model name'
        : backend === 'cloud' && cloud.mode === 'off'
          ? 'is left out while the cloud is off'
          : backend === 'gateway' && gateway === undefined
            ? 'is left out: no gateway is set (ollamaIntern.gateway.host)'
            : undefined;
      if (why) report(`In the fallback chain of "${model}", "${name}" ${why}.`);
      return why === undefined;
    });
    const own = parseModelRef(model);
    chains.set(
      model === '*' ? '*' : own.isQualified ? refKey(own) : modelKey(model),
      usable.map(({ backend, model: to }) => ({ backend, model: to })),
    );
  }
  return chains;
}

function checkOptions(
  value: unknown,
  setting: string,
  problems: ConfigProblem[],
): GenerationOptions {
  if (value === undefined || value === null) return {};
  const parsed = generationOptionsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  problems.push(problem(setting, `The generation options are ignored: ${issue(parsed.error)}.`));
  return {};
}

function readTierOptions(
  value: unknown,
  problems: ConfigProblem[],
): Partial<Record<Tier, GenerationOptions>> {
  if (typeof value !== 'object' || value === null) return {};
  const result: Partial<Record<Tier, GenerationOptions>> = {};
  for (const [name, options] of Object.entries(value)) {
    const tier = TIERS.find((t) => t === name);
    if (tier) result[tier] = checkOptions(options, 'tierOptions', problems);
    else
      problems.push(problem('tierOptions', `"${name}" is not a tier. Tiers: ${TIERS.join(', ')}.`));
  }
  return result;
}

function readPrewarm(value: unknown, problems: ConfigProblem[]): Tier[] {
  if (value === undefined || value === null) return [];
  const wanted: unknown[] = Array.isArray(value) ? value : [value];
  const unknown = wanted.filter((tier) => !TIERS.some((t) => t === tier));
  if (unknown.length > 0) {
    const named = unknown.map((tier) => JSON.stringify(tier)).join(', ');
    problems.push(problem('prewarm', `${named} is not a tier. Tiers: ${TIERS.join(', ')}.`));
  }
  return TIERS.filter((tier) => wanted.includes(tier));
}

/** Durations as Ollama reads them: one or more numbers with a unit. */
const DURATION = /^-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/;

/** Ollama takes seconds as a number and durations as text; a bare number in text would be refused. */
function readKeepAlive(value: unknown, problems: ConfigProblem[]): number | string | undefined {
  const trimmed = text(typeof value === 'number' ? String(value) : value)?.trim();
  if (!trimmed) return undefined;
  const seconds = Number(trimmed);
  if (Number.isFinite(seconds)) return seconds;
  if (DURATION.test(trimmed)) return trimmed;
  problems.push(
    problem(
      'keepAlive',
      `"${trimmed}" is not a duration; write it like 5m, 1.5h, 300 or -1. The server decides.`,
    ),
  );
  return undefined;
}

export function expandHome(path: string): string {
  return path === '~' || /^~[/\\]/.test(path) ? join(homedir(), path.slice(1)) : path;
}

function issue(error: z.ZodError): string {
  const first = error.issues[0];
  if (!first) return 'not valid';
  const what = first.message
    .replace(/^Invalid input: .*received undefined$/, 'is missing')
    .replace(/^Invalid input: /, '');
  return `${first.path.join('.') || 'value'}: ${what}`;
}

/** The same mistake in every tier is one problem. */
function uniqueProblems(problems: ConfigProblem[]): ConfigProblem[] {
  return [...new Map(problems.map((p) => [p.message, p])).values()];
}
