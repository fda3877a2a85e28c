import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type Figure, figure, quantile } from './report';

const ROUNDS = 9;

/** Loading and activating the bundle in a fresh process, against loading undici's index in one. */
export function benchActivation(): Figure[] {
  const measure = (what: 'bundle' | 'undici'): number[] =>
    Array.from({ length: ROUNDS }, () =>
      Number(
        execFileSync(process.execPath, [join(__dirname, 'activation-child.cjs'), what], {
          encoding: 'utf8',
        }),
      ),
    );
  const undici = measure('undici');
  const bundle = measure('bundle');
  return [
    figure(
      'activation against require("undici")',
      `median of ${ROUNDS}`,
      quantile(bundle, 0.5),
      'ms',
      quantile(undici, 0.5),
    ),
  ];
}
