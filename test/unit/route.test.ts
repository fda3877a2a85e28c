import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  CLOUD_MODES,
  type CloudMode,
  type Config,
  GENERATIVE_TIERS,
  type GenerativeTier,
  resolveConfig,
  type Settings,
  type Tier,
} from '../../src/core';
import { modelKey } from '../../src/core/ollama/names';
import {
  lesserTargets,
  parseModelRef,
  refLabel,
  routeOf,
  type Target,
} from '../../src/core/routing/route';
import { faults } from '../support/ollama/server';
import { chatsOf, onChat, Stage, statusOf, TEXT, triesOf } from './stage';
import { failure } from './support';

const TIERS = { instant: 'small', workhorse: 'medium:7b', deep: 'large:70b' };
const CLOUD = { model: 'everyday:cloud', deepModel: 'thinker:120b-cloud' };
const GATEWAY = 'http://gateway.example';

function configOf(mode: CloudMode, settings: Settings = {}): Config {
  const config = { tiers: TIERS, gateway: { host: GATEWAY }, ...settings };
  return resolveConfig({ ...config, cloud: { ...CLOUD, mode, ...settings.cloud } }, {});
}

const labels = (targets: readonly Target[]): string[] => targets.map(refLabel);

const ORDER: readonly Tier[] = GENERATIVE_TIERS;

describe('the name of a model', () => {
  const rows: [name: string, backend: string, model: string, isQualified: boolean][] = [
    ['qwen3:8b', 'local', 'qwen3:8b', false],
    ['gpt-oss:120b-cloud', 'local', 'gpt-oss:120b-cloud', false],
    ['hf.co/org/repo:Q4_K_M', 'local', 'hf.co/org/repo:Q4_K_M', false],
    ['library/qwen3:8b', 'local', 'library/qwen3:8b', false],
    ['local/qwen3:8b', 'local', 'qwen3:8b', true],
    ['cloud/gpt-oss:120b', 'cloud', 'gpt-oss:120b', true],
    ['gateway/org/model', 'gateway', 'org/model', true],
    [' cloud/m ', 'cloud', 'm', true],
    // Models may be called like this.
    ['cloud', 'local', 'cloud', false],
    ['cloud/', 'local', 'cloud/', false],
    ['clouds/m', 'local', 'clouds/m', false],
    ['Cloud/m', 'local', 'Cloud/m', false],
  ];
  for (const [name, backend, model, isQualified] of rows) {
    it(`${JSON.stringify(name)} is ${model} of ${backend}`, () => {
      assert.deepEqual(parseModelRef(name), { backend, model, isQualified });
    });
  }
});

