/** What the tests of the dashboard do in a window. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Frame, Locator } from 'playwright-core';
import { cache, root } from '../support/setup.mjs';
import { inPalette } from '../support/manifest';
import { type OllamaOptions, type OllamaServer, startOllama } from '../support/ollama/server';
import {
  keepEvidence,
  openStage,
  poll,
  selectLines,
  type Stage,
  type StageOptions,
  webviewFrame,
} from './support';

const SAMPLE = fs.readFileSync(path.join(root, 'test/support/demo/workspace/src/queue.ts'), 'utf8');

export const pictures = path.join(cache, 'screenshots');

/** A window, a simulated Ollama and a log of their own. */
export class DashboardStage {
  server!: OllamaServer;
  wb!: Stage;
  private language: string | undefined;
  readonly scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'intern-dashboard-'));

  /** For the tests of a `describe`: a stage of its own for each. */
  static forEach(): () => DashboardStage {
    let stage: DashboardStage;
    beforeEach(() => {
      stage = new DashboardStage();
    });
    afterEach(function () {
      return stage.close(this);
    });
    return () => stage;
  }

  get logPath(): string {
    return path.join(this.scratch, 'log.ndjson');
  }

  async open(options: StageOptions = {}, ollama: OllamaOptions = {}): Promise<this> {
    this.language = options.language;
    this.server = await startOllama({ tokenMs: 4, ...ollama });
    this.wb = await openStage({
      files: { 'src/queue.ts': SAMPLE },
      ...options,
      env: { OLLAMA_HOST: this.server.url, INTERN_LOG_PATH: this.logPath, ...options.env },
      settings: { 'chat.disableAIFeatures': true, ...options.settings },
    });
    await this.wb.statusBarItem('ollamaIntern.status');
    return this;
  }

  /** The page inside the webview, which is a new one whenever it was hidden. */
  async show(view?: 'Now' | 'Calls' | 'Trends' | 'Set-up'): Promise<Frame> {
    await this.wb.runCommand(inPalette('ollamaIntern.showDashboard', this.language));
    const frame = await this.frame();
    if (view) await this.go(frame, view);
    return frame;
  }

  frame(timeout?: number): Promise<Frame> {
    return webviewFrame(this.wb, '[role=tablist]', timeout);
  }

  async go(frame: Frame, view: 'Now' | 'Calls' | 'Trends' | 'Set-up'): Promise<void> {
    const tab = frame.getByRole('tab', { name: new RegExp(`^${view}\\b`) });
    await tab.click();
    await frame.locator('[role=tab][aria-selected=true]', { hasText: view }).waitFor();
  }

  async startSummary(): Promise<void> {
    await this.wb.openFile('queue.ts');
    await selectLines(this.wb, 1, 22);
    await this.wb.runCommand('Ollama Intern: Summarize Selection');
    await this.wb.page
      .locator('.tab', { hasText: 'Summary of queue.ts' })
      .first()
      .waitFor({ state: 'visible' });
  }

  async summarize(): Promise<void> {
    await this.startSummary();
    const answer = this.wb.page.locator('.monaco-editor[data-uri^="ollama-intern:"]');
    await waitForText(answer, /instant · local · hermes3:8b/, 60_000);
  }

  /** Brings a model into the server's memory, as another program would. */
  async load(model: string, num_ctx: number): Promise<void> {
    const body = JSON.stringify({ model, prompt: '', stream: false, options: { num_ctx } });
    const answer = await fetch(`${this.server.url}/api/generate`, { method: 'POST', body });
    if (answer.status !== 200) throw new Error(await answer.text());
  }

  asked(route: string): number {
    return this.server.requests.filter((request) => request.path === route).length;
  }

  /** For `afterEach`. */
  async close(context: Mocha.Context): Promise<void> {
    await keepEvidence(context, this.wb);
    await this.wb.close();
    await this.server.close();
    fs.rmSync(this.scratch, { recursive: true, force: true });
  }
}

export function section(frame: Frame, title: string): Locator {
  return frame.locator('section', { has: frame.locator('h2', { hasText: title }) });
}

export async function waitForText(
  locator: Locator,
  text: RegExp,
  timeout = 15_000,
): Promise<string> {
  let seen = '';
  await poll(
    async () => {
      seen = (await locator.allInnerTexts()).join('\n').replaceAll(/\s+/g, ' ');
      return text.test(seen);
    },
    timeout,
    () => `${String(text)} is never shown, but ${seen}`,
  );
  return seen;
}

export async function waitForIcons(frame: Frame): Promise<void> {
  const look =
    '[...document.fonts].some((f) => f.family.includes("codicon") && f.status === "loaded")';
  await poll(
    () => frame.evaluate<boolean>(look),
    10_000,
    () => 'The icons are not loaded',
  );
}

/** Whether the page, or the view in it, scrolls sideways. */
export function isTooWide(frame: Frame): Promise<boolean> {
  return frame.evaluate<boolean>(
    `[document.documentElement, document.querySelector('.view')].some((e) => e.scrollWidth > e.clientWidth)`,
  );
}
