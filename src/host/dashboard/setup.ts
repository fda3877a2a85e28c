import * as vscode from 'vscode';
import {
  availableProfiles,
  type Config,
  GENERATIVE_TIERS,
  hostLabel,
  type Intern,
  isCloudName,
  isPlausibleModelName,
  parseModelRef,
  resolveConfig,
  type Settings,
  TIERS,
  toInternError,
} from '../../core';
import {
  COMMANDS as WANTED,
  type Doing,
  EVENTS,
  REQUESTS,
  type Setup,
  type WritableSetting,
} from '../../shared/dashboard';
import type { Receiver, Wire } from '../../shared/ipc';
import { errorText } from '../actions';
import { COMMANDS, CONFIG_SECTION, EXTENSION_ID } from '../ids';
import type { Notifications } from '../notifications';
import { adopted, readSettings } from '../settings';
import { within } from '../within';
import type { MemoryWatch } from './memory';
import type { ModelWork } from './work';

export interface SetupParts {
  intern: Intern;
  notifications: Pick<Notifications, 'quietly'>;
  memory: Pick<MemoryWatch, 'stir'>;
  work: Pick<ModelWork, 'do'>;
  /** To the page. */
  post: (reply: Wire) => void;
}

/** A server that is stuck must not keep the rest from being shown. */
const INSTALLED_WITHIN_MS = 2_000;

/** Answers what the set-up asks of the extension, and what the residency asks of the models. */
export function answerSetup(receiver: Receiver, parts: SetupParts): Receiver {
  const { intern, notifications, memory, work, post } = parts;
  const { models } = intern;
  const change = (model: string, doing: Doing, act: () => Promise<void>): void =>
    void work.do(model, doing, () =>
      inWords(async () => {
        try {
          await act();
        } finally {
          await memory.stir();
        }
      }),
    );
  return receiver
    .answer(REQUESTS.setup, post, () => readSetup(intern, () => post(EVENTS.setupChanged.with({}))))
    .answer(REQUESTS.setSetting, post, async ({ setting, value }) => {
      await writeSetting(intern, setting, value);
      return {};
    })
    .answer(REQUESTS.test, post, ({ backend }) =>
      inWords(async () => {
        const start = performance.now();
        await notifications.quietly(backend, () => intern.test(backend));
        return { took_ms: performance.now() - start };
      }),
    )
    .on(WANTED.loadModel, ({ model }) => change(model, 'loading', () => models.load(model)))
    .on(WANTED.keepModel, ({ model }) => change(model, 'keeping', () => models.keep(model)))
    .on(WANTED.unloadModel, ({ model }) => change(model, 'unloading', () => models.unload(model)))
    .on(
      WANTED.pullModel,
      ({ model }) =>
        void work.do(model, 'pulling', async () => {
          if (!isPlausibleModelName(model)) throw notAModel(model);
          await vscode.commands.executeCommand(COMMANDS.pullModel, model);
        }),
    );
}

/** What is in force and what was set. Holds no secret. `onInstalled`: what is missing in it for now is known. */
export async function readSetup(intern: Intern, onInstalled = () => {}): Promise<Setup> {
  const { config } = intern;
  const settings = readSettings();
  const unset = withoutOwn(settings);
  const { profile, cloud } = config;
  const isOut = cloud.mode !== 'off' || config.gateway !== undefined;
  const [key, installed] = await Promise.all([
    intern.cloudKey(),
    within(INSTALLED_WITHIN_MS, intern.models.installed(), onInstalled),
  ]);
  return {
    profile: {
      value: profile,
      set: textOf(settings.profile),
      unset: resolved({ ...settings, profile: undefined }).profile,
    },
    profiles: Object.entries(availableProfiles(settings).profiles).map(([name, { label }]) => ({
      name,
      label,
    })),
    tiers: TIERS.map((tier) => {
      const { model, numCtx, budgetMs } = config.tiers[tier];
      const { backend: ref, model: name } = parseModelRef(model);
      const backend = ref === 'local' && isCloudName(name) ? 'cloud' : ref;
      const writes = GENERATIVE_TIERS.find((one) => one === tier);
      return {
        tier,
        model: {
          value: model,
          set: textOf(settings.tiers?.[tier]),
          unset: unset.tiers[tier].model,
        },
        backend,
        name,
        num_ctx: backend === 'cloud' ? cloud.numCtx : numCtx,
        budget: {
          value: budgetMs / 1000,
          set: numberOf(settings.budgets?.[tier]),
          unset: unset.tiers[tier].budgetMs / 1000,
        },
        ...(writes &&
          isOut && {
            cloud_budget: {
              value: cloud.budgetMs[writes] / 1000,
              set: numberOf(settings.cloud?.budgets?.[writes]),
              unset: unset.cloud.budgetMs[writes] / 1000,
            },
          }),
        ...(writes && cloud.mode !== 'off' && { cloud_model: cloud.models[writes] }),
      };
    }),
    ...(installed && { installed }),
    cloud: { mode: cloud.mode, host: hostLabel(cloud.host), key },
    ...(config.gateway !== undefined && { gateway: hostLabel(config.gateway) }),
    host: hostLabel(config.host),
  };
}

