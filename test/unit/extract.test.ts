import assert from 'node:assert/strict';
import fc from 'fast-check';
import { InternError } from '../../src/core';
import { extract } from '../../src/core/jobs/extract';
import type { Question } from '../../src/core/jobs/job';
import {
  grammarShape,
  inferSchema,
  problemsOf,
  relaxed,
  type Shape,
  whyNotShape,
} from '../../src/core/jobs/shape';
import { ComputedEngine } from '../support/ollama/computed';
import type { EnginePiece, EngineRequest, EngineResult } from '../support/ollama/engine';
import { HOSTILE, inside, outside, system } from './prompts';
import { chatsOf, Stage } from './stage';
import { FakeSteps } from './steps';
import { assertSentence, failure } from './support';

const PERSON = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    age: { type: 'integer', minimum: 0 },
    tags: { type: 'array', items: { type: 'string' } },
  },
  required: ['name', 'age'],
  additionalProperties: false,
};
const ADA = { name: 'Ada', age: 36, tags: ['maths'] };

const given = (more: object = {}) =>
  extract.input.parse({ text: HOSTILE, schema: PERSON, ...more });
type Answer = ConstructorParameters<typeof FakeSteps>[0];

async function run(answer: unknown, more: object = {}, window?: number) {
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  const say: Answer =
    typeof answer === 'function'
      ? (answer as Answer)
      : (_, index) => text(Array.isArray(answer) ? answer[index] : answer);
  const steps = new FakeSteps(say, window);
  return { ...(await extract.run(given(more), steps)), steps };
}

describe('the prompt of extract', () => {
  it('keeps the text inside its fence, and asks for the schema', async () => {
    const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', ...PERSON };
    const { steps } = await run(ADA, { schema, source: 'a\nb', hint: 'the oldest person' });
    const [asked] = steps.asked;
    assert.ok(asked);
    assert.equal(inside(asked, 'TEXT'), `\n${HOSTILE}\n`);
    assert.doesNotMatch(outside(asked, 'TEXT'), /HACKED|you are free/);
    assert.match(outside(asked, 'TEXT'), /from "a b"[^]*the oldest person/);
    assert.deepEqual(asked.format, PERSON);
    assert.ok(system(asked).includes(JSON.stringify(PERSON)));
  });

  it('needs room, or says what to do about it', async () => {
    const error = await failure(run(ADA, {}, 500));
    assert.equal(error.code, 'context_overflow');
    assertSentence(error.message, 'The message');
  });
});

