import { hasScheme, hostLabel, parseHost } from '../address';
import type { Environment } from '../config';
import { InternError } from '../errors';
import { isPlausibleModelName } from '../ollama/names';
import { mayCarryToken } from '../ollama/tokens';
import { type ConfigProblem, credentialsProblems, positive, problem, text } from '../values';
import { GENERATIVE_TIERS, type GenerativeTier } from './tiers';

/** `off`: nothing goes there. `primary`: first the cloud. `fallback`: the cloud when this machine fails. */
export const CLOUD_MODES = ['off', 'primary', 'fallback'] as const;
export type CloudMode = (typeof CLOUD_MODES)[number];

export interface CloudSettings {
  mode?: string;
  host?: string;
  model?: string;
  deepModel?: string;
  contextWindow?: number;
  /** Seconds. */
  budgets?: Partial<Record<GenerativeTier, number>>;
}

export interface CloudConfig {
  mode: CloudMode;
  /** Base URL; https, or this machine for a stand-in. */
  host: string;
  models: Record<GenerativeTier, string>;
  /** The cloud bills by time: this caps what one call can cost. Tokens. */
  numCtx: number;
  /** Until the first byte of a streamed answer and between its tokens; for the whole of any other. */
  budgetMs: Record<GenerativeTier, number>;
}

export const CLOUD_HOST = 'https://ollama.com';
/** Source: the product's tables, as the next two. */
const DEFAULT_MODEL = 'minimax-m3:cloud';
const DEFAULT_CONTEXT_WINDOW = 32_768;
export const REMOTE_BUDGET_MS: Readonly<Record<GenerativeTier, number>> = {
  instant: 30_000,
  workhorse: 120_000,
  deep: 300_000,
};
const LEAST_CONTEXT = 256;
const MOST_CONTEXT = 1_048_576;

/** The cloud as settings and environment want it. What cannot be used turns the cloud off rather than elsewhere. */
export function resolveCloud(
  settings: CloudSettings = {},
  env: Environment,
  problems: ConfigProblem[],
): CloudConfig {
  const model = modelName('model', settings.model, env, 'INTERN_CLOUD_MODEL', problems);
  const deep = modelName('deepModel', settings.deepModel, env, 'INTERN_CLOUD_DEEP_MODEL', problems);
  const everyday = model ?? DEFAULT_MODEL;
  const wanted = chooseMode(settings, env, problems);
  // Whoever is asked for consent has to be told the address before.
  const host = chooseHost(settings, env, wanted === 'off' ? [] : problems);
  return {
    mode: host === undefined ? 'off' : wanted,
    host: host ?? CLOUD_HOST,
    models: { instant: everyday, workhorse: everyday, deep: deep ?? everyday },
    numCtx: contextWindow(settings, env, problems),
    budgetMs: Object.fromEntries(
      GENERATIVE_TIERS.map((tier) => [tier, budget(tier, settings, env, problems)]),
    ) as CloudConfig['budgetMs'],
  };
}

/** Whether an address is Ollama Cloud's own. */
export function isCloudHost(baseUrl: string): boolean {
  return /(?:^|\.)ollama\.com\.?$/i.test(new URL(baseUrl).hostname);
}

/** A server of the person's own that is Ollama Cloud itself. `setting`: of its address. */
export function cloudHostError(host: string, setting: 'host' | 'gateway.host'): InternError {
  return new InternError({
    code: 'config',
    message: `${hostLabel(host)} is Ollama Cloud, and nothing may leave this machine.`,
    hint: 'Set the address of your own server, or enable the cloud and set its key.',
    actions: [{ kind: 'open_setting', setting: `ollamaIntern.${setting}` }],
  });
}

/** Where the key of the environment belongs: to no other host. */
export function environmentKey(origin: string, env: Environment): string | undefined {
  const key = env['OLLAMA_API_KEY']?.trim();
  if (!key) return undefined;
  try {
    const host = cloudAddress(env['OLLAMA_CLOUD_HOST']?.trim() || CLOUD_HOST);
    return new URL(host).origin === origin ? key : undefined;
  } catch {
    return undefined;
  }
}

/** Base URL of a cloud; without a scheme it is https, for a key goes there. */
function cloudAddress(text: string): string {
  return parseHost(hasScheme(text) ? text : `https://${text}`);
}

