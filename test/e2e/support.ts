/** What the end-to-end tests do in a window, in the words of a person. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Frame } from 'playwright-core';
import {
  openWorkbench,
  poll,
  type Workbench,
  type WorkbenchOptions,
} from '../support/host/workbench.ts';
import { cache, root } from '../support/setup.mjs';

export { poll };
export type { Workbench };

const sample = path.join(root, 'test', 'fixtures', 'workspace');

export interface Stage extends Workbench {
  /** The folder that is open: a copy, free to be changed. */
  folder: string;
}

export interface StageOptions extends Omit<WorkbenchOptions, 'folder'> {
  /** Files of the folder besides the sample's, by their relative names. */
  files?: Record<string, string>;
}

/** Opens a window with this extension on a folder of its own. */
export async function openStage(options: StageOptions = {}): Promise<Stage> {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'intern-e2e-'));
  const remove = () => fs.rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
  const folder = path.join(scratch, 'workspace');
  fs.mkdirSync(folder);
  if (fs.existsSync(sample)) fs.cpSync(sample, folder, { recursive: true });
  writeFiles(folder, options.files ?? {});
  const source = options.vsix ? {} : { extensionPath: options.extensionPath ?? root };
  try {
    const workbench = await openWorkbench({
      ...options,
      ...source,
      folder,
      env: { INTERN_LOG_PATH: path.join(scratch, 'log.ndjson'), ...options.env },
    });
    const close = () => workbench.close().finally(remove);
    return { ...workbench, folder, close };
  } catch (error) {
    remove();
    throw error;
  }
}

function writeFiles(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
  }
}

/** Selects whole lines of the active editor, counted from 1. */
export async function selectLines(wb: Workbench, first: number, last: number): Promise<void> {
  await wb.goToLine(first);
  for (let line = first; line < last; line++) await wb.page.keyboard.press('Shift+ArrowDown');
  await wb.page.keyboard.press('Shift+End');
}

/** Waits for a tab and brings it to the front. */
export async function showTab(wb: Workbench, title: string | RegExp): Promise<void> {
  const tab = wb.page.locator('.tabs-container .tab', { hasText: title }).first();
  await tab.waitFor({ state: 'visible', timeout: 15_000 });
  await tab.click();
}

/** Waits until the visible text of the active editor matches, and returns it. */
export async function waitForEditorText(
  wb: Workbench,
  text: RegExp,
  timeout = 30_000,
): Promise<string> {
  let seen = '';
  await poll(
    async () => {
      seen = await wb.editorText().catch(() => '');
      return text.test(seen);
    },
    timeout,
    () => `The editor never shows ${String(text)}. It shows:\n${seen}`,
  );
  return seen;
}

/** The webview in which `selector` is found: webviews are frames in frames without a name. */
export async function webviewFrame(
  wb: Workbench,
  selector: string,
  timeout = 30_000,
): Promise<Frame> {
  let found: Frame | undefined;
  await poll(
    async () => {
      for (const frame of wb.page.frames().slice(1)) {
        const isThere = await frame
          .locator(selector)
          .first()
          .isVisible()
          .catch(() => false);
        if (isThere) found = frame;
      }
      return found !== undefined;
    },
    timeout,
    () => `No webview shows ${selector}`,
  );
  return found!;
}

/** For `afterEach`: a failed test leaves a picture of the window and what it printed. */
export async function keepEvidence(context: Mocha.Context, wb?: Workbench): Promise<void> {
  if (context.currentTest?.state !== 'failed' || !wb) return;
  const name = context.currentTest.fullTitle().replaceAll(/[^a-z0-9]+/gi, '-');
  const base = path.join(cache, 'failures', name.slice(0, 120));
  await wb.screenshot(`${base}.png`).catch(() => undefined);
  fs.writeFileSync(`${base}.log`, wb.diagnostics());
  console.log(`      see ${path.relative(root, base)}.png and .log`);
}
