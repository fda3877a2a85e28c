/**
 * Mocha's spec reporter that also writes what happens, one JSON object a line, to the file named by
 * INTERN_TEST_RESULTS: a suite that crashes or hangs still leaves all that came before.
 */
const fs = require('node:fs');
const Mocha = require('mocha');

const limit = 4000;
const cut = (text) => (text.length > limit ? `${text.slice(0, limit)} …` : text);

class Reporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const file = process.env.INTERN_TEST_RESULTS;
    if (!file) return;
    const write = (event, runnable, more) => {
      const line = { event, title: runnable?.fullTitle(), ...more };
      fs.appendFileSync(file, `${JSON.stringify(line)}\n`);
    };
    runner.on('test', (test) => write('start', test));
    runner.on('pass', (test) => write('pass', test, { ms: test.duration }));
    runner.on('pending', (test) => write('skip', test));
    runner.on('fail', (test, error) =>
      write('fail', test, {
        message: cut(String(error?.message ?? error)),
        stack: cut(String(error?.stack ?? '')),
      }),
    );
    runner.on('end', () => write('end'));
  }
}

module.exports = Reporter;
