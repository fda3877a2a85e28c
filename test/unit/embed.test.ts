import assert from 'node:assert/strict';
import { InternError } from '../../src/core';
import { embed, embedSearch } from '../../src/core/jobs/embed';
import { assertLifeless, LIVE, runJob } from './excerpts';
import { FakeSteps } from './steps';
import { assertSentence } from './support';

const steps = () => new FakeSteps(() => assert.fail('a model was asked'));

describe('embed', () => {
  it('gives vectors as plain numbers, in the order of the texts', async () => {
    const { result } = await runJob(embed, { texts: ['aab', 'b'] }, steps());
    assert.equal(result.dim, 26);
    assert.deepEqual(
      result.embeddings.map((vector) => vector.slice(0, 2).map((x) => Math.round(x * 100) / 100)),
      [
        [0.89, 0.45],
        [0, 1],
      ],
    );
    assert.deepEqual(JSON.parse(JSON.stringify(result)), result);
    assert.equal(embed.show(result), '2 vectors of 26 numbers.');
  });

  it('needs between one and 256 texts with something in them', () => {
    for (const texts of [[], [' '], Array<string>(257).fill('x'), 'x']) {
      assert.ok(!embed.input.safeParse({ texts }).success);
    }
    assert.ok(embed.input.safeParse({ texts: Array<string>(256).fill('x') }).success);
  });
});

describe('embed_search', () => {
  const candidates = [
    { id: 'far', text: 'xyz' },
    { id: 'near', text: 'abc\n  and more' },
    { id: 'same', text: 'cba' },
  ];

  it('ranks by likeness', async () => {
    const { result } = await runJob(embedSearch, { query: 'abc', candidates }, steps());
    assert.deepEqual(
      result.ranked.map(({ id }) => id),
      ['same', 'near', 'far'],
    );
    assert.deepEqual(
      result.ranked.map(({ score }) => score >= 0 && score <= 1),
      [true, true, true],
    );
    assert.ok(Math.abs((result.ranked[0]?.score ?? 0) - 1) < 1e-6);
    assert.equal(result.ranked[2]?.score, 0);
    assert.equal(result.ranked[1]?.preview, 'abc and more');
  });

  it('keeps scores between 0 and 1 whatever the vectors', async () => {
    const fake = steps();
    fake.embed = () =>
      Promise.resolve([[1, 0], [-1, 0], [1.0001, 0], []].map((v) => Float32Array.from(v)));
    const { result } = await runJob(embedSearch, { query: 'q', candidates }, fake);
    assert.deepEqual(
      result.ranked.map(({ id, score }) => [id, score]),
      [
        ['near', 1],
        ['far', 0],
        ['same', 0],
      ],
    );
  });

  it('keeps the order of what is alike, and the best alone', async () => {
    const alike = ['a', 'b', 'c'].map((id) => ({ id, text: 'same' }));
    const { result } = await runJob(
      embedSearch,
      { query: 'q', candidates: alike, top_k: 2 },
      steps(),
    );
    assert.deepEqual(
      result.ranked.map(({ id }) => id),
      ['a', 'b'],
    );
  });

  it('fails as the embedding fails', async () => {
    const fake = steps();
    const error = new InternError({ code: 'model_missing', message: 'Missing.', hint: 'Pull it.' });
    fake.embed = () => Promise.reject(error);
    await assert.rejects(runJob(embedSearch, { query: 'q', candidates }, fake), error);
  });

  it('shows nothing live, and cuts previews between characters', async () => {
    const hostile = [
      { id: `${LIVE}\n# x`, text: LIVE },
      { id: 'b', text: `${'x'.repeat(199)}🎉 and more` },
    ];
    const { result } = await runJob(embedSearch, { query: 'q', candidates: hostile }, steps());
    assertLifeless(embedSearch.show(result));
    assert.equal(result.ranked.find(({ id }) => id === 'b')?.preview, `${'x'.repeat(199)}…`);
  });

  it('refuses candidates of the same id', () => {
    const parsed = embedSearch.input.safeParse({
      query: 'q',
      candidates: [...candidates, candidates[0]],
    });
    assertSentence(parsed.error?.issues[0]?.message ?? '', 'The message');
  });
});
