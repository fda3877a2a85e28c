import type { Backend } from '../audit/envelope';
import { type ErrorAction, type ErrorCode, InternError, type InternErrorInit } from '../errors';
import { hostLabel, isLoopback } from '../address';
import { mayCarryToken } from './tokens';

/** Where a failure happened; words the message. */
export interface WireContext {
  baseUrl: string;
  model?: string | undefined;
  /** The proxy on the way, without credentials. */
  proxy?: string | undefined;
  /** What the server is to the product. Default: `local`. */
  backend?: Backend;
}

interface Reading {
  text: string;
  /** OpenAI's `code`, where it is a word. */
  code?: string | undefined;
  promptTokens?: number | undefined;
  numCtx?: number | undefined;
}

/** How messages speak of a server, by what it is to the product. */
interface Voice {
  /** The software, at the beginning of a sentence. */
  product: string;
  /** The machine, at the beginning of a sentence and within one. */
  server: string;
  peer: string;
  unreached: string;
  /** What it has to be, and to speak. */
  kind: string;
  api: string;
  /** Where its address is set. */
  setting: string;
  /** What to do when it failed by itself. */
  again: string;
  stillThere: string;
  chooseModel: ErrorAction[];
}

function voice({ baseUrl, backend = 'local' }: WireContext): Voice {
  const host = hostLabel(baseUrl);
  switch (backend) {
    case 'local':
      return {
        product: 'Ollama',
        server: `The server at ${host}`,
        peer: host,
        unreached: `Ollama cannot be reached at ${host}`,
        kind: 'Ollama',
        api: "Ollama's API",
        setting: 'ollamaIntern.host',
        again: 'Try again; if it happens again, look at the Ollama server log.',
        stillThere: 'Check that Ollama is still running, then try again.',
        chooseModel: [{ kind: 'choose_profile' }],
      };
    case 'cloud':
      return {
        product: 'Ollama Cloud',
        server: 'Ollama Cloud',
        peer: 'Ollama Cloud',
        unreached: 'Ollama Cloud cannot be reached',
        kind: 'Ollama',
        api: "Ollama's API",
        setting: 'ollamaIntern.cloud.host',
        again: 'Try again; if it happens again, wait until Ollama Cloud has recovered.',
        stillThere: 'Check the network, then try again.',
        chooseModel: [{ kind: 'open_setting', setting: 'ollamaIntern.cloud.model' }],
      };
    case 'gateway':
      return {
        product: `The gateway at ${host}`,
        server: `The gateway at ${host}`,
        peer: `the gateway at ${host}`,
        unreached: `The gateway at ${host} cannot be reached`,
        kind: 'an OpenAI-compatible server',
        api: "OpenAI's API",
        setting: 'ollamaIntern.gateway.host',
        again: 'Try again; if it happens again, look at the log of the gateway.',
        stillThere: 'Check that the gateway is still running, then try again.',
        chooseModel: [],
      };
  }
}

/** What messages call the software that answers, at the beginning of a sentence. */
export function productName(context: WireContext): string {
  return voice(context).product;
}

/**
 * Ollama's error texts are its only error codes. Each row: a pattern of the text (sources: the server's own strings,
 * v0.33, and those of OpenAI-compatible servers), and what it means for a person. The first match wins; a status
 * decides when no text does.
 */
interface Rule {
  pattern: RegExp;
  code: ErrorCode;
  message: (match: RegExpMatchArray, context: WireContext) => string;
  hint: string;
  /** The hint where the server is not the person's own. */
  elsewhere?: string;
  retryable?: boolean;
  capability?: string;
  actions?: (context: WireContext) => ErrorAction[];
}

const model = (context: WireContext): string => context.model ?? 'the model';
const isOwn = (context: WireContext): boolean => (context.backend ?? 'local') === 'local';
const chooseModel = (context: WireContext): ErrorAction[] => voice(context).chooseModel;

/** What only the person's own server can be given. */
function ifOwn(action: ErrorAction): (context: WireContext) => ErrorAction[] {
  return (context) => (isOwn(context) ? [action] : []);
}

