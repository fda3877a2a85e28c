import assert from 'node:assert/strict';
import { readExample, readLabels, readSchema } from '../../src/core';
import { readFields, readShape } from '../../src/core/jobs/shape';

describe('what is typed for a job', () => {
  it('is labels with commas between them, and what they mean behind a colon', () => {
    assert.deepEqual(readLabels(' bug , feature: something new: or better, question,'), {
      value: [
        { label: 'bug', description: undefined },
        { label: 'feature', description: 'something new: or better' },
        { label: 'question', description: undefined },
      ],
    });
  });

  for (const [typed, problem] of [
    ['', 'Give at least two labels.'],
    ['bug', 'Give at least two labels.'],
    ['bug, BUG', 'Two of the labels are the same.'],
    ['bug, : nothing', 'A label has at least one character.'],
  ] as const) {
    it(`is no set of labels: "${typed}"`, () => {
      assert.deepEqual(readLabels(typed), { problem });
    });
  }

  it('is a JSON schema', () => {
    assert.deepEqual(readSchema('{"type": "object"}'), { value: { type: 'object' } });
  });

  for (const [typed, problem] of [
    ['{"type": ', /^This is not JSON: \S/],
    ['[]', /^A JSON schema is an object/],
    ['"object"', /^A JSON schema is an object/],
    ['{"type": "text"}', /names "text", which is not a type/],
    ['{"$ref": "https://example.com/schema"}', /only references inside of it/],
  ] as const) {
    it(`is no schema: ${typed}`, () => {
      const read = readSchema(typed);
      assert.match('problem' in read ? read.problem : '', problem);
    });
  }

  it('is an example, which becomes a schema', () => {
    assert.deepEqual(readExample('{"name": "Ada"}'), {
      value: {
        type: 'object',
        properties: { name: { type: 'string' } },
        required: ['name'],
        additionalProperties: false,
      },
    });
  });

  for (const typed of ['null', '{}', '[]', '3', '{"name"}']) {
    it(`is no example: ${typed}`, () => assert.ok('problem' in readExample(typed)));
  }

  it('is names of fields', () => {
    const field = { type: ['string', 'number', 'null'] };
    assert.deepEqual(readFields(' name, Größe ,born_in,'), {
      value: {
        type: 'object',
        properties: { name: field, Größe: field, born_in: field },
        required: ['name', 'Größe', 'born_in'],
        additionalProperties: false,
      },
    });
  });

  for (const typed of ['', ' , ', 'all the emails, please!', '1st', '"name"', 'a'.repeat(61)]) {
    it(`is no name of a field: "${typed.slice(0, 30)}"`, () =>
      assert.ok('problem' in readFields(typed)));
  }

  for (const schema of [
    { type: 'object' },
    { type: ['object', 'null'] },
    { properties: { name: {} } },
    { anyOf: [{ type: 'string' }] },
    { $schema: 'http://json-schema.org/draft-07/schema#' },
  ]) {
    it(`is a schema, not an example: ${JSON.stringify(schema)}`, () =>
      assert.deepEqual(readShape(schema), { value: schema }));
  }

  for (const example of [{ name: 'Ada' }, { type: 'bug', id: 1 }, [{ id: 1 }]]) {
    it(`is an example, not a schema: ${JSON.stringify(example)}`, () => {
      const read = readShape(example);
      assert.ok('value' in read && 'type' in read.value);
      assert.notDeepEqual(read.value, example);
    });
  }

  it('is neither', () => assert.ok('problem' in readShape({})));
});
