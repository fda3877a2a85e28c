/**
 * Puts in place what the suites need: the packages of this project, a VS Code workbench, a Chromium.
 * Plain JavaScript on Node alone, because it runs before anything is installed.
 *
 * The workbench is code-server (the real VS Code workbench and its real Node extension host) on the
 * Node 24 it asks for. That Node comes from the package registry on Linux x64 and arm64; elsewhere the
 * Node that runs this has to be a 24. Windows has no such workbench: there the host suite runs in a
 * downloaded VS Code (see host/runHost.ts).
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
export const cache = path.join(root, '.cache');

const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
const npmFlags = ['--no-audit', '--no-fund', '--loglevel=error'];

/** A problem the person can act on: its message is the whole story, a stack adds nothing. */
export class SetupError extends Error {
  name = 'SetupError';
}

/** Progress lines that all look alike: `setup  workbench: installing packages (12 s)`. */
export function progress(what) {
  const start = Date.now();
  const seconds = () => `${Math.round((Date.now() - start) / 1000)} s`;
  return {
    say: (text) => console.log(`setup  ${what}: ${text} (${seconds()})`),
    start: (text) => console.log(`setup  ${what}: ${text} …`),
  };
}

/** Runs a command quietly, says every few seconds that it goes on, shows its output when it fails. */
export async function runQuietly(command, args, { cwd = root, env = process.env, say, label }) {
  const child = spawn(command, args, {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32' && command.endsWith('.cmd'),
  });
  let output = '';
  const keep = (chunk) => (output = (output + chunk).slice(-20_000));
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const beat = setInterval(() => say(`${label}, still at it`), 10_000);
  const stop = () => child.kill();
  process.once('exit', stop);
  try {
    const code = await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (exit, signal) => resolve(exit ?? signal));
    });
    if (code !== 0) throw new SetupError(`${label} failed (${code}):\n${output.trim()}`);
    return output;
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw new SetupError(`${label}: ${command} could not be started: ${error.message}`);
  } finally {
    clearInterval(beat);
    process.off('exit', stop);
  }
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** npm writes what it installed last thing, so this file is also the proof that nothing was cut short. */
function installedMatchesLock(folder) {
  const wanted = readJson(path.join(folder, 'package-lock.json'))?.packages;
  const present = readJson(path.join(folder, 'node_modules', '.package-lock.json'))?.packages;
  if (!wanted || !present) return false;
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '' || entry.link) return true;
    const installed = present[name];
    if (!installed) return Boolean(entry.optional || entry.devOptional || entry.peer);
    return installed.version === entry.version;
  });
}

/** `npm ci` at the root when node_modules is missing or is not what package-lock.json says. */
export async function ensureDependencies() {
  if (installedMatchesLock(root)) return;
  const { say, start } = progress('packages');
  start('installing what package-lock.json names');
  await runQuietly(npm, ['ci', ...npmFlags], { say, label: 'npm ci' });
  say('installed');
}

const workbenchSource = path.join(root, 'test', 'support', 'host', 'workbench');
const workbenchFolder = path.join(cache, 'workbench');

/** Raised when the steps of the installation change, so that older ones are made anew. */
const WORKBENCH_RECIPE = 1;

function workbenchStamp() {
  const hash = createHash('sha256').update(`${WORKBENCH_RECIPE} ${process.platform} ${os.arch()}`);
  hash.update(fs.readFileSync(path.join(workbenchSource, 'package-lock.json')));
  return hash.digest('hex');
}

/** The Node 24 for the workbench: `bin` goes first on PATH, `headers` is for native modules. */
function workbenchNode(folder) {
  const packaged = path.join(folder, 'node_modules', `node-${process.platform}-${os.arch()}`);
  const node = path.join(packaged, 'bin', 'node');
  if (fs.existsSync(node)) return { node, bin: path.dirname(node), headers: packaged };
  if (process.versions.node.startsWith('24.')) {
    return { node: process.execPath, bin: path.dirname(process.execPath), headers: undefined };
  }
  return undefined;
}

function workbenchPaths(folder) {
  const codeServer = path.join(folder, 'node_modules', 'code-server');
  return {
    folder,
    node: workbenchNode(folder)?.node ?? process.execPath,
    entry: path.join(codeServer, 'out', 'node', 'entry.js'),
    version: readJson(path.join(codeServer, 'lib', 'vscode', 'package.json'))?.version ?? 'unknown',
  };
}

