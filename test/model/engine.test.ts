import assert from 'node:assert/strict';
import { Ajv } from 'ajv';
import type { Engine, EngineRequest, EngineResult, ModelSpec } from '../support/ollama/engine';
import { createLlamaEngine } from '../support/ollama/llama';
import { toGrammarSchema } from '../support/ollama/llama-schema';
import { nameOfFile, parameterSize } from '../support/ollama/llama-spec';
import { CharacterAssembler, StopFilter, ToolCallReader } from '../support/ollama/llama-text';
import { ensureEmbeddingModel, ensureLlama, ensureModel } from '../support/llama-setup.mjs';

const NUM_CTX = 1024;

const REPORT_SCHEMA = {
  type: 'object',
  required: ['title', 'severity', 'score', 'tags', 'source'],
  additionalProperties: false,
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 60 },
    severity: { enum: ['low', 'medium', 'high'] },
    score: { type: 'integer', minimum: 1, maximum: 5 },
    tags: { type: 'array', minItems: 1, maxItems: 3, items: { $ref: '#/$defs/tag' } },
    source: { const: 'log' },
  },
  $defs: { tag: { type: 'string', maxLength: 20 } },
};

describe('llama engine, without weights', () => {
  it('inlines definitions and names what a grammar cannot enforce', () => {
    const { schema, notes } = toGrammarSchema({
      type: 'object',
      properties: {
        mail: { type: 'string', format: 'email', pattern: '@' },
        size: { type: 'number', minimum: 0 },
        rating: { type: 'integer', minimum: 1, maximum: 3 },
        tag: { $ref: '#/$defs/tag' },
        maybe: { type: ['object', 'null'], properties: { a: { const: 1 } } },
      },
      $defs: { tag: { enum: ['a', 'b'] } },
    });
    assert.deepEqual(schema.properties, {
      mail: { type: 'string' },
      size: { type: 'number' },
      rating: { enum: [1, 2, 3] },
      tag: { enum: ['a', 'b'] },
      maybe: {
        oneOf: [{ type: 'object', properties: { a: { const: 1 } } }, { type: 'null' }],
      },
    });
    assert.deepEqual(notes, [
      '#/mail: pattern is not enforced',
      '#/mail: format email is not enforced',
      '#/size: minimum and maximum are not enforced',
    ]);
  });

  it('ends definitions that contain themselves', () => {
    const node = {
      type: 'object',
      required: ['children'],
      properties: {
        children: { type: 'array', items: { $ref: '#/$defs/node' } },
        parent: { $ref: '#/$defs/node' },
      },
    };
    const tree = toGrammarSchema({ $ref: '#/$defs/node', $defs: { node } });
    assert.match(JSON.stringify(tree.schema), /"maxItems":0/);
    assert.equal(tree.notes.length > 0, true);
    const endless = { type: 'object', required: ['a'], properties: { a: { $ref: '#' } } };
    assert.match(toGrammarSchema(endless).notes.join(), /without end/);
  });

  it('cuts at a stop string that arrives in parts', () => {
    const filter = new StopFilter(['STOP']);
    const out = ['one ST', 'ILL two S', 'TO', 'P three'].map((text) => filter.push(text));
    assert.equal(out.join(''), 'one STILL two ');
    assert.equal(filter.stopped, true);
  });

  it('waits for whole characters', () => {
    const bytes = [...Buffer.from('a🦙')];
    const detokenize = (tokens: readonly number[]) => Buffer.from(tokens).toString('utf8');
    const assembler = new CharacterAssembler({ detokenize });
    assert.deepEqual(
      bytes.map((byte) => assembler.push(byte)),
      ['a', '', '', '', '🦙'],
    );
    assembler.push(bytes[1]!);
    assert.equal(assembler.end(), '');
  });

  it('reads tool calls out of the text', () => {
    const reader = new ToolCallReader();
    const parts = ['Well <tool', '_call>\n{"name":"add","arguments":{"a":1}}', '</tool_call>!'];
    const pieces = [...parts.flatMap((part) => reader.push(part)), ...reader.end()];
    assert.deepEqual(pieces, [
      { kind: 'text', text: 'Well ' },
      { kind: 'tool_call', name: 'add', arguments: { a: 1 } },
      { kind: 'text', text: '!' },
    ]);
  });

  it('names models the way Ollama does', () => {
    assert.equal(
      nameOfFile('/x/Qwen2.5-0.5B-Instruct-Q4_K_M.gguf'),
      'qwen2.5-0.5b-instruct:q4_k_m',
    );
    assert.equal(nameOfFile('My Model.gguf'), 'my-model:latest');
    assert.equal(parameterSize(134_515_008), '134.52M');
    assert.equal(parameterSize(8_030_000_000), '8.0B');
  });
});

