import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  chromium,
  type BrowserContext,
  type ConsoleMessage,
  type Locator,
  type Page,
} from 'playwright-core';
import { ensureChromium, ensureWorkbench } from '../setup.mjs';
import { testEnvironment } from './environment.ts';
import { installVsix, serverFolders, startServer, type Server } from './server.ts';
import { testSettings, type Settings, type Theme } from './settings.ts';

export type { Theme } from './settings.ts';

export interface WorkbenchOptions {
  /** The folder to open. */
  folder: string;
  /** An extension under development: a folder with a package.json. */
  extensionPath?: string;
  /** A packaged extension to install first. */
  vsix?: string;
  /**
   * Shows notification toasts, which the workbench's test driver suppresses. An extension from
   * `extensionPath` is then linked into the extensions folder like an installed one.
   */
  toasts?: boolean;
  settings?: Settings;
  /** Environment of the server and so of the extension host. HOME is a folder made for this window. */
  env?: Record<string, string | undefined>;
  theme?: Theme;
  /** The display language, such as `de`. The workbench itself stays English: there is no language pack. */
  language?: string;
  viewport?: { width: number; height: number };
  /** Pixels of a picture for each pixel of the page. */
  scale?: number;
  port?: number;
  /** Asks for trust as a person's VS Code does; by default every folder is trusted. */
  workspaceTrust?: boolean;
  /**
   * A folder that outlives the window: open it again with the same `port` and what was kept (settings,
   * secrets, memory of the workspace) is there. By default the folder is new, and removed at the end.
   */
  home?: string;
  /** A module exporting `run()` that is run inside the extension host. */
  tests?: {
    path: string;
    onLog: (type: string, args: unknown[]) => void;
    onExit: (code: number) => void;
  };
}

export interface Notification {
  severity: 'info' | 'warning' | 'error';
  message: string;
  source: string;
  buttons: string[];
}

export interface StatusBarItem {
  id: string;
  text: string;
  ariaLabel: string;
}

export interface Workbench {
  page: Page;
  url: string;
  port: number;
  /** The home directory of the window's server. */
  home: string;
  /** Runs a command by its title in the palette, `Category: Title`. */
  runCommand(title: string): Promise<void>;
  /** Goes to the start of a line of the active editor, counted from 1. */
  goToLine(line: number): Promise<void>;
  /** Picks a row of the quick pick that is open. */
  pick(label: string | RegExp): Promise<void>;
  /** The rows of the quick pick that is open. */
  pickRows(): Promise<string[]>;
  /** Answers the input box that is open. */
  enter(text: string): Promise<void>;
  /** Opens a file of the folder by its name. */
  openFile(name: string): Promise<void>;
  /** The visible lines of the active editor. */
  editorText(): Promise<string>;
  /** All lines of the active editor, by way of the clipboard; the cursor ends at the start. */
  wholeEditorText(): Promise<string>;
  /** The notifications there are, newest first, without waiting. */
  notifications(): Promise<Notification[]>;
  /** Waits for a notification whose message matches. */
  waitForNotification(message: RegExp, timeout?: number): Promise<Notification>;
  /** Clicks a button of the notification whose message matches. */
  clickNotification(message: RegExp, button: string): Promise<void>;
  /** Waits for an item of the status bar, by its id (or the end of it) or by its text. */
  statusBarItem(idOrText: string | RegExp, timeout?: number): Promise<StatusBarItem>;
  statusBarLocator(idOrText: string | RegExp): Locator;
  screenshot(file: string): Promise<void>;
  /** What the page and the server have printed, for the report of a failure. */
  diagnostics(): string;
  close(): Promise<void>;
}

const chromiumArgs = [
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Nothing but this machine can be reached, so a test cannot come to depend on a network.
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost',
];

