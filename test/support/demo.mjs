/**
 * The product's main job, shown once in a real VS Code:
 *
 *   npm run demo                  opens it and stays until Ctrl-C
 *   npm run demo -- --once        performs the job and exits
 *   npm run demo -- --browser     the browser workbench even where a desktop VS Code is installed
 *   npm run demo -- --gguf FILE   other weights for the embedded engine
 *
 * Works on a fresh clone: this part needs nothing installed, and installs what the rest needs.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { ensureDependencies, root, runQuietly, progress, SetupError } from './setup.mjs';

async function main() {
  await ensureDependencies();
  const say = progress('Building the extension');
  await runQuietly(process.execPath, ['esbuild.mjs'], { say, label: 'The build' });
  const script = path.join(root, 'test', 'support', 'demo', 'main.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
  });
  // Ctrl-C reaches the child too; it tidies up, and its exit code is ours.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('close', (code) => process.exit(code ?? 1));
}

main().catch((error) => {
  console.error(error instanceof SetupError ? error.message : error);
  process.exit(1);
});
