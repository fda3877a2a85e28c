import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import {
  CLOUD_MODES,
  type CloudConfig,
  type CloudSettings,
  type Environment,
  GENERATIVE_TIERS,
  resolveConfig,
  type Settings,
} from '../../src/core';
import {
  CLOUD_HOST,
  environmentKey,
  isCloudHost,
  REMOTE_BUDGET_MS,
  resolveCloud,
} from '../../src/core/routing/cloud';
import { CloudKeys } from '../../src/core/routing/cloudKeys';
import type { ConfigProblem } from '../../src/core/values';
import { failure } from './support';

interface Resolved extends CloudConfig {
  problems: ConfigProblem[];
}

function resolved(settings: CloudSettings | undefined, env: Environment = {}): Resolved {
  const problems: ConfigProblem[] = [];
  return { ...resolveCloud(settings, env, problems), problems };
}

/** Values that are not of the type of a setting, as the editor passes them on. */
const wrong = (value: unknown): never => value as never;

function assertOneProblem({ problems }: Resolved, setting: string, words: RegExp): void {
  assert.equal(problems.length, 1, JSON.stringify(problems));
  assert.equal(problems[0]?.setting, `ollamaIntern.${setting}`);
  assert.match(problems[0]?.message ?? '', words);
}

describe('the configuration of the cloud', () => {
  it('is off when nobody says anything, with the values of the product', () => {
    for (const cloud of [resolved(undefined), resolved({}), resolveConfig({}, {}).cloud]) {
      assert.equal(cloud.mode, 'off');
      assert.equal(cloud.host, 'https://ollama.com');
      assert.equal(cloud.numCtx, 32_768);
      assert.deepEqual(cloud.models, {
        instant: 'minimax-m3:cloud',
        workhorse: 'minimax-m3:cloud',
        deep: 'minimax-m3:cloud',
      });
      assert.deepEqual(cloud.budgetMs, { instant: 30_000, workhorse: 120_000, deep: 300_000 });
    }
    assert.deepEqual(resolved({}).problems, []);
  });

  describe('the mode', () => {
    for (const mode of CLOUD_MODES) {
      it(`is ${mode} when the setting says so, whatever the environment says`, () => {
        const cloud = resolved({ mode: ` ${mode} ` }, { OLLAMA_CLOUD_PRIMARY: '1' });
        assert.equal(cloud.mode, mode);
        assert.deepEqual(cloud.problems, []);
      });
    }

    for (const yes of ['1', 'true', 'yes', 'on', 'TRUE', 'Yes', 'oN', ' 1 ']) {
      it(`is primary with OLLAMA_CLOUD_PRIMARY=${JSON.stringify(yes)}`, () => {
        assert.equal(resolved({}, { OLLAMA_CLOUD_PRIMARY: yes }).mode, 'primary');
        assert.equal(resolved({ mode: '' }, { OLLAMA_CLOUD_PRIMARY: yes }).mode, 'primary');
      });
    }

    for (const no of ['0', 'false', 'no', 'off', '', '2', 'yess', 'primary', undefined]) {
      it(`is off with OLLAMA_CLOUD_PRIMARY=${JSON.stringify(no)}`, () => {
        assert.equal(resolved({}, { OLLAMA_CLOUD_PRIMARY: no }).mode, 'off');
      });
    }

    for (const value of ['Primary', 'always', 'true', 1, true, {}, []]) {
      it(`is off, and that is said, when it is ${JSON.stringify(value)}`, () => {
        const cloud = resolved({ mode: wrong(value) }, { OLLAMA_CLOUD_PRIMARY: '1' });
        assert.equal(cloud.mode, 'off');
        assertOneProblem(cloud, 'cloud.mode', /off, primary, fallback\. It is off\.$/);
      });
    }
  });

  describe('the host', () => {
    const hosts: [setting: string | undefined, variable: string | undefined, host: string][] = [
      [undefined, undefined, CLOUD_HOST],
      ['', '', CLOUD_HOST],
      ['https://one.example', 'https://two.example', 'https://one.example'],
      [undefined, 'https://two.example', 'https://two.example'],
      [' https://one.example/ ', undefined, 'https://one.example'],
      ['one.example', undefined, 'https://one.example'],
      ['one.example:8443', undefined, 'https://one.example:8443'],
      ['https://one.example/ollama/api', undefined, 'https://one.example/ollama'],
      // A stand-in on this machine.
      ['http://127.0.0.1:1234', undefined, 'http://127.0.0.1:1234'],
      ['http://localhost:1234', undefined, 'http://localhost:1234'],
      ['http://[::1]:1234', undefined, 'http://[::1]:1234'],
      [undefined, 'http://cloud.localhost:1234', 'http://cloud.localhost:1234'],
    ];
    for (const [setting, variable, host] of hosts) {
      it(`is ${host} with ${JSON.stringify(setting)} and OLLAMA_CLOUD_HOST=${JSON.stringify(variable)}`, () => {
        const cloud = resolved({ mode: 'primary', host: setting }, { OLLAMA_CLOUD_HOST: variable });
        assert.equal(cloud.host, host);
        assert.equal(cloud.mode, 'primary');
        assert.deepEqual(cloud.problems, []);
      });
    }

    for (const host of [
      'http://one.example',
      'http://10.0.0.7:11434',
      'http://ollama.com',
      // Looks like this machine, and is not.
      'http://localhost.example',
      'http://127.0.0.1.example',
      'ftp://one.example',
      'https://',
      'not an address',
      'javascript:alert(1)',
      5,
      true,
      {},
    ]) {
      for (const mode of ['primary', 'fallback'] as const) {
        it(`${JSON.stringify(host)} turns mode ${mode} off rather than elsewhere`, () => {
          const cloud = resolved({ mode, host: wrong(host) }, { OLLAMA_CLOUD_HOST: CLOUD_HOST });
          assert.equal(cloud.mode, 'off');
          assertOneProblem(cloud, 'cloud.host', /The cloud stays off\.$/);
        });
      }
    }

    it('of the environment turns the cloud off as well when it cannot be used', () => {
      const cloud = resolved({ mode: 'primary' }, { OLLAMA_CLOUD_HOST: 'http://one.example' });
      assert.equal(cloud.mode, 'off');
      assertOneProblem(cloud, 'cloud.host', /plain HTTP/);
    });

    it('is no problem while the cloud is off', () => {
      assert.deepEqual(resolved({ mode: 'off', host: 'http://one.example' }).problems, []);
    });
  });

  describe('the models', () => {
    const rows: [name: string, settings: CloudSettings, env: Environment, [string, string]][] = [
      ['of the settings', { model: 'a', deepModel: 'b' }, {}, ['a', 'b']],
      [
        'of the environment',
        {},
        { INTERN_CLOUD_MODEL: 'a:1b', INTERN_CLOUD_DEEP_MODEL: 'b:2b' },
        ['a:1b', 'b:2b'],
      ],
      [
        'of the settings before the environment',
        { model: 'a', deepModel: 'b' },
        { INTERN_CLOUD_MODEL: 'c', INTERN_CLOUD_DEEP_MODEL: 'd' },
        ['a', 'b'],
      ],
      ['are one when there is no deep one', { model: ' a ' }, {}, ['a', 'a']],
      ['are one from the environment too', {}, { INTERN_CLOUD_MODEL: 'a' }, ['a', 'a']],
      [
        'may differ in where they come from',
        { model: 'a' },
        { INTERN_CLOUD_DEEP_MODEL: 'd' },
        ['a', 'd'],
      ],
      ['are the default and a deep one', { deepModel: 'b' }, {}, ['minimax-m3:cloud', 'b']],
      [
        'are the default where they are empty',
        { model: ' ', deepModel: '' },
        {},
        ['minimax-m3:cloud', 'minimax-m3:cloud'],
      ],
    ];
    for (const [name, settings, env, [everyday, deep]] of rows) {
      it(name, () => {
        const cloud = resolved(settings, env);
        assert.deepEqual(cloud.models, { instant: everyday, workhorse: everyday, deep });
        assert.deepEqual(cloud.problems, []);
      });
    }

    for (const [settings, env, setting, source] of [
      [{ model: 'not a model' }, {}, 'cloud.model', 'ollamaIntern.cloud.model'],
      [{ deepModel: 'a b' }, {}, 'cloud.deepModel', 'ollamaIntern.cloud.deepModel'],
      [{}, { INTERN_CLOUD_MODEL: 'a b' }, 'cloud.model', 'INTERN_CLOUD_MODEL'],
      [{}, { INTERN_CLOUD_DEEP_MODEL: '$(x)' }, 'cloud.deepModel', 'INTERN_CLOUD_DEEP_MODEL'],
    ] as const) {
      it(`that are no names are ignored and named: ${JSON.stringify({ ...settings, ...env })}`, () => {
        const cloud = resolved(settings, env);
        for (const tier of GENERATIVE_TIERS) assert.equal(cloud.models[tier], 'minimax-m3:cloud');
        assertOneProblem(cloud, setting, new RegExp(`^${source} is ".*It is ignored\\.$`));
      });
    }
  });

  describe('the context window', () => {
    const variable = { INTERN_CLOUD_NUM_CTX: '65536' };
    for (const [name, settings, env, expected] of [
      ['of the setting', { contextWindow: 8192 }, variable, 8192],
      ['of the environment', {}, variable, 65_536],
      ['at its least', { contextWindow: 256 }, {}, 256],
      ['at its most', { contextWindow: 1_048_576 }, {}, 1_048_576],
      ['that is not set', { contextWindow: wrong(null) }, { INTERN_CLOUD_NUM_CTX: ' ' }, 32_768],
    ] as const) {
      it(name, () => {
        const cloud = resolved(settings, env);
        assert.equal(cloud.numCtx, expected);
        assert.deepEqual(cloud.problems, []);
      });
    }

    for (const value of [0, -1, 255, 1_048_577, 1.5, NaN, Infinity, '8192', true, {}]) {
      it(`of ${inspect(value)} is the default, and that is said`, () => {
        const cloud = resolved({ contextWindow: wrong(value) }, variable);
        assert.equal(cloud.numCtx, 32_768);
        assertOneProblem(cloud, 'cloud.contextWindow', /^ollamaIntern\.cloud\.contextWindow must/);
      });
    }

    for (const value of ['0', 'many', '1e9', '8192.5']) {
      it(`of INTERN_CLOUD_NUM_CTX=${value} is the default, and that is said`, () => {
        const cloud = resolved({}, { INTERN_CLOUD_NUM_CTX: value });
        assert.equal(cloud.numCtx, 32_768);
        assertOneProblem(cloud, 'cloud.contextWindow', /^INTERN_CLOUD_NUM_CTX must/);
      });
    }
  });

  for (const tier of GENERATIVE_TIERS) {
    describe(`the budget of ${tier}`, () => {
      const name = `INTERN_CLOUD_TIMEOUT_${tier.toUpperCase()}_MS`;
      const only = (ms: number) => ({ ...REMOTE_BUDGET_MS, [tier]: ms });

      it('is seconds in the setting, before milliseconds in the environment', () => {
        const settings = { budgets: { [tier]: 7 } };
        assert.deepEqual(resolved(settings, { [name]: '1500' }).budgetMs, only(7_000));
        assert.deepEqual(resolved({}, { [name]: '1500' }).budgetMs, only(1_500));
        assert.deepEqual(resolved({}, { [name]: ' ' }).budgetMs, REMOTE_BUDGET_MS);
      });

      for (const value of [0, -3, NaN, '7', true]) {
        it(`of ${JSON.stringify(value)} is the default, and that is said`, () => {
          const cloud = resolved({ budgets: { [tier]: wrong(value) } }, { [name]: '1500' });
          assert.deepEqual(cloud.budgetMs, REMOTE_BUDGET_MS);
          const words = new RegExp(`^ollamaIntern\\.cloud\\.budgets\\.${tier} must`);
          assertOneProblem(cloud, `cloud.budgets.${tier}`, words);
        });
      }

      for (const value of ['0', '-1', 'soon', 'Infinity']) {
        it(`of ${name}=${value} is the default, and that is said`, () => {
          const cloud = resolved({}, { [name]: value });
          assert.deepEqual(cloud.budgetMs, REMOTE_BUDGET_MS);
          assertOneProblem(cloud, `cloud.budgets.${tier}`, new RegExp(`^${name} must`));
        });
      }
    });
  }

  for (const budgets of [null, 5, 'ten', []]) {
    it(`survives budgets that are ${JSON.stringify(budgets)}`, () => {
      assert.deepEqual(resolved({ budgets: wrong(budgets) }).budgetMs, REMOTE_BUDGET_MS);
    });
  }
});