const ownWindow = ifOwn({
  kind: 'open_setting',
  setting: 'ollamaIntern.options.contextWindow',
});

/** A schema that the server can make no grammar of; that is found out late, and told as a failure of the server. */
const NO_GRAMMAR = /JSON schema (?:in format|conversion failed)|parse grammar/i;

const RULES: readonly Rule[] = [
  {
    pattern: NO_GRAMMAR,
    code: 'bad_input',
    message: (_, c) => `${productName(c)} cannot hold an answer to this JSON schema.`,
    hint: 'Make the schema simpler: fewer references, alternatives and lengths. A newer Ollama may accept it as it is.',
    elsewhere: 'Make the schema simpler: fewer references, alternatives and lengths.',
  },
  {
    pattern:
      /exceeds the available context size|longer than the (?:context length|maximum model length)|input length exceeds|maximum context length|context size has been exceeded|greater than the context length|context the overflows/i,
    code: 'context_overflow',
    message: (_, c) => `The text does not fit the context window of ${model(c)}.`,
    hint: 'Select a shorter part, or give the tier a larger context window.',
    elsewhere: 'Select a shorter part, or choose a model with a larger context window.',
    actions: (c) => [{ kind: 'shorten' }, ...ownWindow(c)],
  },
  {
    // The list of the server's own detector.
    pattern:
      /out of (?:device )?memory|cudaMalloc failed|hipMalloc failed|failed to allocate|allocation failed|not enough memory|insufficient memory|vk_error_out_of_device_memory|erroroutofmemory|requires more system memory/i,
    code: 'out_of_memory',
    message: (_, c) => `There is not enough memory to load ${model(c)}.`,
    hint: 'Choose a profile with smaller models, lower the context window, or unload other models (ollama stop).',
    elsewhere: 'Choose a smaller model, or try again later.',
    actions: (c) => [...chooseModel(c), ...ownWindow(c)],
  },
  {
    pattern: /does not support (thinking|tools|insert|chat|generate|vision)/i,
    code: 'bad_input',
    message: (m, c) => `${model(c)} does not support ${m[1]?.toLowerCase() ?? 'this'}.`,
    hint: 'Choose a model with that capability for this tier.',
    actions: chooseModel,
  },
  {
    pattern: /image input is not supported|is not a multimodal model/i,
    code: 'bad_input',
    message: (_, c) => `${model(c)} cannot read images.`,
    hint: 'Choose a model with the vision capability.',
    capability: 'vision',
    actions: chooseModel,
  },
  {
    pattern: /requires? a subscription/i,
    code: 'auth_failed',
    message: (_, c) => `${model(c)} needs a subscription.`,
    hint: 'Choose another cloud model, or subscribe at ollama.com.',
    actions: chooseModel,
  },
  {
    pattern: /ollama cloud is disabled/i,
    code: 'config',
    message: (_, c) =>
      `${model(c)} runs in Ollama Cloud, and cloud models are disabled on this server.`,
    hint: 'Choose a local model, or enable cloud models in Ollama.',
    actions: () => [{ kind: 'choose_profile' }],
  },
  {
    pattern: /pull model manifest: (?:file does not exist|.*not found)/i,
    code: 'bad_input',
    message: (_, c) => `There is no model ${model(c)} in the library that Ollama pulls from.`,
    hint: 'Check the name; ollama.com/library lists them.',
  },
  {
    pattern: /pull model manifest|registry\.ollama\.ai.*(?:dial|lookup|timeout)/i,
    code: 'unreachable',
    message: () => 'Ollama could not reach the library that it pulls models from.',
    hint: 'Check the network of the machine that Ollama runs on, then try again.',
    retryable: true,
    actions: () => [{ kind: 'retry' }],
  },
  {
    pattern: /invalid model name|model is required|model '' not found/i,
    code: 'bad_input',
    message: (_, c) => `"${c.model ?? ''}" is not a model name.`,
    hint: 'Write the name as `ollama list` shows it, such as qwen3:8b.',
    elsewhere: 'Write the name as the server lists it.',
    actions: chooseModel,
  },
  {
    pattern: /^option "(\w+)" must be of type (\w+)/i,
    code: 'bad_input',
    message: (m) => `The option ${m[1] ?? ''} must be of type ${m[2] ?? ''}.`,
    hint: 'Correct the generation options in the settings.',
    actions: () => [{ kind: 'open_setting', setting: 'ollamaIntern.options' }],
  },
  {
    pattern: /invalid duration|missing unit in duration/i,
    code: 'bad_input',
    message: () => 'The keep-alive time is not a duration.',
    hint: 'Write it like 5m, 1.5h or -1 (forever).',
    actions: () => [{ kind: 'open_setting', setting: 'ollamaIntern.keepAlive' }],
  },
  {
    pattern:
      /invalid think value|invalid format|top_logprobs must be|illegal base64|cannot unmarshal|^unexpected EOF$|missing request body|invalid input type|NaN or Inf|find closing/i,
    code: 'bad_input',
    message: (_, c) => `${productName(c)} did not accept the request.`,
    hint: 'The server says why below; a newer Ollama may accept it.',
    elsewhere: 'The server says why below.',
  },
  {
    pattern: /This server does not support embeddings/i,
    code: 'bad_input',
    message: (_, c) => `${model(c)} is not an embedding model.`,
    hint: 'Set the embed model to one such as nomic-embed-text.',
    capability: 'embedding',
    actions: () => [{ kind: 'open_setting', setting: 'ollamaIntern.tiers.embed' }],
  },
  {
    pattern: /server busy|maximum pending requests/i,
    code: 'server',
    message: (_, c) =>
      `${productName(c)} is busy: too many requests are waiting for a model to load.`,
    hint: 'Wait for the other requests, then try again.',
    retryable: true,
    actions: () => [{ kind: 'retry' }],
  },
  {
    pattern: /timed out waiting for/i,
    code: 'timeout',
    message: (_, c) => `${productName(c)} gave up loading ${model(c)}.`,
    hint: 'Try again; if it keeps happening, choose a smaller model or raise OLLAMA_LOAD_TIMEOUT.',
    elsewhere: 'Try again; if it keeps happening, choose a smaller model.',
    retryable: true,
    actions: (c) => [{ kind: 'retry' }, ...chooseModel(c)],
  },
  {
    pattern: /model runner has unexpectedly stopped|error was encountered while running the model/i,
    code: 'server',
    message: (_, c) => `The process that runs ${model(c)} stopped.`,
    hint: 'Usually memory ran out. Try again; if it happens again, look at the Ollama server log.',
    elsewhere: 'Usually memory ran out. Try again, or choose a smaller model.',
    retryable: true,
    actions: () => [{ kind: 'retry' }],
  },
  {
    pattern: /error loading model|llama-server process has terminated|exceeds file size/i,
    code: 'server',
    message: (_, c) => `${productName(c)} could not load ${model(c)}.`,
    hint: 'Its file may be damaged or too new for this Ollama: pull the model again, or update Ollama.',
    elsewhere: 'Its file there may be damaged or too new. Choose another model.',
    actions: (c) =>
      isOwn(c) && c.model ? [{ kind: 'pull_model', model: c.model }] : chooseModel(c),
  },
];

