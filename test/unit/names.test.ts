import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  isCloudName,
  isPlausibleModelName,
  modelKey,
  sameModel,
  withTag,
} from '../../src/core/ollama/names';

describe('model names', () => {
  const same: [a: string, b: string][] = [
    ['phi-4', 'phi-4:latest'],
    ['qwen3:8b', 'library/qwen3:8b'],
    ['qwen3:8b', 'registry.ollama.ai/library/qwen3:8b'],
    ['qwen3', 'registry.ollama.ai/library/qwen3:latest'],
    ['Qwen3:8B', 'qwen3:8b'],
    [' qwen3:8b ', 'qwen3:8b'],
    ['hf.co/Org/Repo:Q4_K_M', 'hf.co/org/repo:q4_k_m'],
    ['localhost:5000/team/m', 'localhost:5000/team/m:latest'],
    ['team/m', 'registry.ollama.ai/team/m:latest'],
  ];
  for (const [a, b] of same) {
    it(`${a} and ${b} are one model`, () => assert.ok(sameModel(a, b)));
  }

  const different: [a: string, b: string][] = [
    ['qwen3:8b', 'qwen3:14b'],
    ['qwen3', 'qwen3:8b'],
    ['team/qwen3:8b', 'qwen3:8b'],
    ['hf.co/org/repo:Q4_K_M', 'hf.co/org/repo:Q8_0'],
    ['hf.co/org/repo', 'org/repo'],
    ['localhost:5000/m', 'localhost:5001/m'],
    ['mylibrary/m', 'm'],
  ];
  for (const [a, b] of different) {
    it(`${a} and ${b} are two models`, () => assert.ok(!sameModel(a, b)));
  }

  it('a tag is spelled out, and the port of a registry is none', () => {
    assert.equal(withTag('phi-4'), 'phi-4:latest');
    assert.equal(withTag('hf.co/org/repo:Q4_K_M'), 'hf.co/org/repo:Q4_K_M');
    assert.equal(withTag('localhost:5000/m'), 'localhost:5000/m:latest');
    assert.equal(withTag('localhost:5000/m:8b'), 'localhost:5000/m:8b');
  });

  it('the key of a key is itself', () => {
    const part = fc.stringMatching(/^[\w.-]{1,8}$/);
    const name = fc
      .tuple(fc.constantFrom('', 'library/', 'hf.co/o/', 'registry.ollama.ai/library/'), part, part)
      .map(([prefix, base, tag]) => `${prefix}${base}:${tag}`);
    fc.assert(fc.property(name, (n) => assert.equal(modelKey(modelKey(n)), modelKey(n))));
  });

  const cloud: [name: string, isCloud: boolean][] = [
    ['m:cloud', true],
    ['m:20b-cloud', true],
    ['m:20b:cloud', true],
    ['M:CLOUD', true],
    ['gpt-oss:120B-Cloud', true],
    ['team/m:cloud', true],
    [' m:cloud ', true],
    ['cloudy:8b', false],
    ['foo-cloud:8b', false],
    ['foo-cloud', false],
    ['cloud', false],
    ['cloud:8b', false],
    ['m:cloudy', false],
    ['m:mycloud', false],
    ['localhost:5000/foo-cloud', false],
  ];
  for (const [name, isCloud] of cloud) {
    it(`${name} ${isCloud ? 'runs in the cloud' : 'is not taken for a cloud model'}`, () => {
      assert.equal(isCloudName(name), isCloud);
    });
  }

  const plausible = [
    'phi-4',
    'qwen3:8b',
    'hermes3:8b',
    'library/qwen3:8b',
    'hf.co/bartowski/Qwen2.5-Coder-7B-Instruct-GGUF:Q4_K_M',
    'registry.ollama.ai/library/qwen3:8b',
    'localhost:5000/team/m:8b',
    'gpt-oss:120b-cloud',
    'gpt-oss:120b:cloud',
    'a_b.c-d:e_f.g-h',
    ' qwen3:8b ',
  ];
  for (const name of plausible) {
    it(`"${name}" can be a model`, () => assert.ok(isPlausibleModelName(name)));
  }

  const implausible = [
    '',
    ' ',
    'qwen3 8b',
    'qwen3:',
    ':8b',
    '/qwen3',
    'qwen3/',
    'a//b',
    'http://localhost/m',
    'ollama run qwen3',
    'm;rm',
    'm\nn',
    '"qwen3"',
    'm@sha256',
  ];
  for (const name of implausible) {
    it(`${JSON.stringify(name)} is no model`, () => assert.ok(!isPlausibleModelName(name)));
  }
});
