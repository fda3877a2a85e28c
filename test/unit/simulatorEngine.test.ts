import assert from 'node:assert/strict';
import Ajv2020 from 'ajv/dist/2020';
import { draft } from '../support/ollama/draft';
import { fromSchema } from '../support/ollama/fromSchema';
import { readPrompt } from '../support/ollama/prompt';
import { summarize } from '../support/ollama/summarize';
import { tokenize } from '../support/ollama/tokens';
import { vectorOf } from '../support/ollama/vectors';

const TEXT = `The scheduler decides which model stays in memory. It keeps one request per model at a time.
When memory is short, the scheduler evicts the idle model with the shortest keep-alive.
My cat sleeps on the keyboard. A crash of the scheduler frees every model in memory.
There were 42 requests in the queue at noon.`;

const prompt = (content: string, system = '') =>
  readPrompt({
    messages: [
      { role: 'system', content: system },
      { role: 'user', content },
    ],
  });

describe('computed answers', () => {
  describe('tokens', () => {
    for (const text of [TEXT, '  a\n\n\tb  c\r\n', 'ünïcödé 日本語 🎉👩‍👩‍👧 \ud800', 'x_1=22', '']) {
      it(`of ${JSON.stringify(text.slice(0, 20))} join to the text`, () => {
        assert.equal(tokenize(text).join(''), text);
      });
    }

    it('are about four characters long', () => {
      const perToken = TEXT.length / tokenize(TEXT).length;
      assert.ok(perToken > 3 && perToken < 6, String(perToken));
    });
  });

  it('are about what stands between marks, however many texts there are', () => {
    const marked = (text: string) => `<<<TEXT s1 0badcafe>>>\n${text}\n<<<END TEXT s1 0badcafe>>>`;
    const { source } = prompt(`s1: "a"\n${marked('One.')}\n\ns1: "b"\n${marked('Two.')}\n\nGo on.`);
    assert.equal(source, 'One.\n\nTwo.');
  });

  describe('summaries', () => {
    it('are central sentences of the text', () => {
      const summary = summarize(prompt(`Summarize in two sentences:\n\n${TEXT}`));
      assert.match(summary, /scheduler/);
      assert.doesNotMatch(summary, /cat sleeps/);
      for (const sentence of summary.split(/(?<=\.) /))
        assert.ok(TEXT.includes(sentence), sentence);
    });

    it('keep to the form that is asked for', () => {
      const bullets = summarize(prompt(`Summarize as 3 bullet points:\n\n${TEXT}`)).split('\n');
      assert.equal(bullets.length, 3);
      assert.ok(bullets.every((line) => line.startsWith('- ')));
      const short = summarize(prompt(`Summarize in at most 8 words:\n\n${TEXT}`));
      assert.ok(short.split(' ').length <= 8);
    });

    it('of code speak of its comments and signatures', () => {
      const code =
        '/** Adds two prices in cents. */\nexport function addPrices(a: number, b: number): number {\n' +
        '  const sum = a + b;\n  return sum;\n}\n';
      const summary = summarize(prompt(`Explain this:\n\`\`\`ts\n${code}\`\`\``));
      assert.match(summary, /Adds two prices in cents\./);
      assert.match(summary, /addPrices/);
    });
  });

  describe('drafts', () => {
    it('carry the names of the instruction', () => {
      const text = draft(prompt('Write a TypeScript function `parseDate` that uses isoFormat'));
      assert.match(text, /^Here is a draft:\n\n```typescript\n/);
      assert.match(text, /function parseDate\(/);
      assert.match(text, /isoFormat/);
    });

    it('are bare when only code is wanted', () => {
      const text = draft(prompt('Write a python function called load_rows. Output only code.'));
      assert.match(text, /^def load_rows\(/);
      assert.doesNotMatch(text, /```/);
    });
  });

  describe('JSON', () => {
    const schemas: Record<string, object> = {
      'plain types': {
        type: 'object',
        properties: {
          summary: { type: 'string', minLength: 10, maxLength: 60 },
          count: { type: 'integer', minimum: 1, maximum: 5 },
          score: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
          even: { type: 'integer', multipleOf: 2, minimum: 3, maximum: 9 },
          ok: { type: 'boolean' },
          nothing: { type: 'null' },
          kind: { const: 'note' },
        },
        required: ['summary', 'count', 'score', 'even', 'ok', 'nothing', 'kind'],
        additionalProperties: false,
      },
      arrays: {
        type: 'array',
        items: { type: 'string', maxLength: 12 },
        minItems: 2,
        maxItems: 4,
        uniqueItems: true,
      },
      'an exact number of items': {
        type: 'array',
        items: { enum: ['a', 'b', 'c'] },
        minItems: 5,
        maxItems: 5,
      },
      'references and choices': {
        $defs: {
          node: {
            type: 'object',
            properties: {
              label: { type: 'string' },
              children: { type: 'array', items: { $ref: '#/$defs/node' } },
              next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] },
            },
            required: ['label', 'children', 'next'],
            additionalProperties: false,
          },
        },
        $ref: '#/$defs/node',
      },
      'one of several': {
        oneOf: [
          { type: 'object', properties: { a: { const: 1 } }, required: ['a'] },
          { type: 'object', properties: { b: { const: 2 } }, required: ['b'] },
        ],
      },
      'all of several': {
        allOf: [
          { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] },
          { type: 'object', properties: { b: { type: 'string' } }, required: ['b'] },
        ],
      },
      maps: { type: 'object', additionalProperties: { type: 'integer', minimum: 0 } },
      'nullable types': { type: ['string', 'null'], maxLength: 3 },
    };

    for (const [name, schema] of Object.entries(schemas)) {
      it(`satisfies ${name}`, () => {
        const validate = new Ajv2020({ strict: false }).compile(schema);
        for (const text of [TEXT, 'short', '']) {
          const value = fromSchema(schema as Record<string, unknown>, prompt(text));
          assert.ok(
            validate(value),
            `${JSON.stringify(value)}: ${JSON.stringify(validate.errors)}`,
          );
        }
      });
    }

    it('takes the label that the text speaks of', () => {
      const schema = { properties: { label: { enum: ['feature', 'crash', 'question'] } } };
      assert.deepEqual(fromSchema(schema, prompt(TEXT)), { label: 'crash' });
    });

    it('takes a label from the list in the instruction', () => {
      const schema = { type: 'object', properties: { label: { type: 'string' } } };
      const asked = prompt(TEXT, 'Classify the text.\nLabels: weather, scheduler, music');
      assert.deepEqual(fromSchema(schema, asked), { label: 'scheduler' });
    });

    it('is the same each time', () => {
      const schema = schemas['plain types'] as Record<string, unknown>;
      assert.deepEqual(fromSchema(schema, prompt(TEXT)), fromSchema(schema, prompt(TEXT)));
    });
  });

  describe('vectors', () => {
    const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
    const vector = (text: string) => vectorOf(text, 768);

    it('have length one and depend on the text alone', () => {
      assert.ok(Math.abs(dot(vector(TEXT), vector(TEXT)) - 1) < 1e-9);
      assert.deepEqual(vector('a cat'), vector('a cat'));
      assert.equal(vector('').length, 768);
    });

    it('are closer for texts that share words', () => {
      const query = vector('search_query: which model does the scheduler evict');
      const near = dot(query, vector('search_document: the scheduler evicts the idle model'));
      const far = dot(query, vector('search_document: butter, flour and three eggs'));
      assert.ok(near > far + 0.2, `${near} ${far}`);
    });
  });
});