/** The error for an HTTP status and its body, sent before any answer. */
export function httpError(
  status: number,
  body: string,
  context: WireContext,
  retryAfterMs?: number,
): InternError {
  const reading = readErrorBody(body);
  const { text } = reading;
  const details = {
    status,
    model: context.model,
    prompt_tokens: reading.promptTokens,
    num_ctx: reading.numCtx,
    retry_after_ms: retryAfterMs,
  };
  const base = { details, serverMessage: text || undefined };

  if (status === 407) return new InternError({ ...base, ...proxyWantsCredentials(context) });
  // Asked before the rules: these are answers of a model API that is known, whatever words it finds for them.
  const missing = missingModel(status, reading, context);
  if (missing) return new InternError({ ...base, ...missing });
  if (status === 401) return new InternError({ ...base, ...wantsKey(body, context) });
  if (status === 429) {
    const limited = tooMany(text, context, retryAfterMs);
    return new InternError({ ...limited, ...base, details: { ...details, ...limited.details } });
  }
  const byText = matchRule(text, context);
  if (byText)
    return new InternError({ ...byText, ...base, details: { ...details, ...byText.details } });

  return new InternError({ ...base, ...byStatus(status, context) });
}

/** The error for an `{"error"}` line inside a stream that had status 200. */
export function streamError(text: string, context: WireContext, partial: boolean): InternError {
  const body = JSON.stringify({ error: text });
  const details = { status: undefined, partial };
  const words = readErrorBody(body).text;
  if (USAGE_LIMIT.test(words)) return httpError(429, body, context).with({ details });
  const error = httpError(500, body, context);
  const known = matchRule(words, context);
  const isBadInput = error.code === 'bad_input' && !/^pull /.test(text) && !NO_GRAMMAR.test(words);
  if (known && !isBadInput) return error.with({ details });
  // The request was accepted: what fails now is the answer.
  return error.with({
    code: 'server',
    message: `${model(context)} failed while it was answering.`,
    hint: voice(context).again,
    retryable: true,
    actions: [{ kind: 'retry' }],
    details,
  });
}