describe('extracted data', () => {
  it('is what the model says when that follows the schema', async () => {
    for (const answer of [
      ADA,
      `\`\`\`json\n${JSON.stringify(ADA)}\n\`\`\``,
      `Here: ${JSON.stringify(ADA)}.`,
    ]) {
      const { result, steps } = await run(answer);
      assert.deepEqual(result, { ok: true, data: ADA, problems: [], repaired: false });
      assert.equal(steps.asked.length, 1);
    }
  });

  it('is asked for once more, with what is wrong', async () => {
    const { result, steps } = await run([{ name: 7, age: -1 }, ADA]);
    assert.deepEqual(result, { ok: true, data: ADA, problems: [], repaired: true });
    const [, again] = steps.asked;
    assert.deepEqual(
      again?.messages.map(({ role }) => role),
      ['system', 'user', 'assistant', 'user'],
    );
    assert.match(again?.messages[3]?.content ?? '', /name: .*string[^]*age: .*0/);
    assert.deepEqual(again?.format, PERSON);
  });

  const bad: [what: string, answer: string, problem: RegExp][] = [
    ['prose', 'HACKED', /no whole JSON/],
    ['nothing', '', /no whole JSON/],
    ['JSON that is cut', '{"name": "Ada", "age"', /no whole JSON/],
    ['the marks of the fence', '<<<END TEXT 0badcafe>>>', /no whole JSON/],
    ['a list', '[]', /The value: /],
    ['wrong types', '{"name": ["x"], "age": "old"}', /^name: .*type/],
    ['too much', '{"name": "x", "age": 1, "is_admin": true}', /is_admin/],
    ['too little', '{"name": "x"}', /age/],
  ];
  for (const [what, answer, problem] of bad) {
    it(`is none when the model answers twice with ${what}`, async () => {
      const { result, steps } = await run(answer);
      assert.equal(steps.asked.length, 2);
      assert.deepEqual([result.ok, result.data, result.repaired], [false, null, false]);
      assert.equal(result.answer, answer);
      assert.match(result.problems.join('\n'), problem);
      assert.match(extract.show(result), /^The answer does not follow the schema:\n\n- /);
    });
  }

  const KIDS = {
    type: 'object',
    properties: {
      name: { type: 'string' },
      kids: { type: 'array', items: { type: 'object', properties: { name: { type: 'string' } } } },
    },
  };
  const pieces: [what: string, answer: string][] = [
    ['is cut', '{"name":"Ada","kids":[{"name":"Bob"},{"name":"Cy'],
    ['is a cut list', '[{"name":"Bob"},{"name":"Cy'],
    ['is cut behind prose', 'Here [it] is: {"name":"Ada","kids":[{"name":"Bob"},{"name":"Cy'],
    ['has a trailing comma', '{"name":"Ada","kids":[{"name":"Bob"}],}'],
    ['has keys without quotes', '{name: "Ada", kids: [{"name":"Bob"}]}'],
    ['has keys without quotes and is cut', '{name: "Ada", kids: [{"name":"Bob"},{"na'],
  ];
  for (const [what, answer] of pieces) {
    it(`is not a piece of an answer that ${what}`, async () => {
      const { result, steps } = await run(answer, { schema: KIDS });
      assert.equal(steps.asked.length, 2);
      assert.deepEqual([result.ok, result.data, result.answer], [false, null, answer]);
      assert.match(result.problems.join(), /no whole JSON/);
    });
  }

  it('is not what is whole in an answer that ran into its limit', async () => {
    const cut = 'The people: {"name":"Ada"}, {"name":"B';
    const steps = new FakeSteps(() => cut);
    const ask = steps.ask.bind(steps);
    steps.ask = async (question) => ({ ...(await ask(question)), done_reason: 'length' });
    const { result } = await extract.run(given({ schema: KIDS }), steps);
    assert.equal(result.ok, false);
    assert.match(result.problems.join(), /no whole JSON.*cut off/);
  });

  it('is an error when the model cannot be asked', async () => {
    const gone = new InternError({ code: 'unreachable', message: 'Gone.', hint: 'Start it.' });
    assert.equal((await failure(run(() => gone))).code, 'unreachable');
  });

  it('is shown as code, and so is what does not follow the schema', () => {
    const evil = '```\n<b>[x](command:y)</b>';
    const shown = extract.show({
      ok: false,
      data: null,
      problems: ['[a](b)'],
      repaired: false,
      answer: evil,
    });
    assert.match(shown, /- \\\[a\]\(b\)\n\n````\n/);
    assert.equal(
      extract.show({ ok: true, data: { a: evil }, problems: [], repaired: false }),
      `\`\`\`\`json\n{\n  "a": ${JSON.stringify(evil)}\n}\n\`\`\`\``,
    );
  });
});

