import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Frame } from 'playwright-core';
import { root } from '../support/setup.mjs';

const source = readFileSync(path.join(root, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8');

interface Violation {
  id: string;
  help: string;
  nodes: { html: string; failureSummary?: string }[];
}

/** What axe finds wrong with a page, contrast included, fails the test. */
export async function assertAccessible(frame: Frame): Promise<void> {
  await frame.evaluate(source);
  // The editor's own page around the frame is not ours.
  const violations = await frame.evaluate<Violation[]>(
    `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)`,
  );
  const told = violations.map(({ id, help, nodes }) => {
    const where = nodes.slice(0, 3).map((n) => `    ${n.html}\n    ${n.failureSummary ?? ''}`);
    return `${id}: ${help} (${nodes.length})\n${where.join('\n')}`;
  });
  assert.equal(told.join('\n'), '', 'axe found violations');
}
