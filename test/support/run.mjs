/**
 * Runs the suites: all of them, or those named.
 *
 *   node test/support/run.mjs                        everything that needs no Ollama
 *   node test/support/run.mjs unit -- --grep router  mocha's options after the suite
 *   node test/support/run.mjs unit test/unit/a.test.ts
 *   node test/support/run.mjs ollama                 against the Ollama at OLLAMA_HOST
 *   node test/support/run.mjs bench                  the benchmarks
 *
 * Works on a fresh clone with nothing but Node and git. The last line is `N passed, N failed`, with
 * `, N skipped` when something was. A suite in which no test ran has failed.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { readResults } from './results.mjs';
import {
  SetupError,
  cache,
  ensureChromium,
  ensureDependencies,
  ensureWorkbench,
  killTree,
  root,
} from './setup.mjs';

const minute = 60_000;

/** In the order of a full run. `limit` ends a suite that hangs, whatever its own time-outs say. */
const suites = {
  check: { run: runCheck },
  build: { run: runBuild },
  unit: {
    run: runMocha,
    specs: ['test/unit/**/*.test.ts', 'test/conformance/**/*.test.ts'],
    timeout: 15_000,
    limit: 10 * minute,
  },
  host: { run: runHostSuite, limit: 15 * minute, needsBuild: true },
  e2e: {
    run: runMocha,
    specs: ['test/e2e/**/*.test.ts'],
    timeout: 2 * minute,
    limit: 30 * minute,
    needsBuild: true,
    prepare: prepareBrowser,
  },
  model: {
    run: runMocha,
    specs: ['test/model/**/*.test.ts'],
    timeout: 5 * minute,
    limit: 20 * minute,
    prepare: prepareModel,
  },
  ollama: {
    run: runMocha,
    specs: ['test/conformance/**/*.test.ts', 'test/model/product.test.ts'],
    timeout: 5 * minute,
    limit: 30 * minute,
    prepare: requireOllama,
  },
};

const fullRun = ['check', 'build', 'unit', 'host', 'e2e', 'model'];

function parseArguments(args) {
  const names = [];
  while (args[0] && (args[0] in suites || args[0] === 'bench')) names.push(args.shift());
  const rest = args.filter((arg) => arg !== '--');
  const files = rest.filter((arg) => /\.test\.ts$/.test(arg));
  return { names, rest, files, mochaArgs: rest.filter((arg) => !files.includes(arg)) };
}

function grepOf(mochaArgs) {
  const joined = mochaArgs.find((arg) => arg.startsWith('--grep='));
  if (joined) return joined.slice('--grep='.length);
  const at = mochaArgs.findIndex((arg) => ['--grep', '-g', '--fgrep', '-f'].includes(arg));
  return at < 0 ? undefined : mochaArgs[at + 1];
}

// --- processes --------------------------------------------------------------------------------

const running = new Set();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    // First a chance to close windows and remove folders, then the end.
    for (const child of running) child.kill('SIGTERM');
    setTimeout(() => {
      for (const child of running) killTree(child.pid);
      process.exit(130);
    }, 3000);
  });
}

/** Runs a command in a process group of its own, so that all of it can be ended. */
function start(args, { env = process.env, limit, capture = false } = {}) {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env,
    detached: process.platform !== 'win32',
    stdio: ['ignore', ...(capture ? ['pipe', 'pipe'] : ['inherit', 'inherit'])],
  });
  running.add(child);
  let output = '';
  child.stdout?.on('data', (chunk) => (output += chunk));
  child.stderr?.on('data', (chunk) => (output += chunk));
  let isOverTime = false;
  const timer = limit && setTimeout(() => end(), limit);
  const end = () => {
    isOverTime = true;
    killTree(child.pid);
  };
  return new Promise((resolve) => {
    const done = (code) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code, output, isOverTime });
    };
    child.on('error', (error) => {
      output += error.message;
      done(1);
    });
    child.on('close', (code, signal) => done(code ?? signal));
  });
}

const bin = (...parts) => path.join(root, 'node_modules', ...parts);

// --- suites without mocha ---------------------------------------------------------------------

const empty = () => ({ passed: 0, failed: 0, skipped: 0, failures: [] });