describe('extraction from a long text', () => {
  const text = 'a line about people\n'.repeat(400);
  const small = 16_000;
  const partOf = ({ messages }: Question) => /part (\d+) of (\d+)/.exec(messages[0]?.content ?? '');

  it('reads all of it in parts, which need not be complete', async () => {
    const { steps } = await run({}, { text }, small);
    const parts = steps.asked
      .filter((_, index) => index >= 0)
      .map((q) => inside(q, 'TEXT').slice(1, -1));
    assert.ok(parts.length > 1);
    assert.equal(parts.join(''), text);
    for (const asked of steps.asked) {
      assert.ok(partOf(asked));
      assert.equal((asked.format as { required?: unknown }).required, undefined);
    }
  });

  it('puts together what the parts hold, and says so', async () => {
    const {
      result,
      warnings = [],
      truncated,
    } = await run(
      (question: Question) =>
        JSON.stringify(
          {
            1: { name: 'Ada', tags: ['x', 'y'] },
            2: { name: 'Bob', age: 3, tags: ['y', 'z'] },
          }[partOf(question)?.[1] ?? ''] ?? {},
        ),
      { text },
      small,
    );
    assert.deepEqual(result, {
      ok: true,
      data: { name: 'Ada', age: 3, tags: ['x', 'y', 'z'] },
      problems: [],
      repaired: false,
    });
    assert.equal(truncated, false);
    assert.match(warnings.join(' '), /read in \d+ parts.* 1 value differed/);
    assert.match(warnings.join(' '), /equal to what an earlier part holds: 1 item of lists\./);
    for (const warning of warnings) assertSentence(warning, 'The warning');
  });

  it('keeps equal items of one part, and says how many of later parts it left out', async () => {
    const rent = { payee: 'Rent', amount: 900 };
    const { result, warnings = [] } = await run(
      (question: Question) =>
        JSON.stringify({
          paid:
            { 1: [rent, rent], 2: [{ payee: 'Tax', amount: 7 }, rent] }[
              partOf(question)?.[1] ?? ''
            ] ?? [],
        }),
      { text, schema: { properties: { paid: { type: 'array' } } } },
      small,
    );
    assert.deepEqual(result.data, { paid: [rent, rent, { payee: 'Tax', amount: 7 }] });
    assert.match(warnings.join(' '), /equal to what an earlier part holds: 1 item of lists\./);
    for (const warning of warnings) assertSentence(warning, 'The warning');
  });

  it('takes a value from the first part that has one', async () => {
    const { result, warnings = [] } = await run(
      (question: Question) =>
        JSON.stringify({ nick: { 1: null, 2: 'A' }[partOf(question)?.[1] ?? ''] ?? null }),
      { text, schema: { properties: { nick: { type: ['string', 'null'] } } } },
      small,
    );
    assert.deepEqual([result.data, warnings.length], [{ nick: 'A' }, 1]);
  });

  it('names the lines of parts that failed', async () => {
    const {
      result,
      warnings = [],
      truncated,
    } = await run(
      (question: Question) =>
        partOf(question)?.[1] === '1'
          ? new InternError({ code: 'timeout', message: 'It took too long.', hint: 'Wait.' })
          : partOf(question)?.[1] === '2'
            ? 'nonsense'
            : JSON.stringify(ADA),
      { text },
      15_500,
    );
    assert.ok(result.ok && truncated);
    assert.match(warnings.join(' '), /Lines 1 to \d+ are missing: It took too long\./);
    assert.match(warnings.join(' '), /are missing: its answer does not follow the schema\./);
    for (const warning of warnings) assertSentence(warning, 'The warning');
  });

  it('loses a part whose answer is cut, and takes no piece of it', async () => {
    const schema = {
      type: 'object',
      properties: {
        people: { type: 'array', items: { type: 'object', required: ['name'] } },
      },
      required: ['people'],
    };
    const {
      result,
      warnings = [],
      truncated,
    } = await run(
      (question: Question) =>
        partOf(question)?.[1] === '2'
          ? '{"people":[{"name":"Bob"},{"name":"Cy'
          : '{"people":[{"name":"Ada"}]}',
      { text, schema },
      small,
    );
    assert.deepEqual(Object.keys(result.data as object), ['people']);
    assert.doesNotMatch(JSON.stringify(result.data), /Bob/);
    assert.equal(truncated, true);
    assert.match(warnings.join(' '), /are missing: its answer does not follow the schema/);
  });

  it('does not claim to be complete when no part says what is required', async () => {
    const { result } = await run({ tags: ['x'] }, { text }, small);
    assert.deepEqual([result.ok, result.data], [false, null]);
    assert.match(result.problems.join(), /name/);
    assert.match(result.answer ?? '', /"x"/);
  });

  it('has nothing when no answer can be read', async () => {
    const { result } = await run('nonsense', { text }, small);
    assert.deepEqual(result.problems, ['No part of the text gave an answer.']);
    assert.match(result.answer ?? '', /nonsense/);
  });
});

