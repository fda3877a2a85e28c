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
  promptTokens?: number;
  numCtx?: number;
}

/**
 * Ollama's error texts are its only error codes. Each row: a pattern of the text (sources: the server's own strings,
 * v0.33), and what it means for a person. The first match wins; a status decides when no text does.
 */
interface Rule {
  pattern: RegExp;
  code: ErrorCode;
  message: (match: RegExpMatchArray, context: WireContext) => string;
  hint: string;
  retryable?: boolean;
  capability?: string;
  actions?: (context: WireContext) => ErrorAction[];
}

const model = (context: WireContext): string => context.model ?? 'the model';

const RULES: readonly Rule[] = [
  {
    pattern:
      /exceeds the available context size|longer than the context length|input length exceeds/i,
    code: 'context_overflow',
    message: (_, c) => `The text does not fit the context window of ${model(c)}.`,
    hint: 'Select a shorter part, or give the tier a larger context window.',
    actions: () => [
      { kind: 'shorten' },
      { kind: 'open_setting', setting: 'ollamaIntern.options.contextWindow' },
    ],
  },
  {
    // The list of the server's own detector.
    pattern:
      /out of (?:device )?memory|cudaMalloc failed|hipMalloc failed|failed to allocate|allocation failed|not enough memory|insufficient memory|vk_error_out_of_device_memory|erroroutofmemory|requires more system memory/i,
    code: 'out_of_memory',
    message: (_, c) => `There is not enough memory to load ${model(c)}.`,
    hint: 'Choose a profile with smaller models, lower the context window, or unload other models (ollama stop).',
    actions: () => [
      { kind: 'choose_profile' },
      { kind: 'open_setting', setting: 'ollamaIntern.options.contextWindow' },
    ],
  },
  {
    pattern: /does not support (thinking|tools|insert|chat|generate|vision)/i,
    code: 'bad_input',
    message: (m, c) => `${model(c)} does not support ${m[1]?.toLowerCase() ?? 'this'}.`,
    hint: 'Choose a model with that capability for this tier.',
    actions: () => [{ kind: 'choose_profile' }],
  },
  {
    pattern: /image input is not supported/i,
    code: 'bad_input',
    message: (_, c) => `${model(c)} cannot read images.`,
    hint: 'Choose a model with the vision capability.',
    capability: 'vision',
    actions: () => [{ kind: 'choose_profile' }],
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
    actions: () => [{ kind: 'choose_profile' }],
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
    message: () => 'Ollama did not accept the request.',
    hint: 'The server says why below; a newer Ollama may accept it.',
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
    message: () => 'Ollama is busy: too many requests are waiting for a model to load.',
    hint: 'Wait for the other requests, then try again.',
    retryable: true,
    actions: () => [{ kind: 'retry' }],
  },
  {
    pattern: /timed out waiting for/i,
    code: 'timeout',
    message: (_, c) => `Ollama gave up loading ${model(c)}.`,
    hint: 'Try again; if it keeps happening, choose a smaller model or raise OLLAMA_LOAD_TIMEOUT.',
    retryable: true,
    actions: () => [{ kind: 'retry' }, { kind: 'choose_profile' }],
  },
  {
    pattern: /model runner has unexpectedly stopped|error was encountered while running the model/i,
    code: 'server',
    message: (_, c) => `The process that runs ${model(c)} stopped.`,
    hint: 'Usually memory ran out. Try again; if it happens again, look at the Ollama server log.',
    retryable: true,
    actions: () => [{ kind: 'retry' }],
  },
  {
    pattern: /error loading model|llama-server process has terminated|exceeds file size/i,
    code: 'server',
    message: (_, c) => `Ollama could not load ${model(c)}.`,
    hint: 'Its file may be damaged or too new for this Ollama: pull the model again, or update Ollama.',
    actions: (c) => (c.model ? [{ kind: 'pull_model', model: c.model }] : []),
  },
];