/** The stream ended without `done`: what came is not the whole answer. */
export function incompleteError(context: WireContext, partial: boolean): InternError {
  return new InternError({
    code: 'server',
    message: `The answer of ${model(context)} broke off before its end.`,
    hint: 'What you see is incomplete. Try again.',
    retryable: true,
    actions: [{ kind: 'retry' }],
    details: { model: context.model, partial },
  });
}

/** Bytes that are not the server's protocol. */
export function protocolError(
  context: WireContext,
  partial: boolean,
  cause?: unknown,
): InternError {
  const { server, kind } = voice(context);
  return new InternError({
    code: 'server',
    message: `${server} did not answer like ${kind}.`,
    hint: `Check that the address is that of ${kind} and not a web page or a proxy in front of it.`,
    actions: addressActions(context),
    details: { model: context.model, partial },
    cause,
  });
}

/** The connection failed: nothing listens, no such name, TLS, or cut off in the middle. */
export function transportError(
  error: unknown,
  context: WireContext,
  partial: boolean,
): InternError {
  const code = errorCode(error);
  const { peer, unreached, stillThere } = voice(context);
  const startable = isOwn(context) && isLoopback(context.baseUrl);
  const start: ErrorAction[] = startable ? [{ kind: 'start_server' }] : [];
  const base = { details: { model: context.model, partial }, cause: error, retryable: true };
  if (partial || /SOCKET|ECONNRESET|EPIPE/.test(code)) {
    return new InternError({
      ...base,
      code: 'unreachable',
      message: partial
        ? `The connection to ${peer} was lost in the middle of the answer.`
        : `The connection to ${peer} was lost.`,
      hint: partial ? `What you see is incomplete. ${stillThere}` : stillThere,
      actions: [{ kind: 'retry' }, ...start],
    });
  }
  const refused = tunnelStatus(error);
  if (refused === 407) {
    const details = { ...base.details, status: refused };
    return new InternError({ ...base, ...proxyWantsCredentials(context), details });
  }
  if (context.proxy && (refused !== undefined || ON_THE_WAY.test(code))) {
    const why = refused === undefined ? reasonOf(code) : `it answered with status ${refused}`;
    return new InternError({
      ...base,
      code: 'unreachable',
      message: `${unreached} through the proxy ${context.proxy}: ${why}.`,
      hint: 'Check the proxy, or list the host in http.noProxy or NO_PROXY.',
      actions: [{ kind: 'retry' }, { kind: 'open_setting', setting: 'http.proxy' }],
    });
  }
  if (CERTIFICATE.test(code)) {
    return new InternError({
      ...base,
      code: 'unreachable',
      message: `${unreached}: ${reasonOf(code)}.`,
      hint: 'If a private authority signed the certificate, give its file in ollamaIntern.network.caFile.',
      actions: [
        { kind: 'open_setting', setting: 'ollamaIntern.network.caFile' },
        ...addressActions(context),
      ],
    });
  }
  return new InternError({
    ...base,
    code: 'unreachable',
    message: `${unreached}: ${reasonOf(code)}.`,
    hint: unreachableHint(context, startable),
    actions: [...start, { kind: 'retry' }, ...addressActions(context)],
  });
}

