import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { readSetup, writeSetting } from '../../src/host/dashboard/setup';
import { type Setup, WRITABLE_SETTINGS, type WritableSetting } from '../../src/shared/dashboard';
import { eventually, Stage } from './support';

describe("the dashboard's set-up, which", () => {
  let stage: Stage;

  beforeEach(async () => {
    stage = await Stage.open();
  });

  afterEach(async () => {
    for (const setting of WRITABLE_SETTINGS) await writeSetting(stage.api.intern, setting, null);
    await stage.dispose();
  });

  const inspect = (setting: WritableSetting) =>
    vscode.workspace.getConfiguration('ollamaIntern').inspect<unknown>(setting);
  const write = (setting: WritableSetting, value: string | number | null) =>
    writeSetting(stage.api.intern, setting, value);
  const read = (): Promise<Setup> => readSetup(stage.api.intern);

  /** What the intern goes by, in the unit of the setting. */
  function inForce(setting: WritableSetting): unknown {
    const { config } = stage.api.intern;
    const tier = setting.split('.').at(-1) as 'instant' | 'workhorse' | 'deep';
    if (setting === 'profile') return config.profile;
    if (setting.startsWith('tiers.')) return config.tiers[tier].model;
    if (setting.startsWith('cloud.')) return config.cloud.budgetMs[tier] / 1000;
    return config.tiers[tier].budgetMs / 1000;
  }

  for (const setting of WRITABLE_SETTINGS) {
    it(`writes and clears ${setting}`, async () => {
      const before = inForce(setting);
      const value =
        setting === 'profile' ? 'm5-max' : setting.startsWith('tiers.') ? 'qwen3:4b' : 33.5;
      await write(setting, value);
      assert.equal(inspect(setting)?.globalValue, value);
      assert.equal(inspect(setting)?.workspaceValue, undefined);
      assert.equal(inForce(setting), value, 'the intern has it when this is over');
      await write(setting, null);
      assert.equal(inspect(setting)?.globalValue, undefined);
      assert.equal(inForce(setting), before);
    });
  }

  const BAD: [WritableSetting, string | number, RegExp][] = [
    ['profile', 'toaster', /no profile "toaster".*m5-max/],
    ['profile', 'constructor', /no profile/],
    ['profile', 3, /no profile/],
    ['tiers.deep', 'two words', /"two words" is not a model name/],
    ['tiers.deep', 8, /not a model name/],
    ['budgets.deep', 0, /between 1 and 3600/],
    ['budgets.deep', 3601, /between 1 and 3600/],
    ['budgets.deep', -5, /between 1 and 3600/],
    ['budgets.deep', 'soon', /number of seconds/],
    ['cloud.budgets.deep', 0.5, /between 1 and 3600/],
  ];
  for (const [setting, value, why] of BAD) {
    it(`refuses ${JSON.stringify(value)} for ${setting}, and leaves what was there`, async () => {
      const good = setting === 'profile' ? 'm5-max' : setting.startsWith('tiers') ? 'qwen3:4b' : 7;
      await write(setting, good);
      await assert.rejects(write(setting, value), (error: Error) => why.test(error.message));
      assert.equal(inspect(setting)?.globalValue, good);
    });
  }

  it('writes where a value of the workspace would hide it, and clears both', async function () {
    const config = vscode.workspace.getConfiguration('ollamaIntern');
    if (!vscode.workspace.workspaceFolders) this.skip();
    await config.update('budgets.deep', 40, vscode.ConfigurationTarget.Workspace);
    await write('budgets.deep', 50);
    assert.equal(inspect('budgets.deep')?.workspaceValue, 50);
    assert.equal(inspect('budgets.deep')?.globalValue, undefined);
    assert.equal(inForce('budgets.deep'), 50);
    await stage.set({ 'budgets.deep': 60 });
    await write('budgets.deep', null);
    assert.equal(inspect('budgets.deep')?.workspaceValue, undefined);
    assert.equal(inspect('budgets.deep')?.globalValue, undefined);
    assert.equal(inForce('budgets.deep'), 90);
  });

  it('says what is set, what is in force and what would be', async () => {
    await write('profile', 'dev-rtx5080-qwen3');
    await write('tiers.deep', ' local/hermes3:8b ');
    await write('budgets.deep', 45);
    const setup = await read();
    assert.deepEqual(setup.profile, {
      value: 'dev-rtx5080-qwen3',
      set: 'dev-rtx5080-qwen3',
      unset: 'dev-rtx5080',
    });
    const deep = setup.tiers.find(({ tier }) => tier === 'deep');
    assert.deepEqual(deep, {
      tier: 'deep',
      model: { value: 'local/hermes3:8b', set: 'local/hermes3:8b', unset: 'qwen3:14b' },
      backend: 'local',
      name: 'hermes3:8b',
      num_ctx: 16_384,
      budget: { value: 45, set: 45, unset: 90 },
    });
    assert.ok(setup.installed?.some(({ name }) => name === 'hermes3:8b'));
    assert.deepEqual([setup.cloud.mode, setup.cloud.key], ['off', 'none']);
  });

  it('is there before a slow server says what is installed, and says when it did', async () => {
    stage.api.intern.models.refresh();
    stage.server.faults.next({ match: ({ path }) => path === '/api/tags', delayMs: 3_500 });
    let isKnown = false;
    const setup = await readSetup(stage.api.intern, () => (isKnown = true));
    assert.equal(setup.installed, undefined);
    await eventually(() => isKnown, 'the list of models');
    assert.ok((await read()).installed?.some(({ name }) => name === 'hermes3:8b'));
  });

  it('is there without a server, which then says nothing of its models', async () => {
    await stage.server.stop();
    stage.api.intern.models.refresh();
    const setup = await read();
    assert.equal(setup.installed, undefined);
    assert.equal(setup.tiers.length, 4);
  });

  it('tells where a model runs that is not local, and no secret of an address', async () => {
    await stage.set({ 'gateway.host': 'http://me:hunter2@127.0.0.1:4000' });
    await write('tiers.instant', 'gateway/qwen-coder');
    await write('tiers.workhorse', 'gpt-oss:120b-cloud');
    const setup = await read();
    assert.deepEqual(
      setup.tiers.map(({ backend, name }) => `${backend} ${name}`),
      [
        'gateway qwen-coder',
        'cloud gpt-oss:120b-cloud',
        'local hermes3:8b',
        'local nomic-embed-text',
      ],
    );
    assert.ok(setup.tiers[0]?.cloud_budget, 'it is that of a gateway too');
    assert.equal(setup.tiers[3]?.cloud_budget, undefined);
    assert.ok(!JSON.stringify(setup).includes('hunter2'));
  });
});