/** The error for an HTTP status and its body, sent before any answer. */
export function httpError(
  status: number,
  body: string,
  context: WireContext,
  retryAfterMs?: number,
): InternError {
  const { text, promptTokens, numCtx } = readErrorBody(body);
  const details = {
    status,
    model: context.model,
    prompt_tokens: promptTokens,
    num_ctx: numCtx,
    retry_after_ms: retryAfterMs,
  };
  const base = { details, serverMessage: text || undefined };

  if (status === 401) {
    const url = signinUrl(body);
    return new InternError({
      ...base,
      code: 'auth_failed',
      message: `The server at ${hostLabel(context.baseUrl)} wants you to sign in.`,
      hint: url ? 'Sign in, then try again.' : tokenHint(context),
      actions: url ? [{ kind: 'sign_in', url }] : tokenActions(context),
    });
  }
  if (status === 407) return new InternError({ ...base, ...proxyWantsCredentials(context) });
  // Asked before the rules: "model not found" is a 404 of a known model API, not a missing page.
  if (status === 404 && /^model .*not found/i.test(text) && context.model) {
    return new InternError({ ...base, ...modelMissing(context.model, context.baseUrl) });
  }
  const byText = matchRule(text, context);
  if (byText)
    return new InternError({ ...byText, ...base, details: { ...details, ...byText.details } });

  return new InternError({ ...base, ...byStatus(status, context) });
}