describe('a route', () => {
  describe('by mode and tier', () => {
    const cloudOf = {
      instant: 'everyday:cloud',
      workhorse: 'everyday:cloud',
      deep: CLOUD.deepModel,
    };
    for (const tier of GENERATIVE_TIERS) {
      const own = `local/${TIERS[tier]}`;
      const cloud = `cloud/${cloudOf[tier]}`;
      const expected = { off: [own], primary: [cloud, own], fallback: [own, cloud] };
      for (const mode of CLOUD_MODES) {
        it(`${mode}, ${tier}: ${expected[mode].join(', ')}`, () => {
          const route = routeOf(configOf(mode), tier);
          assert.deepEqual(labels(route), expected[mode]);
          for (const target of route) assert.equal(target.tier, tier);
        });
      }
    }
  });

  const tables: [string, Settings, string | undefined, Record<CloudMode, string[]>][] = [
    [
      'a model that the caller names is asked for everywhere',
      {},
      'named:8b',
      {
        off: ['local/named:8b'],
        primary: ['cloud/named:8b', 'local/named:8b'],
        fallback: ['local/named:8b', 'cloud/named:8b'],
      },
    ],
    [
      'a cloud model that the caller names goes through the local server after the cloud itself',
      {},
      'named:120b-cloud',
      {
        off: ['local/named:120b-cloud'],
        primary: ['cloud/named:120b-cloud', 'local/named:120b-cloud'],
        fallback: ['local/named:120b-cloud', 'cloud/named:120b-cloud'],
      },
    ],
    ...(['local', 'cloud', 'gateway'] as const).map((backend): (typeof tables)[number] => [
      `a model that the caller names with ${backend}/ is asked for there alone`,
      { fallbacks: { 'm:1b': ['local/other'], '*': ['local/any'] } },
      `${backend}/m:1b`,
      { off: [`${backend}/m:1b`], primary: [`${backend}/m:1b`], fallback: [`${backend}/m:1b`] },
    ]),
    [
      "a chain takes the cloud's place in mode fallback, and follows in the others",
      { fallbacks: { small: ['gateway/coder', 'local/tiny'] } },
      undefined,
      {
        off: ['local/small', 'gateway/coder', 'local/tiny'],
        primary: ['cloud/everyday:cloud', 'local/small', 'gateway/coder', 'local/tiny'],
        fallback: ['local/small', 'gateway/coder', 'local/tiny'],
      },
    ],
    [
      'a chain of a model wins over the one for all',
      { fallbacks: { small: ['local/own'], '*': ['local/any'] } },
      undefined,
      {
        off: ['local/small', 'local/own'],
        primary: ['cloud/everyday:cloud', 'local/small', 'local/own'],
        fallback: ['local/small', 'local/own'],
      },
    ],
    [
      'the chain for all holds for a model without its own',
      { fallbacks: { other: ['local/own'], '*': ['tiny'] } },
      undefined,
      {
        off: ['local/small', 'local/tiny'],
        primary: ['cloud/everyday:cloud', 'local/small', 'local/tiny'],
        fallback: ['local/small', 'local/tiny'],
      },
    ],
    [
      'the chain for all does not hold for a model that the caller names',
      { fallbacks: { '*': ['local/tiny'] } },
      'named:8b',
      {
        off: ['local/named:8b'],
        primary: ['cloud/named:8b', 'local/named:8b'],
        fallback: ['local/named:8b', 'cloud/named:8b'],
      },
    ],
    [
      'the chain of a model holds when the caller names it, in any spelling',
      { fallbacks: { 'library/Named': ['gateway/coder'] } },
      'named:latest',
      {
        off: ['local/named:latest', 'gateway/coder'],
        primary: ['cloud/named:latest', 'local/named:latest', 'gateway/coder'],
        fallback: ['local/named:latest', 'gateway/coder'],
      },
    ],
    [
      'a chain may belong to a model of one backend',
      {
        tiers: { ...TIERS, instant: 'gateway/coder' },
        fallbacks: { 'gateway/coder': ['local/tiny'], '*': ['local/any'] },
      },
      undefined,
      {
        off: ['gateway/coder', 'local/tiny'],
        primary: ['cloud/everyday:cloud', 'gateway/coder', 'local/tiny'],
        fallback: ['gateway/coder', 'local/tiny'],
      },
    ],
    [
      'a chain of a local model holds with its backend or without, and for no other backend',
      { fallbacks: { 'local/small': ['local/tiny'], 'gateway/small': ['local/any'] } },
      undefined,
      {
        off: ['local/small', 'local/tiny'],
        primary: ['cloud/everyday:cloud', 'local/small', 'local/tiny'],
        fallback: ['local/small', 'local/tiny'],
      },
    ],
    [
      'an empty chain is one: nothing follows',
      { fallbacks: { small: [] } },
      undefined,
      {
        off: ['local/small'],
        primary: ['cloud/everyday:cloud', 'local/small'],
        fallback: ['local/small'],
      },
    ],
    [
      'nobody is asked twice, however the name is written',
      { fallbacks: { small: ['small:latest', 'library/small', 'gateway/small', 'gateway/small'] } },
      undefined,
      {
        off: ['local/small', 'gateway/small'],
        primary: ['cloud/everyday:cloud', 'local/small', 'gateway/small'],
        fallback: ['local/small', 'gateway/small'],
      },
    ],
    [
      'a chain may name the cloud only where it may be asked',
      { fallbacks: { small: ['cloud/everyday:cloud', 'cloud/other', 'local/tiny'] } },
      undefined,
      {
        off: ['local/small', 'local/tiny'],
        primary: ['cloud/everyday:cloud', 'local/small', 'cloud/other', 'local/tiny'],
        fallback: ['local/small', 'cloud/everyday:cloud', 'cloud/other', 'local/tiny'],
      },
    ],
    [
      'what cannot be a model, and a gateway that is not set, are left out of a chain',
      { gateway: {}, fallbacks: { small: ['gateway/coder', 'not a model', 'local/tiny'] } },
      undefined,
      {
        off: ['local/small', 'local/tiny'],
        primary: ['cloud/everyday:cloud', 'local/small', 'local/tiny'],
        fallback: ['local/small', 'local/tiny'],
      },
    ],
    [
      'a tier may name a model of the gateway',
      { tiers: { ...TIERS, instant: 'gateway/coder' } },
      undefined,
      {
        off: ['gateway/coder'],
        primary: ['cloud/everyday:cloud', 'gateway/coder'],
        fallback: ['gateway/coder', 'cloud/everyday:cloud'],
      },
    ],
    [
      'a tier may name a model of the cloud, which the walk refuses while the cloud is off',
      { tiers: { ...TIERS, instant: 'cloud/everyday:cloud' } },
      undefined,
      {
        off: ['cloud/everyday:cloud'],
        primary: ['cloud/everyday:cloud'],
        fallback: ['cloud/everyday:cloud'],
      },
    ],
  ];
  for (const [name, settings, model, expected] of tables) {
    for (const mode of CLOUD_MODES) {
      it(`${name}, in mode ${mode}`, () => {
        const route = routeOf(configOf(mode, settings), 'instant', model);
        assert.deepEqual(labels(route), expected[mode]);
      });
    }
  }

  // --- whatever is configured -------------------------------------------------------------------

  const name = fc.constantFrom('small', 'medium:7b', 'small:latest', 'named:8b', 'm:cloud');
  const ref = fc.oneof(
    name,
    fc.tuple(fc.constantFrom('local', 'cloud', 'gateway'), name).map((parts) => parts.join('/')),
    fc.constantFrom('not a model', ''),
  );
  const anyCase = fc.record({
    mode: fc.constantFrom(...CLOUD_MODES),
    tier: fc.constantFrom<GenerativeTier[]>(...GENERATIVE_TIERS),
    model: fc.option(
      ref.filter((r) => r !== ''),
      { nil: undefined },
    ),
    own: ref,
    fallbacks: fc.dictionary(fc.oneof(name, fc.constant('*')), fc.array(ref, { maxLength: 5 })),
    hasGateway: fc.boolean(),
  });
  type Case = typeof anyCase extends fc.Arbitrary<infer T> ? T : never;

  const configFor = ({ mode, tier, own, fallbacks, hasGateway }: Case): Config =>
    configOf(mode, {
      tiers: { ...TIERS, [tier]: own },
      fallbacks,
      gateway: hasGateway ? { host: GATEWAY } : {},
    });
  const holds = (property: (given: Case, config: Config, route: Target[]) => void): void =>
    fc.assert(
      fc.property(anyCase, (given) => {
        const config = configFor(given);
        property(given, config, routeOf(config, given.tier, given.model));
      }),
      { numRuns: 2_000 },
    );

  it('is never empty and asks nobody twice', () => {
    holds((_, __, route) => {
      assert.ok(route.length > 0);
      const keys = route.map(({ backend, model }) => `${backend} ${modelKey(model)}`);
      assert.equal(new Set(keys).size, keys.length, keys.join());
    });
  });

  it('has no target in the cloud while it is off, but one that the caller or the tier names', () => {
    holds(({ mode, model, tier }, config, route) => {
      if (mode !== 'off') return;
      const named = parseModelRef(model ?? config.tiers[tier].model);
      for (const { backend, model: target } of route) {
        if (backend === 'cloud')
          assert.deepEqual(named, { backend, model: target, isQualified: true });
      }
    });
  });

  it('begins where the mode says', () => {
    holds(({ mode, model, tier }, config, [first]) => {
      const { isQualified, ...own } = parseModelRef(model ?? config.tiers[tier].model);
      const isPinned = model !== undefined && isQualified;
      const expected =
        mode === 'primary' && !isPinned
          ? { backend: 'cloud', model: model ?? config.cloud.models[tier] }
          : own;
      assert.deepEqual(first, { ...expected, tier });
    });
  });

  it('holds the model that the caller names and no other, but for its own chain', () => {
    holds(({ model, tier }, config, route) => {
      if (model === undefined) return;
      const own = parseModelRef(model);
      const chain = own.isQualified ? [] : (config.fallbacks.get(modelKey(own.model)) ?? []);
      const allowed = [own.model, ...chain.map((r) => r.model)];
      for (const target of route) {
        assert.ok(allowed.includes(target.model), `${target.model} is on the route of ${model}`);
        assert.equal(target.tier, tier);
      }
    });
  });

  it('has lesser targets on the same backend only, of lesser tiers, and never the model itself', () => {
    holds((_, config, route) => {
      for (const target of route) {
        const lesser = lesserTargets(config, target);
        const keys = lesser.map((t) => modelKey(t.model));
        assert.equal(new Set(keys).size, keys.length);
        assert.ok(!keys.includes(modelKey(target.model)));
        for (const { backend, tier } of lesser) {
          assert.equal(backend, target.backend);
          assert.ok(ORDER.indexOf(tier) < ORDER.indexOf(target.tier));
        }
      }
    });
  });
});