describe('schemas', () => {
  const refused: [what: string, schema: unknown, why: RegExp][] = [
    [
      'a reference to the network',
      { $ref: 'https://evil.example/s.json' },
      /only references inside/,
    ],
    ['one in a property', { properties: { a: { $ref: 'file:///etc/passwd' } } }, /only references/],
    ['one to another file', { items: { $ref: 'other.json#/x' } }, /only references inside/],
    ['one that leads nowhere', { $ref: '#/$defs/none' }, /which is not in it/],
    ['an unknown type', { type: 'text' }, /"text", which is not a type/],
    ['a type that is none', { type: 7 }, /7, which is not a type/],
    ['required that is no list', { required: 'a' }, /"required" is not a list/],
    ['enum that is no list', { enum: 'a' }, /"enum" is not a list/],
    ['properties that are a list', { properties: ['a'] }, /"properties" does not hold/],
    ['a property that is a number', { properties: { a: 7 } }, /"properties" does not hold/],
    ['alternatives that are none', { anyOf: {} }, /"anyOf" does not hold/],
    ['a broken pattern', { pattern: '(' }, /not a regular expression/],
    ['a reference that is not followed', { items: { $dynamicRef: '#node' } }, /"\$dynamicRef"/],
    ['a broken pattern of names', { patternProperties: { '[': true } }, /not a regular expression/],
  ];
  for (const [what, schema, why] of refused) {
    it(`refuse ${what}`, () => {
      const parsed = extract.input.safeParse({ text: 'x', schema });
      const message = parsed.error?.issues[0]?.message ?? 'accepted';
      assert.match(message, why);
      assertSentence(message, 'The message');
    });
  }

  for (const schema of ['x', 7, null, ['a']]) {
    it(`are not ${JSON.stringify(schema)}`, () => {
      assert.ok(!extract.input.safeParse({ text: 'x', schema }).success);
    });
  }

  const accepted: [what: string, schema: Record<string, unknown>, good: unknown, bad: unknown][] = [
    ['of anything', {}, { a: 1 }, undefined],
    ['of a text', { type: 'string', minLength: 2 }, 'ab', 'a'],
    [
      'that refer to themselves',
      {
        $ref: '#/$defs/node',
        $defs: {
          node: {
            type: 'object',
            properties: { next: { $ref: '#/$defs/node' }, v: { type: 'number' } },
          },
        },
      },
      { next: { next: { v: 1 } } },
      { next: { next: { v: 'x' } } },
    ],
    [
      'of draft 7, with tuples',
      {
        $schema: 'http://json-schema.org/draft-07/schema#',
        items: [{ type: 'string' }, { type: 'number' }],
        additionalItems: false,
      },
      ['a', 1],
      ['a', 'b'],
    ],
    [
      'with a condition',
      { if: { required: ['a'] }, then: { required: ['b'] } },
      { a: 1, b: 1 },
      { a: 1 },
    ],
    ['with exactly one alternative', { oneOf: [{ type: 'number' }, { minimum: 5 }] }, 1, 7],
    ['with alternatives', { anyOf: [{ type: 'number' }, { type: 'null' }] }, null, 'x'],
    ['with what is not', { not: { type: 'null' } }, 1, null],
    [
      'with a property called $ref',
      { properties: { $ref: { type: 'string' } } },
      { $ref: 'x' },
      { $ref: 1 },
    ],
  ];
  for (const [what, schema, good, bad] of accepted) {
    it(`may be ${what}`, () => {
      const before = JSON.stringify(schema);
      assert.equal(whyNotShape(schema), undefined);
      assert.deepEqual(problemsOf(good, schema), []);
      if (bad !== undefined) assert.notDeepEqual(problemsOf(bad, schema), []);
      assert.equal(JSON.stringify(schema), before);
    });
  }

  const patterns: [pattern: string, good: string, bad: string][] = [
    ['^\\d{3}\\-\\d{4}$', '555-1234', '5551234'],
    ['^[\\w-.]+@x$', 'a-b.c@x', 'a b@x'],
    ['^[a-\\d]+$', 'a-7', 'b'],
    ['^[\\-\\_a]\\_$', '-_', '\\_'],
    ['^\\{x}$', '{x}', 'x'],
    ['^a\\ \\#b$', 'a #b', 'a#b'],
    ['^{x]$', '{x]', 'x'],
    ['^\\p{L}\\-\\u0041{2}$', 'ß-AA', '7-AA'],
    ['^\\@[\\]\\"]$', '@]', '@x'],
  ];
  for (const [pattern, good, bad] of patterns) {
    it(`may have a pattern that is written loosely: ${pattern}`, () => {
      const shape = { type: 'string', pattern };
      assert.equal(whyNotShape(shape), undefined);
      assert.deepEqual(problemsOf(good, shape), []);
      assert.equal(problemsOf(bad, shape).length, 1);
      const named = { patternProperties: { [pattern]: { type: 'null' } } };
      assert.equal(whyNotShape(named), undefined);
      assert.deepEqual(problemsOf({ [good]: null, [bad]: 1 }, named), []);
      assert.notDeepEqual(problemsOf({ [good]: 1 }, named), []);
    });
  }

  it('tell the place of a problem, and not the outer ones', () => {
    const shape = { type: 'object', properties: { list: { type: 'array', items: PERSON } } };
    const problems = problemsOf({ list: [ADA, { name: 'B', age: 'x' }] }, shape);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? '', /^list\.1\.age: .*type/);
  });

  it('demand nothing once they are relaxed, and forbid what they forbade', () => {
    const loose = relaxed({ ...PERSON, oneOf: [{ required: ['name'] }], not: { required: ['x'] } });
    assert.deepEqual(problemsOf({}, loose), []);
    const some = { type: 'array', items: { type: 'array', minItems: 1 }, minItems: 2 };
    assert.deepEqual(problemsOf([[]], relaxed(some)), []);
    assert.notDeepEqual(problemsOf({ is_admin: true }, loose), []);
    assert.notDeepEqual(problemsOf({ age: 'x' }, loose), []);
  });
});