function unreachableHint({ backend }: WireContext, startable: boolean): string {
  if (startable) return 'Start Ollama, or set the address of the server that you use.';
  if (backend === 'cloud') return 'Check the network; a proxy or a firewall may be in the way.';
  return 'Check the address and that the server is running.';
}

/** Texts of LiteLLM, vLLM, llama.cpp, LM Studio, OpenAI and OpenRouter. */
const GATEWAY_LACKS =
  /\bmodel\b.{0,200}\b(?:not found|does not exist)|invalid model\b|not a valid model|no models? loaded|no endpoints found for/i;

/** Set when the server says that it has no such model, or has it for others only. */
function missingModel(
  status: number,
  { text, code }: Reading,
  context: WireContext,
): InternErrorInit | undefined {
  if (!context.model) return undefined;
  if (context.backend !== 'gateway') {
    const said = status === 404 && /^model .*not found/i.test(text);
    return said ? modelMissing(context.model, context) : undefined;
  }
  // The key is good, so that other models can be asked for.
  if ((status === 401 || status === 403) && /not allowed to access model/i.test(text)) {
    return {
      ...modelMissing(context.model, context),
      message: `The key for ${voice(context).peer} is not allowed to use ${context.model}.`,
    };
  }
  const said = code === 'model_not_found' || GATEWAY_LACKS.test(text);
  return said && (status === 404 || status === 400)
    ? modelMissing(context.model, context)
    : undefined;
}

/** A model that the server does not have; the catalogue adds the names of those that it has. */
function modelMissing(name: string, context: WireContext): InternErrorInit {
  const code = 'model_missing';
  const message = `${voice(context).server} has no model ${name}.`;
  switch (context.backend) {
    case 'cloud':
      return {
        code,
        message,
        hint: 'Choose another cloud model; ollama.com/search?c=cloud lists them.',
        actions: chooseModel(context),
      };
    case 'gateway':
      return { code, message, hint: 'Write the name as the gateway lists it.' };
    default:
      return {
        code,
        message: `The model ${name} is not installed on ${hostLabel(context.baseUrl)}.`,
        hint: `Pull it (ollama pull ${name}), or choose a profile with models that you have.`,
        actions: [{ kind: 'pull_model', model: name }, { kind: 'choose_profile' }],
      };
  }
}

function wantsKey(body: string, context: WireContext): InternErrorInit {
  const { server } = voice(context);
  if (context.backend === 'cloud') {
    return {
      code: 'auth_failed',
      message: `${server} wants a valid key.`,
      hint: 'Set a key of your account; ollama.com/settings/keys makes them.',
      actions: [{ kind: 'set_cloud_key' }],
    };
  }
  const url = signinUrl(body);
  return {
    code: 'auth_failed',
    message: isOwn(context) ? `${server} wants you to sign in.` : `${server} wants a valid key.`,
    hint: url ? 'Sign in, then try again.' : tokenHint(context),
    actions: url ? [{ kind: 'sign_in', url }] : tokenActions(context),
  };
}

/** Limits that waiting a moment does not lift. */
const USAGE_LIMIT = /usage limit|budget has been exceeded|exceeded your current quota/i;

function tooMany(
  text: string,
  context: WireContext,
  retryAfterMs: number | undefined,
): InternErrorInit {
  const { server } = voice(context);
  const isUsage = USAGE_LIMIT.test(text);
  const period = /\b(session|hourly|daily|weekly|monthly) usage limit/i.exec(text)?.[1];
  const wait = isUsage
    ? 'Wait until the limit is renewed, or choose another model.'
    : 'Wait a little, then try again.';
  return {
    code: 'server',
    message: isUsage
      ? `${server} says that your ${period ? `${period.toLowerCase()} ` : ''}usage limit is reached.`
      : `${server} allows no more requests for now: its rate limit is reached.`,
    hint: retryAfterMs ? `Try again in ${waitingTime(retryAfterMs)}.` : wait,
    retryable: true,
    actions: [{ kind: 'retry' }],
    details: isUsage ? { usage_limit: true } : {},
  };
}