describe('the lesser targets', () => {
  const rows: [string, Settings, Target, string[]][] = [
    [
      'of a local deep model are the other tiers, in order',
      {},
      { backend: 'local', model: 'large:70b', tier: 'deep' },
      ['local/medium:7b workhorse', 'local/small instant'],
    ],
    [
      'of workhorse are those below it',
      {},
      { backend: 'local', model: 'medium:7b', tier: 'workhorse' },
      ['local/small instant'],
    ],
    ['of instant are none', {}, { backend: 'local', model: 'small', tier: 'instant' }, []],
    [
      'of a profile with one model for all tiers are none',
      { tiers: { instant: 'one', workhorse: 'one:latest', deep: 'library/one' } },
      { backend: 'local', model: 'library/one', tier: 'deep' },
      [],
    ],
    [
      'are each asked once',
      { tiers: { instant: 'small', workhorse: 'small:latest', deep: 'large:70b' } },
      { backend: 'local', model: 'large:70b', tier: 'deep' },
      ['local/small:latest workhorse'],
    ],
    [
      "of the cloud are the cloud's",
      {},
      { backend: 'cloud', model: 'thinker:120b-cloud', tier: 'deep' },
      ['cloud/everyday:cloud workhorse'],
    ],
    [
      'of the cloud with one model are none',
      { cloud: { deepModel: 'everyday:cloud' } },
      { backend: 'cloud', model: 'everyday:cloud', tier: 'deep' },
      [],
    ],
    [
      'leave out tiers of another backend',
      { tiers: { instant: 'gateway/coder', workhorse: 'cloud/m', deep: 'large:70b' } },
      { backend: 'local', model: 'large:70b', tier: 'deep' },
      [],
    ],
    [
      'of the gateway are those that name it',
      { tiers: { instant: 'gateway/coder', workhorse: 'medium:7b', deep: 'gateway/thinker' } },
      { backend: 'gateway', model: 'thinker', tier: 'deep' },
      ['gateway/coder instant'],
    ],
  ];
  for (const [name, settings, target, expected] of rows) {
    it(name, () => {
      const found = lesserTargets(configOf('primary', settings), target);
      assert.deepEqual(
        found.map((t) => `${refLabel(t)} ${t.tier}`),
        expected,
      );
    });
  }
});

