/**
 * Takes the pictures of the README, the walkthrough and the dashboard's gallery from the real thing:
 * `npm run pictures`, or `npm run pictures -- now` for one view.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Frame } from 'playwright-core';
import { writeBigLog } from './bigLog';
import type { Theme } from './host/settings';
import { type OllamaServer, startOllama } from './ollama/server';
import { root } from './setup.mjs';
import { section, waitForText } from '../e2e/dashboardStage';
import { openStage, poll, selectLines, type Stage, webviewFrame } from '../e2e/support';

const SAMPLE = fs.readFileSync(path.join(root, 'test/support/demo/workspace/src/queue.ts'), 'utf8');
const media = path.join(root, 'media');
const gallery = path.join(media, 'dashboard');
const THEMES: readonly Theme[] = ['dark', 'light', 'hc', 'hcLight'];
const WIDTHS = [1600, 1024, 400];
const VIEWS = { now: 'Now', calls: 'Calls', trends: 'Trends', setup: 'Set-up' } as const;
type View = keyof typeof VIEWS;

const wanted = process.argv.slice(2);
const views = (Object.keys(VIEWS) as View[]).filter(
  (view) => wanted.length === 0 || wanted.includes(view),
);

async function main(): Promise<void> {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'intern-pictures-'));
  const logPath = path.join(scratch, 'log.ndjson');
  await writeBigLog(logPath, { lines: 20_000, now: Date.now(), seed: 7 });
  fs.mkdirSync(path.join(media, 'pictures'), { recursive: true });
  fs.mkdirSync(gallery, { recursive: true });
  try {
    for (const theme of THEMES) await takeTheme(theme, logPath);
    writeGallery();
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

/** The page that shows them all. */
function writeGallery(): void {
  const names: Record<Theme, string> = {
    ...{ dark: 'Dark', light: 'Light', hc: 'High contrast', hcLight: 'High contrast light' },
  };
  const shown = (Object.keys(VIEWS) as View[]).map((view) => {
    const themes = THEMES.map((theme) => {
      const pictures = WIDTHS.map(
        (width) => `![${VIEWS[view]}, ${names[theme]}, ${width}](${view}-${theme}-${width}.png)`,
      );
      return `### ${names[theme]}\n\n${pictures.join('\n')}\n`;
    });
    return `## ${VIEWS[view]}\n\n${themes.join('\n')}`;
  });
  const text = `# The dashboard in four themes and three widths\n\n\`npm run pictures\` takes them.\n\n${shown.join('\n')}`;
  fs.writeFileSync(path.join(gallery, 'README.md'), text);
}

async function takeTheme(theme: Theme, logPath: string): Promise<void> {
  // A deep model that does not fit beside the others, so that there is something to see.
  const server = await startOllama({ tokenMs: 40, vram: 12 * 2 ** 30 });
  const wb = await openStage({
    theme,
    files: { 'src/queue.ts': SAMPLE },
    env: { OLLAMA_HOST: server.url, INTERN_LOG_PATH: logPath },
    settings: {
      'chat.disableAIFeatures': true,
      'workbench.activityBar.location': 'hidden',
      'ollamaIntern.profile': 'dev-rtx5080-qwen3',
    },
    viewport: { width: 1600, height: 900 },
  });
  try {
    await wb.statusBarItem('ollamaIntern.status');
    if (theme === 'dark' && wanted.length === 0) await takeSummary(wb);
    await load(server, 'qwen3:8b', 8_192);
    await wb.runCommand('View: Close Primary Side Bar');
    await wb.runCommand('Ollama Intern: Show Dashboard');
    const residency = section(await webviewFrame(wb, '[role=tablist]'), 'Residency');
    await waitForText(residency, /qwen3:8b \S+ GB, all in VRAM/);
    await load(server, 'qwen3:14b', 8_192);
    await waitForText(residency, /qwen3:8b evicted/);
    for (const view of views) await takeView(wb, theme, view);
  } finally {
    await wb.close();
    await server.close();
  }
}

async function takeView(wb: Stage, theme: Theme, view: View): Promise<void> {
  for (const width of WIDTHS) {
    await wb.page.setViewportSize({ width, height: 900 });
    const frame = await webviewFrame(wb, '[role=tablist]');
    await frame.getByRole('tab', { name: new RegExp(`^${VIEWS[view]}\\b`) }).click();
    if (view === 'calls') await openDetails(frame, width);
    await settled(frame);
    const file = path.join(gallery, `${view}-${theme}-${width}.png`);
    await takeFrame(wb, file);
    if (theme === 'dark' && width === 1024) {
      fs.copyFileSync(file, path.join(media, 'pictures', `${view}.png`));
    }
  }
}

/** The details of a call that tells something, where there is room for them beside the list. */
async function openDetails(frame: Frame, width: number): Promise<void> {
  await frame.locator('[role=row][aria-rowindex]').nth(4).waitFor();
  const isOpen = (await frame.locator('aside').count()) > 0;
  if (isOpen !== width > 800) {
    if (isOpen) await frame.getByRole('button', { name: 'Close', exact: true }).click();
    else await frame.locator('[role=grid] [role=row][aria-rowindex]').nth(3).click();
  }
}

/** Only the page inside the webview: what is around it is the editor's. */
async function takeFrame(wb: Stage, file: string): Promise<void> {
  const outer = wb.page.locator('iframe.webview').first();
  const box = await outer.boundingBox();
  if (!box) throw new Error('The webview has no place.');
  // Away from what a pointer lights up.
  await wb.page.mouse.move(1, 1);
  await wb.page.screenshot({ path: file, clip: box });
  console.log(path.relative(root, file));
}

async function takeSummary(wb: Stage): Promise<void> {
  await wb.openFile('queue.ts');
  await selectLines(wb, 1, 22);
  await wb.runCommand('Ollama Intern: Summarize Selection');
  const answer = wb.page.locator('.monaco-editor[data-uri^="ollama-intern:"]');
  await waitForText(answer, /instant · local/, 60_000);
  await wb.screenshot(path.join(media, 'pictures', 'summary.png'));
  // The answer is beside its file, and the dashboard has the whole window.
  await wb.runCommand('View: Close All Editors');
}

/** Nothing is asked for any more, the icons are there, and two looks in a row are alike. */
async function settled(frame: Frame): Promise<void> {
  let before = '';
  await poll(
    async () => {
      const now = await frame.locator('.view').innerText();
      // What counts seconds is alike but for its digits.
      const shape = now.replaceAll(/\d+/g, '0');
      const isSettled = shape === before && !/Reading the log|Asking/.test(now);
      before = shape;
      return isSettled;
    },
    20_000,
    () => 'The view does not come to rest',
  );
  await frame.evaluate('document.fonts.ready.then(() => undefined)');
}

async function load(server: OllamaServer, model: string, num_ctx: number): Promise<void> {
  const body = JSON.stringify({ model, prompt: '', stream: false, options: { num_ctx } });
  await fetch(`${server.url}/api/generate`, { method: 'POST', body });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
