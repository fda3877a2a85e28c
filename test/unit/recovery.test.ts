import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackendStatus, createIntern, type Intern, resolveConfig } from '../../src/core';
import { type OllamaServer, startOllama } from '../support/ollama/server';
import { failure } from './support';

describe('a server that is back', () => {
  let server: OllamaServer;
  let intern: Intern;
  let folder: string;

  beforeEach(async () => {
    server = await startOllama();
    folder = await mkdtemp(join(tmpdir(), 'intern-back-'));
    intern = createIntern({
      settings: { host: server.url, logPath: join(folder, 'log.ndjson') },
      env: {},
    });
  });

  afterEach(async () => {
    await intern.dispose();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('is told of when a test finds it, though its breaker never opened', async () => {
    await server.stop();
    await failure(intern.run('summarize_fast', { text: 'A sentence.' }));
    assert.equal(intern.backends[0]?.error?.code, 'unreachable');
    await server.start();
    const heard: BackendStatus[] = [];
    intern.listen({ onBackend: (status) => heard.push(status) });
    await intern.test('local');
    assert.deepEqual(
      heard.map(({ backend, error }) => [backend, error]),
      [['local', undefined]],
    );
  });
});

describe('the address of the cloud', () => {
  it('is known while it is off, and not complained about', () => {
    const { cloud } = resolveConfig({ cloud: { host: 'https://cloud.example' } }, {});
    assert.deepEqual([cloud.mode, cloud.host], ['off', 'https://cloud.example']);
    const { problems } = resolveConfig({ cloud: { host: 'http://cloud.example' } }, {});
    assert.deepEqual(problems, []);
  });
});
