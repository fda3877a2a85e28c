import assert from 'node:assert/strict';
import { CLOUD_KEY, startCloud, type CloudServer } from '../support/ollama/cloud';
import { ask } from '../support/ollama/http';
import { defineStub, faults, startOllama, type OllamaServer } from '../support/ollama/server';

const body = (model: string, more: object = {}) => ({
  model,
  messages: [{ role: 'user', content: 'hello' }],
  ...more,
});

describe('simulated cloud', () => {
  let cloud: CloudServer;

  beforeEach(async () => {
    cloud = await startCloud();
  });
  afterEach(() => cloud.close());

  const chat = (key?: string, more: object = {}) =>
    ask(cloud.url, '/api/chat', body('gpt-oss:120b', more), {
      headers: key ? { Authorization: `Bearer ${key}` } : {},
    });

  it('wants a key', async () => {
    assert.equal((await chat()).status, 401);
    assert.equal((await chat('wrong')).status, 401);
    const { status, json } = await chat(CLOUD_KEY);
    assert.equal(status, 200);
    assert.equal(json.done, true);
  });

  it('shows its models to anybody', async () => {
    const { json } = await ask(cloud.url, '/api/tags');
    assert.deepEqual(
      json.models.map(({ name }) => name),
      ['gpt-oss:120b', 'qwen3-coder:480b', 'minimax-m3:latest'],
    );
  });

  it('has no embeddings', async () => {
    const { status, json } = await ask(cloud.url, '/v1/embeddings', { model: 'x', input: 'x' });
    assert.equal(status, 404);
    assert.match(JSON.stringify(json), /path \\+"\/v1\/embeddings\\+" not found/);
  });

  it('limits usage, with and without Retry-After', async () => {
    cloud.limit = { kind: 'weekly' };
    const weekly = await chat(CLOUD_KEY);
    assert.equal(weekly.status, 429);
    assert.match(weekly.json.error, /weekly usage limit/);
    assert.equal(weekly.headers.get('retry-after'), null);
    cloud.limit = { kind: 'session', retryAfter: '30' };
    assert.equal((await chat(CLOUD_KEY)).headers.get('retry-after'), '30');
    cloud.limit = undefined;
    assert.equal((await chat(CLOUD_KEY)).status, 200);
  });

  it('refuses what needs a subscription, what it does not know, and when it is overloaded', async () => {
    cloud.forbidden.add('gpt-oss:120b');
    assert.equal((await chat(CLOUD_KEY)).status, 403);
    cloud.forbidden.clear();
    assert.equal((await chat(CLOUD_KEY, { model: 'retired' })).status, 404);
    cloud.overloaded = true;
    assert.equal((await chat(CLOUD_KEY)).status, 503);
  });

  describe('through the daemon', () => {
    let daemon: OllamaServer;

    beforeEach(async () => {
      daemon = await startOllama({ cloud: { url: cloud.url } });
    });
    afterEach(() => daemon.close());

    const through = (model: string, more: object = {}) =>
      ask(daemon.url, '/api/chat', body(model, more));

    for (const name of ['gpt-oss:120b-cloud', 'gpt-oss:120b:cloud']) {
      it(`answers ${name} under the base name`, async () => {
        const { status, json } = await through(name);
        assert.equal(status, 200);
        assert.equal(json.model, 'gpt-oss:120b');
        assert.equal(cloud.requests[0]?.body.model, 'gpt-oss:120b');
        assert.deepEqual(daemon.runners, []);
      });
    }

    it('answers a stub under its own name', async () => {
      daemon.models.install(defineStub('mine', 'gpt-oss:120b', 'https://ollama.com'));
      const { json } = await through('mine');
      assert.equal(json.model, 'mine');
      assert.equal(json.remote_model, 'gpt-oss:120b');
      assert.equal(json.remote_host, 'https://ollama.com');
    });

    it('passes refusals on, Retry-After included', async () => {
      cloud.limit = { kind: 'hourly', retryAfter: '7' };
      const { status, headers } = await through('gpt-oss:120b-cloud');
      assert.equal(status, 429);
      assert.equal(headers.get('retry-after'), '7');
    });

    it('ends cleanly where the cloud breaks off', async () => {
      cloud.faults.next(faults.resetAfter(1));
      const { status, lines } = await through('gpt-oss:120b-cloud');
      assert.equal(status, 200);
      assert.equal(lines.at(-1)?.done, false);
    });

    it('says 502 when the cloud is not there', async () => {
      await cloud.stop();
      const { status, json } = await through('gpt-oss:120b-cloud');
      assert.equal(status, 502);
      assert.match(json.error, /^Post "http:.*": dial tcp /);
      await cloud.start();
    });

    it('says 403 when the cloud is switched off, 401 when nobody is signed in', async () => {
      daemon.cloud.disabled = true;
      const off = await through('gpt-oss:120b-cloud');
      assert.equal(off.status, 403);
      assert.equal(off.json.error, 'ollama cloud is disabled: remote model is unavailable');
      daemon.cloud.disabled = false;
      await ask(daemon.url, '/api/signout', {});
      assert.equal((await through('gpt-oss:120b-cloud')).status, 401);
    });
  });
});
