import assert from 'node:assert/strict';
import { captureNames } from './capture';
import { CASES, ERROR_ROWS } from './cases';
import { conformanceSuite } from './conformance';
import { openReal, openSimulator } from './world';

const host = process.env.OLLAMA_HOST;

describe(`conformance of ${host ? `Ollama at ${host}` : 'the simulator'}`, () => {
  conformanceSuite(() => (host ? openReal(host) : openSimulator()));
});

describe('the conformance cases', () => {
  it('cover every recording', () => {
    const covered = new Set(CASES.map(({ name, capture }) => capture ?? name));
    assert.deepEqual(
      captureNames().filter((name) => !covered.has(name)),
      [],
    );
  });

  it('cover every row of the table of errors', () => {
    const covered = new Set(CASES.flatMap(({ rows }) => rows ?? []));
    assert.deepEqual(
      ERROR_ROWS.filter((row) => !covered.has(row)),
      [],
    );
  });

  it('have names of their own', () => {
    assert.equal(new Set(CASES.map(({ name }) => name)).size, CASES.length);
  });
});
