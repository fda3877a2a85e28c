import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { COMMANDS } from '../../src/host/ids';
import * as vscode from 'vscode';
import { startOllama } from '../support/ollama/server';
import { Stage } from './support';

const TOKEN = 'host-5ecret-987';
const TEXT = { text: 'A sentence. Another sentence.' };

describe('network: the server token', () => {
  let stage: Stage;

  beforeEach(async () => {
    stage = await Stage.open();
  });

  afterEach(async () => {
    await vscode.commands.executeCommand(COMMANDS.clearServerToken);
    await stage.set({ 'network.headers': undefined });
    await stage.dispose();
  });

  const setToken = (token: string | undefined) => {
    stage.typed = token;
    return vscode.commands.executeCommand<boolean>(COMMANDS.setServerToken);
  };

  /** The Authorization headers of one call. */
  async function sent(): Promise<unknown[]> {
    const before = stage.server.requests.length;
    await stage.api.intern.run('summarize_fast', TEXT);
    return stage.server.requests.slice(before).map(({ headers }) => headers.authorization);
  }

  it('is sent to the server it was set for, and no longer after it was cleared', async () => {
    assert.equal(await setToken(TOKEN), true);
    assert.match(stage.shown.at(-1)?.text ?? '', /^The token for 127\.0\.0\.1:\d+ is set\.$/);
    const headers = await sent();
    assert.ok(headers.length > 0);
    for (const header of headers) assert.equal(header, `Bearer ${TOKEN}`);

    await vscode.commands.executeCommand(COMMANDS.clearServerToken);
    assert.match(stage.shown.at(-1)?.text ?? '', /is cleared\.$/);
    for (const header of await sent()) assert.equal(header, undefined);

    await vscode.commands.executeCommand(COMMANDS.clearServerToken);
    assert.match(stage.shown.at(-1)?.text ?? '', /^No token was set/);
  });

  it('shows in no setting, message, log line or config', async () => {
    await setToken(TOKEN);
    await sent();
    const settings = JSON.stringify(vscode.workspace.getConfiguration('ollamaIntern'));
    const shown = inspect([stage.shown, await stage.log(), stage.api.intern.config], { depth: 9 });
    assert.ok(!`${settings}${shown}`.includes(TOKEN));
  });

  it('stays as it is when the box is closed, and a wrong one is not kept', async () => {
    await setToken(TOKEN);
    assert.equal(await setToken(undefined), false);
    assert.equal(await setToken('Bearer two words'), false);
    assert.match(stage.shown.at(-1)?.text ?? '', /^A token has no spaces/);
    assert.equal((await sent())[0], `Bearer ${TOKEN}`);
  });

  it('takes its place in the headers of the settings', async () => {
    await setToken(TOKEN);
    await stage.set({ 'network.headers': { 'X-Key': '${token}' } });
    assert.equal((await sent())[0], undefined);
    assert.equal(stage.server.requests.at(-1)?.headers['x-key'], TOKEN);
  });

  it('of a gateway is asked for apart, and sent to the gateway alone', async () => {
    const gateway = await startOllama();
    try {
      await stage.set({ 'gateway.host': gateway.url });
      const window = vscode.window as unknown as Record<string, unknown>;
      const { showQuickPick } = vscode.window;
      window.showQuickPick = (items: { label: string }[]) =>
        Promise.resolve(items.find(({ label }) => label === 'Gateway'));
      try {
        assert.equal(await setToken(TOKEN), true);
        assert.equal((await sent())[0], undefined);
        await stage.api.intern.run('summarize_fast', TEXT, { model: 'gateway/hermes3:8b' });
        assert.equal(gateway.requests.at(-1)?.headers.authorization, `Bearer ${TOKEN}`);
        await vscode.commands.executeCommand(COMMANDS.clearServerToken);
      } finally {
        window.showQuickPick = showQuickPick;
      }
    } finally {
      await stage.set({ 'gateway.host': undefined });
      await gateway.close();
    }
  });

  it('is refused for another machine without https', async () => {
    const { url } = stage.server;
    await stage.set({ host: 'http://gpu.test:11434' });
    assert.equal(await setToken(TOKEN), false);
    assert.match(stage.shown.at(-1)?.text ?? '', /over plain HTTP/);
    assert.deepEqual(stage.shown.at(-1)?.buttons, ['Open Setting']);
    await stage.set({ host: url });
    assert.equal((await sent())[0], undefined);
  });
});