/** The error for an `{"error"}` line inside a stream that had status 200. */
export function streamError(text: string, context: WireContext, partial: boolean): InternError {
  const error = httpError(500, JSON.stringify({ error: text }), context);
  const details = { status: undefined, partial };
  const known = matchRule(readErrorBody(JSON.stringify({ error: text })).text, context);
  if (known && (error.code !== 'bad_input' || /^pull /.test(text))) return error.with({ details });
  // The request was accepted: what fails now is the answer.
  return error.with({
    code: 'server',
    message: `${model(context)} failed while it was answering.`,
    hint: 'Try again; if it happens again, look at the Ollama server log.',
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

/** Bytes that are not Ollama's protocol. */
export function protocolError(
  context: WireContext,
  partial: boolean,
  cause?: unknown,
): InternError {
  return new InternError({
    code: 'server',
    message: `The server at ${hostLabel(context.baseUrl)} did not answer like Ollama.`,
    hint: 'Check that the address is an Ollama server and not a web page or a proxy in front of it.',
    actions: [{ kind: 'open_setting', setting: 'ollamaIntern.host' }],
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
  const host = hostLabel(context.baseUrl);
  const local = isLoopback(context.baseUrl);
  const base = { details: { model: context.model, partial }, cause: error, retryable: true };
  if (partial || /SOCKET|ECONNRESET|EPIPE/.test(code)) {
    return new InternError({
      ...base,
      code: 'unreachable',
      message: partial
        ? `The connection to ${host} was lost in the middle of the answer.`
        : `The connection to ${host} was lost.`,
      hint: partial
        ? 'What you see is incomplete. Check that Ollama is still running, then try again.'
        : 'Check that Ollama is still running, then try again.',
      actions: [{ kind: 'retry' }, ...(local ? [{ kind: 'start_server' } as const] : [])],
    });
  }
  const refused = tunnelStatus(error);
  if (refused === 407) return new InternError({ ...base, ...proxyWantsCredentials(context) });
  if (context.proxy && (refused !== undefined || ON_THE_WAY.test(code))) {
    const why = refused === undefined ? reasonOf(code) : `it answered with status ${refused}`;
    return new InternError({
      ...base,
      code: 'unreachable',
      message: `Ollama cannot be reached at ${host} through the proxy ${context.proxy}: ${why}.`,
      hint: 'Check the proxy, or list the host in http.noProxy or NO_PROXY.',
      actions: [{ kind: 'retry' }, { kind: 'open_setting', setting: 'http.proxy' }],
    });
  }
  if (CERTIFICATE.test(code)) {
    return new InternError({
      ...base,
      code: 'unreachable',
      message: `Ollama cannot be reached at ${host}: ${reasonOf(code)}.`,
      hint: 'If a private authority signed the certificate, give its file in ollamaIntern.network.caFile.',
      actions: [
        { kind: 'open_setting', setting: 'ollamaIntern.network.caFile' },
        { kind: 'open_setting', setting: 'ollamaIntern.host' },
      ],
    });
  }
  return new InternError({
    ...base,
    code: 'unreachable',
    message: `Ollama cannot be reached at ${host}: ${reasonOf(code)}.`,
    hint: local
      ? 'Start Ollama, or set the address of the server that you use.'
      : 'Check the address and that the server is running.',
    actions: [
      ...(local ? [{ kind: 'start_server' } as const] : []),
      { kind: 'retry' },
      { kind: 'open_setting', setting: 'ollamaIntern.host' },
    ],
  });
}

/** A model that is not installed; the facade adds the names that are. */
export function modelMissing(name: string, baseUrl: string): InternErrorInit {
  return {
    code: 'model_missing',
    message: `The model ${name} is not installed on ${hostLabel(baseUrl)}.`,
    hint: `Pull it (ollama pull ${name}), or choose a profile with models that you have.`,
    actions: [{ kind: 'pull_model', model: name }, { kind: 'choose_profile' }],
  };
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
      hint: rule.hint,
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
  const host = hostLabel(context.baseUrl);
  if (status === 403) {
    return {
      code: 'auth_failed',
      message: `The server at ${host} refused the request.`,
      hint: 'A missing token, a proxy, OLLAMA_ORIGINS or a subscription may be in the way; the server log says which.',
      actions: [...tokenActions(context), { kind: 'open_setting', setting: 'ollamaIntern.host' }],
    };
  }
  if (status === 404 || status === 405) {
    return {
      code: 'config',
      message: `The server at ${host} does not speak Ollama's API.`,
      hint: 'Check the address; for Ollama it ends with the port, such as 127.0.0.1:11434.',
      actions: [{ kind: 'open_setting', setting: 'ollamaIntern.host' }],
    };
  }
  if (status === 429) {
    return {
      code: 'server',
      message: `The server at ${host} allows no more requests for now.`,
      hint: 'Wait a little, then try again.',
      retryable: true,
      actions: [{ kind: 'retry' }],
    };
  }
  if (status >= 300 && status < 400) {
    return {
      code: 'config',
      message: `The server at ${host} redirects elsewhere; redirects are not followed.`,
      hint: 'Set the address that it redirects to, if you trust it.',
      actions: [{ kind: 'open_setting', setting: 'ollamaIntern.host' }],
    };
  }
  if (status >= 500) {
    return {
      code: 'server',
      message: `The server at ${host} failed (status ${status}).`,
      hint: 'Try again; if it happens again, look at the Ollama server log.',
      retryable: true,
      actions: [{ kind: 'retry' }],
    };
  }
  return {
    code: 'bad_input',
    message: `The server at ${host} did not accept the request (status ${status}).`,
    hint: 'The server says why below.',
  };
}

/** The `error` string, unpacked again when llama-server's own JSON is inside it. */
function readErrorBody(body: string): Reading {
  const outer = field(parseObject(body), 'error');
  if (outer === undefined)
    return { text: body.trim().startsWith('<') ? '' : body.trim().slice(0, 300) };
  if (typeof outer !== 'string') {
    const message = field(outer, 'message');
    return { text: typeof message === 'string' ? message : '' };
  }
  const inner = field(parseObject(outer), 'error');
  if (inner === undefined) return { text: outer };
  const message = field(inner, 'message');
  return {
    text: typeof message === 'string' ? message : outer,
    promptTokens: numberField(inner, 'n_prompt_tokens'),
    numCtx: numberField(inner, 'n_ctx'),
  };
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
