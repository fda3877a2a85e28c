import type { LookupFunction } from 'node:net';
import type { Backend } from './audit/envelope';
import type { Clock } from './clock';
import { type Config, type Environment, resolveNetwork, type Settings } from './config';
import { InternError, toInternError } from './errors';
import { Catalogue } from './models/catalogue';
import { GatewayCatalogue } from './models/gatewayCatalogue';
import { OllamaClient } from './ollama/client';
import { GatewayClient } from './ollama/gateway';
import { cloudBaseName } from './ollama/names';
import { Connections, type NetworkConfig } from './ollama/network';
import { Tokens, type TokenSource } from './ollama/tokens';
import { Breaker, type BreakerStatus } from './routing/breaker';
import { cloudHostError, isCloudHost } from './routing/cloud';
import { CloudKeys, type KeySource, noKeyError } from './routing/cloudKeys';
import { ask, Deadline } from './routing/deadline';
import { type Driver, LocalDriver, NoDriver, RemoteDriver } from './routing/drivers';
import { Limiter } from './routing/limiter';
import { LoadTimes } from './routing/loads';
import { LocalBackend } from './routing/local';
import { ResidencyTracker } from './routing/residency';
import { BACKENDS, routeOf, type Target } from './routing/route';
import type { Gate } from './routing/router';
import type { Tier } from './routing/tiers';
import type { Store } from './store';
import type { ConfigProblem } from './values';

/** A backend as surfaces show it. */
export interface BackendStatus {
  backend: Backend;
  host: string;
  breaker: BreakerStatus;
  /** Calls on their way, and calls that wait for a permit. */
  running: number;
  waiting: number;
  /** Why it did not answer the last time; undefined after an answer. */
  error: InternError | undefined;
  /** The last that is known of it is an answer. */
  answered: boolean;
  /** Of the cloud, once it was looked for. */
  key: KeySource | undefined;
}

export interface BackendsOptions {
  config: Config;
  settings: Settings;
  env: Environment;
  clock: Clock;
  store: Store;
  tokens: TokenSource | undefined;
  cloudKeys: TokenSource | undefined;
  lookup: LookupFunction | undefined;
  onEvicted: (models: string[]) => void;
  /** The breaker of a backend, or what is known of it, is another one. */
  onChange: (status: BackendStatus, before: BreakerStatus) => void;
  /** There is one more among `problems`. */
  onProblem: () => void;
}

/** The local server and what is known about it. */
interface LocalServer {
  client: OllamaClient;
  catalogue: Catalogue;
  residency: ResidencyTracker;
  backend: LocalBackend;
  driver: Driver;
}

/** The servers of the settings in force, and what outlives a change of settings: breakers, limiters, secrets. */
export class Backends {
  readonly gates: Readonly<Record<Backend, Gate>>;
  /** Models that think although they were told not to. */
  readonly thinkers = new Set<string>();
  /** Of certificate files: they are known only when the files are read. */
  problems: ConfigProblem[] = [];
  readonly #tokens: Tokens;
  readonly #keys: CloudKeys;
  readonly #errors = new Map<Backend, InternError>();
  /** Those of which the last that is known is an answer. */
  readonly #answered = new Set<Backend>();
  /** In use, and those before them that running calls still have. */
  readonly #allConnections = new Set<Connections>();
  #keySource: KeySource | undefined;
  #config: Config;
  #network: NetworkConfig;
  #connections: Connections;
  #local: LocalServer;
  #cloud: { client: OllamaClient; catalogue: Catalogue; driver: Driver };
  /** undefined: none is set. */
  #gateway: { client: GatewayClient; catalogue: GatewayCatalogue; driver: Driver } | undefined;
  /** The latest look for the key: an earlier one has no say any more. */
  #keyLookup = 0;
  /** How often what was held against a backend was forgiven: a test from before says nothing about it now. */
  readonly #forgiven: Record<Backend, number> = { local: 0, cloud: 0, gateway: 0 };

