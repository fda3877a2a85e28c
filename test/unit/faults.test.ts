/**
 * Random calls against a local server and a cloud on which random things go wrong. Whatever happens, each call has to
 * end once, in time, with one line in the log, to go nowhere that it may not, and to leave nothing behind.
 *
 *   FAULT_RUNS=10000                   so many schedules instead of what fits the unit suite
 *   FAULT_SEED=… FAULT_PATH=…          repeats a failure: both are in its message
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { InternError } from '../../src/core';
import { survives } from '../support/chaos/checks';
import { anySchedule, day } from '../support/chaos/plan';
import { faults } from '../support/ollama/server';

const RUNS = Number(process.env['FAULT_RUNS'] ?? 0);
/** What the unit suite has for this. Milliseconds. */
const SUITE_MS = 18_000;
const MOST_RUNS = 600;

describe('whatever goes wrong', () => {
  it('a call whose request is overtaken on the wire is not timed out for it', async () => {
    const late = { path: '/api/chat', skip: 0, fault: faults.late(100) };
    const { calls } = await survives(day([{}, {}], { tokenMs: 700, faults: [late] }));
    assert.deepEqual(
      calls.slice(0, 2).map(({ error }) => error),
      [undefined, undefined],
    );
  });

  it('calls that share a failed question keep their own ids', async () => {
    const fault = { ...faults.status(500, 'it failed'), delayMs: 100 };
    const failed = { path: '/api/show', skip: 0, fault };
    const { calls } = await survives(day([{}, {}], { faults: [failed] }));
    assert.equal(calls.filter(({ error }) => error instanceof InternError).length, 2);
  });

  it('a call that fails while its model is looked for stops looking', async () => {
    const refused = { ...faults.status(500, 'it failed'), delayMs: 5_500 };
    const schedule = day([{}, { startsAt: 10_000 }], {
      faults: [
        { path: '/api/chat', skip: 1, fault: refused },
        { path: '/api/generate', skip: 1, fault: faults.hang() },
      ],
    });
    await survives(schedule);
  });

  it("the end of another model's load does not stretch a budget to a load allowance", async () => {
    const schedule = day([{}, { job: 'summarize_deep', startsAt: 40_000 }, { startsAt: 41_000 }], {
      twoModels: true,
      loadMs: [0, 4_000],
      faults: [{ path: '/api/chat', skip: 1, fault: faults.hang() }],
    });
    const { calls } = await survives(schedule);
    const { error } = calls[2] ?? {};
    assert.ok(error instanceof InternError);
    assert.match(error.message, /did not answer within 5 s/);
  });

  it('every call ends once, in time, is logged once, goes where it may, and leaves nothing behind', async function () {
    this.timeout(RUNS > 0 ? 0 : 4 * SUITE_MS);
    const outcomes = new Map<string, number>();
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(anySchedule, async (schedule) => {
        const { calls } = await survives(schedule);
        runs++;
        for (const { envelope, error } of calls) {
          const how = envelope?.degraded ? `degraded to ${envelope.backend}` : envelope?.backend;
          const outcome = error instanceof InternError ? error.code : String(how);
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        }
      }),
      {
        numRuns: RUNS || MOST_RUNS,
        ...(RUNS === 0 && { interruptAfterTimeLimit: SUITE_MS }),
        ...(process.env['FAULT_SEED'] && { seed: Number(process.env['FAULT_SEED']) }),
        ...(process.env['FAULT_PATH'] && { path: process.env['FAULT_PATH'] }),
      },
    );
    if (RUNS > 0) console.log(`      ${runs} schedules: ${JSON.stringify([...outcomes])}`);
  });
});
