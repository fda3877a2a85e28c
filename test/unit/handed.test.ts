import assert from 'node:assert/strict';
import {
  cardOf,
  chooseJob,
  type Handed,
  type InputOf,
  InternError,
  type JobName,
  JOBS,
  slashCommands,
} from '../../src/core';

const NOTE = { name: 'note.txt', text: 'Ada was born in 1815.', language: 'plaintext' };
const LOG = { name: 'app.log', text: 'ERROR refused\n', language: 'log' };
const CHANGE = { diff: '--- a/x\n+++ b/x\n', recent_subjects: ['Begin'], conventional: true };

const given = (request = '', ...sources: Handed['sources']): Handed => ({ request, sources });

/** The job of a command and its input, as a surface gets them. */
function called(command: string, handedOver: Handed): { job: JobName; input: unknown } {
  const { job, handed } = chooseJob(command, handedOver);
  const input = cardOf(job).handed?.input(handed);
  const { error } = JOBS[job].input.safeParse(input);
  assert.equal(error, undefined, `${job} does not take ${JSON.stringify(input)}`);
  return { job, input: JSON.parse(JSON.stringify(input)) as unknown };
}

function refused(command: string, handed: Handed): InternError {
  try {
    const { job, handed: rest } = chooseJob(command, handed);
    const input = cardOf(job).handed?.input(rest);
    const { error } = JOBS[job].input.safeParse(input);
    assert.ok(error, `${job} takes ${JSON.stringify(input)}`);
    return new InternError({ code: 'bad_input', message: error.issues[0]!.message, hint: '' });
  } catch (thrown) {
    if (!(thrown instanceof InternError)) throw thrown;
    assert.equal(thrown.code, 'bad_input');
    assert.match(thrown.message, /^[A-Z/"].*\.$/s);
    assert.match(thrown.hint, /\S/);
    return thrown;
  }
}

describe('a job that is called in plain words', () => {
  type Case<N extends JobName = JobName> = {
    [M in N]: [command: string, handed: Handed, job: M, input: InputOf<M>];
  }[N];
  const schema = { type: 'object', properties: { born: { type: 'integer' } } };
  const cases: Case[] = [
    ['summarize', given('', NOTE), 'summarize_fast', { ...named(NOTE), language: 'plaintext' }],
    ['summarize', given('Pasted.'), 'summarize_fast', { text: 'Pasted.' }],
    [
      'summarize',
      given('the dates', NOTE),
      'summarize_fast',
      { ...named(NOTE), language: 'plaintext', focus: 'the dates' },
    ],
    [
      'summarize',
      given('the dates', NOTE, LOG),
      'summarize_deep',
      { sources: [NOTE, LOG], focus: 'the dates' },
    ],
    [
      'summarize',
      given('', { name: 'long.txt', text: 'word '.repeat(2_000) }),
      'summarize_deep',
      { sources: [{ name: 'long.txt', text: 'word '.repeat(2_000) }] },
    ],
    ['summarize', given('word '.repeat(2_000)), 'summarize_deep', { text: 'word '.repeat(2_000) }],
    ['draft', given('A limerick'), 'draft', { instruction: 'A limerick' }],
    [
      'draft',
      given('Shorter', NOTE),
      'draft',
      { instruction: 'Shorter', ...named(NOTE), language: 'plaintext' },
    ],
    [
      'classify',
      given('bug, idea: something new', NOTE),
      'classify',
      {
        ...named(NOTE),
        labels: [{ label: 'bug' }, { label: 'idea', description: 'something new' }],
      },
    ],
    [
      'classify',
      given('bug, idea\nIt breaks.\nAlways.'),
      'classify',
      { text: 'It breaks.\nAlways.', labels: [{ label: 'bug' }, { label: 'idea' }] },
    ],
    ['extract', given(JSON.stringify(schema), NOTE), 'extract', { ...named(NOTE), schema }],
    [
      'extract',
      given(`${JSON.stringify(schema, null, 2)}\nOnly of people.`, NOTE),
      'extract',
      { ...named(NOTE), schema, hint: 'Only of people.' },
    ],
    [
      'extract',
      given(`${JSON.stringify(schema)} Ada, 1815.`),
      'extract',
      { text: 'Ada, 1815.', schema },
    ],
    ['triage', given('', LOG), 'triage_logs', { ...named(LOG), patterns: [] }],
    [
      'triage',
      given('timeout, connection refused', LOG),
      'triage_logs',
      { ...named(LOG), patterns: ['timeout', 'connection refused'] },
    ],
    ['triage', given('ERROR one\nERROR two'), 'triage_logs', { text: 'ERROR one\nERROR two' }],
    [
      'research',
      given('Who was born?', NOTE, LOG),
      'research',
      { question: 'Who was born?', sources: [NOTE, LOG] },
    ],
    ['review', { ...given(), change: CHANGE }, 'code_review', { diff: CHANGE.diff }],
    [
      'review',
      { ...given('locks'), change: CHANGE },
      'code_review',
      { diff: CHANGE.diff, focus: 'locks' },
    ],
    ['commit', { ...given(), change: CHANGE }, 'commit_message', CHANGE],
    [
      'commit',
      { ...given('German'), change: CHANGE },
      'commit_message',
      { ...CHANGE, language: 'German' },
    ],
    ['brief', given('', LOG), 'incident_brief', { sources: [LOG] }],
    [
      'brief',
      given('incident: since ten', LOG),
      'incident_brief',
      { sources: [LOG, { name: 'the request', text: 'since ten' }] },
    ],
    ['brief', given('incident ERROR one'), 'incident_brief', { log_text: 'ERROR one' }],
    ['brief', given('repo', NOTE), 'repo_brief', { sources: [NOTE] }],
    ['brief', given('Repository', NOTE), 'repo_brief', { sources: [NOTE] }],
    ['brief', { ...given('change'), change: CHANGE }, 'change_brief', { diff: CHANGE.diff }],
    [
      'brief',
      { ...given('changes', NOTE), change: CHANGE },
      'change_brief',
      { diff: CHANGE.diff, sources: [NOTE] },
    ],
  ];
  for (const [command, handed, job, input] of cases) {
    const shown = `/${command} ${handed.request.slice(0, 30).replace(/\s+/g, ' ')}`.trim();
    it(`${shown} with ${handed.sources.length} texts is ${job}`, () =>
      assert.deepEqual(called(command, handed), { job, input }));
  }

  it('is every job of a command', () => {
    const jobs = (Object.keys(JOBS) as JobName[]).filter((name) => cardOf(name).handed);
    assert.deepEqual(new Set(cases.map(([, , job]) => job)), new Set(jobs));
  });

  it('extracts the fields that are named', () => {
    const { job, input } = called('extract', given('name, born\nAda, 1815.'));
    assert.equal(job, 'extract');
    const { text, schema: shape } = input as InputOf<'extract'>;
    assert.equal(text, 'Ada, 1815.');
    assert.deepEqual(shape.required, ['name', 'born']);
  });

  it('is the brief of a repository when nothing came along', () =>
    assert.equal(chooseJob('brief', given()).job, 'repo_brief'));

  it('is not chosen by a word that only begins like one', () => {
    const { job, handed } = chooseJob('brief', given('changelog of May', NOTE));
    assert.equal(job, 'incident_brief');
    assert.equal(handed.request, 'changelog of May');
  });

  const bad: [command: string, handed: Handed, message: RegExp][] = [
    ['summarize', given(' '), /no text/],
    ['draft', given('', NOTE), /Say what should be written/],
    ['draft', given('Merge', NOTE, LOG), /one text at a time, and 2 came/],
    ['classify', given('bug, idea'), /no text/],
    ['classify', given('bug', NOTE), /at least two labels/],
    ['classify', given('bug, BUG', NOTE), /the same/],
    ['classify', given('bug, idea', NOTE, LOG), /one text at a time/],
    ['extract', given('', NOTE), /Say what to extract/],
    ['extract', given('{"type": ', NOTE), /not complete/],
    ['extract', given('{"type": "object", "required": 3}', NOTE), /not a list of names/],
    ['extract', given('all the emails!', NOTE), /is not the name of a field/],
    ['extract', given('name, born'), /no text/],
    ['triage', given(''), /no text/],
    ['triage', given('', NOTE, LOG), /one text at a time/],
    ['triage', given('x'.repeat(201), LOG), /./],
    ['research', given('Who?'), /nothing to read/],
    ['research', given(' ', NOTE), /no question/],
    ['review', given(), /no change/],
    ['commit', given('mention the ticket'), /Only the language/],
    ['brief', given('incident'), /no text/],
    ['brief', given('repo'), /nothing to read/],
    ['sing', given('a song'), /no command \/sing/],
  ];
  for (const [command, handed, message] of bad) {
    it(`/${command} ${handed.request.slice(0, 30)} with ${handed.sources.length} texts is refused`, () =>
      assert.match(refused(command, handed).message, message));
  }

  it('is called by one lower-case word, and says what follows it', () => {
    for (const { name, description, example } of slashCommands()) {
      assert.match(name, /^[a-z]+$/);
      assert.match(description, /^[A-Z].*[^.]$/);
      assert.match(example, /\S/);
    }
  });

  it('offers only commands that there are, and none that a model worded', () => {
    const names = slashCommands().map(({ name }) => name);
    for (const name of Object.keys(JOBS) as JobName[]) {
      for (const { command } of cardOf(name).handed?.follow_ups ?? []) {
        assert.ok(command === undefined || names.includes(command), command);
      }
    }
  });
});

function named({ name, text }: { name: string; text: string }) {
  return { text, source: name };
}