  constructor(private readonly o: BackendsOptions) {
    this.#config = o.config;
    this.#tokens = new Tokens(o.tokens);
    this.#keys = new CloudKeys(o.cloudKeys, o.env);
    this.#network = resolveNetwork(o.settings.network, o.env).network;
    this.gates = Object.fromEntries(
      BACKENDS.map((backend) => [backend, this.#newGate(backend)]),
    ) as Record<Backend, Gate>;
    this.#connections = this.#newConnections();
    this.#local = this.#newLocal();
    this.#cloud = this.#newCloud();
    this.#gateway = this.#newGateway();
    void this.#lookForKey();
  }

  /** For one call, which keeps them to its end. */
  get drivers(): Readonly<Record<Backend, Driver>> {
    return {
      local: this.#local.driver,
      cloud: this.#cloud.driver,
      gateway: this.#gateway?.driver ?? new NoDriver(noGatewayError),
    };
  }

  get local(): Readonly<LocalServer> {
    return this.#local;
  }

  get status(): BackendStatus[] {
    const { cloud, gateway } = this.#config;
    return BACKENDS.filter(
      (b) => b === 'local' || (b === 'cloud' ? cloud.mode !== 'off' : gateway !== undefined),
    ).map((backend) => this.#statusOf(backend));
  }

  /** Consent holds now, whatever a call began with. */
  isAllowed(backend: Backend): boolean {
    return backend !== 'cloud' || this.#config.cloud.mode !== 'off';
  }

  /** What a call began with, without what has been forbidden since. */
  consented(config: Config): Config {
    if (this.isAllowed('cloud')) return config;
    return { ...config, cloud: { ...config.cloud, mode: 'off' } };
  }

  /** Whether that server is still the backend's: calls keep the one that they began with. */
  isServing(backend: Backend, host: string): boolean {
    return this.drivers[backend].host === host;
  }

  /** Whether a call would be sent there now. */
  isOpen(backend: Backend): boolean {
    const { state } = this.gates[backend].breaker.status;
    return this.isAllowed(backend) && (state === 'closed' || state === 'half_open');
  }

  /** The target that would answer now, as far as can be told. */
  targetNow(config: Config, tier: Tier, model?: string): Target {
    const targets = routeOf(config, tier, model);
    return targets.find(({ backend }) => this.isOpen(backend)) ?? (targets[0] as Target);
  }

  /** Keeps the connections open for a call of several requests, until the function that it returns is called. */
  use(): () => void {
    return this.#connections.use();
  }

  configure(config: Config, settings: Settings): void {
    const before = this.#config;
    this.#config = config;
    for (const { limiter } of Object.values(this.gates)) limiter.setLimit(config.maxConcurrent);
    const { headers } = this.#network;
    const isOtherWay = this.#renewConnections(settings);
    const isOtherLocal = before.host !== config.host;
    if (isOtherLocal) this.#local = this.#newLocal();
    else if (isOtherWay) this.#local = this.#newLocal(this.#local.residency);
    // A key may be among the headers.
    const hasOtherHeaders = JSON.stringify(headers) !== JSON.stringify(this.#network.headers);
    if (isOtherLocal || hasOtherHeaders) this.#forgive('local');
    const isOtherGateway = before.gateway !== config.gateway;
    if (isOtherGateway || isOtherWay) this.#gateway = this.#newGateway();
    if (isOtherGateway) this.#forgive('gateway');
    const isOtherCloud =
      JSON.stringify([before.cloud.host, before.cloud.models]) !==
      JSON.stringify([config.cloud.host, config.cloud.models]);
    if (isOtherCloud || isOtherWay) this.#cloud = this.#newCloud();
    if (isOtherCloud) this.#forgive('cloud');
    if (isOtherCloud || before.cloud.mode !== config.cloud.mode) void this.#lookForKey();
  }

  setToken(baseUrl: string, token: string | undefined): void {
    this.#tokens.set(baseUrl, token);
    if (isSameOrigin(baseUrl, this.#config.host)) {
      this.#local.catalogue.refresh();
      this.#forgive('local');
    }
    if (this.#gateway && isSameOrigin(baseUrl, this.#gateway.client.baseUrl)) {
      this.#gateway.catalogue.refresh();
      this.#forgive('gateway');
    }
  }

  setCloudKey(baseUrl: string, key: string | undefined): void {
    this.#keys.set(baseUrl, key);
    if (!isSameOrigin(baseUrl, this.#config.cloud.host)) return;
    // Questions on their way carry the key from before.
    this.#cloud.catalogue.refresh();
    this.#forgive('cloud');
    void this.#lookForKey();
  }

  cloudKey(): Promise<KeySource> {
    return this.#keys.source(this.#config.cloud.host);
  }

  retryNow(backend: Backend): void {
    this.gates[backend].breaker.retryNow();
  }

  /** Takes in how an attempt ended: what went wrong is shown until something goes right. */
  onAttempt(backend: Backend, error: InternError | undefined): void {
    if (error) this.#hold(backend, error);
    else {
      this.#errors.delete(backend);
      this.#answered.add(backend);
    }
  }

  /**
   * Asks a server whether it would answer; when it does, its breaker closes. The cloud lists its models to anybody, so
   * there one token is generated from the word "ping".
   */
  async test(backend: Backend, signal?: AbortSignal): Promise<void> {
    const release = this.use();
    const before = this.#forgiven[backend];
    const isCurrent = (): boolean => this.#forgiven[backend] === before;
    try {
      if (backend === 'cloud') await this.#testCloud(signal);
      else if (backend === 'gateway') await this.#testGateway(signal);
      else await ask(this.o.clock, (s) => this.#local.client.tags(s), signal);
      if (isCurrent()) this.#forgive(backend, true);
    } catch (thrown) {
      const error = toInternError(thrown);
      if (error.code === 'auth_failed' && isCurrent()) this.#refuse(backend, error);
      throw error;
    } finally {
      release();
    }
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.#allConnections].map((connections) => connections.destroy()));
  }

  async #testGateway(signal: AbortSignal | undefined): Promise<void> {
    const { client } = this.#gateway ?? {};
    if (!client) throw noGatewayError();
    await ask(this.o.clock, (s) => client.models(s), signal, 'The gateway');
  }

  async #testCloud(signal: AbortSignal | undefined): Promise<void> {
    const { mode, models, budgetMs } = this.#config.cloud;
    if (mode === 'off') throw cloudIsOff();
    const deadline = new Deadline(this.o.clock, signal);
    deadline.arm(budgetMs.instant, () => deadline.abort(testTimeout(budgetMs.instant)));
    try {
      await this.#cloud.client.chat(
        {
          model: cloudBaseName(models.instant),
          messages: [{ role: 'user', content: 'ping' }],
          options: { num_predict: 1 },
        },
        {},
        deadline.signal,
      );
    } finally {
      deadline.dispose();
    }
  }

  /** A cloud without a key is said at once and not with the first call. */
  async #lookForKey(): Promise<void> {
    const lookup = ++this.#keyLookup;
    const { host, mode } = this.#config.cloud;
    if (mode === 'off') return;
    const source = await this.#keys.source(host);
    if (lookup !== this.#keyLookup) return;
    this.#keySource = source;
    if (source === 'none') this.#refuse('cloud', noKeyError());
    else this.#tell('cloud', this.gates.cloud.breaker.status);
  }

  #hold(backend: Backend, error: InternError): void {
    this.#errors.set(backend, error);
    this.#answered.delete(backend);
  }

  #refuse(backend: Backend, error: InternError): void {
    this.#hold(backend, error);
    this.gates[backend].breaker.misconfigure();
  }

  /** What was held against a backend is over. */
  #forgive(backend: Backend, hasAnswered = false): void {
    const before = this.gates[backend].breaker.status;
    const had = this.#errors.delete(backend);
    if (hasAnswered) this.#answered.add(backend);
    else this.#answered.delete(backend);
    this.#forgiven[backend]++;
    this.gates[backend].breaker.reset();
    // The breaker itself tells only of another state.
    if (had && before.state === 'closed') this.#tell(backend, before);
  }

  #newGate(backend: Backend): Gate {
    return {
      breaker: new Breaker(this.o.clock, (_, before) => this.#tell(backend, before)),
      limiter: new Limiter(this.#config.maxConcurrent),
      counted: new WeakSet(),
    };
  }

  #tell(backend: Backend, before: BreakerStatus): void {
    this.o.onChange(this.#statusOf(backend), before);
  }

  #statusOf(backend: Backend): BackendStatus {
    const { breaker, limiter } = this.gates[backend];
    return {
      backend,
      host: this.drivers[backend].host,
      breaker: breaker.status,
      running: limiter.running,
      waiting: limiter.waiting,
      error: this.#errors.get(backend),
      answered: this.#answered.has(backend),
      key: backend === 'cloud' ? this.#keySource : undefined,
    };
  }

  #newConnections(): Connections {
    const connections: Connections = new Connections({
      config: this.#network,
      lookup: this.o.lookup,
      onProblem: (message) => {
        if (connections !== this.#connections) return;
        this.problems.push({ setting: 'ollamaIntern.network.caFile', message });
        this.o.onProblem();
      },
    });
    this.#allConnections.add(connections);
    return connections;
  }

  /** Whether the network settings are other ones; calls that run keep their connections. */
  #renewConnections(settings: Settings): boolean {
    const { network } = resolveNetwork(settings.network, this.o.env);
    if (JSON.stringify(network) === JSON.stringify(this.#network)) return false;
    const old = this.#connections;
    this.#network = network;
    this.problems = [];
    this.#connections = this.#newConnections();
    void old.retire().then(() => this.#allConnections.delete(old));
    return true;
  }

  /** What was seen of the server's memory is kept when only the way to it is new. */
  #newLocal(residency = new ResidencyTracker(this.o.clock)): LocalServer {
    const { host } = this.#config;
    const { headers } = this.#network;
    const { clock, store, onEvicted } = this.o;
    const client = new OllamaClient({
      baseUrl: host,
      dispatcher: this.#connections,
      headers: () => this.#ownHeaders(host, 'host', headers),
      proxy: this.#connections.proxyLabel(host),
      now: () => clock.now(),
    });
    const loads = new LoadTimes(store);
    const backend = new LocalBackend({ client, clock, residency, loads, onEvicted });
    const catalogue = new Catalogue(client, clock);
    return {
      client,
      catalogue,
      residency,
      backend,
      driver: new LocalDriver(client, catalogue, backend, clock),
    };
  }

  /** Looking for the key may take a while, in which consent may be withdrawn. */
  async #cloudHeaders(host: string): ReturnType<CloudKeys['headers']> {
    const headers = await this.#keys.headers(host);
    if (!this.isAllowed('cloud')) throw cloudIsOff();
    return headers;
  }

  /** A server of the person's own may be the cloud itself: then it is asked nothing at all without consent. */
  async #ownHeaders(
    host: string,
    setting: 'host' | 'gateway.host',
    extra: NetworkConfig['headers'],
  ): ReturnType<Tokens['headers']> {
    const headers = await this.#tokens.headers(host, extra, `ollamaIntern.${setting}`);
    if (isCloudHost(host) && !this.isAllowed('cloud')) throw cloudHostError(host, setting);
    return headers;
  }

  #newCloud(): { client: OllamaClient; catalogue: Catalogue; driver: Driver } {
    const { host } = this.#config.cloud;
    const client = new OllamaClient({
      baseUrl: host,
      dispatcher: this.#connections,
      headers: () => this.#cloudHeaders(host),
      proxy: this.#connections.proxyLabel(host),
      backend: 'cloud',
      now: () => this.o.clock.now(),
    });
    const catalogue = new Catalogue(client, this.o.clock, 'cloud');
    return {
      client,
      catalogue,
      driver: new RemoteDriver('cloud', client, catalogue, this.o.clock),
    };
  }

