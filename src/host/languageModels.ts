import * as vscode from 'vscode';
import {
  type Backend,
  type DescribeOptions,
  GENERATIVE_TIERS,
  type GenerativeTier,
  type Intern,
  type InternError,
  type Taker,
  toInternError,
} from '../core';
import { errorText } from './actions';
import { CONFIG_SECTION, MODEL_VENDOR, SETTINGS } from './ids';
import { Disposer } from './lifecycle';
import { promptsGo } from './status';
import { ThinkingPart, turnMessages, turnRequest } from './turns';
import { within } from './within';

/** A list that takes longer is shown with what is known, and again when the rest is. Milliseconds. */
const PATIENCE_MS = 2_000;
/** Whose time limits a model has that is no tier's. */
const PINNED_TIER: GenerativeTier = 'workhorse';
/** Where the latest list is kept from window to window. */
const LIST_KEY = 'languageModels';
/** Nothing but the answer itself shows where it is shown. */
const CUT = '[The answer reached its length limit and may end too early. Ask it to go on.]';
/** What VS Code calls the figures of an answer among its parts. */
const USAGE = 'usage';

/** A model of the picker: a tier, or one that is installed. */
interface Choice {
  tier: GenerativeTier;
  /** `local/NAME`: it runs there and nowhere else. */
  model?: string;
}

/**
 * The tiers, and if the person wants it the installed models, as language models of the editor. The picker shows only
 * what was announced, so they are at the start; but nobody is asked then: the list is the latest one, or what is set.
 */
export class LanguageModels implements vscode.LanguageModelChatProvider, vscode.Disposable {
  readonly #changed: vscode.EventEmitter<void>;
  readonly #disposer = new Disposer();
  readonly onDidChangeLanguageModelChatInformation: vscode.Event<void>;
  /** The list that was announced is out: from now on servers are asked. */
  #mayAsk = false;
  /** What the list was made from. */
  #listed: string | undefined;
  /** Nobody answered when the list was made. */
  #isGuess = false;

  constructor(
    private readonly intern: Intern,
    private readonly memento: vscode.Memento,
  ) {
    this.#changed = this.#disposer.own(new vscode.EventEmitter<void>());
    this.onDidChangeLanguageModelChatInformation = this.#changed.event;
    this.#disposer.own(
      intern.listen({
        onConfig: () => this.#announce(),
        onModels: () => this.#refresh(),
        // Where a tier goes follows the breakers.
        onBackend: ({ breaker }, before) => breaker.state !== before.state && this.#refresh(),
        onEnvelope: () => this.#isGuess && this.#refresh(),
      }),
    );
    this.#disposer.own(vscode.lm.registerLanguageModelChatProvider(MODEL_VENDOR, this));
    this.#changed.fire();
  }

  dispose(): void {
    this.#disposer.dispose();
  }

  /** Never asks the person anything, so `silent` makes no difference. */
  async provideLanguageModelChatInformation(): Promise<vscode.LanguageModelChatInformation[]> {
    const key = this.#key();
    this.#listed = key;
    if (!this.#mayAsk) {
      this.#mayAsk = true;
      this.#isGuess = true;
      return this.#latest() ?? this.#tiers({ ask: false });
    }
    this.#isGuess = false;
    const lists = await Promise.all([this.#tiers(), this.#installed()]);
    const list = lists.flat();
    if (!this.#isGuess) void this.memento.update(LIST_KEY, { key, list });
    return list;
  }

  async provideLanguageModelChatResponse(
    { id }: vscode.LanguageModelChatInformation,
    messages: readonly vscode.LanguageModelChatRequestMessage[],
    options: vscode.ProvideLanguageModelChatResponseOptions,
    progress: vscode.Progress<vscode.LanguageModelResponsePart>,
    token: vscode.CancellationToken,
  ): Promise<void> {
    const { tier, model } = choiceOf(id);
    const stop = new AbortController();
    const listener = token.onCancellationRequested(() => stop.abort());
    if (token.isCancellationRequested) stop.abort();
    const Thinking = ThinkingPart;
    try {
      // Titles and the like are wanted at once.
      const request = { think: tier !== 'instant', ...turnRequest(messages, options) };
      const { result, ...envelope } = await this.intern.converse(tier, request, {
        ...(model && { model }),
        surface: 'language_model',
        signal: stop.signal,
        onDelta: (text) => progress.report(new vscode.LanguageModelTextPart(text)),
        ...(Thinking && { onThinking: (text: string) => progress.report(new Thinking(text)) }),
      });
      // Titles are short, and show as they are.
      const isCut = envelope.done_reason === 'length' && result.tool_calls.length === 0;
      if (isCut && tier !== 'instant') {
        progress.report(new vscode.LanguageModelTextPart(`\n\n${CUT}`));
      }
      for (const { id: callId, name, arguments: input } of result.tool_calls) {
        progress.report(new vscode.LanguageModelToolCallPart(callId, name, input));
      }
      const { tokens_in, tokens_out } = envelope;
      if (tokens_in !== undefined && tokens_out !== undefined) {
        progress.report(usagePart(tokens_in, tokens_out));
      }
    } catch (thrown) {
      throw modelError(toInternError(thrown));
    } finally {
      listener.dispose();
    }
  }

  provideTokenCount(
    { id }: vscode.LanguageModelChatInformation,
    content: string | vscode.LanguageModelChatRequestMessage,
  ): Promise<number> {
    const { tier, model } = choiceOf(id);
    const parts = typeof content === 'string' ? [content] : turnMessages(content);
    const counts = parts.map((part) => this.intern.countTokens(tier, part, model));
    return Promise.resolve(counts.reduce((sum, count) => sum + count, 0));
  }

  /** Other settings are like another start: nobody is asked because of them, but about the installed models. */
  #announce(): void {
    if (this.#listed === undefined || this.#listed === this.#key()) return;
    this.#mayAsk = wantsInstalled();
    this.#changed.fire();
  }

  #refresh(): void {
    if (this.#mayAsk) this.#changed.fire();
  }

  /** The latest list that servers were asked about, as long as the same is set. */
  #latest(): vscode.LanguageModelChatInformation[] | undefined {
    const latest = this.memento.get<{ key: string; list: vscode.LanguageModelChatInformation[] }>(
      LIST_KEY,
    );
    return latest?.key === this.#key() ? latest.list : undefined;
  }

  /** All that the list shows of the settings. */
  #key(): string {
    const { config } = this.intern;
    const { mode, models, numCtx } = config.cloud;
    const cloud = [mode, models, numCtx];
    return JSON.stringify([config.host, config.tiers, cloud, promptsGo(config), wantsInstalled()]);
  }

  #tiers(options: DescribeOptions = {}): Promise<vscode.LanguageModelChatInformation[]> {
    return Promise.all(GENERATIVE_TIERS.map((tier) => this.#tier(tier, options)));
  }

  async #tier(
    tier: GenerativeTier,
    options: DescribeOptions,
  ): Promise<vscode.LanguageModelChatInformation> {
    const taker = await this.#describe(tier, options);
    return {
      id: tier,
      name: `Intern · ${tier[0]?.toUpperCase()}${tier.slice(1)}`,
      ...described(taker),
      tooltip: taker.problem
        ? errorText(taker.problem)
        : `${TIER_TEXTS[tier]} ${promptsGo(this.intern.config)}`,
    };
  }

  async #installed(): Promise<vscode.LanguageModelChatInformation[]> {
    if (!wantsInstalled()) return [];
    const models = await within(PATIENCE_MS, this.intern.models.installed(), () => this.#refresh());
    if (!models) {
      // One that did not answer in time has not lost its models.
      this.#isGuess = true;
      return this.#latest()?.filter(({ id }) => choiceOf(id).model !== undefined) ?? [];
    }
    const infos = await Promise.all(
      models.map(async ({ name }) => {
        const model = `local/${name}`;
        const taker = await this.#describe(PINNED_TIER, { model });
        // What only embeds, or may not be asked while the cloud is off, is no model to talk to.
        if (taker.problem) return [];
        return { id: model, name, ...described(taker), tooltip: INSTALLED_TEXTS[taker.backend] };
      }),
    );
    return infos.flat();
  }

  /** Within the time that a list may take; what takes longer is asked again for the next one. */
  async #describe(tier: GenerativeTier, options: DescribeOptions): Promise<Taker> {
    const taker = await this.intern.describe(tier, { ...options, signal: inTime() });
    const code = taker.problem?.code;
    this.#isGuess ||= code === 'unreachable' || code === 'timeout' || code === 'cancelled';
    if (code !== 'cancelled') return taker;
    void this.intern.describe(tier, options).then(({ problem }) => !problem && this.#refresh());
    // That it takes longer is no problem.
    return options.model ? taker : { ...taker, problem: undefined };
  }
}

