import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import esbuild from 'esbuild';
import sveltePlugin from 'esbuild-svelte';

const require = createRequire(import.meta.url);
const flags = new Set(process.argv.slice(2));
const production = flags.has('--production');

/** Editors that run a watch task read these lines. */
const watchLog = {
  name: 'watch-log',
  setup(build) {
    build.onStart(() => console.log('[watch] build started'));
    build.onEnd(({ errors }) => {
      for (const { text, location } of errors) {
        console.error(`> ${location?.file}:${location?.line}:${location?.column}: error: ${text}`);
      }
      console.log('[watch] build finished');
    });
  },
};

const shared = {
  bundle: true,
  sourcemap: production ? false : 'linked',
  minify: production,
  logLevel: 'warning',
  plugins: flags.has('--watch') ? [watchLog] : [],
};

/** @type {esbuild.BuildOptions} */
const extension = {
  ...shared,
  entryPoints: ['src/extension.ts'],
  outfile: 'dist/extension.js',
  format: 'cjs',
  platform: 'node',
  target: 'node22',
  external: ['vscode'],
  // Names of classes show in logs and stack traces.
  keepNames: true,
};

/** @type {esbuild.BuildOptions} */
const logWorker = {
  ...extension,
  entryPoints: ['src/core/audit/logWorker.ts'],
  outfile: 'dist/logWorker.js',
  // It costs time for every function that is made.
  keepNames: false,
};

/** @type {esbuild.BuildOptions} */
const webview = {
  ...shared,
  entryPoints: { dashboard: 'webview/dashboard/main.ts' },
  outdir: 'dist/webview',
  format: 'iife',
  platform: 'browser',
  target: 'es2022',
  conditions: ['svelte', 'browser', production ? 'production' : 'development'],
  mainFields: ['svelte', 'browser', 'module', 'main'],
  plugins: [
    sveltePlugin({ compilerOptions: { dev: !production, css: 'external' } }),
    ...shared.plugins,
  ],
};

const bundles = [extension, logWorker, webview];

function copyAssets() {
  mkdirSync('dist/webview', { recursive: true });
  const codicons = require.resolve('@vscode/codicons/dist/codicon.css');
  cpSync(codicons, 'dist/webview/codicon.css');
  cpSync(codicons.replace(/\.css$/, '.ttf'), 'dist/webview/codicon.ttf');
}

function packageVsix() {
  const { version } = require('./package.json');
  const file = `ollama-intern-${version}.vsix`;
  rmSync(file, { force: true });
  const vsce = require.resolve('@vscode/vsce/package.json').replace(/package\.json$/, 'vsce');
  execFileSync(
    process.execPath,
    [
      vsce,
      'package',
      '--no-dependencies',
      '--allow-missing-repository',
      '--skip-license',
      '--no-rewrite-relative-links',
      '--out',
      file,
    ],
    { stdio: 'inherit' },
  );
  if (!existsSync(file)) throw new Error('vsce made no package.');
  console.log(`${file}: ${(statSync(file).size / 1024).toFixed(0)} KB`);
}

if (flags.has('--package')) {
  packageVsix();
} else {
  rmSync('dist', { recursive: true, force: true });
  copyAssets();
  if (flags.has('--watch')) {
    for (const options of bundles) await (await esbuild.context(options)).watch();
  } else {
    await Promise.all(bundles.map((options) => esbuild.build(options)));
  }
}
