'use strict';
const { join } = require('node:path');
const root = join(__dirname, '..', '..');
const { context } = require('../support/vscodeStub.cjs');

const startedAt = performance.now();
if (process.argv[2] === 'undici') {
  require('undici');
} else {
  require(join(root, 'dist', 'extension.js')).activate(context());
}
process.stdout.write(String(performance.now() - startedAt));
process.exit(0);