/** Opens a window of the workbench in a headless browser. Close it in a `finally`. */
export async function openWorkbench(options: WorkbenchOptions): Promise<Workbench> {
  const paths = await ensureWorkbench();
  const executablePath = await ensureChromium();
  const home = options.home ?? fs.mkdtempSync(path.join(os.tmpdir(), 'intern-wb-'));
  const undo: (() => unknown)[] = [];
  if (!options.home) undo.push(() => removeFolder(home));
  const close = async () => {
    while (undo.length > 0) await undo.pop()?.();
  };
  try {
    writeSettings(home, options);
    if (options.vsix) installVsix(paths, home, options.vsix);
    if (options.toasts && options.extensionPath) linkExtension(home, options.extensionPath);
    const server = await startServer(paths, {
      home,
      env: testEnvironment(home, options.env),
      testDriver: !options.toasts,
      workspaceTrust: options.workspaceTrust ?? false,
      ...(options.port ? { port: options.port } : {}),
    });
    undo.push(() => server.stop());
    if (!options.home) undo.push(removeAtExit(home));
    const context = await openBrowser(home, executablePath, options);
    undo.push(() => context.close());
    const page = context.pages()[0] ?? (await context.newPage());
    const lines = collectConsole(page);
    await exposeTestFunctions(page, options);
    const url = address(server, throughLink(home, options));
    await page.goto(url);
    const facts = { page, url, home, port: server.port, close };
    const workbench = describeWorkbench(facts, () => `${lines.join('\n')}\n${server.log()}`);
    await waitUntilReady(page, workbench);
    return workbench;
  } catch (error) {
    await close();
    throw error;
  }
}

function writeSettings(home: string, options: WorkbenchOptions): void {
  const settings = testSettings(
    options.theme ?? 'dark',
    options.settings,
    options.workspaceTrust ?? false,
  );
  const write = (name: string, all: Settings): void => {
    const folder = path.join(serverFolders(home).user, name);
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(path.join(folder, 'settings.json'), JSON.stringify(all, null, 2));
  };
  write('User', settings);
  // Those of machine scope count only here; in the user's they are dropped as soon as their scope is known.
  const own = Object.entries(settings).filter(([key]) => key.startsWith('ollamaIntern.'));
  const machine = path.join(serverFolders(home).user, 'Machine', 'settings.json');
  // What a window before has kept stays.
  if (!fs.existsSync(machine)) write('Machine', Object.fromEntries(own));
}

function linkExtension(home: string, extensionPath: string): void {
  const { publisher, name, version } = JSON.parse(
    fs.readFileSync(path.join(extensionPath, 'package.json'), 'utf8'),
  ) as Record<string, string>;
  const { extensions } = serverFolders(home);
  const link = path.join(extensions, `${publisher}.${name}-${version}`);
  fs.mkdirSync(extensions, { recursive: true });
  fs.rmSync(link, { force: true });
  fs.symlinkSync(path.resolve(extensionPath), link);
}

