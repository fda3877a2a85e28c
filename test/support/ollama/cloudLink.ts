/** The daemon's side of the cloud: which names go there, and how their answers come back. */
import type { Call } from './daemon';
import { errors } from './errors';
import type { ModelStore } from './models';
import { parse, type Json } from './validate';
import { goJson, NDJSON_TYPE } from './wire';

/** What the daemon's signature stands for in place of a key pair. */
export const DAEMON_SIGNATURE = 'ssh-ed25519-of-the-simulator:signed';
export const OLLAMA_COM = 'https://ollama.com';

export interface CloudLinkOptions {
  /** Where the cloud is; undefined: nothing answers there. */
  url?: string;
  disabled: boolean;
  signedIn: boolean;
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
]);

/** `gpt-oss:120b-cloud`, `m:cloud` and `m:tag:cloud` run in the cloud, whatever is installed. */
export function cloudBaseName(name: string): string | undefined {
  const match = /^(.+):cloud$/i.exec(name) ?? /^([^:]+:.+)-cloud$/i.exec(name);
  return match?.[1];
}

interface Target {
  base: string;
  url: string;
  /** Set for a stub under a name of its own: its replies keep that name. */
  stub?: { name: string; model: string; host: string };
}

export class CloudLink {
  constructor(
    readonly options: CloudLinkOptions,
    private readonly models: ModelStore,
  ) {}

  /** Answers the call from the cloud when its model runs there; false when it is a local one. */
  async forward(call: Call, name: string, body: Json): Promise<boolean> {
    const target = this.targetOf(name);
    if (!target) return false;
    const answer = await this.ask(call, target.url, call.request.path, {
      ...body,
      model: target.base,
    });
    if (answer.status === 401 && target.stub) {
      const refusal = errors.unauthorized(`${OLLAMA_COM}/connect?name=host&key=c3No`);
      await call.reply.json(401, refusal.body(), NDJSON_TYPE);
      return true;
    }
    const rename = target.stub && ((line: string) => renamed(line, target.stub));
    await passOn(call, answer, rename);
    return true;
  }

  /** Web search and fetch exist in the cloud only. */
  async proxy(call: Call, path: string): Promise<void> {
    const url = this.options.url ?? OLLAMA_COM;
    await passOn(call, await this.ask(call, url, path, parse(call.request.bodyText)), undefined);
  }

  private targetOf(name: string): Target | undefined {
    const base = cloudBaseName(name);
    const cloudUrl = this.options.url ?? OLLAMA_COM;
    if (base) return { base, url: cloudUrl };
    const remote = this.models.find(name)?.remote;
    if (!remote) return undefined;
    const url = remote.host === OLLAMA_COM ? cloudUrl : remote.host;
    return { base: remote.model, url, stub: { name, ...remote } };
  }

  private async ask(call: Call, base: string, path: string, body: unknown): Promise<Response> {
    if (this.options.disabled) throw errors.cloudDisabled();
    if (!this.options.signedIn) throw errors.unauthorized();
    const url = `${base}${path}?ts=${Math.floor(call.daemon.clock.now() / 1000)}`;
    // Tests never leave the machine.
    if (base === OLLAMA_COM) throw errors.cloudUnreachable(url, 'lookup ollama.com: no such host');
    try {
      return await fetch(url, {
        method: call.request.method,
        body: JSON.stringify(body),
        headers: {
          'Content-Type': 'application/json',
          Authorization: DAEMON_SIGNATURE,
          'X-Ollama-Client-Version': call.daemon.settings.version,
        },
        redirect: 'manual',
        signal: call.signal,
      });
    } catch (error) {
      if (call.signal.aborted) throw error;
      throw errors.cloudUnreachable(url, `${new URL(url).host}: connect: connection refused`);
    }
  }
}

async function passOn(
  call: Call,
  answer: Response,
  rename: ((line: string) => string) | undefined,
): Promise<void> {
  const contentType = answer.headers.get('content-type') ?? 'application/json';
  const headers: Record<string, string> = {};
  answer.headers.forEach((value, name) => {
    if (!HOP_BY_HOP.has(name)) headers[name] = value;
  });
  try {
    for await (const line of linesOf(answer)) {
      if (!call.reply.started) call.reply.head(answer.status, headers);
      await call.reply.raw(rename ? rename(line) : line, contentType);
    }
  } catch (error) {
    // An upstream that breaks off looks like a clean end to the daemon's client.
    if (call.signal.aborted || !(error instanceof TypeError)) throw error;
  }
  if (!call.reply.started) call.reply.head(answer.status, headers);
  call.reply.end();
}

/** Lines with their line feeds; the last one may have none. */
async function* linesOf(answer: Response): AsyncGenerator<string> {
  if (!answer.body) return;
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/(?<=\n)/);
    rest = lines.at(-1)?.endsWith('\n') ? '' : (lines.pop() ?? '');
    yield* lines;
  }
  if (rest) yield rest;
}

function renamed(line: string, stub: Target['stub']): string {
  const value = JSON.parse(line) as Json;
  if (!stub || !('model' in value)) return line;
  const own = { model: '', remote_model: stub.model, remote_host: stub.host };
  return goJson({ ...own, ...value, model: stub.name }) + (line.endsWith('\n') ? '\n' : '');
}