function wantsInstalled(): boolean {
  const config = vscode.workspace.getConfiguration(CONFIG_SECTION);
  return config.get(SETTINGS.languageModelsInstalled, false);
}

function inTime(): AbortSignal {
  return AbortSignal.timeout(PATIENCE_MS);
}

const TIER_TEXTS: Readonly<Record<GenerativeTier, string>> = {
  instant: 'The instant tier: short answers, at once.',
  workhorse: 'The workhorse tier: drafts and everyday chat.',
  deep: 'The deep tier: long texts and hard questions.',
};

/** What the id of one of our models means. */
export function choiceOf(id: string): Choice {
  const tier = GENERATIVE_TIERS.find((one) => one === id);
  return tier ? { tier } : { tier: PINNED_TIER, model: id };
}

const INSTALLED_TEXTS: Readonly<Record<Backend, string>> = {
  local: 'Installed in Ollama. Prompts go to it and nowhere else.',
  cloud: 'Ollama has it run in the cloud: prompts leave this machine.',
  gateway: '',
};

function described({ backend, model, numCtx, maxInput, maxOutput, capabilities }: Taker) {
  return {
    family: model.replace(/:[^/]*$/, ''),
    version: '1.0',
    detail: `${model} · ${backend} · ${windowText(numCtx)}`,
    maxInputTokens: maxInput,
    maxOutputTokens: maxOutput,
    capabilities: {
      toolCalling: capabilities.includes('tools'),
      imageInput: capabilities.includes('vision'),
    },
  };
}

/** `16K` */
function windowText(tokens: number): string {
  return tokens < 1024 ? String(tokens) : `${Math.round(tokens / 1024)}K`;
}

/** In the words of OpenAI, as the editor reads it. */
function usagePart(prompt_tokens: number, completion_tokens: number): vscode.LanguageModelDataPart {
  const total_tokens = prompt_tokens + completion_tokens;
  const usage = { prompt_tokens, completion_tokens, total_tokens };
  return vscode.LanguageModelDataPart.json(usage, USAGE);
}

/** Chat shows the message alone, so it has the hint too. */
function modelError(error: InternError): Error {
  const text = errorText(error);
  if (error.code === 'cancelled') return new vscode.CancellationError();
  if (error.code === 'model_missing') return vscode.LanguageModelError.NotFound(text);
  if (error.code === 'auth_failed') return vscode.LanguageModelError.NoPermissions(text);
  if (error.details.usage_limit) return vscode.LanguageModelError.Blocked(text);
  return new Error(text, { cause: error });
}
