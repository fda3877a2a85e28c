import assert from 'node:assert/strict';
import { jsonSchema } from '../../src/core/jobs/json';
import { changePack, incidentPack, repoPack } from '../../src/core/jobs/packs';
import { assertLifeless, LIVE, runJob } from './excerpts';
import { FakeSteps } from './steps';

const answer = JSON.stringify({
  root_cause_hypotheses: [{ text: 'The disk is full.', evidence: ['e1'], confidence: 'high' }],
  affected_surfaces: [],
  timeline_clues: [],
  next_checks: [],
});

describe('packs', () => {
  it('are a brief, its title and its Markdown', async () => {
    const steps = new FakeSteps(() => answer);
    const input = { log_text: 'disk full', title: '  The disk\nof\tMonday ' };
    const { result, warnings } = await runJob(incidentPack, input, steps);
    assert.equal(result.kind, 'incident');
    assert.equal(result.title, 'The disk of Monday');
    assert.equal(result.brief.root_cause_hypotheses[0]?.text, 'The disk is full.');
    assert.match(result.markdown, /^# The disk of Monday\n\n\*\*Root cause hypotheses\*\*/);
    assert.match(result.markdown, /[^\n]\n$/);
    assert.equal(incidentPack.show(result), result.markdown);
    assert.deepEqual(warnings, []);
  });

  it('have the title of their brief when there is none', async () => {
    for (const title of [undefined, ' \n']) {
      const { result } = await runJob(incidentPack, { title }, new FakeSteps(() => answer));
      assert.equal(result.title, 'Incident Brief');
      assert.ok(result.brief.weak);
    }
  });

  it('take what their brief takes, and a title', () => {
    for (const [pack, own] of [
      [incidentPack, 'max_hypotheses'],
      [repoPack, 'max_risks'],
      [changePack, 'diff'],
    ] as const) {
      const { properties } = jsonSchema(pack.input) as { properties: object };
      assert.ok('title' in properties && own in properties);
      assert.ok(!pack.input.safeParse({ title: 'x'.repeat(121) }).success);
    }
  });

  it('show nothing live in a title', async () => {
    const title = `${LIVE.slice(0, 80)}\n# x`;
    const { result } = await runJob(incidentPack, { title }, new FakeSteps(() => answer));
    assertLifeless(result.markdown);
    assert.equal(result.markdown.match(/^#/gm)?.length, 1);
  });
});
