import assert from 'node:assert/strict';
import { jsonSchema } from '../../src/core/jobs/json';
import { incidentBrief } from '../../src/core/jobs/incidentBrief';
import {
  changePack,
  incidentPack,
  PACK_KINDS,
  packKindOf,
  packOf,
  repoPack,
} from '../../src/core/jobs/packs';
import { JOBS } from '../../src/core/jobs/registry';
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

  it('are made of a brief that is there as of one that is written for them', async () => {
    const steps = new FakeSteps(() => answer);
    const { result: brief } = await runJob(incidentBrief, { log_text: 'disk full' }, steps);
    const input = { log_text: 'disk full', title: 'Monday' };
    const { result: pack } = await runJob(incidentPack, input, new FakeSteps(() => answer));
    assert.deepEqual(packOf('incident', brief, 'Monday'), pack);
    assert.equal(packOf('incident', brief, 'x'.repeat(500)).title.length, 120);
    assert.equal(packOf('incident', brief).title, 'Incident Brief');
  });

  it('are made of briefs alone', () => {
    const briefs = Object.keys(JOBS).filter((name) => packKindOf(name) !== undefined);
    assert.deepEqual(briefs.sort(), PACK_KINDS.map((kind) => `${kind}_brief`).sort());
  });

  it('show nothing live in a title', async () => {
    const title = `${LIVE.slice(0, 80)}\n# x`;
    const { result } = await runJob(incidentPack, { title }, new FakeSteps(() => answer));
    assertLifeless(result.markdown);
    assert.equal(result.markdown.match(/^#/gm)?.length, 1);
  });
});