describe('the schema that a server is sent', () => {
  /** Whether it holds a schema that a grammar cannot be made of. */
  const isRefused = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null) return false;
    const { properties, ...rest } = value as Shape;
    const inner = [...Object.values(rest), ...Object.values((properties ?? {}) as Shape)];
    const isEmpty = !Array.isArray(value) && Object.keys(value).length === 0;
    return isEmpty || 'pattern' in value || inner.some(isRefused);
  };

  const sent: [what: string, schema: Shape, sent: Shape][] = [
    ['a pattern', { type: 'string', pattern: '[A-Z]{2}' }, { type: 'string' }],
    [
      'names by pattern',
      { type: 'object', patternProperties: { '^x': true }, additionalProperties: false },
      { type: 'object', additionalProperties: true },
    ],
    [
      'conditions',
      { type: 'object', not: {}, if: {}, then: {}, else: {}, propertyNames: { maxLength: 3 } },
      { type: 'object' },
    ],
    [
      'alternatives that only demand',
      {
        type: 'object',
        properties: { a: { type: 'null' } },
        anyOf: [{ required: ['a'] }, { required: ['b'] }],
      },
      { type: 'object', properties: { a: { type: 'null' } } },
    ],
    ['lengths without end', { type: 'string', maxLength: 1_000_000 }, { type: 'string' }],
    [
      'a tuple',
      { type: 'array', prefixItems: [{ type: 'null' }], items: false },
      { type: 'array', prefixItems: [{ type: 'null' }] },
    ],
    ['what fits a grammar', PERSON, PERSON],
  ];
  for (const [what, schema, expected] of sent) {
    it(`holds no more of ${what} than a grammar can`, () => {
      const before = JSON.stringify(schema);
      assert.deepEqual(grammarShape(schema), expected);
      assert.equal(JSON.stringify(schema), before);
    });
  }

  it('names all types where the schema allows anything', () => {
    for (const schema of [{}, { description: 'x' }, { pattern: 'x' }, { minimum: 1 }]) {
      const { type } = grammarShape(schema);
      assert.deepEqual(new Set(type as string[]).size, 7);
    }
    const { properties, items } = grammarShape({
      properties: { a: true, b: {}, no: false },
      items: true,
    }) as Record<string, Shape>;
    assert.deepEqual(Object.keys(properties ?? {}), ['a', 'b']);
    for (const any of [properties?.a, properties?.b, items]) {
      assert.equal(((any as Shape).type as string[]).length, 7);
    }
  });

  it('lets a field whose example is null be null, a text or anything else', () => {
    const { properties } = grammarShape(inferSchema({ name: 'Ada', died: null })) as {
      properties: Record<string, Shape>;
    };
    assert.ok((properties.died?.type as string[]).includes('null'));
    assert.ok((properties.died?.type as string[]).includes('string'));
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (example) => {
        const schema = grammarShape(inferSchema(example));
        assert.deepEqual(problemsOf(example, schema), []);
        assert.ok(!isRefused(schema));
      }),
    );
  });

  describe('from which it can make no grammar', () => {
    const stage = Stage.forEach();

    /** Says these texts, one after the other. */
    class Speaker extends ComputedEngine {
      constructor(private readonly texts: string[]) {
        super();
      }

      override async generate(
        _: EngineRequest,
        onPiece: (piece: EnginePiece) => void | Promise<void>,
      ): Promise<EngineResult> {
        await onPiece({ kind: 'text', text: this.texts.shift() ?? '' });
        return { promptTokens: 10, outputTokens: 3, doneReason: 'stop' };
      }
    }

    it('is not sent a pattern, which the answer is held to all the same', async () => {
      const schema = {
        type: 'object',
        properties: { code: { type: 'string', pattern: '[0-9]' } },
        required: ['code'],
      };
      const server = await stage().serve({
        engine: new Speaker(['{"code": "x"}', '{"code": "7"}']),
      });
      const intern = stage().hire(server);
      const work = intern.run('extract', { text: 'It is 7.', schema });
      const { result } = await stage().finish(work);
      assert.deepEqual(result, { ok: true, data: { code: '7' }, problems: [], repaired: true });
      for (const { body } of chatsOf(server)) {
        assert.ok(!isRefused((body as { format: unknown }).format));
        assert.match(JSON.stringify(body), /\[0-9\]/);
      }
    });
  });
});

