import assert from 'node:assert/strict';
import { Catalogue, MOST_NAMES } from '../../src/core/models/catalogue';
import { OllamaClient } from '../../src/core/ollama/client';
import { createAgent } from '../../src/core/ollama/network';
import {
  defaultModels,
  defineModel,
  faults,
  ManualClock,
  type OllamaOptions,
  type OllamaServer,
  startOllama,
} from '../support/ollama/server';
import { assertHint, assertSentence, coreClock, failure } from './support';

const HOUR = 3_600_000;

describe('the catalogue', () => {
  const agent = createAgent();
  let clock: ManualClock;
  let server: OllamaServer;
  let catalogue: Catalogue;

  async function serve(options: OllamaOptions = {}): Promise<void> {
    await server?.close();
    server = await startOllama({ clock, ...options });
    const client = new OllamaClient({ baseUrl: server.url, dispatcher: agent });
    catalogue = new Catalogue(client, coreClock(clock));
  }

  const asked = (path: string) => server.requests.filter((one) => one.path === path).length;

  beforeEach(async () => {
    clock = new ManualClock();
    await serve();
  });
  afterEach(() => server.close());
  after(() => agent.destroy());

  it('of the cloud speaks of it, and of no installed models', async () => {
    const client = new OllamaClient({ baseUrl: server.url, dispatcher: agent, backend: 'cloud' });
    const cloud = new Catalogue(client, coreClock(clock), 'cloud');
    const { hint } = await failure(cloud.info('no-such-model'));
    assert.match(hint, /Available: /);
    assert.doesNotMatch(hint, /[Ii]nstalled/);
    for (const name of server.models.names) server.models.remove(name);
    cloud.refresh();
    const error = await failure(cloud.info('no-such-model'));
    assert.equal(error.code, 'model_missing');
    assert.doesNotMatch(error.message + error.hint, /pull/);
  });

  it('asks for the list once an hour', async () => {
    const names = (await catalogue.list()).map((model) => model.name);
    assert.deepEqual([...names].sort(), [...server.models.names].sort());
    await clock.advance(HOUR - 1);
    await catalogue.list();
    assert.equal(asked('/api/tags'), 1);
    await clock.advance(1);
    await catalogue.list();
    assert.equal(asked('/api/tags'), 2);
  });

  it('asks about a model once an hour, however its name is written', async () => {
    await catalogue.info('nomic-embed-text');
    await catalogue.info('library/nomic-embed-text:latest');
    assert.equal(asked('/api/show'), 1);
    await catalogue.info('hermes3:8b');
    assert.equal(asked('/api/show'), 2);
    await clock.advance(HOUR);
    await catalogue.info('nomic-embed-text');
    assert.equal(asked('/api/show'), 3);
  });

  it('asks again after a refresh', async () => {
    await catalogue.list();
    await catalogue.info('hermes3:8b');
    catalogue.refresh();
    await catalogue.list();
    await catalogue.info('hermes3:8b');
    assert.deepEqual([asked('/api/tags'), asked('/api/show')], [2, 2]);
  });

  it('lets those who ask at the same time share one request', async () => {
    const lists = Array.from({ length: 5 }, () => catalogue.list());
    const infos = Array.from({ length: 5 }, () => catalogue.info('hermes3:8b'));
    await Promise.all([...lists, ...infos]);
    assert.deepEqual([asked('/api/tags'), asked('/api/show')], [1, 1]);
  });

  it('lets one of them leave without stopping the others', async () => {
    server.faults.next(faults.late(1000));
    const controller = new AbortController();
    const leaving = failure(catalogue.list(controller.signal));
    const staying = catalogue.list();
    await server.waitForRequest();
    controller.abort();
    assert.equal((await leaving).code, 'cancelled');
    await clock.advance(1000);
    assert.ok((await staying).length > 0);
    assert.equal(asked('/api/tags'), 1);
  });

  it('does not remember a failure', async () => {
    for (const ask of [() => catalogue.list(), () => catalogue.info('hermes3:8b')]) {
      server.faults.next(faults.status(503, 'busy'));
      assert.equal((await failure(ask())).code, 'server');
      await ask();
    }
  });

  it('gives up on a server that accepts and says nothing, and asks again next time', async () => {
    server.faults.next(faults.hang());
    const asking = failure(catalogue.list());
    await server.waitForRequest();
    await clock.advance(10_000);
    assert.equal((await asking).code, 'timeout');
    assert.ok((await catalogue.list()).length > 0);
    assert.equal(clock.timers, 0);
  });

  it('knows what a model can do', async () => {
    assert.deepEqual(await catalogue.info('qwen3:8b'), {
      name: 'qwen3:8b',
      capabilities: ['completion', 'tools', 'thinking'],
      contextLength: 40_960,
      parameters: 8_190_735_360,
      remote: false,
    });
  });

  it('trusts /api/show, not the guess in the list', async () => {
    const model = defineModel({
      name: 'm:1b',
      capabilities: ['completion', 'tools'],
      listedCapabilities: ['completion'],
    });
    await serve({ models: [model] });
    assert.ok((await catalogue.info('m:1b')).capabilities.includes('tools'));
  });

  it('makes nothing up for an old server that says little', async () => {
    for (const body of [{}, { capabilities: null, model_info: null }, { model_info: { x: 1 } }]) {
      server.faults.next({ reply: { status: 200, body } });
      catalogue.refresh();
      assert.deepEqual(await catalogue.info('m'), {
        name: 'm',
        capabilities: ['completion'],
        contextLength: undefined,
        parameters: undefined,
        remote: false,
      });
    }
  });

  it('knows a model that runs elsewhere', async () => {
    await serve({
      models: [
        ...defaultModels,
        defineModel({
          name: 'mine',
          remote: { model: 'gpt-oss:120b', host: 'https://ollama.com' },
        }),
      ],
    });
    assert.equal((await catalogue.info('mine')).remote, true);
  });

  describe('of a model that is missing', () => {
    it('names those that are installed, all of them when they are few', async () => {
      await serve({ models: ['a:1b', 'b:1b'].map((name) => defineModel({ name })) });
      const error = await failure(catalogue.info('nope:7b'));
      assert.equal(error.code, 'model_missing');
      assert.deepEqual([...(error.details.available ?? [])].sort(), ['a:1b', 'b:1b']);
      assert.match(error.hint, /a:1b/);
      assert.doesNotMatch(error.hint, /…/);
      assert.deepEqual(error.actions[0], { kind: 'pull_model', model: 'nope:7b' });
      assertSentence(error.message, 'The message');
      assertHint(error.hint);
    });

    it('names no more than eight, and says that there are more', async () => {
      const models = Array.from({ length: 12 }, (_, n) => defineModel({ name: `model-${n}:1b` }));
      await serve({ models });
      const error = await failure(catalogue.info('nope:7b'));
      assert.equal(MOST_NAMES, 8);
      assert.equal(error.details.available?.length, 8);
      assert.equal(error.hint.match(/model-\d+:1b/g)?.length, 8);
      assert.match(error.hint, /…/);
    });

    it('looks at what is installed now, not an hour ago', async () => {
      await catalogue.list();
      server.models.install({ name: 'fresh:1b' });
      const error = await failure(catalogue.info('nope:7b'));
      assert.match(error.hint, /fresh:1b/);
    });

    it('finds it once it was pulled', async () => {
      await failure(catalogue.info('fresh:1b'));
      server.models.install({ name: 'fresh:1b' });
      assert.equal((await catalogue.info('fresh:1b')).name, 'fresh:1b');
    });

    it('is a matter of configuration when nothing is installed at all', async () => {
      await serve({ models: [] });
      const error = await failure(catalogue.info('hermes3:8b'));
      assert.equal(error.code, 'config');
      assert.match(error.message, /no models are pulled/);
      assert.match(error.hint, /ollama pull hermes3:8b/);
      assert.ok(error.actions.some((action) => action.kind === 'pull_model'));
      assert.deepEqual(await catalogue.list(), []);
    });

    it('still says so when the list cannot be had', async () => {
      server.faults.next({ ...faults.status(500, 'x'), match: ({ path }) => path === '/api/tags' });
      const error = await failure(catalogue.info('nope:7b'));
      assert.equal(error.code, 'model_missing');
      assert.equal(error.details.available, undefined);
    });
  });
});
