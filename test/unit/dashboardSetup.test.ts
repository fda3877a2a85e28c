import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { within } from '../../src/host/within';
import type { ResidencyState, Setup } from '../../src/shared/dashboard';
import { modelState, numberOf, suggestions, testedBy } from '../../webview/dashboard/setup';

const GB = 1e9;

describe('what the set-up waits for', () => {
  let late: number;
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
  beforeEach(() => {
    late = 0;
    mock.timers.enable({ apis: ['setTimeout'] });
  });
  afterEach(() => mock.timers.reset());

  it('is told later when it takes too long, and not given up', async () => {
    let answer = (_: string[]): void => {};
    const list = new Promise<string[]>((resolve) => (answer = resolve));
    const told = within(2_000, list, () => late++);
    mock.timers.tick(2_000);
    assert.equal(await told, undefined);
    assert.equal(late, 0);
    answer(['m']);
    await settled();
    assert.equal(late, 1);
  });

  it('is told once when it comes in time, and never when it fails', async () => {
    assert.deepEqual(await within(2_000, Promise.resolve(['m']), () => late++), ['m']);
    assert.equal(await within(2_000, Promise.reject(new Error('no')), () => late++), undefined);
    const failing = settled().then(() => Promise.reject(new Error('no')));
    const told = within(2_000, failing, () => late++);
    mock.timers.tick(2_000);
    assert.equal(await told, undefined);
    await settled();
    assert.equal(late, 0);
  });
});

describe("the set-up's view", () => {
  const setup: Pick<Setup, 'installed' | 'cloud' | 'gateway'> = {
    installed: [
      { name: 'qwen3:8b', size: 5.2 * GB, remote: false },
      { name: 'nomic-embed-text:latest', size: 0.3 * GB, remote: false },
      { name: 'my-stub:latest', size: 0, remote: true },
    ],
    cloud: { mode: 'off', host: 'ollama.com', key: 'none' },
  };
  const loaded: ResidencyState = {
    state: 'known',
    models: [{ name: 'nomic-embed-text:latest', size: 1, size_vram: 1 }],
    evicted: [],
  };
  const failed: ResidencyState = {
    state: 'failed',
    code: 'unreachable',
    message: '',
    hint: '',
    startable: true,
  };
  const on = { ...setup, cloud: { ...setup.cloud, mode: 'primary' as const } };
  const local = (name: string) => ({ backend: 'local' as const, name });

  const cases: [string, ReturnType<typeof modelState>, string, string?][] = [
    ['in memory', modelState(local('nomic-embed-text'), setup, loaded), 'loaded'],
    ['on the disk', modelState(local('qwen3:8b'), setup, loaded), 'installed, 5.2 GB', 'load'],
    ['nowhere', modelState(local('qwen3:4b'), setup, loaded), 'not installed', 'pull'],
    ['on a server that is gone', modelState(local('qwen3:8b'), setup, failed), 'unknown'],
    [
      'on a server that says nothing of it',
      modelState(local('qwen3:8b'), { ...setup, installed: undefined }, loaded),
      'unknown',
    ],
    ['elsewhere', modelState(local('my-stub'), setup, loaded), 'in the cloud, which is off'],
    ['elsewhere, with consent', modelState(local('my-stub'), on, loaded), 'in the cloud'],
    ['the cloud’s', modelState({ backend: 'cloud', name: 'x' }, on, failed), 'in the cloud'],
    [
      'a gateway’s',
      modelState({ backend: 'gateway', name: 'x' }, { ...setup, gateway: 'h:1' }, failed),
      'on the gateway',
    ],
    [
      'a gateway’s that is not set',
      modelState({ backend: 'gateway', name: 'x' }, setup, loaded),
      'no gateway is set',
    ],
  ];
  for (const [what, state, text, action] of cases) {
    it(`says of a model that is ${what}: ${text}`, () => {
      assert.equal(state.text, text);
      assert.equal(state.action, action);
    });
  }

  it('shows no result of a test once another server, mode or key is set', () => {
    const set = { ...setup, host: 'a:1', gateway: 'b:2' };
    const { cloud } = setup;
    const changes = [
      ['local', { ...set, host: 'a:2' }],
      ['gateway', { ...set, gateway: undefined }],
      ['cloud', { ...set, cloud: { ...cloud, host: 'other' } }],
      ['cloud', { ...set, cloud: { ...cloud, mode: 'primary' } }],
      ['cloud', { ...set, cloud: { ...cloud, key: 'stored' } }],
    ] as const;
    for (const [backend, changed] of changes) {
      assert.notEqual(testedBy(backend, set), testedBy(backend, changed));
      for (const other of (['local', 'cloud', 'gateway'] as const).filter((b) => b !== backend)) {
        assert.equal(testedBy(other, set), testedBy(other, changed));
      }
    }
  });

  it('offers the installed models, those first that begin with what was typed', () => {
    assert.deepEqual(
      suggestions(setup.installed, '').map(({ name }) => name),
      ['my-stub', 'nomic-embed-text', 'qwen3:8b'],
    );
    assert.deepEqual(
      suggestions([{ name: 'a-qwen', size: 0, remote: false }, ...setup.installed!], ' QWEN').map(
        ({ name, note }) => `${name} ${note}`,
      ),
      ['qwen3:8b 5.2 GB', 'a-qwen 0.0 GB'],
    );
    assert.deepEqual(suggestions(undefined, ''), []);
  });

  it('reads seconds as they are written, and passes on what is none', () => {
    assert.deepEqual(['5', ' 2.5', '2,5', 'soon', '1e400'].map(numberOf), [
      5,
      2.5,
      2.5,
      'soon',
      '1e400',
    ]);
  });
});
