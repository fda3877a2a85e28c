import assert from 'node:assert/strict';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { Api } from '../../src/extension';
import { COMMANDS, EXTENSION_ID } from '../../src/host/ids';
import { eventually, Stage } from './support';

/** Whatever undici hangs on the global object, by name. */
function undiciGlobals(): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const key of Reflect.ownKeys(globalThis)) {
    if (/undici/i.test(String(key)))
      found.set(String(key), (globalThis as Record<PropertyKey, unknown>)[key]);
  }
  return found;
}

describe('the extension', () => {
  let stage: Stage | undefined;
  afterEach(async () => {
    await stage?.dispose();
    stage = undefined;
  });

  it('registers every command', async () => {
    stage = await Stage.open();
    const registered = new Set(await vscode.commands.getCommands(true));
    assert.deepEqual(
      Object.values(COMMANDS).filter((id) => !registered.has(id)),
      [],
    );
  });

  it('leaves every undici global as it was, when loaded and when used', async () => {
    const extension = vscode.extensions.getExtension<Api>(EXTENSION_ID);
    assert.ok(extension);
    const before = undiciGlobals();
    const bundle = join(extension.extensionPath, 'dist', 'extension.js');
    delete require.cache[require.resolve(bundle)];
    // A module that is loaded a second time can only be required.
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    assert.equal(typeof (require(bundle) as { activate: unknown }).activate, 'function');
    stage = await Stage.open();
    await stage.api.intern.run('summarize_fast', { text: 'A sentence. Another sentence.' });
    const after = undiciGlobals();
    assert.deepEqual([...after.keys()], [...before.keys()]);
    for (const [key, value] of before) assert.equal(after.get(key), value, `${key} was replaced`);
  });

  it('sends nothing before the first call', async () => {
    stage = await Stage.open();
    await stage.set({ profile: 'm5-max' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(stage.server.requests.length, 0);
  });

  it('loads the models of the profile on demand, and says which are in memory', async () => {
    stage = await Stage.open();
    assert.equal(await vscode.commands.executeCommand(COMMANDS.loadModels), true);
    assert.deepEqual(
      stage.server.runners.map((runner) => runner.name),
      ['hermes3:8b'],
    );
    assert.match(stage.shown[0]?.text ?? '', /hermes3:8b/);
    const [line] = await stage.log();
    assert.equal(line?.['kind'], 'prewarm');
    assert.equal(line?.['success'], true);
  });

  it('says where to look when no model could be loaded', async () => {
    stage = await Stage.open();
    await stage.server.stop();
    assert.equal(await vscode.commands.executeCommand(COMMANDS.loadModels), false);
    assert.equal(stage.shown[0]?.kind, 'warning');
    assert.deepEqual(stage.shown[0]?.buttons, ['Show Log']);
    assert.equal((await stage.log())[0]?.['error'], 'unreachable');
    await stage.server.start();
  });

  it('takes over changed settings without a reload', async () => {
    stage = await Stage.open();
    await stage.set({ profile: 'dev-rtx5080-qwen3' });
    const { intern } = stage.api;
    await eventually(() => intern.config.tiers.deep.model === 'qwen3:14b', 'the profile');
    await stage.set({ profile: 'no-such-profile' });
    await eventually(() => intern.config.problems.length === 1, 'the problem');
    assert.equal(intern.config.profile, 'dev-rtx5080');
  });

  it('opens the dashboard', async () => {
    stage = await Stage.open();
    await vscode.commands.executeCommand(COMMANDS.showDashboard);
    await eventually(
      () =>
        vscode.window.tabGroups.all
          .flatMap((g) => g.tabs)
          .some(
            (t) =>
              t.input instanceof vscode.TabInputWebview &&
              t.input.viewType.includes('ollamaIntern.dashboard'),
          ),
      'the panel',
    );
  });

  it('pulls a model by its command, and tells when it cannot', async () => {
    stage = await Stage.open();
    assert.equal(
      await vscode.commands.executeCommand(COMMANDS.pullModel, 'no-such-model:1b'),
      false,
    );
    assert.equal(stage.shown.at(-1)?.kind, 'error');
    assert.match(
      stage.shown.at(-1)?.text ?? '',
      /no-such-model:1b was not pulled\. There is no model/,
    );
  });
});
