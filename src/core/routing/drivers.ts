import type { Backend } from '../audit/envelope';
import type { Clock } from '../clock';
import type { Config, TierConfig } from '../config';
import { InternError } from '../errors';
import { type ModelInfo, UNKNOWN_CAPABILITIES } from '../models/catalogue';
import { cloudBaseName, isCloudName } from '../ollama/names';
import type { OllamaClient } from '../ollama/client';
import type { AttemptListener, BackendAnswer, Prompted } from './call';
import { cloudHostError, isCloudHost } from './cloud';
import { type Embedded, isEmbedder, type LocalBackend, type Warmed } from './local';
import { type ChatClient, runRemotely } from './remote';
import { parseModelRef, refKey, type Target } from './route';
import type { GenerativeTier, Tier } from './tiers';

/** A target that may be used: its window, and the way to run a prompt on it. */
export interface Ready {
  /** Tokens, prompt and answer together. */
  numCtx: number;
  /** Nobody said how large the window is, and it cannot be set. */
  isGuess?: boolean;
  /** As /api/show spells them. Of a gateway's models nobody knows them: they have all, until it refuses. */
  capabilities: readonly string[];
  /** Where the model really runs: the local server may pass a call on to the cloud. */
  ranIn: Backend;
  run: (call: Prompted, listener: AttemptListener) => Promise<BackendAnswer>;
  /** Absent where vectors are never made. */
  embed?: (texts: string[], listener: AttemptListener) => Promise<Embedded>;
  /** Absent where a model's place in memory is somebody else's business. */
  warm?: (listener: AttemptListener) => Promise<Warmed>;
}

/** One kind of backend, as the router sees it. */
export interface Driver {
  readonly host: string;
  /** Checks that the target may be used at all. Rejects with an InternError. */
  ready(target: Target, config: Config, signal: AbortSignal | undefined): Promise<Ready>;
  /** A model that the server did not have after all, with the names that it has. */
  explainMissing(error: InternError): Promise<InternError>;
}

/** What a driver asks about models. */
export interface ModelSource {
  refresh(): void;
  info(model: string, signal?: AbortSignal): Promise<ModelInfo>;
  explainMissing(error: InternError): Promise<InternError>;
}

/** An Ollama server: on this machine, or another one of the person's. */
export class LocalDriver implements Driver {
  readonly #isCloud: boolean;

  constructor(
    private readonly client: OllamaClient,
    private readonly catalogue: ModelSource,
    private readonly local: LocalBackend,
    private readonly clock: Clock,
  ) {
    this.#isCloud = isCloudHost(client.baseUrl);
  }

  get host(): string {
    return this.client.baseUrl;
  }

  async ready(
    { model, tier }: Target,
    config: Config,
    signal: AbortSignal | undefined,
  ): Promise<Ready> {
    const mayLeave = config.cloud.mode !== 'off';
    if (!mayLeave && this.#isCloud) throw cloudHostError(this.host, 'host');
    // By its name first: even a question about a cloud model would be passed on to the cloud.
    if (!mayLeave && isCloudName(model)) throw leavesError(model);
    const info = await this.catalogue.info(model, signal);
    if (!mayLeave && info.remote) throw leavesError(model);
    if (tier === 'embed') canEmbed(info);
    else canWrite(info);
    if (this.#isCloud || info.remote || isCloudName(model)) {
      if (tier === 'embed') throw staysError(model);
      const wireModel = this.#isCloud ? cloudBaseName(model) : model;
      return remotely('cloud', this.client, this.clock, { model, wireModel, tier, info }, config);
    }
    const numCtx = localWindow(config, { model, tier }, info);
    const target = { model, numCtx, tier: config.tiers[tier], info, keepAlive: config.keepAlive };
    return {
      numCtx,
      capabilities: info.capabilities,
      ranIn: 'local',
      run: async (call, listener) => {
        const { budgetMs } = config.tiers[patience(tier, call)];
        const patient = { ...target, tier: { ...target.tier, budgetMs } };
        const ran = await this.local.run(call, patient, listener);
        // What is remembered of the model is no longer true.
        if (ran.answer.remote_host !== undefined) this.catalogue.refresh();
        return ran;
      },
      embed: (texts, listener) => this.local.embed(texts, target, listener),
      warm: (listener) => this.local.warm(target, listener),
    };
  }

  explainMissing(error: InternError): Promise<InternError> {
    return this.catalogue.explainMissing(error);
  }
}

/** A server that somebody else keeps: Ollama Cloud, or an OpenAI-compatible one. */
export class RemoteDriver implements Driver {
  constructor(
    private readonly backend: 'cloud' | 'gateway',
    private readonly client: ChatClient,
    private readonly catalogue: ModelSource,
    private readonly clock: Clock,
  ) {}

  get host(): string {
    return this.client.baseUrl;
  }