  #newGateway() {
    const { gateway: host } = this.#config;
    if (host === undefined) return undefined;
    const client = new GatewayClient({
      baseUrl: host,
      dispatcher: this.#connections,
      // Its token is set as that of a server; the headers of the local server are not for it.
      headers: () => this.#ownHeaders(host, 'gateway.host', {}),
      proxy: this.#connections.proxyLabel(host),
      now: () => this.o.clock.now(),
    });
    const catalogue = new GatewayCatalogue(client, this.o.clock);
    return {
      client,
      catalogue,
      driver: new RemoteDriver('gateway', client, catalogue, this.o.clock),
    };
  }
}

function isSameOrigin(a: string, b: string): boolean {
  return new URL(a).origin === new URL(b).origin;
}

function testTimeout(budgetMs: number): InternError {
  return new InternError({
    code: 'timeout',
    message: `Ollama Cloud did not answer within ${Math.round(budgetMs / 1000)} s.`,
    hint: 'Try again later, or choose a faster cloud model.',
    retryable: true,
    actions: [
      { kind: 'test_cloud' },
      { kind: 'open_setting', setting: 'ollamaIntern.cloud.model' },
    ],
  });
}

function cloudIsOff(): InternError {
  return new InternError({
    code: 'config',
    message: 'The cloud is off, so nothing was sent.',
    hint: 'Enable the cloud first.',
    actions: [{ kind: 'open_setting', setting: 'ollamaIntern.cloud.mode' }],
  });
}

function noGatewayError(): InternError {
  return new InternError({
    code: 'config',
    message: 'A model of the gateway was asked for, but no gateway is set.',
    hint: 'Set the address of the gateway, or choose a model of this machine.',
    actions: [
      { kind: 'open_setting', setting: 'ollamaIntern.gateway.host' },
      { kind: 'choose_profile' },
    ],
  });
}
