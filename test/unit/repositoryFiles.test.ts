import assert from 'node:assert/strict';
import { pickRepositoryFiles } from '../../src/host/repositoryFiles';

const PATHS = [
  'src/deep/inside/helper.ts',
  'src/index.ts',
  'packages/web/package.json',
  'LICENSE',
  'src/limits.ts',
  'docs/usage.md',
  'package.json',
  'CONTRIBUTING.md',
  'README.md',
  'test/index.ts',
  '.env',
  'media/icon.png',
];
const BEST_FIRST = [
  'README.md',
  'package.json',
  'CONTRIBUTING.md',
  'src/index.ts',
  'docs/usage.md',
  'packages/web/package.json',
  'src/limits.ts',
  'src/deep/inside/helper.ts',
];

describe('the files of a repository brief', () => {
  it('are those that say most, the best first', () => {
    assert.deepEqual(pickRepositoryFiles(PATHS), { picked: BEST_FIRST, others: 4 });
  });

  it('are the same in whatever order the paths come', () => {
    assert.deepEqual(pickRepositoryFiles(PATHS.toReversed()), pickRepositoryFiles(PATHS));
  });

  it('are limited, and the others are counted', () => {
    const { picked, others } = pickRepositoryFiles(PATHS, 2);
    assert.deepEqual(picked, BEST_FIRST.slice(0, 2));
    assert.equal(others, PATHS.length - 2);
  });

  it('never hold secrets, pictures or tests', () => {
    const { picked } = pickRepositoryFiles([
      '.env',
      '.eslintrc.js',
      'id_rsa',
      'a.png',
      'test/main.ts',
    ]);
    assert.deepEqual(picked, []);
  });
});
