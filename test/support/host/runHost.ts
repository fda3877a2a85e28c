/**
 * Runs the bundled host tests (out/test/host/index.js) in a real extension host.
 *
 * There are two such hosts, and the choice is printed: a desktop VS Code through @vscode/test-electron,
 * when VSCODE_EXECUTABLE names one or one can be downloaded and there is a display; else the workbench
 * in a headless browser. INTERN_HOST=workbench or INTERN_HOST=electron chooses by hand.
 *
 * Either can end with exit code 0 without a pass (a `process.exit` in a test does it), so only the
 * results file counts.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { readResults, type Results } from '../results.mjs';
import { cache, killTree, root, which } from '../setup.mjs';
import { testEnvironment } from './environment.ts';
import { testSettings, type Settings } from './settings.ts';
import { openWorkbench } from './workbench.ts';

export interface HostFixture {
  /** The folder that the window opens. */
  folder: string;
  env?: Record<string, string | undefined>;
  settings?: Settings;
  stop?: () => Promise<void>;
}

export interface HostOptions {
  fixture: HostFixture;
  /** The file that the results are written to, one JSON object a line. */
  resultsFile: string;
  extensionPath?: string;
  testsPath?: string;
  grep?: string;
  /** The whole run is ended after this many milliseconds. */
  timeLimit?: number;
}

export interface HostOutcome {
  how: string;
  results: Results;
  /** Why this is not a pass, beyond failed tests. */
  problem?: string;
}

const prefix = '\u2063';

type Ending = { kind: 'exit'; code: number } | { kind: 'limit' } | { kind: 'crash'; why: string };

/** Runs the suite and judges it by what it wrote. */
export async function runHost(options: HostOptions): Promise<HostOutcome> {
  fs.rmSync(options.resultsFile, { force: true });
  fs.mkdirSync(path.dirname(options.resultsFile), { recursive: true });
  const executable = await findDesktop();
  const how = executable ? `VS Code at ${path.relative(root, executable)}` : 'the workbench';
  console.log(`host suite in ${how}`);
  const ending = await (executable ? runDesktop(executable, options) : runWorkbench(options));
  const results = readResults(options.resultsFile);
  return { how, results, ...judge(ending, results, options) };
}

function judge(ending: Ending, results: Results, options: HostOptions): { problem?: string } {
  const during = results.running ? ` during "${results.running}"` : '';
  if (ending.kind === 'limit') {
    return { problem: `ended after ${limitOf(options) / 1000} s${during}` };
  }
  if (ending.kind === 'crash') return { problem: `${ending.why}${during}` };
  if (!results.ended) return { problem: `the extension host went away${during}` };
  if (results.passed + results.failed === 0) return { problem: 'no test ran' };
  if (ending.code !== 0 && results.failed === 0) {
    return { problem: `exit code ${ending.code} although no test failed` };
  }
  return {};
}

const limitOf = (options: HostOptions) => options.timeLimit ?? 15 * 60_000;
const extensionOf = (options: HostOptions) => options.extensionPath ?? root;
const testsOf = (options: HostOptions) =>
  options.testsPath ?? path.join(root, 'out', 'test', 'host', 'index');

function testVariables(options: HostOptions): Record<string, string | undefined> {
  return {
    ...options.fixture.env,
    INTERN_TEST_RESULTS: options.resultsFile,
    INTERN_TEST_GREP: options.grep,
    INTERN_TEST_COLORS: process.stdout.isTTY ? '1' : undefined,
  };
}

// --- the workbench ----------------------------------------------------------------------------

async function runWorkbench(options: HostOptions): Promise<Ending> {
  let finish!: (ending: Ending) => void;
  const ending = new Promise<Ending>((resolve) => (finish = resolve));
  const limit = setTimeout(() => finish({ kind: 'limit' }), limitOf(options));
  let opened: Awaited<ReturnType<typeof openWorkbench>> | undefined;
  try {
    opened = await openWorkbench({
      folder: options.fixture.folder,
      extensionPath: extensionOf(options),
      env: { ...testVariables(options), INTERN_TEST_PREFIX: prefix },
      ...(options.fixture.settings ? { settings: options.fixture.settings } : {}),
      tests: {
        path: testsOf(options),
        onLog: (_type, args) => printOwnLines(args),
        onExit: (code) => finish({ kind: 'exit', code }),
      },
    });
    opened.page.on('crash', () => finish({ kind: 'crash', why: 'the page crashed' }));
    opened.page.on('close', () => finish({ kind: 'crash', why: 'the page was closed' }));
    watchForLostHost(options, finish);
    const result = await ending;
    if (result.kind !== 'exit') console.log(opened.diagnostics().slice(-3000));
    return result;
  } finally {
    clearTimeout(limit);
    await opened?.close();
  }
}

/** The workbench's own log comes the same way: only lines with the prefix are the tests'. */
function printOwnLines(args: unknown[]): void {
  const text = args.map(String).join(' ');
  if (text.includes(prefix)) console.log(text.slice(text.indexOf(prefix) + prefix.length));
}

/** Some endings of the extension host are not reported: no first result is one sign of them. */
function watchForLostHost({ resultsFile }: HostOptions, finish: (ending: Ending) => void): void {
  const timer = setTimeout(() => {
    if (fs.existsSync(resultsFile)) return;
    finish({ kind: 'crash', why: 'no test began within 90 s of the window' });
  }, 90_000);
  timer.unref();
}