/**
 * Writes a setting where the Settings UI would and waits until it counts; null: as if it had never been set. Rejects
 * with a sentence for the person, and then nothing was written.
 */
export async function writeSetting(
  intern: Intern,
  setting: WritableSetting,
  value: string | number | null,
): Promise<void> {
  const wanted = checked(setting, value);
  const inspect = () => vscode.workspace.getConfiguration(CONFIG_SECTION).inspect<unknown>(setting);
  const { Global, Workspace } = vscode.ConfigurationTarget;
  const at = (target: vscode.ConfigurationTarget): unknown =>
    target === Workspace ? inspect()?.workspaceValue : inspect()?.globalValue;
  // A workspace that has a value of its own would hide one that is written for the person.
  const isHidden = at(Workspace) !== undefined;
  const targets = wanted === undefined ? [Workspace, Global] : [isHidden ? Workspace : Global];
  for (const target of targets) {
    if (at(target) === wanted) continue;
    await vscode.workspace.getConfiguration(CONFIG_SECTION).update(setting, wanted, target);
    await adopted(intern, () => at(target) === wanted);
  }
}

/** The value as it is written; undefined: none. */
function checked(
  setting: WritableSetting,
  value: string | number | null,
): string | number | undefined {
  const given = typeof value === 'string' ? value.trim() : value;
  if (given === null || given === '') return undefined;
  if (setting === 'profile') {
    const { profiles } = availableProfiles(readSettings());
    if (typeof given === 'string' && Object.hasOwn(profiles, given)) return given;
    const known = Object.keys(profiles).join(', ');
    throw new Error(vscode.l10n.t('There is no profile "{0}". Known: {1}.', String(given), known));
  }
  if (setting.startsWith('tiers.')) {
    if (typeof given === 'string' && isPlausibleModelName(given)) return given;
    throw notAModel(String(given));
  }
  const { minimum, maximum } = boundsOf(setting);
  if (typeof given === 'number' && given >= minimum && given <= maximum) return given;
  throw new Error(
    vscode.l10n.t('Write a number of seconds between {0} and {1}.', minimum, maximum),
  );
}

function notAModel(name: string): Error {
  return new Error(
    vscode.l10n.t('"{0}" is not a model name. Write one as Ollama does, such as qwen3:8b.', name),
  );
}

interface Section {
  properties: Record<string, { minimum?: number; maximum?: number }>;
}

/** The range that the Settings UI allows. */
function boundsOf(setting: WritableSetting): { minimum: number; maximum: number } {
  const manifest = vscode.extensions.getExtension(EXTENSION_ID)?.packageJSON as
    { contributes: { configuration: Section[] } } | undefined;
  const key = `${CONFIG_SECTION}.${setting}`;
  const found = manifest?.contributes.configuration.find(({ properties }) => key in properties);
  const { minimum = 0, maximum = Infinity } = found?.properties[key] ?? {};
  return { minimum, maximum };
}

/** What would be in force if neither a model nor a budget were set. */
function withoutOwn(settings: Settings): Config {
  return resolved({
    ...settings,
    tiers: {},
    budgets: {},
    cloud: { ...settings.cloud, budgets: {} },
  });
}

function resolved(settings: Settings): Config {
  return resolveConfig(settings, process.env);
}

/** Settings may be of any type: the editor passes on what was written. */
function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 ? value : undefined;
}

/** Whatever goes wrong, as a person should read it. */
async function inWords<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (thrown) {
    throw new Error(errorText(toInternError(thrown)), { cause: thrown });
  }
}
