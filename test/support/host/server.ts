import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { killTree, type WorkbenchPaths } from '../setup.mjs';

export interface ServerOptions {
  /** Everything the server writes is below this folder. */
  home: string;
  env: NodeJS.ProcessEnv;
  port?: number;
  /** Without it the address cannot name an extension under development, with it toasts do not show. */
  testDriver: boolean;
  workspaceTrust: boolean;
}

export interface Server {
  origin: string;
  port: number;
  /** The last of what the server printed. */
  log(): string;
  stop(): Promise<void>;
}

// Ends the whole group when the server ends, and when standard input closes: that is when the process
// that started it is gone, however it went.
const guard = '("$@" </dev/null; kill -KILL 0) & cat >/dev/null; kill -KILL 0';

export function serverFolders(home: string) {
  return {
    config: path.join(home, 'config.yaml'),
    user: path.join(home, 'user'),
    extensions: path.join(home, 'exts'),
    temporary: path.join(home, 'tmp'),
  };
}

function folderArgs(home: string): string[] {
  const { config, user, extensions } = serverFolders(home);
  return ['--config', config, '--user-data-dir', user, '--extensions-dir', extensions];
}

function serverArgs(options: ServerOptions, port: number): string[] {
  return [
    ...folderArgs(options.home),
    ...['--auth', 'none', '--bind-addr', `127.0.0.1:${port}`],
    ...['--disable-telemetry', '--disable-update-check', '--disable-getting-started-override'],
    '--ignore-last-opened',
    ...(options.workspaceTrust ? [] : ['--disable-workspace-trust']),
    ...(options.testDriver ? ['--vscode-option', 'enable-smoke-test-driver'] : []),
  ];
}

export async function freePort(): Promise<number> {
  const probe = net.createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', resolve);
  });
  const { port } = probe.address() as net.AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Starts the workbench's server in a process group of its own and waits until it answers. */
export async function startServer(paths: WorkbenchPaths, options: ServerOptions): Promise<Server> {
  const port = options.port ?? (await freePort());
  const { config, temporary } = serverFolders(options.home);
  fs.mkdirSync(temporary, { recursive: true });
  if (!fs.existsSync(config)) fs.writeFileSync(config, '');
  const command = [paths.node, paths.entry, ...serverArgs(options, port)];
  const child = spawn('sh', ['-c', guard, 'sh', ...command], {
    // The sockets that VS Code leaves behind go with the folder.
    env: { ...options.env, TMPDIR: temporary, XDG_RUNTIME_DIR: temporary },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-50_000));
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.stdin.on('error', () => undefined);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = () => child.pid && killTree(child.pid);
  process.once('exit', kill);

  const server: Server = {
    origin: `http://127.0.0.1:${port}`,
    port,
    log: () => output,
    async stop() {
      process.off('exit', kill);
      kill();
      await exited;
    },
  };
  try {
    await waitUntilHealthy(server.origin, () => child.exitCode !== null || child.killed);
  } catch (error) {
    await server.stop();
    throw new Error(`The workbench did not start: ${String(error)}\n${output}`, { cause: error });
  }
  return server;
}

async function waitUntilHealthy(origin: string, isGone: () => boolean, limit = 30_000) {
  const end = Date.now() + limit;
  while (Date.now() < end) {
    if (isGone()) throw new Error('its process ended');
    const answer = await fetch(`${origin}/healthz`).catch(() => undefined);
    if (answer?.ok) return;
    await delay(100);
  }
  throw new Error(`no answer within ${limit / 1000} s`);
}

/** Installs a packaged extension into the server's extension folder. */
export function installVsix(paths: WorkbenchPaths, home: string, vsix: string): void {
  const args = [paths.entry, ...folderArgs(home), '--install-extension', path.resolve(vsix)];
  fs.writeFileSync(serverFolders(home).config, '');
  const env = { ...process.env, EXTENSIONS_GALLERY: '{}', HOME: home };
  const done = spawnSync(paths.node, args, { env, encoding: 'utf8', timeout: 60_000 });
  if (done.status !== 0) {
    throw new Error(`${vsix} could not be installed:\n${done.stdout}${done.stderr}`);
  }
}
