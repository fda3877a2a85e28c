import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { which } from '../setup.mjs';
import type { Scene, Shown } from './main';

const RESULT_MS = 5 * 60_000;

/** The command of an installed desktop VS Code, where there is a desktop to show it on. */
export async function findDesktop(): Promise<string | undefined> {
  const hasScreen =
    process.platform !== 'linux' || process.env['DISPLAY'] || process.env['WAYLAND_DISPLAY'];
  if (!hasScreen) return undefined;
  return ['code', 'code-insiders', 'codium'].find((name) => which(name));
}

/**
 * Opens an extension development host with a profile of its own, so that the person's settings stay as they are. A
 * second extension under development, the driver, does there what a person would and reports through a file.
 */
export async function showOnDesktop(command: string, scene: Scene): Promise<Shown> {
  const home = await mkdtemp(join(tmpdir(), 'intern-demo-'));
  const result = join(home, 'result.json');
  await mkdir(join(home, 'User'), { recursive: true });
  await writeFile(join(home, 'User', 'settings.json'), JSON.stringify(scene.settings));
  const args = [
    `--user-data-dir=${home}`,
    `--extensionDevelopmentPath=${scene.root}`,
    `--extensionDevelopmentPath=${join(scene.root, 'test', 'support', 'demo', 'driver')}`,
    '--disable-workspace-trust',
    '--new-window',
    '--wait',
    scene.workspace,
  ];
  const child = spawn(command, args, {
    env: {
      ...process.env,
      ...scene.env,
      INTERN_DEMO_RESULT: result,
      INTERN_DEMO_FILE: `src/${scene.file}`,
    },
    stdio: 'ignore',
    shell: process.platform === 'win32',
  });
  const close = async (): Promise<void> => {
    child.kill();
    await rm(home, { recursive: true, force: true, maxRetries: 5 }).catch(() => {});
  };
  for (let waited = 0; waited < RESULT_MS; waited += 500) {
    const text = await readFile(result, 'utf8').catch(() => undefined);
    if (text) {
      const { summary, error } = JSON.parse(text) as { summary?: string; error?: string };
      if (error) throw new Error(error);
      return { summary: summary ?? '', close };
    }
    await delay(500);
  }
  await close();
  throw new Error(
    `${command} was opened, but no summary came within ${RESULT_MS / 60_000} minutes.`,
  );
}