  async ready(
    { model, tier }: Target,
    config: Config,
    signal: AbortSignal | undefined,
  ): Promise<Ready> {
    const { backend, client, clock } = this;
    if (tier === 'embed') throw staysError(model);
    if (backend === 'gateway' && config.cloud.mode === 'off') {
      if (isCloudHost(this.host)) throw cloudHostError(this.host, 'gateway.host');
      if (isCloudName(model)) throw leavesError(model);
    }
    // The cloud itself knows its models without the suffix that a local server needs.
    const wireModel = backend === 'cloud' ? cloudBaseName(model) : model;
    const info = await this.catalogue.info(wireModel, signal).catch((thrown: unknown) => {
      // A stand-in for the cloud may tell nothing about its models.
      if (isUnknownPage(thrown)) return unknownModel(wireModel);
      throw thrown;
    });
    canWrite(info);
    return remotely(backend, client, clock, { model, wireModel, tier, info }, config);
  }

  explainMissing(error: InternError): Promise<InternError> {
    return this.catalogue.explainMissing(error);
  }
}

/** Stands where no server is configured. */
export class NoDriver implements Driver {
  readonly host = '';

  constructor(private readonly error: () => InternError) {}

  ready(): Promise<Ready> {
    return Promise.reject(this.error());
  }

  explainMissing(error: InternError): Promise<InternError> {
    return Promise.resolve(error);
  }
}

function isUnknownPage(error: unknown): boolean {
  return (
    error instanceof InternError &&
    error.code !== 'model_missing' &&
    [404, 405, 501].includes(error.details.status ?? 0)
  );
}

function unknownModel(name: string): ModelInfo {
  return {
    name,
    capabilities: UNKNOWN_CAPABILITIES,
    contextLength: undefined,
    parameters: undefined,
    remote: true,
  };
}

function remotely(
  ranIn: Backend,
  client: ChatClient,
  clock: Clock,
  target: { model: string; wireModel: string; tier: GenerativeTier; info: ModelInfo },
  config: Config,
): Ready {
  const { model, wireModel, tier, info } = target;
  // A gateway takes no window with the request: its own is what it says, or what the tier has.
  const wanted = ranIn === 'gateway' ? config.tiers[tier].numCtx : config.cloud.numCtx;
  const numCtx =
    ranIn === 'gateway' && info.contextLength !== undefined
      ? info.contextLength
      : Math.min(wanted, info.contextLength ?? Infinity);
  return {
    numCtx,
    isGuess: ranIn === 'gateway' && info.contextLength === undefined,
    capabilities: info.capabilities,
    ranIn,
    run: (call, listener) => {
      const budgetTier = patience(tier, call);
      const remote = {
        model: wireModel,
        label: model,
        numCtx,
        tier: config.tiers[tier],
        info,
        budgetMs: config.cloud.budgetMs[budgetTier],
        budgetSetting: `ollamaIntern.cloud.budgets.${budgetTier}`,
      };
      return runRemotely(client, clock, call, remote, listener);
    },
  };
}

/**
 * The tier whose budget a call has. A server says nothing while a model writes the call of a tool, and a file that it
 * writes that way may take minutes: that silence is no sign of a failure.
 */
function patience<T extends Tier>(tier: T, { tools }: Prompted): T | 'deep' {
  return tools && tools.length > 0 ? 'deep' : tier;
}

/** The tier's window, no larger than the model was trained for. */
function localWindow(
  { tiers }: Config,
  { model, tier }: Pick<Target, 'model' | 'tier'>,
  info: ModelInfo,
): number {
  const key = refKey({ backend: 'local', model });
  const isOwn = (t: TierConfig): boolean => refKey(parseModelRef(t.model)) === key;
  // A model named by the caller shares the window of the tier that has it, or it would be reloaded.
  const own = Object.values(tiers).find(isOwn) ?? tiers[tier];
  return Math.min(own.numCtx, info.contextLength ?? Infinity);
}

function canEmbed({ name, capabilities }: ModelInfo): void {
  if (capabilities.includes('embedding')) return;
  throw new InternError({
    code: 'bad_input',
    message: `${name} is not an embedding model.`,
    hint: 'Set the embed model to one such as nomic-embed-text.',
    actions: [{ kind: 'open_setting', setting: 'ollamaIntern.tiers.embed' }],
    details: { model: name, capability: 'embedding' },
  });
}

function canWrite(info: ModelInfo): void {
  if (!isEmbedder(info)) return;
  const { name } = info;
  throw new InternError({
    code: 'bad_input',
    message: `${name} makes embeddings and cannot write.`,
    hint: 'Choose a text model for this tier.',
    actions: [{ kind: 'choose_profile' }],
    details: { model: name, capability: 'completion' },
  });
}

function leavesError(model: string): InternError {
  return new InternError({
    code: 'config',
    message: `${model} runs in the cloud, and nothing may leave this machine.`,
    hint: 'Choose a local model for this tier, or enable the cloud.',
    actions: [{ kind: 'choose_profile' }],
    details: { model },
  });
}

function staysError(model: string): InternError {
  return new InternError({
    code: 'config',
    message: `${model} runs elsewhere, and embeddings are made by your own Ollama.`,
    hint: 'Set the embed model to a local one such as nomic-embed-text.',
    actions: [{ kind: 'open_setting', setting: 'ollamaIntern.tiers.embed' }],
    details: { model },
  });
}