describe('llama engine', () => {
  let engine: Engine;
  let model: ModelSpec;
  const notes: string[] = [];

  before('packages and weights', async function () {
    this.timeout(300_000);
    const llama = await ensureLlama();
    const weights = await ensureModel({ gguf: process.env.OLLAMA_INTERN_GGUF });
    const vectors = await ensureEmbeddingModel();
    const missing = [llama, weights].find((part) => 'reason' in part);
    if (missing && 'reason' in missing) {
      console.log(`    skipped: ${missing.reason}`);
      this.skip();
    }
    if ('reason' in llama || 'reason' in weights) return;
    engine = await createLlamaEngine({
      gguf: weights.path,
      name: weights.name,
      llamaDir: llama.dir,
      embedding: 'reason' in vectors ? undefined : { gguf: vectors.path, name: vectors.name },
      onNote: (text) => notes.push(text),
    });
    model = engine.models[0]!;
    await engine.load(model, NUM_CTX, new AbortController().signal);
  });

  after(() => engine?.dispose());

  function request(question: string, more: Partial<EngineRequest> = {}): EngineRequest {
    return {
      model,
      messages: [{ role: 'user', content: question }],
      numCtx: NUM_CTX,
      temperature: 0,
      signal: new AbortController().signal,
      ...more,
    };
  }

  async function answer(asked: EngineRequest): Promise<EngineResult & { texts: string[] }> {
    const texts: string[] = [];
    const result = await engine.generate(asked, (piece) => {
      if (piece.kind === 'text') texts.push(piece.text);
    });
    return { ...result, texts };
  }

  it('reads the model off its file', function () {
    if (model.name !== 'smollm2:135m') this.skip();
    assert.equal(model.parameterSize, '134.52M');
    assert.equal(model.quantization, 'Q4_1');
    assert.equal(model.family, 'llama');
    assert.equal(model.contextLength, 8192);
    assert.equal(model.embeddingLength, 576);
    assert.deepEqual(model.capabilities, ['completion']);
  });

  it('answers in a sentence and stops by itself', async () => {
    const asked = request('What is the capital of France? One short sentence.');
    const { texts, doneReason, promptTokens } = await answer(asked);
    assert.match(texts.join(''), /Paris/);
    assert.equal(doneReason, 'stop');
    assert.equal(promptTokens, await engine.countPrompt(asked));
  });

  it('counts what it generates', async () => {
    const { texts, outputTokens, doneReason } = await answer(
      request('Write a long story about a llama.', { numPredict: 24 }),
    );
    assert.equal(doneReason, 'length');
    assert.equal(outputTokens, 24);
    assert.equal(texts.length, 24);
    assert.equal(await engine.countPrompt({ model, messages: [], raw: texts.join('') }), 24);
  });

  it('counts the prompt with the chat template around it', async () => {
    const messages = [{ role: 'user' as const, content: 'Hello' }];
    const plain = await engine.countPrompt({ model, messages: [], raw: 'Hello' });
    const templated = await engine.countPrompt({ model, messages });
    assert.ok(templated > plain, `${templated} > ${plain}`);
    const longer = await engine.countPrompt({
      model,
      messages: [{ role: 'user', content: 'Hello' + ' Hello'.repeat(40) }],
    });
    assert.ok(longer >= templated + 40);
  });

  it('gives the same answer for the same seed, whatever was computed in between', async () => {
    const text = 'The station closes at nine because the last train leaves then. '.repeat(20);
    const asked = request(`Continue: ${text}`, { temperature: 1, seed: 7, numPredict: 20 });
    const first = await answer(asked);
    await answer(request('Something else entirely?', { numPredict: 3 }));
    const second = await answer(asked);
    const third = await answer(asked);
    assert.equal(second.texts.join(''), first.texts.join(''));
    assert.equal(third.texts.join(''), first.texts.join(''));
  });

  it('keeps to a JSON schema', async () => {
    const question = 'Report as JSON: the disk of the build server is full. Source: log.';
    const { texts, doneReason } = await answer(request(question, { format: REPORT_SCHEMA }));
    const report: unknown = JSON.parse(texts.join(''));
    const validate = new Ajv().compile(REPORT_SCHEMA);
    assert.ok(validate(report), JSON.stringify({ report, errors: validate.errors }));
    assert.equal(doneReason, 'stop');
  });

  it('keeps to JSON without a schema', async () => {
    const question = 'Answer as JSON with the single key "answer": what is 2 + 2?';
    const { texts, doneReason } = await answer(
      request(question, { format: 'json', numPredict: 200 }),
    );
    if (doneReason === 'stop') assert.doesNotThrow(() => JSON.parse(texts.join('')));
    assert.match(texts.join(''), /^\s*\{/);
  });

  it('notes what it cannot enforce instead of failing', async () => {
    notes.length = 0;
    const format = { type: 'string', pattern: '^a+$', maxLength: 5000 };
    const { texts } = await answer(request('A word as JSON.', { format, numPredict: 30 }));
    assert.match(texts.join(''), /^"/);
    assert.equal(notes.length, 2);
  });

  it('stops at a stop string', async () => {
    const asked = request('Count from 1 to 9, separated by commas, digits only.', {
      raw: '1, 2, 3, 4,',
      stop: ['7'],
      numPredict: 60,
    });
    const { texts, doneReason } = await answer(asked);
    assert.equal(texts.join('').trim(), '5, 6,');
    assert.equal(doneReason, 'stop');
  });

  it('writes whole characters', async () => {
    const asked = request('', { raw: '🦙🌵🦙🌵🦙🌵🦙🌵', numPredict: 40 });
    const { texts } = await answer(asked);
    assert.ok(texts.length > 0);
    for (const text of texts) assert.doesNotMatch(text, /\uFFFD/);
    assert.match(texts.join(''), /[🦙🌵]/u);
  });

  it('stops computing when it is cancelled', async () => {
    const controller = new AbortController();
    let pieces = 0;
    const asked = request('Write a long story about a llama.', {
      signal: controller.signal,
      numPredict: 400,
    });
    const generation = engine.generate(asked, () => {
      pieces++;
      if (pieces === 5) setImmediate(() => controller.abort());
    });
    await assert.rejects(generation, { name: 'AbortError' });
    assert.ok(pieces <= 7, `${pieces} pieces`);
    // The next one starts at once and is whole.
    const { outputTokens } = await answer(request('Say hello.', { numPredict: 4 }));
    assert.equal(outputTokens, 4);
  });

  it('stops in the middle of a long prompt', async () => {
    const controller = new AbortController();
    const question = 'The quick brown fox jumps over the lazy dog. '.repeat(90);
    const generation = engine.generate(request(question, { signal: controller.signal }), () =>
      assert.fail('nothing may be generated'),
    );
    setTimeout(() => controller.abort(), 50);
    await assert.rejects(generation, { name: 'AbortError' });
  });

  it('goes on beyond its window when it is told to', async () => {
    const { outputTokens } = await answer(
      request('', { raw: 'The llama said: '.repeat(40), numCtx: 256, numPredict: 120 }),
    );
    assert.equal(outputTokens, 120);
  });

  it('refuses a prompt that does not fit, in words', async () => {
    const asked = request('word '.repeat(3000));
    await assert.rejects(answer(asked), /The prompt has 30\d\d tokens.*window of 1024/);
  });

  it('takes requests one at a time', async () => {
    const both = await Promise.all([
      answer(request('Say yes.', { numPredict: 6 })),
      answer(request('Say no.', { numPredict: 6 })),
    ]);
    for (const { texts } of both) assert.notEqual(texts.join(''), '');
  });

  it('embeds by meaning, in vectors of unit length', async function () {
    const embedder = engine.models.find(({ capabilities }) => capabilities.includes('embedding'));
    if (!embedder) {
      console.log('      skipped: no embedding model');
      this.skip();
    }
    const inputs = ['A man is eating food.', 'Someone eats a meal.', 'The stock market fell.', ''];
    const { vectors, tokens } = await engine.embed(embedder, inputs, new AbortController().signal);
    const [a, b, c] = vectors as [number[], number[], number[]];
    assert.equal(a.length, embedder.embeddingLength);
    for (const vector of vectors) assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
    assert.ok(dot(a, b) > 0.6 && dot(a, c) < 0.2, `${dot(a, b)} and ${dot(a, c)}`);
    const counts = inputs.map((raw) => engine.countPrompt({ model: embedder, messages: [], raw }));
    assert.equal(
      tokens,
      (await Promise.all(counts)).reduce((sum, count) => sum + count, 0),
    );
  });

  it('embeds with the language model itself', async () => {
    const { vectors } = await engine.embed(model, ['A llama.'], new AbortController().signal);
    assert.equal(vectors[0]?.length, model.embeddingLength);
    assert.ok(Math.abs(Math.hypot(...vectors[0]) - 1) < 1e-6);
  });

  it('loads again after it was unloaded', async () => {
    await engine.unload(model);
    const { outputTokens } = await answer(request('Say hello.', { numPredict: 3 }));
    assert.equal(outputTokens, 3);
  });
});

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}