async function openBrowser(
  home: string,
  executablePath: string,
  options: WorkbenchOptions,
): Promise<BrowserContext> {
  const context = await chromium.launchPersistentContext(path.join(home, 'browser'), {
    executablePath,
    args: chromiumArgs,
    // Its crash reports, too, belong to this window alone.
    env: { ...process.env, XDG_CONFIG_HOME: path.join(home, 'browser-config') },
    headless: true,
    viewport: options.viewport ?? { width: 1280, height: 800 },
    deviceScaleFactor: options.scale ?? 1,
    colorScheme: options.theme?.toLowerCase().endsWith('light') ? 'light' : 'dark',
    reducedMotion: 'reduce',
    locale: 'en-US',
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  // Functions handed to `evaluate` are compiled with calls of this helper, which the page lacks.
  await context.addInitScript('globalThis.__name ??= (value) => value');
  // What a language pack would set.
  if (options.language) {
    await context.addInitScript(`globalThis._VSCODE_NLS_LANGUAGE = '${options.language}'`);
  }
  return context;
}

function collectConsole(page: Page): string[] {
  const lines: string[] = [];
  const add = (line: string) => {
    lines.push(line);
    if (lines.length > 500) lines.shift();
  };
  page.on('console', (message: ConsoleMessage) => add(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => add(`page error: ${error.message}`));
  return lines;
}

async function exposeTestFunctions(page: Page, { tests }: WorkbenchOptions): Promise<void> {
  if (!tests) return;
  await page.exposeFunction('codeAutomationLog', tests.onLog);
  await page.exposeFunction('codeAutomationExit', tests.onExit);
}

/**
 * The workbench itself may lie inside the extension's folder, in its cache; then all of its themes would pass for
 * themes under development, and the first of them would be forced on the window. Seen through a link, they do not.
 */
function throughLink(home: string, options: WorkbenchOptions): WorkbenchOptions {
  const { extensionPath, tests, toasts } = options;
  if (!extensionPath || toasts) return options;
  const link = path.join(home, 'extension');
  fs.rmSync(link, { force: true });
  fs.symlinkSync(path.resolve(extensionPath), link, 'junction');
  const linked = (file: string) => path.join(link, path.relative(extensionPath, file));
  return {
    ...options,
    extensionPath: link,
    ...(tests && { tests: { ...tests, path: linked(tests.path) } }),
  };
}

function address(server: Server, options: WorkbenchOptions): string {
  const url = new URL(server.origin);
  url.searchParams.set('folder', path.resolve(options.folder));
  const remote = (file: string) => `vscode-remote://${url.host}${path.resolve(file)}`;
  const payload: [string, string][] = [['skipWelcome', 'true']];
  if (options.extensionPath && !options.toasts) {
    payload.push(['extensionDevelopmentPath', remote(options.extensionPath)]);
  }
  if (options.tests) {
    payload.push(['extensionTestsPath', remote(options.tests.path)], ['enableProposedApi', '']);
  }
  if (!options.toasts) url.searchParams.set('payload', JSON.stringify(payload));
  return url.toString();
}

async function waitUntilReady(page: Page, workbench: Workbench): Promise<void> {
  const statusBar = page.locator('.monaco-workbench .part.statusbar .statusbar-item').first();
  try {
    await statusBar.waitFor({ state: 'visible', timeout: 60_000 });
  } catch (error) {
    throw new Error(`The workbench did not show up.\n${workbench.diagnostics()}`, { cause: error });
  }
}

/** After the server's own handler, so that nobody writes there any more; returns how to call it off. */
function removeAtExit(folder: string): () => void {
  const remove = () => removeFolder(folder);
  process.once('exit', remove);
  return () => process.off('exit', remove);
}

function removeFolder(folder: string): void {
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

// --- What a person does in the window ---------------------------------------------------------

type Facts = Pick<Workbench, 'page' | 'url' | 'home' | 'port' | 'close'>;

function describeWorkbench(facts: Facts, diagnostics: () => string): Workbench {
  const { page } = facts;
  return {
    ...facts,
    diagnostics,
    runCommand: (title) => runCommand(page, title),
    goToLine: (line) => goToLine(page, line),
    pick: (label) => pick(page, label),
    pickRows: () => pickRows(page),
    enter: (text) => enter(page, text),
    openFile: (name) => openFile(page, name),
    editorText: () => editorText(page),
    wholeEditorText: () => wholeEditorText(page),
    notifications: () => withNotifications(page, () => readNotifications(page)),
    waitForNotification: (message, timeout) => waitForNotification(page, message, timeout),
    clickNotification: (message, button) => clickNotification(page, message, button),
    statusBarItem: (idOrText, timeout) => statusBarItem(page, idOrText, timeout),
    statusBarLocator: (idOrText) => statusBarLocator(page, idOrText),
    screenshot: async (file) => {
      fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
      await page.screenshot({ path: file });
    },
  };
}

const quickInput = (page: Page) => page.locator('.quick-input-widget input.input').first();
const quickRows = (page: Page) => page.locator('.quick-input-widget .monaco-list-row');

async function openQuickInput(page: Page): Promise<Locator> {
  const input = quickInput(page);
  // A key that comes while the workbench is still wiring itself up is lost, so it is pressed again.
  for (let attempt = 0; attempt < 5; attempt++) {
    await page.keyboard.press('F1');
    const shown = await input.waitFor({ state: 'visible', timeout: 2000 }).then(
      () => true,
      () => false,
    );
    if (shown) return input;
  }
  throw new Error('The command palette does not open.');
}

const escapeRegExp = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const exactly = (label: string) => new RegExp(`^\\s*${escapeRegExp(label)}\\s*$`);

function rowNamed(page: Page, label: string | RegExp): Locator {
  const name = typeof label === 'string' ? exactly(label) : label;
  return quickRows(page)
    .filter({ has: page.locator('.quick-input-list-label .label-name').filter({ hasText: name }) })
    .first();
}

async function runCommand(page: Page, title: string): Promise<void> {
  const query = `>${title}`;
  const row = rowNamed(page, title);
  for (let attempt = 0; ; attempt++) {
    await fillPalette(page, query);
    try {
      await clickRow(page, row, `No command "${title}" in the palette`);
      break;
    } catch (error) {
      // An editor that takes the focus closes the palette.
      if (attempt === 3 || (await quickInput(page).isVisible())) throw error;
    }
  }
  await waitUntilAccepted(page, query, row);
}

/** The palette closes when an editor takes the focus meanwhile; then it is opened again. */
async function fillPalette(page: Page, query: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const input = await openQuickInput(page);
    try {
      return await input.fill(query, { timeout: 2000 });
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

/** A command may open the next quick pick at once: that counts as accepted as well. */
async function waitUntilAccepted(page: Page, query: string, row: Locator): Promise<void> {
  const input = quickInput(page);
  const isReplaced = async () => (await input.inputValue()) !== query && !(await row.isVisible());
  await poll(
    async () => !(await input.isVisible()) || (await isReplaced()),
    5000,
    () => `The row was clicked but "${query}" stayed open`,
  );
}

async function clickRow(page: Page, row: Locator, problem: string): Promise<void> {
  try {
    await row.click({ timeout: 15_000 });
  } catch (error) {
    const seen = await pickRows(page).catch(() => []);
    throw new Error(`${problem}. Rows: ${seen.slice(0, 8).join(' | ') || 'none'}`, {
      cause: error,
    });
  }
}

async function pick(page: Page, label: string | RegExp): Promise<void> {
  await quickInput(page).waitFor({ state: 'visible' });
  await clickRow(page, rowNamed(page, label), `No row ${String(label)}`);
}

async function pickRows(page: Page): Promise<string[]> {
  const read = async () => {
    const rows = await quickRows(page).allInnerTexts();
    return rows.map((row) => row.replaceAll(/\s+/g, ' ').trim());
  };
  // The list is filled after it is shown, and the rows of the one before stay until then.
  let rows: string[] = [];
  await poll(
    async () => {
      const before = rows;
      rows = await read();
      return rows.length > 0 && rows.join() === before.join();
    },
    5000,
    () => 'The quick pick stays empty',
  );
  return rows;
}

async function enter(page: Page, text: string): Promise<void> {
  const input = quickInput(page);
  await input.waitFor({ state: 'visible' });
  await input.fill(text);
  await input.press('Enter');
}

async function openFile(page: Page, name: string): Promise<void> {
  const input = await openQuickInput(page);
  await input.fill(name);
  const base = path.posix.basename(name);
  await clickRow(page, rowNamed(page, base), `No file "${name}" in the folder`);
  const editor = page.locator('.editor-group-container.active .tab.active', { hasText: base });
  await editor.waitFor({ state: 'visible' });
  await activeEditor(page).locator('.view-line').first().waitFor({ state: 'attached' });
}

async function goToLine(page: Page, line: number): Promise<void> {
  const input = await openQuickInput(page);
  await input.fill(`:${line}`);
  await input.press('Enter');
  await input.waitFor({ state: 'hidden' });
  await page.keyboard.press('Home');
}

const activeEditor = (page: Page) =>
  page.locator('.editor-group-container.active .editor-instance .monaco-editor').first();

interface Line {
  style: { top: string };
  textContent: string | null;
}

async function editorText(page: Page): Promise<string> {
  const lines = activeEditor(page).locator('.view-line');
  await lines.first().waitFor({ state: 'attached' });
  // The editor moves its lines about, so their order in the page says nothing.
  const read = (await lines.evaluateAll((all: Line[]) =>
    all.map((line) => [parseFloat(line.style.top), line.textContent]),
  )) as [number, string][];
  const sorted = read.sort((a, b) => a[0] - b[0]).map(([, text]) => text);
  return sorted.join('\n').replaceAll('\u00a0', ' ');
}

async function wholeEditorText(page: Page): Promise<string> {
  // Not with a click: that may scroll the page under the editor.
  await runCommand(page, 'View: Focus Active Editor Group');
  const marker = `nothing copied ${Math.random()}`;
  await page.evaluate(`navigator.clipboard.writeText(${JSON.stringify(marker)})`);
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.press('ControlOrMeta+C');
  const clipboard = () => page.evaluate<string>('navigator.clipboard.readText()');
  await poll(
    async () => (await clipboard()) !== marker,
    5000,
    () => 'The editor copies nothing',
  );
  const text = await clipboard();
  await page.keyboard.press('ControlOrMeta+Home');
  return text;
}

const notificationItems = (page: Page) =>
  page.locator('.notification-toast, .notifications-center').locator('.notification-list-item');

/** Toasts are used where they are; without them the notification center is open meanwhile. */
async function withNotifications<T>(page: Page, use: () => Promise<T>): Promise<T> {
  const bell = page.locator('.statusbar-item[id="status.notifications"]');
  const center = page.locator('.notifications-center.visible');
  const isShown = async () =>
    (await notificationItems(page).first().isVisible()) || (await center.isVisible());
  if (await isShown()) return use();
  await bell.click({ timeout: 5000 });
  try {
    return await use();
  } finally {
    if (await center.isVisible()) await bell.click({ timeout: 5000 });
  }
}

/** As much of the page's DOM as is read there. */
interface PageElement {
  className: string;
  innerText: string;
  offsetParent: unknown;
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
}

/** All are read at once: between two questions one message may have made room for another. */
function readNotifications(page: Page): Promise<Notification[]> {
  return notificationItems(page).evaluateAll((found) => {
    const isVisible = (one: PageElement | null): one is PageElement => Boolean(one?.offsetParent);
    const read = (element: PageElement): Notification => {
      const find = (name: string) => element.querySelector(`.notification-list-item-${name}`);
      const icon = /codicon-(error|warning|info)/.exec(find('icon')?.className ?? '')?.[1];
      const source = find('source');
      const buttons = element.querySelectorAll(
        '.notification-list-item-buttons-container .monaco-button',
      );
      return {
        severity: (icon ?? 'info') as Notification['severity'],
        message: (find('message')?.innerText ?? '').trim(),
        source: isVisible(source) ? source.innerText.replace(/^Source: /, '') : '',
        buttons: [...buttons].filter(isVisible).map((button) => button.innerText),
      };
    };
    return (found as unknown as PageElement[]).filter(isVisible).map(read);
  });
}

async function waitForNotification(
  page: Page,
  message: RegExp,
  timeout = 15_000,
): Promise<Notification> {
  let seen = '';
  let matching: Notification | undefined;
  // The center closes by itself when a progress was the last one in it, so it is opened anew each time.
  await poll(
    async () => {
      try {
        const there = await withNotifications(page, () => readNotifications(page));
        seen = JSON.stringify(there);
        matching = there.find((one) => message.test(one.message));
      } catch (error) {
        seen = (error as Error).message;
      }
      return matching !== undefined;
    },
    timeout,
    () => `No notification ${String(message)}. There are: ${seen}`,
  );
  return matching!;
}

async function clickNotification(page: Page, message: RegExp, button: string): Promise<void> {
  await waitForNotification(page, message);
  await withNotifications(page, async () => {
    const item = notificationItems(page).filter({ hasText: message }).first();
    await item.hover();
    await item.locator('.monaco-button', { hasText: exactly(button) }).click({ timeout: 5000 });
  });
}

function statusBarLocator(page: Page, idOrText: string | RegExp): Locator {
  const items = page.locator('.part.statusbar .statusbar-item');
  if (typeof idOrText !== 'string') return items.filter({ hasText: idOrText }).first();
  const id = JSON.stringify(idOrText);
  return items
    .filter({ hasText: idOrText })
    .or(page.locator(`.part.statusbar .statusbar-item[id$=${id}]`))
    .first();
}

async function statusBarItem(
  page: Page,
  idOrText: string | RegExp,
  timeout = 30_000,
): Promise<StatusBarItem> {
  const item = statusBarLocator(page, idOrText);
  await item.waitFor({ state: 'visible', timeout });
  return {
    id: (await item.getAttribute('id')) ?? '',
    text: (await item.innerText()).trim(),
    ariaLabel: (await item.getAttribute('aria-label')) ?? '',
  };
}

/** Asks again until the answer is yes. */
export async function poll(
  condition: () => Promise<boolean> | boolean,
  timeout: number,
  problem: () => string,
): Promise<void> {
  const end = Date.now() + timeout;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${problem()} (waited ${timeout / 1000} s).`);
    await delay(150);
  }
}
