/**
 * A simulated OpenAI-compatible server: the Ollama simulator's /v1 behind the manners of LiteLLM or vLLM. Its faults
 * are the Ollama simulator's, with those of event streams beside them.
 */
import type { Clock } from '../ollama/clock';
import type { Call } from '../ollama/daemon';
import type { Fault } from '../ollama/faults';
import { defineModel, type ModelDefinition } from '../ollama/models';
import { startOllama, type OllamaServer } from '../ollama/server';

export interface GatewayOptions {
  /** Default: one model. */
  models?: readonly (string | ModelDefinition)[];
  /** Without it everybody is let in. */
  key?: string;
  clock?: Clock;
  /** Whose error bodies and lists. Default: LiteLLM's. */
  manners?: Manners;
  /** Time for one token of the answer. */
  tokenMs?: number;
}

/** Everything here can be changed while the gateway runs. */
export interface GatewayServer extends OllamaServer {
  key: string | undefined;
  manners: Manners;
  /** Models that answer without being listed, as those of LiteLLM's wildcard routes. */
  readonly unlisted: Set<string>;
  /** Models that the key may not use. */
  readonly forbidden: Set<string>;
  /** False: there is no /v1/models. */
  hasList: boolean;
  /** True: a request with `stream_options` is refused, as by servers that do not know it. */
  refusesStreamOptions: boolean;
}

export type Manners = 'litellm' | 'vllm' | 'old-vllm';

export const GATEWAY_KEY = 'sk-gateway-key';
export const GATEWAY_MODEL = 'qwen-coder-vllm';

export async function startGateway(options: GatewayOptions = {}): Promise<GatewayServer> {
  const { models = [GATEWAY_MODEL], key, clock, manners = 'litellm', tokenMs } = options;
  const server = await startOllama({
    models: models.map((model) =>
      defineModel({
        capabilities: ['completion', 'tools'],
        ...(typeof model === 'string' ? { name: model } : model),
      }),
    ),
    // A gateway loads nothing while one waits, and answers many at once.
    numParallel: 64,
    maxLoadedModels: 1000,
    vram: Number.MAX_SAFE_INTEGER,
    clock,
    tokenMs,
    gate: (call) => gate(gateway, call),
  });
  const gateway: GatewayServer = Object.assign(server, {
    key,
    manners,
    unlisted: new Set<string>(),
    forbidden: new Set<string>(),
    hasList: true,
    refusesStreamOptions: false,
  });
  return gateway;
}

/** True when the request is answered already. */
async function gate(gateway: GatewayServer, call: Call): Promise<boolean> {
  const { path, method, headers, body } = call.request;
  const answer = async (status: number, value: object): Promise<true> => {
    await call.reply.json(status, value, 'application/json');
    return true;
  };
  if (gateway.key && headers.authorization !== `Bearer ${gateway.key}`) {
    return answer(401, unauthorized(gateway.manners));
  }
  if (path === '/v1/models' && method === 'GET' && gateway.hasList) {
    return answer(200, list(gateway));
  }
  if (path !== '/v1/chat/completions') return answer(404, { detail: 'Not Found' });
  if (gateway.refusesStreamOptions && body.stream_options) {
    return answer(400, streamOptionsRefused());
  }
  if (gateway.forbidden.has(body.model)) return answer(403, forbidden(gateway, body.model));
  if (call.daemon.models.find(body.model)) return false;
  return answer(gateway.manners === 'litellm' ? 400 : 404, missing(gateway.manners, body.model));
}

function names(gateway: GatewayServer): string[] {
  return [...gateway.models]
    .map(({ name }) => name.replace(/:latest$/, ''))
    .filter((name) => !gateway.unlisted.has(name));
}

function list(gateway: GatewayServer): object {
  const isVllm = gateway.manners !== 'litellm';
  const data = names(gateway).map((id) => ({
    id,
    object: 'model',
    created: 1_677_610_602,
    owned_by: isVllm ? 'vllm' : 'openai',
    ...(isVllm && {
      root: id,
      parent: null,
      max_model_len: gateway.models.find(id)?.contextLength,
      permission: [],
    }),
  }));
  return { data, object: 'list' };
}

function missing(manners: Manners, model: string): object {
  switch (manners) {
    case 'litellm': {
      const message = `/chat/completions: Invalid model name passed in model=${model}. Call \`/v1/models\` to view available models for your key.`;
      // An object where a text belongs.
      return {
        error: { message: { error: message }, type: 'None', param: 'None', code: '400' },
      };
    }
    case 'vllm': {
      const message = `The model \`${model}\` does not exist.`;
      return { error: { message, type: 'NotFoundError', param: 'model', code: 404 } };
    }
    case 'old-vllm': {
      const message = `The model \`${model}\` does not exist.`;
      return { object: 'error', message, type: 'NotFoundError', param: null, code: 404 };
    }
  }
}

function unauthorized(manners: Manners): object {
  if (manners !== 'litellm') return { error: 'Unauthorized' };
  const message =
    'Authentication Error, Invalid proxy server token passed. Received API Key = sk-...1234, Key Hash (Token) =0f00. Unable to find token in cache or `LiteLLM_VerificationTokenTable`';
  return { error: { message, type: 'token_not_found_in_db', param: 'key', code: '401' } };
}

function forbidden(gateway: GatewayServer, model: string): object {
  const allowed = names(gateway).filter((name) => !gateway.forbidden.has(name));
  const message = `key not allowed to access model. This key can only access models=[${allowed
    .map((name) => `'${name}'`)
    .join(', ')}]. Tried to access ${model}`;
  return { error: { message, type: 'key_model_access_denied', param: 'model', code: '403' } };
}

function streamOptionsRefused(): object {
  const message =
    "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {'include_usage': True}}]";
  return { object: 'error', message, type: 'BadRequestError', param: null, code: 400 };
}

const EVENTS = { 'Content-Type': 'text/event-stream; charset=utf-8' };

/** The ways in which streams of events go wrong; `faults` has those of every server. */
export const gatewayFaults = {
  /** These events and nothing else; what is no text becomes JSON. */
  events: (...events: (object | string)[]): Fault => ({
    reply: {
      status: 200,
      body: events
        .map((one) => `data: ${typeof one === 'string' ? one : JSON.stringify(one)}\n\n`)
        .join(''),
      headers: EVENTS,
    },
  }),
  /** This text as a stream, as it is. */
  stream: (body: string): Fault => ({ reply: { status: 200, body, headers: EVENTS } }),
  /** An error within the stream, which goes on as if nothing had happened. */
  errorAfter: (afterEvents: number, message: string, code: number | string = 500): Fault => ({
    afterLines: afterEvents,
    then: {
      raw: `data: ${JSON.stringify({ error: { message, type: 'None', param: 'None', code } })}\n`,
    },
  }),
  garbageAfter: (afterEvents: number): Fault => ({
    afterLines: afterEvents,
    then: { raw: 'data: <<not json>>\n' },
  }),
  commentAfter: (afterEvents: number, comment = ' keep-alive'): Fault => ({
    afterLines: afterEvents,
    then: { raw: `:${comment}\n` },
  }),
};

/** A part of a streamed completion. */
export function chunk(delta: object, finish_reason: string | null = null, more: object = {}) {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1_677_610_602,
    model: GATEWAY_MODEL,
    choices: [{ index: 0, delta, finish_reason }],
    ...more,
  };
}