/** Each step is one test; its output is shown only when it fails. */
async function runSteps(steps) {
  const result = empty();
  await Promise.all(
    steps.map(async ({ title, args }) => {
      const begin = Date.now();
      const { code, output } = await start(args, { capture: true, limit: 10 * minute });
      const seconds = ((Date.now() - begin) / 1000).toFixed(1);
      console.log(`  ${code === 0 ? '✔' : '✘'} ${title} (${seconds} s)`);
      if (code === 0) {
        result.passed++;
        return;
      }
      result.failed++;
      console.log(output.trim());
      result.failures.push({ title, message: `exit code ${code}; its output is above` });
    }),
  );
  return result;
}

function runCheck() {
  return runSteps([
    {
      title: 'formatting (prettier)',
      args: [bin('prettier', 'bin', 'prettier.cjs'), '--check', '--log-level=warn', '.'],
    },
    { title: 'rules (eslint)', args: [bin('eslint', 'bin', 'eslint.js'), '.'] },
    { title: 'types (tsc)', args: [bin('typescript', 'bin', 'tsc'), '--noEmit'] },
    {
      title: 'types of the dashboard (svelte-check)',
      args: [
        bin('svelte-check', 'bin', 'svelte-check'),
        ...['--tsconfig', './webview/tsconfig.json', '--fail-on-warnings'],
      ],
    },
  ]);
}

let build;

/** Once a run, however many suites need it. */
function runBuild() {
  build ??= runSteps([
    { title: 'bundle the extension', args: ['esbuild.mjs'] },
    { title: 'bundle the host tests', args: [path.join('test', 'support', 'buildTests.mjs')] },
  ]);
  return build;
}

// --- suites with mocha ------------------------------------------------------------------------

function resultsFile(name) {
  const file = path.join(cache, 'results', `${name}.ndjson`);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.rmSync(file, { force: true });
  return file;
}

async function runMocha(name, suite, options) {
  const file = resultsFile(name);
  const { code, isOverTime } = await start(
    [
      ...['--import', 'tsx', bin('mocha', 'bin', 'mocha.js'), '--exit', '--no-config'],
      ...['--reporter', path.join(root, 'test', 'support', 'reporter.cjs')],
      ...['--timeout', String(suite.timeout)],
      ...options.mochaArgs,
      ...(options.files.length > 0 ? options.files : suite.specs),
    ],
    { env: { ...process.env, ...options.env, INTERN_TEST_RESULTS: file }, limit: suite.limit },
  );
  return judge(readResults(file), { code, isOverTime, suite, options });
}

async function runHostSuite(name, suite, options) {
  const file = resultsFile(name);
  const grep = grepOf(options.mochaArgs);
  const env = {
    ...process.env,
    INTERN_TEST_RESULTS: file,
    INTERN_TEST_LIMIT_MS: String(suite.limit),
    ...(grep ? { INTERN_TEST_GREP: grep } : {}),
  };
  const runner = path.join(root, 'test', 'support', 'host', 'runHost.ts');
  // The runner of the host keeps the limit itself; this one is for the runner.
  const limit = suite.limit + 2 * minute;
  const { code, isOverTime } = await start(['--import', 'tsx', runner], { env, limit });
  return judge(readResults(file), { code, isOverTime, suite, options });
}

/** Counts what the exit code alone hides: no test, a crash, a hang. */
function judge(results, { code, isOverTime, suite, options }) {
  const { passed, failed, skipped, failures, running: during } = results;
  const problem = problemOf(results, { code, isOverTime, suite, options });
  if (!problem) return { passed, failed, skipped, failures };
  const title = during ?? '(the suite)';
  return {
    passed,
    failed: failed + 1,
    skipped,
    failures: [...failures, { title, message: problem }],
  };
}

function problemOf(results, { code, isOverTime, suite, options }) {
  if (isOverTime) return `ended after ${suite.limit / 1000} s`;
  if (results.passed + results.failed === 0) {
    const isFiltered = options.mochaArgs.length > 0 && options.isOneOfMany;
    return isFiltered && results.ended ? undefined : (results.problem ?? 'no test ran');
  }
  if (results.problem) return results.problem;
  if (!results.ended) return `the run broke off (exit code ${code})`;
  if (code !== 0 && results.failed === 0) return `exit code ${code} although no test failed`;
  return undefined;
}

// --- what the suites need ---------------------------------------------------------------------

async function prepareBrowser() {
  await ensureWorkbench();
  await ensureChromium();
  return {};
}

/** Without weights there is nothing to test; the reason is part of the report. */
async function prepareModel() {
  const { ensureLlama, ensureModel } = await import('./llama-setup.mjs');
  for (const ensure of [ensureLlama, ensureModel]) {
    const got = await ensure();
    if (!got || 'reason' in got) return { skip: got?.reason ?? 'no weights' };
  }
  return {};
}

