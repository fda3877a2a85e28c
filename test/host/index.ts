import { format } from 'node:util';
import Mocha from 'mocha';
import Reporter from '../support/reporter.cjs';

/** Tells these lines from the workbench's own where both come by the same way. */
const prefix = process.env.INTERN_TEST_PREFIX ?? '';

function print(...args: unknown[]): void {
  for (const line of format(...args).split('\n')) console.log(prefix + line);
}

function createMocha(): Mocha {
  // The extension host replaces the console, and mocha keeps the one it first saw.
  (Mocha.reporters.Base as unknown as { consoleLog: typeof print }).consoleLog = print;
  Mocha.reporters.Base.useColors = process.env.INTERN_TEST_COLORS === '1';
  return new Mocha({
    ui: 'bdd',
    timeout: Number(process.env.INTERN_TEST_TIMEOUT ?? 20_000),
    reporter: Reporter as unknown as Mocha.ReporterConstructor,
    ...(process.env.INTERN_TEST_GREP ? { grep: process.env.INTERN_TEST_GREP } : {}),
  });
}

/** Runs all host tests inside the extension host. */
export async function run(): Promise<void> {
  const mocha = createMocha();
  mocha.suite.emit('pre-require', globalThis as unknown as Mocha.MochaGlobals, '', mocha);
  // The build puts the import of every *.test.ts in place of this module.
  await import('host-tests');
  const failures = await new Promise<number>((resolve) => mocha.run(resolve));
  if (failures > 0) throw new Error(`${failures} failed`);
}
