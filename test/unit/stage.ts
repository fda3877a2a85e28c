import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Backend,
  type BackendStatus,
  type CloudMode,
  createIntern,
  type Envelope,
  type Intern,
  type InternOptions,
  type LogLine,
  type Settings,
} from '../../src/core';
import { type GatewayOptions, type GatewayServer, startGateway } from '../support/gateway/server';
import {
  CLOUD_KEY,
  type CloudOptions,
  type CloudServer,
  startCloud,
} from '../support/ollama/cloud';
import {
  type Fault,
  ManualClock,
  type OllamaOptions,
  type OllamaServer,
  type RecordedRequest,
  startOllama,
} from '../support/ollama/server';
import { coreClock } from './support';

export const TEXT =
  'The limiter admits two calls at once. Others wait in line. Waiting can be cancelled.\n'.repeat(
    4,
  );

export const isChat = ({ path }: RecordedRequest): boolean => path === '/api/chat';

/** The prompts that a server was sent. */
export function chatsOf({ requests }: OllamaServer): RecordedRequest[] {
  return requests.filter(isChat);
}

/** The fault for the next prompts alone, not for the questions about the model. */
export function onChat(fault: Fault, times = 1): Fault {
  return { ...fault, match: isChat, times };
}

export function statusOf(intern: Intern, backend: Backend): BackendStatus {
  return intern.backends.find((b) => b.backend === backend) ?? assert.fail(`no ${backend}`);
}

export function stateOf(intern: Intern, backend: Backend): string {
  return statusOf(intern, backend).breaker.state;
}

/** `cloud timeout`, `local answer` */
export function triesOf({ attempts }: Pick<Envelope, 'attempts'>): string[] {
  return attempts.map(({ backend, outcome }) => `${backend} ${outcome}`);
}

export interface TeamOptions {
  /** Default: `primary`. */
  mode?: CloudMode;
  settings?: Settings;
  servers?: { local?: OllamaOptions; cloud?: CloudOptions };
  options?: Omit<InternOptions, 'settings'>;
  /** Default: every server has answered once, so that what happens next happens to the prompt of a job. */
  isCold?: boolean;
}

/** An intern and the servers that it may ask. */
export interface Team {
  intern: Intern;
  local: OllamaServer;
  cloud: CloudServer;
}

/** A model that each server has, named so that nobody else is asked. */
export const PINNED = { local: 'local/hermes3:8b', cloud: 'cloud/minimax-m3' } as const;

/** Servers and interns of one test, on one clock that stands still until it is moved. */
export class Stage {
  readonly clock = new ManualClock();
  readonly #cleanups: (() => Promise<unknown>)[] = [];
  #folder = '';

  /** A new stage for each test of the suite that this is called in. */
  static forEach(): () => Stage {
    let stage: Stage;
    beforeEach(async () => {
      stage = new Stage();
      stage.#folder = await mkdtemp(join(tmpdir(), 'intern-test-'));
    });
    afterEach(async () => {
      for (const cleanup of stage.#cleanups.splice(0).reverse()) await cleanup();
      await rm(stage.#folder, { recursive: true, force: true });
    });
    return () => stage;
  }

  get folder(): string {
    return this.#folder;
  }

  async serve(options: OllamaOptions = {}): Promise<OllamaServer> {
    const server = await startOllama({ clock: this.clock, ...options });
    this.onEnd(() => server.close());
    return server;
  }

  async serveCloud(options: CloudOptions = {}): Promise<CloudServer> {
    const cloud = await startCloud({ clock: this.clock, ...options });
    this.onEnd(() => cloud.close());
    return cloud;
  }

  async serveGateway(options: GatewayOptions = {}): Promise<GatewayServer> {
    const gateway = await startGateway({ clock: this.clock, ...options });
    this.onEnd(() => gateway.close());
    return gateway;
  }

  onEnd(cleanup: () => Promise<unknown>): void {
    this.#cleanups.push(cleanup);
  }

  settingsFor(server: OllamaServer, settings: Settings = {}): Settings {
    return { host: server.url, logPath: join(this.#folder, 'log.ndjson'), ...settings };
  }

  hire(
    server: OllamaServer,
    settings: Settings = {},
    options: Omit<InternOptions, 'settings'> = {},
  ): Intern {
    const intern = createIntern({
      settings: this.settingsFor(server, settings),
      env: {},
      clock: coreClock(this.clock),
      ...options,
    });
    this.onEnd(() => intern.dispose());
    return intern;
  }

  async team({ mode = 'primary', servers, ...rest }: TeamOptions = {}): Promise<Team> {
    const local = await this.serve(servers?.local);
    const cloud = await this.serveCloud(servers?.cloud);
    const intern = this.hire(
      local,
      { ...rest.settings, cloud: { mode, host: cloud.url, ...rest.settings?.cloud } },
      { cloudKeys: () => Promise.resolve(CLOUD_KEY), ...rest.options },
    );
    if (rest.isCold) return { intern, local, cloud };
    const names = mode === 'off' ? [PINNED.local] : Object.values(PINNED);
    for (const model of names) {
      await this.finish(intern.run('summarize_fast', { text: TEXT }, { model }));
    }
    return { intern, local, cloud };
  }

  async logged(intern: Intern): Promise<LogLine[]> {
    await intern.flush();
    const text = await readFile(intern.config.logPath, 'utf8').catch(() => '');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Lets time pass in steps until the work is over. */
  async finish<T>(work: Promise<T>, stepMs = 250, mostMs = 1_000_000): Promise<T> {
    let over = false;
    const settled = work.then(
      () => (over = true),
      () => (over = true),
    );
    for (let t = 0; !over && t < mostMs; t += stepMs) await this.clock.advance(stepMs);
    assert.ok(over, `nothing settled within ${mostMs} ms`);
    await settled;
    return work;
  }
}