/** Rounded up: nobody should try too early. */
function waitingTime(ms: number): string {
  if (ms <= 90_000) return `${Math.ceil(ms / 1000)} s`;
  const minutes = Math.ceil(ms / 60_000);
  return minutes <= 90 ? `${minutes} min` : `${Math.ceil(minutes / 60)} h`;
}

function addressActions(context: WireContext): ErrorAction[] {
  return [{ kind: 'open_setting', setting: voice(context).setting }];
}

function tokenActions({ baseUrl }: WireContext): ErrorAction[] {
  return mayCarryToken(baseUrl) ? [{ kind: 'set_token' }] : [];
}

function tokenHint({ baseUrl }: WireContext): string {
  return mayCarryToken(baseUrl)
    ? 'Set the token of this server, or check the one that is set.'
    : 'A token is sent over https only: set the https address of this server.';
}

function proxyWantsCredentials({ baseUrl, proxy }: WireContext): InternErrorInit {
  return {
    code: 'auth_failed',
    message: `The proxy ${proxy ?? `before ${hostLabel(baseUrl)}`} wants credentials, or other ones.`,
    hint: 'Write them into the address of the proxy, or set http.proxyAuthorization.',
    actions: [{ kind: 'open_setting', setting: 'http.proxyAuthorization' }],
    retryable: false,
  };
}

/** What a proxy answered when it was asked for a tunnel; undici tells it in words only. */
function tunnelStatus(error: unknown): number | undefined {
  const found = error instanceof Error && /Proxy response \((\d+)\)/.exec(error.message);
  return found ? Number(found[1]) : undefined;
}

/** Failures of the first connection, which is the one to the proxy when there is one. */
const ON_THE_WAY =
  /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|CONNECT_TIMEOUT|EHOSTUNREACH|ENETUNREACH/;
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO/;

function reasonOf(code: string): string {
  return REASONS.find(([pattern]) => pattern.test(code))?.[1] ?? `the connection failed (${code})`;
}

const REASONS: readonly [RegExp, string][] = [
  [/ECONNREFUSED/, 'nothing is listening there'],
  [/ENOTFOUND|EAI_AGAIN/, 'the host name is unknown'],
  [/ETIMEDOUT|CONNECT_TIMEOUT|EHOSTUNREACH|ENETUNREACH/, 'the host does not answer'],
  [/CERT_HAS_EXPIRED/, 'its certificate has expired and is not trusted'],
  [/ALTNAME/, 'its certificate is for another name and is not trusted'],
  [CERTIFICATE, 'its certificate is not trusted'],
  [/TLS|SSL|EPROTO/, 'no secure connection could be made'],
];

function matchRule(text: string, context: WireContext): InternErrorInit | undefined {
  for (const rule of RULES) {
    const match = text.match(rule.pattern);
    if (!match) continue;
    return {
      code: rule.code,
      message: rule.message(match, context),
      hint: isOwn(context) ? rule.hint : (rule.elsewhere ?? rule.hint),
      retryable: rule.retryable,
      actions: rule.actions?.(context),
      details: {
        capability:
          rule.capability ??
          (match[0].startsWith('does not support') ? capabilityOf(match[1]) : undefined),
      },
    };
  }
  return undefined;
}

/** As /api/show spells it. */
function capabilityOf(word: string | undefined): string | undefined {
  return word === 'chat' || word === 'generate' ? 'completion' : word;
}