async function requireOllama() {
  if (process.env.OLLAMA_HOST) return {};
  throw new SetupError(
    'This suite runs against a real Ollama. Name it: OLLAMA_HOST=http://127.0.0.1:11434 npm run test:ollama',
  );
}

// --- the run ----------------------------------------------------------------------------------

async function runSuite(name, options) {
  const suite = suites[name];
  try {
    if (suite.needsBuild && (await runBuild()).failed > 0) {
      throw new SetupError('not run, because the build failed');
    }
    const { skip, env } = (await suite.prepare?.()) ?? {};
    if (skip) {
      console.log(`  skipped: ${skip}`);
      return { ...empty(), skipped: 1, note: `skipped: ${skip}` };
    }
    return await suite.run(name, suite, { ...options, env });
  } catch (error) {
    const message = error instanceof SetupError ? error.message : String(error?.stack ?? error);
    console.log(message);
    return { ...empty(), failed: 1, failures: [{ title: '(the suite)', message }] };
  }
}

async function runSuites(names, options) {
  const rows = [];
  for (const name of names) {
    console.log(`\n── ${name} ${'─'.repeat(70 - name.length)}`);
    const begin = Date.now();
    const result = await runSuite(name, options);
    rows.push({ name, ...result, seconds: (Date.now() - begin) / 1000 });
  }
  return rows;
}

function printFailures(rows) {
  for (const { name, failures } of rows) {
    for (const { title, message, stack } of failures) {
      console.log(`\n✘ ${name}: ${title}`);
      const where = /^\s+at .*\b(?:test|src)[\\/].*$/m.exec(stack ?? '')?.[0].trim();
      const text = [message, where].filter(Boolean).join('\n');
      console.log(text.replaceAll(/^/gm, '    '));
    }
  }
}

function printTable(rows) {
  const line = (name, ...columns) =>
    name.padEnd(10) + columns.map((column) => String(column).padStart(9)).join('');
  console.log(`\n${line('suite', 'passed', 'failed', 'skipped', 'seconds')}`);
  for (const { name, passed, failed, skipped, seconds, note } of rows) {
    const text = line(name, passed, failed, skipped, seconds.toFixed(1));
    console.log(note ? `${text}   ${note}` : text);
  }
}

/** The last line, and whether all is well. */
function printTotals(rows) {
  const sum = (key) => rows.reduce((total, row) => total + row[key], 0);
  const [passed, failed, skipped] = ['passed', 'failed', 'skipped'].map(sum);
  const nothingRan = failed === 0 && passed === 0 && !rows.some((row) => row.note);
  const failedInAll = failed + (nothingRan ? 1 : 0);
  if (nothingRan) console.log('\nNo test ran.');
  const more = skipped > 0 ? `, ${skipped} skipped` : '';
  console.log(`\n${passed} passed, ${failedInAll} failed${more}`);
  return failedInAll === 0;
}

async function runBench(args) {
  // What is measured is what is shipped.
  const built = await runSteps([
    { title: 'bundle the extension', args: ['esbuild.mjs', '--production'] },
  ]);
  if (built.failed > 0) return false;
  await prepareBrowser();
  const { code } = await start([
    '--import',
    'tsx',
    path.join('test', 'bench', 'index.ts'),
    ...args,
  ]);
  return code === 0;
}

async function main() {
  const { names, rest, files, mochaArgs } = parseArguments(process.argv.slice(2));
  const options = rest.findIndex((arg) => arg.startsWith('-'));
  const beforeOptions = options < 0 ? rest : rest.slice(0, options);
  const stray = beforeOptions.find((arg) => !files.includes(arg));
  const known = [...Object.keys(suites), 'bench'].join(', ');
  if (names.length === 0 && rest[0] && !rest[0].startsWith('-')) {
    throw new SetupError(`Which suite? "${rest[0]}" is none of ${known}.`);
  }
  if (stray && names[0] !== 'bench') throw new SetupError(`"${stray}" is no suite: ${known}.`);
  await ensureDependencies();
  if (names[0] === 'bench') return runBench(rest);
  const chosen = names.length > 0 ? names : fullRun;
  const rows = await runSuites(chosen, { files, mochaArgs, isOneOfMany: chosen.length > 1 });
  printFailures(rows);
  printTable(rows);
  return printTotals(rows);
}

main().then(
  (isGood) => process.exit(isGood ? 0 : 1),
  (error) => {
    console.error(error instanceof SetupError ? error.message : error);
    process.exit(1);
  },
);
