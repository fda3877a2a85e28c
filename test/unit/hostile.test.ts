/** Every job of the registry against a model that answers badly. */
import assert from 'node:assert/strict';
import { InternError, type JobName, JOBS } from '../../src/core';
import type { Job, Outcome, Question } from '../../src/core/jobs/job';
import { LIVE } from './excerpts';
import { INPUTS } from './inputs';
import { assertPromised } from './invariants';
import { FakeSteps } from './steps';
import { TEXT } from './stage';
import { assertSentence } from './support';

/** What a job asks a model for. */
interface Data {
  kind: 'data';
  /** A good answer to each of its questions. */
  good: (question: Question) => object;
  /** Fields whose value gets another type. */
  fields: string[];
  /** Well-formed answers that name what does not exist, and what has to become of them. */
  outside: [what: string, answer: object, check: (result: never) => void][];
}
/** `text`: any words are an answer. `vectors`: no model writes anything. */
type Case = Data | { kind: 'text' } | { kind: 'vectors' };

const claim = (evidence: string[], more: object = {}) => ({ text: 'It waits.', evidence, ...more });
const unknown = ['e99', 'e0', 'README.md', '../../etc/passwd'];

function brief(
  prose: string[],
  lists: string[],
  ranked: string[] = [],
  pick: (result: never) => unknown = (result) => result,
): Data {
  const fields = [...prose, ...lists];
  const answer = (evidence: string[]) => ({
    ...Object.fromEntries(prose.map((field) => [field, `It waits [${evidence.join(', ')}].`])),
    ...Object.fromEntries(
      lists.map((field) => [
        field,
        [claim(evidence, ranked.includes(field) ? { confidence: 'high' } : {})],
      ]),
    ),
  });
  return {
    kind: 'data',
    good: () => answer(['e1']),
    fields,
    outside: [
      [
        'evidence that does not exist',
        answer(unknown),
        (result) => {
          const { evidence, unknown_ids, weak, weak_reason } = pick(result) as {
            evidence: unknown[];
            unknown_ids: number;
            weak: boolean;
            weak_reason?: string;
          };
          assert.deepEqual(evidence, []);
          assert.ok(unknown_ids > 0);
          assert.ok(weak);
          assertSentence(weak_reason ?? '', 'The reason');
        },
      ],
    ],
  };
}

const briefOf = (result: never): unknown => (result as { brief: unknown }).brief;
const incident = (pick?: (result: never) => unknown): Data =>
  brief(
    [],
    ['root_cause_hypotheses', 'affected_surfaces', 'timeline_clues', 'next_checks'],
    ['root_cause_hypotheses'],
    pick,
  );
const repository = (pick?: (result: never) => unknown): Data =>
  brief(
    ['repo_thesis', 'architecture_shape'],
    ['key_surfaces', 'risk_areas', 'read_next'],
    [],
    pick,
  );
const change = (pick?: (result: never) => unknown): Data =>
  brief(
    ['change_summary', 'why_it_matters', 'release_note_draft'],
    ['affected_surfaces', 'likely_breakpoints', 'validation_checks'],
    [],
    pick,
  );

const finding = (more: object = {}) => ({
  file: 'src/calls.ts',
  line: 2,
  code: 'let calls: Call[] = [];',
  severity: 'high',
  category: 'bug',
  message: 'The list is empty.',
  ...more,
});
const citation = (more: object = {}) => ({
  source: 's2',
  first_line: 1,
  last_line: 1,
  quote: 'The limiter is fair.',
  ...more,
});
const research = (citations: object[]) => ({
  answer: 'All of them [1].',
  citations,
  abstained: false,
});
const noCitations = ({ citations, weak, dropped_citations }: Record<string, unknown>): void => {
  assert.deepEqual(citations, []);
  assert.ok(weak === true && Number(dropped_citations) > 0);
};
const noFindings = ({ findings, dropped }: Record<string, unknown>): void => {
  assert.deepEqual(findings, []);
  assert.ok(Number(dropped) > 0);
};
const isAbstention = ({ label, best, reason }: Record<string, unknown>): void =>
  assert.deepEqual([label, best, reason], [null, null, 'unknown_label']);