function byStatus(status: number, context: WireContext): InternErrorInit {
  const { server, api, again } = voice(context);
  if (status === 403) {
    return {
      code: 'auth_failed',
      message: `${server} refused the request.`,
      hint: REFUSED_BECAUSE[context.backend ?? 'local'],
      actions:
        context.backend === 'cloud'
          ? [{ kind: 'set_cloud_key' }]
          : [...tokenActions(context), ...addressActions(context)],
    };
  }
  if (status === 404 || status === 405) {
    return {
      code: 'config',
      message: `${server} does not speak ${api}.`,
      hint: isOwn(context)
        ? 'Check the address; for Ollama it ends with the port, such as 127.0.0.1:11434.'
        : 'Check the address.',
      actions: addressActions(context),
    };
  }
  if (status >= 300 && status < 400) {
    return {
      code: 'unreachable',
      message: `${server} redirects elsewhere; redirects are not followed.`,
      hint: 'The network may want you to sign in first: open a web page to see. If the server has moved, set its new address.',
      retryable: true,
      actions: [{ kind: 'retry' }, ...addressActions(context)],
    };
  }
  if (status >= 500) {
    return {
      code: 'server',
      message: `${server} failed (status ${status}).`,
      hint: again,
      retryable: true,
      actions: [{ kind: 'retry' }],
    };
  }
  return {
    code: 'bad_input',
    message: `${server} did not accept the request (status ${status}).`,
    hint: 'The server says why below.',
  };
}

/** What may be behind a 403 without a reason. */
const REFUSED_BECAUSE: Record<Backend, string> = {
  local:
    'A missing token, a proxy, OLLAMA_ORIGINS or a subscription may be in the way; the server log says which.',
  cloud: 'The key may be without rights, or the model may need a subscription.',
  gateway: 'The key may be missing or without rights; the log of the gateway says why.',
};

/** What the server says in an error's body. */
function readErrorBody(body: string): Reading {
  const trimmed = body.trim();
  return (
    readError(parseObject(trimmed)) ?? {
      text: trimmed.startsWith('<') ? '' : trimmed.slice(0, 300),
    }
  );
}

/**
 * The text, wherever it is wrapped: Ollama's `error` string (with llama-server's own JSON inside it at times), OpenAI's
 * `error` object, LiteLLM's `message` that is an object again, FastAPI's `detail`, old vLLM's object without a wrapper.
 */
function readError(value: unknown): Reading | undefined {
  if (typeof value === 'string') return readError(parseObject(value)) ?? { text: value };
  if (Array.isArray(value)) return { text: value.map(complaint).join('; ') };
  for (const key of ['error', 'message', 'detail']) {
    const inner = field(value, key);
    const reading = inner === undefined || inner === null ? undefined : readError(inner);
    if (!reading) continue;
    const code = field(value, 'code');
    return {
      text: reading.text,
      code: reading.code ?? (typeof code === 'string' ? code : undefined),
      promptTokens: reading.promptTokens ?? numberField(value, 'n_prompt_tokens'),
      numCtx: reading.numCtx ?? numberField(value, 'n_ctx'),
    };
  }
  return undefined;
}

/** One of FastAPI's validation errors: where, and what. */
function complaint(value: unknown): string {
  const where = field(value, 'loc');
  const what = field(value, 'msg');
  return [Array.isArray(where) ? where.join('.') : '', typeof what === 'string' ? what : '']
    .filter(Boolean)
    .join(': ');
}

function signinUrl(body: string): string | undefined {
  const url = field(parseObject(body), 'signin_url');
  return typeof url === 'string' && url.startsWith('https://') ? url : undefined;
}

function parseObject(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

function numberField(value: unknown, key: string): number | undefined {
  const found = field(value, key);
  return typeof found === 'number' ? found : undefined;
}

function errorCode(error: unknown): string {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const { code } = e as NodeJS.ErrnoException;
    // The proxy's own certificate: its cause says what is wrong with it.
    if (code && !(code === 'UND_ERR_PRX_TLS' && e.cause)) return code;
    // Several addresses were tried (localhost as ::1 and 127.0.0.1): the first tells.
    if (e instanceof AggregateError && e.errors.length > 0) return errorCode(e.errors[0]);
  }
  return error instanceof Error ? error.name : 'unknown';
}
