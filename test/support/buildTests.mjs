/** Bundles the host tests into out/test/host/index.js: the extension host loads no TypeScript. */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import esbuild from 'esbuild';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const folder = path.join(root, 'test', 'host');

function testFiles() {
  return fs
    .readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .sort();
}

const collectTests = {
  name: 'host-tests',
  setup(build) {
    build.onResolve({ filter: /^host-tests$/ }, () => ({ path: 'all', namespace: 'host-tests' }));
    build.onLoad({ filter: /.*/, namespace: 'host-tests' }, () => ({
      contents: testFiles()
        .map((name) => `import ${JSON.stringify(`./${name.replaceAll('\\', '/')}`)};`)
        .join('\n'),
      resolveDir: folder,
      loader: 'ts',
    }));
  },
};

await esbuild.build({
  absWorkingDir: root,
  entryPoints: [path.join(folder, 'index.ts')],
  outfile: path.join(root, 'out', 'test', 'host', 'index.js'),
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  sourcemap: 'inline',
  external: ['vscode', 'mocha', 'playwright-core'],
  plugins: [collectTests],
  logLevel: 'warning',
});
console.log(`host tests: ${testFiles().length} files bundled`);
