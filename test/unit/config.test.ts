import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { DEFAULT_HOST } from '../../src/core/address';
import {
  availableProfiles,
  type Config,
  type Environment,
  expandHome,
  resolveConfig,
  type Settings,
} from '../../src/core/config';
import {
  BUILTIN_PROFILES,
  DEFAULT_CONTEXT_WINDOW,
  DEFAULT_PROFILE,
} from '../../src/core/routing/profiles';
import { LOCAL_BUDGET_MS, TIERS, type Tier } from '../../src/core/routing/tiers';
import { assertSentence } from './support';

const resolve = (settings: Settings = {}, env: Environment = {}): Config =>
  resolveConfig(settings, env);

/** The only problem, which concerns this setting. */
function onlyProblem(config: Config, setting: string): string {
  assert.deepEqual(
    config.problems.map((problem) => problem.setting),
    [`ollamaIntern.${setting}`],
  );
  const message = config.problems[0]?.message ?? '';
  assertSentence(message, 'The problem');
  return message;
}

const own = {
  label: 'Mine',
  tiers: { instant: 'small:1b', workhorse: 'middle:7b', deep: 'large:70b' },
};

const VARIABLES: Record<Tier, string> = {
  instant: 'INTERN_TIER_INSTANT',
  workhorse: 'INTERN_TIER_WORKHORSE',
  deep: 'INTERN_TIER_DEEP',
  embed: 'INTERN_EMBED_MODEL',
};