describe('a route, once it is walked', () => {
  const stage = Stage.forEach();

  for (const [who, settings, model] of [
    ['the caller', {}, 'cloud/minimax-m3'],
    ['the tier', { tiers: { instant: 'cloud/minimax-m3' } }, undefined],
  ] as const) {
    it(`refuses a cloud model that ${who} names while the cloud is off, before any byte is sent`, async () => {
      const { intern, cloud, local } = await stage().team({ mode: 'off', settings, isCold: true });
      const call = intern.run('summarize_fast', { text: TEXT }, model ? { model } : {});
      const error = await failure(call);
      assert.equal(error.code, 'config');
      assert.match(error.message, /nothing was sent/);
      assert.deepEqual([...cloud.requests, ...local.requests], []);
      const [line] = await stage().logged(intern);
      assert.deepEqual([line?.kind, line?.['backend'], line?.['attempts']], ['error', 'cloud', []]);
    });
  }

  it('is the one that it was when the call began, whatever is configured meanwhile', async () => {
    const { intern, cloud, local } = await stage().team();
    const elsewhere = await stage().serve();
    const before = chatsOf(cloud).length;
    cloud.faults.next(onChat(faults.hang()));
    const call = intern.run('summarize_fast', { text: TEXT });
    await cloud.waitFor(() => chatsOf(cloud).length > before);
    intern.configure(
      stage().settingsFor(elsewhere, {
        tiers: { instant: 'qwen3:8b' },
        fallbacks: { '*': ['local/qwen3:14b'] },
        cloud: { mode: 'fallback', host: cloud.url },
      }),
    );
    const envelope = await stage().finish(call);
    assert.deepEqual(triesOf(envelope), ['cloud timeout', 'local answer']);
    assert.equal(envelope.model, 'hermes3:8b');
    assert.equal(elsewhere.requests.length, 0);
    assert.equal(chatsOf(local).length, 2);

    const next = await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    assert.deepEqual([next.backend, next.model], ['local', 'qwen3:8b']);
    assert.equal(chatsOf(elsewhere).length, 1);
  });

  it('goes on along a chain, and asks each of its targets once', async () => {
    const { intern, cloud, local } = await stage().team({
      mode: 'fallback',
      settings: { fallbacks: { 'hermes3:8b': ['cloud/gpt-oss:120b', 'local/qwen3:8b'] } },
    });
    const asked = [chatsOf(local).length, chatsOf(cloud).length] as const;
    local.faults.next(onChat(faults.status(500, 'it failed')));
    cloud.faults.next(onChat(faults.status(503, 'overloaded')));
    const envelope = await stage().finish(intern.run('summarize_fast', { text: TEXT }));
    assert.deepEqual(triesOf(envelope), ['local server', 'cloud server', 'local answer']);
    assert.equal(envelope.model, 'qwen3:8b');
    assert.equal(envelope.degrade_reason, 'local_5xx', 'the first reason is the one that counts');
    assert.equal(chatsOf(local).length, asked[0] + 2);
    assert.equal(chatsOf(cloud).length, asked[1] + 1);
    assert.equal(statusOf(intern, 'cloud').breaker.failures, 1);
  });
});
