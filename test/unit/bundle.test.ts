import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');
const bundle = join(root, 'dist', 'extension.js');

/** Runs code in a fresh Node, where nothing has touched the globals yet. */
function inFreshNode(code: string): string {
  return execFileSync(process.execPath, ['-e', code], { encoding: 'utf8', cwd: root });
}

describe('the bundle', () => {
  before(function () {
    if (!existsSync(bundle)) throw new Error('Build first: npm run build');
  });

  it('adds nothing to the global object when it is loaded and activated', () => {
    const added = inFreshNode(`
      const { context } = require('./test/support/vscodeStub.cjs');
      const names = () => Reflect.ownKeys(globalThis).map(String);
      const before = new Set(names());
      require('./dist/extension.js').activate(context());
      process.stdout.write(JSON.stringify(names().filter((n) => !before.has(n))));
      process.exit(0);
    `);
    // zod keeps its own settings there, for all copies of it.
    const known = ['__zod_globalConfig', '__zod_globalRegistry'];
    const names = JSON.parse(added) as string[];
    assert.deepEqual(
      names.filter((name) => !known.includes(name)),
      [],
    );
  });

  it('would be caught: undici itself does add to it', () => {
    const added = inFreshNode(`
      const names = () => Reflect.ownKeys(globalThis).map(String);
      const before = new Set(names());
      require('undici');
      process.stdout.write(JSON.stringify(names().filter((n) => !before.has(n))));
    `);
    assert.match(added, /undici\.globalDispatcher/);
  });
});