describe("the cloud's own address", () => {
  for (const [address, expected] of [
    ['https://ollama.com', true],
    ['https://OLLAMA.com:443', true],
    ['https://ollama.com.', true],
    ['https://www.ollama.com/api', true],
    ['http://ollama.com', true],
    ['https://ollama.com.example', false],
    ['https://notollama.com', false],
    ['http://127.0.0.1:11434', false],
  ] as const) {
    it(`${expected ? 'is' : 'is not'} ${address}`, () => {
      assert.equal(isCloudHost(address), expected);
    });
  }
});

describe('the key of the environment', () => {
  const KEY = 'key-of-the-environment';

  for (const [host, origin, expected] of [
    [undefined, 'https://ollama.com', KEY],
    ['', 'https://ollama.com', KEY],
    [undefined, 'https://one.example', undefined],
    [undefined, 'http://ollama.com', undefined],
    [undefined, 'https://ollama.com:8443', undefined],
    [undefined, 'http://127.0.0.1:1234', undefined],
    ['https://one.example', 'https://one.example', KEY],
    ['https://one.example/ollama/api', 'https://one.example', KEY],
    ['one.example', 'https://one.example', KEY],
    ['one.example', 'http://one.example:11434', undefined],
    // It belongs to that host then, and to no other.
    ['https://one.example', 'https://ollama.com', undefined],
    ['https://one.example', 'https://two.example', undefined],
    ['http://127.0.0.1:1234', 'http://127.0.0.1:1234', KEY],
    ['not an address', 'https://ollama.com', undefined],
  ] as const) {
    const whose = `OLLAMA_CLOUD_HOST=${JSON.stringify(host)}`;
    it(`${expected ? 'is' : 'is not'} for ${origin} with ${whose}`, () => {
      const env = { OLLAMA_API_KEY: ` ${KEY} `, OLLAMA_CLOUD_HOST: host };
      assert.equal(environmentKey(origin, env), expected);
    });
  }

  it('is not there when it is empty', () => {
    assert.equal(environmentKey(CLOUD_HOST, { OLLAMA_API_KEY: ' ' }), undefined);
    assert.equal(environmentKey(CLOUD_HOST, {}), undefined);
  });
});