const YES = /^(?:1|true|yes|on)$/i;

function chooseMode(
  settings: CloudSettings,
  env: Environment,
  problems: ConfigProblem[],
): CloudMode {
  const wanted = given(settings.mode);
  if (wanted === undefined) {
    return YES.test(env['OLLAMA_CLOUD_PRIMARY']?.trim() ?? '') ? 'primary' : 'off';
  }
  const mode = CLOUD_MODES.find((m) => m === wanted);
  if (!mode) {
    problems.push(
      problem(
        'cloud.mode',
        `${JSON.stringify(wanted)} is not a cloud mode: ${CLOUD_MODES.join(', ')}. It is off.`,
      ),
    );
  }
  return mode ?? 'off';
}

function chooseHost(
  settings: CloudSettings,
  env: Environment,
  problems: ConfigProblem[],
): string | undefined {
  const wanted = given(settings.host) ?? (env['OLLAMA_CLOUD_HOST']?.trim() || CLOUD_HOST);
  const off = (why: string): undefined => {
    problems.push(problem('cloud.host', `${why} The cloud stays off.`));
  };
  if (typeof wanted !== 'string') return off("The cloud's address is not text.");
  try {
    const host = cloudAddress(wanted);
    problems.push(...credentialsProblems('cloud.host', wanted, host, 'the command Set Cloud Key'));
    return mayCarryToken(host)
      ? host
      : off(`The cloud's address ${hostLabel(host)} is plain HTTP, where others can read the key.`);
  } catch (error) {
    return off(error instanceof InternError ? error.message : String(error));
  }
}

/** What somebody wrote, of whatever type; undefined: nothing. */
function given(value: unknown): unknown {
  return (typeof value === 'string' ? value.trim() || undefined : value) ?? undefined;
}

function modelName(
  setting: string,
  value: unknown,
  env: Environment,
  variable: string,
  problems: ConfigProblem[],
): string | undefined {
  const own = text(value)?.trim();
  const wanted = own || env[variable]?.trim();
  if (!wanted || isPlausibleModelName(wanted)) return wanted || undefined;
  const source = own ? `ollamaIntern.cloud.${setting}` : variable;
  problems.push(
    problem(
      `cloud.${setting}`,
      `${source} is "${wanted}", which is not a model name. It is ignored.`,
    ),
  );
  return undefined;
}

function contextWindow(
  settings: CloudSettings,
  env: Environment,
  problems: ConfigProblem[],
): number {
  const variable = env['INTERN_CLOUD_NUM_CTX']?.trim();
  const value = settings.contextWindow ?? (variable ? Number(variable) : undefined);
  if (value === undefined) return DEFAULT_CONTEXT_WINDOW;
  if (Number.isInteger(value) && value >= LEAST_CONTEXT && value <= MOST_CONTEXT) return value;
  const source =
    settings.contextWindow === undefined
      ? 'INTERN_CLOUD_NUM_CTX'
      : 'ollamaIntern.cloud.contextWindow';
  problems.push(
    problem(
      'cloud.contextWindow',
      `${source} must be a whole number from ${LEAST_CONTEXT} to ${MOST_CONTEXT}. ${DEFAULT_CONTEXT_WINDOW} is used.`,
    ),
  );
  return DEFAULT_CONTEXT_WINDOW;
}

function budget(
  tier: GenerativeTier,
  settings: CloudSettings,
  env: Environment,
  problems: ConfigProblem[],
): number {
  const setting = `cloud.budgets.${tier}`;
  const report = (what: string): void =>
    void problems.push(problem(setting, `${what} ${REMOTE_BUDGET_MS[tier] / 1000} s are used.`));
  const own = settings.budgets?.[tier] ?? undefined;
  if (positive(own)) return own * 1000;
  const name = `INTERN_CLOUD_TIMEOUT_${tier.toUpperCase()}_MS`;
  const variable = env[name]?.trim();
  if (own !== undefined) report(`ollamaIntern.${setting} must be a number of seconds.`);
  else if (positive(Number(variable))) return Number(variable);
  else if (variable) report(`${name} must be a number of milliseconds.`);
  return REMOTE_BUDGET_MS[tier];
}