/** A job that is added to the registry does not compile without a row here. */
const CASES: Record<JobName, Case> = {
  classify: {
    kind: 'data',
    good: () => ({ label: 'bug', confidence: 0.9 }),
    fields: ['label', 'confidence'],
    outside: [
      ['a label outside of the set', { label: 'HACKED', confidence: 1 }, isAbstention],
      ['two labels', { label: ['bug', 'feature'], confidence: 1 }, isAbstention],
    ],
  },
  triage_logs: {
    kind: 'data',
    good: (question) =>
      JSON.stringify(question.format).includes('"cause"')
        ? { cause: 'The database refused.', lines: [3] }
        : {
            errors: [{ line: 3, message: 'database refused the connection' }],
            warnings: [{ line: 2, message: 'the queue is long' }],
          },
    fields: ['errors', 'warnings', 'cause', 'lines'],
    outside: [
      [
        'lines that the log has not',
        {
          errors: [{ line: 99, message: 'the moon fell down' }],
          warnings: [{ line: 0, message: 'the queue is long' }],
          cause: 'The moon.',
          lines: [99],
        },
        ({ errors, warnings, suspected_cause }: Record<string, unknown>) => {
          assert.deepEqual([errors, warnings, suspected_cause], [[], [], null]);
        },
      ],
    ],
  },
  summarize_fast: { kind: 'text' },
  draft: { kind: 'text' },
  extract: {
    kind: 'data',
    good: () => ({ limit: 2, name: 'limiter' }),
    fields: ['limit', 'name'],
    outside: [
      [
        'what the schema does not have',
        { name: 'limiter', command: 'rm' },
        ({ ok, data }: Record<string, unknown>) => assert.deepEqual([ok, data], [false, null]),
      ],
    ],
  },
  chat: { kind: 'text' },
  commit_message: {
    kind: 'data',
    good: () => ({ subject: 'Type the calls', body: 'The first one has an id.' }),
    fields: ['subject', 'body'],
    outside: [
      [
        'trailers that nobody wrote',
        { subject: 'Type the calls', body: 'Signed-off-by: Mallory\nFixes #1' },
        ({ body }: Record<string, unknown>) => assert.equal(body, ''),
      ],
    ],
  },
  code_review: {
    kind: 'data',
    good: () => ({ findings: [finding()] }),
    fields: ['findings'],
    outside: [
      [
        'a file outside of the diff',
        { findings: [finding({ file: '../../.bashrc' })] },
        noFindings,
      ],
      [
        'a line that the file has not',
        { findings: [finding({ line: 99, code: 'not there at all' })] },
        noFindings,
      ],
      ['a severity that is none', { findings: [finding({ severity: 'HACKED' })] }, noFindings],
    ],
  },
  summarize_deep: { kind: 'text' },
  research: {
    kind: 'data',
    good: () => research([citation()]),
    fields: ['answer', 'citations', 'abstained'],
    outside: [
      [
        'a file that it was not given',
        research([citation({ source: '/etc/passwd' })]),
        noCitations,
      ],
      ['words that nobody wrote', research([citation({ quote: 'The key is 42.' })]), noCitations],
    ],
  },
  incident_brief: incident(),
  repo_brief: repository(),
  change_brief: change(),
  incident_pack: incident(briefOf),
  repo_pack: repository(briefOf),
  change_pack: change(briefOf),
  embed: { kind: 'vectors' },
  embed_search: { kind: 'vectors' },
};

/** What a job makes of a model that answers like this, or its error. */
async function outcomeOf(
  name: JobName,
  answer: (question: Question) => string,
): Promise<Outcome<unknown> | InternError> {
  const job = JOBS[name] as unknown as Job;
  const input = job.input.parse(INPUTS[name]);
  try {
    if (!('run' in job)) {
      const question = { ...job.prompt(input), temperature: 0 };
      return job.parse(answer(question), input);
    }
    return await job.run(input, new FakeSteps(answer));
  } catch (thrown) {
    if (thrown instanceof InternError) return thrown;
    throw thrown;
  }
}

function assertResult(
  outcome: Outcome<unknown> | InternError,
): asserts outcome is Outcome<unknown> {
  if (outcome instanceof InternError) assert.fail(outcome.message);
}

/** A result that holds what the job promises, or an error that says that the answer cannot be used. */
function assertHolds(name: JobName, outcome: Outcome<unknown> | InternError): void {
  if (outcome instanceof InternError) {
    assert.equal(outcome.code, 'server', `${outcome.message} ${outcome.serverMessage}`);
    return;
  }
  assertPromised(name, outcome.result);
  for (const warning of outcome.warnings ?? []) assertSentence(warning, 'The warning');
}

const NONSENSE: [what: string, answer: string][] = [
  ['words alone', 'I would rather not say.'],
  ['an open brace', '{'],
  ['null', 'null'],
  ['a number', '7'],
  ['a text', '"bug"'],
  ['a list', '[]'],
  ['a list of nulls', '[null, null]'],
  ['an empty object', '{}'],
  ['an object within a list', '[{"label": {}}]'],
  ['many braces', '{'.repeat(5000)],
  ['a prototype', '{"__proto__": {"label": "bug"}, "constructor": 1}'],
  ['characters that hide', '\u0000\u202e{"a"\u200b: 1}'],
];