describe('the keys of the cloud', () => {
  const env = { OLLAMA_API_KEY: 'of-the-environment' };

  it('that somebody set come before the one of the environment, which comes back after them', async () => {
    const keys = new CloudKeys(undefined, env);
    const sent = async () => (await keys.headers(CLOUD_HOST)).headers;
    assert.equal(await keys.source(CLOUD_HOST), 'environment');
    assert.deepEqual(await sent(), { authorization: 'Bearer of-the-environment' });
    keys.set(CLOUD_HOST, 'set');
    assert.equal(await keys.source(CLOUD_HOST), 'stored');
    assert.deepEqual(await sent(), { authorization: 'Bearer set' });
    keys.set(CLOUD_HOST, undefined);
    assert.deepEqual(await sent(), { authorization: 'Bearer of-the-environment' });
  });

  it('are of one origin each', async () => {
    const stored: Record<string, string> = { 'https://one.example': 'first' };
    const keys = new CloudKeys((origin) => Promise.resolve(stored[origin]), env);
    assert.equal((await keys.headers('https://one.example/ollama')).token, 'first');
    assert.equal(await keys.source('https://one.example:8443'), 'none');
    assert.equal(await keys.source('https://two.example'), 'none');
    assert.equal((await keys.headers(CLOUD_HOST)).token, 'of-the-environment');
  });

  for (const [name, address, variables] of [
    ['no key', 'https://one.example', {}],
    ['a key that cannot be sent', CLOUD_HOST, { OLLAMA_API_KEY: 'two words' }],
    ['plain HTTP', 'http://one.example', { ...env, OLLAMA_CLOUD_HOST: 'http://one.example' }],
  ] as const) {
    it(`reject a request with ${name}, so that nothing is sent`, async () => {
      const source = address.startsWith('http:') ? () => Promise.resolve('stored') : undefined;
      const keys = new CloudKeys(source, variables);
      assert.equal(await keys.source(address), 'none');
      const error = await failure(keys.headers(address));
      assert.equal(error.code, 'auth_failed');
      assert.deepEqual(error.actions, [{ kind: 'set_cloud_key' }]);
    });
  }

  it('fall back to the environment when the store cannot be read, and ask it again', async () => {
    let isLocked = true;
    const source = () =>
      isLocked ? Promise.reject(new Error('locked')) : Promise.resolve('stored');
    const keys = new CloudKeys(source, env);
    assert.equal(await keys.source(CLOUD_HOST), 'environment');
    isLocked = false;
    assert.equal(await keys.source(CLOUD_HOST), 'stored');
  });

  it('that are set while the store is being read stay set', async () => {
    let refuse!: (error: Error) => void;
    const keys = new CloudKeys(() => new Promise((_, reject) => (refuse = reject)), {});
    const early = keys.source(CLOUD_HOST);
    keys.set(CLOUD_HOST, 'set');
    refuse(new Error('locked'));
    await early;
    assert.equal((await keys.headers(CLOUD_HOST)).token, 'set');
  });
});

