import type { LookupFunction } from 'node:net';
import type { SecureContext } from 'node:tls';
import connect from 'undici/lib/api/api-connect.js';
import buildConnector from 'undici/lib/core/connect.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';
import type Dispatcher from 'undici/types/dispatcher';
import { type CertificateFiles, trustedContext } from './certificates';
import { type Proxy, proxyFor, type ProxyRules } from './proxy';

/** All that the client needs of a connection. */
export type Sender = Pick<Dispatcher, 'dispatch'>;

/** How servers are reached. Its values hold secrets: it is no part of the config that surfaces show. */
export interface NetworkConfig extends CertificateFiles, ProxyRules {
  /** Sent with every request to the server. */
  headers: Readonly<Record<string, string>>;
}

export interface ConnectionsOptions {
  config: NetworkConfig;
  /** Hears of certificates that cannot be read, once. */
  onProblem: (message: string) => void;
  /** Finds the address of a host. Default: the system does. */
  lookup?: LookupFunction | undefined;
}

const CONNECT_MS = 10_000;

/**
 * Off: Ollama sends no headers until the model is loaded, and undici's 300 s default is the "fetch failed" of every
 * slow machine. The deadline is the router's.
 */
const NO_TIMERS = { headersTimeout: 0, bodyTimeout: 0 };

type Connect = NonNullable<ProxyAgent.Options['requestTls']>;

/** Connections that go straight to the server. */
export function createAgent(options: Connect = {}): Agent {
  return new Agent({ ...NO_TIMERS, connect: { timeout: CONNECT_MS, ...options } });
}

/**
 * The connections of one network configuration: chooses the way to each server, and opens it at the first request.
 * Another configuration gets another object; calls that run keep theirs until they end.
 */
export class Connections implements Sender {
  readonly #ways = new Map<string, Agent | ProxyAgent>();
  #trusted: SecureContext | undefined;
  #users = 0;
  #whenUnused: (() => void) | undefined;

  constructor(private readonly options: ConnectionsOptions) {}

  /** The proxy before this server, as it may be shown. */
  proxyLabel(baseUrl: string): string | undefined {
    return proxyFor(baseUrl, this.options.config)?.origin.replace(/^http:\/\//, '');
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const target = new URL(String(options.origin));
    const proxy = proxyFor(target.origin, this.options.config);
    const isSecure = target.protocol === 'https:';
    if (!proxy) return this.#direct(isSecure).dispatch(options, handler);
    if (isSecure) return this.#tunnel(proxy).dispatch(options, handler);
    return this.#forward(proxy).dispatch(forwarded(options, target, proxy), handler);
  }

  /** Keeps the connections open for a call of several requests, until the function that it returns is called. */
  use(): () => void {
    this.#users++;
    return () => {
      if (--this.#users === 0) this.#whenUnused?.();
    };
  }

  /** No new calls will come: closes when those that run have ended, and resolves then. */
  retire(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenUnused = () => {
        const ways = [...this.#ways.values()].map((way) => way.close());
        void Promise.allSettled(ways).then(() => resolve());
      };
      if (this.#users === 0) this.#whenUnused();
    });
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.#ways.values()].map((way) => way.destroy()));
  }

  #direct(isSecure: boolean): Agent | ProxyAgent {
    return this.#way(isSecure ? 'https' : 'http', () =>
      createAgent(isSecure ? this.#secure() : this.#plain()),
    );
  }

  /** Through CONNECT: the proxy sees neither the headers nor the text. */
  #tunnel({ origin, authorization }: Proxy): Agent | ProxyAgent {
    return this.#way(
      `${origin} ${authorization}`,
      () =>
        new ProxyAgent({
          ...NO_TIMERS,
          uri: origin,
          clientFactory,
          token: authorization,
          requestTls: this.#secure(),
          proxyTls: origin.startsWith('https:') ? this.#secure() : this.#plain(),
        }),
    );
  }

  #forward({ origin }: Proxy): Agent | ProxyAgent {
    return this.#way(`forward ${origin}`, () => {
      const open = buildConnector(origin.startsWith('https:') ? this.#secure() : this.#plain());
      return new Agent({
        ...NO_TIMERS,
        // undici takes the name for TLS from the Host header, which is the server's: here it is the proxy's.
        connect: (to, callback) => open({ ...to, servername: undefined }, callback),
      });
    });
  }

  #way(key: string, open: () => Agent | ProxyAgent): Agent | ProxyAgent {
    let way = this.#ways.get(key);
    if (!way) this.#ways.set(key, (way = open()));
    return way;
  }

  #plain(): Connect {
    return { timeout: CONNECT_MS, ...(this.options.lookup && { lookup: this.options.lookup }) };
  }

  /** Certificates are read here and not earlier: nobody without https waits for them. */
  #secure(): Connect {
    this.#trusted ??= trustedContext(this.options.config, this.options.onProblem);
    return { ...this.#plain(), secureContext: this.#trusted };
  }
}

/** The connections to a proxy. `connect` is what undici's index would add to every dispatcher. */
function clientFactory(origin: URL, options: object): Dispatcher {
  return Object.assign(new Pool(origin, { ...NO_TIMERS, ...options }), { connect });
}

/** Plain HTTP through a proxy: it is asked for the whole address, and is told who asks. */
function forwarded(
  options: Dispatcher.DispatchOptions,
  target: URL,
  { origin, authorization }: Proxy,
): Dispatcher.DispatchOptions {
  return {
    ...options,
    origin,
    path: target.origin + options.path,
    headers: {
      ...(options.headers as Record<string, string>),
      host: target.host,
      ...(authorization && { 'proxy-authorization': authorization }),
    },
  };
}