// --- a desktop VS Code ------------------------------------------------------------------------

/** A desktop VS Code that can be started here, or nothing. */
async function findDesktop(): Promise<string | undefined> {
  const wanted = process.env.INTERN_HOST;
  if (wanted === 'workbench') return undefined;
  const needsDisplay = process.platform === 'linux' && !process.env.DISPLAY;
  if (needsDisplay && !which('xvfb-run')) {
    const reason = 'a desktop VS Code needs a display or xvfb-run';
    if (wanted === 'electron') throw new Error(reason);
    if (process.env.VSCODE_EXECUTABLE) console.log(`VSCODE_EXECUTABLE is not used: ${reason}`);
    return undefined;
  }
  return process.env.VSCODE_EXECUTABLE ?? (await downloadDesktop(wanted === 'electron'));
}

async function downloadDesktop(required: boolean): Promise<string | undefined> {
  const { downloadAndUnzipVSCode } = await import('@vscode/test-electron');
  const version = process.env.INTERN_VSCODE_VERSION ?? 'stable';
  try {
    // Out of reach is found out quickly, and then the workbench is as good.
    if (!required) await isReachable(3000);
    return await downloadAndUnzipVSCode({ version, cachePath: path.join(cache, 'vscode') });
  } catch (error) {
    if (required) throw error;
    console.log(`no VS Code to download: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  }
}

async function isReachable(timeout: number): Promise<void> {
  const { fetchStableVersions } = await import('@vscode/test-electron/out/download.js');
  const versions = await fetchStableVersions(true, timeout);
  if (!Array.isArray(versions) || versions.length === 0) throw new Error('no list of versions');
}

async function runDesktop(executable: string, options: HostOptions): Promise<Ending> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'intern-vs-'));
  const user = path.join(home, 'user');
  fs.mkdirSync(path.join(user, 'User'), { recursive: true });
  fs.writeFileSync(
    path.join(user, 'User', 'settings.json'),
    JSON.stringify(testSettings('dark', options.fixture.settings)),
  );
  const command = [executable, ...desktopArgs(options, home)];
  const needsDisplay = process.platform === 'linux' && !process.env.DISPLAY;
  if (needsDisplay) command.unshift('xvfb-run', '-a');
  try {
    return await runWithLimit(command, testEnvironment(home, testVariables(options)), options);
  } finally {
    fs.rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

function desktopArgs(options: HostOptions, home: string): string[] {
  return [
    options.fixture.folder,
    `--extensionDevelopmentPath=${extensionOf(options)}`,
    `--extensionTestsPath=${testsOf(options)}`,
    `--user-data-dir=${path.join(home, 'user')}`,
    `--extensions-dir=${path.join(home, 'exts')}`,
    ...['--no-sandbox', '--disable-gpu', '--disable-gpu-sandbox', '--disable-updates'],
    ...['--disable-workspace-trust', '--disable-telemetry', '--skip-welcome'],
    '--skip-release-notes',
  ];
}

/** Not the library's `runTests`: that one cannot be ended. */
async function runWithLimit(
  [command, ...args]: string[],
  env: NodeJS.ProcessEnv,
  options: HostOptions,
): Promise<Ending> {
  const child = spawn(command!, args, {
    env,
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const kill = () => child.pid && killTree(child.pid);
  process.once('exit', kill);
  return new Promise<Ending>((resolve) => {
    const limit = setTimeout(() => resolve({ kind: 'limit' }), limitOf(options));
    const end = (ending: Ending) => {
      clearTimeout(limit);
      resolve(ending);
    };
    child.on('error', (error) => end({ kind: 'crash', why: error.message }));
    child.on('exit', (code, signal) =>
      end(code === null ? { kind: 'crash', why: `ended by ${signal}` } : { kind: 'exit', code }),
    );
  }).finally(() => {
    process.off('exit', kill);
    kill();
  });
}

// --- from the command line --------------------------------------------------------------------

async function main(): Promise<void> {
  const fixtureFile = path.join(root, 'test', 'host', 'fixture.ts');
  const { prepare } = (await import(pathToFileURL(fixtureFile).href)) as {
    prepare: () => Promise<HostFixture>;
  };
  const fixture = await prepare();
  const resultsFile = process.env.INTERN_TEST_RESULTS ?? path.join(cache, 'results', 'host.ndjson');
  try {
    const outcome = await runHost({ fixture, resultsFile, ...optionsFromEnvironment() });
    const { results, problem } = outcome;
    if (problem) {
      console.error(`host suite: ${problem}`);
      const line = JSON.stringify({ event: 'problem', message: problem });
      fs.appendFileSync(resultsFile, `${line}\n`);
    }
    process.exitCode = problem || results.failed > 0 ? 1 : 0;
  } finally {
    await fixture.stop?.();
  }
}

function optionsFromEnvironment(): Partial<HostOptions> {
  const { INTERN_TEST_GREP: grep, INTERN_TEST_LIMIT_MS: limit } = process.env;
  const extensionPath = process.env.INTERN_TEST_EXTENSION;
  return {
    ...(grep ? { grep } : {}),
    ...(limit ? { timeLimit: Number(limit) } : {}),
    ...(extensionPath ? { extensionPath: path.resolve(extensionPath) } : {}),
  };
}

if (require.main === module) {
  main().catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
}