describe('the gateway and the chains in the configuration', () => {
  for (const [host, expected] of [
    [undefined, undefined],
    ['', undefined],
    [' ', undefined],
    [wrong(5), undefined],
    ['http://127.0.0.1:8000', 'http://127.0.0.1:8000'],
    ['http://127.0.0.1:8000/v1', 'http://127.0.0.1:8000'],
    ['vllm.example:8000', 'http://vllm.example:8000'],
    // Not the port of Ollama.
    ['vllm.example', 'http://vllm.example'],
    ['https://litellm.example/team/v1/', 'https://litellm.example/team'],
  ] as const) {
    it(`the host ${JSON.stringify(host)} is ${expected ?? 'none'}`, () => {
      const config = resolveConfig({ gateway: { host } }, {});
      assert.equal(config.gateway, expected);
      assert.deepEqual(config.problems, []);
    });
  }

  for (const host of ['not an address', 'ftp://x.example', 'http://']) {
    it(`the host ${JSON.stringify(host)} is ignored, and that is said`, () => {
      const config = resolveConfig({ gateway: { host } }, {});
      assert.equal(config.gateway, undefined);
      assert.deepEqual(
        config.problems.map((p) => p.setting),
        ['ollamaIntern.gateway.host'],
      );
    });
  }

  for (const [setting, settings, host] of [
    ['gateway.host', { gateway: { host: 'http://me:s3cret@gw.example:4000' } }, 'gw.example:4000'],
    [
      'cloud.host',
      { cloud: { mode: 'primary', host: 'https://me:s3cret@c.example' } },
      'c.example',
    ],
  ] as [string, Settings, string][]) {
    it(`a user and a password in ${setting} are said to be left out, and are not repeated`, () => {
      const config = resolveConfig(settings, {});
      assert.deepEqual(
        config.problems.map((p) => p.setting),
        [`ollamaIntern.${setting}`],
      );
      assert.match(config.problems[0]?.message ?? '', new RegExp(`of ${host} are not sent`));
      assert.doesNotMatch(JSON.stringify(config), /s3cret/);
    });
  }

  it('a password in an address that cannot be used is not repeated', () => {
    const config = resolveConfig({ gateway: { host: 'ftp://me:s3cret@gw.example' } }, {});
    assert.match(config.problems[0]?.message ?? '', /not an address of a gateway/);
    assert.doesNotMatch(JSON.stringify(config), /s3cret/);
  });

  const chainsOf = (fallbacks: unknown, more: Settings = {}) => {
    const config = resolveConfig({ fallbacks, ...more }, {});
    const chains = [...config.fallbacks].map(([model, refs]) => [
      model,
      refs.map((r) => `${r.backend}/${r.model}`),
    ]);
    return {
      chains: Object.fromEntries(chains) as Record<string, string[]>,
      problems: config.problems,
    };
  };

  it('chains are kept by the key of their model, or *', () => {
    const { chains, problems } = chainsOf(
      {
        'qwen2.5-coder:7b': ['gateway/qwen-coder-vllm', 'cloud/qwen3-coder:480b-cloud'],
        'library/Llama3.2': ['tiny'],
        '*': [],
      },
      { gateway: { host: 'http://vllm.example' }, cloud: { mode: 'fallback' } },
    );
    assert.deepEqual(chains, {
      'qwen2.5-coder:7b': ['gateway/qwen-coder-vllm', 'cloud/qwen3-coder:480b-cloud'],
      'llama3.2:latest': ['local/tiny'],
      '*': [],
    });
    assert.deepEqual(problems, []);
  });

  const dropped: [string, unknown, Record<string, string[]>, RegExp][] = [
    [
      'the cloud while it is off',
      { m: ['cloud/x', 'tiny'] },
      { 'm:latest': ['local/tiny'] },
      /"cloud\/x" is left out while the cloud is off/,
    ],
    [
      'a gateway that is not set',
      { m: ['gateway/x'] },
      { 'm:latest': [] },
      /"gateway\/x" is left out: no gateway is set/,
    ],
    [
      'what is not a name',
      { m: ['a b', 'tiny'] },
      { 'm:latest': ['local/tiny'] },
      /"a b" is not a model name/,
    ],
    [
      'a chain that is not a list',
      { m: 'tiny', n: ['tiny'] },
      { 'n:latest': ['local/tiny'] },
      /chain of "m" is not a list/,
    ],
    ['a chain of other things than names', { m: [5] }, {}, /chain of "m" is not a list/],
    ['chains that are a list', ['tiny'], {}, /They are ignored/],
    ['chains that are a word', 'tiny', {}, /They are ignored/],
  ];
  for (const [name, fallbacks, chains, words] of dropped) {
    it(`${name} is left out, and that is said`, () => {
      const found = chainsOf(fallbacks);
      assert.deepEqual(found.chains, chains);
      assert.equal(found.problems.length, 1, JSON.stringify(found.problems));
      assert.equal(found.problems[0]?.setting, 'ollamaIntern.fallbacks');
      assert.match(found.problems[0]?.message ?? '', words);
    });
  }

  for (const nothing of [undefined, null, {}]) {
    it(`${JSON.stringify(nothing) ?? 'nothing'} is no chain and no problem`, () => {
      assert.deepEqual(chainsOf(nothing), { chains: {}, problems: [] });
    });
  }
});