function assertWorkbenchPossible() {
  const supported =
    (process.platform === 'linux' && ['x64', 'arm64'].includes(os.arch())) ||
    (process.platform !== 'win32' && process.versions.node.startsWith('24.'));
  if (supported) return;
  throw new SetupError(
    `No workbench for ${process.platform} ${os.arch()} on Node ${process.versions.node}: ` +
      (process.platform === 'win32'
        ? 'the end-to-end suite needs Linux (WSL will do) or macOS.'
        : 'run this with Node 24.') +
      ' The host suite also runs in a VS Code: set VSCODE_EXECUTABLE, or let it be downloaded.',
  );
}

/** Leftovers of installations whose process is gone. */
function removeAbandoned() {
  for (const name of fs.readdirSync(cache)) {
    const pid = /^workbench\.(?:new|old)-(\d+)$/.exec(name)?.[1];
    if (pid && !isAlive(Number(pid))) {
      fs.rmSync(path.join(cache, name), { recursive: true, force: true });
    }
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Installs the workbench once into .cache/workbench; about 40 s, then nothing. */
export async function ensureWorkbench() {
  assertWorkbenchPossible();
  const stamp = workbenchStamp();
  const isReady = () => readJson(path.join(workbenchFolder, 'stamp.json'))?.stamp === stamp;
  if (isReady()) return workbenchPaths(workbenchFolder);

  const { say, start } = progress('workbench');
  fs.mkdirSync(cache, { recursive: true });
  removeAbandoned();
  // Built beside its final place and renamed, so an interruption never leaves half a workbench.
  const temporary = path.join(cache, `workbench.new-${process.pid}`);
  fs.rmSync(temporary, { recursive: true, force: true });
  fs.mkdirSync(temporary, { recursive: true });
  try {
    start('installing VS Code (code-server) and its Node, once, about 1 GB');
    const spdlog = await installWorkbench(temporary, say);
    fs.writeFileSync(path.join(temporary, 'stamp.json'), JSON.stringify({ stamp, spdlog }));
    if (!isReady()) moveIntoPlace(temporary);
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
  const paths = workbenchPaths(workbenchFolder);
  say(`VS Code ${paths.version} is ready`);
  return paths;
}

function moveIntoPlace(temporary) {
  const old = path.join(cache, `workbench.old-${process.pid}`);
  if (fs.existsSync(workbenchFolder)) fs.renameSync(workbenchFolder, old);
  fs.renameSync(temporary, workbenchFolder);
  fs.rmSync(old, { recursive: true, force: true });
}

async function installWorkbench(folder, say) {
  for (const name of ['package.json', 'package-lock.json']) {
    fs.copyFileSync(path.join(workbenchSource, name), path.join(folder, name));
  }
  // Scripts are held back: the workbench's own refuses to run on any Node but 24.
  const ci = ['ci', '--ignore-scripts', ...npmFlags];
  await runQuietly(npm, ci, { cwd: folder, say, label: 'installing packages' });
  say('packages are there, unpacking VS Code');

  const node = workbenchNode(folder);
  if (!node) throw new SetupError('The package with Node 24 for the workbench is missing.');
  const env = { ...process.env, PATH: node.bin + path.delimiter + process.env.PATH };
  env.npm_config_user_agent = `npm/11 node/v24.0.0 ${process.platform} ${os.arch()}`;
  const codeServer = path.join(folder, 'node_modules', 'code-server');
  await runQuietly('sh', ['./postinstall.sh'], {
    cwd: codeServer,
    env: { ...env, npm_config_ignore_scripts: 'true' },
    say,
    label: 'unpacking VS Code',
  });
  say('VS Code is there, compiling its logger');
  return compileLogger(path.join(codeServer, 'lib', 'vscode'), node, env, say);
}

/** Without this one native module output channels stay empty; everything else works. */
async function compileLogger(cwd, node, env, say) {
  try {
    await ensureCompiler(say);
    const buildEnv = { ...env, npm_config_ignore_scripts: 'false' };
    if (node.headers) buildEnv.npm_config_nodedir = node.headers;
    const args = ['rebuild', '@vscode/spdlog', ...npmFlags];
    await runQuietly(npm, args, { cwd, env: buildEnv, say, label: 'compiling the logger' });
    return true;
  } catch (error) {
    say(`the logger could not be compiled, so output channels will be empty: ${error.message}`);
    return false;
  }
}

async function ensureCompiler(say) {
  const tools = { python3: 'python3', make: 'make', 'g++': 'g++' };
  const missing = Object.entries(tools).filter(([tool]) => !findOnPath([tool]));
  if (missing.length > 0 && canUseApt()) {
    await aptInstall(
      missing.map(([, name]) => name),
      say,
    );
  }
}

// --- Chromium ---------------------------------------------------------------------------------

const chromiumNames = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function findOnPath(names) {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter(Boolean);
  for (const name of names) {
    for (const folder of folders) {
      const file = path.join(folder, name);
      if (isExecutable(file)) return file;
    }
  }
  return undefined;
}

function isExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

function playwrightCaches() {
  const home = os.homedir();
  return [
    process.env.PLAYWRIGHT_BROWSERS_PATH,
    path.join(home, '.cache', 'ms-playwright'),
    path.join(home, 'Library', 'Caches', 'ms-playwright'),
    process.env.LOCALAPPDATA && path.join(process.env.LOCALAPPDATA, 'ms-playwright'),
  ].filter(Boolean);
}

const playwrightBinaries = [
  ['chrome-linux', 'chrome'],
  ['chrome-linux64', 'chrome'],
  ['chrome-mac', 'Chromium.app', 'Contents', 'MacOS', 'Chromium'],
  ['chrome-mac-arm64', 'Chromium.app', 'Contents', 'MacOS', 'Chromium'],
  ['chrome-win', 'chrome.exe'],
];

function findInPlaywrightCaches() {
  for (const folder of playwrightCaches()) {
    const builds = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
    for (const build of builds.filter((name) => /^chromium-\d+$/.test(name)).reverse()) {
      const files = playwrightBinaries.map((parts) => path.join(folder, build, ...parts));
      const found = files.find(isExecutable);
      if (found) return found;
    }
  }
  return undefined;
}

const installedApplications = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  process.env.PROGRAMFILES &&
    path.join(process.env.PROGRAMFILES, 'Google', 'Chrome', 'Application', 'chrome.exe'),
].filter(Boolean);

function findChromium() {
  return (
    findOnPath(chromiumNames) ??
    installedApplications.find(isExecutable) ??
    findInPlaywrightCaches()
  );
}

function canUseApt() {
  const isRoot = process.getuid?.() === 0;
  return isRoot && fs.existsSync('/etc/debian_version') && Boolean(findOnPath(['apt-get']));
}

async function aptInstall(packages, say) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await runQuietly('apt-get', ['update'], { env, say, label: 'apt-get update' });
  const args = ['install', '-y', '--no-install-recommends', ...packages];
  await runQuietly('apt-get', args, { env, say, label: `installing ${packages.join(', ')}` });
}

/** The path of a Chromium: the one asked for, one that is there, or Debian's. */
export async function ensureChromium() {
  const asked = process.env.CHROME_PATH;
  if (asked) {
    if (isExecutable(asked)) return asked;
    throw new SetupError(`CHROME_PATH names ${asked}, which cannot be run.`);
  }
  const found = findChromium();
  if (found) return found;
  if (!canUseApt()) {
    throw new SetupError(
      'No Chromium found. Install Chrome or Chromium, or run `npx playwright-core install chromium`, ' +
        'or set CHROME_PATH to one.',
    );
  }
  const { say, start } = progress('chromium');
  start("installing Debian's");
  await aptInstall(['chromium', 'fonts-dejavu-core', 'fonts-liberation'], say);
  const installed = findChromium();
  if (!installed) throw new SetupError('chromium was installed but is not on PATH.');
  say('installed');
  return installed;
}

/** Whether `name` can be run on this machine, and where it is. */
export function which(name) {
  return findOnPath([name]);
}

/** Ends a process and all that it started. */
export function killTree(pid) {
  if (process.platform === 'win32') {
    spawnSync('taskkill', ['/pid', String(pid), '/t', '/f'], { stdio: 'ignore' });
    return;
  }
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}