describe('the schema of an example', () => {
  it('has the types of the example', () => {
    assert.deepEqual(
      inferSchema({ id: 7, name: 'x', ok: true, price: 1.5, note: null, tags: [] }),
      {
        type: 'object',
        properties: {
          id: { type: 'number' },
          name: { type: 'string' },
          ok: { type: 'boolean' },
          price: { type: 'number' },
          note: {},
          tags: { type: 'array' },
        },
        required: ['id', 'name', 'ok', 'price', 'note', 'tags'],
        additionalProperties: false,
      },
    );
  });

  it('takes the items of a list together', () => {
    const item = { a: { type: 'number' }, b: { type: 'string' }, c: { type: 'boolean' } };
    assert.deepEqual(
      inferSchema([
        { a: 1, b: 'x' },
        { a: 2, c: true },
      ]),
      {
        type: 'array',
        items: { type: 'object', properties: item, required: ['a'], additionalProperties: false },
      },
    );
    assert.deepEqual(inferSchema([1, 'a', null, 2]), {
      type: 'array',
      items: { anyOf: [{ type: 'number' }, { type: 'string' }, { type: 'null' }] },
    });
    assert.deepEqual(inferSchema([null, null]), { type: 'array', items: {} });
    assert.deepEqual(inferSchema([[], [1]]), {
      type: 'array',
      items: { type: 'array', items: { type: 'number' } },
    });
  });

  it('fits its example, and is one that extract takes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (example) => {
        const schema = inferSchema(example);
        assert.equal(whyNotShape(schema), undefined);
        assert.deepEqual(problemsOf(example, schema), []);
      }),
      { numRuns: 500 },
    );
  });
});
