import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createIntern,
  type Intern,
  type InternOptions,
  type LogLine,
  type Settings,
} from '../../src/core';
import { type GatewayOptions, type GatewayServer, startGateway } from '../support/gateway/server';
import { type CloudOptions, type CloudServer, startCloud } from '../support/ollama/cloud';
import {
  ManualClock,
  type OllamaOptions,
  type OllamaServer,
  startOllama,
} from '../support/ollama/server';
import { coreClock } from './support';

export const TEXT =
  'The limiter admits two calls at once. Others wait in line. Waiting can be cancelled.\n'.repeat(
    4,
  );

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