describe('jobs against hostile answers', () => {
  it('are all of the registry', () => {
    assert.deepEqual(Object.keys(CASES).sort(), Object.keys(JOBS).sort());
  });

  for (const [name, given] of Object.entries(CASES) as [JobName, Case][]) {
    if (given.kind === 'vectors') {
      it(`${name} asks no model for words`, async () => {
        const outcome = await outcomeOf(name, () => assert.fail('a model was asked'));
        assertResult(outcome);
        assertPromised(name, outcome.result);
      });
      continue;
    }
    describe(name, () => {
      for (const [what, answer] of [...NONSENSE, ['something alive', LIVE] as const]) {
        it(`holds against ${what}`, async () => {
          assertHolds(name, await outcomeOf(name, () => answer));
        });
      }
      if (given.kind === 'data') describeData(name, given);
      else describeText(name);
    });
  }
});

function describeData(name: JobName, { good, fields, outside }: Data): void {
  const json = (question: Question) => JSON.stringify(good(question), null, 2);
  /** The result of a good answer that is written down in some way. */
  const resultOf = async (write: (json: string) => string): Promise<unknown> => {
    const outcome = await outcomeOf(name, (question) => write(json(question)));
    assertResult(outcome);
    assertPromised(name, outcome.result);
    return outcome.result;
  };

  const forgiven: [what: string, write: (json: string) => string][] = [
    ['in a fence', (text) => `\`\`\`json\n${text}\n\`\`\``],
    ['in prose', (text) => `Sure {here} it is:\n\n${text}\n\nI hope [this] helps.`],
    ['in prose and a fence', (text) => `Of course.\n\`\`\`\n${text}\n\`\`\`\nAnything else?`],
    ['after it has thought aloud', (text) => `<think>Is it {"a"? I guess.</think>\n${text}`],
  ];
  for (const [what, write] of forgiven) {
    it(`reads a good answer ${what}`, async () => {
      assert.deepEqual(await resultOf(write), await resultOf(String));
    });
  }

  it('holds wherever a good answer is cut', async () => {
    const whole = await resultOf(String);
    for (let share = 0; share < 1; share += 0.025) {
      const outcome = await outcomeOf(name, (question) => {
        const text = json(question);
        return text.slice(0, Math.floor(text.length * share));
      });
      assertHolds(name, outcome);
      if (!(outcome instanceof InternError)) assert.notDeepEqual(outcome.result, whole);
    }
  });

  const others = [
    null,
    7,
    true,
    'text',
    [],
    {},
    [null],
    [['x']],
    { text: 7, evidence: 'e1' },
    '\n',
  ];
  for (const field of fields) {
    it(`holds against a "${field}" of any type, or none`, async () => {
      for (const value of [...others, undefined]) {
        assertHolds(
          name,
          await outcomeOf(name, (question) => {
            const answer = good(question) as Record<string, unknown>;
            return JSON.stringify(field in answer ? { ...answer, [field]: value } : answer);
          }),
        );
      }
    });
  }

  for (const [what, answer, check] of outside) {
    it(`does not let through ${what}`, async () => {
      const outcome = await outcomeOf(name, () => JSON.stringify(answer));
      assertResult(outcome);
      assertHolds(name, outcome);
      check(outcome.result as never);
    });
  }

  it('brings nothing to life that stands in its fields', async () => {
    const live = (value: unknown): unknown => {
      if (typeof value === 'string') return /^[es]\d$/.test(value) ? value : `${value} ${LIVE}`;
      if (Array.isArray(value)) return value.map(live);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, live(one)]));
    };
    const outcome = await outcomeOf(name, (question) => JSON.stringify(live(good(question))));
    assertHolds(name, outcome);
  });
}

/** Where any words are an answer, data is words too. */
function describeText(name: JobName): void {
  const data = '{"summary": "It waits.", "label": "bug"}';
  for (const [what, answer] of [
    ['fenced JSON', `\`\`\`json\n${data}\n\`\`\``],
    ['JSON with prose around it', `Here it is: ${data}. Anything else?`],
    ['JSON that is cut', data.slice(0, 20)],
    ['a label that nobody asked for', 'HACKED'],
    ['a citation of a file that it was not given', 'See /etc/passwd:1 [1].'],
    ['its own input', TEXT],
  ] as const) {
    it(`takes ${what} for words`, async () => {
      const outcome = await outcomeOf(name, () => answer);
      assertResult(outcome);
      assertHolds(name, outcome);
    });
  }
}
