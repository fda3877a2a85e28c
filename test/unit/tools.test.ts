import assert from 'node:assert/strict';
import { InternError } from '../../src/core';
import { cardOf, jobNames } from '../../src/core/jobs/slashCommands';
import { givenTo, type ToolMaterial, type ToolOffer, toolSchema } from '../../src/core/jobs/tool';

const TEXT = 'The limiter admits two calls at once.\n\nThe others wait.';
const ONE: ToolMaterial = { sources: [{ name: 'a.md', text: TEXT }] };
const TWO: ToolMaterial = { sources: [...ONE.sources, { name: 'b.md', text: TEXT }] };
const DIFF: ToolMaterial = { sources: [], change: { diff: 'diff --git a/a b/a\n' } };

const GOOD: Record<string, [Record<string, unknown>, ToolMaterial]> = {
  classify: [{ labels: ['bug', { label: 'idea', description: 'new' }], threshold: 0.5 }, ONE],
  triage_logs: [{ patterns: ['timeout'] }, ONE],
  extract: [{ schema: { type: 'object', properties: { name: { type: 'string' } } } }, ONE],
  code_review: [{ severity_floor: 'high', focus: 'errors' }, DIFF],
  summarize: [{ focus: 'limits', max_words: 50 }, TWO],
  research: [{ question: 'Who waits?' }, TWO],
  embed_search: [{ query: 'who waits', top_k: 3 }, TWO],
};
const BAD: Record<string, Record<string, unknown>> = {
  classify: { labels: ['bug'] },
  triage_logs: { patterns: 'timeout' },
  extract: { schema: 'name' },
  code_review: { severity_floor: 'dreadful' },
  summarize: { max_words: -1 },
  research: {},
  embed_search: { query: 7 },
};

const offers = jobNames().flatMap((job) => {
  const { tool } = cardOf(job);
  return tool ? [{ job, tool }] : [];
});
const offer = (name: string): ToolOffer => {
  const found = offers.find(({ tool }) => tool.name === name);
  assert.ok(found, name);
  return found.tool;
};
const refused = (work: () => unknown): InternError => {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof InternError);
    assert.equal(error.code, 'bad_input');
    assert.notEqual(error.hint, '');
    return error;
  }
  assert.fail('it was taken');
};

describe('the tools of the registry', () => {
  it('are those that an agent hands work to', () => {
    assert.deepEqual(
      offers.map(({ tool }) => tool.name),
      Object.keys(GOOD).toSorted((a, b) => order(a) - order(b)),
    );
  });
  const order = (name: string) => offers.findIndex(({ tool }) => tool.name === name);

  for (const { job, tool } of offers) {
    describe(tool.name, () => {
      it('makes an input that its job takes', () => {
        const [given, material] = GOOD[tool.name] ?? [{}, ONE];
        const parsed = cardOf(job).input.safeParse(tool.input(given, material));
        assert.ok(parsed.success, parsed.error?.message);
      });

      it('refuses what its schema does not allow, and says where', () => {
        const [, material] = GOOD[tool.name] ?? [{}, ONE];
        const { message } = refused(() => tool.input(BAD[tool.name] ?? {}, material));
        assert.match(message, /^\w+: /);
      });

      it('has a schema of an object, without what a caller need not say', () => {
        const { type, properties = {}, required = [] } = toolSchema(tool);
        assert.equal(type, 'object');
        assert.ok('text' in (properties as object));
        const needed = required as string[];
        assert.ok(!needed.some((name) => ['text', 'files'].includes(name)));
      });
    });
  }

  it('take a diff instead of the change in git, and else need something to read', () => {
    assert.deepEqual(givenTo(offer('code_review'), {}), { files: [], text: undefined });
    assert.deepEqual(givenTo(offer('summarize'), { files: ['a.md'] }).files, ['a.md']);
    for (const given of [{}, { files: [] }, { text: ' \n' }, { files: 'a.md' }, { files: [1] }]) {
      refused(() => givenTo(offer('summarize'), given));
    }
    refused(() => givenTo(offer('triage_logs'), { files: ['a.log', 'b.log'] }));
  });

  it('of one text at a time say so when there are several', () => {
    for (const name of ['classify', 'triage_logs', 'extract']) {
      const [given] = GOOD[name] ?? [{}];
      assert.match(refused(() => offer(name).input(given, TWO)).message, /one text at a time/);
    }
  });

  it('name the file of a paragraph where there are several, and refuse more than can be compared', () => {
    const input = offer('embed_search').input({ query: 'who' }, TWO) as {
      candidates: { id: string }[];
    };
    assert.deepEqual(
      input.candidates.map(({ id }) => id),
      ['a.md, line 1', 'a.md, line 3', 'b.md, line 1', 'b.md, line 3'],
    );
    const many = { sources: [{ name: 'a.md', text: 'one\n\n'.repeat(300) }] };
    assert.match(refused(() => offer('embed_search').input({ query: 'x' }, many)).message, /300/);
  });
});