describe('configuration', () => {
  it('needs nothing at all', () => {
    const config = resolve();
    assert.equal(config.host, DEFAULT_HOST);
    assert.equal(config.profile, 'dev-rtx5080');
    assert.deepEqual(
      TIERS.map((tier) => config.tiers[tier].model),
      ['hermes3:8b', 'hermes3:8b', 'hermes3:8b', 'nomic-embed-text'],
    );
    assert.equal(config.maxConcurrent, 2);
    assert.equal(config.keepAlive, undefined);
    assert.equal(config.logPath, join(homedir(), '.ollama-intern', 'log.ndjson'));
    assert.deepEqual(config.problems, []);
  });

  it('has the profiles of the tier table', () => {
    const models = Object.fromEntries(
      Object.entries(BUILTIN_PROFILES).map(([name, { tiers }]) => [
        name,
        TIERS.map((tier) => tiers[tier]),
      ]),
    );
    assert.deepEqual(models, {
      'dev-rtx5080': ['hermes3:8b', 'hermes3:8b', 'hermes3:8b', 'nomic-embed-text'],
      'dev-rtx5080-qwen3': ['qwen3:8b', 'qwen3:8b', 'qwen3:14b', 'nomic-embed-text'],
      'm5-max': ['qwen3:14b', 'qwen3:14b', 'qwen3:32b', 'nomic-embed-text'],
    });
  });

  describe('precedence', () => {
    it('of the host: setting, OLLAMA_HOST, default', () => {
      const env = { OLLAMA_HOST: 'gpu-box' };
      assert.equal(resolve({ host: 'desk:8080' }, env).host, 'http://desk:8080');
      assert.equal(resolve({}, env).host, 'http://gpu-box:11434');
      assert.equal(resolve({ host: '  ' }, env).host, 'http://gpu-box:11434');
      assert.equal(resolve().host, DEFAULT_HOST);
    });

    it('of the profile: setting, INTERN_PROFILE, default', () => {
      const env = { INTERN_PROFILE: 'm5-max' };
      assert.equal(resolve({ profile: 'dev-rtx5080-qwen3' }, env).profile, 'dev-rtx5080-qwen3');
      assert.equal(resolve({}, env).profile, 'm5-max');
      assert.equal(resolve({ profile: '' }, env).profile, 'm5-max');
      assert.equal(resolve().profile, DEFAULT_PROFILE);
    });

    for (const tier of TIERS) {
      it(`of the ${tier} model: setting, ${VARIABLES[tier]}, profile`, () => {
        const env = { [VARIABLES[tier]]: ' from-env:1b ', INTERN_PROFILE: 'm5-max' };
        const models = (config: Config) => TIERS.map((t) => config.tiers[t].model);
        const expected = (model: string) =>
          TIERS.map((t) => (t === tier ? model : BUILTIN_PROFILES['m5-max']?.tiers[t]));
        assert.deepEqual(models(resolve({ tiers: { [tier]: 'set:1b' } }, env)), expected('set:1b'));
        assert.deepEqual(models(resolve({ tiers: { [tier]: ' ' } }, env)), expected('from-env:1b'));
        assert.deepEqual(models(resolve({}, env)), expected('from-env:1b'));
      });
    }

    it('of the log: setting, INTERN_LOG_PATH, default, with ~ for the home folder', () => {
      const env = { INTERN_LOG_PATH: '~/env.ndjson' };
      assert.equal(resolve({ logPath: '/tmp/set.ndjson' }, env).logPath, '/tmp/set.ndjson');
      assert.equal(resolve({}, env).logPath, join(homedir(), 'env.ndjson'));
      assert.equal(expandHome('~'), homedir());
      assert.equal(expandHome('~other/x'), '~other/x');
      assert.equal(expandHome('/a/~/b'), '/a/~/b');
    });

    it('of an option: the tier, then all tiers, then the profile', () => {
      const profiles = {
        own: { ...own, options: { deep: { temperature: 0.1, topP: 0.2, topK: 3 } } },
      };
      const config = resolve({
        profile: 'own',
        profiles,
        options: { temperature: 0.4, topP: 0.5 },
        tierOptions: { deep: { temperature: 0.9 } },
      });
      assert.deepEqual(config.tiers.deep.options, { temperature: 0.9, topP: 0.5, topK: 3 });
      assert.deepEqual(config.tiers.instant.options, { temperature: 0.4, topP: 0.5 });
      assert.deepEqual(config.problems, []);
    });
  });

  describe('profiles of their own', () => {
    it('join those that come with the product', () => {
      const config = resolve({ profile: 'own', profiles: { own } });
      assert.equal(config.profile, 'own');
      assert.deepEqual(
        TIERS.map((tier) => config.tiers[tier].model),
        ['small:1b', 'middle:7b', 'large:70b', 'nomic-embed-text'],
      );
      assert.deepEqual(Object.keys(availableProfiles({ profiles: { own } }).profiles), [
        ...Object.keys(BUILTIN_PROFILES),
        'own',
      ]);
    });

    it('may replace one that comes with the product', () => {
      const config = resolve({ profiles: { [DEFAULT_PROFILE]: own } });
      assert.equal(config.tiers.deep.model, 'large:70b');
    });

    const invalid: [what: string, profile: unknown][] = [
      ['without a tier', { tiers: { instant: 'a', workhorse: 'b' } }],
      ['with a name that is none', { tiers: { ...own.tiers, deep: 'not a model' } }],
      ['with a tier that is a number', { tiers: { ...own.tiers, deep: 8 } }],
      ['with an unknown field', { ...own, model: 'x' }],
      ['with an unknown option', { ...own, options: { deep: { temprature: 1 } } }],
      ['with an option out of range', { ...own, options: { deep: { temperature: 3 } } }],
      ['with an option of an unknown tier', { ...own, options: { huge: {} } }],
      ['that is text', 'qwen3:8b'],
      ['that is null', null],
    ];
    for (const [what, profile] of invalid) {
      it(`${what} is reported by name and ignored`, () => {
        const { profiles, problems } = availableProfiles({ profiles: { bad: profile, own } });
        assert.ok(!('bad' in profiles));
        assert.ok('own' in profiles, 'a good one beside it is kept');
        assert.equal(problems.length, 1);
        assert.equal(problems[0]?.setting, 'ollamaIntern.profiles');
        assert.match(problems[0].message, /"bad" is ignored: .+\.$/);
        assert.doesNotMatch(problems[0].message, /Invalid input|undefined/, 'not words for people');
      });
    }

    it('that is chosen but does not exist is reported with those that do', () => {
      for (const config of [
        resolve({ profile: 'mine', profiles: { own } }),
        resolve({ profiles: { own } }, { INTERN_PROFILE: 'mine' }),
      ]) {
        assert.equal(config.profile, DEFAULT_PROFILE);
        const message = onlyProblem(config, 'profile');
        assert.match(message, /"mine"/);
        for (const name of [...Object.keys(BUILTIN_PROFILES), 'own']) {
          assert.ok(message.includes(name));
        }
      }
      assert.match(onlyProblem(resolve({}, { INTERN_PROFILE: 'x' }), 'profile'), /INTERN_PROFILE/);
    });

    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      it(`called ${name} is not found by accident`, () => {
        const config = resolve({ profile: name });
        assert.equal(config.profile, DEFAULT_PROFILE);
        onlyProblem(config, 'profile');
      });
    }
  });

  describe('context window', () => {
    const windows = (config: Config) => TIERS.map((tier) => config.tiers[tier].numCtx);

    it('is the largest of the tiers that share a model', () => {
      const { tiers } = resolve();
      assert.deepEqual(
        TIERS.map((tier) => tiers[tier].numCtx),
        [16384, 16384, 16384, DEFAULT_CONTEXT_WINDOW],
      );
      assert.equal(resolve({ profile: 'dev-rtx5080-qwen3' }).tiers.instant.numCtx, 8192);
      assert.equal(resolve({ profile: 'dev-rtx5080-qwen3' }).tiers.deep.numCtx, 16384);
    });

    it('is shared across the ways of writing one name', () => {
      const config = resolve({
        tiers: { instant: 'phi-4', workhorse: 'library/phi-4:latest', deep: 'PHI-4' },
        tierOptions: { deep: { contextWindow: 20000 } },
      });
      assert.deepEqual(windows(config).slice(0, 3), [20000, 20000, 20000]);
    });

    it('is shared by tiers that name the backend and those that do not, on the same backend', () => {
      const config = resolve({
        tiers: { instant: 'local/phi-4', workhorse: 'phi-4', deep: 'gateway/phi-4' },
        tierOptions: { workhorse: { contextWindow: 20000 }, deep: { contextWindow: 30000 } },
      });
      assert.deepEqual(windows(config).slice(0, 3), [20000, 20000, 30000]);
    });

    it('is shared with the embed tier too', () => {
      const config = resolve({ tiers: { embed: 'hermes3', instant: 'hermes3:latest' } });
      assert.equal(config.tiers.embed.numCtx, config.tiers.instant.numCtx);
    });

    it('follows the setting, the tier before all tiers', () => {
      const config = resolve({
        profile: 'own',
        profiles: { own },
        options: { contextWindow: 1000 },
        tierOptions: { deep: { contextWindow: 2000 } },
      });
      assert.deepEqual(windows(config), [1000, 1000, 2000, 1000]);
    });
  });

  describe('what cannot be used is replaced and reported', () => {
    it('a user and a password in the address, which are said to be left out and not repeated', () => {
      const config = resolve({ host: 'https://me:s3cret@gpu-box:8443' });
      assert.equal(config.host, 'https://gpu-box:8443');
      assert.match(onlyProblem(config, 'host'), /not sent/);
      assert.doesNotMatch(JSON.stringify(config), /s3cret/);
      assert.doesNotMatch(JSON.stringify(resolve({ host: 'ftp://me:s3cret@gpu-box' })), /s3cret/);
    });

    it('a host, where the next source is taken', () => {
      const config = resolve({ host: 'not an address' }, { OLLAMA_HOST: 'gpu-box' });
      assert.equal(config.host, 'http://gpu-box:11434');
      assert.match(onlyProblem(config, 'host'), /"not an address"/);
      const bad = resolve({}, { OLLAMA_HOST: 'http://' });
      assert.equal(bad.host, DEFAULT_HOST);
      onlyProblem(bad, 'host');
    });

    it('a model name, from the setting and from the environment', () => {
      const set = resolve({ tiers: { deep: 'not a model' } });
      assert.equal(set.tiers.deep.model, 'hermes3:8b');
      assert.match(onlyProblem(set, 'tiers.deep'), /ollamaIntern\.tiers\.deep is "not a model"/);
      const env = resolve({}, { INTERN_TIER_DEEP: 'not a model' });
      assert.equal(env.tiers.deep.model, 'hermes3:8b');
      assert.match(onlyProblem(env, 'tiers.deep'), /INTERN_TIER_DEEP is "not a model"/);
    });

    it('options, once and not once for each tier', () => {
      const config = resolve({ options: { temperature: 3 } });
      assert.deepEqual(config.tiers.deep.options.temperature, undefined);
      assert.match(onlyProblem(config, 'options'), /temperature/);
    });

    it('options of a tier, and a tier that does not exist', () => {
      onlyProblem(resolve({ tierOptions: { deep: { topK: 1.5 } } }), 'tierOptions');
      const message = onlyProblem(resolve({ tierOptions: { huge: {} } }), 'tierOptions');
      assert.match(message, /"huge"/);
    });
  });

  it('keepAlive is a number of seconds or a duration', () => {
    const rows: [text: string | undefined, value: number | string | undefined][] = [
      [undefined, undefined],
      ['', undefined],
      ['  ', undefined],
      ['300', 300],
      [' 300 ', 300],
      ['0.5', 0.5],
      ['-1', -1],
      ['0', 0],
      ['5m', '5m'],
      ['1.5h', '1.5h'],
      ['-1m', '-1m'],
    ];
    for (const [text, value] of rows) assert.equal(resolve({ keepAlive: text }).keepAlive, value);
  });

  it('budgets are seconds, those that make no sense are the default', () => {
    const { tiers } = resolve({ budgets: { instant: 7.5, workhorse: 0, deep: -3, embed: NaN } });
    assert.deepEqual(
      TIERS.map((tier) => tiers[tier].budgetMs),
      [7500, LOCAL_BUDGET_MS.workhorse, LOCAL_BUDGET_MS.deep, LOCAL_BUDGET_MS.embed],
    );
  });

  it('at least one call runs at once', () => {
    const rows: [set: number, value: number][] = [
      [1, 1],
      [3.7, 3],
      [0, 1],
      [-2, 1],
    ];
    for (const [set, value] of rows) {
      assert.equal(resolve({ maxConcurrent: set }).maxConcurrent, value);
    }
  });

  describe('survives settings of the wrong type, which the editor passes on as they are', () => {
    const odd: [name: string, settings: unknown][] = [
      ['host', { host: 11434 }],
      ['profile', { profile: 5 }],
      ['profiles', { profiles: 'qwen3' }],
      ['tiers', { tiers: { deep: 8 } }],
      ['options', { options: 'hot' }],
      ['tierOptions', { tierOptions: [1] }],
      ['budgets', { budgets: { deep: '90' } }],
      ['keepAlive', { keepAlive: 300 }],
      ['logPath', { logPath: 5 }],
    ];
    for (const [name, settings] of odd) {
      it(name, () => {
        const config = resolve(settings as Settings);
        assert.equal(config.host, DEFAULT_HOST);
        assert.equal(typeof config.logPath, 'string');
        assert.equal(config.tiers.deep.model, 'hermes3:8b');
        assert.equal(config.tiers.deep.budgetMs, LOCAL_BUDGET_MS.deep);
      });
    }

    it('keepAlive as a number means seconds', () => {
      assert.equal(resolve({ keepAlive: 300 as unknown as string }).keepAlive, 300);
    });

    it('maxConcurrent that is no number is the default, or nothing would ever run', () => {
      for (const value of ['many', NaN, {}, [3, 4]]) {
        assert.equal(resolve({ maxConcurrent: value as number }).maxConcurrent, 2);
      }
    });
  });

  it('never throws, always names models and never reports a problem twice', () => {
    const text = fc.option(fc.oneof(fc.string(), fc.constantFrom('m5-max', 'x:y', '[', 'a b')), {
      nil: undefined,
    });
    const settings = fc.record(
      {
        host: text,
        profile: text,
        profiles: fc.jsonValue(),
        tiers: fc.record({ instant: text, workhorse: text, deep: text, embed: text }),
        options: fc.jsonValue(),
        tierOptions: fc.jsonValue(),
        budgets: fc.record({ instant: fc.double(), deep: fc.double() }),
        maxConcurrent: fc.integer(),
        keepAlive: text,
        logPath: text,
      },
      { requiredKeys: [] },
    );
    const names = ['OLLAMA_HOST', 'INTERN_PROFILE', 'INTERN_LOG_PATH', ...Object.values(VARIABLES)];
    const env = fc.dictionary(fc.constantFrom(...names), fc.string());
    fc.assert(
      fc.property(settings, env, (s, e) => {
        const config = resolveConfig(s as Settings, e);
        for (const tier of TIERS) {
          assert.ok(config.tiers[tier].model);
          assert.ok(config.tiers[tier].numCtx >= 256);
          assert.ok(config.tiers[tier].budgetMs > 0);
        }
        assert.ok(config.maxConcurrent >= 1);
        const messages = config.problems.map((problem) => problem.message);
        assert.equal(new Set(messages).size, messages.length);
      }),
      { numRuns: 300 },
    );
  });
});
