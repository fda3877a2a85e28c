import assert from 'node:assert/strict';
import { readExample, readLabels, readSchema } from '../../src/core';

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
});
