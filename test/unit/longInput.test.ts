import assert from 'node:assert/strict';
import { changeBrief } from '../../src/core/jobs/changeBrief';
import { codeReview } from '../../src/core/jobs/codeReview';
import { commitMessage } from '../../src/core/jobs/commitMessage';
import { summarizeDeep } from '../../src/core/jobs/summarizeDeep';
import { runJob, user } from './excerpts';
import { chatsOf, Stage } from './stage';
import { FakeSteps } from './steps';
import { assertSentence } from './support';

const DIFF_CHARS = 2_000_000;
const LOG_CHARS = 20_000_000;
/** Characters. */
const WINDOW = 60_000;

function fileDiff(file: number, lines: number): string {
  const changed = Array.from(
    { length: lines },
    (_, i) => `+export const value${file}_${i} = compute(${i}, "the limiter admits two");\n`,
  );
  return `diff --git a/src/f${file}.ts b/src/f${file}.ts\n--- a/src/f${file}.ts\n+++ b/src/f${file}.ts\n@@ -0,0 +1,${lines} @@\n${changed.join('')}`;
}

describe('very long input', () => {
  const DIFFS = {
    'many files': Array.from({ length: 75 }, (_, i) => fileDiff(i, 400)).join(''),
    'one file': fileDiff(0, 30_000),
  };
  const valuesIn = (text: string) => new Set(text.match(/value\d+_\d+ /g));
  const asked = ({ asked }: FakeSteps) => asked.map(user).join('\n');

  for (const [what, diff] of Object.entries(DIFFS)) {
    describe(`a 2 MB diff of ${what}`, () => {
      before(() => assert.ok(diff.length > DIFF_CHARS));

      it('is reviewed whole', async () => {
        const steps = new FakeSteps(() => '{"findings": [], "summary": "Fine."}', WINDOW);
        const { truncated } = await runJob(codeReview, { diff }, steps);
        assert.equal(valuesIn(asked(steps)).size, valuesIn(diff).size);
        assert.ok(!truncated);
      });

      it('is briefed whole', async () => {
        const steps = new FakeSteps(() => '{"findings": []}', WINDOW);
        const { result, truncated } = await runJob(changeBrief, { diff }, steps);
        assert.equal(valuesIn(asked(steps)).size, valuesIn(diff).size);
        assert.ok(!truncated && result.weak);
      });

      it('gets a commit message, which says that it knows the start alone', async () => {
        const steps = new FakeSteps(
          () => '{"subject": "Add values", "body": "", "changes": [], "summary": "Values."}',
          WINDOW,
        );
        const { result, warnings, truncated } = await runJob(commitMessage, { diff }, steps);
        assert.ok(result.subject.length > 0);
        assert.ok(truncated);
        const said = warnings?.find((warning) => /only the start/.test(warning)) ?? '';
        assertSentence(said, 'The warning');
        assert.ok(steps.asked.length < 30, `${steps.asked.length} prompts`);
      });
    });
  }

  it('a 2 MB line without an end is summarized whole', async () => {
    const text = Array.from({ length: 80_000 }, (_, i) => `"value0_${i} of two", `).join('');
    const steps = new FakeSteps(() => 'Values.', WINDOW);
    const { result, truncated } = await runJob(summarizeDeep, { text }, steps);
    const read = steps.asked
      .map(user)
      .join('')
      .match(/(?<=<<<TEXT s1 \w+>>>\n)[^\n]*/g);
    assert.equal(read?.join(''), text);
    assert.deepEqual([result.unread_parts, truncated], [[], false]);
  });

  describe('a 20 MB log', () => {
    const stage = Stage.forEach();

    it('is triaged in a dozen prompts, with all of its lines counted', async () => {
      const server = await stage().serve();
      let text = '';
      let lines = 0;
      for (; text.length < LOG_CHARS; lines++) {
        text +=
          lines % 1_000 === 7
            ? `2026-01-01T00:00:00Z ERROR the database refused connection ${lines}\n`
            : `2026-01-01T00:00:00Z INFO request ${lines} answered after ${lines % 97} ms\n`;
      }
      const before = process.memoryUsage().heapUsed;
      const envelope = await stage().finish(stage().hire(server).run('triage_logs', { text }));
      const { result } = envelope;
      assert.equal(result.lines_read, lines);
      assert.equal(result.error_lines, Math.ceil((lines - 7) / 1_000));
      assert.ok(chatsOf(server).length <= 14, `${chatsOf(server).length} prompts`);
      const grown = process.memoryUsage().heapUsed - before;
      assert.ok(grown < 5 * LOG_CHARS, `${grown} bytes`);
    }).timeout(60_000);
  });
});
